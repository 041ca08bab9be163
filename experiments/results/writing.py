"""Files of a finished fit: metrics, motion, losses, configuration. Each is written under another name, then renamed."""

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
from experiments.base.files import replacing
from experiments.data.dataset import Dataset
from experiments.results.fitted_motion import FittedMotion


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Makes the output folder and keeps other runs out of it until the block ends, however it ends.

    Raises:
      UserError: it cannot be written, or another run has it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
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
                # Some network file systems know no locks; the run is no worse off than without one.
                logging.getLogger(__name__).debug("no locks in %s", folder)
        yield


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Strict JSON: a number that is not finite is left out, so that readers in any language can parse it."""
    kept = {k: v for k, v in values.items() if not (isinstance(v, float) and not math.isfinite(v))}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(kept, indent=2, allow_nan=False) + "\n")


def write_history(path: Path, history: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """The losses of every step, as arrays `<stage>/<term>`."""
    arrays: dict[str, Any] = {
        f"{stage}/{term}": values for stage, terms in history.items() for term, values in terms.items()
    }
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def write_motions(folder: Path, dataset: Dataset, fitted: FittedMotion, body_name: str) -> None:
    """One file per instance; those of instances that are no longer there are deleted."""
    for instance, name in enumerate(dataset.names):
        with replacing(folder / f"{name}.npz") as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **motion_arrays(dataset, fitted, instance, body_name))
    for stale in {path.name for path in folder.glob("*.npz")} - {f"{name}.npz" for name in dataset.names}:
        (folder / stale).unlink()


def motion_arrays(dataset: Dataset, fitted: FittedMotion, instance: int, body_name: str) -> dict[str, Any]:
    """The arrays of one instance's file, as docs/results.md lists them; F frames."""
    clips, seen = dataset.clips, fitted.prediction
    frames = int(np.asarray(clips.frame_mask[instance]).sum())
    rows = (instance, slice(0, frames))
    return {
        # AMASS.
        "poses": fitted.poses[rows].reshape(frames, -1),
        "trans": np.asarray(seen.translation[rows]),
        "betas": np.asarray(fitted.params.betas[instance]),
        "gender": "neutral",
        "mocap_framerate": float(clips.fps[instance]),
        # Ours.
        "phases": np.asarray(seen.phase[rows]),
        "raw_phases": fitted.raw_phases[rows],
        "code": np.asarray(fitted.params.codes[instance]),
        "mirrored": bool(fitted.params.mirrored[instance] > 0.5),
        "camera_from_world": fitted.camera_from_world[instance],
        "camera_translation": fitted.camera_translation[instance],
        "focal": float(fitted.focal[instance]),
        "principal": fitted.principal[instance],
        "image_size": np.asarray(clips.image_size[instance]),
        "joints": np.asarray(seen.keypoints[rows]),
        "joints_2d": np.asarray(seen.keypoints_2d[rows]),
        "joint_names": np.array(jn.BODY_25_NAMES),
        "input_2d": np.asarray(clips.keypoints[rows]),
        "input_confidence": np.asarray(clips.confidence[rows]),
        "up_axis": "y",
        "body_model": body_name,
        "name": dataset.names[instance],
        "action": dataset.action,
    }


def write_config(path: Path, settings: Any, versions: Mapping[str, str]) -> None:
    """The settings as run, presets and overrides resolved."""
    write_json(path, {**dataclasses.asdict(settings), "versions": dict(versions)})
