"""Tiles: every vertex once, every joint it follows among its tile's, few joints a tile."""

import numpy as np
import pytest

from body_models import loaders
from body_models.kernels import tiles


def weights_of(vertices, joints_each, seed=0):
    rng = np.random.default_rng(seed)
    found = np.zeros((vertices, 24))
    for row in found:
        row[rng.choice(24, joints_each, replace=False)] = rng.uniform(0.1, 1, joints_each)
    return found


@pytest.mark.parametrize(("vertices", "joints_each", "most"), [(1, 1, 4), (32, 4, 4), (70, 2, 4), (100, 24, 24)])
def test_every_vertex_stands_once_in_a_tile_that_lists_its_joints(vertices, joints_each, most):
    weights = weights_of(vertices, joints_each)
    found = tiles.arrange(weights)
    order, joints = np.asarray(found.order), np.asarray(found.joints)
    assert order.shape[1] == tiles.WIDTH and joints.shape == (len(order), most)
    places = np.sort(order.reshape(-1))
    np.testing.assert_array_equal(places[:vertices], np.arange(vertices))
    assert (places[vertices:] == vertices).all()
    for members, listed in zip(order, joints, strict=True):
        followed = np.flatnonzero(weights[members[members < vertices]].any(0))
        assert set(followed) <= set(listed)
        # The rest of the list is joint 0, so that no other joint stands twice.
        assert len(followed) + (listed == 0).sum() - (0 in followed) == most


def test_tiles_of_the_open_body_have_few_empty_places():
    weights = loaders.read_arrays(loaders.OPEN_BODY)["weights"]
    found = tiles.arrange(weights)
    assert found.joints.shape[1] == 4
    assert found.order.size < 1.05 * len(weights)
