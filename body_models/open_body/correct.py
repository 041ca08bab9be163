"""Pose correctives: blend shapes, linear in the rotations, that keep bent joints from collapsing.

Linear blend skinning averages matrices, so the skin around a bent joint is pulled towards it. The target here averages
the rotation itself and turns every cross-section about its own centre (after Le and Hodgins, "Real-time skeletal
skinning with optimized centers of rotation", SIGGRAPH 2016); SMPL's correctives are fitted to it by least squares.
The shoulder has something better to be fitted to as well: the A-pose that MakeHuman's bodies were modelled in.
"""

import numpy as np

from body_models.joints import MIRROR_JOINTS, PARENTS, SMPL_JOINTS

# Ranges of motion to fit over, degrees, about SMPL's axes x, y, z, for the left side.
RANGES = {
    "hip": ((-120, 35), (-40, 40), (-25, 50)),
    "knee": ((0, 145), (-15, 15), (-8, 8)),
    "ankle": ((-25, 45), (-20, 20), (-20, 20)),
    "foot": ((-45, 35), (-5, 5), (-5, 5)),
    "spine1": ((-25, 40), (-25, 25), (-25, 25)),
    "spine2": ((-25, 40), (-30, 30), (-25, 25)),
    "spine3": ((-20, 30), (-25, 25), (-20, 20)),
    "neck": ((-40, 45), (-45, 45), (-30, 30)),
    "head": ((-35, 35), (-45, 45), (-25, 25)),
    "collar": ((-15, 15), (-25, 25), (-15, 30)),
    "shoulder": ((-75, 75), (-110, 60), (-90, 70)),
    "elbow": ((-70, 70), (-150, 0), (-8, 8)),
    "wrist": ((-30, 30), (-30, 30), (-75, 75)),
    "hand": ((-8, 8), (-20, 20), (-90, 25)),
}
SAMPLES = 160  # poses per joint
KERNEL = 0.08  # width, in blend weight, of the cross-section that a centre of rotation is taken over
STRENGTH = 0.6  # part of the lost volume that is given back: flesh does fold, and all of it looks swollen
KNOWN_WEIGHT = 100.0  # of the A-pose, in sampled poses
STIFFNESS = 0.02  # ridge: keeps the correctives small where poses contradict each other
SMALLEST = 1.5e-4  # metres per unit of feature; what is smaller is dropped


def euler(x, y, z):
    """(S, 3, 3) rotations Rz Ry Rx from angles (S,) in radians."""
    zero, one = np.zeros_like(x), np.ones_like(x)
    cx, sx, cy, sy, cz, sz = np.cos(x), np.sin(x), np.cos(y), np.sin(y), np.cos(z), np.sin(z)
    stack = lambda *rows: np.stack([np.stack(row, -1) for row in rows], -2)
    rx = stack((one, zero, zero), (zero, cx, -sx), (zero, sx, cx))
    ry = stack((cy, zero, sy), (zero, one, zero), (-sy, zero, cy))
    rz = stack((cz, -sz, zero), (sz, cz, zero), (zero, zero, one))
    return rz @ ry @ rx


def sample_rotations(name, rng):
    """(S, 3, 3) rotations of a joint over its range; joints of the middle get mirrored pairs."""
    key = name.replace("left_", "")
    low, high = np.radians(np.array(RANGES[key], float)).T
    if key == "shoulder":
        # The upper arm's direction evenly over the reachable part of the sphere, then a twist.
        angles = rng.uniform(low, high, (SAMPLES, 3))
        twist = euler(angles[:, 0], 0 * angles[:, 0], 0 * angles[:, 0])
        return euler(0 * angles[:, 0], angles[:, 1], angles[:, 2]) @ twist
    x, y, z = rng.uniform(low, high, (SAMPLES, 3)).T
    rotations = euler(x, y, z)
    if "left_" not in name:
        flip = np.diag([-1.0, 1, 1])
        rotations = np.concatenate([rotations, flip @ rotations @ flip])
    return rotations


def axis_angle(rotations):
    """Unit axes (S, 3) and angles (S,) of rotations (S, 3, 3) by less than 180 degrees."""
    skew = np.stack([
        rotations[:, 2, 1] - rotations[:, 1, 2],
        rotations[:, 0, 2] - rotations[:, 2, 0],
        rotations[:, 1, 0] - rotations[:, 0, 1],
    ], axis=1)  # fmt: skip
    sine = np.linalg.norm(skew, axis=1)
    angle = np.arctan2(sine, np.trace(rotations, axis1=1, axis2=2) - 1)
    return skew / np.maximum(sine, 1e-12)[:, None], angle


def partial_rotations(rotations, share):
    """(S, V, 3, 3) the share (V,) of each rotation (S, 3, 3), about the same axis."""
    axis, angle = axis_angle(rotations)
    k = np.zeros((len(axis), 3, 3))
    k[:, 0, 1], k[:, 0, 2], k[:, 1, 2] = -axis[:, 2], axis[:, 1], -axis[:, 0]
    k -= k.transpose(0, 2, 1)
    part = angle[:, None] * share
    sine, versine = np.sin(part)[..., None, None], (1 - np.cos(part))[..., None, None]
    return np.eye(3) + sine * k[:, None] + versine * (k @ k)[:, None]


