"""Checkpoints of a fit: written atomically, the last two are kept, and each belongs to certain settings and data.

A checkpoint holds the position, the stage's carry (parameters, optimiser state, targets, candidates), the random key, the
losses so far and the seconds spent. Orbax writes it under a temporary name and renames it when it is complete. It
contains digests of its contents. A seal file beside it, written last, has the digests of all its files, which are
checked before the files are read. A checkpoint whose digests do not match is skipped.
"""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from body_models.pytree import Tree
from experiments.base.errors import UserError
from experiments.base.files import replacing
from experiments.fitting.compiled_programs import History, Position, Shapes, shapes_of_one, stages_of
from nemo_jax.stacking import Job

FORMAT = 2
KEPT = 2
SEAL = "checksums.json"


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """The state of a fit at a position. seconds: time spent so far, by name."""

    position: Position
    carry: Tree
    key: jax.Array
    history: History
    seconds: dict[str, float]


class Packed(NamedTuple):
    """A checkpoint to be written: the folder of the fit's checkpoints, its number, its arrays and its metadata."""

    folder: Path
    number: int
    arrays: dict[str, Any]
    about: dict[str, Any]


class Writer:
    """Writes the checkpoints of one fit into a folder, in the background; a context manager, which waits at its end
    until all are written.

    Raises:
      UserError: raised by any method if a checkpoint cannot be written.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._open: ocp.CheckpointManager | None = None
        self._unsealed: int | None = None

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *_: object) -> None:
        # After an error too: what was saved before it counts, and a writer must not outlive the program.
        self.close()

    @property
    def manager(self) -> ocp.CheckpointManager:
        """The checkpoint manager of Orbax, created when it is first needed."""
        if self._open is None:
            options = ocp.CheckpointManagerOptions(max_to_keep=KEPT, cleanup_tmp_directories=True)
            try:
                self._open = ocp.CheckpointManager(self._folder, options=options)
            except OSError as error:
                raise self._cannot_write(error) from error
        return self._open

    def write(self, packed: Packed) -> None:
        """Starts to write a checkpoint in the background."""
        self.seal()
        self._check_there()
        arguments = ocp.args.Composite(
            arrays=ocp.args.StandardSave(packed.arrays), about=ocp.args.JsonSave(packed.about)
        )
        try:
            self.manager.save(packed.number, args=arguments)
        except _WRITING as error:
            raise self._cannot_write(error) from error
        self._unsealed = packed.number

    def seal(self) -> None:
        """Waits for the last checkpoint and writes the digests of its files."""
        if self._unsealed is None:
            return
        number, self._unsealed = self._unsealed, None
        folder = self._folder / str(number)
        try:
            self.manager.wait_until_finished()
            self._check_there()
            with replacing(folder / SEAL) as temporary:
                temporary.write_text(json.dumps(_digests(folder)))
        except UserError:
            raise
        except _WRITING as error:
            raise self._cannot_write(error) from error

    def close(self) -> None:
        """Waits until all checkpoints are written. Raises UserError if one cannot be written."""
        try:
            self.seal()
        finally:
            if self._open is not None:
                self._open.close()
                self._open = None

    def _check_there(self) -> None:
        """Raises UserError: the folder was there and no longer is. Orbax and `replacing` would create it again."""
        if self._open is not None and not self._folder.is_dir():
            raise UserError(
                f"{self._folder} was deleted or moved while the fit ran; leave it in its place, and run the same "
                "command again"
            )

    def _cannot_write(self, error: Exception) -> UserError:
        self._check_there()
        reason = getattr(error, "strerror", None) or str(error).split("\n")[0][:200]
        return UserError(
            f"{self._folder} cannot be written ({reason}); make room or choose another --output_dir, the same command then "
            "continues from the checkpoint before"
        )


class Checkpoints:
    """The checkpoints of one fit in one folder; a context manager, at whose end all saved checkpoints are on disk and
    sealed.

    Args:
      folder: the folder, created with the first checkpoint.
      job: the fit, which determines the shapes of the arrays.
      identity: the inputs that the fit depends on, by name; see `identity_of`.
      shapes: function from a job to the abstract values of its arrays.

    `damaged` lists the step numbers of damaged checkpoints that `latest` has skipped.
    """

    def __init__(
        self, folder: Path, job: Job, identity: dict[str, str], shapes: Callable[[Job], Shapes] = shapes_of_one
    ):
        self._folder, self._job, self._identity = folder.absolute(), job, identity
        self._shapes_of, self._writer = shapes, Writer(self._folder)
        self.damaged: list[int] = []

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        # After an error too: what was saved before it counts, and a writer must not outlive the program.
        self._writer.close()

    def clear(self) -> None:
        """Deletes all checkpoints of the fit."""
        self._writer.close()
        if self._folder.exists():
            shutil.rmtree(self._folder)

    def packed(self, snapshot: Snapshot) -> Packed:
        """Converts a snapshot for `write_packed`, which may run in another process; the arrays are copied."""
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
            "arrays": digest(arrays),
        }
        about["about"] = _digest_of(about)
        return Packed(self._folder, self._number(snapshot.position), arrays, about)

    def save(self, snapshot: Snapshot) -> None:
        """Writes a snapshot in the background; the arrays are copied before this returns.

        Raises:
          UserError: this checkpoint, or the previous one, cannot be written.
        """
        self._writer.write(self.packed(snapshot))

    def latest(self) -> Snapshot | None:
        """The newest readable checkpoint, or None if there is none.

        Raises:
          UserError: the checkpoint belongs to a fit with other settings or data, or no existing checkpoint can be read.
        """
        if not self._folder.is_dir():
            return None
        self._writer.seal()
        numbers = sorted(self._writer.manager.all_steps(), reverse=True)
        self.damaged = []
        for number in numbers:
            about = self._about(number) if self._is_whole(number) else None
            if about is not None:
                self._check_identity(about["identity"])
                snapshot = self._read(number, about)
                if snapshot is not None:
                    return snapshot
            self.damaged.append(number)
        if numbers:
            raise UserError(
                f"{self._folder} holds no checkpoint that this version can read; add --resume=false to start over, or "
                "choose another --output_dir"
            )
        return None

    def _is_whole(self, number: int) -> bool:
        """Whether the files of a checkpoint match its seal. A checkpoint without a seal counts as whole here; it is
        checked only by the digests inside it."""
        folder = self._folder / str(number)
        try:
            return not (folder / SEAL).exists() or json.loads((folder / SEAL).read_text()) == _digests(folder)
        except (OSError, ValueError, RecursionError):
            return False

    def _number(self, position: Position) -> int:
        """Total number of steps done in all stages."""
        return sum(stage.steps for stage in stages_of(self._job)[: position.stage]) + position.step

    def _about(self, number: int) -> dict[str, Any] | None:
        """The metadata of a checkpoint; None if they are not valid for a fit of this kind."""
        try:
            about = self._writer.manager.restore(number, args=ocp.args.Composite(about=ocp.args.JsonRestore()))["about"]
            if about["format"] != FORMAT or about["about"] != _digest_of(about):
                return None
            # Another fit may have other stages; the comparison of identities reports the difference.
            same = about["identity"] == self._identity
            return about if not same or self._number(Position(about["stage"], about["step"])) == number else None
        except _READING:  # damaged: the one before it is still there
            return None

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
        key = jax.random.key_data(self._job.key)
        try:
            position = Position(about["stage"], about["step"])
            shapes = self._shapes_of(self._job).carry_at(position)
            wanted = {
                "carry": {name: np.empty(leaf.shape, leaf.dtype) for name, leaf in _named(shapes).items()},
                "key": np.empty(key.shape, key.dtype),
                "history": {
                    stage: {term: np.empty(length, np.float32) for term, length in terms.items()}
                    for stage, terms in about["losses"].items()
                },
            }
            arguments = ocp.args.Composite(arrays=ocp.args.StandardRestore(wanted))
            arrays = self._writer.manager.restore(number, args=arguments)["arrays"]
            seconds = {name: float(value) for name, value in about["seconds"].items()}
            if digest(arrays) != about["arrays"]:
                return None
        except _READING:
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
            seconds=seconds,
        )


# The exceptions of Orbax when a checkpoint cannot be read, and when it cannot be written.
_READING = (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, MemoryError, OverflowError)
_WRITING = (OSError, ValueError, RuntimeError)


def _digest_of(about: dict[str, Any]) -> str:
    """SHA-256 of the metadata of a checkpoint, without this digest itself."""
    rest = {name: value for name, value in about.items() if name != "about"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a checkpoint except its seal, by path relative to the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(SEAL))
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def write_packed(packed: Packed) -> None:
    """Writes a checkpoint and waits until it is complete. Raises UserError if it cannot be written."""
    with Writer(packed.folder) as writer:
        writer.write(packed)


# Texts for differences between inputs that are compared by digest, whose values mean nothing to a user.
_OTHER = {"clips": "of other clips", "body model": "of another body model", "priors": "with other priors"}


def identity_of(
    job: Job, settings: dict[str, Any], names: tuple[str, ...], shared: dict[str, str] | None = None
) -> dict[str, str]:
    """The identity of a fit: the settings, each field of the configuration, and digests of clips, body and priors.

    Two fits are the same if their identities are equal. `shared`: the `shared_digests` of this job, if already
    computed.
    """
    fields = {f"fit.{name}": str(value) for name, value in dataclasses.asdict(job.config).items()}
    return {
        **{name: str(value) for name, value in settings.items()},
        **fields,
        "clips": digest((job.clips, names)),
        **(shared_digests(job) if shared is None else shared),
    }


def shared_digests(job: Job) -> dict[str, str]:
    """Digests of the inputs that fits of different clips share: body and priors."""
    return {"body model": digest(job.body), "priors": digest(job.priors)}


def digest(tree: Tree) -> str:
    """SHA-256 of a pytree's arrays and strings."""
    total = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        total.update(jax.tree_util.keystr(path).encode())
        array = np.asarray(leaf)
        total.update(f"{array.dtype}{array.shape}".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def _named(tree: Tree) -> dict[str, Any]:
    """The leaves of a pytree by path, such as `params/codes`."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }
