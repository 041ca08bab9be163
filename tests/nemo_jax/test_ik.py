"""Motions found again from points of the body: exact, noisy, missing, and in every awkward position."""

import os
import re
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from body_models import joints as jn
from body_models import smpl
from experiments.simulation import pitch
from nemo_jax import ik
from nemo_jax.priors import published_limits
from tests.nemo_jax import helpers

NUM = 20
LIMITS = published_limits()
LIMBS = [
    (f"{side}_{start}", f"{side}_{end}")
    for start, end in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"))
    for side in ("left", "right")
]
PAIRS = LIMBS + [
    *(("left_hip", "right_hip"), ("left_shoulder", "right_shoulder"), ("left_ear", "right_ear")),
    *(("left_hip", "left_shoulder"), ("right_hip", "right_shoulder")),
    *(("left_hip", "right_shoulder"), ("right_hip", "left_shoulder")),
    *(("left_heel", "left_big_toe"), ("right_heel", "right_big_toe")),
    *(("left_ankle", "left_big_toe"), ("right_ankle", "right_big_toe")),
    *(("left_ear", "nose"), ("right_ear", "nose"), ("left_shoulder", "left_ear"), ("right_shoulder", "right_ear")),
]
NAMES = sorted({name for pair in PAIRS for name in pair}, key=jn.ALL_JOINTS.index)
IDS = np.array([jn.ALL_JOINTS.index(name) for name in NAMES])
BONES = np.array([[NAMES.index(name) for name in pair] for pair in PAIRS])
# What the points of a skeleton with the body's own joints can settle.
SCORED = np.array([1, 2, 4, 5, 7, 8, 12, 15, 16, 17, 18, 19, 20, 21])
TO_CAMERA = Rotation.from_matrix(helpers.level_matrix(0.5))


def pitch_motion(num=NUM, begin=0.45, end=0.7):
    """Rotations (F, 24, 3, 3) of the fastest part of a pitch, root in the camera."""
    rotations = pitch.sample(np.linspace(begin, end, num)).as_matrix().reshape(num, 24, 3, 3)
    rotations[:, 0] = TO_CAMERA.as_matrix() @ rotations[:, 0]
    return rotations.astype(np.float32)


@jax.jit
def solve(body, points, weights, frame_mask, fps=30.0):
    return ik.solve(body, ik.markers_on(body, IDS, BONES), LIMITS, points, weights, frame_mask, fps)


@jax.jit
def all_joints(body, rotations):
    zero = jnp.zeros(3)
    return jax.vmap(lambda r: smpl.all_joints(body, r, jnp.zeros(body.num_betas), zero))(rotations)


def found(body, points, weights=None, frame_mask=None, fps=30.0):
    """Solves in a block of `NUM` frames, so that all tests share one program; returns the frames that exist."""
    num = len(points)
    weights = np.ones(points.shape[:2]) if weights is None else weights
    frame_mask = np.ones(num) if frame_mask is None else frame_mask
    block = [
        np.pad(x, ((0, NUM - num), *((0, 0),) * (x.ndim - 1))).astype(np.float32) for x in (points, weights, frame_mask)
    ]
    motion = solve(body, *block, fps)
    return jax.tree.map(lambda x: x[:num] if x.ndim and x.shape[0] == NUM else x, motion)


def errors(body, rotations, truth):
    """Distances (F, J) of the scored joints with the roots on each other, mm."""
    a, b = (np.asarray(all_joints(body, jnp.asarray(r)), np.float64) for r in (rotations, truth))
    return 1000 * np.linalg.norm((a - a[:, :1] - b + b[:, :1])[:, SCORED], axis=-1)


def bone_angles(body, rotations, truth):
    """Degrees (F, B) between the limbs."""
    a, b = (np.asarray(all_joints(body, jnp.asarray(r)))[:, IDS] for r in (rotations, truth))
    a, b = ((x[:, BONES[: len(LIMBS), 1]] - x[:, BONES[: len(LIMBS), 0]]) for x in (a, b))
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), np.sum(a * b, -1)))


def spoiled(points, seed=0):
    """2 cm of noise, a tenth of the points off by half a metre, a fifth missing and NaN; and the weights."""
    rng = np.random.default_rng(seed)
    noisy = points + 0.02 * rng.normal(size=points.shape)
    out = rng.random(points.shape[:2]) < 0.1
    noisy[out] += 0.3 * rng.normal(size=(out.sum(), 3))
    weights = (rng.random(points.shape[:2]) > 0.2).astype(float)
    noisy[weights == 0] = np.nan
    return noisy, weights


@pytest.fixture(scope="module")
def truth():
    return pitch_motion()


@pytest.fixture(scope="module")
def points(tiny_body, truth):
    return np.asarray(all_joints(tiny_body, jnp.asarray(truth)))[:, IDS]


@pytest.fixture(scope="module")
def exact(tiny_body, points):
    # Another size and another place in every frame: neither is to matter.
    moved = 1.3 * points + np.random.default_rng(0).normal(size=(NUM, 1, 3))
    return moved, found(tiny_body, moved)


def test_a_pitch_is_found_again(tiny_body, truth, exact):
    moved, motion = exact
    assert errors(tiny_body, motion.rotations, truth).mean() < 10
    assert bone_angles(tiny_body, motion.rotations, truth).mean() < 2
    assert np.diff(motion.cost)[1:].max() <= 1e-3 * motion.cost[0]
    np.testing.assert_allclose(motion.scale, 1.3, rtol=0.01)
    assert motion.residual.max() < 0.03
    # Where it says that the body's points are, they are.
    placed = np.asarray(all_joints(tiny_body, motion.rotations))[:, IDS]
    laid = motion.scale * placed + motion.translation[:, None]
    np.testing.assert_allclose(np.sqrt(np.mean(np.sum((laid - moved) ** 2, -1), -1)), motion.residual, atol=1e-3)


def test_rotations_are_rotations(exact):
    rotations = np.asarray(exact[1].rotations, np.float64)
    np.testing.assert_allclose(
        rotations @ rotations.swapaxes(-1, -2), np.broadcast_to(np.eye(3), (NUM, 24, 3, 3)), atol=2e-6
    )
    assert np.all(np.linalg.det(rotations) > 0)


def test_knees_and_elbows_bend_the_way_they_can(exact):
    pose = Rotation.from_matrix(np.asarray(exact[1].rotations).reshape(-1, 3, 3)).as_rotvec().reshape(NUM, 24, 3)
    index = jn.SMPL_JOINTS.index
    assert pose[:, [index("left_knee"), index("right_knee")], 0].min() > -0.1
    assert pose[:, index("left_elbow"), 1].max() < 0.2 and pose[:, index("right_elbow"), 1].min() > -0.2


def test_noise_outliers_and_gaps(tiny_body, truth, points):
    noisy, weights = spoiled(points)
    motion = found(tiny_body, noisy, weights)
    wrong = errors(tiny_body, motion.rotations, truth)
    assert wrong.mean() < 45 and np.median(wrong) < 35
    # Smoother than what it was given, and nearly as the truth.
    given = np.where(weights[..., None] > 0, noisy, points)

    def acceleration(p):
        return np.linalg.norm(np.diff(p, 2, axis=0), axis=-1).mean()

    out = np.asarray(all_joints(tiny_body, motion.rotations))[:, IDS]
    hips = [NAMES.index("left_hip"), NAMES.index("right_hip")]
    centred = [p - p[:, hips].mean(1, keepdims=True) for p in (out, given, points)]
    ours, theirs, true = map(acceleration, centred)
    assert ours < 0.4 * theirs and ours < 1.5 * true


def test_frames_nobody_is_seen_in_are_bridged(tiny_body, truth, points):
    weights = np.ones(points.shape[:2])
    weights[6:9] = 0
    hidden = np.where(weights[..., None] > 0, points, np.nan)
    motion = found(tiny_body, hidden, weights)
    assert errors(tiny_body, motion.rotations, truth)[6:9].mean() < 60
    np.testing.assert_array_equal(motion.residual[6:9], 0)


def test_a_limb_never_seen_hangs_within_its_limits(tiny_body, truth, points):
    weights = np.ones(points.shape[:2])
    weights[:, [NAMES.index("left_elbow"), NAMES.index("left_wrist")]] = 0
    motion = found(tiny_body, np.where(weights[..., None] > 0, points, np.nan), weights)
    pose = Rotation.from_matrix(np.asarray(motion.rotations).reshape(-1, 3, 3)).as_rotvec().reshape(NUM, 24, 3)[:, 1:]
    assert np.all(pose < np.asarray(LIMITS.high) + 0.15) and np.all(pose > np.asarray(LIMITS.low) - 0.15)
    assert errors(tiny_body, motion.rotations, truth)[:, SCORED != 18][:, :6].mean() < 12


def test_padding_changes_nothing(tiny_body, points):
    short = points[:12]
    alone = found(tiny_body, short)
    garbage = np.concatenate([short, np.full((NUM - 12, *points.shape[1:]), np.nan)])
    padded = found(tiny_body, garbage, frame_mask=np.arange(NUM) < 12)
    np.testing.assert_array_equal(alone.rotations, padded.rotations[:12])
    masked = found(tiny_body, short, frame_mask=np.ones(12))
    np.testing.assert_allclose(masked.rotations, alone.rotations, atol=1e-6)


@pytest.mark.parametrize("turn", [(0, np.pi, 0), (np.pi, 0, 0), (0, 0, np.pi / 2), (0, np.pi / 2, 0)])
def test_facing_away_upside_down_and_lying(tiny_body, truth, points, turn):
    matrix = Rotation.from_rotvec(turn).as_matrix()
    seen = truth.copy()
    seen[:, 0] = matrix @ seen[:, 0]
    motion = found(tiny_body, points @ matrix.T)
    assert errors(tiny_body, motion.rotations, seen).mean() < 12


@pytest.mark.parametrize("case", ["nothing", "one point", "all in one place", "half", "one frame", "far away"])
def test_hardly_anything_to_go_by(tiny_body, points, case):
    weights, given = np.ones(points.shape[:2]), points.copy()
    if case == "nothing":
        weights[:] = 0
    elif case == "one point":
        weights[:, 1:] = 0
    elif case == "all in one place":
        given[:] = 0.2
    elif case == "half":
        weights[:, ::2] = 0
    elif case == "one frame":
        given, weights = given[:1], weights[:1]
    elif case == "far away":
        given = given + 1e4
    given[weights == 0] = np.nan
    motion = found(tiny_body, given, weights)
    assert helpers.all_finite(motion)
    np.testing.assert_allclose(np.linalg.norm(motion.rotations, axis=-1), 1, atol=1e-5)
    if case in ("nothing", "one point", "all in one place"):
        # A body that stands upright in front of the camera.
        assert np.all(motion.rotations[:, 0, 1, 1] < -0.9) and motion.scale == (
            1 if case == "nothing" else motion.scale
        )


@pytest.mark.parametrize("fps", [5.0, 240.0])
def test_any_frame_rate(tiny_body, fps):
    seconds = 0.8
    # As fast as the other tests' motion: a quarter of the action in two thirds of a second.
    num = min(NUM, int(fps * seconds) + 1)
    motion = pitch_motion(num, 0.4, 0.4 + 0.375 * (num - 1) / fps)
    seen = np.asarray(all_joints(tiny_body, jnp.asarray(motion)))[:, IDS]
    assert errors(tiny_body, found(tiny_body, seen, fps=fps).rotations, motion).mean() < 15


def test_a_batch_without_jit_is_each_alone_with_it(tiny_body, points):
    given = jnp.asarray(points, jnp.float32)
    turned = jnp.asarray(points @ Rotation.from_rotvec([0, 1.0, 0]).as_matrix().T, jnp.float32)
    weights, mask = jnp.ones((NUM, len(IDS))), jnp.ones(NUM)
    markers = ik.markers_on(tiny_body, IDS, BONES)
    alone = [solve(tiny_body, p, weights, mask).rotations for p in (given, turned)]
    # The batch runs uncompiled but for its loops.
    batch = jax.vmap(lambda p: ik.solve(tiny_body, markers, LIMITS, p, weights, mask))(jnp.stack([given, turned]))
    np.testing.assert_allclose(batch.rotations, alone, atol=2e-3)


