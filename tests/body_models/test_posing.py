"""Posing in chunks: what posing each frame alone gives, whatever the number of frames."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from body_models import posing


def _moved(shared, point, offset):
    return {"sum": shared * point + offset, "largest": jnp.max(point)}


@pytest.mark.parametrize("frames", [1, 4, 5, 11])
def test_every_frame_is_posed_once_in_its_place(frames):
    rng = np.random.default_rng(0)
    points, offsets = rng.normal(size=(2, frames, 3)).astype(np.float32)
    found = posing.pose_in_chunks(_moved, np.float32(2), points, offsets, size=4)
    np.testing.assert_allclose(found["sum"], 2 * points + offsets, rtol=1e-6)
    np.testing.assert_array_equal(found["largest"], points.max(1))
    assert isinstance(found["sum"], np.ndarray)


def test_one_program_serves_every_length_and_chunks_come_one_by_one():
    begun = []

    def counted(shared, point):
        begun.append(1)  # runs only while JAX traces
        return point + shared

    for frames in (1, 3, 7):
        parts = posing.chunks(counted, np.float32(1), np.zeros((frames, 2)), size=3)
        assert [len(part) for part in parts] == [3] * (frames // 3) + [frames % 3] * (frames % 3 > 0)
    assert len(begun) == 1
    jax.clear_caches()
    assert list(posing.chunks(counted, np.float32(1), np.zeros((0, 2)))) == []
