"""The open body's build steps on small closed-form cases; `anny` is not needed."""

import numpy as np
import pytest

from body_models import joints as jn
from body_models.open_body import correct, reduce, render, skin, tpose

FLIP = np.array([-1.0, 1.0, 1.0])


def half_sphere(rings=12, spokes=24, radius=0.05):
    """Triangles and points of a sphere's left half, its open edge on x = 0."""
    polar = np.linspace(np.pi / 2, 0, rings + 1)[:-1]
    turn = 2 * np.pi * np.arange(spokes) / spokes
    ring = np.stack([np.zeros_like(turn), np.cos(turn), np.sin(turn)], axis=1)
    points = np.concatenate([np.sin(t) * ring + [np.cos(t), 0, 0] for t in polar] + [[[1.0, 0, 0]]]) * radius
    points[:spokes, 0] = 0
    faces = []
    for k in range(rings):
        for s in range(spokes):
            a, b = k * spokes + s, k * spokes + (s + 1) % spokes
            if k == rings - 1:
                faces.append((a, b, len(points) - 1))
            else:
                c, d = b + spokes, a + spokes
                faces += [(a, b, c), (a, c, d)]
    return np.array(faces), points


def volume(points, faces):
    a, b, c = (points[faces[:, k]] for k in range(3))
    return (a * np.cross(b, c)).sum() / 6


def test_collapse_keeps_a_sphere_round_closed_and_symmetric():
    faces, points = half_sphere()
    small = reduce.collapse(faces, points, 120, {5, len(points) - 1}, np.ones(len(points)))
    assert len(np.unique(small)) == 120
    assert {5, len(points) - 1} <= set(small.ravel().tolist())
    both = np.concatenate([points, points[points[:, 0] > 0] * FLIP])
    mirror = reduce_mirror(both)
    kept, whole, kept_mirror = reduce.mirror_mesh(small, mirror)
    edges = np.sort(np.concatenate([whole[:, [0, 1]], whole[:, [1, 2]], whole[:, [2, 0]]]), axis=1)
    _, counts = np.unique(edges, axis=0, return_counts=True)
    assert (counts == 2).all()
    assert len(kept) - len(counts) + len(whole) == 2
    np.testing.assert_allclose(both[kept][kept_mirror] * FLIP, both[kept], atol=1e-12)
    assert volume(both[kept], whole) == pytest.approx(4 / 3 * np.pi * 0.05**3, rel=0.06)


def reduce_mirror(points):
    """(V,) the vertex at the mirror image of each."""
    distance = np.linalg.norm(points[:, None] - points * FLIP, axis=2)
    return distance.argmin(axis=1)


def test_boundary_of_a_half_sphere_is_its_rim():
    faces, _ = half_sphere()
    (path,) = reduce.boundary_paths(faces)
    assert path[0] == path[-1]
    assert set(path) == set(range(24))


def test_diffusion_keeps_constants_and_widens_a_step():
    faces, points = half_sphere()
    constant = skin.diffuse(np.ones((len(points), 1)), points, faces, 0.01)
    np.testing.assert_allclose(constant, 1, atol=1e-9)
    step = (points[:, :1] > 0.025).astype(float)
    smooth = skin.diffuse(step, points, faces, 0.01)
    areas = skin.vertex_areas(points, faces)
    assert areas @ smooth == pytest.approx(areas @ step)
    assert smooth.min() > 0
    assert smooth.max() < 1


def test_dual_quaternions_move_rigid_parts_rigidly():
    generator = np.random.default_rng(0)
    rotations = correct.euler(*generator.uniform(-1, 1, (3, 2)))
    old, new = generator.normal(size=(2, 2, 3))
    vertices = generator.normal(size=(6, 3))
    weights = np.repeat(np.eye(2), 3, axis=0)
    moved = tpose.dual_quaternion_skinning(vertices, weights, rotations, old, new)
    for k in range(6):
        bone = k // 3
        np.testing.assert_allclose(moved[k], rotations[bone] @ (vertices[k] - old[bone]) + new[bone], atol=1e-9)


