"""TRC and CSV: other readers find the joints, in the units and axes that the header says."""

import csv

import numpy as np
import pytest
from export_motions import motion, z_up
from scipy.spatial.transform import Rotation

from body_models import joints as jn
from experiments.export import bvh, table, trc

OPENSIM = [
    "DataRate",
    "CameraRate",
    "NumFrames",
    "NumMarkers",
    "Units",
    "OrigDataRate",
    "OrigDataStartFrame",
    "OrigNumFrames",
]


def read_trc(path):
    """Header, marker names, seconds and points (T, M, 3) of a file, as strict as OpenSim's reader."""
    lines = path.read_text().split("\n")
    assert lines[0].split()[0] == "PathFileType"
    keys, values = ([cell for cell in lines[i].split("\t") if cell] for i in (1, 2))
    assert keys == OPENSIM
    header = dict(zip(keys, values, strict=True))
    frame, time, *names = [cell for cell in lines[3].split("\t") if cell]
    assert (frame, time) == ("Frame#", "Time")
    count = int(header["NumMarkers"])
    assert len(names) == count
    assert lines[3].split("\t")[2::3] == names  # a name stands over its X
    axes = [cell for cell in lines[4].split("\t") if cell]
    assert axes == [f"{axis}{marker}" for marker in range(1, count + 1) for axis in "XYZ"]
    assert lines[4].startswith("\t\tX1")
    assert lines[5] == lines[-1] == ""
    rows = np.array([line.split("\t") for line in lines[6:-1]], float)
    assert rows.shape == (int(header["NumFrames"]), 2 + 3 * count)
    np.testing.assert_array_equal(rows[:, 0], np.arange(1, len(rows) + 1))
    return header, names, rows[:, 1], rows[:, 2:].reshape(len(rows), count, 3)


@pytest.mark.parametrize("up", ["y", "z"])
def test_an_opensim_reader_finds_the_markers(tiny_body, tmp_path, up):
    clip = motion(tiny_body, fps=59.94)
    trc.write(clip, tmp_path / "kick.trc", up)
    header, names, seconds, points = read_trc(tmp_path / "kick.trc")
    assert header["Units"] == "mm"
    assert header["DataRate"] == header["CameraRate"] == header["OrigDataRate"] == "59.94"
    assert (header["NumFrames"], header["OrigNumFrames"], header["OrigDataStartFrame"]) == ("9", "9", "1")
    np.testing.assert_allclose(seconds, np.arange(9) / 59.94, atol=1e-6)
    joints, keypoints = (z_up(points) if up == "z" else points for points in (clip.joints, clip.keypoints))
    for n, name in enumerate(jn.SMPL_JOINTS):
        np.testing.assert_allclose(points[:, names.index(name)], 1000 * joints[:, n], atol=1e-3)
    skin = {"nose", "left_eye", "right_eye", "left_ear", "right_ear"}
    skin |= {f"{side}_{part}" for side in ("left", "right") for part in ("big_toe", "small_toe", "heel")}
    assert skin == set(names) - set(jn.SMPL_JOINTS)
    for name in skin:
        n = jn.BODY_25_NAMES.index(name)
        np.testing.assert_allclose(points[:, names.index(name)], 1000 * keypoints[:, n], atol=1e-3)
    assert len(names) == len(set(names)) == 35
    assert not any(set(name) & set(" \t") for name in names)


def read_csv(path):
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


@pytest.mark.parametrize("up", ["y", "z"])
def test_a_spreadsheet_has_positions_and_angles(tiny_body, tmp_path, up):
    clip = motion(tiny_body, fps=50.0)
    table.write(clip, tmp_path / "kick.csv", up)
    columns = read_csv(tmp_path / "kick.csv")
    assert list(columns)[:4] == ["frame", "time_s", "phase", "pelvis_x_m"]
    assert len(columns) == 3 + 24 * 6 + 4
    np.testing.assert_array_equal(columns["frame"], np.arange(9))
    np.testing.assert_allclose(columns["time_s"], np.arange(9) / 50, atol=1e-6)
    np.testing.assert_allclose(columns["phase"], clip.phases, atol=1e-6)
    joints = z_up(clip.joints) if up == "z" else clip.joints
    for n, joint in enumerate(jn.SMPL_JOINTS):
        found = np.stack([columns[f"{joint}_{axis}_m"] for axis in "xyz"], -1)
        np.testing.assert_allclose(found, joints[:, n], atol=1e-6)
        vectors = np.radians(np.stack([columns[f"{joint}_r{axis}_deg"] for axis in "xyz"], -1))
        turns = Rotation.from_rotvec(vectors).as_matrix()
        expected = clip.rotations[:, n]
        if up == "z" and n == 0:
            # Where the root puts what is at rest, in the turned world.
            expected = np.stack([expected[:, 0], -expected[:, 2], expected[:, 1]], 1)
        np.testing.assert_allclose(turns, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("angle", "hinge"), [(0, "left_knee"), (30, "left_knee"), (90, "right_elbow"), (150, "right_knee")]
)
def test_flexion_is_what_a_hinge_bends_from_straight(angle, hinge):
    above, below = table.HINGES[hinge]
    joints = np.zeros((1, 24, 3))
    joints[0, jn.SMPL_JOINTS.index(above)] = [0, 0.4, 0]
    bent = np.radians(angle)
    joints[0, jn.SMPL_JOINTS.index(below)] = [0, -0.4 * np.cos(bent), -0.4 * np.sin(bent)]
    np.testing.assert_allclose(table.flexion(joints, hinge), angle, atol=1e-6)


def test_one_frame_is_enough(tiny_body, tmp_path):
    clip = motion(tiny_body, frames=1)
    for write, name in ((trc.write, "a.trc"), (table.write, "a.csv"), (bvh.write, "a.bvh")):
        write(clip, tmp_path / name, "y")
    assert read_trc(tmp_path / "a.trc")[3].shape == (1, 35, 3)
    assert read_csv(tmp_path / "a.csv")["time_s"].tolist() == [0]
