"""The layout of one's own videos: trees written in the published shape, sound and broken."""

import dataclasses
import json
import re
import shutil

import joblib
import numpy as np
import pytest
from equal_datasets import assert_equal

from experiments.data import neutral
from experiments.data.dataset import DatasetError
from experiments.loaders import custom_video
from nemo_jax import clips as clips_lib
from tests.experiments import prior_formats, published_layouts

ACTION = "baseball_pitch"


@pytest.fixture(scope="module")
def made(tiny_body):
    return published_layouts.clips(tiny_body, numbers=(0, 1, 2))


@pytest.fixture(scope="module")
def tree(made, tmp_path_factory):
    """`data/exps/<some folder>`, as the published instructions have it; not to be changed."""
    root = tmp_path_factory.mktemp("custom") / "Läufe und Würfe 野球"
    published_layouts.custom_video(root / "data" / "exps" / "meine Würfe", made)
    return root


@pytest.fixture
def own_tree(tree, tmp_path):
    """A copy of the clips' folder, to break."""
    return shutil.copytree(tree / "data" / "exps" / "meine Würfe", tmp_path / "clips")


def test_what_the_files_say_arrives(tree, made):
    loaded = custom_video.load(tree, ACTION)
    clips_lib.check(loaded.clips)
    assert loaded.names == ("baseball_pitch.0", "baseball_pitch.1", "baseball_pitch.2")
    assert loaded.notes == ()
    assert loaded.truth is None
    assert loaded.cameras is None
    for n, clip in enumerate(made):
        published_layouts.assert_observed(loaded, n, clip)
        assert loaded.frame_paths[n][0].endswith(f"{clip.name}.frames/000001.png")
    np.testing.assert_array_equal(loaded.clips.image_size, [[published_layouts.WIDTH, published_layouts.HEIGHT]] * 3)
    np.testing.assert_array_equal(loaded.clips.fps, 30)
    assert np.isnan(loaded.clips.focal_length).all()


@pytest.mark.parametrize("place", [".", "data", "data/exps", "data/exps/meine Würfe"])
def test_the_folder_above_will_do(place, tree):
    assert custom_video.recognises(tree / place)
    assert_equal(custom_video.load(tree / place, ACTION), custom_video.load(tree, ACTION))


def test_other_folders_are_not_it(tmp_path):
    (tmp_path / "labels").mkdir()
    (tmp_path / "0001.frames").touch()
    assert not custom_video.recognises(tmp_path)


def test_it_equals_the_same_clips_in_the_neutral_format(tree, own_tree, made, tmp_path):
    for clip in made:
        joblib.dump(published_layouts.calibration(clip.camera), own_tree / f"{clip.name}.cam.pickle")
    for loaded in (custom_video.load(tree, ACTION), custom_video.load(own_tree, ACTION)):
        shutil.rmtree(tmp_path / "neutral", ignore_errors=True)
        neutral.write(loaded, tmp_path / "neutral")
        assert_equal(loaded, neutral.load(tmp_path / "neutral", ACTION))


def test_a_calibration_is_read(own_tree, made):
    for clip in made:
        joblib.dump(published_layouts.calibration(clip.camera), own_tree / f"{clip.name}.cam.pickle")
    loaded = custom_video.load(own_tree, ACTION)
    assert loaded.notes == ()
    np.testing.assert_allclose(loaded.clips.focal_length, made[0].camera.focal)
    for clip, camera in zip(made, loaded.cameras, strict=True):
        np.testing.assert_allclose(camera.project(clip.joints), clip.true_pixels, atol=1e-6)
        np.testing.assert_allclose(camera.position, clip.camera.position, atol=1e-9)


def test_a_calibration_of_larger_pictures_is_scaled(own_tree, made):
    held = published_layouts.calibration(made[0].camera)
    held["intrinsicMat"][:2] *= 4
    held["imageSize"] = held["imageSize"] * 4
    joblib.dump(held, own_tree / "baseball_pitch.0.cam.pickle")
    loaded = custom_video.load(own_tree, ACTION)
    np.testing.assert_allclose(loaded.clips.focal_length, [made[0].camera.focal, np.nan, np.nan])
    assert loaded.cameras is None  # the others have none


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda held: {"K": held["intrinsicMat"]},
            r"holds K, expected a dict with intrinsicMat, rotation, translation",
        ),
        (lambda held: [1, 2], "holds list, expected a dict"),
        (lambda held: {**held, "rotation": held["rotation"] * 2}, "is no rotation"),
        (lambda held: {**held, "rotation": np.diag([1.0, 1.0, -1.0])}, "is no rotation"),
        (lambda held: {**held, "translation": np.zeros(4)}, r"translation of .* has shape \(4,\), expected \(3,\)"),
        (lambda held: {**held, "translation": np.full(3, np.nan)}, "translation"),
        (lambda held: {**held, "intrinsicMat": np.zeros((3, 3))}, "has the focal lengths 0 and 0"),
        (
            lambda held: {**held, "intrinsicMat": held["intrinsicMat"] * 1e9},
            r"intrinsicMat of .* holds 6e\+11, expected pixels from 10 to 1e\+06",
        ),
        (
            lambda held: {**held, "translation": np.asarray(held["translation"]) * 1e9},
            r"translation of .* holds .*e\+0\d, expected metres from -1000 to 1000",
        ),
    ],
)
def test_another_camera_is_not_used(change, expected, own_tree, made):
    joblib.dump(change(published_layouts.calibration(made[0].camera)), own_tree / "baseball_pitch.1.cam.pickle")
    loaded = custom_video.load(own_tree, ACTION)
    assert len(loaded.names) == 3
    assert np.isnan(loaded.clips.focal_length).all()
    (note,) = loaded.notes
    assert note.startswith("baseball_pitch.1: its camera is not used: ")
    assert "baseball_pitch.1.cam.pickle" in note
    assert re.search(expected, note)