def test_partial_rotations_go_along_the_same_axis():
    whole = correct.euler(np.array([0.0, 1.2]), np.array([0.0, 0.0]), np.array([2.0, 0.0]))
    part = correct.partial_rotations(whole, np.array([0.0, 0.25, 1.0]))
    expected = correct.euler(np.array([0.0, 0.3]), np.array([0.0, 0.0]), np.array([0.5, 0.0]))
    np.testing.assert_allclose(part[:, 0], np.tile(np.eye(3), (2, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(part[:, 1], expected, atol=1e-12)
    np.testing.assert_allclose(part[:, 2], whole, atol=1e-12)


def test_correctives_give_back_a_bent_tubes_thickness():
    """A tube along x, bent about z at the origin: linear blending halves its middle at 120 degrees."""
    turn = 2 * np.pi * np.arange(16) / 16
    x = np.linspace(-0.1, 0.1, 21)
    points = np.array([(s, 0.04 * np.cos(t), 0.04 * np.sin(t)) for s in x for t in turn])
    share = np.clip(0.5 + points[:, 0] / 0.16, 0.02, 0.98)
    angles = np.radians(np.linspace(0, 130, 40))
    rotations = correct.euler(0 * angles, 0 * angles, -angles)
    directions = correct.fit_joint(points, share, np.ones(len(points)), rotations)
    bent = correct.euler(np.zeros(1), np.zeros(1), np.radians([-120.0]))[0]
    offset = directions @ (bent - np.eye(3)).ravel()
    blend = np.eye(3) + share[:, None, None] * (bent - np.eye(3))
    outer = np.flatnonzero((points[:, 0] == 0) & (points[:, 1] > 0.039))
    plain = np.linalg.norm(np.einsum("vij,vj->vi", blend, points)[outer], axis=1)
    corrected = np.linalg.norm(np.einsum("vij,vj->vi", blend, points + offset)[outer], axis=1)
    np.testing.assert_allclose(plain, 0.02, atol=1e-6)
    assert (corrected > 0.028).all()
    assert (corrected < 0.045).all()


def test_linear_skinning_of_a_rigid_turn_is_rigid():
    generator = np.random.default_rng(1)
    points, joints = generator.normal(size=(5, 3)), generator.normal(size=(24, 3))
    weights = generator.dirichlet(np.ones(24), 5)
    rotations = np.tile(np.eye(3), (24, 1, 1))
    rotations[0] = correct.euler(*np.array([[0.3], [0.4], [0.5]]))[0]
    moved, blend = correct.skin_linearly(points, weights, joints, rotations)
    np.testing.assert_allclose(moved, (points - joints[0]) @ rotations[0].T + joints[0], atol=1e-12)
    np.testing.assert_allclose(blend, np.broadcast_to(rotations[0], (5, 3, 3)), atol=1e-12)


@pytest.mark.parametrize(
    ("bone", "joint"),
    [
        ("upperleg02.L", "left_hip"), ("lowerleg01.R", "right_knee"), ("foot.L", "left_ankle"), ("toe5-3.R", "right_foot"),
        ("clavicle.L", "left_collar"), ("upperarm01.R", "right_shoulder"), ("finger1-2.L", "left_wrist"),
        ("metacarpal3.R", "right_wrist"), ("finger4-1.L", "left_hand"), ("neck02", "neck"), ("jaw", "head"),
        ("oculi01.L", "head"), ("breast.R", "spine3"), ("pelvis.L", "spine3"),
    ],
)  # fmt: skip
def test_makehuman_bones_go_to_smpl_joints(bone, joint):
    assert tpose.smpl_bone(bone) == joint
    assert joint in jn.SMPL_JOINTS


def test_render_draws_the_front_of_a_sphere(tmp_path):
    faces, points = half_sphere()
    image = render.render(points, faces, yaw=-90, pixels_per_metre=400, size=(60, 60), centre=(0, 0, 0))
    assert image[0, 0] == 1
    assert 0.8 < image[30, 30] < 0.95  # facing the light
    inside_out = render.render(points, faces[:, ::-1], yaw=-90, pixels_per_metre=400, size=(60, 60), centre=(0, 0, 0))
    assert inside_out[30, 30] == 0
    render.write_png(tmp_path / "sphere.png", image)
    pillow = pytest.importorskip("PIL.Image")
    with pillow.open(tmp_path / "sphere.png") as written:
        np.testing.assert_allclose(np.asarray(written) / 255, image, atol=1 / 255)
