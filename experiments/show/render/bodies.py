"""Bodies of the fit and of the initial estimate in the axes of their frame's camera, frame by frame."""

from collections.abc import Iterator, Sequence

import jax
import numpy as np

from body_models import posing, smpl
from experiments.results.reading import Run
from experiments.show.render.rasterizer import Projection
from nemo_jax import rotations

Array = np.ndarray

_root = jax.jit(lambda body, betas: smpl.rest_joints(body, betas)[0])


def camera(run: Run, instance: int, frame: int) -> Projection:
    """The fitted camera of a frame of an instance for points in its own axes, in pixels of the clip."""
    dataset, fitted = run.dataset, run.fitted
    width, height = (round(float(side)) for side in dataset.clips.image_size[instance])
    return Projection(
        camera_from_world=np.eye(3),
        translation=np.zeros(3),
        focal=fitted.camera(instance, frame)[2],
        principal=np.asarray(fitted.principal[instance], np.float64),
        size=(width, height),
    )


def of_fit(run: Run, instance: int, frames: Sequence[int]) -> Iterator[Array]:
    """The fitted body in each of the frames: vertices (V, 3) in camera axes, metres."""
    fitted, chosen = run.fitted, np.asarray(frames, int)
    seen = fitted.prediction
    rotation, translation = np.asarray(seen.rotations)[instance, chosen], np.asarray(seen.translation)[instance, chosen]
    parts = posing.chunks(_mesh, _shaped(run, instance), rotation, translation)
    posed = (vertices for part in parts for vertices in part)
    for frame, vertices in zip(frames, posed, strict=True):
        turn, move, _ = fitted.camera(instance, frame)
        yield vertices @ np.asarray(turn.T, np.float32) + np.asarray(move, np.float32)


def of_initial(run: Run, instance: int, frames: Sequence[int]) -> Iterator[Array | None]:
    """The body of the initial estimate in each of the frames, like `of_fit`; None where there is no estimate.

    An initial estimate has a root orientation relative to the camera but no position, so the position of the fit is
    used.
    """
    clips, fitted = run.dataset.clips, run.fitted
    exists = np.asarray(clips.init_mask[instance]) > 0.5
    chosen = np.array([frame for frame in frames if exists[frame]], int)
    if not chosen.size:
        yield from [None] * len(frames)
        return
    shaped = _shaped(run, instance)
    root = np.asarray(_root(*shaped))
    world = root + np.asarray(fitted.prediction.translation)[instance, chosen]
    seen = [
        turn @ x + move for x, (turn, move, _) in zip(world, (fitted.camera(instance, f) for f in chosen), strict=True)
    ]
    move = np.asarray(np.stack(seen) - root, np.float32)
    rotation = posing.pose_in_chunks(_matrices, None, np.asarray(clips.init_pose)[instance, chosen])
    parts = posing.chunks(_mesh, shaped, rotation, move)
    posed = (vertices for part in parts for vertices in part)
    for frame in frames:
        yield next(posed) if exists[frame] else None


def _shaped(run: Run, instance: int) -> tuple[smpl.SMPL, Array]:
    """The body and the instance's own shape (S,)."""
    return run.body, np.asarray(run.fitted.params.betas[instance])


# Functions of ONE frame.


def _mesh(shaped: tuple[smpl.SMPL, jax.Array], rotation: jax.Array, translation: jax.Array) -> jax.Array:
    return smpl.vertices(shaped[0], rotation, shaped[1], translation)


def _matrices(_: None, pose: jax.Array) -> jax.Array:
    return rotations.axis_angle_to_matrix(pose)
