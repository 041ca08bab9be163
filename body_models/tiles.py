"""Tiles: a mesh's vertices in an order that puts together those that follow the same joints.

A vertex follows four joints of 24 at most, and its neighbours mostly the same ones. In a tile of such vertices a kernel
blends the few transforms that any of them follows, and passes over the others.
"""

import jax
import jax.numpy as jnp
import numpy as np

from body_models.pytree import pytree

Array = jax.Array

WIDTH = 32  # vertices of a tile


@pytree
class Tiles:
    """T tiles of `WIDTH` vertices, with L slots in all: a slot is a tile and a joint that some vertex of it follows.

    order (T * WIDTH,): vertices, tile by tile, and V, one past the last, where the last tile has a place left. first
    (T + 1,): each tile's first slot, and L. joint (L,), tile (L,): of each slot. All int32.
    """

    order: Array
    first: Array
    joint: Array
    tile: Array


def arrange(weights: np.ndarray) -> Tiles:
    """Tiles of a mesh with blend weights (V, J); a joint with weight 0 is not followed.

    Greedy: a tile starts with the largest group of vertices left that follow the same joints, and goes on with the group
    that adds the fewest joints, the largest first.
    """
    groups: dict[frozenset[int], list[int]] = {}
    for vertex, row in enumerate(weights):
        groups.setdefault(frozenset(np.flatnonzero(row).tolist()), []).append(vertex)
    order: list[int] = []
    joint: list[int] = []
    tile: list[int] = []
    first = [0]
    while groups:
        followed: frozenset[int] = frozenset()
        room = WIDTH
        while room and groups:
            best = min(groups, key=lambda s: (bool(followed) * len(s - followed), -len(groups[s])))
            taken, left = groups[best][:room], groups[best][room:]
            order += taken
            room -= len(taken)
            followed |= best
            groups.pop(best)
            if left:
                groups[best] = left
        joint += sorted(followed)
        tile += [len(first) - 1] * len(followed)
        first.append(len(joint))
    order += [len(weights)] * (-len(order) % WIDTH)
    columns = {"order": order, "first": first, "joint": joint, "tile": tile}
    return Tiles(**{name: jnp.asarray(column, jnp.int32) for name, column in columns.items()})
