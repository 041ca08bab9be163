"""Poses MakeHuman's A-pose bodies into SMPL's T-pose and places SMPL's 24 joints in them."""

import numpy as np

from body_models.joints import PARENTS, SMPL_JOINTS

FLIP = np.array([-1.0, 1.0, 1.0])
PELVIS = np.array([0.0, -0.22, 0.0])  # where SMPL's own pelvis lies, so that translations carry over

TRUNK_BACK = np.radians(4.0)  # SMPL stands more upright than MakeHuman, by this
CLAVICLE_LIFT = np.radians(9.0)  # the part of the arm's elevation that the shoulder girdle takes
THIGH_OUT = np.radians(2.0)  # legs slightly apart
THIGH_FORWARD, SHANK_FORWARD = 0.2, 1.0  # parts of the legs' own slant that stay, as in SMPL
HIP_INWARD = np.array([0.8, 1.0, 1.0])  # MakeHuman's thigh bone starts lateral of the hip joint's centre
FINGER_BEND = 0.45
ARM_BONES = ("clavicle", "shoulder", "upperarm", "lowerarm", "wrist", "metacarpal", "finger")
PALM_DOWN_SHARE = 0.6  # of the forearm's roll, taken by the distal half of the forearm


def rotation_about(axis, angle):
    """(3, 3) rotation by `angle` radians about a unit axis (3,), Rodrigues' formula."""
    x, y, z = axis
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k


def rotation_between(a, b):
    """(3, 3) smallest rotation that turns direction a (3,) into direction b (3,)."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    axis = np.cross(a, b)
    sine = np.linalg.norm(axis)
    return np.eye(3) if sine < 1e-9 else rotation_about(axis / sine, np.arctan2(sine, a @ b))


def frame(primary, secondary):
    """(3, 3) orthonormal frame in columns: primary (3,), then secondary (3,) made orthogonal to it, then their cross."""
    x = primary / np.linalg.norm(primary)
    y = secondary - (secondary @ x) * x
    y /= np.linalg.norm(y)
    return np.stack([x, y, np.cross(x, y)], axis=1)


def tpose_rotations(heads, bones, parents, arms=True):
    """Returns (B, 3, 3) global rotations that carry one A-pose rig, heads (B, 3), into the T-pose.

    Computed for the left side and mirrored. Without `arms`, arms follow the trunk and keep their A-pose.
    """
    at = {name: heads[i] for i, name in enumerate(bones)}
    arm = at["lowerarm01.L"] - at["upperarm01.L"]
    fore = at["wrist.L"] - at["lowerarm01.L"]
    hand = 0.5 * (at["finger3-1.L"] + at["finger4-1.L"]) - at["wrist.L"]
    across = at["finger2-1.L"] - at["finger5-1.L"]  # towards the thumb
    left, up, forward = np.eye(3)
    upright = rotation_about(left, -TRUNK_BACK)
    turn = {f"spine0{k}": upright for k in (4, 3, 2, 1)}
    turn |= {"neck01": rotation_about(left, -0.5 * TRUNK_BACK), "head": np.eye(3)}
    turn["clavicle.L"] = rotation_about(forward, CLAVICLE_LIFT) @ upright
    turn["shoulder01.L"] = turn["clavicle.L"]
    # The elbow's hinge (arm x forearm) becomes vertical, so that the forearm folds forwards as in SMPL.
    hinge = np.cross(arm, fore)
    source = frame(arm, hinge)
    turn["upperarm01.L"] = turn["upperarm02.L"] = frame(left, -up if (source[:, 1] @ up) < 0 else up) @ source.T
    straight = frame(left, turn["upperarm01.L"] @ hinge) @ frame(fore, hinge).T
    palm = frame(left, forward) @ frame(hand, across).T
    # The roll between the straight forearm and the palm-down hand is spread along the forearm.
    relative = palm @ straight.T
    roll = np.arctan2(relative[2, 1] - relative[1, 2], relative[1, 1] + relative[2, 2])
    turn["lowerarm01.L"] = rotation_about(left, roll * (1 - PALM_DOWN_SHARE) * 0.5) @ straight
    turn["lowerarm02.L"] = rotation_about(left, roll * (1 + PALM_DOWN_SHARE) * 0.5) @ straight
    turn["wrist.L"] = palm
    for finger in range(1, 6):
        previous = palm
        if finger > 1:
            turn[f"metacarpal{finger - 1}.L"] = palm
        for k in (1, 2):
            bone = previous @ (at[f"finger{finger}-{k + 1}.L"] - at[f"finger{finger}-{k}.L"])
            # Fingers keep their spread and a part of their bend: SMPL's hand is nearly flat.
            previous = rotation_between(bone, bone * [1, FINGER_BEND, 1]) @ previous
            turn[f"finger{finger}-{k}.L"] = previous
        turn[f"finger{finger}-3.L"] = previous
    thigh = at["lowerleg01.L"] - at["upperleg01.L"] * HIP_INWARD
    shank = at["foot.L"] - at["lowerleg01.L"]
    turn["upperleg01.L"] = turn["upperleg02.L"] = rotation_between(
        thigh, leg_direction(thigh, THIGH_OUT, THIGH_FORWARD)
    )
    turn["lowerleg01.L"] = turn["lowerleg02.L"] = rotation_between(shank, leg_direction(shank, 0.0, SHANK_FORWARD))
    turn["foot.L"] = np.eye(3)
    if not arms:
        turn = {name: rotation for name, rotation in turn.items() if not name.startswith(ARM_BONES)}
    out = np.zeros((len(bones), 3, 3))
    for i, name in enumerate(bones):
        other = name[:-2] + ".L" if name.endswith(".R") else name
        if other in turn:
            out[i] = turn[other] * np.outer(FLIP, FLIP) if name.endswith(".R") else turn[other]
        else:
            out[i] = out[parents[i]] if parents[i] >= 0 else np.eye(3)
    return out


def leg_direction(bone, out, share):
    """Direction (3,) of a leg bone (3,): `out` radians to the left and `share` of the bone's own slant forwards."""
    return np.array([np.tan(out), -1.0, -share * bone[2] / bone[1]])