def test_gradients_are_finite(tiny_body, points):
    quick = ik.IKSettings(iterations=1)
    given = jnp.asarray(points[:4], jnp.float32).at[1].set(jnp.nan).at[2, 3].set(points[2, 2])
    weights = jnp.ones((4, len(IDS))).at[1].set(0.0)
    goal = jnp.asarray(np.random.default_rng(1).normal(size=(4, 24, 3, 3)), jnp.float32)

    def loss(points, weights, betas):
        markers = ik.markers_on(tiny_body, IDS, BONES)
        motion = ik.solve(tiny_body, markers, LIMITS, points, weights, jnp.ones(4), betas=betas, settings=quick)
        return jnp.sum(motion.rotations * goal) + motion.residual.sum() + motion.scale

    slopes = jax.jit(jax.grad(loss, (0, 1, 2)))(given, weights, jnp.zeros(tiny_body.num_betas))
    assert helpers.all_finite(slopes)
    assert np.abs(slopes[0][0]).max() > 0 and np.all(slopes[0][1] == 0)


def test_markers_sit_on_the_joint_that_moves_them(tiny_body):
    markers = ik.markers_on(tiny_body, IDS, BONES)
    carrier = dict(zip(NAMES, (jn.SMPL_JOINTS[j] for j in markers.joint), strict=True))
    assert carrier["left_knee"] == "left_knee" and carrier["nose"] == "head" and carrier["right_heel"] == "right_ankle"
    assert carrier["left_big_toe"] == "left_foot"
    assert np.all(np.asarray(markers.offset)[IDS < jn.NUM_JOINTS] == 0)
    standing = np.asarray(all_joints(tiny_body, jnp.broadcast_to(jnp.eye(3), (1, 24, 3, 3))))[0, IDS]
    rest = np.asarray(smpl.rest_joints(tiny_body, jnp.zeros(tiny_body.num_betas)))
    np.testing.assert_allclose(rest[markers.joint] + markers.offset, standing, atol=1e-6)


def test_it_lowers_for_tpu(tiny_body):
    shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((4, len(IDS), 3), (4, len(IDS)), (4,))]
    exported = jax.export.export(jax.jit(lambda *a: jax.tree.leaves(solve(tiny_body, *a))), platforms=["tpu"])(*shapes)
    text = exported.mlir_module()
    assert not re.search(r"f64|complex", text)
    assert set(re.findall(r"custom_call @([\w.]+)", text)) <= {"Eigh", "Qr", "ProductOfElementaryHouseholderReflectors"}


@pytest.mark.skipif("NEMO_DATA_DIR" not in os.environ, reason="NEMO_DATA_DIR, with recorded motions, is not set")
@pytest.mark.parametrize("name", ["kick.0", "slash.1", "wave_both_hands.1", "bow.1"])
def test_recorded_motions(tiny_body, name):
    data = np.load(Path(os.environ["NEMO_DATA_DIR"]) / "mocap" / f"{name}.npz")
    pose = data["poses"].reshape(-1, 24, 3)
    first = len(pose) // 2
    rotations = helpers.rotation(pose[first : first + NUM]).astype(np.float32)
    # z up -> a camera's y down.
    rotations[:, 0] = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]]) @ rotations[:, 0]
    seen = np.asarray(all_joints(tiny_body, jnp.asarray(rotations)))[:, IDS]
    motion = found(tiny_body, seen, fps=float(data["mocap_framerate"]))
    assert errors(tiny_body, motion.rotations, rotations).mean() < 20
    noisy, weights = spoiled(seen)
    assert errors(tiny_body, found(tiny_body, noisy, weights).rotations, rotations).mean() < 60
