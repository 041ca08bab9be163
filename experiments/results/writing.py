"""Writes the files of a finished fit: metrics, motion, losses, configuration. Files are renamed when complete."""

import contextlib
import dataclasses
import json
import logging
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

from body_models import joints as jn
from experiments.base.errors import UserError
from experiments.base.files import remove_leftovers, replacing
from experiments.data import moving_cameras
from experiments.data.dataset import Dataset
from experiments.results.fitted_motion import FittedMotion
from nemo_jax.contact import NAMES as CONTACTS

_LOCK = ".lock"


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Creates the output folder and locks it against other runs until the block ends, with or without an error. What an
    interrupted run has left half written is removed.

    Raises:
      UserError: the folder cannot be written to, or another run has locked it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / _LOCK).open("w")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"--output_dir={folder} cannot be written ({reason}); choose another folder") from error
    with lock:
        if fcntl is not None:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(
                    f"--output_dir={folder} is in use by another run; wait for it or choose another folder"
                ) from error
            except OSError:
                # Some network file systems have no locks; then the run goes on without one.
                logging.getLogger(__name__).debug("no locks in %s", folder)
        remove_leftovers(folder)
        yield


def check_there(folder: Path) -> None:
    """Raises UserError: the folder that this run holds has been deleted or moved since, or is another one."""
    if not (folder / _LOCK).exists():
        raise UserError(
            f"--output_dir={folder} was deleted or moved while the fit ran; leave it in its place, and run the same "
            "command again"
        )


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Writes strict JSON, without the numbers that are not finite, so that programs in any language can parse it."""
    kept = {k: v for k, v in values.items() if not (isinstance(v, float) and not math.isfinite(v))}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(kept, indent=2, allow_nan=False) + "\n")


def write_history(path: Path, history: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Writes the losses of every step, as arrays named `<stage>/<term>`."""
    arrays: dict[str, Any] = {
        f"{stage}/{term}": values for stage, terms in history.items() for term, values in terms.items()
    }
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def write_motions(
    folder: Path,
    dataset: Dataset,
    fitted: FittedMotion,
    body_name: str,
    scale_sd: np.ndarray | None = None,
    expected_mm: np.ndarray | None = None,
    spread_mm: np.ndarray | None = None,
    focal_interval: np.ndarray | None = None,
    offsets: np.ndarray | None = None,
    exchanged: np.ndarray | None = None,
) -> None:
    """Writes one file per instance; files of instances that no longer exist are deleted.

    scale_sd (N,): standard deviation of the metres as a share of them. expected_mm (N, T): the error that is expected of
    each frame, if it is known. spread_mm (N, T): how far several starts of the fit are apart, if there are.
    focal_interval (N, 2): pixels between which a guessed focal length lies for two clips of three; NaN where it was given.
    offsets (N,): when clips of takes start (`take_offsets.of_clips`). exchanged (N, T, 2): 1 where left and right of
    `exchange.GROUPS` were read the other way round.
    """
    for instance, name in enumerate(dataset.names):
        with replacing(folder / f"{name}.npz") as temporary, temporary.open("wb") as file:
            arrays = motion_arrays(dataset, fitted, instance, body_name)
            if scale_sd is not None:
                arrays["scale_uncertainty"] = float(scale_sd[instance])
            if expected_mm is not None:
                arrays["expected_error_mm"] = expected_mm[instance, : len(arrays["phases"])].astype(np.float32)
            if spread_mm is not None:
                arrays["starts_spread_mm"] = spread_mm[instance, : len(arrays["phases"])].astype(np.float32)
            if focal_interval is not None and np.isfinite(focal_interval[instance]).all():
                arrays["focal_interval"] = focal_interval[instance]
            if offsets is not None and dataset.clips.take is not None and np.isfinite(offsets[instance]):
                arrays |= {"take": int(dataset.clips.take[instance]), "offset_seconds": float(offsets[instance])}
            if exchanged is not None:
                arrays["exchanged"] = exchanged[instance, : len(arrays["phases"])] > 0
            np.savez_compressed(file, **arrays)
    for stale in {path.name for path in folder.glob("*.npz")} - {f"{name}.npz" for name in dataset.names}:
        (folder / stale).unlink()


def motion_arrays(dataset: Dataset, fitted: FittedMotion, instance: int, body_name: str) -> dict[str, Any]:
    """The arrays of one instance's file, with F frames; docs/results.md describes them."""
    clips, seen = dataset.clips, fitted.prediction
    frames = int(np.asarray(clips.frame_mask[instance]).sum())
    rows = (instance, slice(0, frames))
    contact = {}
    if fitted.contact is not None:
        names = np.array(CONTACTS[: fitted.contact.shape[-1]])
        contact = {"contact": fitted.contact[rows], "contact_names": names}
    moved = {}
    if fitted.camera_turn is not None and fitted.zoom is not None and moving_cameras.moves(clips, instance):
        moved = {"camera_turn": fitted.camera_turn[rows], "zoom": fitted.zoom[rows]}
    return {
        # Keys of the AMASS format.
        "poses": fitted.poses[rows].reshape(frames, -1),
        "trans": np.asarray(seen.translation[rows]),
        "betas": np.asarray(fitted.params.betas[instance]),
        "gender": "neutral",
        "mocap_framerate": float(clips.fps[instance]),
        # Keys of this project.
        "phases": np.asarray(seen.phase[rows]),
        "raw_phases": fitted.raw_phases[rows],
        "code": np.asarray(fitted.params.codes[instance]),
        "mirrored": bool(fitted.params.mirrored[instance] > 0.5),
        "camera_from_world": fitted.camera_from_world[instance],
        "camera_translation": fitted.camera_translation[instance],
        **moved,
        "focal": float(fitted.focal[instance]),
        "principal": fitted.principal[instance],
        "image_size": np.asarray(clips.image_size[instance]),
        "joints": np.asarray(seen.keypoints[rows]),
        "joints_2d": np.asarray(seen.keypoints_2d[rows]),
        "joint_names": np.array(jn.BODY_25_NAMES),
        "input_2d": np.asarray(clips.keypoints[rows]),
        "input_confidence": np.asarray(clips.confidence[rows]),
        **contact,
        "up_axis": "y",
        "body_model": body_name,
        "name": dataset.names[instance],
        "action": dataset.action,
    }


def write_config(path: Path, settings: Any, versions: Mapping[str, str]) -> None:
    """Writes the settings of the run, after applying the preset and all flags."""
    write_json(path, {**dataclasses.asdict(settings), "versions": dict(versions)})
