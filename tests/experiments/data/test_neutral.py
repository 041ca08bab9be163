"""The neutral format: what is written is read back, and little is required."""

import dataclasses
import os

import numpy as np
import pytest
from equal_datasets import assert_equal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from neutral_files import minimal, save

from experiments.data import neutral
from experiments.data.bystanders import Bystanders
from experiments.data.calibration import Calibration
from experiments.data.camera import Camera
from experiments.data.dataset import Dataset, DatasetError, Instance, Video, pad, stack, visible_box_size
from nemo_jax import clips as clips_lib
from nemo_jax.clips import GroundTruth


def complete(folder, lengths=(3, 6, 5), seed=0):
    """A dataset with every optional field set, some instances with more than others."""
    rng = np.random.default_rng(seed)

    def noise(*shape):
        return rng.normal(size=shape)

    instances = []
    for number, frames in enumerate(lengths):
        confidence = rng.uniform(size=(frames, 25)) * (rng.random((frames, 25)) < 0.9)
        confidence[0, 0] = 0.7
        instances.append(
            Instance(
                keypoints=rng.uniform(0, 480, (frames, 25, 2)),
                confidence=confidence,
                image_size=(640.0, 480.0 + number),
                init_pose=noise(frames, 24, 3) if number != 1 else None,
                init_mask=(rng.random(frames) < 0.8).astype(float) if number != 1 else None,
                focal_length=[np.nan, 1234.567, 900.0][number % 3],
                fps=[29.97, 240.0, 25.0][number % 3],
            )
        )
    clips = stack(instances)

    def timed(*shape):
        return pad([noise(frames, *shape) for frames in lengths])

    def masks():
        return pad([(rng.random(frames) < 0.5).astype(float) for frames in lengths])

    n = len(lengths)
    cameras = tuple(
        Camera(np.linalg.qr(noise(3, 3))[0] * [1, 1, 1], noise(3), 1500 + float(noise()), (640, 480)) for _ in range(n)
    )
    cameras = tuple(
        dataclasses.replace(c, world_from_camera=c.world_from_camera * np.linalg.det(c.world_from_camera))
        for c in cameras
    )
    # As one video, of which a middle frame is missing, and as pictures.
    frame_paths = [
        tuple(str(folder / "pictures" / f"{n}" / f"{t}.jpg") for t in range(f)) for n, f in enumerate(lengths)
    ]
    frame_paths[0] = (frame_paths[0][0], None, *frame_paths[0][2:])
    frame_paths[1] = None
    film = np.arange(lengths[1]) * 2
    film[0] = -1
    return Dataset(
        clips=clips,
        names=tuple(f"pitch {chr(0xE9 + number)}.{10 - number}" for number in range(n)),
        action="tennis swing",
        box_size=timed(),
        truth=GroundTruth(
            pose=timed(24, 3), translation=timed(3), betas=noise(n, 16).astype(np.float32), joints=timed(25, 3)
        ),
        cameras=cameras,
        frame_paths=tuple(frame_paths),
        videos=(None, Video(str(folder / "films" / "a b.mp4"), film, 270), *[None] * (n - 2)),
        bystanders=(Bystanders(np.full((lengths[0], 2, 4), [3, 4, 30, 40], np.float32)), *[None] * (n - 1)),
        notes=("Somebody measured this.", "Twice; see naïve.txt."),
        annotated=(0, 2, 5, 24),
        head_point="top_of_head",
        view=("left", "", *["front"] * (n - 2)),
        synthetic=True,
        other_poses={"4D-Humans": (timed(24, 3), masks()), "ä/b": (timed(24, 3), masks())},
        reference_2d=(
            pad([rng.uniform(0, 480, (frames, 25, 2)) for frames in lengths]),
            pad([rng.random((frames, 25)) for frames in lengths]),
        ),
        source_frames=np.arange(n) + 100,
        picture_lenses=(
            *[None] * (n - 1),
            Calibration("", (640.0, 479.0 + n), noise(3, 3).astype(np.float32), noise(8).astype(np.float32)),
        ),
    )


def positive(dataset):
    return dataclasses.replace(dataset, box_size=np.abs(dataset.box_size))


