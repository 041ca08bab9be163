"""Planted feet in files that are read back: they stand still, the rest stays."""

import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from test_export_bvh import posed as read_bvh
from test_export_glb import File

from body_models import joints as jn
from body_models import loaders
from experiments.export import amass_npz, animation, bvh, foot_locks, glb

FRAMES = 60
# Left toe, left heel, right toe, right heel: a step that rolls over the toe, and a foot that stays.
TIMES = ((5, 34), (2, 25), (40, 60), (0, 60))


@pytest.fixture(scope="module")
def clip():
    """Somebody stands with bent knees and wobbles by centimetres, or degrees."""
    body = loaders.load_body(None)
    rng = np.random.default_rng(0)
    times = np.arange(FRAMES) / 30
    wave = lambda size: size * np.sin(2 * np.pi * (times[:, None] * rng.uniform(0.5, 2, 3) + rng.uniform(0, 1, 3)))
    vectors = np.zeros((FRAMES, 24, 3))
    for side, sign in (("left", 1), ("right", -1)):
        bends = {"hip": -0.4, "knee": 0.8, "ankle": -0.4, "foot": 0.0}
        for part, bend in bends.items():
            joint = jn.SMPL_JOINTS.index(f"{side}_{part}")
            vectors[:, joint] = wave(0.04) + [bend, 0, 0.05 * sign * (part == "hip")]
    vectors[:, 0] = wave(0.05)
    rotations = Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(FRAMES, 24, 3, 3)
    contact = np.full((FRAMES, 4), 0.1)
    for point, (first, end) in enumerate(TIMES):
        contact[first:end, point] = 0.9
    motion = (np.linspace(0, 1, FRAMES), rotations, wave(0.02) + [0, 0.9, 0], rng.normal(0, 1, 10))
    return animation.posed("step", "walk", 30.0, *motion, body, contact)


@pytest.fixture(scope="module")
def locked(clip):
    return foot_locks.locked(clip)


def slide(points):
    """The farthest (mm) that points (T, ..., 3) go from their first place."""
    return 1000 * np.linalg.norm(points - points[:1], axis=-1).max()


def test_planted_points_stand_still(clip, locked):
    before, after = foot_locks.soles(clip), foot_locks.soles(locked)
    for point, (first, end) in enumerate(TIMES):
        assert slide(before[first:end, point]) > 10
        assert slide(after[first:end, point]) < 0.1
        # They stand where they were, not elsewhere.
        apart = np.linalg.norm(after[first, point] - before[first:end, point].mean(0))
        assert apart < 0.03


def test_bones_of_a_bvh_stand_still(locked, tmp_path):
    bvh.write(locked, tmp_path / "step.bvh", "y")
    names, places = read_bvh(tmp_path / "step.bvh")
    for side, flat, toe in (("left", (5, 25), (5, 34)), ("right", (40, 60), (40, 60))):
        ball = names.index(f"{side}_foot")
        for joint, (first, end) in ((names.index(f"{side}_ankle"), flat), (ball, flat), (ball + 1, toe)):
            assert slide(places[first:end, joint] / 100) < 0.1


def test_the_skin_of_a_glb_stands_still(locked, tmp_path):
    glb.write(locked, tmp_path / "step.glb")
    _, _, mesh = File(tmp_path / "step.glb").posed()
    rest = locked.rest_vertices
    for point, (first, end) in enumerate(TIMES):
        landmark = ("left_big_toe", "left_heel", "right_big_toe", "right_heel")[point]
        vertex = np.linalg.norm(rest - locked.rest_landmarks[jn.LANDMARKS.index(landmark)], axis=-1).argmin()
        assert slide(mesh[first:end, vertex]) < 1


def test_what_is_far_from_contacts_is_as_it_was(clip):
    contact = np.zeros_like(clip.contact)
    contact[:10, :2] = 1
    found = foot_locks.locked(dataclasses.replace(clip, contact=contact))
    legs = [
        joint for joint, name in enumerate(jn.SMPL_JOINTS) if name.split("_")[-1] in ("hip", "knee", "ankle", "foot")
    ]
    others = [joint for joint in range(24) if joint not in legs]
    np.testing.assert_array_equal(found.rotations[:, others], clip.rotations[:, others])
    np.testing.assert_allclose(found.rotations[20:], clip.rotations[20:], atol=2e-3)
    # It fades: from frame to frame feet hurry no more than by the fade itself.
    jumps = lambda motion: np.linalg.norm(np.diff(foot_locks.soles(motion), axis=0), axis=-1).max()
    assert jumps(found) < jumps(clip) + 0.02


def test_a_foot_out_of_reach_pulls_the_pelvis(clip):
    far = dataclasses.replace(clip, contact=np.full_like(clip.contact, 0.9))
    lifted = animation.posed(
        clip.name, clip.action, clip.fps, clip.phases, clip.rotations,
        clip.translation + np.linspace(0, 0.3, FRAMES)[:, None] * [0, 1, 0], clip.betas, clip.body, far.contact,
    )  # fmt: skip
    found = foot_locks.locked(lifted)
    assert slide(foot_locks.soles(found)) < 0.1
    assert (found.translation[-1] - lifted.translation[-1])[1] < -0.02


def test_hands_that_stand_change_nothing(clip, locked):
    contact = np.concatenate([clip.contact, np.full((FRAMES, 2), 0.9)], 1)
    found = foot_locks.locked(dataclasses.replace(clip, contact=contact))
    np.testing.assert_array_equal(found.rotations, locked.rotations)
    contact[:, :4] = 0
    alone = dataclasses.replace(clip, contact=contact)
    assert foot_locks.locked(alone) is alone


def test_without_contacts_nothing_changes(clip):
    bare = dataclasses.replace(clip, contact=None)
    assert foot_locks.locked(bare) is bare
    none = dataclasses.replace(clip, contact=np.zeros_like(clip.contact))
    assert foot_locks.locked(none) is none


def test_an_amass_file_keeps_the_floor(locked):
    mean = amass_npz.writable(locked, ground=True)
    planted = (locked.contact > 0.5).any(-1)
    assert abs(np.median((mean.lowest - locked.lowest)[planted])) < 0.02
    assert slide(foot_locks.soles(mean)[5:34, 0]) < 0.1
