"""OpenPose's JSON: trees written here as OpenPose writes them, sound and broken, read alone and for other datasets."""

import json

import numpy as np
import pytest

from body_models import joints as jn
from experiments.base.errors import UserError
from experiments.data.dataset import DatasetError
from experiments.data.footage import Video
from experiments.loaders import openpose
from nemo_jax import clips as clips_lib
from nemo_jax.clips import GroundTruth
from tests.experiments.openpose_trees import dataset, document, film, somebody, walk, write

# COCO's order, by the names of BODY_25.
COCO = [
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist", "right_hip",
    "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "right_eye", "left_eye", "right_ear", "left_ear",
]  # fmt: skip


def test_body_25_is_read_as_it_is(tmp_path):
    person = somebody()
    person[7] = 0
    keypoints, confidence, notes = openpose.read_folder(write(tmp_path, [document(person)] * 2))
    assert keypoints.shape == (2, 25, 2) and confidence.shape == (2, 25)
    np.testing.assert_array_equal(keypoints[1], person[:, :2])
    np.testing.assert_array_equal(confidence[0], np.where(np.arange(25) == 7, 0, 0.9))
    assert notes == []
    assert openpose.annotated(confidence) == tuple(range(25))


@pytest.mark.parametrize("key", ["pose_keypoints_2d", "pose_keypoints"])
def test_coco_goes_to_its_places(tmp_path, key):
    person = somebody(keypoints=18)
    keypoints, confidence, _ = openpose.read_folder(write(tmp_path, [document(person, key=key)]))
    for row, name in zip(person, COCO, strict=True):
        place = jn.BODY_25_NAMES.index(name)
        np.testing.assert_array_equal(keypoints[0, place], row[:2])
        assert confidence[0, place] == 0.9
    absent = ["mid_hip", *(f"{side}_{part}" for side in ("left", "right") for part in ("big_toe", "small_toe", "heel"))]
    assert not confidence[0, [jn.BODY_25_NAMES.index(name) for name in absent]].any()
    assert openpose.annotated(confidence) == tuple(sorted(jn.BODY_25_NAMES.index(name) for name in COCO))


def test_missing_files_and_empty_frames_are_missing_frames(tmp_path):
    frames = walk(8)
    frames[2] = None
    frames[3] = document()
    frames[5] = document(np.zeros((25, 3)))
    keypoints, confidence, notes = openpose.read_folder(write(tmp_path, frames), 10)
    np.testing.assert_array_equal(confidence[:, 0], 0.9 * np.isin(np.arange(10), [0, 1, 4, 6, 7]))
    np.testing.assert_array_equal(keypoints[[2, 3, 5, 8, 9]], 0)
    np.testing.assert_array_equal(keypoints[:, 0, 0], [100, 101, 0, 0, 104, 0, 106, 107, 0, 0])
    (note,) = notes
    assert (
        "says nothing of 5 of 10 frames (3 without JSON; 2 where the person is not seen); they count as missing" in note
    )


