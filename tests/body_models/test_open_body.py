"""The committed open body, checked with NumPy in float64 alone: it is what a body in SMPL's format should be."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from body_models import joints as jn

ASSET = Path(jn.__file__).parent / "open_body" / "open_body.npz"
FLIP = np.array([-1.0, 1.0, 1.0])
SHAPE = {"v_template": (3,), "shapedirs": (3, 10), "posedirs": (3, 207), "weights": (24,)}
# Where SMPL's neutral body has these joints, metres from the pelvis, rounded to 1 cm (left side).
SMPL_LAYOUT = {
    "left_hip": (0.07, -0.09, -0.01), "left_knee": (0.10, -0.47, -0.01), "left_ankle": (0.09, -0.87, -0.05),
    "left_foot": (0.12, -0.92, 0.06), "spine1": (0, 0.11, -0.03), "spine2": (0, 0.24, -0.03), "spine3": (0, 0.30, 0),
    "neck": (0, 0.51, -0.04), "head": (0, 0.58, 0.01), "left_collar": (0.08, 0.42, -0.03),
    "left_shoulder": (0.17, 0.45, -0.04), "left_elbow": (0.43, 0.44, -0.07), "left_wrist": (0.68, 0.45, -0.07),
    "left_hand": (0.77, 0.44, -0.09),
}  # fmt: skip


@pytest.fixture(scope="module")
def body():
    with np.load(ASSET, allow_pickle=False) as archive:
        arrays = {key: archive[key] for key in archive.files}
    return {k: v.astype(np.float64) if v.dtype.kind == "f" else v for k, v in arrays.items()}


@pytest.fixture(scope="module")
def mirror(body):
    """(V,) the vertex nearest to the mirror image of each vertex."""
    return nearest(body["v_template"], body["v_template"] * FLIP)


def nearest(points, queries):
    """(Q,) index of the nearest of the points (V, 3) to each query (Q, 3)."""
    squared = (points**2).sum(1)
    return np.concatenate([(squared - 2 * q @ points.T).argmin(1) for q in np.array_split(queries, 16)])


def rotation(axis, degrees):
    """(3, 3) rotation about an axis (3,), Rodrigues' formula."""
    x, y, z = np.asarray(axis, float) / np.linalg.norm(axis)
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(degrees)
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k


def pose_body(body, turns=None, betas=(), correctives=True):
    """SMPL by its formula; turns {joint name: (3, 3)}; returns vertices (V, 3), joints (24, 3), global rotations."""
    betas = np.pad(np.asarray(betas, float), (0, 10 - len(betas)))
    rotations = np.tile(np.eye(3), (24, 1, 1))
    for name, turn in (turns or {}).items():
        rotations[jn.SMPL_JOINTS.index(name)] = turn
    shaped = body["v_template"] + body["shapedirs"] @ betas
    rest = body["J_regressor"] @ shaped
    if correctives:
        shaped = shaped + body["posedirs"] @ (rotations[1:] - np.eye(3)).ravel()
    turned, moved = rotations.copy(), rest.copy()
    for j in range(1, 24):
        parent = jn.PARENTS[j]
        turned[j] = turned[parent] @ rotations[j]
        moved[j] = moved[parent] + turned[parent] @ (rest[j] - rest[parent])
    shift = moved - np.einsum("jab,jb->ja", turned, rest)
    blend = np.einsum("vj,jab->vab", body["weights"], turned)
    return np.einsum("vab,vb->va", blend, shaped) + body["weights"] @ shift, moved, turned


