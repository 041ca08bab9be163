"""Motion files: every width that AMASS has, z up to y up to the last joint, frame rates, sentences for what is wrong."""

import dataclasses
import re

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from body_models import smpl
from experiments.base.errors import UserError
from experiments.data.neutral_file import FileError
from experiments.simulation import amass, observations


def motion(frames=5, width=72, seed=0, **changes):
    rng = np.random.default_rng(seed)
    arrays = {
        "poses": rng.normal(0, 0.5, (frames, width)),
        "trans": rng.normal(0, 0.3, (frames, 3)),
        "betas": rng.normal(0, 1, 16),
        "gender": "female",
        "mocap_framerate": 30.0,
    }
    return {key: value for key, value in {**arrays, **changes}.items() if value is not None}


def save(path, **arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    return path


def body_points(body, pose, translation, betas):
    """Joints and other points of the posed body (T, L, 3), by the body's own code."""
    shape = jnp.asarray(np.resize(betas, body.num_betas), jnp.float32)
    rotations = Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix().reshape(len(pose), 24, 3, 3)
    return np.stack(
        [
            smpl.all_joints(body, jnp.asarray(r, jnp.float32), shape, jnp.asarray(t, jnp.float32))
            for r, t in zip(rotations, translation, strict=True)
        ]
    )


def test_every_point_of_the_body_is_turned_upright(tiny_body, tmp_path):
    # Of a body of its own, so that its shape counts and moves the pelvis.
    arrays = motion(
        trans=np.random.default_rng(1).normal(0, 2, (5, 3)), betas=np.linspace(-2, 2, 10), body_model="tiny"
    )
    read = amass.read(save(tmp_path / "a.npz", **arrays), tiny_body)[0]
    before = body_points(tiny_body, arrays["poses"].reshape(5, 24, 3), arrays["trans"], arrays["betas"])
    after = body_points(tiny_body, read.pose, read.translation, arrays["betas"])
    # What was up (z) is up (y); x stays; a right-handed turn sends y to -z.
    np.testing.assert_allclose(after, np.stack([before[..., 0], before[..., 2], -before[..., 1]], -1), atol=2e-6)
    assert np.abs(after - before).max() > 0.5


def test_a_body_that_stands_in_amass_stands_here(tiny_body, tmp_path):
    # AMASS's people stand by a quarter turn about x, which takes the body's y to the world's z.
    poses = np.zeros((1, 72))
    poses[0, 0] = np.pi / 2
    path = save(tmp_path / "a.npz", **motion(poses=poses, trans=np.array([[0, 0, 0.9]]), betas=np.zeros(10)))
    read, _ = amass.read(path, tiny_body)
    np.testing.assert_allclose(read.pose, 0, atol=1e-7)
    rest = np.asarray(tiny_body.joint_template)
    np.testing.assert_allclose(read.translation[0, 1], 0.9 + rest[0, 2] - rest[0, 1], atol=1e-6)


@pytest.mark.parametrize("width", [66, 72, 156, 165])
def test_widths(width, tiny_body, tmp_path):
    arrays = motion(width=width, up_axis="y")
    pose = amass.read(save(tmp_path / "a.npz", **arrays), tiny_body)[0].pose
    assert pose.shape == (5, 24, 3)
    np.testing.assert_array_equal(pose[:, :22].reshape(5, 66), arrays["poses"][:, :66])
    np.testing.assert_array_equal(
        pose[:, 22:].reshape(5, 6), arrays["poses"][:, 66:72] if width == 72 else np.zeros((5, 6))
    )


def test_what_a_file_may_hold_besides(tiny_body, tmp_path):
    # As the SMPL-X release has it: another name for the rate, and arrays of Python objects, which stay unread.
    arrays = motion(
        width=165, mocap_framerate=None, mocap_frame_rate=np.array([120.0]), markers_latent_vids=np.array({"a": 1})
    )
    read = amass.read(save(tmp_path / "a.npz", **arrays), tiny_body)[0]
    assert read.fps == 120
    assert len(read.pose) == 5


def test_shapes_are_used_on_the_mesh_that_they_are_of(tiny_body, tmp_path):
    path = save(tmp_path / "a.npz", **motion())
    read, (note,) = amass.read(path, tiny_body)
    assert read.betas.tolist() == [0] * 10
    assert "mean shape" in note
    # A body that has as many vertices as SMPL is taken for it.
    mesh = dataclasses.replace(tiny_body.mesh, template=jnp.zeros((6890, 3)))
    read, notes = amass.read(path, dataclasses.replace(tiny_body, mesh=mesh))
    np.testing.assert_array_equal(read.betas, motion()["betas"][:10])
    assert notes == []
    read, notes = amass.read(save(tmp_path / "b.npz", **motion(betas=np.ones(4), body_model="mine")), tiny_body)
    assert read.betas.tolist() == [1] * 4
    assert notes == []
    assert amass.read(save(tmp_path / "c.npz", **motion(betas=np.zeros(16))), tiny_body)[1] == []


def test_results_of_a_fit_stand_already(tiny_body, tmp_path):
    arrays = motion(up_axis="y")
    read = amass.read(save(tmp_path / "a.npz", **arrays), tiny_body)[0]
    np.testing.assert_array_equal(read.translation, arrays["trans"])
    np.testing.assert_array_equal(read.pose.reshape(5, 72), arrays["poses"])


def turning(frames, fps, axis=(0, 0, 1), speed=2.0):
    """Every joint turns about an axis at `speed` rad/s, the body moves along x at 1 m/s."""
    time = np.arange(frames) / fps
    pose = np.tile((time[:, None] * speed * np.asarray(axis))[:, None], (1, 24, 1))
    return observations.Motion(pose=pose, translation=time[:, None] * [1.0, 0, 0], betas=np.zeros(10), fps=fps)


@settings(max_examples=30, deadline=None)
@given(frames=st.integers(1, 40), old=st.floats(20, 250), new=st.floats(5, 250))
def test_even_motion_is_resampled_exactly(frames, old, new):
    seen = amass.resample(turning(frames, old), new)
    time = np.arange(len(seen.pose)) / new
    # As many frames as fit between the first and the last.
    assert abs(time[-1] - (frames - 1) / old) < 1 / new + 1e-6
    assert time[-1] <= (frames - 1) / old + 1e-6
    np.testing.assert_allclose(seen.translation[:, 0], time, atol=1e-5)
    true = Rotation.from_rotvec(time[:, None] * [0, 0, 2.0])
    for joint in (0, 23):
        assert (true.inv() * Rotation.from_rotvec(seen.pose[:, joint])).magnitude().max() < 1e-5
    assert seen.fps == new


def test_a_whole_share_of_the_rate_picks_frames():
    rng = np.random.default_rng(0)
    fast = observations.Motion(rng.uniform(-1, 1, (121, 24, 3)), rng.normal(0, 1, (121, 3)), np.zeros(10), 120.0)
    slow = amass.resample(fast, 30.0)
    assert len(slow.pose) == 31
    np.testing.assert_allclose(slow.pose, fast.pose[::4], atol=1e-9)
    np.testing.assert_allclose(slow.translation, fast.translation[::4], atol=1e-12)
    np.testing.assert_allclose(amass.resample(slow, 120.0).pose[::4], slow.pose, atol=1e-9)


def test_turns_go_the_short_way():
    pose = np.zeros((2, 24, 3))
    pose[:, :, 1] = np.array([3.0, -3.0])[:, None]  # 0.28 rad apart, through pi
    seen = amass.resample(observations.Motion(pose, np.zeros((2, 3)), np.zeros(10), 1.0), 2.0)
    assert np.abs(seen.pose[1, :, 1]) == pytest.approx(np.full(24, np.pi))


BAD = {
    "no poses": ({"poses": None}, r"it has no poses, which a motion"),
    "no rate": ({"mocap_framerate": None, "trans": None}, r"it has no trans and no mocap_framerate"),
    "width": (
        {"poses": np.zeros((5, 63))},
        r"poses has shape \(5, 63\), expected at least 1 row of 66 .* 165 \(SMPL-X\)",
    ),
    "no frames": (
        {"poses": np.zeros((0, 72)), "trans": np.zeros((0, 3))},
        r"poses has shape \(0, 72\), expected at least 1",
    ),
    "axes": ({"poses": np.zeros((5, 24, 3))}, r"poses has shape \(5, 24, 3\), expected 2 axes"),
    "NaN": ({"poses": np.full((5, 72), np.nan)}, r"poses has 360 values that are NaN or infinite"),
    "infinite": ({"trans": np.full((5, 3), np.inf)}, r"trans has 15 values"),
    "lengths": ({"trans": np.zeros((4, 3))}, r"trans has shape \(4, 3\), expected \(5, 3\) for 5 poses"),
    "rate": ({"mocap_framerate": 0.0}, r"mocap_framerate is 0.0, expected one number of frames per second"),
    "rates": ({"mocap_framerate": [30.0, 30.0]}, r"mocap_framerate is \[30.0, 30.0\], expected one"),
    "far": ({"trans": np.full((5, 3), 1e9)}, r"trans holds 1e\+09, expected metres from -1000 to 1000"),
    "turned": ({"poses": np.full((5, 72), -3e9)}, r"poses holds -3e\+09, expected radians from -100 to 100"),
    "shape": ({"betas": np.full(10, 1e9)}, r"betas holds 1e\+09, expected shape coefficients from -20 to 20"),
    "too many": ({"mocap_framerate": 1.2e11}, r"mocap_framerate holds 1.2e\+11, expected frames per second"),
    "too few": ({"mocap_framerate": 1.2e-7}, r"mocap_framerate holds 1.2e-07, expected frames per second"),
    "text": ({"poses": np.full((5, 72), "a")}, r"poses is an array of <U1, expected numbers"),
    "betas": ({"betas": np.zeros((1, 10))}, r"betas has shape \(1, 10\), expected 1 axes"),
    "up": ({"up_axis": "x"}, r"up_axis is 'x', expected y or z"),
    "objects": ({"poses": np.array([None])}, r"not a \.npz file of plain arrays"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_said(case, tiny_body, tmp_path):
    changes, message = BAD[case]
    with pytest.raises(FileError, match=message) as error:
        amass.read(save(tmp_path / "a.npz", **motion(**changes)), tiny_body)
    assert "\n" not in str(error.value)


def test_a_path_that_nobody_runs_is_named(tiny_body, tmp_path):
    walk = np.linspace([0.0, 0, 0.9], [5.0, 0, 0.9], 60)

    def notes(trans):
        path = save(tmp_path / "a.npz", **motion(frames=60, betas=np.zeros(10), trans=trans))
        return amass.read(path, tiny_body)[1]

    assert notes(walk) == []
    for odd in (walk * 100, np.random.default_rng(0).permutation(walk)):  # centimetres; out of order
        (note,) = notes(odd)
        assert re.match(r"The motion of .*a\.npz moves by up to \d+ metres per second; its frames may be", note)


def test_files_of_an_action(tmp_path):
    for name in ("kick.10", "kick.2", "kick", "kick_3_poses", "kick_high.0", "Round_Kick_poses", "bow.0", ".kick.7"):
        save(tmp_path / f"{name}.npz", **motion())

    def found(action, root=tmp_path):
        return [path.name.removesuffix(".npz") for path in amass.find(root, action)]

    assert found("kick") == ["kick.10", "kick.2", "kick", "kick_3_poses"]
    assert found("kick_high") == ["kick_high.0"]
    assert found("Kick_") == ["Round_Kick_poses", "kick_3_poses", "kick_high.0"]
    assert found("anything", tmp_path / "bow.0.npz") == ["bow.0"]
    save(tmp_path / "bow" / "x.npz", **motion())
    assert found("bow") == ["x"]
    with pytest.raises(
        UserError, match=r"--action=slash names no motion in .*, which holds .*bow.*; name one of these"
    ):
        found("slash")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=re.escape("holds no .npz files; expected slash.0.npz or slash/<any>.npz")):
        found("slash", tmp_path / "empty")
    with pytest.raises(UserError, match="there is no such file or folder"):
        found("slash", tmp_path / "absent")
