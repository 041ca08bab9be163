"""`Dataset.select`: every field follows the instances and frames chosen, and none can be forgotten."""

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

from experiments.data import padding, select
from experiments.data.calibration import Calibration
from experiments.data.camera import Camera
from experiments.data.dataset import Dataset, Video, pad
from experiments.data.footage import Footage
from nemo_jax import clips as clips_lib
from nemo_jax.clips import Clips, GroundTruth
from nemo_jax.instances import Instance

LENGTHS = (3, 6, 4)


def counting(*shape: int) -> np.ndarray:
    """Arrays (N, T, *shape) that hold 100 times the instance plus the frame plus 1 everywhere; zeros in the padding."""
    rows = [100.0 * n + np.arange(1, length + 1) for n, length in enumerate(LENGTHS)]
    return pad([np.broadcast_to(row.reshape(-1, *[1] * len(shape)), (len(row), *shape)) for row in rows])


@pytest.fixture
def whole() -> Dataset:
    n = len(LENGTHS)
    fields: dict[str, Any] = {
        "keypoints": counting(25, 2),
        "confidence": counting(25),
        "frame_mask": pad([np.ones(length) for length in LENGTHS]),
        "init_pose": counting(24, 3),
        "init_mask": counting(),
        "image_size": np.arange(2 * n).reshape(n, 2),
        "focal_length": np.arange(n),
        "fps": np.arange(n) + 30.0,
        "lens": np.arange(n) * 1.0,
        "take": np.arange(n) * 1.0,
        "offset": np.arange(n) * 0.1,
        "real": np.ones(n),
        "height": np.arange(n) + 1.5,
        "principal": np.arange(2 * n).reshape(n, 2) * 1.0,
        "camera_known": np.arange(9 * n).reshape(n, 9) * 1.0,
        "camera_turn": counting(3, 3),
        "zoom": counting(),
        "turn_focal": np.arange(n) + 900.0,
    }
    truth: dict[str, Any] = {
        "pose": counting(24, 3),
        "translation": counting(3),
        "betas": np.arange(n)[:, None],
        "joints": counting(25, 3),
    }
    return Dataset(
        clips=Clips(**fields),
        names=("a", "b", "c"),
        action="walk",
        box_size=counting(),
        truth=GroundTruth(**truth),
        cameras=tuple(Camera(np.eye(3), np.zeros(3), float(k), (1, 1)) for k in range(n)),
        frame_paths=(("1", None, "3"), None, ("101", "102", "103", "104")),
        videos=(None, Video("b.mp4", np.arange(6) * 2), None),
        notes=("so",),
        annotated=(1, 2),
        head_point="top_of_head",
        view=("left", "", "front"),
        picture_lenses=(None, Calibration("", None, np.eye(3), np.zeros(8)), None),
        synthetic=True,
        other_poses={"other": (counting(24, 3), counting())},
        reference_2d=(counting(25, 2), counting(25)),
        source_frames=np.arange(n) + 50,
    )


def leaves(value: Any, kind: str, name: str = "") -> dict[str, np.ndarray]:
    """The arrays of a dataset, its clips and its truth whose axes are `kind`, by name."""
    found = {}
    for field, axes in select.axes_of(type(value)).items():
        own = getattr(value, field)
        if axes == "parts":
            found |= leaves(own, kind, f"{field}.")
        elif axes == kind == "frame":
            found |= {f"{name}{field}{k}": leaf for k, leaf in enumerate(jax.tree.leaves(own))}
        elif axes == kind:
            found[f"{name}{field}"] = own
    return found


@pytest.mark.parametrize("kind", [Dataset, Clips, GroundTruth])
def test_every_field_says_its_axes(kind):
    assert set(select.axes_of(kind)) == {field.name for field in dataclasses.fields(kind)}


def test_a_field_that_says_nothing_is_found():
    @dataclasses.dataclass(frozen=True)
    class Wider(Dataset):
        takes: tuple[int, ...] = ()

    with pytest.raises(TypeError, match=r"Wider\.takes does not say which axes it has"):
        select.axes_of(Wider)


def test_the_axes_are_those_of_the_arrays(whole):
    timed = [name for name, axes in select.axes_of(Clips).items() if axes == "frame"]
    assert sorted(timed) == sorted(clips_lib.TIMED)
    assert {leaf.shape[:2] for leaf in leaves(whole, "frame").values()} == {(3, 6)}
    assert len(leaves(whole, "frame")) == 7 + 1 + 3 + 2 + 2
    assert {len(leaf) for leaf in leaves(whole, "instance").values()} == {3}


def test_a_field_added_later_is_taken_along(whole):
    @dataclasses.dataclass(frozen=True)
    class Wider(Dataset):
        shake: Any = dataclasses.field(default=None, metadata=select.PER_FRAME)

    wider: Any = Wider(**{f.name: getattr(whole, f.name) for f in dataclasses.fields(Dataset)}, shake=counting(3, 3))
    assert wider.select([2]).shake[0, :, 0, 0].tolist() == [201, 202, 203, 204]