def volume(vertices, faces):
    """Signed volume of a closed mesh, positive when its faces are counter-clockwise seen from outside."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return (a * np.cross(b, c)).sum() / 6


def winding_numbers(points, vertices, faces):
    """(P,) how often the mesh surrounds each point: 1 inside, 0 outside (Van Oosterom and Strackee 1983)."""
    a, b, c = (vertices[faces[:, k]][None] - points[:, None] for k in range(3))
    la, lb, lc = (np.linalg.norm(v, axis=-1) for v in (a, b, c))
    triple = (a * np.cross(b, c)).sum(-1)
    denominator = la * lb * lc + (a * b).sum(-1) * lc + (b * c).sum(-1) * la + (c * a).sum(-1) * lb
    return (2 * np.arctan2(triple, denominator)).sum(1) / (4 * np.pi)


def section(vertices, faces, point, normal, radius):
    """Segments (S, 2, 3), relative to `point`, that the plane through it cuts out of a mesh within `radius` of it."""
    height = (vertices - point) @ normal
    side = height > 0
    segments = []
    for face in faces[side[faces].any(1) & ~side[faces].all(1)]:
        cuts = {}
        for k in range(3):
            i, j = face[k], face[(k + 1) % 3]
            if side[i] != side[j]:
                cuts[side[i]] = vertices[i] + (vertices[j] - vertices[i]) * height[i] / (height[i] - height[j]) - point
        segments.append((cuts[True], cuts[False]))
    segments = np.array(segments)
    return segments[np.linalg.norm(segments, axis=2).max(1) < radius]


def fan_area(segments, normal):
    """Area swept by oriented segments (S, 2, 3) seen from the origin of their plane."""
    return abs((np.cross(segments[:, 0], segments[:, 1]) @ normal).sum()) / 2


def bend(body, joint, degrees, correctives=True):
    """The cut along the bisector of a bent elbow or knee, its outer half: area (m^2), reach outward (m) and width (m).

    The inner half is left out: there the two limb segments meet, and flesh folds into flesh.
    """
    axis, outward = {"left_elbow": ((0, -1, 0), (0, 0, -1)), "left_knee": ((1, 0, 0), (0, 0, 1))}[joint]
    index = jn.SMPL_JOINTS.index(joint)
    _, joints, _ = pose_body(body)
    bone = joints[jn.PARENTS.tolist().index(index)] - joints[index]
    half = rotation(axis, degrees / 2)
    normal = half @ bone / np.linalg.norm(bone)
    outward = half @ outward - (half @ outward @ normal) * normal
    vertices, moved, _ = pose_body(body, {joint: rotation(axis, degrees)}, correctives=correctives)
    cut = section(vertices, body["f"], moved[index], normal, 0.12)
    cut = cut[cut.mean(1) @ outward > 0]
    return fan_area(cut, normal), (cut @ outward).max(), np.ptp(cut @ axis), vertices


def test_file_is_small_and_complete(body):
    assert ASSET.stat().st_size <= 3_000_000
    count = len(body["v_template"])
    assert 5000 <= count <= 7000
    for key, tail in SHAPE.items():
        assert body[key].shape == (count, *tail), key
        assert np.isfinite(body[key]).all(), key
    assert body["J_regressor"].shape == (24, count)
    assert body["J_regressor_extra"].shape == (9, count)
    assert body["landmark_vertex_ids"].shape == (21,)
    np.testing.assert_array_equal(body["kintree_table"][0].astype(np.int64), jn.PARENTS)
    np.testing.assert_array_equal(body["kintree_table"][1], np.arange(24))


def test_mesh_is_one_closed_surface_facing_outward(body):
    faces, count = body["f"], len(body["v_template"])
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    codes = edges[:, 0].astype(np.int64) * count + edges[:, 1]
    reverse = edges[:, 1].astype(np.int64) * count + edges[:, 0]
    assert len(np.unique(codes)) == len(codes), "two faces run along an edge in the same direction"
    assert set(codes.tolist()) == set(reverse.tolist()), "an edge has one face only"
    assert len(np.unique(faces)) == count
    assert count - len(edges) // 2 + len(faces) == 2  # Euler: one piece without handles
    assert 0.05 < volume(body["v_template"], faces) < 0.09  # cubic metres
    label = np.arange(count)
    for _ in range(200):
        low = label[faces].min(1)
        for corner in faces.T:
            np.minimum.at(label, corner, low)
    assert (label == 0).all()


def test_triangles_are_not_degenerate(body):
    corners = body["v_template"][body["f"]]
    double = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    longest = np.max([np.linalg.norm(corners[:, k] - corners[:, k - 1], axis=1) for k in range(3)], axis=0)
    assert (double > 0.02 * longest**2).all()
    assert longest.max() < 0.08


def test_everything_is_symmetric(body, mirror):
    template = body["v_template"]
    distance = np.linalg.norm(template[mirror] * FLIP - template, axis=1)
    assert distance.max() < 0.005  # the requirement; what follows holds it to rounding
    assert distance.max() < 1e-6
    assert (mirror[mirror] == np.arange(len(mirror))).all()
    faces = {tuple(sorted(face)) for face in body["f"].tolist()}
    assert {tuple(sorted(face)) for face in mirror[body["f"]].tolist()} == faces
    np.testing.assert_allclose(body["weights"][mirror][:, jn.MIRROR_JOINTS], body["weights"], atol=1e-6)
    np.testing.assert_allclose(body["shapedirs"][mirror] * FLIP[:, None], body["shapedirs"], atol=1e-6)
    np.testing.assert_allclose(body["J_regressor"][jn.MIRROR_JOINTS][:, mirror], body["J_regressor"], atol=1e-6)
    signs = np.outer(FLIP, FLIP)
    poses = body["posedirs"].reshape(-1, 3, 23, 3, 3)[mirror][:, :, jn.MIRROR_JOINTS[1:] - 1]
    mirrored = poses * FLIP[:, None, None, None] * signs
    np.testing.assert_allclose(mirrored.reshape(-1, 3, 207), body["posedirs"], atol=1e-6)
    landmarks = body["landmark_vertex_ids"]
    twins = [jn.LANDMARKS.index(swapped(name)) for name in jn.LANDMARKS]
    np.testing.assert_array_equal(mirror[landmarks], landmarks[twins])


def swapped(name):
    """The name of the joint or landmark on the other side."""
    return name.replace("left", "?").replace("right", "left").replace("?", "right")


def test_height_and_placement(body):
    height = np.ptp(body["v_template"][:, 1])
    assert 1.60 < height < 1.80
    pelvis = (body["J_regressor"] @ body["v_template"])[0]
    np.testing.assert_allclose(pelvis, [0, -0.22, 0], atol=0.01)
    for k in range(10):
        for size in (-3, 3):
            _, joints, _ = pose_body(body, betas=np.eye(10)[k] * size)
            np.testing.assert_allclose(joints[0], [0, -0.22, 0], atol=0.03)


def test_joints_lie_where_smpl_has_them(body):
    joints = dict(zip(jn.SMPL_JOINTS, body["J_regressor"] @ body["v_template"], strict=True))
    for name, place in SMPL_LAYOUT.items():
        assert np.linalg.norm(joints[name] - joints["pelvis"] - place) < 0.10, name
        assert np.abs(joints[name] - joints["pelvis"] - place)[:2].max() < 0.05, name
    arm = np.stack([joints[f"left_{name}"] for name in ("shoulder", "elbow", "wrist")])
    np.testing.assert_allclose(arm[:, 1:], np.broadcast_to(arm[0, 1:], (3, 2)), atol=0.015)  # straight along x
    leg = np.stack([joints[f"left_{name}"] for name in ("hip", "knee", "ankle")])
    thigh, shank = leg[0] - leg[1], leg[1] - leg[2]
    assert thigh @ shank / np.linalg.norm(thigh) / np.linalg.norm(shank) > np.cos(np.radians(8))
    assert 0.06 < joints["left_hip"][0] < 0.09


@pytest.mark.parametrize("beta", [None, *range(5)])
def test_joints_lie_inside_the_body(body, beta):
    shapes = [np.zeros(10)] if beta is None else [np.eye(10)[beta] * size for size in (-3.0, 3.0)]
    for betas in shapes:
        vertices, joints, _ = pose_body(body, betas=betas)
        np.testing.assert_allclose(winding_numbers(joints, vertices, body["f"]), 1, atol=1e-6)


def test_regressors_are_averages_of_nearby_skin(body):
    for key in ("J_regressor", "J_regressor_extra"):
        np.testing.assert_allclose(body[key].sum(1), 1, atol=1e-5)
        assert body[key].min() > -1e-3, key
        assert body[key].max() <= 1 + 1e-6
    joints = body["J_regressor"] @ body["v_template"]
    reach = np.linalg.norm(body["v_template"] - joints[:, None], axis=2)
    assert (reach * (body["J_regressor"] > 1e-6)).max() < 0.25


def test_weights_are_smooth_averages_of_few_joints(body):
    weights, faces, template = body["weights"], body["f"], body["v_template"]
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)
    assert weights.min() >= 0
    assert (weights > 0).sum(1).max() <= 4
    assert (weights.max(0) > 0.4).all(), "a joint that carries nothing"
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    jump = np.abs(weights[edges[:, 0]] - weights[edges[:, 1]]).max(1)
    length = np.linalg.norm(template[edges[:, 0]] - template[edges[:, 1]], axis=1)
    assert jump.max() < 0.6
    assert (jump / np.maximum(length, 0.005)).max() < 45  # no weight goes from 0 to 1 within 2 cm
    assert np.mean(jump > 0.3) < 0.01


def test_weights_reach_only_what_they_should(body):
    weights, template = body["weights"], body["v_template"]
    names = jn.SMPL_JOINTS
    left = [k for k, name in enumerate(names) if name.startswith("left")]
    assert weights[template[:, 0] < -0.06][:, left].max() < 0.02
    arm = [names.index(f"left_{name}") for name in ("elbow", "wrist", "hand")]
    assert weights[template[:, 0] > 0.5][:, arm].sum(1).min() > 0.98
    assert weights[template[:, 1] > 0.42][:, names.index("head")].min() > 0.9


@pytest.mark.parametrize("joint", ["left_elbow", "left_knee"])
@pytest.mark.parametrize("degrees", [60, 90, 120])
def test_elbows_and_knees_do_not_collapse(body, joint, degrees):
    rest_area, rest_reach, rest_width, rest = bend(body, joint, 0)
    area, reach, width, vertices = bend(body, joint, degrees)
    assert 0.75 < area / rest_area < 1.35
    assert 0.75 < reach / rest_reach < 1.35
    assert 0.85 < width / rest_width < 1.2
    assert abs(volume(vertices, body["f"]) / volume(rest, body["f"]) - 1) < 0.02


@pytest.mark.parametrize("joint", ["left_elbow", "left_knee"])
def test_correctives_are_what_keeps_the_volume(body, joint):
    plain, corrected = bend(body, joint, 120, correctives=False), bend(body, joint, 120)
    assert corrected[0] > 1.15 * plain[0]
    assert corrected[1] > 1.15 * plain[1]


def test_correctives_stay_small_over_ordinary_poses(body):
    generator = np.random.default_rng(0)
    for _ in range(10):
        axes = generator.normal(size=(23, 3))
        turns = np.stack([rotation(axis, generator.uniform(0, 60)) for axis in axes])
        offsets = body["posedirs"] @ (turns - np.eye(3)).ravel()
        assert np.linalg.norm(offsets, axis=1).max() < 0.06
        assert np.linalg.norm(offsets, axis=1).mean() < 0.006
    # An elbow's corrective touches nothing but the arm.
    elbow = body["posedirs"].reshape(-1, 3, 23, 9)[:, :, jn.SMPL_JOINTS.index("left_elbow") - 1]
    assert body["v_template"][np.abs(elbow).max((1, 2)) > 0][:, 0].min() > 0.25


def measures(body, betas):
    """Stature (m), volume (m^3), breadths (m) of shoulders, waist and hips, and a thigh's section over stature squared."""
    vertices, joints, _ = pose_body(body, betas=betas)
    stature = np.ptp(vertices[:, 1])
    at = dict(zip(jn.SMPL_JOINTS, joints, strict=True))

    def breadth(height):
        near = (np.abs(vertices[:, 1] - height) < 0.02) & (np.abs(vertices[:, 0]) < 0.3)
        return np.ptp(vertices[near][:, 0])

    waist = np.linspace(at["pelvis"][1], at["spine3"][1], 12)
    up = np.array([0.0, 1.0, 0.0])
    thigh = fan_area(section(vertices, body["f"], 0.5 * (at["left_hip"] + at["left_knee"]), up, 0.14), up)
    return {
        "stature": stature,
        "volume": volume(vertices, body["f"]),
        "shoulders": 2 * at["left_shoulder"][0],
        "waist": min(breadth(h) for h in waist),
        "hips": max(breadth(h) for h in np.linspace(at["left_hip"][1] - 0.08, at["pelvis"][1], 8)),
        "thigh": thigh / stature**2,
    }


