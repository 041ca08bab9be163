"""Each format of calibrated cameras, as its program writes it, and what is no such file."""

import json
import pickle

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from experiments.base.errors import UserError
from experiments.data import calibration_files

POSE2SIM = """\
[cam_01]
name = "cam01"
size = [ 1088.0, 1920.0,]
matrix = [ [ 1681.2, 0.0, 532.9,], [ 0.0, 1681.1, 948.1,], [ 0.0, 0.0, 1.0,],]
distortions = [ -0.046, 0.14, 0.001, -0.002,]
rotation = [ 1.2, -0.5, 0.3,]
translation = [ 0.3, 0.9, 2.9,]
fisheye = false

[cam_02]
size = [ 1088.0, 1920.0,]
matrix = [ [ 1675.0, 0.0, 540.0,], [ 0.0, 1675.0, 964.0,], [ 0.0, 0.0, 1.0,],]
distortions = [ 0.0, 0.0, 0.0, 0.0,]
rotation = [ 0.0, 0.0, 0.0,]
translation = [ 0.0, 0.0, 4.0,]
fisheye = false

[metadata]
adjusted = false
error = 0.0
"""
YAML = """\
%YAML:1.0
---
calibration_time: "Fri 27 Nov 2026 10:00:00"
image_width: 1280
image_height: 720
flags: 0
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 1.0e+03, 0., 6.4e+02, 0., 1001.5,
       360., 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: 5
   cols: 1
   dt: d
   data: [ 0.1, -0.2, 0.001, 0.002, 3.0e-02 ]
rvec: !!opencv-matrix
   rows: 3
   cols: 1
   dt: d
   data: [ 0.1, 0.2, 0.3 ]
tvec: [ 0.5, -0.25, 3. ]
"""
XML = """\
<?xml version="1.0"?>
<opencv_storage>
<image_Width>1280</image_Width>
<image_Height>720</image_Height>
<Camera_Matrix type_id="opencv-matrix">
  <rows>3</rows>
  <cols>3</cols>
  <dt>d</dt>
  <data>
    1000. 0. 640. 0. 1001.5 360. 0.
    0. 1.</data></Camera_Matrix>
<Distortion_Coefficients type_id="opencv-matrix">
  <rows>5</rows>
  <cols>1</cols>
  <dt>d</dt>
  <data>
    0.1 -0.2 0.001 0.002 0.03</data></Distortion_Coefficients>
<R type_id="opencv-matrix"><rows>3</rows><cols>3</cols><dt>d</dt><data>{rotation}</data></R>
<T type_id="opencv-matrix"><rows>3</rows><cols>1</cols><dt>d</dt><data>0.5 -0.25 3.</data></T>
</opencv_storage>
"""
ROS = """\
image_width: 1280
image_height: 720
camera_name: 00b09d
camera_matrix:
  rows: 3
  cols: 3
  data: [1000, 0, 640, 0, 1001.5, 360, 0, 0, 1]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [0.1, -0.2, 0.001, 0.002, 0.03]
"""
TURN = Rotation.from_rotvec([0.1, 0.2, 0.3]).as_matrix()


def write(tmp_path, name, text):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_pose2sim(tmp_path):
    first, second = calibration_files.read(write(tmp_path, "Calib.toml", POSE2SIM))
    assert (first.name, second.name, first.size) == ("cam01", "cam_02", (1088.0, 1920.0))
    np.testing.assert_array_equal(first.matrix, [[1681.2, 0, 532.9], [0, 1681.1, 948.1], [0, 0, 1]])
    np.testing.assert_array_equal(first.distortion, [-0.046, 0.14, 0.001, -0.002, 0, 0, 0, 0])
    np.testing.assert_allclose(first.rotation, Rotation.from_rotvec([1.2, -0.5, 0.3]).as_matrix())
    np.testing.assert_array_equal(first.translation, [0.3, 0.9, 2.9])
    # A point of the world a metre before the second camera's axis.
    np.testing.assert_allclose(second.project([[0.4, 0.0, 0.0]]), [[540 + 167.5, 964]])


