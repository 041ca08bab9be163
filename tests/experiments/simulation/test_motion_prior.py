"""The training of the open learned prior over motions on made-up windows, and what it refuses."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_t

from experiments.base.errors import UserError
from experiments.simulation import motion_prior, pose_prior, student_t
from experiments.simulation.motion_prior import Predictions, Windows
from experiments.simulation.observations import Motion
from nemo_jax.priors import limbs, motion

RNG = np.random.default_rng(0)
SLOPES = RNG.normal(size=(2, 3, 4))
OFFSETS = np.array([[3.0, 0.0, -1.0], [-5.0, 2.0, 0.0]])
ROOTS = np.array([np.diag([1.0, 0.8, 1.2]), [[0.9, 0, 0], [0.5, 0.9, 0], [0, -0.3, 1.0]]])


def made(count=3000, freedom=5.0):
    """Windows of two predictions, and the logarithms of which of them each belongs to, known almost surely."""
    rng = np.random.default_rng(1)
    which = np.arange(count) % 2
    poses = rng.normal(size=(count, 4))
    noise = multivariate_t(np.zeros(3), np.eye(3), df=freedom, seed=rng).rvs(count)
    moved = np.einsum("pvd,pd->pv", SLOPES[which], poses) + OFFSETS[which]
    moved = moved + np.einsum("pij,pj->pi", ROOTS[which], noise)
    people = np.array([f"p{number % 5}" for number in range(count)])
    return Windows(poses, moved, people), np.log(np.where(np.eye(2)[which] > 0, 0.99, 0.01))


def true(freedom=5.0):
    return Predictions(SLOPES, OFFSETS, ROOTS @ ROOTS.swapaxes(1, 2), freedom)


def test_the_predictions_are_found():
    found = motion_prior.fit(*made(), 5.0)
    np.testing.assert_allclose(found.slopes, SLOPES, atol=0.12)
    np.testing.assert_allclose(found.offsets, OFFSETS, atol=0.12)
    np.testing.assert_allclose(found.scales, true().scales + motion_prior._FLOOR**2 * np.eye(3), atol=0.15)


def test_a_component_without_windows_stays_finite():
    windows, gates = made(200)
    wide = np.concatenate([gates, np.full((200, 1), -50.0)], 1)
    assert all(np.isfinite(part).all() for part in motion_prior.fit(windows, wide, 5.0))


def test_the_density_is_that_of_scipy():
    windows, gates = made(40)
    logs, squares = motion_prior.parts(true(), windows, gates)
    for number in (0, 1):
        expected = windows.poses @ SLOPES[number].T + OFFSETS[number]
        density = multivariate_t(np.zeros(3), true().scales[number], df=5.0).logpdf(windows.moved - expected)
        np.testing.assert_allclose(logs[:, number], gates[:, number] + density, rtol=1e-9)
    assert (squares > 0).all()


def test_people_left_out_are_calibrated_by_what_made_them(monkeypatch):
    monkeypatch.setattr(motion_prior, "_FLOOR", 0.01)
    windows, gates = made()
    surprise, distances = motion_prior.measure(windows, gates, 5.0, 3)
    logs, _ = motion_prior.parts(true(), windows, gates)
    assert surprise == pytest.approx(float(-np.logaddexp.reduce(logs, 1).mean()), abs=0.06)
    for expected, seen in student_t.calibration(distances, 3, 5.0):
        assert seen == pytest.approx(expected, abs=0.05)
    wide = student_t.calibration(distances / 4, 3, 5.0)
    assert all(seen > expected for expected, seen in wide[:5])


def test_what_is_written_is_what_the_prior_reads(tmp_path):
    motion_prior.write(tmp_path / "motion.npz", true())
    with np.load(tmp_path / "motion.npz") as arrays:
        assert set(arrays.files) == set(motion.MotionPrior.__dataclass_fields__)
        assert all(arrays[name].dtype == np.float32 for name in arrays.files)
        assert arrays["log_weights"].max() == 0 and arrays["freedom"] == 5
        whitened = arrays["whitening"] @ true().scales @ arrays["whitening"].swapaxes(1, 2)
        np.testing.assert_allclose(whitened, np.tile(np.eye(3), (2, 1, 1)), atol=1e-4)


def recording(frames=9, fps=30.0):
    rng = np.random.default_rng(2)
    pose = np.cumsum(rng.normal(0, 0.03, (frames, 24, 3)), 0) + rng.normal(0, 0.3, (24, 3))
    return Motion(pose=pose, translation=np.cumsum(rng.normal(0, 0.01, (frames, 3)), 0), betas=np.zeros(10), fps=fps)


def test_windows_of_a_recording_and_of_its_mirror_image(tiny_body):
    given = recording()
    poses, moved = motion_prior.windows(tiny_body, given)
    # Two frames from moment to moment: five windows of nine frames.
    assert poses.shape == (10, limbs.NUM_DIMENSIONS) and moved.shape == (10, motion.NUM_MOVING)
    found = pose_prior.directions(tiny_body, given.pose)
    np.testing.assert_allclose(poses[:5], found[2:7], atol=1e-5)
    np.testing.assert_allclose(poses[5:], found[9 + 2 : 9 + 7], atol=1e-3)
    np.testing.assert_allclose(moved[:5, :42], (found[4:9] - found[:5]) / (4 / 30), atol=1e-3)
    # Places are mirrored as points, turns as axes.
    for first in (42, 42 + 48):
        np.testing.assert_allclose(moved[5:, first : first + 3], moved[:5, first : first + 3] * [1, -1, -1], atol=0.02)
        np.testing.assert_allclose(
            moved[5:, first + 3 : first + 6], moved[:5, first + 3 : first + 6] * [-1, 1, 1], atol=0.02
        )


def test_what_moves_is_what_the_prior_sees():
    rng = np.random.default_rng(3)
    roots = np.linalg.qr(rng.normal(size=(2, 3, 3, 3)))[0]
    directions, places = rng.normal(size=(2, 3, 14, 3)), rng.normal(size=(2, 3, 3))
    expected = [motion.moving(*(jnp.float32(x[n]) for x in (directions, roots, places)), 0.07) for n in (0, 1)]
    np.testing.assert_allclose(motion_prior.moving(directions, roots, places, 0.07), expected, rtol=1e-3, atol=1e-2)


def test_a_recording_too_short_has_no_windows(tiny_body):
    poses, moved = motion_prior.windows(tiny_body, recording(frames=4))
    assert poses.shape == (0, limbs.NUM_DIMENSIONS) and moved.shape == (0, motion.NUM_MOVING)


@pytest.fixture
def motions(tmp_path, tiny_body, monkeypatch):
    """A folder of two recordings, read with a small body."""
    monkeypatch.setattr(motion_prior.loaders, "load_body", lambda: tiny_body)
    folder = tmp_path / "motion"
    folder.mkdir()
    for name, frames in (("a", 9), ("b", 9)):
        given = recording(frames)
        arrays = {"poses": given.pose.reshape(frames, 72), "trans": given.translation, "betas": np.zeros(10)}
        np.savez(folder / f"{name}.npz", **arrays, mocap_framerate=30.0)
    return folder


def test_the_command(motions, tmp_path, capsys):
    output = tmp_path / "new.npz"
    motion_prior.main([f"--motion={motions}", "--freedom=4", "--folds=2", f"--output={output}"])
    said = capsys.readouterr().out
    assert "20 windows of 2 people" in said and said.count("nats a window") == 1
    with np.load(output) as arrays:
        assert arrays["offsets"].shape[1] == motion.NUM_MOVING


def test_what_is_refused_is_refused_in_a_sentence(motions, tmp_path):
    with pytest.raises(SystemExit, match=r"^Error: --motion=.*none holds no .npz files"):
        motion_prior.main([f"--motion={tmp_path / 'none'}"])
    for path in motions.glob("*.npz"):
        given = recording(3)
        arrays = {"poses": given.pose.reshape(3, 72), "trans": given.translation, "betas": np.zeros(10)}
        np.savez(path, **arrays, mocap_framerate=30.0)
    with pytest.raises(UserError, match=r"holds no recording of 0\.13 s; give longer ones"):
        motion_prior.read(motions, None, None)
