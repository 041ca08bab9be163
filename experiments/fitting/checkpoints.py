"""Checkpoints of a fit: written whole or not at all, the last two kept, tied to the settings and data they belong to.

A checkpoint holds the position, the stage's carry (parameters, optimiser state, targets, candidates), the random key, the
losses so far and the seconds spent, as Orbax writes them: under a temporary name, renamed when complete.
"""

import dataclasses
import hashlib
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from experiments.base.errors import UserError
from experiments.fitting.compiled_programs import History, Job, Position

FORMAT = 1
KEPT = 2


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A fit at a position. seconds: spent so far, by name."""

    position: Position
    carry: Any
    key: jax.Array
    history: History
    seconds: dict[str, float]


class Checkpoints:
    """The checkpoints in one folder; a context, at whose end all that was saved is on disk.

    Args:
      folder: made when the first is written.
      job: what is fitted; gives the shapes to read.
      identity: what the fit depends on, by name; see `identity_of`.
    """

    def __init__(self, folder: Path, job: Job, identity: dict[str, str]):
        self._folder, self._job, self._identity = folder.absolute(), job, identity
        options = ocp.CheckpointManagerOptions(max_to_keep=KEPT, cleanup_tmp_directories=True)
        try:
            self._manager = ocp.CheckpointManager(self._folder, options=options)
        except OSError as error:
            raise UserError(
                f"{folder} cannot be written: {error.strerror or error}; choose another --output_dir"
            ) from error

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        # After an error too: what was saved before it counts, and a writer must not outlive the program.
        self._manager.close()

    def clear(self) -> None:
        """Deletes all of them."""
        self._manager.close()
        shutil.rmtree(self._folder)
        self.__init__(self._folder, self._job, self._identity)

    def save(self, snapshot: Snapshot) -> None:
        """Writes in the background; the arrays are copied before this returns."""
        arrays = {
            "carry": jax.tree.map(np.array, _named(snapshot.carry)),
            "key": np.array(jax.random.key_data(snapshot.key)),
            "history": {stage: {k: v.copy() for k, v in terms.items()} for stage, terms in snapshot.history.items()},
        }
        about = {
            "format": FORMAT,
            "stage": snapshot.position.stage,
            "step": snapshot.position.step,
            "seconds": snapshot.seconds,
            "losses": {
                stage: {term: len(values) for term, values in terms.items()}
                for stage, terms in snapshot.history.items()
            },
            "identity": self._identity,
        }
        arguments = ocp.args.Composite(arrays=ocp.args.StandardSave(arrays), about=ocp.args.JsonSave(about))
        self._manager.save(self._number(snapshot.position), args=arguments)

    def latest(self) -> Snapshot | None:
        """The newest that can be read, or None.

        Raises:
          UserError: it belongs to a fit with other settings or data, or none of those there can be read.
        """
        numbers = sorted(self._manager.all_steps(), reverse=True)
        for number in numbers:
            about = self._about(number)
            if about is None:
                continue
            self._check_identity(about["identity"])
            snapshot = self._read(number, about)
            if snapshot is not None:
                return snapshot
        if numbers:
            raise UserError(
                f"{self._folder} holds no checkpoint that this version can read; add --resume=false to start over, or "
                "choose another --output_dir"
            )
        return None

    def _number(self, position: Position) -> int:
        """Steps done in all stages."""
        return sum(stage.steps for stage in self._job.stages[: position.stage]) + position.step

    def _about(self, number: int) -> dict[str, Any] | None:
        try:
            about = self._manager.restore(number, args=ocp.args.Composite(about=ocp.args.JsonRestore()))["about"]
        except (OSError, ValueError, KeyError, TypeError):  # damaged: the one before it is still there
            return None
        return about if isinstance(about, dict) and about.get("format") == FORMAT else None

    def _check_identity(self, found: dict[str, str]) -> None:
        for name in sorted({*found, *self._identity}):
            was, now = found.get(name, "unknown"), self._identity.get(name, "unknown")
            if was != now:
                what = _OTHER.get(name, f"with another {name} ({was} there, {now} now)")
                raise UserError(
                    f"{self._folder.parent} holds a fit {what}; choose another --output_dir, or add --resume=false to "
                    "replace that fit"
                )

    def _read(self, number: int, about: dict[str, Any]) -> Snapshot | None:
        position = Position(about["stage"], about["step"])
        shapes = self._job.carry_at(position)
        key = jax.random.key_data(self._job.key)
        wanted = {
            "carry": {name: np.empty(leaf.shape, leaf.dtype) for name, leaf in _named(shapes).items()},
            "key": np.empty(key.shape, key.dtype),
            "history": {
                stage: {term: np.empty(length, np.float32) for term, length in terms.items()}
                for stage, terms in about["losses"].items()
            },
        }
        try:
            arguments = ocp.args.Composite(arrays=ocp.args.StandardRestore(wanted))
            arrays = self._manager.restore(number, args=arguments)["arrays"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        leaves = [arrays["carry"][name] for name in _named(shapes)]
        return Snapshot(
            position=position,
            carry=jax.tree.unflatten(jax.tree.structure(shapes), [jax.numpy.asarray(leaf) for leaf in leaves]),
            key=jax.random.wrap_key_data(jax.numpy.asarray(arrays["key"])),
            # Orbax sorts by name; the stages keep their order.
            history={
                stage: {term: np.array(arrays["history"][stage][term]) for term in terms}
                for stage, terms in wanted["history"].items()
            },
            seconds=about["seconds"],
        )


# How a difference is told whose values, digests, say nothing.
_OTHER = {"clips": "of other clips", "body model": "of another body model", "priors": "with other priors"}


def identity_of(job: Job, settings: dict[str, Any], names: tuple[str, ...]) -> dict[str, str]:
    """What makes two fits the same: the settings, each field of the configuration, digests of clips, body and priors."""
    fields = {f"fit.{name}": str(value) for name, value in dataclasses.asdict(job.config).items()}
    return {
        **{name: str(value) for name, value in settings.items()},
        **fields,
        "clips": digest((job.clips, names)),
        "body model": digest(job.body),
        "priors": digest(job.priors),
    }


def digest(tree: Any) -> str:
    """SHA-256 of a pytree's arrays and strings."""
    total = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        total.update(jax.tree_util.keystr(path).encode())
        array = np.asarray(leaf)
        total.update(f"{array.dtype}{array.shape}".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def _named(tree: Any) -> dict[str, Any]:
    """Leaves by path, such as `params/codes`."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }
