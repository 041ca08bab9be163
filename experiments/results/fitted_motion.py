"""The fitted motion of all clips, from which the reports, files and pictures of a run are made."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from body_models import smpl
from body_models.pytree import Tree
from experiments.base.programs import Program
from experiments.data import padding
from nemo_jax import camera as cam
from nemo_jax import clips as clips_lib
from nemo_jax import lens, model, moving, parallel, rotations, stacking
from nemo_jax.config import FitConfig
from nemo_jax.model import Assets, Params, Prediction
from nemo_jax.priors import Priors
from nemo_jax.stacking import Job


@dataclasses.dataclass(frozen=True)
class FittedMotion:
    """The prediction of a fit for all frames of its clips, as arrays (N, ...) on the host.

    The prediction's keypoints are BODY_25 with the nose. poses (N, T, 24, 3): its rotations in axis-angle. head_2d
    (N, T, 2): pixel of the head point that the data uses as keypoint 0. A world point x is at camera_from_world x +
    camera_translation in camera axes. camera_turn (N, T, 3, 3), zoom (N, T): how the cameras of frames differ from these,
    see `nemo_jax.moving`, with turns as large as the fitted lens makes them; None = all cameras stand still.
    """

    params: Params
    prediction: Prediction
    poses: np.ndarray
    head_2d: np.ndarray
    raw_phases: np.ndarray
    camera_from_world: np.ndarray
    camera_translation: np.ndarray
    focal: np.ndarray
    principal: np.ndarray
    camera_turn: np.ndarray | None = None
    zoom: np.ndarray | None = None

    def camera(self, instance: int, frame: int) -> tuple[np.ndarray, np.ndarray, float]:
        """The camera of a frame, float64: camera_from_world (3, 3), camera_translation (3,), focal length in pixels."""
        turn, move = (np.asarray(x[instance], float) for x in (self.camera_from_world, self.camera_translation))
        focal = float(self.focal[instance])
        if self.camera_turn is None or self.zoom is None:
            return turn, move, focal
        own = np.asarray(self.camera_turn[instance, frame], float)
        return own @ turn, own @ move, focal * float(self.zoom[instance, frame])

    @property
    def scored_2d(self) -> np.ndarray:
        """Pixels (N, T, K, 2) to compare with the data's keypoints."""
        return np.concatenate([self.head_2d[:, :, None], self.prediction.keypoints_2d[:, :, 1:]], 2)

    @property
    def contact(self) -> np.ndarray | None:
        """Probabilities (N, T, 6), or (N, T, 4) of the feet alone, that `nemo_jax.contact.POINTS` stand on the ground; None
        if the fit has no contacts."""
        logits = self.prediction.contact
        return None if logits is None else 1 / (1 + np.exp(-np.asarray(logits)))

    def padded(self, frames: int) -> "FittedMotion":
        """The same arrays padded to `frames` frames."""
        prediction = jax.tree.map(lambda leaf: padding.array(leaf, frames), self.prediction)
        views = () if self.camera_turn is None else ("camera_turn", "zoom")
        rest = padding.grown(self, ("poses", "head_2d", "raw_phases", *views), frames)
        return dataclasses.replace(self, prediction=prediction, **rest)


def predict(
    params: Params, assets: Assets, nose_body: smpl.SMPL, config: FitConfig, clips: clips_lib.Clips
) -> FittedMotion:
    """Evaluates the fitted model on every frame; `nose_body` is the body whose keypoint 0 is the nose."""
    wide = jax.device_get(_predict(params, assets, config, padding.clips(clips), nose_body))
    return _cut(wide, clips)


def predict_many(
    fits: Sequence[tuple[Job, Params]], nose_body: smpl.SMPL, frames: int | None = None
) -> list[FittedMotion]:
    """Evaluates several fits of one kind (`stacking.kind_of`) on every frame, by one compiled program.

    Args:
      fits: the job of each fit, whose body has the data's own keypoint 0, and its learned parameters.
      nose_body: the same body with the nose as keypoint 0.
      frames: length to which clips are padded; None = a length given by `padding.slots`.
    """
    jobs, learned = zip(*fits, strict=True)
    wide = jax.device_get(_predict_many(*_stacked(jobs, learned, frames), nose_body))
    found = []
    for number, job in enumerate(jobs):
        own = jax.tree.map(lambda leaf, number=number: leaf[number], wide)
        found.append(dataclasses.replace(_cut(own, job.clips), params=jax.device_get(learned[number])))
    return found


