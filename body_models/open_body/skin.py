"""Skinning weights, joint regressors and landmarks of the open body."""

import numpy as np
from scipy import sparse
from scipy.optimize import nnls
from scipy.sparse.linalg import splu

from body_models.joints import EXTRA_JOINTS, LANDMARKS, MIRROR_JOINTS, SMPL_JOINTS
from body_models.open_body.tpose import smpl_bone

SPINE = ["pelvis", "spine1", "spine2", "spine3"]
SPINE_BLEND = 0.16  # metres of height over which one spine joint hands over to the next
SMOOTHING = 0.014  # metres over which the merged weights are smoothed
INFLUENCES = 4
RING = 0.2  # metres: the skin that a joint is regressed from lies this near
RIDGE = 0.2  # spreads the regressor over many vertices


def vertex_areas(points, faces):
    """(V,) a third of the area of the triangles around each vertex."""
    corners = points[faces]
    area = 0.5 * np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    return np.bincount(faces.ravel(), weights=np.repeat(area / 3, 3), minlength=len(points))


def diffuse(values, points, faces, width):
    """Spreads values (V, D) over a surface as heat does, over `width` metres: one implicit step, cotangent weights."""
    count = len(points)
    stiffness = sparse.csr_matrix((count, count))
    for k in range(3):
        a, b, c = faces[:, k], faces[:, (k + 1) % 3], faces[:, (k + 2) % 3]
        u, v = points[a] - points[c], points[b] - points[c]
        cotangent = (u * v).sum(axis=1) / np.linalg.norm(np.cross(u, v), axis=1)
        half = np.maximum(0.5 * cotangent, 0.05)  # obtuse corners would make weights negative
        stiffness += sparse.csr_matrix((half, (a, b)), shape=(count, count))
    stiffness = stiffness + stiffness.T
    laplacian = sparse.diags(np.asarray(stiffness.sum(axis=1)).ravel()) - stiffness
    mass = sparse.diags(vertex_areas(points, faces))
    return splu((mass + width**2 * laplacian).tocsc()).solve(mass @ values)


def merge_weights(weights, bones, vertices, joints):
    """Sums MakeHuman's weights (V, B) per SMPL joint, the spine divided by height; returns (V, 24)."""
    merged = np.zeros((len(weights), 24))
    for b, name in enumerate(bones):
        merged[:, SMPL_JOINTS.index(smpl_bone(name))] += weights[:, b]
    ids = [SMPL_JOINTS.index(name) for name in SPINE]
    share = np.ones((len(weights), 1))
    for k in ids[1:]:
        t = np.clip((vertices[:, 1] - joints[k, 1]) / SPINE_BLEND + 0.5, 0, 1)
        share = np.concatenate([share, (t * t * (3 - 2 * t))[:, None]], axis=1)
    share[:, :-1] -= share[:, 1:]
    merged[:, ids] = merged[:, [ids[-1]]] * share
    return merged


def smooth_weights(weights, points, faces, mirror):
    """Smooths weights (V, 24) over the mesh, keeps the INFLUENCES largest of each row, makes rows sum to 1, symmetrises."""
    weights = diffuse(weights, points, faces, SMOOTHING)
    weights = 0.5 * (weights + weights[mirror][:, MIRROR_JOINTS])
    # Subtracting the next largest before cutting keeps the weights continuous where the largest ones change places.
    ranked = np.sort(weights, axis=1)[:, ::-1]
    weights = np.maximum(weights - np.maximum(ranked[:, INFLUENCES], 0.002)[:, None], 0)
    return weights / weights.sum(axis=1, keepdims=True)


def fit_regressor(template, shapes, joints, joint_shapes, mirror):
    """Joints as averages of nearby skin: exact for the template, least squares for its shape directions.

    Args:
        template: (V, 3); shapes: (V, 3, S) shape directions.
        joints: (24, 3); joint_shapes: (24, 3, S), how the joints follow the shape.
        mirror: (V,) mirror map.

    Returns:
        (24, V) regressor, rows sum to 1, with no negative entries but for rounding.
    """
    regressor = np.zeros((24, len(template)))
    for j in range(24):
        if MIRROR_JOINTS[j] < j:
            regressor[j] = regressor[MIRROR_JOINTS[j]][mirror]
            continue
        distance = np.linalg.norm(template - joints[j], axis=1)
        ids = np.flatnonzero(distance < RING)
        # The joint at the origin, and the sum of the entries (times 0.1, to be of the size of the coordinates).
        exact = np.concatenate([(template[ids] - joints[j]).T, np.full((1, len(ids)), 0.1)])
        target = np.array([0, 0, 0, 0.1])
        follow = shapes[ids].transpose(1, 2, 0).reshape(-1, len(ids))
        rows = np.concatenate([1e3 * exact, 30 * follow, RIDGE * np.eye(len(ids))])
        even = np.full(len(ids), RIDGE / len(ids))
        wanted = np.concatenate([1e3 * target, 30 * joint_shapes[j].ravel(), even])
        row, _ = nnls(rows, wanted)
        support = row > 1e-6
        row[~support] = 0
        row[support] += np.linalg.lstsq(exact[:, support], target - exact @ row, rcond=None)[0]
        regressor[j, ids] = row
        if MIRROR_JOINTS[j] == j:
            regressor[j] = 0.5 * (regressor[j] + regressor[j][mirror])
    return regressor


