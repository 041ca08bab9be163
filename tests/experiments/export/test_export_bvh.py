"""BVH: read by another reader and posed, it gives the joints; angles are continuous; the text is what readers expect."""

import numpy as np
import pytest
from export_motions import chain, motion, z_up
from scipy.spatial.transform import Rotation

from body_models import joints as jn
from experiments.export import bvh


def read(path):
    """Names, parents, offsets (J, 3), channels and frame time of a file, and its numbers (T, C): any BVH, token by token."""
    head, body = path.read_text().split("MOTION")
    names, parents, offsets, channels, stack = [], [], [], [], []
    tokens = iter(head.split())
    assert next(tokens) == "HIERARCHY"
    for token in tokens:
        if token in ("ROOT", "JOINT", "End"):
            names.append(next(tokens))
            parents.append(stack[-1] if stack else -1)
            channels.append([])
        elif token == "{":
            stack.append(len(names) - 1)
        elif token == "}":
            stack.pop()
        elif token == "OFFSET":
            offsets.append([float(next(tokens)) for _ in range(3)])
        else:
            assert token == "CHANNELS"
            channels[-1] = [next(tokens) for _ in range(int(next(tokens)))]
    assert not stack
    frames, time, *rows = body.strip().splitlines()
    assert len(rows) == int(frames.removeprefix("Frames:"))
    return (
        names,
        parents,
        np.array(offsets),
        channels,
        float(time.removeprefix("Frame Time:")),
        np.loadtxt(rows, ndmin=2),
    )


def posed(path):
    """Positions of all joints, End Sites included, by name."""
    names, parents, offsets, channels, _, rows = read(path)
    rotations, places, column = np.tile(np.eye(3), (len(rows), len(names), 1, 1)), np.zeros((len(rows), 3)), 0
    for joint, own in enumerate(channels):
        for channel in own:
            axis, kind = channel[0], channel[1:]
            if kind == "position":
                places[:, "XYZ".index(axis)] = rows[:, column]
            else:
                turn = Rotation.from_euler(axis.lower(), rows[:, [column]], degrees=True).as_matrix()
                rotations[:, joint] = rotations[:, joint] @ turn
            column += 1
    assert column == rows.shape[1]
    positions, _ = chain(parents, offsets, rotations, places + offsets[0])
    return names, positions


@pytest.mark.parametrize("up", ["y", "z"])
def test_another_reader_poses_the_same_joints(tiny_body, tmp_path, up):
    clip = motion(tiny_body)
    bvh.write(clip, tmp_path / "kick.bvh", up)
    names, positions = posed(tmp_path / "kick.bvh")
    assert sorted(set(names) - {"Site"}) == sorted(jn.SMPL_JOINTS)
    found = np.stack([positions[:, names.index(joint)] for joint in jn.SMPL_JOINTS], 1) / 100
    expected = z_up(clip.joints) if up == "z" else clip.joints
    assert np.abs(found - expected).max() < 1e-5
    assert names.count("Site") == 5


@pytest.mark.parametrize("up", ["y", "z"])
def test_the_rest_pose_stands_along_the_axis_that_points_up(tiny_body, tmp_path, up):
    clip = motion(tiny_body)
    bvh.write(clip, tmp_path / "kick.bvh", up)
    names, parents, offsets, channels, _, _ = read(tmp_path / "kick.bvh")
    still = np.tile(np.eye(3), (1, len(names), 1, 1))
    rest = dict(zip(names, chain(parents, offsets, still, offsets[:1])[0][0], strict=True))
    upward = rest["head"] - rest["left_foot"]
    assert np.argmax(np.abs(upward)) == "xyz".index(up)
    assert upward["xyz".index(up)] > 100
    assert rest["left_hand"][0] > 50
    assert channels[0] == ["Xposition", "Yposition", "Zposition", "Zrotation", "Xrotation", "Yrotation"]
    assert all(own == channels[0][3:] for name, own in zip(names[1:], channels[1:], strict=True) if name != "Site")


def test_bones_end_at_toes_fingers_and_the_top_of_the_head(tiny_body, tmp_path):
    clip = motion(tiny_body)
    bvh.write(clip, tmp_path / "kick.bvh", "y")
    names, parents, offsets, _, _, _ = read(tmp_path / "kick.bvh")
    ends = {names[parents[i]]: offsets[i] / 100 for i, name in enumerate(names) if name == "Site"}
    assert set(ends) == {"left_foot", "right_foot", "left_hand", "right_hand", "head"}
    rest = clip.rest_joints
    # The tiny body has a vertex at each landmark, in their order.
    toe = clip.rest_vertices[jn.NUM_JOINTS + jn.LANDMARKS.index("left_big_toe")]
    np.testing.assert_allclose(ends["left_foot"], toe - rest[jn.SMPL_JOINTS.index("left_foot")], atol=1e-6)
    assert rest[jn.SMPL_JOINTS.index("head"), 1] + ends["head"][1] == pytest.approx(
        clip.rest_vertices[:, 1].max(), abs=1e-6
    )


def test_the_clock(tiny_body, tmp_path):
    bvh.write(motion(tiny_body, frames=1, fps=59.94), tmp_path / "one.bvh", "y")
    *_, step, rows = read(tmp_path / "one.bvh")
    assert step == pytest.approx(1 / 59.94, abs=1e-9)
    assert rows.shape == (1, 75)


def test_angles_are_continuous_where_a_knee_bends_past_a_right_angle():
    bend = np.radians(np.linspace(0, 145, 30))
    rotations = Rotation.from_rotvec(np.stack([bend, 0 * bend, 0 * bend], -1)).as_matrix()[:, None]
    np.testing.assert_allclose(bvh.euler_zxy(rotations)[:, 0], np.stack([0 * bend, bend, 0 * bend], -1), atol=1e-7)
    turns = np.linspace(0, 3 * 2 * np.pi, 60)  # about the vertical, three times round
    rotations = Rotation.from_rotvec(np.stack([0 * turns, turns, 0 * turns], -1)).as_matrix()[:, None]
    np.testing.assert_allclose(bvh.euler_zxy(rotations)[:, 0, 2], turns, atol=1e-7)


@pytest.mark.parametrize("tilt", [90, -90, 90 - 1e-5, 90 + 1e-3])
def test_angles_at_and_near_gimbal_lock_mean_the_rotation(tilt):
    rng = np.random.default_rng(0)
    angles = np.stack([rng.uniform(-180, 180, 50), np.full(50, tilt), rng.uniform(-180, 180, 50)], -1)
    # As fields give them: single precision.
    rotations = Rotation.from_euler("ZXY", angles, degrees=True).as_matrix().astype(np.float32).astype(float)
    found = bvh.euler_zxy(rotations[:, None])[:, 0]
    np.testing.assert_allclose(Rotation.from_euler("ZXY", found).as_matrix(), rotations, atol=3e-7)
