"""The truth of real films: measured joints of one take, in a world of their own, and how far fits are from them.

A file `truth*.npz` beside the films holds `joints` (F, 15, 3) metres, the first 15 of BODY_25 at each frame of the films;
`valid` (F, 15), which of them are measured; and may hold `K` (C, 3, 3) with `names` (C,), the intrinsics of the films by
their names.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from experiments.base.errors import UserError
from experiments.data import neutral_file, ranges
from experiments.data.neutral_file import FileError
from experiments.fitting import checkpoints
from nemo_jax import metrics

Array = np.ndarray
_LEAST_POINTS = 3  # that a frame can be aligned by


@dataclasses.dataclass(frozen=True)
class FilmTruth:
    """One truth. name: of its file. joints (F, 15, 3), metres. valid (F, 15), bool. focal: pixels, by the films' names."""

    name: str
    joints: Array
    valid: Array
    focal: Mapping[str, float]

    @property
    def digest(self) -> str:
        return checkpoints.digest((self.joints, self.valid, dict(self.focal)))


def read(folder: Path) -> list[FilmTruth]:
    """The truths of a folder, by name.

    Raises:
      UserError: there is none, or one cannot be used.
    """
    paths = [path for path in neutral_file.files(folder) if path.stem.startswith("truth")]
    if not paths:
        raise UserError(f"--films={folder} has no truth.npz; expected joints and valid in it (docs/accuracy.md)")
    found = []
    for path in paths:
        try:
            found.append(_read(path))
        except FileError as error:
            raise UserError(f"{path} cannot be used: {error}") from error
    return found


def _read(path: Path) -> FilmTruth:
    arrays = neutral_file.read(path, ("joints", "valid", "K", "names"))
    if missing := [key for key in ("joints", "valid") if key not in arrays]:
        raise FileError(f"it has no {missing[0]}")
    joints, valid = arrays["joints"], arrays["valid"]
    if joints.ndim != 3 or joints.shape[1:] != (metrics.PAPER_JOINTS, 3) or joints.dtype.kind != "f" or not len(joints):
        raise FileError(f"joints has shape {joints.shape} of {joints.dtype}, expected (frames, 15, 3) of numbers")
    if valid.shape != joints.shape[:2] or valid.dtype.kind not in "biu":
        raise FileError(
            f"valid has shape {valid.shape} of {valid.dtype}, expected {joints.shape[:2]} of true and false"
        )
    valid = valid.astype(bool)
    if not np.isfinite(joints[valid]).all():
        raise FileError("joints has values that are not finite where valid is true")
    joints = np.where(valid[..., None], joints, 0.0).astype(np.float32)
    ranges.POSITION.check("joints", joints, FileError)
    focal = {}
    if "K" in arrays and "names" in arrays:
        lenses, names = arrays["K"], arrays["names"]
        if lenses.shape != (len(names), 3, 3):
            raise FileError(f"K has shape {lenses.shape}, expected ({len(names)}, 3, 3) for {len(names)} names")
        focal = {str(name): float(lens[0, 0]) for name, lens in zip(names, lenses, strict=True)}
    return FilmTruth(path.stem, joints, valid, focal)


def errors(predicted: Array, frames: Array, truth: FilmTruth) -> dict[str, float]:
    """The errors in mm of a fit of one film, over the joints that are measured; NaN where none is.

    Args:
      predicted: (T, 15, 3) metres, in the world of the fit. frames: (T,), which frame of the film each is. truth: of it.

    Returns:
      `pa`: each frame after its own rotation, translation and scale. `whole`: after one rotation and translation of the
      whole clip, without scale.

    Raises:
      UserError: the truth ends before the film.
    """
    if frames.max() >= len(truth.joints):
        raise UserError(
            f"{truth.name}.npz has {len(truth.joints)} frames, but a film is fitted up to frame {frames.max() + 1}; "
            "expected the truth of every frame"
        )
    there = (frames >= 0)[:, None]
    pa, whole = _errors(predicted, truth.joints[frames], (truth.valid[frames] & there).astype(np.float32))
    return {"pa": float(pa), "whole": float(whole)}


@jax.jit
def _errors(predicted: jax.Array, true: jax.Array, valid: jax.Array) -> tuple[jax.Array, jax.Array]:
    with jax.default_matmul_precision("float32"):
        align = lambda p, t, w: metrics.similarity_align(p, t, w, with_scale=True)
        own = metrics.distances(jax.vmap(align)(predicted, true, valid), true)
        enough = valid * (valid.sum(1, keepdims=True) >= _LEAST_POINTS)
        flat = lambda array: array.reshape(-1, 3)
        moved = metrics.similarity_align(flat(predicted), flat(true), valid.reshape(-1), with_scale=False)
        together = metrics.distances(moved.reshape(true.shape), true)
        mean = lambda values, mask: metrics.MILLIMETRES * metrics.masked_mean(jnp.asarray(values), mask)
        return mean(own, enough), mean(together, valid)
