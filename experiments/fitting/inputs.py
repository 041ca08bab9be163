"""The inputs of a fit, read before it starts: body, clips and priors, and the keypoints that are hidden from it."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from rich.console import Console

from body_models import joints as jn
from body_models import loaders, smpl
from experiments.data import holdout, resample
from experiments.data.dataset import Dataset, HeadPoint
from experiments.fitting import checkpoints, compiled_programs, prior_files
from experiments.fitting.clips import read
from experiments.fitting.settings import Settings
from nemo_jax.fit import for_clips
from nemo_jax.priors import Priors, open_priors
from nemo_jax.stacking import Job

_HEAD_KEYPOINT = {"nose": jn.NOSE, "top_of_head": jn.TOP_OF_HEAD, "head_centre": jn.HEAD_CENTRE}
_ANNOTATION_HOLDOUT = 0.1


@dataclasses.dataclass(frozen=True)
class Inputs:
    """The inputs of a fit.

    dataset: the clips as read, including hidden keypoints. hidden (N, T, K): keypoints hidden from the fit, or None.
    nose_body: the body with the nose as keypoint 0. notes: sentences for the user. identity: values that are equal for
    equal fits, see `checkpoints.identity_of`. shapes_of: function from a job to its abstract values.
    """

    dataset: Dataset
    hidden: np.ndarray | None
    nose_body: smpl.SMPL
    job: Job
    notes: tuple[str, ...]
    identity: dict[str, str]

    shapes_of: Callable[[Job], compiled_programs.Shapes]

    @property
    def shapes(self) -> compiled_programs.Shapes:
        """The abstract values of this fit."""
        return self.shapes_of(self.job)

    @property
    def num_frames(self) -> int:
        """Total number of frames of all clips."""
        return int(np.asarray(self.dataset.clips.frame_mask).sum())


class Cache:
    """A cache of file contents, by key, so that several fits read each file only once."""

    def __init__(self) -> None:
        self._kept: dict[Any, Any] = {}
        self.shapes_of = compiled_programs.ShapesOfMany()

    def get(self, key: tuple[Any, ...], read: Callable[[], Any]) -> Any:
        """The cached value of this key; calls `read` the first time that the key is used."""
        if key not in self._kept:
            self._kept[key] = read()
        return self._kept[key]


def dataset_key(settings: Settings) -> tuple[Any, ...]:
    """A key that is equal for fits of one command line that have the same clips."""
    # Only simulated clips depend on the seed.
    seed = settings.seed if settings.data_dir is None and settings.videos is None else None
    return "clips", settings.action, seed


def load(settings: Settings, console: Console | None = None, cache: Cache | None = None) -> Inputs:
    """Reads body, clips and priors, hides the held-out keypoints, and returns the inputs of a fit.

    Args:
      settings: the settings of one fit. console: shows progress. cache: shared by several fits that differ only in
        action, seed and fields of the fit's configuration.

    Raises:
      UserError, DatasetError, BodyModelError, PriorFileError: one sentence for the user.
    """
    cache = cache or Cache()
    nose_body = cache.get(("body", "nose"), lambda: loaders.load_body(settings.body_model))
    dataset = cache.get(dataset_key(settings), lambda: read(settings, nose_body, console))
    if settings.fit.resample == "shortest":
        dataset = resample.shortest(dataset)
    if settings.fit.head_keypoint == "top_of_head":
        dataset = dataclasses.replace(dataset, head_point="top_of_head")
    notes = list(dataset.notes)
    body = nose_body
    if dataset.head_point != "nose":
        if nose_body.has_extra_joints:
            head = dataset.head_point
            body = cache.get(("body", head), lambda: body_with(head, settings.body_model))
        else:
            dataset = _without_head(dataset)
            notes.append(
                f"The body model has no J_regressor_extra, so it cannot say where the {dataset.head_point} is; the clips' "
                "head points are left out."
            )
    share = _holdout_share(dataset) if settings.holdout is None else settings.holdout
    clips, hidden = dataset.clips, None
    if share > 0:
        clips, hidden = holdout.hold_out(clips, share, settings.seed, dataset.annotated)
        notes.append(
            f"{share:.0%} of the visible joints, {int(hidden.sum())}, are hidden from the fit to score it on them."
        )
    priors_key = ("priors", settings.fit.prior_set, settings.gmm, settings.vposer)
    job = Job(
        key=jax.random.key(settings.seed),
        # Kept on the host, because many fits are stacked before they are copied to a device.
        clips=jax.tree.map(np.asarray, clips),
        body=body,
        priors=cache.get(priors_key, lambda: load_priors(settings)),
        config=for_clips(settings.fit, clips),
    )
    digests = cache.get(("digests", dataset.head_point, *priors_key), lambda: checkpoints.shared_digests(job))
    about = {"action": settings.action, "seed": settings.seed, "holdout": share}
    identity = checkpoints.identity_of(job, about, dataset.names, digests)
    return Inputs(dataset, hidden, nose_body, job, tuple(notes), identity, cache.shapes_of)


def body_with(head_point: HeadPoint, body_model: str | None) -> smpl.SMPL:
    """The body whose keypoint 0 is the head point; `body_model` is the value of the flag."""
    return loaders.load_body(body_model, keypoint_ids=[_HEAD_KEYPOINT[head_point], *jn.BODY_25[1:]])


def load_priors(settings: Settings) -> Priors:
    """The priors that the settings choose; the open ones are among them unless the published set of priors is chosen."""
    free = open_priors() if settings.fit.prior_set == "open" else Priors()
    return dataclasses.replace(
        free,
        gmm=prior_files.load_gmm(settings.gmm) if settings.gmm else None,
        vposer=prior_files.load_vposer(settings.vposer) if settings.vposer else None,
    )


def _holdout_share(dataset: Dataset) -> float:
    """Default share of held-out keypoints: 0.1 for annotations (confidences 0 or 1) without ground truth, else 0."""
    confidence = np.asarray(dataset.clips.confidence)
    annotations = bool(np.isin(confidence, (0.0, 1.0)).all())
    return _ANNOTATION_HOLDOUT if annotations and dataset.truth is None else 0.0


def _without_head(dataset: Dataset) -> Dataset:
    confidence = np.array(dataset.clips.confidence)
    confidence[..., 0] = 0
    clips = dataclasses.replace(dataset.clips, confidence=confidence)
    return dataclasses.replace(dataset, clips=clips, annotated=tuple(k for k in dataset.annotated if k != 0))
