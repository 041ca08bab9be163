"""AMASS files: what the add-on of Blender asks for, and the same joints when read back or posed as they stand."""

import jax.numpy as jnp
import numpy as np
import pytest
from export_motions import motion, with_smpls_mesh, z_up
from scipy.spatial.transform import Rotation

from body_models import smpl
from experiments.export import amass_npz
from experiments.simulation import amass


@pytest.fixture(scope="module")
def smpl_like(tiny_arrays):
    return with_smpls_mesh(tiny_arrays)


def posed(body, pose, betas, translation):
    """Joints (T, 24, 3) of axis-angle poses (T, 24, 3), in the world that the root's is in."""
    turns = Rotation.from_rotvec(np.reshape(pose, (-1, 3))).as_matrix().reshape(-1, 24, 3, 3)
    f32 = lambda array: jnp.asarray(array, jnp.float32)
    return np.stack([smpl.joints(body, f32(r), f32(betas), f32(t)) for r, t in zip(turns, translation, strict=True)])


def test_what_the_add_on_asks_for(smpl_like, tmp_path):
    clip = motion(smpl_like, frames=5, fps=60.0)
    amass_npz.write(clip, tmp_path / "kick.npz", "z")
    with np.load(tmp_path / "kick.npz", allow_pickle=False) as file:
        assert file["poses"].shape == (5, 156)
        assert file["trans"].shape == (5, 3)
        assert file["betas"].shape == (16,)
        assert str(file["gender"]) == "neutral"
        assert file["gender"].shape == ()
        assert int(file["mocap_framerate"]) == int(file["mocap_frame_rate"]) == 60
        np.testing.assert_allclose(file["betas"], [*clip.betas, 0, 0, 0, 0, 0, 0])
        assert not file["poses"][:, 66:].any()  # flat hands
        np.testing.assert_allclose(file["poses"][:, 3:66].reshape(5, 21, 3), clip.rotation_vectors[:, 1:22])


@pytest.mark.parametrize("up", ["y", "z"])
def test_read_back_it_has_the_same_joints(smpl_like, tmp_path, up):
    clip = motion(smpl_like)
    amass_npz.write(clip, tmp_path / "kick.npz", up)
    back, notes = amass.read(tmp_path / "kick.npz", smpl_like)
    assert not notes
    assert back.fps == clip.fps
    joints = posed(smpl_like, back.pose, back.betas, back.translation)
    assert np.abs(joints - clip.joints).max() < 1e-5


@pytest.mark.parametrize("up", ["y", "z"])
def test_posed_as_it_stands_it_is_in_the_stated_world(smpl_like, tmp_path, up):
    """What readers do that know nothing of axes: the body, y up at rest, is posed and moved by `trans`."""
    clip = motion(smpl_like)
    amass_npz.write(clip, tmp_path / "kick.npz", up)
    with np.load(tmp_path / "kick.npz") as file:
        poses = file["poses"][:, :72].reshape(-1, 24, 3)
        joints = posed(smpl_like, poses, file["betas"][:10], file["trans"])
    expected = z_up(clip.joints) if up == "z" else clip.joints
    assert np.abs(joints - expected).max() < 1e-5


def test_another_bodys_shape_is_left_out_and_the_path_kept(tiny_body, tmp_path):
    clip = motion(tiny_body).grounded()
    mean = amass_npz.writable(clip, ground=True)
    assert not mean.betas.any()
    assert mean.lowest.min() == pytest.approx(0, abs=1e-6)
    raised = mean.joints[:, 0] - clip.joints[:, 0]
    np.testing.assert_allclose(raised, np.broadcast_to([0, raised[0, 1], 0], raised.shape), atol=1e-6)
    np.testing.assert_allclose(amass_npz.writable(clip, ground=False).joints[:, 0], clip.joints[:, 0], atol=1e-6)
    amass_npz.write(mean, tmp_path / "kick.npz", "z")
    back, notes = amass.read(tmp_path / "kick.npz", tiny_body)
    assert not notes
    assert np.abs(posed(tiny_body, back.pose, back.betas, back.translation) - mean.joints).max() < 1e-5


def test_smpls_own_shape_is_kept(smpl_like):
    clip = motion(smpl_like)
    assert amass_npz.writable(clip, ground=True) is clip


@pytest.mark.parametrize(
    ("own", "expected"), [(24, 30), (25, 30), (29.97, 30), (30, 30), (50, 60), (59.94, 60), (60, 60), (240, 240)]
)
def test_the_rate_is_a_multiple_of_the_add_ons(own, expected):
    assert amass_npz.default_fps(own) == expected
