"""Tiles: a mesh's vertices in an order that puts together those that follow the same joints.

A vertex follows four joints of 24 at most, and its neighbours mostly the same ones. A kernel that works on a tile of such
vertices blends the few transforms that they follow, and never sees the others.
"""

import jax
import jax.numpy as jnp
import numpy as np

from body_models.pytree import pytree

Array = jax.Array

WIDTH = 32  # vertices of a tile
_LEAST = 4  # joints that a tile may follow, where no vertex follows more


@pytree
class Tiles:
    """T tiles of `WIDTH` vertices that follow S joints or fewer.

    order (T, WIDTH): a tile's vertices, and V, one past the last vertex, at places that stay empty. joints (T, S): those
    that any of them follows, and joint 0 where there are fewer. int32.
    """

    order: Array
    joints: Array


def arrange(weights: np.ndarray) -> Tiles:
    """Tiles of a mesh with blend weights (V, J); a joint with weight 0 is not followed.

    S is 4, or as many joints as the vertex with the most follows. Greedy: a tile starts with the largest group of vertices
    left that follow the same joints, and goes on with the group that adds the fewest, while no more than S are followed.
    """
    groups: dict[frozenset[int], list[int]] = {}
    for vertex, row in enumerate(weights):
        groups.setdefault(frozenset(np.flatnonzero(row).tolist()), []).append(vertex)
    most = max(_LEAST, *map(len, groups))
    order, joints = [], []
    while groups:
        tile: list[int] = []
        followed: frozenset[int] = frozenset()
        while len(tile) < WIDTH and (best := _next(groups, followed, most)) is not None:
            group, room = groups.pop(best), WIDTH - len(tile)
            tile += group[:room]
            followed |= best
            if group[room:]:
                groups[best] = group[room:]
        order.append(tile + [len(weights)] * (WIDTH - len(tile)))
        joints.append(sorted(followed) + [0] * (most - len(followed)))
    return Tiles(order=jnp.asarray(order, jnp.int32), joints=jnp.asarray(joints, jnp.int32))


def _next(groups: dict[frozenset[int], list[int]], followed: frozenset[int], most: int) -> frozenset[int] | None:
    """Which group a tile takes next, if any."""
    fitting = [joints for joints in groups if len(joints | followed) <= most]
    if not followed:
        return max(fitting, key=lambda joints: len(groups[joints]))
    return min(fitting, key=lambda joints: (len(joints - followed), -len(groups[joints])), default=None)
