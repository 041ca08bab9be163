"""The neutral format: what is written is read back, little is required, and what is wrong is said in one sentence."""

import dataclasses
import os
import pickle
import re

import numpy as np
import pytest
from equal_datasets import assert_equal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from experiments.data import neutral
from experiments.data.bystanders import Bystanders
from experiments.data.calibration import Calibration
from experiments.data.camera import Camera
from experiments.data.dataset import Dataset, DatasetError, Instance, Video, pad, stack, visible_box_size
from nemo_jax import clips as clips_lib
from nemo_jax.clips import GroundTruth


def minimal(frames=4, **changes):
    rng = np.random.default_rng(frames)
    arrays = {
        "keypoints": rng.uniform([0, 0], [640, 480], (frames, 25, 2)),
        "confidence": rng.uniform(0.1, 1, (frames, 25)),
        "image_size": np.array([640, 480]),
    }
    return {**arrays, **changes}


def save(path, **arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    return path


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
        videos=(None, Video(str(folder / "films" / "a b.mp4"), film), *[None] * (n - 2)),
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


TRUTH = {
    "truth_pose": np.zeros((4, 24, 3)),
    "truth_translation": np.zeros((4, 3)),
    "truth_joints": np.zeros((4, 25, 3)),
}
CAMERA = {"world_from_camera": np.eye(3), "camera_position": np.zeros(3), "camera_focal": 1000.0}
BAD = {
    "no keypoints": ({"keypoints": None}, r"it has no keypoints; found confidence, image_size"),
    "typo": ({"focal_lenght": 3.0}, r"focal_lenght is not a key of the neutral format; did you mean focal_length"),
    "unknown": ({"zzzz": 3.0}, r"zzzz is not a key of the neutral format; docs/data.md"),
    "motion": (
        {"keypoints": None, "poses": np.zeros((3, 72)), "trans": np.zeros((3, 3))},
        r"it holds a motion \(poses, trans\) and no keypoints; `python run.py simulate",
    ),
    "joints": (
        {"keypoints": np.ones((4, 17, 2))},
        r"keypoints has shape \(4, 17, 2\), expected \(F, 25, 2\)",
    ),
    "frames": (
        {"confidence": np.ones((5, 25))},
        r"confidence has shape \(5, 25\), expected \(4, 25\) where keypoints have 4 frames",
    ),
    "third axis": ({"confidence": np.ones((4, 25, 1))}, r"confidence has shape \(4, 25, 1\), expected \(4, 25\)"),
    "no frames": (
        {"keypoints": np.ones((0, 25, 2)), "confidence": np.ones((0, 25))},
        r"keypoints have 0 frames, expected at least 1",
    ),
    "text": ({"fps": "30"}, r"fps is an array of <U2, expected numbers"),
    "complex": ({"fps": 30j}, r"fps is an array of complex128, expected numbers"),
    "objects": ({"fps": np.array([None])}, r"not a \.npz file of plain arrays.*Object arrays cannot be loaded"),
    "many": ({"fps": [30.0, 30.0]}, r"fps has shape \(2,\), expected \(\)"),
    "seen NaN": ({"keypoints": np.full((4, 25, 2), np.nan)}, r"keypoints has 200 values.*\[0, 0, 0\].*confidence 0"),
    "too large": ({"keypoints": np.full((4, 25, 2), 1e300)}, r"keypoints has 200 values that are NaN or too large"),
    "confidence NaN": ({"confidence": np.full((4, 25), np.nan)}, r"confidence has 100 values that are NaN"),
    "confidence": ({"confidence": np.full((4, 25), 87.5)}, r"confidence holds 87.5, expected numbers from 0 to 1"),
    "negative": ({"confidence": np.full((4, 25), -0.5)}, r"confidence holds -0.5, expected 0 or more"),
    "nobody": ({"confidence": np.zeros((4, 25))}, r"confidence is 0 everywhere, so nothing of the person is seen"),
    "image": ({"image_size": [0, 480]}, r"image_size holds 0, expected more than 0"),
    "fps": ({"fps": 0}, r"fps holds 0, expected more than 0"),
    "infinite": ({"focal_length": np.inf}, r"focal_length has 1 values that are NaN or too large, expected numbers"),
    "mask": ({"init_pose": np.zeros((4, 24, 3)), "init_mask": np.full(4, 0.5)}, r"init_mask holds 0.5, expected 0 or 1"),
    "mask alone": ({"init_mask": np.ones(4)}, r"it has init_mask but no init_pose\)"),
    "seen pose": (
        {"init_pose": np.full((4, 24, 3), np.nan)},
        r"init_pose has 288 values.*; mark what is missing by init_mask 0",
    ),
    "22 joints": ({"init_pose": np.zeros((4, 22, 3))}, r"init_pose has shape \(4, 22, 3\), expected \(4, 24, 3\)"),
    "half truth": ({"truth_pose": np.zeros((4, 24, 3))}, r"it has truth_pose but no truth_translation; give"),
    "half camera": ({"camera_focal": 1000.0}, r"it has camera_focal but no world_from_camera; give"),
    "reflection": (
        {"world_from_camera": np.diag([1.0, 1, -1]), "camera_position": np.zeros(3), "camera_focal": 1000.0},
        r"world_from_camera is not a rotation",
    ),
    "annotated": ({"annotated": [0, 25]}, r"annotated holds 25, expected keypoints from 0 to 24"),
    "annotated float": ({"annotated": [0.0]}, r"annotated is an array of float64, expected whole numbers"),
    "head": ({"head_point": "chin"}, r"head_point is 'chin', expected one of nose, top_of_head, head_centre"),
    "pictures": ({"frame_paths": ["a.jpg"]}, r"frame_paths names 1 pictures for 4 frames"),
    "film": ({"video_path": "a.mp4", "video_frames": [0, 2, -1, 1]}, r"video_frames go back in the film"),
    "film alone": ({"video_frames": [0, 1, 2, 3]}, r"it has video_frames but no video_path"),
    "method": ({"other_names": ["fit"], "other_poses": np.zeros((1, 4, 24, 3))}, r"other_names holds 'fit'"),
    "methods": (
        {"other_names": ["A"], "other_poses": np.zeros((2, 4, 24, 3))},
        r"other_poses has shape \(2, 4, 24, 3\), expected \(1, 4, 24, 3\)",
    ),
    "name": ({"name": "../x"}, r"name is '\.\./x', expected one that can name a file"),
    "action": ({"action": 3}, r"action is an array of int64, expected text"),
    "synthetic": ({"synthetic": 1}, r"synthetic is an array of int64, expected true or false"),
    "frame rate": ({"fps": 2910.0}, r"fps holds 2910, expected frames per second from 1 to 1000"),
    "huge image": ({"image_size": [640e9, 480e9]}, r"image_size holds 6.4e\+11, expected pixels from 8 to 100000"),
    "focal": ({"focal_length": 1200e9}, r"focal_length holds 1.2e\+12, expected pixels from 10 to 1e\+06"),
    "box": ({"box_size": np.full(4, 3e11)}, r"box_size holds 3e\+11, expected pixels from 0 to 1e\+06"),
    "angles": ({"init_pose": np.full((4, 24, 3), 2e9)}, r"init_pose holds 2e\+09, expected radians from -100 to 100"),
    "betas": ({**TRUTH, "truth_betas": [1e9] * 10}, r"truth_betas holds 1e\+09, expected shape coefficients from -20 to 20"),
    "far": ({**TRUTH, "truth_translation": np.full((4, 3), 1500.0)}, r"truth_translation holds 1500, expected metres from"),
    "joints far": ({**TRUTH, "truth_joints": np.full((4, 25, 3), -1e9)}, r"truth_joints holds -1e\+09, expected metres"),
    "turned": ({**TRUTH, "truth_pose": np.full((4, 24, 3), 1e9)}, r"truth_pose holds 1e\+09, expected radians"),
    "camera far": ({**CAMERA, "camera_position": [0, 0, 5e9]}, r"camera_position holds 5e\+09, expected metres"),
    "camera focal": ({**CAMERA, "camera_focal": 1e-6}, r"camera_focal holds 1e-06, expected pixels from 10"),
    "turn": ({"camera_turn": np.ones((4, 3, 3))}, r"camera_turn of frame 0 is not a rotation"),
    "turn NaN": ({"camera_turn": np.full((4, 3, 3), np.nan)}, r"camera_turn has 36 values that are NaN"),
    "turns": ({"camera_turn": np.eye(3)}, r"camera_turn has shape \(3, 3\), expected \(4, 3, 3\)"),
    "no zoom": ({"zoom": [1, 1, 0, 1.0]}, r"zoom holds 0.0, expected more than 0"),
    "zoom": ({"zoom": [1, 1, 500.0, 1]}, r"zoom holds 500, expected times the first focal length from 0.01 to 100"),
    "turn focal": ({"turn_focal": 1.0}, r"turn_focal holds 1, expected pixels from 10"),
    "length": ({"source_frames": 10**12}, r"source_frames holds 1e\+12, expected frames"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_named_and_left_out(case, tmp_path):
    changes, message = BAD[case]
    arrays = {key: value for key, value in minimal(**changes).items() if value is not None}
    path = save(tmp_path / "a" / "bad one.npz", **arrays)
    with pytest.raises(
        DatasetError, match=f"--action=a has no usable instance: {re.escape(str(path))}.*{message}"
    ) as error:
        neutral.load(tmp_path, "a")
    assert "\n" not in str(error.value)
    save(tmp_path / "a" / "good.npz", **minimal())
    dataset = neutral.load(tmp_path, "a")
    assert dataset.names == ("good",)
    (note,) = dataset.notes
    assert re.search(f"Left out, because unusable: {re.escape(str(path))}.*{message}", note)


@pytest.mark.parametrize("content", [b"", b"not a zip", "half", "npy", "member", "pickle"])
def test_files_that_are_no_npz(content, tmp_path):
    path = save(tmp_path / "x.npz", **minimal())
    if content == "half":
        path.write_bytes(path.read_bytes()[:-200])
    elif content == "npy":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    elif content == "member":
        import zipfile

        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("readme.txt", "hello")
    elif content == "pickle":
        path.write_bytes(pickle.dumps({"keypoints": 1}))
    else:
        path.write_bytes(content)
    with pytest.raises(
        DatasetError, match=r"x\.npz \((not a \.npz file of plain arrays|readme.txt in it is not an array)"
    ):
        neutral.load(tmp_path, "a")


def test_files_with_one_fault_are_listed_together(tmp_path):
    for number in range(8):
        save(tmp_path / f"{number}.npz", poses=np.zeros((3, 72)), trans=np.zeros((3, 3)))
    with pytest.raises(DatasetError, match=r"4\.npz and 3 more \(it holds a motion") as error:
        neutral.load(tmp_path, "kick")
    assert str(error.value).count("it holds a motion") == 1


def test_files_that_disagree(tmp_path):
    save(tmp_path / "a.npz", **minimal(), head_point="head_centre")
    save(tmp_path / "b.npz", **minimal())
    save(tmp_path / "c.npz", **minimal(), name="a")
    dataset = neutral.load(tmp_path, "x")
    assert dataset.names == ("a",)
    (note,) = dataset.notes
    assert "b.npz (its head_point is nose, that of a.npz head_centre)" in note
    assert "c.npz (its name a is that of a.npz too)" in note


def test_other_units_are_doubted(tmp_path):
    save(tmp_path / "a.npz", **minimal(keypoints=np.random.default_rng(0).random((4, 25, 2))))
    save(tmp_path / "b.npz", **minimal(image_size=[48, 64]))
    reference = {"reference_keypoints": np.full((4, 25, 2), 4e9), "reference_confidence": np.ones((4, 25))}
    save(tmp_path / "c.npz", **minimal(), **reference)
    shares, swapped, *others = neutral.load(tmp_path, "x").notes
    assert "its keypoints all lie within 2 pixels of the corner; are they shares of the image" in shares
    assert "of its seen keypoints lie outside the image of width 48 and height 64" in swapped
    assert "100% of its seen reference keypoints lie outside the image of width 640" in " ".join(others)


def test_sentences_about_folders(tmp_path):
    cases = {"absent": "is nothing, not a folder", "empty": "holds no .npz files; expected kick/<instance>.npz"}
    (tmp_path / "empty").mkdir()
    for name, message in cases.items():
        with pytest.raises(DatasetError, match=message):
            neutral.load(tmp_path / name, "kick")
    save(tmp_path / "flat" / "a.npz", **minimal(), action="bow")
    save(tmp_path / "flat" / "slash" / "a.npz", **minimal())
    with pytest.raises(DatasetError, match=r"--action=kick is not in .*, which holds bow, slash; name one of these"):
        neutral.load(tmp_path / "flat", "kick")


def test_folders_are_recognised(tmp_path):
    (tmp_path / "empty").mkdir()
    assert not neutral.recognises(tmp_path)
    save(tmp_path / "kick" / "a.npz", **minimal())
    assert neutral.recognises(tmp_path)
    assert neutral.recognises(tmp_path / "kick")
    os.rename(tmp_path / "kick" / "a.npz", tmp_path / "kick" / ".unfinished.a.npz")
    assert not neutral.recognises(tmp_path)


def test_a_folder_holds_one_dataset(tiny_dataset, tmp_path):
    home = tmp_path / tiny_dataset.action
    save(home / "old.npz", **minimal())
    with pytest.raises(DatasetError, match=r"already holds other instances \(old\.npz\)"):
        neutral.write(tiny_dataset, tmp_path)
    assert [path.name for path in home.iterdir()] == ["old.npz"]
    neutral.write(tiny_dataset, tmp_path, replace=True)
    assert_equal(tiny_dataset, neutral.load(tmp_path, tiny_dataset.action))
    (tmp_path / "file").write_text("x")
    with pytest.raises(DatasetError, match=r"cannot be written \(.*\); choose another folder"):
        neutral.write(tiny_dataset, tmp_path / "file")


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "a\\b", "a\0b"])
def test_names_that_are_no_file_names(name, tiny_dataset, tmp_path):
    with pytest.raises(DatasetError, match="cannot name a file"):
        neutral.write(dataclasses.replace(tiny_dataset, names=("x", name)), tmp_path)
    with pytest.raises(DatasetError, match="cannot name a file"):
        neutral.write(dataclasses.replace(tiny_dataset, action=name), tmp_path)
    assert not list(tmp_path.iterdir())