def quaternions(rotations):
    """(B, 4) unit quaternions (w, x, y, z), w >= 0, of rotations (B, 3, 3) by less than 180 degrees."""
    trace = np.trace(rotations, axis1=1, axis2=2)
    w = np.sqrt(np.maximum(1 + trace, 1e-12)) / 2
    skew = np.stack([
        rotations[:, 2, 1] - rotations[:, 1, 2],
        rotations[:, 0, 2] - rotations[:, 2, 0],
        rotations[:, 1, 0] - rotations[:, 0, 1],
    ], axis=1)  # fmt: skip
    return np.concatenate([w[:, None], skew / (4 * w[:, None])], axis=1)


def multiply(p, q):
    """(..., 4) Hamilton product of quaternions (..., 4)."""
    pw, pv, qw, qv = p[..., :1], p[..., 1:], q[..., :1], q[..., 1:]
    scalar = pw * qw - (pv * qv).sum(-1, keepdims=True)
    return np.concatenate([scalar, pw * qv + qw * pv + np.cross(pv, qv)], axis=-1)


def rotate(q, v):
    """(..., 3) vectors turned by unit quaternions (..., 4)."""
    t = 2 * np.cross(q[..., 1:], v)
    return v + q[..., :1] * t + np.cross(q[..., 1:], t)


def dual_quaternion_skinning(vertices, weights, rotations, old_heads, new_heads):
    """Skins one body, (V, 3), with weights (V, B), without the volume loss of linear blending (Kavan et al. 2008)."""
    real = quaternions(rotations)
    shift = new_heads - np.einsum("bij,bj->bi", rotations, old_heads)
    dual = 0.5 * multiply(np.concatenate([np.zeros((len(shift), 1)), shift], axis=1), real)
    r, d = weights @ real, weights @ dual
    length = np.linalg.norm(r, axis=1, keepdims=True)
    r, d = r / length, d / length
    conjugate = r * np.array([1.0, -1, -1, -1])
    return rotate(r, vertices) + 2 * multiply(d, conjugate)[:, 1:]


