"""Tiles: every vertex once, every joint it follows among its tile's, few joints a tile."""

import numpy as np
import pytest

from body_models import loaders, tiles


def weights_of(vertices, joints_each, seed=0):
    rng = np.random.default_rng(seed)
    found = np.zeros((vertices, 24))
    for row in found:
        row[rng.choice(24, joints_each, replace=False)] = rng.uniform(0.1, 1, joints_each)
    return found


@pytest.mark.parametrize(("vertices", "joints_each"), [(1, 1), (32, 4), (70, 2), (100, 24)])
def test_every_vertex_stands_once_in_a_tile_that_lists_its_joints(vertices, joints_each):
    weights = weights_of(vertices, joints_each)
    found = tiles.arrange(weights)
    order, first, joint, tile = (np.asarray(x) for x in (found.order, found.first, found.joint, found.tile))
    assert len(order) % tiles.WIDTH == 0
    np.testing.assert_array_equal(np.sort(order)[:vertices], np.arange(vertices))
    assert (np.sort(order)[vertices:] == vertices).all()
    assert first[0] == 0 and first[-1] == len(joint) == len(tile)
    for t, members in enumerate(order.reshape(-1, tiles.WIDTH)):
        listed = joint[first[t] : first[t + 1]]
        assert (tile[first[t] : first[t + 1]] == t).all()
        followed = np.flatnonzero(weights[members[members < vertices]].any(0))
        np.testing.assert_array_equal(listed, followed)


def test_tiles_of_a_body_follow_few_joints():
    weights = loaders.read_arrays(loaders.OPEN_BODY)["weights"]
    found = tiles.arrange(weights)
    whole = weights[: len(weights) // tiles.WIDTH * tiles.WIDTH]
    unordered = whole.reshape(-1, tiles.WIDTH, 24).any(1).sum(1).mean()
    assert len(found.joint) / (len(found.first) - 1) < min(3, unordered)
