"""Clips with the cameras of a calibration: which is whose, and what becomes of their keypoints."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from experiments.base.errors import UserError
from experiments.data import calibrated, neutral, pictures
from experiments.data.calibration import checked
from experiments.data.dataset import Dataset, stack, visible_box_size
from experiments.data.footage import Video
from nemo_jax.instances import Instance
from tests.experiments import equal_datasets
from tests.experiments.data.test_calibration_files import ROS, write

LENS = [[1000.0, 0.0, 630.0], [0.0, 1020.0, 350.0], [0.0, 0.0, 1.0]]
TURNS = ([0.1, 0.2, 0.3], [0.0, 2.0, 0.0])


def toml(names=("cam01", "cam02"), size=(1280.0, 720.0), more=""):
    tables = []
    for name, turn in zip(names, TURNS, strict=False):
        where = f"rotation = {turn}\ntranslation = [0.1, 0.2, 4.0]\n"
        tables.append(
            f'["{name}"]\nsize = {list(size)}\nmatrix = {LENS}\ndistortions = [-0.2, 0.05, 0.001, 0.002]\n{where}{more}\n'
        )
    return "\n".join(tables)


def dataset(names=("cam01", "cam02"), take=(1, 1), size=(1280.0, 720.0), folder=None):
    rng = np.random.default_rng(0)
    points = rng.uniform(100, 700, (len(names), 6, 25, 2))
    clips = stack([Instance(each, np.ones((6, 25)), size) for each in points])
    take = None if take is None else np.asarray(take, np.float32)
    videos = None if folder is None else tuple(Video(str(folder / f"{name}.mp4"), np.arange(6)) for name in names)
    starts = None if take is None else np.zeros_like(take)
    return Dataset(
        clips=dataclasses.replace(clips, take=take, offset=starts), names=tuple(names), action="kick", videos=videos,
        box_size=visible_box_size(points, np.ones(points.shape[:3])),
    )  # fmt: skip


def test_keypoints_lenses_and_places(tmp_path):
    path = write(tmp_path, "Calib.toml", toml())
    given = dataset()
    found = calibrated.with_calibration(given, str(path)).clips
    np.testing.assert_allclose(found.focal_length, np.sqrt(1000 * 1020))
    np.testing.assert_array_equal(found.principal, [[630, 350]] * 2)
    camera = checked("a", None, LENS, [-0.2, 0.05, 0.001, 0.002], TURNS[1], [0.1, 0.2, 4.0])
    np.testing.assert_allclose(found.keypoints[1], camera.straight(given.clips.keypoints[1])[0], rtol=1e-6)
    assert np.abs(found.keypoints - given.clips.keypoints).max() > 5
    np.testing.assert_allclose(found.camera_known[1, :3], [0.1, 0.2, 4.0], rtol=1e-6)
    np.testing.assert_allclose(found.camera_known[1, 3:].reshape(3, 2), camera.rotation[:, :2], atol=1e-6)
    np.testing.assert_array_equal(found.confidence, 1)
    # What was not seen may be anything, and stays.
    hidden = np.array(given.clips.confidence)
    hidden[0, 0] = 0
    again = dataclasses.replace(given, clips=dataclasses.replace(given.clips, confidence=hidden))
    kept = calibrated.with_calibration(again, str(path)).clips.keypoints
    np.testing.assert_array_equal(kept[0, 0], given.clips.keypoints[0, 0])


@pytest.mark.parametrize(
    ("clips", "cameras", "order"),
    [
        (("cam02", "cam01"), ("cam01", "cam02"), (1, 0)),
        (("take_1 CAM02", "take_1 cam01"), ("cam01", "cam02"), (1, 0)),
        (("cam02", "cam01"), ("int_cam01_img", "int_cam02_img"), (1, 0)),
        (("Miqus_1_26580", "Miqus_2_21829"), ("21829", "26580"), (1, 0)),
        (("cam10", "cam1"), ("cam_1", "cam_10"), (1, 0)),
    ],
)
def test_names_say_which_camera_filmed(tmp_path, clips, cameras, order):
    path = write(tmp_path, "Calib.toml", toml(cameras))
    found = calibrated.with_calibration(dataset(clips), str(path))
    plain = calibrated.with_calibration(dataset(cameras), str(path))
    np.testing.assert_array_equal(found.clips.camera_known, plain.clips.camera_known[list(order)])
    assert not [note for note in found.notes if "order" in note]


def test_the_film_s_name_counts_too(tmp_path):
    path = write(tmp_path, "Calib.toml", toml(("int_cam01_img", "int_cam02_img")))
    given = dataset(("cam02", "cam01"), folder=tmp_path)
    found = calibrated.with_calibration(dataclasses.replace(given, names=("take_1 cam02", "take_1 cam01")), str(path))
    np.testing.assert_array_equal(
        found.clips.camera_known, calibrated.with_calibration(given, str(path)).clips.camera_known
    )
    assert not found.notes


def test_else_they_are_taken_in_order(tmp_path):
    path = write(tmp_path, "Calib.toml", toml())
    found = calibrated.with_calibration(dataset(("left", "right")), str(path))
    np.testing.assert_array_equal(
        found.clips.camera_known, calibrated.with_calibration(dataset(), str(path)).clips.camera_known
    )
    assert found.notes == (
        f"No names say which camera of {path} filmed which clip, so they are taken in order: left is cam01, right is cam02.",
    )


def test_each_take_has_the_cameras(tmp_path):
    path = write(tmp_path, "Calib.toml", toml())
    names = ("take_1 cam01", "take_1 cam02", "take_2 cam01", "take_2 cam02", "alone")
    found = calibrated.with_calibration(dataset(names, (1, 1, 2, 2, 3)), str(path))
    known = found.clips.camera_known
    np.testing.assert_array_equal(known[:2], known[2:4])
    assert (
        np.isnan(known[4]).all() and np.isnan(found.clips.principal[4]).all() and np.isnan(found.clips.focal_length[4])
    )
    assert found.notes == (f"alone has no camera in {path}, so its camera is found.",)


@pytest.mark.parametrize("names", [("cam01", "cam03"), ("a", "b", "c")])
def test_a_clip_without_a_camera_is_named(tmp_path, names):
    path = write(tmp_path, "Calib.toml", toml())
    with pytest.raises(
        UserError, match=f"Calib.toml has no camera for the clip ({names[1]}|a), only cam01, cam02; name"
    ):
        calibrated.with_calibration(dataset(names, [1] * len(names)), str(path))


def test_other_sizes(tmp_path):
    path = write(tmp_path, "Calib.toml", toml(size=(2560.0, 1440.0)))
    np.testing.assert_array_equal(calibrated.with_calibration(dataset(), str(path)).clips.principal[0], [315, 175])
    path = write(tmp_path, "Calib.toml", toml(size=(720.0, 1280.0)))
    with pytest.raises(UserError, match="cannot be used for cam01: camera cam01 has pictures of 720x1280"):
        calibrated.with_calibration(dataset(), str(path))


def test_lenses_alone(tmp_path):
    path = write(tmp_path, "cam01.yaml", ROS.replace("00b09d", "cam01"))
    other = write(tmp_path, "cam02.yaml", ROS.replace("00b09d", "cam02"))
    found = calibrated.with_calibration(dataset(), f"{path}, {other}")
    assert found.clips.camera_known is None and found.clips.focal_length[0] == pytest.approx(np.sqrt(1000 * 1001.5))
    assert "says lenses and not where cameras stand" in found.notes[-1]
    with pytest.raises(UserError, match=r"cam02\.yaml has a camera cam02 that there is already"):
        calibrated.with_calibration(dataset(), f"{path},{other},{other}")


def test_places_are_used_of_takes_only(tmp_path):
    path = write(tmp_path, "Calib.toml", toml())
    found = calibrated.with_calibration(dataset(take=None), str(path))
    assert found.clips.camera_known is None and found.clips.principal is not None
    assert "used of clips of one performance only" in found.notes[-1]


def test_a_take_s_folder_has_its_calibration(tmp_path):
    folder = tmp_path / "take_1"
    path = write(folder, "Calib.toml", toml())
    found = calibrated.with_calibration(dataset(folder=folder), None)
    np.testing.assert_array_equal(
        found.clips.camera_known, calibrated.with_calibration(dataset(), str(path)).clips.camera_known
    )
    given = dataset(folder=folder)
    assert calibrated.with_calibration(given, "off") is given
    write(folder, "calibration.yml", ROS)
    with pytest.raises(
        UserError, match=r"take_1 holds several calibrations \(Calib\.toml, calibration\.yml\); leave one"
    ):
        calibrated.with_calibration(given, None)
    plain = dataset()
    assert calibrated.with_calibration(plain, None) is plain


def test_what_a_lens_does_not_make_is_not_seen(tmp_path):
    path = write(tmp_path, "Calib.toml", toml().replace("-0.2, 0.05", "-1.0, 0.0"))
    found = calibrated.with_calibration(dataset(), str(path))
    assert (found.clips.confidence == 0).any() and (found.clips.confidence == 1).any()
    lost = int((found.clips.confidence == 0).sum())
    assert f"{lost} keypoints lie where the lens" in found.notes[-1]


def test_pictures_are_those_of_a_lens_without_distortion(tmp_path):
    """A dot in the picture is where its keypoint is."""
    path = write(tmp_path, "Calib.toml", toml())
    given = dataset()
    paths, spots = [], np.array([[160, 120], [640, 300], [1100, 620], [200, 600], [900, 90], [640, 600]])
    for frame, (x, y) in enumerate(spots):
        picture = np.zeros((720, 1280, 3), np.uint8)
        picture[y - 4 : y + 5, x - 4 : x + 5] = 255
        paths.append(str(tmp_path / f"{frame}.png"))
        Image.fromarray(picture).save(paths[-1])
    points = np.array(given.clips.keypoints)
    points[0, :, 0] = spots
    clips = dataclasses.replace(given.clips, keypoints=points)
    given = dataclasses.replace(given, clips=clips, frame_paths=(tuple(paths), None))
    found = calibrated.with_calibration(given, str(path))
    apart = np.abs(found.clips.keypoints[0, :, 0] - spots).max(1)
    assert apart.max() > 20
    for frame, picture in enumerate(pictures.frames(found, 0)):
        rows, columns = np.nonzero(picture[..., 0])
        np.testing.assert_allclose([columns.mean(), rows.mean()], found.clips.keypoints[0, frame, 0], atol=0.6)
    # Of a pinhole camera they are as they were filmed.
    plain = write(
        tmp_path, "Plain.toml", toml().replace("1020.0", "1000.0").replace("-0.2, 0.05, 0.001, 0.002", "0, 0, 0, 0")
    )
    assert calibrated.with_calibration(given, str(plain)).picture_lenses is None


def test_the_neutral_format_has_known_cameras(tmp_path):
    path = write(tmp_path, "Calib.toml", toml())
    given = calibrated.with_calibration(dataset(("cam01", "cam02", "alone"), (0, 0, 1)), str(path))
    neutral.write(given, tmp_path / "out")
    equal_datasets.assert_equal(neutral.load(tmp_path / "out", "kick"), given)
    assert given.picture_lenses is not None and given.picture_lenses[2] is None
    plain = dataset().clips
    assert calibrated.of_entries([{}, {}], plain).camera_known is None
