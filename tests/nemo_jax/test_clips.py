import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nemo_jax import clips as clips_lib
from tests.nemo_jax import helpers


def test_phase_of_frames():
    clips = helpers.scene(lengths=(1, 3, 5), yaws=(0.0, 1.0, 2.0), num_frames=6).clips
    np.testing.assert_array_equal(clips_lib.num_frames(clips), [1, 3, 5])
    expected = [[0, 1, 1, 1, 1, 1], [0, 0.5, 1, 1, 1, 1], [0, 0.25, 0.5, 0.75, 1, 1]]
    np.testing.assert_allclose(jax.jit(clips_lib.raw_phase)(clips), expected, atol=1e-7)
    assert (clips.num_instances, clips.num_frames) == (3, 6)


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(clips_lib.Clips)])
def test_a_wrong_shape_is_named(field):
    clips = helpers.scene().clips
    clips_lib.check(clips)
    if field == "keypoints":  # which sets N and T
        wrong = dataclasses.replace(clips, keypoints=jnp.zeros((2, 9, 17, 2)))
    else:
        wrong = dataclasses.replace(clips, **{field: jnp.zeros((3, 4))})
    with pytest.raises(AssertionError, match=rf"Clips\.{field}"):
        clips_lib.check(wrong)


def test_clips_stack_under_vmap():
    clips = helpers.scene().clips
    several = jax.tree.map(lambda x: jnp.stack([x, x]), clips)
    assert (several.num_instances, several.num_frames) == (2, 9)
    np.testing.assert_array_equal(jax.vmap(clips_lib.raw_phase)(several)[1], clips_lib.raw_phase(clips))