def test_every_field_comes_back(tmp_path):
    dataset = positive(complete(tmp_path))
    unset = [f.name for f in dataclasses.fields(Dataset) if getattr(dataset, f.name) is f.default]
    assert not unset, "a new field of Dataset that this test does not set"
    paths = neutral.write(dataset, tmp_path / "out")
    assert [path.name for path in paths] == [f"{name}.npz" for name in dataset.names]
    read = neutral.load(tmp_path / "out", dataset.action)
    assert_equal(dataset, read)
    clips_lib.check(read.clips)
    # Written again it is the same once more, over the first.
    neutral.write(read, tmp_path / "out")
    assert_equal(dataset, neutral.load(tmp_path / "out", dataset.action))


def test_the_synthetic_action_comes_back(tiny_dataset, tmp_path):
    neutral.write(tiny_dataset, tmp_path)
    assert_equal(tiny_dataset, neutral.load(tmp_path, tiny_dataset.action))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.integers(1, 7), min_size=2, max_size=4),
    seed=st.integers(0, 1000),
    dropped=st.sets(
        st.sampled_from(
            [
                "truth",
                "cameras",
                "frame_paths",
                "videos",
                "notes",
                "view",
                "other_poses",
                "source_frames",
                "reference_2d",
            ]
        )
    ),
    action=st.text(st.characters(codec="utf-8", exclude_characters="/\\\0", exclude_categories=["Cc"]), min_size=1),
)
def test_any_dataset_comes_back(lengths, seed, dropped, action, tmp_path_factory):
    folder = tmp_path_factory.mktemp("any")
    lengths[0] = max(lengths[0], 2)
    dataset = positive(complete(folder, tuple(lengths), seed))
    defaults = {f.name: f.default for f in dataclasses.fields(Dataset)} | {"other_poses": {}}
    action = "a" + action[:40]
    dataset = dataclasses.replace(dataset, action=action, **{name: defaults[name] for name in dropped})
    neutral.write(dataset, folder)
    assert_equal(dataset, neutral.load(folder, action))


def test_files_move_with_their_pictures(tmp_path):
    dataset = positive(complete(tmp_path / "here"))
    neutral.write(dataset, tmp_path / "here" / "data")
    os.rename(tmp_path / "here", tmp_path / "there")
    read = neutral.load(tmp_path / "there" / "data", dataset.action)
    assert read.frame_paths[2] == tuple(str(tmp_path / "there" / "pictures" / "2" / f"{t}.jpg") for t in range(5))
    assert read.videos[1].path == str(tmp_path / "there" / "films" / "a b.mp4")
    for file in (tmp_path / "there").rglob("*.npz"):
        stored = np.load(file, allow_pickle=False)
        assert all(array.dtype != object for array in stored.values())
        assert str(tmp_path) not in "".join(map(str, stored.values()))


def test_three_arrays_are_enough(tmp_path):
    arrays = minimal(5)
    arrays["confidence"][1:3, 4] = 0
    arrays["keypoints"][1, 4] = np.nan
    save(tmp_path / "mine.npz", **arrays)
    dataset = neutral.load(tmp_path, "jump")
    clips_lib.check(dataset.clips)
    assert dataset.names == ("mine",)
    assert dataset.action == "jump"
    assert dataset.clips.fps.tolist() == [30]
    assert np.isnan(dataset.clips.focal_length).all()
    assert dataset.clips.image_size.tolist() == [[640, 480]]
    assert not dataset.clips.init_mask.any()
    assert dataset.clips.frame_mask.tolist() == [[1] * 5]
    assert dataset.clips.keypoints[0, 1, 4].tolist() == [0, 0]
    np.testing.assert_array_equal(dataset.clips.keypoints[0, 0], arrays["keypoints"][0].astype(np.float32))
    expected = visible_box_size(np.nan_to_num(arrays["keypoints"]), arrays["confidence"])
    np.testing.assert_array_equal(dataset.box_size, expected[None])
    rest = (dataset.truth, dataset.cameras, dataset.frame_paths, dataset.videos, dataset.view, dataset.source_frames)
    assert rest == (None,) * 6
    assert dataset.annotated == tuple(range(25))
    assert dataset.head_point == "nose"
    assert not dataset.synthetic
    assert dataset.notes == ()


