"""Clips whose cameras turn and zoom: notes of them, what files say, and pans that are no jumps."""

import dataclasses

import numpy as np
from equal_datasets import assert_equal
from scipy.spatial.transform import Rotation

from experiments.data import jumps, moving_cameras, neutral, resample
from experiments.data.dataset import Dataset, Instance, stack, visible_box_size
from nemo_jax import clips as clips_lib
from tests.experiments.openpose_trees import standing

FOCAL = 1000.0


def turns(frames, degrees):
    return Rotation.from_euler("y", np.linspace(0, degrees, frames)[:, None], degrees=True).as_matrix()


def dataset(frames=20, degrees=60.0, zoom=1.5):
    """Somebody who stands before a camera that pans and zooms, and the same before a still one."""
    turn, zooms = turns(frames, degrees), np.linspace(1, zoom, frames)
    still = np.repeat(standing(300, 150)[None, :, :2], frames, 0)
    ray = np.concatenate([(still - [320, 240]) / FOCAL, np.ones((frames, 25, 1))], -1)
    seen = np.einsum("tij,tkj->tki", turn, ray)
    panned = FOCAL * zooms[:, None, None] * seen[..., :2] / seen[..., 2:] + [320, 240]
    pose = np.zeros((frames, 24, 3))
    pose[:, 0] = (Rotation.from_matrix(turn) * Rotation.from_euler("x", 180, degrees=True)).as_rotvec()
    seen_by = {"confidence": np.ones((frames, 25)), "image_size": (640.0, 480.0), "fps": 60.0}
    clips = stack(
        [
            Instance(panned, **seen_by, init_pose=pose, camera_turn=turn, zoom=zooms, turn_focal=FOCAL),
            Instance(still[:-4], **seen_by | {"confidence": np.ones((frames - 4, 25))}),
        ]
    )
    return Dataset(
        clips=clips,
        names=("panned", "still"),
        action="stand",
        box_size=visible_box_size(clips.keypoints, clips.confidence),
    )


def test_the_neutral_format_has_them(tmp_path):
    given = dataset(degrees=5.0, zoom=1.1)
    neutral.write(given, tmp_path)
    read = neutral.load(tmp_path, "stand")
    assert_equal(given, read)
    clips_lib.check(read.clips)
    # A file of a camera that stands still says nothing of it.
    neutral.write(dataclasses.replace(given.select([1]), clips=still(given.select([1]).clips)), tmp_path / "b")
    assert not {"camera_turn", "zoom", "turn_focal"} & set(np.load(tmp_path / "b" / "stand" / "still.npz"))
    assert neutral.load(tmp_path / "b", "stand").clips.camera_turn is None


def still(clips):
    return dataclasses.replace(clips, camera_turn=None, zoom=None, turn_focal=None)


def test_resampled_frames_keep_their_cameras():
    given = dataset()
    short = resample.shortest(given)
    kept = np.floor(np.arange(15) / 15 * 20).astype(int)
    np.testing.assert_array_equal(short.clips.camera_turn[0], given.clips.camera_turn[0, kept])
    np.testing.assert_array_equal(short.clips.zoom[0], given.clips.zoom[0, kept])


def test_the_note_tells_how_far():
    noted = moving_cameras.noted(dataset())
    (note,) = noted.notes
    assert "panned turns by up to 60.0 degrees and zooms 1.00 to 1.50 times" in note and "still" in note
    assert "still turns" not in note
    assert moving_cameras.noted(noted).notes == noted.notes
    # Frames chosen later are told of against the first of them.
    later = moving_cameras.noted(dataset(zoom=1.0).select(frames=slice(5, None)))
    assert "turns by up to 44.2 degrees, against" in later.notes[0]
    assert moving_cameras.noted(dataclasses.replace(dataset(), clips=still(dataset().clips))).notes == ()
    assert not moving_cameras.moves(dataset().clips, 1)


def test_roots_are_turned_into_the_first_camera():
    given = dataset()
    pose = moving_cameras.in_reference(given.clips, given.clips.init_pose)
    np.testing.assert_allclose(np.abs(pose[0, :, 0]), np.tile([np.pi, 0, 0], (20, 1)), atol=1e-5)
    np.testing.assert_array_equal(pose[1], given.clips.init_pose[1])
    assert moving_cameras.in_reference(still(given.clips), given.clips.init_pose) is given.clips.init_pose


def test_a_fast_pan_is_no_jump():
    given = dataset(frames=10, degrees=45.0)
    assert jumps.noted(given).notes == ()
    # It is one for who does not know of the pan, and another person is one in a pan too.
    assert "jumps" in jumps.noted(dataclasses.replace(given, clips=still(given.clips))).notes[0]
    keypoints = given.clips.keypoints.copy()
    keypoints[0, 6:] += 300
    jumping = jumps.noted(dataclasses.replace(given, clips=dataclasses.replace(given.clips, keypoints=keypoints)))
    assert "panned at frame 6 " in jumping.notes[0]