def test_betas_change_height_weight_sex_and_build(body):
    low = [measures(body, np.eye(10)[k] * -3) for k in range(5)]
    high = [measures(body, np.eye(10)[k] * 3) for k in range(5)]
    change = lambda score: np.array([abs(np.log(score(b) / score(a))) for a, b in zip(low, high, strict=True)])
    height = change(lambda m: m["stature"])
    assert np.exp(height[0]) > 1.2  # more than 30 cm between short and tall
    weight = change(lambda m: m["volume"] / m["stature"] ** 2)  # as the body mass index
    assert np.exp(weight.max()) > 1.5
    sex = change(lambda m: m["shoulders"] / m["hips"])
    assert np.exp(sex.max()) > 1.25
    # Build: muscular against slight legs at nearly the same height and weight.
    build = np.where((height < np.log(1.05)) & (weight < np.log(1.15)), change(lambda m: m["thigh"]), 0)
    assert np.exp(build.max()) > 1.25
    for k in range(10):  # every direction is used, and none breaks the body
        for size in (-3, 3):
            vertices, _, _ = pose_body(body, betas=np.eye(10)[k] * size)
            moved = np.linalg.norm(vertices - body["v_template"], axis=1).max()
            assert moved > 0.005
            assert 0.025 < volume(vertices, body["f"]) < 0.14


