"""The compressed body model of a viewer page, which the browser poses and skins.

The pose-dependent corrections of the skin (207 directions per vertex in SMPL's format, about half of a page's size) are
replaced by the few directions that the poses of this page need.
"""

from typing import Any

import numpy as np

from body_models import joints as jn
from body_models import smpl
from body_models.mesh import strongest_joints
from experiments.show.viewer.packing import Packed, pack, pack_rounded

Array = np.ndarray

TOLERANCE = 1e-3  # metres, largest error of the reduced directions for any vertex in any pose of the page
_MOST_DIRECTIONS = 32
_MOST_JOINTS = 4  # joints that move a vertex; SMPL's format has no more
_MOST_SAMPLES = 160


def describe(body: smpl.SMPL, rotations: Array) -> dict[str, Any]:
    """The body as packed arrays; `rotations` (P, 24, 3, 3): poses of the page.

    V vertices, S shapes, D directions. template (V, 3), metres; offsets (V, S + D, 3): displacements per unit of each
    shape coefficient and of each direction; corrections (D, 207): coefficients of the directions from R - I of joints 1
    to 23; joint_ids (V, 4) and weights (V, 4) of the skin, the weights of a vertex adding up to 255.
    """
    mesh = body.mesh
    directions, corrections = corrective_directions(np.asarray(mesh.posedirs), rotations)
    offsets = np.concatenate([np.asarray(mesh.shapedirs), directions], -1).transpose(0, 2, 1)
    ids, weights = skin_weights(np.asarray(mesh.rotation_weights))
    return {
        "num_shapes": body.num_betas,
        "template": pack_rounded(mesh.template, 16),
        "offsets": pack_rounded(offsets, 8, axis=1),
        "corrections": _float(corrections),
        "joint_ids": pack(ids),
        "weights": pack(weights),
        "faces": pack(np.asarray(body.faces)),
        "joint_template": _float(body.joint_template),
        "joint_shapedirs": _float(body.joint_shapedirs),
        "parents": jn.PARENTS.tolist(),
        "mirror": jn.MIRROR_JOINTS.tolist(),
    }


def corrective_directions(posedirs: Array, rotations: Array) -> tuple[Array, Array]:
    """The fewest directions (V, 3, D), at most 32, that correct the skin (V, 3, 207) in poses (P, 24, 3, 3) to
    `TOLERANCE`, and the coefficients (D, 207) of each from R - I of joints 1 to 23."""
    picked = np.linspace(0, len(rotations) - 1, min(len(rotations), _MOST_SAMPLES)).round().astype(int)
    features = (np.asarray(rotations, np.float64)[picked, 1:] - np.eye(3)).reshape(len(picked), -1)
    table = np.asarray(posedirs, np.float64).reshape(-1, posedirs.shape[-1])
    moved = table @ features.T
    # Principal directions of the corrections, from the smaller of the two covariance matrices.
    strengths, mixed = np.linalg.eigh(moved.T @ moved)
    strong = np.flatnonzero(strengths > 1e-10 * max(strengths.max(), 1e-12))[::-1][:_MOST_DIRECTIONS]
    basis = moved @ (mixed[:, strong] / np.sqrt(strengths[strong]))
    coefficients = basis.T @ moved
    left = moved.astype(np.float32)
    count = 0
    for count in range(len(strong) + 1):
        squares = np.einsum("vip,vip->vp", *[left.reshape(-1, 3, len(picked))] * 2)
        if squares.max(initial=0.0) <= TOLERANCE**2 or count == len(strong):
            break
        left -= np.outer(basis[:, count], coefficients[count]).astype(np.float32)
    return basis[:, :count].reshape(*posedirs.shape[:2], count), basis[:, :count].T @ table


def skin_weights(weights: Array) -> tuple[Array, Array]:
    """The four joints (V, 4) that move each vertex most and their weights (V, 4) in units of 1/255, from (V, 24)."""
    ids, kept = strongest_joints(weights, _MOST_JOINTS)
    kept = kept.astype(np.float64)
    parts = np.round(255 * kept / kept.sum(1, keepdims=True))
    # The rounding error of the sum is added to the largest weight.
    parts[:, 0] += 255 - parts.sum(1)
    return ids, parts.astype(np.uint8)


def _float(array: Any) -> Packed:
    return pack(np.asarray(array, np.float32))