def find_landmarks(points, bone_weight, heads, eyes, mirror):
    """Returns (21,) vertex ids of LANDMARKS on a T-pose body.

    Args:
        points: (V, 3) metres; mirror: (V,) mirror map; eyes: left and right pupil.
        bone_weight: {MakeHuman bone: (V,)}; heads: {MakeHuman bone: (3,)}.
    """
    x, y, z = points.T
    best = lambda score, mask: np.flatnonzero(mask)[np.argmax(score[mask])]
    middle = np.abs(x) < 1e-6
    found = {"left_eye": eyes[0]}
    found["nose"] = best(z, middle & (y > heads["head"][1]))
    head = (y > heads["head"][1]) & (x > 0)
    edge = head & (x > x[head].max() - 0.015)
    centre = points[edge].mean(axis=0)
    found["left_ear"] = best(-np.linalg.norm(points - centre, axis=1), head)
    foot = (bone_weight["foot.L"] > 0.5) & (x > 0)
    sole = y[foot].min()
    found["left_heel"] = best(-z - 0.5 * np.abs(y - sole - 0.025), foot & (y < sole + 0.05))
    found["left_big_toe"] = best(z, bone_weight["toe1-2.L"] > 0.5)
    found["left_small_toe"] = best(z, bone_weight["toe5-3.L"] > 0.5)
    for finger, name in enumerate(("thumb", "index", "middle", "ring", "pinky"), 1):
        last, before = f"finger{finger}-3.L", f"finger{finger}-2.L"
        along = heads[last] - heads[before]
        found[f"left_{name}"] = best(points @ along, bone_weight[last] > 0.5)
    for name in list(found):
        if name.startswith("left_"):
            found[name.replace("left", "right")] = mirror[found[name]]
    return np.array([found[name] for name in LANDMARKS])


def extra_regressor(regressor, points, landmarks):
    """(9, V) EXTRA_JOINTS as averages of joints and skin, after the definitions of LSP, MPII and Human3.6M.

    The hips are the hip joints and MPII's pelvis their middle; LSP's neck is the middle of the neck's base; MPII's thorax
    lies between the shoulders' middle and the neck joint; Human3.6M's spine halfway from pelvis to thorax, its jaw between
    chin and skull base, its head near the top of the skull.
    """
    one = np.eye(len(points))
    joint = {name: regressor[k] for k, name in enumerate(SMPL_JOINTS)}
    middle = np.abs(points[:, 0]) < 1e-6
    crown = one[np.flatnonzero(middle)[np.argmax(points[middle, 1])]]
    nose = landmarks[LANDMARKS.index("nose")]
    front = middle & (points[:, 2] > points[nose, 2] - 0.05) & (points[:, 1] < points[nose, 1] - 0.03)
    neck_height = (regressor @ points)[12, 1]
    chin_zone = front & (points[:, 1] > neck_height)
    chin = one[np.flatnonzero(chin_zone)[np.argmin(points[chin_zone, 1] - points[chin_zone, 2])]]
    hips = 0.5 * (joint["left_hip"] + joint["right_hip"])
    shoulders = 0.5 * (joint["left_shoulder"] + joint["right_shoulder"])
    thorax = 0.5 * shoulders + 0.5 * joint["neck"]
    rows = {
        "right_hip_h36m": joint["right_hip"], "left_hip_h36m": joint["left_hip"],
        "neck_lsp": 0.85 * joint["neck"] + 0.15 * joint["head"], "top_of_head": crown,
        "pelvis_mpii": hips, "thorax_mpii": thorax, "spine_h36m": 0.5 * (hips + thorax),
        "jaw_h36m": 0.5 * (joint["head"] + chin), "head_h36m": 0.35 * joint["head"] + 0.65 * crown,
    }  # fmt: skip
    return np.stack([rows[name] for name in EXTRA_JOINTS])