def test_landmarks_are_where_their_names_say(body):
    template = body["v_template"]
    joints = dict(zip(jn.SMPL_JOINTS, body["J_regressor"] @ template, strict=True))
    at = dict(zip(jn.LANDMARKS, template[body["landmark_vertex_ids"]], strict=True))
    for name, point in at.items():
        if name.startswith("left"):
            assert point[0] > 0, name
    head = joints["head"]
    assert abs(at["nose"][0]) < 1e-6
    assert at["nose"][2] > head[2] + 0.08
    assert at["nose"][2] >= template[template[:, 1] > head[1]][:, 2].max() - 1e-6
    assert at["nose"][1] < at["left_eye"][1] < at["nose"][1] + 0.07
    assert 0.02 < at["left_eye"][0] < 0.045
    assert head[2] < at["left_eye"][2] < at["nose"][2]
    assert 0.06 < at["left_ear"][0] < 0.10
    assert abs(at["left_ear"][1] - at["left_eye"][1]) < 0.05
    assert at["left_ear"][2] < at["left_eye"][2] - 0.05
    ankle, foot, floor = joints["left_ankle"], joints["left_foot"], template[:, 1].min()
    assert at["left_heel"][2] < ankle[2] - 0.03
    for toe in ("left_big_toe", "left_small_toe"):
        assert at[toe][2] > foot[2]
    assert at["left_big_toe"][2] >= template[:, 2].max() - 1e-6
    assert at["left_small_toe"][0] > at["left_big_toe"][0] + 0.04
    for name in ("left_heel", "left_big_toe", "left_small_toe"):
        assert at[name][1] < floor + 0.05
    assert at["left_middle"][0] > template[:, 0].max() - 0.01
    order = ["left_index", "left_middle", "left_ring", "left_pinky"]
    assert all(at[a][2] > at[b][2] for a, b in itertools.pairwise(order))  # palms down, thumbs forward
    assert at["left_thumb"][2] > at["left_index"][2]
    assert all(at[name][0] > joints["left_hand"][0] for name in order)