def opencv_like(found):
    assert found.size == (1280.0, 720.0)
    np.testing.assert_array_equal(found.matrix, [[1000, 0, 640], [0, 1001.5, 360], [0, 0, 1]])
    np.testing.assert_array_equal(found.distortion[:5], [0.1, -0.2, 0.001, 0.002, 0.03])


@pytest.mark.parametrize("kind", ["yml", "crlf", "xml", "json"])
def test_opencv(tmp_path, kind):
    if kind in ("yml", "crlf"):
        text = YAML if kind == "yml" else YAML.replace("\n", "\r\n")
        path = write(tmp_path, "left.yml", text)
    elif kind == "xml":
        path = write(tmp_path, "left.xml", XML.format(rotation=" ".join(map(repr, TURN.ravel().tolist()))))
    else:
        matrix = lambda values, rows: {
            "type_id": "opencv-matrix",
            "rows": rows,
            "cols": len(values) // rows,
            "data": values,
        }
        nodes = {
            "image_width": 1280, "image_height": 720, "cameraMatrix": [[1000, 0, 640], [0, 1001.5, 360], [0, 0, 1]],
            "distCoeffs": matrix([0.1, -0.2, 0.001, 0.002, 0.03], 1), "rvec": matrix([0.1, 0.2, 0.3], 3),
            "tvec": [[0.5], [-0.25], [3]],
        }  # fmt: skip
        path = write(tmp_path, "left.json", json.dumps(nodes))
    (found,) = calibration_files.read(path)
    opencv_like(found)
    assert found.name == "left"
    np.testing.assert_allclose(found.rotation, TURN)
    np.testing.assert_array_equal(found.translation, [0.5, -0.25, 3])


def test_opencv_itself_writes_what_is_read(tmp_path):
    cv2 = pytest.importorskip("cv2")
    for suffix in ("yml", "xml", "json"):
        storage = cv2.FileStorage(str(tmp_path / f"a.{suffix}"), cv2.FILE_STORAGE_WRITE)
        storage.write("image_width", 1280)
        storage.write("image_height", 720)
        storage.write("camera_matrix", np.array([[1000, 0, 640], [0, 1001.5, 360], [0, 0, 1]]))
        storage.write("distortion_coefficients", np.array([[0.1, -0.2, 0.001, 0.002, 0.03]]))
        storage.write("rvec", np.array([[0.1], [0.2], [0.3]]))
        storage.write("tvec", np.array([[0.5], [-0.25], [3]]))
        storage.release()
        (found,) = calibration_files.read(tmp_path / f"a.{suffix}")
        opencv_like(found)
        np.testing.assert_allclose(found.rotation, TURN, atol=1e-12)


def test_ros_says_the_lens_alone(tmp_path):
    (found,) = calibration_files.read(write(tmp_path, "camera.yaml", ROS))
    opencv_like(found)
    assert (found.name, found.rotation) == ("00b09d", None)


def qualisys(place, turn, model="Miqus Video"):
    entries = " ".join(f'r{i + 1}{j + 1}="{turn[i, j]}"' for i in range(3) for j in range(3))
    return f"""\
 <camera active="1" serial="26580" model="{model}" viewrotation="0">
  <fov_video left="0" top="8" right="1919" bottom="1087"/>
  <transform x="{place[0]}" y="{place[1]}" z="{place[2]}" {entries}/>
  <intrinsic focallength="9.27" sensorMinU="0" sensorMaxU="122879" sensorMinV="0" sensorMaxV="69631"
   focalLengthU="{64 * 1680}" focalLengthV="{64 * 1681}" centerPointU="{64 * 950}" centerPointV="{64 * 520}" skew="0"
   radialDistortion1="-0.045" radialDistortion2="0.14" radialDistortion3="0.01" tangentalDistortion1="0.0006"
   tangentalDistortion2="-0.0004"/>
 </camera>"""