BROKEN = {
    "cut": (json.dumps(document(somebody()))[:-120], "not JSON, perhaps cut short"),
    "empty": ("", "empty"),
    "binary": ("\x00\x01", "not JSON"),
    "list": ("[1, 2]", "no list of people"),
    "people": ('{"people": {"a": 1}}', "no list of people"),
    "no keypoints": ('{"people": [{"hand_left_keypoints_2d": []}]}', "a person without pose_keypoints_2d"),
    "no person": ('{"people": [3]}', "a person without pose_keypoints_2d"),
    "text": (
        json.dumps({"people": [{"pose_keypoints_2d": ["1.0"] * 75}]}),
        "pose_keypoints_2d is not a list of numbers",
    ),
    "truth": (
        json.dumps({"people": [{"pose_keypoints_2d": [True] * 75}]}),
        "pose_keypoints_2d is not a list of numbers",
    ),
    "nested": (
        json.dumps({"people": [{"pose_keypoints_2d": [[1, 2, 3]] * 25}]}),
        "pose_keypoints_2d is not a list of numbers",
    ),
    "short": (
        json.dumps({"people": [{"pose_keypoints_2d": [1.0] * 45}]}),
        "pose_keypoints_2d has 45 numbers (15 keypoints, as of OpenPose's MPI), expected those of body_25 (75), ",
    ),
    "deep": ("[" * 100_000, "not JSON"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_a_missing_frame_and_named(tmp_path, kind):
    text, reason = BROKEN[kind]
    frames = [*walk(3), text, *walk(2)]
    keypoints, confidence, (note,) = openpose.read_folder(write(tmp_path, frames), 6)
    np.testing.assert_array_equal(confidence[:, 4], 0.9 * (np.arange(6) != 3))
    assert not keypoints[3].any()
    assert f"1 of 6 frames (1 whose JSON is broken: clip_000000000003_keypoints.json ({reason}" in note


def test_only_the_first_broken_files_are_named(tmp_path):
    note = openpose.read_folder(write(tmp_path, ["{", *walk(3), *["{"] * 7]))[2][0]
    assert "8 of 11 frames (8 whose JSON is broken" in note and "and 3 more" in note
    with pytest.raises(
        DatasetError, match=r"none of the 7 frames in .* can be read: .*_000000000000_keypoints.json \(not"
    ):
        openpose.read_folder(write(tmp_path / "all", ["{"] * 7))


def test_what_cannot_be_seen_is_not_seen(tmp_path):
    person = somebody(x=100, y=50)
    person[0] = [-3, 60, 0.9]
    person[1] = [100, 1e6, 0.9]
    person[2] = [np.nan, 60, 0.9]
    person[3, 2] = np.nan
    person[4, 2] = -0.5
    person[5, 2] = 3.0
    person[6] = [640, 480, 0.9]
    person[7] = [640.5, 480, 0.9]
    person[8] = [np.inf, 60, 0.9]
    texts = json.dumps(document(person)).replace("NaN", "null", 1), json.dumps(document(person))
    huge = texts[1].replace("Infinity", "1" + "0" * 400)
    folder = write(tmp_path, [*texts, huge])
    keypoints, confidence, notes = openpose.read_folder(folder, image_size=(640, 480))
    expected = np.where(np.isin(np.arange(25), [0, 1, 2, 3, 4, 7, 8]), 0, 0.9)
    expected[5] = 1.0
    np.testing.assert_array_equal(confidence, [expected] * 3)
    assert not keypoints[confidence == 0].any()
    np.testing.assert_array_equal(keypoints[0, 6], [640, 480])
    assert f"{folder} has 9 keypoints outside the 640x480 image" in notes[0]
    # Without a size only what is left of the image or above it is known to be outside.
    confidence, notes = openpose.read_folder(folder)[1:]
    np.testing.assert_array_equal(confidence[0, [0, 1, 7]], [0, 0.9, 0.9])
    assert "has 3 keypoints outside the image" in notes[0]


@pytest.mark.parametrize("scale", [lambda p: p / 200, lambda p: p / 100 - 1])
def test_normalised_coordinates_are_refused(tmp_path, scale):
    person = somebody(x=100, y=50)
    person[:, :2] = scale(person[:, :2])
    with pytest.raises(DatasetError, match=r"expected pixels; run OpenPose without --keypoint_scale"):
        openpose.read_folder(write(tmp_path, [document(person)]))


def test_people_without_a_body_and_other_files_do_not_count(tmp_path):
    hands_only = document(np.zeros((0, 3)), somebody())
    folder = write(tmp_path, [hands_only])
    (folder / "notes.json").write_text("{}")
    keypoints, _, notes = openpose.read_folder(folder)
    np.testing.assert_array_equal(keypoints[0], somebody()[:, :2])
    assert notes == []


@pytest.mark.parametrize(
    ("numbers", "num_frames", "expected"),
    [
        ([0, 1, 2, 3], 4, [0, 1, 2, 3]),
        ([0, 2], 4, [0, 2]),  # counted from 0
        ([1, 3], 4, [1, 3]),
        ([1, 2, 3, 4], 4, [0, 1, 2, 3]),  # from 1
        ([2, 4], 4, [1, 3]),
        ([7, 10], 4, [0, 3]),  # from elsewhere, when just the clip's length
        ([7, 10], None, [0, 3]),
        ([1, 4], None, [0, 3]),
        ([999999999998, 1000000000001], None, [0, 3]),  # one digit more: not in the order of the alphabet
        ([9, 10, 11], None, [0, 1, 2]),
        ([0, 4], 4, "numbered 0 to 4, where the clip has 4;"),
        ([7, 9], 4, "has JSON for 2 frames, numbered 7 to 9, where the clip has 4;"),
        ([0, 20261122], None, "numbered 0 to 20261122, which cannot be those of one clip"),
    ],
)
def test_numbers_tell_frames(tmp_path, numbers, num_frames, expected):
    for number in numbers:
        write(tmp_path, [document(somebody(100 + numbers.index(number)))], start=number, digits=1)
    if isinstance(expected, str):
        with pytest.raises(DatasetError, match=expected):
            openpose.read_folder(tmp_path, num_frames)
        return
    keypoints, confidence, _ = openpose.read_folder(tmp_path, num_frames)
    assert len(keypoints) == (num_frames or expected[-1] + 1)
    assert np.flatnonzero(confidence[:, 0]).tolist() == expected
    np.testing.assert_array_equal(keypoints[expected, 0, 0], 100 + np.arange(len(expected)))


def test_names_of_pictures_tell_frames_better(tmp_path):
    # By its numbers alone this would be frames 1 and 2.
    folder = write(tmp_path, walk(2), name="shot", start=1, digits=3)
    named = openpose.read_folder(folder, 4, frame_names=["shot_001", "shot_002", None, "shot_004"])[1]
    assert np.flatnonzero(named[:, 0]).tolist() == [0, 1]
    other = openpose.read_folder(folder, 4, frame_names=["001", "002", None, "004"])[1]
    assert np.flatnonzero(other[:, 0]).tolist() == [1, 2]


def test_numbers_without_a_name_before_them(tmp_path):
    (tmp_path / "000007_keypoints.json").write_text(json.dumps(document(somebody())))
    assert openpose.read_folder(tmp_path)[1].all()


def test_a_folder_is_of_one_clip(tmp_path):
    with pytest.raises(DatasetError, match="holds no JSON files of OpenPose; expected clip_000000000000_"):
        openpose.read_folder(tmp_path)
    write(write(tmp_path, walk(2), "a"), walk(3), "b")
    with pytest.raises(
        DatasetError, match=r"holds the JSON files of 2 clips \(a_\.\.\., b_\.\.\.\), expected those of one"
    ):
        openpose.read_folder(tmp_path)
    assert len(openpose.read_folder(tmp_path, prefix="b_")[0]) == 3
    write(tmp_path, walk(1), "b", digits=3)
    with pytest.raises(
        DatasetError, match=r"holds frame 0 2 times \(b_000000000000_keypoints.json, b_000_keypoints.json\)"
    ):
        openpose.read_folder(tmp_path, prefix="b_")


def test_one_file_of_all_frames(tmp_path):
    frames = [*walk(3), {"people": 1}, *walk(1)]
    path = tmp_path / "all.json"
    path.write_text(json.dumps(frames))
    keypoints, confidence, notes = openpose.read_folder(path, 6)
    np.testing.assert_array_equal(keypoints[:, 0, 0], [100, 101, 102, 0, 100, 0])
    assert "1 whose JSON is broken: frame 3 (no list of people in it)" in notes[0]
    path.write_text(json.dumps({f"{t + 1:06d}.jpg": frame for t, frame in reversed(list(enumerate(frames)))}))
    np.testing.assert_array_equal(openpose.read_folder(path, 5)[1], confidence[:5])
    path.write_text(json.dumps(frames[0]))
    assert openpose.read_folder(path)[0].shape == (1, 25, 2)
    for text, message in (
        ("[", "cannot be read: not JSON"),
        ("[]", "holds no frames"),
        ("3", "holds no frames"),
        ('{"a": {"people": []}}', "has an entry 'a' without a number"),
    ):
        path.write_text(text)
        with pytest.raises(DatasetError, match=message):
            openpose.read_folder(path)


def test_two_people_crossing_are_not_exchanged(tmp_path):
    frames = []
    for t in range(31):
        big, small = somebody(100 + 10 * t, size=200), somebody(400 - 10 * t, size=150)
        frames.append(document(*([big, small] if t % 2 else [small, big])))
    keypoints = openpose.read_folder(write(tmp_path, frames))[0]
    np.testing.assert_array_equal(keypoints[:, 0, 0], 100 + 10 * np.arange(31))
    keypoints = openpose.read_folder(tmp_path, person="2")[0]
    np.testing.assert_array_equal(keypoints[:, 0, 0], 400 - 10 * np.arange(31))
    with pytest.raises(UserError, match=r"in .*: --person=3 asks for the 3\. person .* no frame shows more than 2"):
        openpose.read_folder(tmp_path, person="3")


def test_nobody(tmp_path):
    with pytest.raises(DatasetError, match=r"nobody is seen in any of the 4 frames in .*; leave this clip out"):
        openpose.read_folder(write(tmp_path, [document()] * 4))


# ---------------------------------------------------------------------------------------------- other datasets


def test_apply_replaces_the_keypoints_and_nothing_else(tmp_path):
    before = dataset([3, 5], ["a b", "ä"])
    write(tmp_path / "a b", walk(3))
    write(tmp_path / "ä.op", [*walk(3), document(), *walk(1)])
    after = openpose.apply(before, tmp_path)
    clips_lib.check(after.clips)
    assert after.names == before.names
    np.testing.assert_array_equal(after.clips.keypoints[:, :, 0, 0], [[100, 101, 102, 0, 0], [100, 101, 102, 0, 100]])
    np.testing.assert_array_equal(after.clips.confidence[0, :, 3], np.float32([0.9, 0.9, 0.9, 0, 0]))
    np.testing.assert_allclose(after.box_size, np.hypot(20, 96) * (after.clips.confidence[..., 0] > 0), rtol=1e-6)
    for name in ("frame_mask", "init_pose", "init_mask", "image_size", "fps"):
        np.testing.assert_array_equal(getattr(after.clips, name), getattr(before.clips, name))
    assert (after.annotated, after.head_point) == (tuple(range(25)), "nose")
    assert after.notes[0] == "Before." and "1 of 5 frames" in after.notes[1] and len(after.notes) == 2


def test_apply_leaves_out_what_it_cannot_use(tmp_path):
    lengths = [3, 4, 5, 9, 6]
    numbers = np.arange(5)
    timed = np.tile(numbers[:, None], (1, 9)).astype(np.float32)
    truth = {name: np.stack([timed] * 3, -1) for name in ("translation",)}
    before = dataset(
        lengths,
        truth=GroundTruth(
            pose=np.zeros((5, 9, 24, 3)), joints=np.zeros((5, 9, 25, 3)), betas=numbers[:, None] * np.ones(10), **truth
        ),
        frame_paths=tuple((str(n),) * length for n, length in enumerate(lengths)),
        view=tuple("abcde"),
        other_poses={"vibe": (np.zeros((5, 9, 24, 3)), timed)},
        source_frames=np.array(lengths),
    )
    write(tmp_path / "clip 1", walk(4))
    write(tmp_path / "clip 2_openpose", walk(6))
    write(tmp_path / "clip 3_json", ["{"] * 9)
    write(tmp_path / "clip 4.mp4_openpose", walk(5))
    after = openpose.apply(before, tmp_path)
    assert after.names == ("clip 1", "clip 4")
    clips_lib.check(after.clips)
    np.testing.assert_array_equal(after.clips.frame_mask, [[1, 1, 1, 1, 0, 0], [1] * 6])
    np.testing.assert_array_equal(after.clips.init_pose, before.clips.init_pose[[1, 4], :6])
    np.testing.assert_array_equal(after.clips.confidence[:, :, 0] > 0, [[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 0]])
    np.testing.assert_array_equal(after.truth.translation[:, :, 0], timed[[1, 4], :6])
    np.testing.assert_array_equal(after.truth.betas[:, 0], [1, 4])
    np.testing.assert_array_equal(after.other_poses["vibe"][1], timed[[1, 4], :6])
    np.testing.assert_array_equal(after.source_frames, [4, 6])
    assert after.frame_paths == (("1",) * 4, ("4",) * 6)
    assert after.view == ("b", "e")
    assert after.box_size.shape == (2, 6)
    _, short, lacking, unusable = after.notes
    assert "1 of 6 frames (1 without JSON)" in short
    assert "has no JSON files of them" in lacking and "clip 0)" in lacking and lacking.endswith(": clip 0.")
    assert "clip 2 (" in unusable and "JSON for 6 frames, numbered 0 to 5, where the clip has 5;" in unusable
    assert "clip 3 (none of the 9 frames" in unusable


def test_apply_finds_the_files_of_all_clips_in_one_folder(tmp_path):
    write(write(tmp_path, walk(3), "clip 0"), walk(2, y=80.0), "clip 1")
    after = openpose.apply(dataset([3, 2]), tmp_path)
    np.testing.assert_array_equal(after.clips.keypoints[:, 0, 0, 1], [50, 80])


def test_apply_finds_clips_by_their_films_and_in_any_spelling(tmp_path):
    # Names of films are made fit for files of any system; decomposed letters are what some systems write.
    names = ["a_ b", "pitch \u00e4", "c"]
    films = [Video(f"x/{name}", np.arange(2)) for name in ("a: b.mp4", "pitch a\u0308.mov", "c.mp4")]
    write(tmp_path / "a: b", walk(2, y=60.0))
    write(tmp_path / "pitch a\u0308_openpose", walk(2, y=70.0))
    write(tmp_path / "c.mp4.op", walk(2, y=80.0))
    after = openpose.apply(dataset([2, 2, 2], names, videos=tuple(films)), tmp_path)
    np.testing.assert_array_equal(after.clips.keypoints[:, 0, 0, 1], [60, 70, 80])


def test_apply_takes_the_only_clip_under_any_name(tmp_path):
    write(tmp_path, walk(3), "something")
    assert openpose.apply(dataset([3]), tmp_path).clips.confidence.all()
    with pytest.raises(
        DatasetError, match=r"leaves no clip: left out, because .*no JSON files of them .*: clip 0, clip 1$"
    ):
        openpose.apply(dataset([3, 3]), tmp_path)
    path = tmp_path / "all.json"
    path.write_text(json.dumps(walk(3)))
    assert openpose.apply(dataset([3]), path).clips.confidence.all()
    with pytest.raises(DatasetError, match="is a file, but there are 2 clips"):
        openpose.apply(dataset([3, 3]), path)
    with pytest.raises(DatasetError, match="there is nothing; give the folder"):
        openpose.apply(dataset([3]), tmp_path / "absent")


def test_apply_follows_whom_the_flag_says(tmp_path):
    both = [document(somebody(100, size=200), somebody(300, size=100))] * 3
    for name in ("clip 0", "clip 1"):
        write(tmp_path / name, both)
    after = openpose.apply(dataset([3, 3]), tmp_path, "largest,clip 1=2")
    np.testing.assert_array_equal(after.clips.keypoints[:, 0, 0, 0], [100, 300])
    with pytest.raises(UserError, match="names clip 7, which is no clip here; the clips are clip 0, clip 1"):
        openpose.apply(dataset([3, 3]), tmp_path, "clip 7=2")
    with pytest.raises(UserError, match="--person=first is not understood"):
        openpose.apply(dataset([3, 3]), tmp_path, "first")


def test_coco_in_all_clips_leaves_its_joints_annotated(tmp_path):
    write(tmp_path / "clip 0", walk(3, keypoints=18))
    write(tmp_path / "clip 1", walk(3, keypoints=18))
    after = openpose.apply(dataset([3, 3]), tmp_path)
    assert after.annotated == (*range(8), *range(9, 19))
    write(tmp_path / "clip 1", walk(3))
    assert openpose.apply(dataset([3, 3]), tmp_path).annotated == tuple(range(25))


def test_pictures_of_the_dataset_tell_the_frames(tmp_path):
    write(tmp_path / "clip 0", walk(2), name="shot", start=1, digits=3)
    before = dataset([4], frame_paths=(("x/shot_001.jpg", "x/shot_002.jpg", None, "x/shot_004.jpg"),))
    assert np.flatnonzero(openpose.apply(before, tmp_path).clips.confidence[0, :, 0]).tolist() == [0, 1]


def test_openpose_counts_the_frames_of_the_film(tmp_path):
    # The clip shows frame 1 twice and frame 3 never, as a film of uneven rate does; one tick shows nothing.
    path = film(tmp_path / "film.mp4", 6)
    write(tmp_path / "clip 0", walk(6))
    before = dataset([6], videos=(Video(str(path), np.array([0, 1, 1, -1, 4, 5])),))
    after = openpose.apply(before, tmp_path)
    np.testing.assert_array_equal(after.clips.keypoints[0, :, 0, 0], [100, 101, 101, 0, 104, 105])
    np.testing.assert_array_equal(after.clips.confidence[0, :, 0] > 0, [1, 1, 1, 0, 1, 1])


def test_a_frame_with_a_crowd_is_a_broken_frame(tmp_path):
    crowd = document(*[somebody(10.0 * n) for n in range(201)])
    _, confidence, (note,) = openpose.read_folder(write(tmp_path, [*walk(3), crowd]), 4)
    assert "201 people in it, at most 200 are read" in note
    assert (confidence.any(1) == [True, True, True, False]).all()