def test_extra_joints_are_sensible(body):
    template = body["v_template"]
    joints = dict(zip(jn.SMPL_JOINTS, body["J_regressor"] @ template, strict=True))
    extra = dict(zip(jn.EXTRA_JOINTS, body["J_regressor_extra"] @ template, strict=True))
    right_hip, left_hip, neck, top, pelvis, thorax, spine, jaw, head = (extra[name] for name in jn.EXTRA_JOINTS)
    assert np.linalg.norm(right_hip - joints["right_hip"]) < 0.03
    assert np.linalg.norm(left_hip - joints["left_hip"]) < 0.03
    assert top[1] > template[:, 1].max() - 0.005
    for point in (neck, top, pelvis, thorax, spine, jaw, head):
        assert abs(point[0]) < 1e-5
    assert pelvis[1] < spine[1] < thorax[1] < neck[1] < jaw[1] < head[1] < top[1]
    assert np.linalg.norm(neck - joints["neck"]) < 0.05
    assert np.linalg.norm(pelvis - joints["pelvis"]) < 0.10
    inside = winding_numbers(
        np.stack([right_hip, left_hip, neck, pelvis, thorax, spine, jaw, head]), template, body["f"]
    )
    np.testing.assert_allclose(inside, 1, atol=1e-6)