def section_centres(points, share, areas):
    """(V, 3) centre of the cross-section of equal share around each vertex: area-weighted kernel regression."""
    kernel = np.exp(-0.5 * ((share[:, None] - share) / KERNEL) ** 2) * (areas * share * (1 - share))
    return kernel @ points / kernel.sum(axis=1, keepdims=True)


def fit_joint(points, share, areas, rotations, known=None):
    """Correctives of one joint: (V, 3, 9), metres per unit of the features R - I (row-major), of the skin that bends.

    Args:
        points: (V, 3) rest positions; share: (V,) of each vertex carried by the joint's subtree, in (0, 1).
        areas: (V,); rotations: (S, 3, 3).
        known: a pose whose true shape is known, as the joint's rotation (3, 3), the vertices' blended rotations (V, 3, 3)
            and what linear blending misses there (V, 3). Rotations nearer to it than to rest are then left to it.
    """
    centres = section_centres(points, share, areas)
    blend = np.eye(3) + share[:, None, None] * (rotations - np.eye(3))[:, None]
    turned = partial_rotations(rotations, share)
    missing = STRENGTH * np.einsum("svij,vj->svi", turned - blend, points - centres)
    importance = np.ones(len(rotations))
    if known is not None:
        rotation, known_blend, known_missing = known
        lowered = np.trace(rotations @ rotation.T, axis1=1, axis2=2) > np.trace(rotations, axis1=1, axis2=2)
        importance = np.append(np.where(lowered, 0.0, 1.0), KNOWN_WEIGHT)
        rotations = np.concatenate([rotations, rotation[None]])
        blend, missing = np.concatenate([blend, known_blend[None]]), np.concatenate([missing, known_missing[None]])
    features = (rotations - np.eye(3)).reshape(-1, 9)
    square = np.einsum("s,svki,svkj->svij", importance, blend, blend)
    normal = np.einsum("svij,sa,sb->viajb", square, features, features, optimize=True).reshape(len(points), 27, 27)
    right = np.einsum("s,svki,svk,sa->via", importance, blend, missing, features, optimize=True)
    normal += STIFFNESS * len(rotations) * np.eye(27)
    return np.linalg.solve(normal, right.reshape(len(points), 27, 1)).reshape(len(points), 3, 9)


def skin_linearly(points, weights, joints, rotations):
    """Skins one pose, local rotations (24, 3, 3), linearly; returns vertices (V, 3) and blended rotations (V, 3, 3)."""
    turned, moved = rotations.copy(), joints.copy()
    for j in range(1, 24):
        parent = PARENTS[j]
        turned[j] = turned[parent] @ rotations[j]
        moved[j] = moved[parent] + turned[parent] @ (joints[j] - joints[parent])
    shift = moved - np.einsum("jab,jb->ja", turned, joints)
    blend = np.einsum("vj,jab->vab", weights, turned)
    return np.einsum("vab,vb->va", blend, points) + weights @ shift, blend


def fit_correctives(points, weights, joints, areas, mirror, lowered, seed=0):
    """Fits SMPL's pose blend shapes; returns (V, 3, 207), metres, exactly symmetric.

    Args:
        points: (V, 3) T-pose; weights: (V, 24); joints: (24, 3); areas: (V,); mirror: (V,) mirror map; seed: of the poses.
        lowered: a body whose shape with its arms lowered is known: local rotations (24, 3, 3), vertices (V, 3) at rest
            and with those rotations.
    """
    low_rotations, high, low = lowered
    low_skinned, low_blend = skin_linearly(high, weights, joints, low_rotations)
    rng = np.random.default_rng(seed)
    signs = np.outer([-1, 1, 1], [-1, 1, 1]).ravel()
    flip = np.array([-1.0, 1, 1])[:, None]
    out = np.zeros((len(points), 3, 24, 9))
    for j in range(1, 24):
        if MIRROR_JOINTS[j] < j:
            out[:, :, j] = out[mirror][:, :, MIRROR_JOINTS[j]] * flip * signs
            continue
        subtree = [k for k in range(24) if j in ancestors(k)]
        share = weights[:, subtree].sum(axis=1)
        part = np.flatnonzero((share > 0.01) & (share < 0.99))
        rotations = sample_rotations(SMPL_JOINTS[j], rng)
        known = None
        if SMPL_JOINTS[j] == "left_shoulder":
            # Faded out where the shoulder's share ends, so that the skin stays smooth there.
            fade = np.minimum(share * (1 - share) / 0.09, 1)[:, None]
            known = (low_rotations[j], low_blend[part], (fade * (low - low_skinned))[part])
        out[part, :, j] = fit_joint(points[part], share[part], areas[part], rotations, known)
        if MIRROR_JOINTS[j] == j:
            out[:, :, j] = 0.5 * (out[:, :, j] + out[mirror][:, :, j] * flip * signs)
    out[np.abs(out) < SMALLEST] = 0
    return out[:, :, 1:].reshape(len(points), 3, 207)


def ancestors(joint):
    """The set of a joint and the joints above it."""
    chain = set()
    while joint >= 0:
        chain.add(joint)
        joint = int(PARENTS[joint])
    return chain
