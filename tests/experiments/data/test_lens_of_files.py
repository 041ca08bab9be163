"""Lenses that films and pictures name, and clips that share one."""

import math

import av
import numpy as np
import pytest
from PIL import Image

from experiments.base.errors import UserError
from experiments.data import lens_of_files
from experiments.data.dataset import Dataset
from experiments.data.footage import Video
from nemo_jax.clips import Clips
from nemo_jax.instances import Instance

KEY = "com.apple.quicktime.camera.focal_length.35mm_equivalent"


def film(path, tags):
    with av.open(str(path), "w", options={"movflags": "use_metadata_tags"}) as container:
        container.metadata.update(tags)
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
    return Video(str(path), np.zeros(2, int))


def picture(path, equivalent):
    image = Image.new("RGB", (40, 30))
    exif = image.getexif()
    if equivalent is not None:
        exif.get_ifd(0x8769)[0xA405] = equivalent
    image.save(path, exif=exif)
    return (str(path), str(path))


def dataset(videos=None, paths=None, focal=(math.nan, math.nan, math.nan)):
    each = [
        Instance(np.ones((2, 25, 2)), np.ones((2, 25)), image_size=(400, 300), focal_length=f, fps=25.0) for f in focal
    ]
    return Dataset(
        clips=Clips.from_instances(each),
        names=("serve 1", "serve 2", "volley"),
        action="tennis",
        box_size=np.ones((3, 2)),
        videos=videos,
        frame_paths=paths,
    )


def test_a_film_names_its_lens(tmp_path):
    videos = (film(tmp_path / "a.mov", {KEY: "26"}), film(tmp_path / "b.mov", {}), None)
    found = lens_of_files.with_lenses(dataset(videos=videos))
    np.testing.assert_allclose(found.clips.focal_length, [26 / math.hypot(36, 24) * 500, np.nan, np.nan], rtol=1e-6)
    assert found.notes == ("The focal length is read from the files (35 mm equivalent): serve 1 26 mm.",)


def test_a_picture_names_its_lens(tmp_path):
    paths = (picture(tmp_path / "a.jpg", 50), picture(tmp_path / "b.jpg", None), None)
    found = lens_of_files.with_lenses(dataset(paths=paths)).clips.focal_length
    np.testing.assert_allclose(found, [50 / math.hypot(36, 24) * 500, np.nan, np.nan], rtol=1e-6)


def test_a_known_focal_length_stays(tmp_path):
    whole = dataset(videos=(film(tmp_path / "a.mov", {KEY: "26"}), None, None), focal=(700.0, math.nan, math.nan))
    assert lens_of_files.with_lenses(whole) is whole


@pytest.mark.parametrize("said", ["", "wide", "0", "1e9", "-26"])
def test_odd_tags_say_nothing(said):
    assert lens_of_files.of_tags({KEY: said}) is None


def test_files_that_cannot_be_read_say_nothing(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    assert lens_of_files.of_picture(str(tmp_path / "broken.jpg")) is None
    gone = dataset(videos=(Video(str(tmp_path / "gone.mov"), np.zeros(2, int)), None, None))
    assert lens_of_files.with_lenses(gone) is gone


@pytest.mark.parametrize(
    ("said", "expected"),
    [("all", [0, 0, 0]), ("serve*", [0, 0, 3]), ("serve 2,volley;serve 1", [1, 0, 0]), ("volley", [1, 2, 0])],
)
def test_clips_of_one_camera(said, expected):
    np.testing.assert_array_equal(lens_of_files.with_same_camera(dataset(), said).clips.lens, expected)


@pytest.mark.parametrize(
    ("said", "what"), [("smash", "'smash', which is no clip"), ("serve*;serve 1", "serve 1 in two")]
)
def test_wrong_groups_are_refused(said, what):
    with pytest.raises(UserError, match=what):
        lens_of_files.with_same_camera(dataset(), said)
