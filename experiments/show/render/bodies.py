"""Bodies in the axes of their instance's camera, frame after frame: the fit's, and the initial estimate's."""

from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from body_models import smpl
from experiments.data.dataset import Dataset
from experiments.results.fitted_motion import FittedMotion
from experiments.show.render.rasterizer import Projection
from nemo_jax import rotations

Array = np.ndarray

_CHUNK = 32  # frames that are posed at once; one size, so that one program is compiled
_vertices = jax.jit(jax.vmap(smpl.vertices, (None, 0, None, 0)))
_root = jax.jit(lambda body, betas: smpl.rest_joints(body, betas)[0])
_matrices = jax.jit(rotations.axis_angle_to_matrix)


def camera(dataset: Dataset, fitted: FittedMotion, instance: int) -> Projection:
    """The fitted camera of an instance for points in its own axes, in pixels of the clip."""
    width, height = (round(float(side)) for side in dataset.clips.image_size[instance])
    return Projection(
        camera_from_world=np.eye(3),
        translation=np.zeros(3),
        focal=float(fitted.focal[instance]),
        principal=np.asarray(fitted.principal[instance], np.float64),
        size=(width, height),
    )


def of_fit(fitted: FittedMotion, body: smpl.SMPL, instance: int, frames: Sequence[int]) -> Iterator[Array]:
    """The fitted body of each of the frames: vertices (V, 3) in camera axes, metres."""
    betas, turn = np.asarray(fitted.params.betas[instance]), fitted.camera_from_world[instance]
    seen = fitted.prediction

    def pose(which: Array) -> tuple[Array, Array]:
        return np.asarray(seen.rotations)[instance, which], np.asarray(seen.translation)[instance, which]

    for vertices in _posed(body, betas, frames, pose):
        yield vertices @ turn.T + fitted.camera_translation[instance]


def of_initial(
    dataset: Dataset, fitted: FittedMotion, body: smpl.SMPL, instance: int, frames: Sequence[int]
) -> Iterator[Array | None]:
    """The initial estimate of each of the frames, as `of_fit`; None where there is none.

    An initial estimate knows how the root is turned towards the camera, not where it is: it is put where the fit's is.
    """
    betas, turn = np.asarray(fitted.params.betas[instance]), fitted.camera_from_world[instance]
    clips, seen = dataset.clips, fitted.prediction
    root = np.asarray(_root(body, jnp.asarray(betas)))
    exists = np.asarray(clips.init_mask[instance]) > 0.5

    def pose(which: Array) -> tuple[Array, Array]:
        place = (root + np.asarray(seen.translation)[instance, which]) @ turn.T + fitted.camera_translation[instance]
        return np.asarray(_matrices(jnp.asarray(clips.init_pose[instance])[which])), place - root

    posed = _posed(body, betas, [frame for frame in frames if exists[frame]], pose)
    for frame in frames:
        yield next(posed) if exists[frame] else None


def _posed(
    body: smpl.SMPL, betas: Array, frames: Sequence[int], pose: Callable[[Array], tuple[Array, Array]]
) -> Iterator[Array]:
    """Vertices of each of the frames, whose rotations (B, 24, 3, 3) and translations (B, 3) `pose` gives."""
    for first in range(0, len(frames), _CHUNK):
        chunk = np.asarray(frames[first : first + _CHUNK])
        padded = np.pad(chunk, (0, _CHUNK - len(chunk)), mode="edge")
        matrices, translation = pose(padded)
        posed = np.asarray(_vertices(body, jnp.asarray(matrices), jnp.asarray(betas), jnp.asarray(translation)))
        yield from posed[: len(chunk)]
