"""The training of the open learned prior on made-up poses, and what it refuses."""

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_t

from experiments.base.errors import UserError
from experiments.simulation import pose_prior
from nemo_jax.priors import limbs

MEANS = np.array([[0.0, 0.0, 0.0], [4.0, 0.0, -3.0], [-4.0, 5.0, 1.0]])
SHARES = np.array([0.5, 0.3, 0.2])


def mixture(freedom=8.0):
    rng = np.random.default_rng(0)
    roots = 0.3 * np.eye(3) + 0.1 * np.tril(rng.normal(size=(3, 3, 3)))
    return pose_prior.Mixture(SHARES, MEANS, roots @ roots.swapaxes(1, 2), freedom)


def samples(given, count=6000, seed=1):
    rng = np.random.default_rng(seed)
    parts = [
        multivariate_t(mean, scale, df=given.freedom, seed=rng).rvs(round(share * count))
        for share, mean, scale in zip(given.shares, given.means, given.scales, strict=True)
    ]
    return np.concatenate(parts)


def test_the_density_is_that_of_scipy():
    given, points = mixture(), samples(mixture(), 50)
    each = [
        np.log(share) + multivariate_t(mean, scale, df=given.freedom).logpdf(points)
        for share, mean, scale in zip(given.shares, given.means, given.scales, strict=True)
    ]
    np.testing.assert_allclose(pose_prior.log_density(given, points), logsumexp(each, axis=0), rtol=1e-9)


def test_clusters_are_found():
    found = pose_prior.fit(samples(mixture()), 3, 8.0)
    order = np.argsort(-found.shares)
    np.testing.assert_allclose(found.shares[order], SHARES, atol=0.01)
    np.testing.assert_allclose(found.means[order], MEANS, atol=0.05)
    expected = mixture().scales + pose_prior._FLOOR**2 * np.eye(3)
    np.testing.assert_allclose(found.scales[order], expected, atol=0.03)


def test_a_component_of_equal_poses_stays_finite():
    found = pose_prior.fit(np.concatenate([np.zeros((20, 3)), np.ones((20, 3))]), 2, 6.0)
    assert all(np.isfinite(each).all() for each in found)
    np.testing.assert_allclose(np.sort(found.means[:, 0]), [0, 1], atol=1e-6)


def test_the_mixture_is_calibrated_on_itself_and_not_on_others():
    given = mixture()
    for expected, seen in pose_prior.calibration(given, samples(given)):
        assert seen == pytest.approx(expected, abs=0.02)
    wide = given._replace(scales=4 * given.scales)
    assert all(seen > expected for expected, seen in pose_prior.calibration(wide, samples(given))[:5])


def test_what_is_written_is_what_the_prior_reads(tmp_path):
    pose_prior.write(tmp_path / "limbs.npz", mixture())
    with np.load(tmp_path / "limbs.npz") as arrays:
        assert set(arrays.files) == set(limbs.LimbPrior.__dataclass_fields__)
        assert all(arrays[name].dtype == np.float32 for name in arrays.files)
        assert arrays["log_weights"].max() == 0 and arrays["freedom"] == 8
        whitened = arrays["whitening"] @ mixture().scales @ arrays["whitening"].swapaxes(1, 2)
        np.testing.assert_allclose(whitened, np.tile(np.eye(3), (3, 1, 1)), atol=1e-4)


def test_every_tenth_recording_is_measured():
    recordings = [np.full((2, 42), number) for number in range(25)]
    fitted, measured = pose_prior.split(recordings)
    assert set(measured[:, 0]) == {5, 15}
    assert len(fitted) + len(measured) == 50 and not set(fitted[:, 0]) & {5, 15}


@pytest.fixture
def motions(tmp_path, tiny_body, monkeypatch):
    """A folder of two recordings, read with a small body."""
    monkeypatch.setattr(pose_prior.loaders, "load_body", lambda: tiny_body)
    folder = tmp_path / "motion"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        arrays = {"poses": rng.normal(0, 0.3, (5, 72)), "trans": np.zeros((5, 3)), "betas": np.zeros(10)}
        np.savez(folder / f"{name}.npz", **arrays, mocap_framerate=30.0)
    return folder


def table(path, *lines):
    path.write_text("\n".join(lines))
    return str(path)


def test_recordings_are_read_mirrored_and_left_out(motions, tmp_path):
    both = pose_prior.read(motions, None, None)
    assert [each.shape for each in both] == [(10, 42)] * 2
    each = both[0].reshape(10, 14, 3)
    np.testing.assert_allclose(np.linalg.norm(each, axis=-1), 1, atol=1e-5)
    # Trunk and head, then the limbs of the left side and of the right.
    sides = [0, 1, *range(8, 14), *range(2, 8)]
    np.testing.assert_allclose(each[5:], each[:5][:, sides] * [-1, 1, 1], atol=1e-3)
    sources = table(tmp_path / "sources.csv", "file,subject,trial", "a.npz,7,1", "b.npz,7,2")
    scored = table(tmp_path / "scored.csv", "subject,trial,action", "7,1,kick", ",,none")
    (kept,) = pose_prior.read(motions, sources, scored)
    np.testing.assert_array_equal(kept, both[1])


def test_the_command(motions, tmp_path, capsys):
    output = tmp_path / "new.npz"
    flags = [f"--motion={motions}", "--components=1,2", "--freedom=6", f"--output={output}"]
    pose_prior.main(flags)
    assert capsys.readouterr().out.count("nats a pose") == 2
    with np.load(output) as arrays:
        assert arrays["means"].shape[1] == limbs.NUM_DIMENSIONS


def test_what_is_refused_is_refused_in_a_sentence(motions, tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in ("empty", "none"):
        with pytest.raises(
            SystemExit, match=rf"^Error: --motion=.*{folder} holds no .npz files; give a folder"
        ) as caught:
            pose_prior.main([f"--motion={tmp_path / folder}"])
        assert "\n" not in str(caught.value)
    sources = table(tmp_path / "sources.csv", "file,subject,trial", "a.npz,7,1")
    with pytest.raises(UserError, match="needs --sources"):
        pose_prior.read(motions, None, sources)
    with pytest.raises(UserError, match="has the columns file, subject, expected file, subject, trial"):
        pose_prior.read(motions, table(tmp_path / "bad.csv", "file,subject", "a.npz,7"), sources)
    with pytest.raises(UserError, match=r"--leave_out=.*none\.csv cannot be read"):
        pose_prior.read(motions, sources, str(tmp_path / "none.csv"))
    every = table(tmp_path / "every.csv", "file,subject,trial", "a.npz,7,1", "b.npz,7,1")
    with pytest.raises(UserError, match="leaves none of the 2 files"):
        pose_prior.read(motions, every, sources)
    (motions / "c.npz").write_bytes(b"PK")
    with pytest.raises(SystemExit, match=r"^Error: .*c\.npz: not a .npz file .*; mend it or"):
        pose_prior.main([f"--motion={motions}"])