def test_masks_and_their_defaults(tmp_path):
    pose = np.full((4, 24, 3), 0.5)
    pose[1] = np.nan
    save(tmp_path / "masked.npz", **minimal(), init_pose=pose, init_mask=np.array([True, False, True, True]))
    save(tmp_path / "no_mask.npz", **minimal(), init_pose=np.nan_to_num(pose))
    others = np.stack([pose, np.ones_like(pose)])
    save(tmp_path / "other.npz", **minimal(), other_names=["A", "B"], other_poses=others, other_masks=np.eye(4)[[0, 2]])
    save(tmp_path / "z.npz", **minimal(), other_names=["C"], other_poses=others[1:])
    dataset = neutral.load(tmp_path, "a")
    assert dataset.clips.init_mask.tolist() == [[1, 0, 1, 1], [1, 1, 1, 1], [0] * 4, [0] * 4]
    assert dataset.clips.init_pose[0, :2, 0, 0].tolist() == [0.5, 0]
    assert list(dataset.other_poses) == ["A", "B", "C"]
    assert [mask.sum(1).tolist() for _, mask in dataset.other_poses.values()] == [
        [0, 0, 1, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 4],
    ]
    assert dataset.other_poses["B"][0][2].tolist() == others[1].tolist()
    assert all(np.isfinite(pose).all() for pose, _ in dataset.other_poses.values())


def test_actions_share_a_folder(tmp_path):
    save(tmp_path / "a.npz", **minimal(2), action="kick")
    save(tmp_path / "b.npz", **minimal(3), action="bow")
    save(tmp_path / "c.npz", **minimal(4), action="kick", name="kick one", order=-1)
    save(tmp_path / "d.npz", **minimal(5))
    assert neutral.load(tmp_path, "kick").names == ("kick one", "a", "d")
    assert neutral.load(tmp_path, "kick", 1).names == ("kick one",)
    assert neutral.load(tmp_path, "kick", ids="d,a").names == ("a", "d")
    with pytest.raises(DatasetError, match=r"--ids=b: there is no b of kick in .*, which has a, d, kick one"):
        neutral.load(tmp_path, "kick", ids="b")
    assert neutral.load(tmp_path, "bow").names == ("b", "d")
    # A folder of the action's own goes first; in it the key need not be.
    save(tmp_path / "bow" / "x.10.npz", **minimal(6))
    save(tmp_path / "bow" / "x.9.npz", **minimal(6))
    assert neutral.load(tmp_path, "bow").names == ("x.9", "x.10")


def test_only_what_all_have_is_used(tmp_path):
    truth = {
        "truth_pose": np.zeros((4, 24, 3)),
        "truth_translation": np.zeros((4, 3)),
        "truth_joints": np.ones((4, 25, 3)),
    }
    save(tmp_path / "a.npz", **minimal(), **truth, annotated=[1, 2, 3], synthetic=True)
    save(tmp_path / "b.npz", **minimal(), annotated=[3, 1], source_frames=9, view="left")
    dataset = neutral.load(tmp_path, "x")
    assert (dataset.truth, dataset.source_frames) == (None, None)
    assert dataset.annotated == (1, 3)
    assert dataset.view == ("", "left")
    assert dataset.synthetic
    assert len(dataset.notes) == 3
    assert "Only 1 of 2 files have ground truth (truth_pose)" in " ".join(dataset.notes)
    (tmp_path / "b.npz").unlink()
    alone = neutral.load(tmp_path, "x")
    assert alone.truth.betas.tolist() == [[0] * 10]
    assert alone.truth.joints[0, 3, 24].tolist() == [1, 1, 1]


def test_folders_are_recognised(tmp_path):
    (tmp_path / "empty").mkdir()
    assert not neutral.recognises(tmp_path)
    save(tmp_path / "kick" / "a.npz", **minimal())
    assert neutral.recognises(tmp_path)
    assert neutral.recognises(tmp_path / "kick")
    os.rename(tmp_path / "kick" / "a.npz", tmp_path / "kick" / ".unfinished.a.npz")
    assert not neutral.recognises(tmp_path)