def test_a_hostile_camera_is_not_run(own_tree):
    (own_tree / "baseball_pitch.1.cam.pickle").write_bytes(prior_formats.dumps(prior_formats.Evil()))
    (note,) = custom_video.load(own_tree, ACTION).notes
    assert "os.system" in note


def test_vibe_may_be_a_file_or_lie_deeper(own_tree, tree):
    folder = own_tree / "baseball_pitch.0.vibe"
    shutil.move(folder / "vibe_output.pkl", own_tree / "moved")
    folder.rmdir()
    shutil.move(own_tree / "moved", folder)
    deep = own_tree / "baseball_pitch.1.vibe"
    (deep / "baseball_pitch").mkdir()
    shutil.move(deep / "vibe_output.pkl", deep / "baseball_pitch" / "vibe_output.pkl")
    loaded, before = custom_video.load(own_tree, ACTION), custom_video.load(tree, ACTION)
    assert loaded.notes == ()
    np.testing.assert_array_equal(loaded.clips.init_pose, before.clips.init_pose)


def test_names_actions_and_limits(own_tree, made):
    published_layouts.custom_video(
        own_tree, [dataclasses.replace(made[0], name="kick.10"), dataclasses.replace(made[1], name="kick.9")]
    )
    assert custom_video.load(own_tree, "kick").names == ("kick.9", "kick.10")
    assert custom_video.load(own_tree, "kick", max_instances=1).names == ("kick.9",)
    assert custom_video.load(own_tree, "kick", ids="10").names == ("kick.10",)
    assert len(custom_video.load(own_tree, ACTION).names) == 3
    np.testing.assert_array_equal(custom_video.load(own_tree, "kick", fps=120.0).clips.fps, 120)
    with pytest.raises(
        DatasetError, match=r"--action=bow is not in .* which holds baseball_pitch, kick; name one of these"
    ):
        custom_video.load(own_tree, "bow")
    published_layouts.custom_video(own_tree, [dataclasses.replace(made[0], name="Schütze 1")])
    assert custom_video.load(own_tree, "bow").names == ("Schütze 1",)


def test_broken_clips_are_left_out_and_named(own_tree):
    shutil.rmtree(own_tree / "baseball_pitch.0.op")
    for picture in (own_tree / "baseball_pitch.1.frames").iterdir():
        picture.write_bytes(b"")
    (own_tree / "baseball_pitch.3.frames").mkdir()
    loaded = custom_video.load(own_tree, ACTION)
    assert loaded.names == ("baseball_pitch.2",)
    left_out, one = loaded.notes
    assert "baseball_pitch.0 (there is no folder " in left_out
    assert "baseball_pitch.1 (none of the pictures in " in left_out
    assert "baseball_pitch.3 (" in left_out and "holds no pictures" in left_out
    assert "Only one clip" in one


def test_nobody_in_view(own_tree):
    for file in (own_tree / "baseball_pitch.0.op").iterdir():
        file.write_text(json.dumps({"version": 1.3, "people": []}))
    loaded = custom_video.load(own_tree, ACTION)
    assert loaded.names == ("baseball_pitch.1", "baseball_pitch.2")
    assert "nobody is seen" in loaded.notes[0]


def test_nothing_usable_is_one_sentence(own_tree, tmp_path):
    with pytest.raises(DatasetError, match="is nothing, not a folder"):
        custom_video.load(tmp_path / "absent", ACTION)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"holds no clips; expected folders such as baseball_pitch\.0\.frames"):
        custom_video.load(tmp_path / "empty", ACTION)
    for folder in own_tree.glob("*.op"):
        shutil.rmtree(folder)
    with pytest.raises(DatasetError, match=r"has no usable clip in .*: baseball_pitch\.0 \(there is no folder "):
        custom_video.load(own_tree, ACTION)