def compile_ahead(
    jobs: Sequence[Job], learned: Sequence[Any], nose_body: smpl.SMPL, frames: int | None = None
) -> list[FittedMotion]:
    """Compiles the program that `predict_many` uses for these fits.

    Args:
      jobs, nose_body, frames: as in `predict_many`. learned: abstract parameters of each fit.

    Returns:
      Results as of `predict_many`, with all values zero.
    """
    zeros = [jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), params) for params in learned]
    arguments = (*_stacked(jobs, zeros, frames), nose_body)
    shapes = _predict_many.shapes(*arguments)
    wide = jax.tree.map(lambda leaf: np.zeros(leaf.shape[1:], leaf.dtype), shapes)
    return [dataclasses.replace(_cut(wide, job.clips), params=own) for job, own in zip(jobs, zeros, strict=True)]


def _stacked(jobs: Sequence[Job], learned: Sequence[Any], frames: int | None) -> tuple[Any, ...]:
    """The arguments of `_predict_many`: parameters, clips, configurations and body."""
    counts = {job.clips.num_instances for job in jobs}
    frames = frames or max(padding.slots(job.clips.num_frames) for job in jobs)
    stacked = stacking.stack(jobs, len(jobs), stacking.Padding(max(counts) if len(counts) > 1 else None, frames))
    params = stacking.put_together(learned, jax.tree.map(_widest, *learned))
    return params, stacked.clips, stacked.config, stacked.body


def _predict_one(params: Params, assets: Assets, config: FitConfig, clips: clips_lib.Clips, nose_body: smpl.SMPL):
    """The contents of a `FittedMotion`: arrays (N, T, ...), then arrays (N, ...) without an axis of frames."""
    seen = model.predict_clips(params, dataclasses.replace(assets, body=nose_body), config, clips)
    poses = rotations.matrix_to_axis_angle(seen.rotations)
    head = model.predict_clips(params, assets, config, clips).keypoints_2d[:, :, 0]
    rotation, translation = cam.split(params.cameras)
    focal = lens.focal_lengths(params, assets)
    views = moving.every(clips)
    turns = None if views is None else (moving.turns(views, focal[:, None]), views.zoom)
    timed = (seen, poses, head, clips_lib.raw_phase(clips), turns)
    return timed, (params, rotation, translation, focal, assets.principal)


def _prepared(params: Params, clips: clips_lib.Clips, config: FitConfig, body: smpl.SMPL, nose_body: smpl.SMPL):
    return _predict_one(params, model.prepare(clips, body, Priors(), config), config, clips, nose_body)


_predict = Program(_predict_one, once=True)
_predict_many = Program(parallel.over_fits(_prepared, (0, 0, 0, None, None)), once=True, name="predict_many")


def _cut(wide: Tree, clips: clips_lib.Clips) -> FittedMotion:
    """The prediction on the host, without padding."""
    n, t = clips.num_instances, clips.num_frames
    seen, poses, head, phases, turns = jax.tree.map(lambda leaf: leaf[:n, :t], wide[0])
    turn, zoom = turns or (None, None)
    params, rotation, translation, focal, principal = wide[1]
    return FittedMotion(
        params=params,
        prediction=seen,
        poses=poses,
        head_2d=head,
        raw_phases=phases,
        camera_from_world=rotation[:n],
        camera_translation=translation[:n],
        focal=focal[:n],
        principal=principal[:n],
        camera_turn=turn,
        zoom=zoom,
    )


def _widest(*leaves: Tree) -> jax.ShapeDtypeStruct:
    """The shape of these leaves, stacked and padded to the largest of them."""
    shape = tuple(max(sizes) for sizes in zip(*(leaf.shape for leaf in leaves), strict=True))
    return jax.ShapeDtypeStruct((len(leaves), *shape), leaves[0].dtype)
