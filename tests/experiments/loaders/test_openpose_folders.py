"""Trees of OpenPose's JSON files as a dataset of its own."""

import numpy as np
import pytest
from PIL import Image

from experiments.base.errors import UserError
from experiments.data.dataset import DatasetError
from experiments.loaders import openpose, openpose_folders
from nemo_jax import clips as clips_lib
from tests.experiments.openpose_trees import dataset, document, film, somebody, walk, write


def test_a_tree_of_folders_is_a_dataset(tmp_path):
    write(tmp_path / "kick" / "b 10_openpose", walk(4))
    write(tmp_path / "kick" / "b 9", [*walk(2), None, document(somebody(5000)), *walk(1)])
    write(tmp_path / "wave" / "c", walk(2))
    assert openpose_folders.recognises(tmp_path)
    assert openpose_folders.recognises(tmp_path / "kick")
    data = openpose_folders.load(tmp_path, "kick", image_size=(640, 480))
    clips_lib.check(data.clips)
    assert (data.names, data.action) == (("b 9", "b 10"), "kick")
    np.testing.assert_array_equal(data.clips.image_size, [[640, 480]] * 2)
    np.testing.assert_array_equal(data.clips.frame_mask.sum(1), [5, 4])
    np.testing.assert_array_equal(data.clips.keypoints[0, :, 0, 0], [100, 101, 0, 0, 100])
    np.testing.assert_array_equal(data.clips.fps, [30, 30])
    assert not data.clips.init_mask.any()
    assert data.annotated == tuple(range(25))
    assert data.frame_paths is None and data.videos is None
    assert "Nothing tells the frame rate of b 9, b 10; 30 frames per second are taken" in data.notes[0]
    assert len(openpose_folders.load(tmp_path, "kick", 1, image_size=(640, 480)).names) == 1
    assert openpose_folders.load(tmp_path, "kick", image_size=(640, 480), ids="b 10").names == ("b 10",)
    with pytest.raises(DatasetError, match=r"--ids=b 7: there is no b 7 of kick in .*, which has b 9, b 10"):
        openpose_folders.load(tmp_path, "kick", image_size=(640, 480), ids="b 7")
    faster = openpose_folders.load(tmp_path, "kick", image_size=(640, 480), fps=60.0)
    np.testing.assert_array_equal(faster.clips.fps, [60, 60])
    assert not any("frame rate" in note for note in faster.notes)


def test_pictures_and_films_tell_sizes(tmp_path):
    write(tmp_path / "a", walk(2), start=1, digits=3)
    for number in (1, 2, 3):
        Image.new("RGB", (320, 240)).save(tmp_path / "a" / f"clip_{number:03d}.jpg")
    write(tmp_path / "b_openpose", walk(4))
    film(tmp_path / "b.MP4", 4, size=(480, 200))
    data = openpose_folders.load(tmp_path, "kick", image_size=(9, 9), fps=50.0)
    np.testing.assert_array_equal(data.clips.image_size, [[320, 240], [480, 200]])
    np.testing.assert_array_equal(data.clips.frame_mask.sum(1), [3, 4])
    np.testing.assert_array_equal(data.clips.confidence[0, :, 0] > 0, [1, 1, 0, 0])
    np.testing.assert_array_equal(data.clips.fps, [50, 25])
    assert data.frame_paths[0] == tuple(str(tmp_path / "a" / f"clip_{n:03d}.jpg") for n in (1, 2, 3))
    assert data.frame_paths[1] is None and data.videos[1].path == str(tmp_path / "b.MP4")


def test_clips_that_cannot_be_used_are_left_out(tmp_path):
    size = (640, 480)
    write(tmp_path / "a", walk(2))
    write(tmp_path / "b", ["{", "{"])
    write(tmp_path / "c", walk(5))
    film(tmp_path / "c.mp4", 4)
    write(tmp_path / "d", [document()])
    data = openpose_folders.load(tmp_path, "kick", image_size=size)
    assert data.names == ("a",)
    (left_out,) = [note for note in data.notes if "Left out" in note]
    assert "b (none of the 2 frames" in left_out and "d (nobody is seen" in left_out
    assert "JSON for 5 frames, numbered 0 to 4, where the clip has 4;" in left_out
    with pytest.raises(
        DatasetError, match=r"no clip in .* can be used: a, b, d \(no film or pictures .* give --image_size=1920x"
    ):
        openpose_folders.load(tmp_path, "kick")


def test_all_clips_in_one_folder_are_a_dataset(tmp_path):
    write(write(tmp_path, walk(3), "a.1"), walk(2), "a.2")
    data = openpose_folders.load(tmp_path, "kick", image_size=(640, 480), person="a.2=1")
    assert data.names == ("a.1", "a.2")
    np.testing.assert_array_equal(data.clips.frame_mask.sum(1), [3, 2])
    with pytest.raises(UserError, match=r"names a\.3, which is no clip here"):
        openpose_folders.load(tmp_path, "kick", image_size=(640, 480), person="a.3=1")


def test_a_folder_without_such_files_is_one_sentence(tmp_path):
    assert not openpose_folders.recognises(tmp_path)
    with pytest.raises(DatasetError, match=r"has no JSON files of OpenPose in .*; expected a folder for each clip"):
        openpose_folders.load(tmp_path, "kick")


def test_the_format_equals_apply(tmp_path):
    frames = [document(somebody(100 + t), somebody(300, size=60)) for t in range(4)]
    write(tmp_path / "clip 0", frames)
    write(tmp_path / "clip 1", [None, *walk(3)])
    applied = openpose.apply(dataset([4, 3]), tmp_path)
    loaded = openpose_folders.load(tmp_path, "kick", image_size=(640, 480))
    for name in ("keypoints", "confidence"):
        np.testing.assert_array_equal(getattr(loaded.clips, name)[0], getattr(applied.clips, name)[0])
    np.testing.assert_array_equal(loaded.box_size[0], applied.box_size[0])
    assert loaded.annotated == applied.annotated