def test_instances_in_another_order(whole):
    got = whole.select([2, 0])
    assert got.names == ("c", "a")
    for name, array in leaves(got, "frame").items():
        expected = leaves(whole, "frame")[name][[2, 0], :4]
        np.testing.assert_array_equal(array, expected, err_msg=name)
        assert array.dtype == expected.dtype
    for name, values in leaves(got, "instance").items():
        before = leaves(whole, "instance")[name]
        assert [np.asarray(v).tolist() if isinstance(v, np.ndarray) else v for v in values] == [
            np.asarray(before[k]).tolist() if isinstance(before[k], np.ndarray) else before[k] for k in (2, 0)
        ], name
    assert got.frame_paths == (("101", "102", "103", "104"), ("1", None, "3"))
    assert got.videos == (None, None)
    assert (got.notes, got.annotated, got.head_point, got.synthetic) == (("so",), (1, 2), "top_of_head", True)


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (4, [[1, 2, 3], [101, 102, 103, 104], [201, 202, 203, 204]]),
        (slice(1, 5), [[2, 3], [102, 103, 104, 105], [202, 203, 204]]),
        (slice(-2, None), [[2, 3], [105, 106], [203, 204]]),
        ([range(1, 3), [0, 0, 5], np.array([3])], [[2, 3], [101, 101, 106], [204]]),
        (np.array([[0, -1], [4, 5], [2, 3]]), [[1], [105, 106], [203, 204]]),
    ],
)
def test_frames(frames, expected, whole):
    got = whole.select(frames=frames)
    assert got.clips.frame_mask.tolist() == pad([np.ones(len(row)) for row in expected]).tolist()
    for name, array in leaves(got, "frame").items():
        if "frame_mask" not in name:
            first = array.reshape(*array.shape[:2], -1)[..., 0]
            np.testing.assert_array_equal(first, pad([np.array(row) for row in expected]), err_msg=name)
    assert got.frame_paths is not None
    assert got.videos is not None
    assert got.frame_paths[0] == tuple({1: "1", 2: None, 3: "3"}[k] for k in expected[0])
    assert got.videos[1].frames.tolist() == [2 * (k - 101) for k in expected[1]]
    assert got.names == whole.names


def test_takes_of_one_film(whole):
    got = whole.select([1, 1], [range(3), range(3, 6)])
    assert got.clips.keypoints[:, :, 0, 0].tolist() == [[101, 102, 103], [104, 105, 106]]
    assert [video.frames.tolist() for video in got.videos] == [[0, 2, 4], [6, 8, 10]]
    assert got.view == ("", "")


@pytest.mark.parametrize(
    ("instances", "frames", "message"),
    [
        (None, slice(3, None), "no frame is left of instance 0"),
        (None, 0, "no frame is left of instance 0"),
        ([1], [[-1, 0]], "instance 0 of those chosen has an empty slot before a frame"),
        ([0], [[0, 5, 1]], "instance 0 of those chosen has an empty slot before a frame"),
        ([0, 1], [[0]], "frames are chosen of 1 instances, expected 2"),
        ([3], None, "out of bounds"),
        ([0], [[9]], "out of bounds"),
    ],
)
def test_what_cannot_be_chosen(instances, frames, message, whole):
    with pytest.raises((ValueError, IndexError), match=message):
        whole.select(instances, frames)


def test_padding_adds_empty_slots_and_nothing_else(whole):
    wide = padding.dataset(whole)
    slots = padding.slots(6)
    assert slots > 6
    for name, array in leaves(wide, "frame").items():
        before = leaves(whole, "frame")[name]
        np.testing.assert_array_equal(array, padding.array(before, slots), err_msg=name)
        assert array.dtype == before.dtype
    assert wide.frame_paths == whole.frame_paths
    assert wide.videos == whole.videos
    np.testing.assert_array_equal(padding.clips(whole.clips).init_pose, wide.clips.init_pose)
    assert padding.clips(whole.clips).fps is whole.clips.fps


def test_one_instance_is_cut_like_the_clips_it_becomes():
    own = Instance(np.ones((5, 25, 2)), np.ones((5, 25)), (4, 3), np.ones((5, 24, 3)), None, fps=25.0)
    cut: Any = select.first(own, 2, Clips)
    assert (cut.keypoints.shape, cut.confidence.shape, cut.init_pose.shape) == ((2, 25, 2), (2, 25), (2, 24, 3))
    assert (cut.init_mask, cut.fps, cut.image_size) == (None, 25.0, (4, 3))


def test_footage_is_cut():
    pictures = Footage(3, (4, 3), ("a", None, "c")).cut(2)
    assert (pictures.num_frames, pictures.paths, pictures.video) == (2, ("a", None), None)
    film = Footage(3, (4, 3), video=Video("a.mp4", np.array([0, 2, 5])), fps=25.0).cut(2)
    assert (film.paths, film.video, film.fps) == (None, Video("a.mp4", np.array([0, 2])), 25.0)
