"""What a clip's own variation is, and when another reading explains as much."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from nemo_jax import path, variation
from tests.nemo_jax import helpers, points

CONFIG = helpers.tiny_config(path_knots=4)


def test_without_it_codes_are_0_paths_stay_where_they_are_and_nothing_else_changes():
    params = points.at("somewhere", CONFIG, helpers.scene(lengths=(4, 5), yaws=(0.0, 1.0)).clips)
    found = variation.without(params)
    assert params.path is not None and found.path is not None
    assert not np.asarray(found.codes).any()
    # Every point of the path is where its knots are in the mean, which moves the camera's keypoints as little as it can.
    where = jnp.stack([path.offset(found.path[1], jnp.asarray(phase)) for phase in (0.0, 0.3, 1.0)])
    np.testing.assert_allclose(where, np.tile(np.asarray(params.path[1], float).mean(0), (3, 1)), atol=1e-6)
    assert np.abs(where).max() > 0.01
    assert dataclasses.replace(found, codes=params.codes, path=params.path) == params
    pathless = dataclasses.replace(params, path=None)
    assert variation.without(pathless).path is None


def test_another_reading_must_explain_half_of_what_the_variation_does():
    present, varied = jnp.full(4, 100.0), jnp.asarray([20.0, 20.0, 100.0, 130.0])
    other = jnp.asarray([59.0, 61.0, 99.0, 99.0])
    np.testing.assert_array_equal(variation.explained(present, other, varied, 0.5), [True, False, True, True])
