"""A rig: a mesh on a skeleton of joints, from which skinned, animated files of several formats are made."""

from __future__ import annotations

import dataclasses

import numpy as np

from body_models import joints as jn
from body_models import mesh
from experiments.export.animation import Animation

Array = np.ndarray
MAX_INFLUENCES = 4


@dataclasses.dataclass(frozen=True)
class Rig:
    """J joints, V vertices, F triangles, T key frames.

    names, parents (J,): names and parents of the joints, a parent before its children, -1 for a root. rest_joints (J,
    3), vertices (V, 3), normals (V, 3): at rest, metres, y up. faces (F, 3). influences, weights (V, 4): the joints
    that move each vertex and how much, largest first, sums 1. times (T,): seconds. rotations (T, J, 3, 3): of each
    joint relative to its parent. moving: the joint that is also translated, to places (T, 3) relative to its parent.
    """

    names: tuple[str, ...]
    parents: Array
    rest_joints: Array
    vertices: Array
    normals: Array
    faces: Array
    influences: Array
    weights: Array
    times: Array
    rotations: Array
    moving: int
    places: Array


def of_clip(clip: Animation) -> Rig:
    """The rig of an instance with its own body shape and SMPL's skeleton. The rest pose stands on the ground.

    Pose correctives are omitted, because these file formats only support blended joint transforms.
    """
    floor = np.array([0, clip.rest_vertices[:, 1].min(), 0])
    vertices, faces = clip.rest_vertices - floor, np.asarray(clip.body.faces)
    influences, weights = strongest(np.asarray(clip.body.mesh.rotation_weights, float))
    return Rig(
        names=tuple(jn.SMPL_JOINTS),
        parents=jn.PARENTS,
        rest_joints=clip.rest_joints - floor,
        vertices=vertices,
        normals=vertex_normals(vertices, faces),
        faces=faces,
        influences=influences,
        weights=weights,
        times=clip.times,
        rotations=clip.rotations,
        moving=0,
        places=clip.joints[:, 0],
    )


def strongest(weights: Array) -> tuple[Array, Array]:
    """The four strongest joints (V, 4) of each vertex and their weights, scaled to sum to 1, from weights (V, J)."""
    order, kept = mesh.strongest_joints(weights, MAX_INFLUENCES)
    # glTF requires joint index 0 where the weight is 0.
    return np.where(kept > 0, order, 0), kept / kept.sum(1, keepdims=True)


def dropped(weights: Array) -> float:
    """The largest share of a vertex's weights (V, J) that `strongest` leaves out."""
    return float(1 - np.sort(weights, axis=1)[:, -MAX_INFLUENCES:].sum(1).min())


def vertex_normals(vertices: Array, faces: Array) -> Array:
    """Unit normals (V, 3), means over adjacent faces weighted by area; straight up for a vertex without faces."""
    normals = mesh.vertex_normals(vertices, faces)
    return np.where((normals != 0).any(1, keepdims=True), normals, [0.0, 1.0, 0.0])