def pose_to_t(vertices, heads, weights, bones, parents, arms=True):
    """Returns one body's vertices (V, 3), SMPL's joints (24, 3) and bone heads (B, 3) in the T-pose, pelvis at PELVIS."""
    rotations = tpose_rotations(heads, bones, parents, arms)
    new = heads.copy()
    hips = {}
    # SMPL's hip lies nearer to the middle than MakeHuman's bone: turn the leg about the anatomical centre.
    for side in "LR":
        i = bones.index(f"upperleg01.{side}")
        hips[i] = heads[i] * HIP_INWARD
    for i in range(len(bones)):
        p = parents[i]
        if p < 0:
            continue
        pivot = hips.get(i, heads[i])
        new_pivot = new[p] + rotations[p] @ (pivot - heads[p])
        new[i] = new_pivot + rotations[i] @ (heads[i] - pivot)
    posed = dual_quaternion_skinning(vertices, weights, rotations, heads, new)
    joints = smpl_joints(dict(zip(bones, new, strict=True)))
    joints[1], joints[2] = (hips[bones.index(f"upperleg01.{side}")] for side in "LR")
    joints[0, 2] = joints[1:3, 2].mean()  # the pelvis above the hips, not at the sacrum
    offset = PELVIS - joints[0]
    return posed + offset, joints + offset, new + offset


def lowered_rotations(heads, bones, parents):
    """(24, 3, 3) SMPL's local rotations from the T-pose of a rig, heads (B, 3), to the same with its A-pose's arms."""
    up, down = (tpose_rotations(heads, bones, parents, arms) for arms in (True, False))
    turn = dict(zip(bones, down @ up.transpose(0, 2, 1), strict=True))
    bone = {
        "collar": "clavicle",
        "shoulder": "upperarm01",
        "elbow": "lowerarm01",
        "wrist": "wrist",
        "hand": "finger3-1",
    }
    turned = np.tile(np.eye(3), (24, 1, 1))
    for j, name in enumerate(SMPL_JOINTS):
        side, _, stem = name.partition("_")
        if stem in bone:
            turned[j] = turn[f"{bone[stem]}.{side[0].upper()}"]
    return np.stack([turned[j] if j == 0 else turned[PARENTS[j]].T @ turned[j] for j in range(24)])


def smpl_joints(at):
    """(24, 3) SMPL's joints from MakeHuman's bone heads in the T-pose, {name: (3,)}."""
    mix = lambda a, b, t: (1 - t) * at[a] + t * at[b]
    joints = {
        "pelvis": mix("spine05", "spine04", 0.7),
        "spine1": at["spine03"],
        "spine2": mix("spine02", "spine01", 0.5),
        "spine3": at["spine01"],
        "neck": at["neck01"],
        "head": at["head"],
    }
    for name, side in (("left", "L"), ("right", "R")):
        joints[f"{name}_hip"] = at[f"upperleg01.{side}"] * HIP_INWARD
        joints[f"{name}_knee"] = at[f"lowerleg01.{side}"]
        joints[f"{name}_ankle"] = at[f"foot.{side}"]
        joints[f"{name}_foot"] = np.mean([at[f"toe{k}-1.{side}"] for k in (1, 1, 2, 3, 4)], axis=0)
        joints[f"{name}_collar"] = mix(f"clavicle.{side}", f"shoulder01.{side}", 1 / 3)
        joints[f"{name}_shoulder"] = at[f"upperarm01.{side}"]
        joints[f"{name}_elbow"] = at[f"lowerarm01.{side}"]
        joints[f"{name}_wrist"] = at[f"wrist.{side}"]
        joints[f"{name}_hand"] = np.mean([at[f"finger{k}-1.{side}"] for k in (2, 3, 4, 5)], axis=0)
    return np.stack([joints[name] for name in SMPL_JOINTS])


def smpl_bone(name):
    """Returns the SMPL joint that a MakeHuman bone's weight goes to (the spine is divided by height later)."""
    side = {"L": "left_", "R": "right_"}.get(name.rsplit(".", 1)[-1] if "." in name else "", "")
    stem = name.split(".")[0]
    table = {
        "upperleg": "hip", "lowerleg": "knee", "foot": "ankle", "toe": "foot", "clavicle": "collar", "shoulder": "collar",
        "upperarm": "shoulder", "lowerarm": "elbow", "wrist": "wrist", "metacarpal": "wrist", "finger1": "wrist",
        "finger": "hand",
    }  # fmt: skip
    for key, joint in table.items():
        if stem.startswith(key):
            return side + joint
    if stem.startswith("neck"):
        return "neck"
    if stem.startswith(("root", "pelvis", "spine", "breast")):
        return "spine3"
    return "head"
