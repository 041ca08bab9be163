"""Instances, motions and results whose `.npz` files are bombs: refused in a sentence before they unpack."""

import numpy as np
import pytest

from experiments.base.errors import UserError
from experiments.data import neutral_file
from experiments.data.neutral_file import FileError
from experiments.results import reading
from experiments.simulation import amass
from nemo_jax.config import FitConfig
from tests.fuzz import bombs, zips
from tests.fuzz.zips import Entry, archive


def instance(**changes):
    made = {"keypoints": np.zeros((2, 25, 2)), "confidence": np.ones((2, 25)), "image_size": np.array([64, 48])}
    return {**made, **changes}


class TestInstances:
    def test_bombs(self, tmp_path):
        (tmp_path / "a.npz").write_bytes(bombs.npz("keypoints", "confidence"))
        with pytest.raises(FileError, match="unpacks to 30"):
            neutral_file.read(tmp_path / "a.npz")

    def test_frames(self):
        frames = neutral_file.MOST_FRAMES + 1
        long = instance(keypoints=np.zeros((frames, 25, 2), "u1"), confidence=np.ones((frames, 25), "u1"))
        with pytest.raises(FileError, match=f"{frames} frames, expected 200000 at most"):
            neutral_file.check(long)

    def test_text(self):
        with pytest.raises(FileError, match="name is text of 5000 characters, expected 1000"):
            neutral_file.check(instance(name=np.array("a" * 5000)))
        assert neutral_file.check(instance(notes=np.array(["a" * 5000])))

    def test_many_methods(self):
        names = np.array([str(k % 30_000) for k in range(30_001)])
        others = instance(other_names=names, other_poses=np.zeros((30_001, 2, 24, 3), "u1"))
        with pytest.raises(FileError, match="other_names holds '0', expected distinct names"):
            neutral_file.check(others)

    def test_names_of_entries(self, tmp_path):
        (tmp_path / "a.npz").write_bytes(archive([Entry(b"a\n" * 20_000 + b".npy", zips.npy())]))
        with pytest.raises(FileError) as caught:
            neutral_file.check(neutral_file.read(tmp_path / "a.npz"))
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_motions(tmp_path, tiny_body):
    rows = neutral_file.MOST_FRAMES * 3
    motion = {"poses": np.zeros((rows, 72), "u1"), "trans": np.zeros((rows, 3), "u1"), "betas": np.zeros(10)}
    np.savez_compressed(tmp_path / "a.npz", **motion, mocap_framerate=30)
    with pytest.raises(FileError, match=f"poses has {72 * rows} numbers, expected 33000000 at most"):
        amass.read(tmp_path / "a.npz", tiny_body)


class TestResults:
    def test_bombs(self, tmp_path):
        (tmp_path / "params.npz").write_bytes(bombs.npz("betas"))
        with pytest.raises(UserError, match=r"params\.npz cannot be read \(it unpacks to 15"):
            reading._read_params(tmp_path / "params.npz", 2, 10, FitConfig())

    def test_text_for_numbers(self, tmp_path):
        np.savez(tmp_path / "params.npz", betas=np.full((2, 10), "a"))
        with pytest.raises(UserError, match="another run"):
            reading._read_params(tmp_path / "params.npz", 2, 10, FitConfig())