def test_qualisys(tmp_path):
    # A camera 4 m before the origin of a world with z up, 1.5 m high, that looks along x: its right is -y, its up z.
    right, up, back = np.array([0.0, -1.0, 0.0]), np.array([0.0, 0.0, 1.0]), np.array([-1.0, 0.0, 0.0])
    text = qualisys([-4000.0, 0.0, 1500.0], np.stack([right, up, back]))
    markers = text.replace("Miqus Video", "Miqus M3").replace("26580", "1")
    whole = f'<?xml version="1.0"?>\n<calibration created="2026"><cameras>{markers}{text}</cameras></calibration>'
    (found,) = calibration_files.read(write(tmp_path, "Calib.qca.txt", whole))
    assert (found.name, found.size) == ("26580", (1920.0, 1080.0))
    np.testing.assert_array_equal(found.matrix, [[1680, 0, 950], [0, 1681, 512], [0, 0, 1]])
    np.testing.assert_array_equal(found.distortion[:5], [-0.045, 0.14, 0.0006, -0.0004, 0.01])
    np.testing.assert_allclose(found.rotation @ [0, 0, 1.5] + found.translation, [0, 0, 4], atol=1e-12)
    # Half a metre to the left, on the floor: to the left and below in the picture.
    seen = found.rotation @ [0, 0.5, 0] + found.translation
    np.testing.assert_allclose(seen, [-0.5, 1.5, 4], atol=1e-12)


def test_opencap(tmp_path):
    values = {
        "distortion": np.array([[0.1, -0.2, 0.001, 0.002, 0.03]]),
        "intrinsicMat": np.array([[1000, 0, 360], [0, 1001.5, 640], [0, 0, 1.0]]),
        "imageSize": np.array([[1280.0], [720.0]]),
        "rotation": TURN,
        "translation": np.array([[500.0], [-250.0], [3000.0]]),
        "rotation_EulerAngles": np.array([[0.1], [0.2], [0.3]]),
    }
    path = tmp_path / "Cam1" / "cameraIntrinsicsExtrinsics.pickle"
    path.parent.mkdir()
    path.write_bytes(pickle.dumps(values))
    (found,) = calibration_files.read(path)
    assert (found.name, found.size) == ("Cam1", (720.0, 1280.0))
    np.testing.assert_array_equal(found.translation, [0.5, -0.25, 3.0])
    np.testing.assert_array_equal(found.rotation, TURN)
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(UserError, match="it is no calibration of OpenCap, a dictionary with intrinsicMat"):
        calibration_files.read(path)


class Runs:
    def __reduce__(self):
        return print, ("a stranger's code runs",)


def test_a_pickle_runs_nothing(tmp_path, capsys):
    path = tmp_path / "cam.pickle"
    path.write_bytes(pickle.dumps({"intrinsicMat": Runs()}))
    with pytest.raises(UserError, match=r"cam\.pickle cannot be used"):
        calibration_files.read(path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.csv", "", "its name ends in '.csv', expected one of .toml"),
        ("a.toml", "[a\n", "it is no TOML"),
        ("a.toml", "[metadata]\nadjusted = false\n", "it has no camera"),
        ("a.toml", POSE2SIM.replace("fisheye = false", "fisheye = true", 1), "camera cam01 is a fisheye"),
        (
            "a.toml",
            POSE2SIM.replace("[ 1.2, -0.5, 0.3,]", '"none"'),
            "camera cam01: its rotation is 'none', expected numbers",
        ),
        ("a.yml", "image_width: 1280\n", "it has no camera_matrix; found image_width"),
        ("a.yml", YAML.replace("rows: 5", "rows: 4"), "distortion_coefficients has not the 4 times 1 numbers"),
        ("a.yml", YAML.replace("-0.2", "x"), "are no numbers"),
        ("a.json", "[", "it is no JSON"),
        ("a.json", "[]", "it is no JSON object"),
        ("a.xml", "<a>", "it is no XML"),
        ("a.xml", "<a/>", "it is XML of 'a', expected opencv_storage, or calibration with cameras"),
        ("a.xml", '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "it defines a document type"),
        (
            "a.qca.txt",
            f"<calibration><cameras>{qualisys([0, 0, 0], np.eye(3)).replace('r11=', 'r99=')}</cameras></calibration>",
            "camera 26580: r11 of its transform is None, expected a number",
        ),
    ],
)
def test_what_is_no_calibration(tmp_path, name, text, sentence):
    with pytest.raises(UserError, match=f"^--calibration: .*{name} cannot be used: .*{sentence}"):
        calibration_files.read(write(tmp_path, name, text))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="cannot be read \\(no such file or directory\\); check the path"):
        calibration_files.read(tmp_path / "Calib.toml")
