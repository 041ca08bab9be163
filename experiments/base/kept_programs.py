"""Compiled programs, kept on disk from one command to the next with the shapes of their results, so that a command that
finds them neither traces nor compiles.

JAX's own cache, in whose folder this one lies, knows a program by what tracing gave, and tracing a fit takes longer than
running it. Here a program is known by all that tracing depends on: its name, the sources of the project, versions of
libraries, device, settings of JAX and XLA, and structure, shapes and types of the arguments. Values of arrays are not
among them: programs take as arguments what they compute with.

A file holds a line of its format, the digest of the rest, and the rest: shapes of the results as JSON in a line, then the
program as JAX writes it, compressed, or nothing where only shapes are known. Loading one runs its code, as with JAX's
cache: both belong to the user.

`NEMO_KEEP_PROGRAMS=0` turns this off, and what turns off JAX's cache does too.
"""

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import logging
import os
import platform
import sys
import threading
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import serialize_executable

from body_models.pytree import Tree
from experiments.base import tree_text
from experiments.base.files import replacing

FOLDER, SUFFIX = "programs", ".program"
MOST_BYTES = 1 << 30
_FORMAT = b"nemo_jax program 1\n"
_ROOT = Path(__file__).parents[2]
_PACKAGES = ("body_models", "nemo_jax", "experiments")
_LIBRARIES = ("jax", "jaxlib", "flax", "optax", "chex", "numpy")
# Settings of JAX that say where programs are kept and what is said of it, but not what they are.
_BESIDE = ("jax_compilation_cache", "jax_persistent_cache", "jax_raise_persistent", "jax_platforms", "jax_log")
_FLAGS = ("XLA_FLAGS", "LIBTPU_INIT_ARGS")
# What a program of a CPU may use of it, in /proc/cpuinfo.
_OF_CPU = ("vendor_id", "model name", "flags", "Features", "CPU implementer", "CPU part")


class Kept(NamedTuple):
    """A kept program. place: its file. shapes: its results, abstract. code: what `load` loads, compressed; empty = shapes
    are all that is kept."""

    place: Path
    shapes: Any
    code: bytes


_writing = threading.Lock()


def folder() -> Path | None:
    """Where programs are kept; None = nowhere."""
    jaxs, config = jax.config.values["jax_compilation_cache_dir"], jax.config.values
    off = os.environ.get("NEMO_KEEP_PROGRAMS", "").lower() in ("0", "false", "off", "no")
    if off or not jaxs or "://" in jaxs or not config["jax_enable_compilation_cache"] or not _most_bytes():
        return None
    return Path(jaxs) / FOLDER


def place_of(name: str, args: Tree, options: Mapping[str, Any], used: Sequence[Any]) -> Path | None:
    """The file of the program of this name, which is unique in the project, for these arguments, concrete or abstract.

    Args:
      options: the compiler's. used: the devices that it is for.

    Returns:
      A file that may not be there, whose name says all that the program depends on; None = it cannot be kept.
    """
    place = folder()
    if place is None:
        return None
    try:
        known = [name, tree_text.of(args), _places(args), sorted(options.items()), _of_devices(used), _of_process()]
    except tree_text.IndescribableError as error:
        _say(f"{name} is compiled in every command: {error}")
        return None
    return place / f"{hashlib.sha256(json.dumps(known).encode()).hexdigest()}{SUFFIX}"


def find(place: Path) -> Kept | None:
    """The kept program; None = there is none. A file that is damaged is removed, which is said."""
    try:
        content = place.read_bytes()
    except OSError:
        return None
    with contextlib.suppress(OSError):  # a folder of somebody else's
        # Files that were not used for longest go first where there are too many.
        os.utime(place)
    try:
        return _read(place, content)
    except (ValueError, tree_text.IndescribableError) as error:
        _say(f"The compiled program {place} is damaged ({error}); it is compiled anew.")
        with contextlib.suppress(OSError):
            place.unlink()
        return None


def _read(place: Path, content: bytes) -> Kept:
    start = len(_FORMAT)
    digest, rest = content[start : start + 32], content[start + 32 :]
    if not content.startswith(_FORMAT) or hashlib.sha256(rest).digest() != digest:
        raise ValueError("its digest is another")
    shapes, _, code = rest.partition(b"\n")
    return Kept(place, tree_text.tree(json.loads(shapes)), code)


def compiled(lowered: Any, options: Mapping[str, Any], anew: bool) -> tuple[Any, bool]:
    """Compiles a `jax.stages.Lowered`; returns the program, and whether it can be kept.

    What JAX reads from its own cache cannot: not all of its code is there to be written once more. That happens where
    the project's sources have changed and the program has not.

    Args:
      anew: whether to compile such a program in spite of JAX's cache; for what was wanted before, and will be again.
    """
    _read_by_jax.now = False
    program = lowered.compile(compiler_options=dict(options))
    if _read_by_jax.now and anew:
        # An option without effect, for which nothing is in JAX's cache.
        other = {"xla_debug_buffer_assignment_show_max": int.from_bytes(os.urandom(3)) + 16}
        return lowered.compile(compiler_options={**options, **other}), True
    return program, not _read_by_jax.now


class _ReadByJax(threading.local):
    """Whether JAX has found a program in its cache, in this thread."""

    now = False


_read_by_jax = _ReadByJax()


def _listen(event: str, **_: Any) -> None:
    if event == "/jax/compilation_cache/cache_hits":
        _read_by_jax.now = True


jax.monitoring.register_event_listener(_listen)


def keep(place: Path, shapes: Tree, compiled: Any = None) -> None:
    """Keeps a program, `jax.stages.Compiled`, and the shapes of its results; None = the shapes alone.

    What a device cannot write of a program, or a folder cannot take, is said once.
    """
    try:
        code = b"" if compiled is None else zlib.compress(serialize_executable.serialize(compiled)[0], 1)
        rest = json.dumps(tree_text.of(shapes)).encode() + b"\n" + code
        with _writing:
            # Where a program is, its shapes are too.
            if code or not place.exists():
                with replacing(place) as file:
                    file.write_bytes(_FORMAT + hashlib.sha256(rest).digest() + rest)
            _remove_oldest(place.parent)
    # What a device says of code that it cannot write is of no one type.
    except Exception as error:
        _say(f"Compiled programs cannot be kept for the next command ({str(error) or type(error).__name__:.200}).")


def load(kept: Kept, args: Tree, used: Sequence[Any]) -> Any | None:
    """The program on the devices `used` as a `jax.stages.Compiled`; None = it cannot be loaded, which is said."""
    _prepare(used[0].platform)
    trees = jax.tree.structure((args, {})), jax.tree.structure(kept.shapes)
    try:
        return serialize_executable.deserialize_and_load(
            zlib.decompress(kept.code), *trees, backend=used[0].client, execution_devices=list(used)
        )
    # What a device says of code that it cannot load is of no one type.
    except Exception as error:
        _say(f"The compiled program {kept.place} cannot be loaded ({error!s:.200}); it is compiled anew.")
        return None


@functools.cache
def _prepare(platform: str) -> None:
    """Makes JAX look up LAPACK's functions, by tracing one: a loaded program that calls one would end the process."""
    if platform == "cpu":
        jax.jit(jnp.linalg.cholesky).lower(jax.ShapeDtypeStruct((2, 2), jnp.float32))


def _remove_oldest(folder: Path) -> None:
    """Removes the programs that were not used for longest, so that all take no more than they may."""
    found, left = [], _most_bytes()
    for path in folder.glob(f"*{SUFFIX}"):
        try:
            found.append((path.stat(), path))
        except FileNotFoundError:
            continue  # another process has removed it
    for status, path in sorted(found, key=lambda one: -one[0].st_mtime):
        left -= status.st_size
        if left < 0:
            path.unlink(missing_ok=True)


def _most_bytes() -> int:
    own = jax.config.values["jax_compilation_cache_max_size"]
    return MOST_BYTES if own < 0 else min(own, MOST_BYTES)


@functools.cache
def _say(sentence: str) -> None:
    logging.getLogger(__name__).warning(sentence)


# --- what programs depend on ---


def _places(args: Tree) -> list[str]:
    """Where those arguments lie that are bound to devices."""
    bound = [leaf for leaf in jax.tree.leaves(args) if isinstance(leaf, jax.Array) and leaf.committed]
    return [f"{leaf.sharding} {sorted(device.id for device in leaf.sharding.device_set)}" for leaf in bound]


def _of_devices(used: Sequence[Any]) -> list[Any]:
    first = used[0]
    about = [first.client.platform_version, first.device_kind, str(getattr(first, "compute_capability", ""))]
    if first.platform == "cpu":
        about += _of_cpu()
    return [first.platform, *about, [device.id for device in used], jax.device_count(), jax.process_count()]


@functools.cache
def _of_cpu() -> list[str]:
    """What this machine's CPU can do: a program may hold instructions that another lacks."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(errors="replace").partition("\n\n")[0].splitlines() if file.exists() else []
    return [platform.machine(), platform.processor(), *(line for line in lines if line.split("\t")[0] in _OF_CPU)]


def _of_process() -> list[Any]:
    settings = sorted((name, str(value)) for name, value in jax.config.values.items() if not name.startswith(_BESIDE))
    return [settings, [os.environ.get(name, "") for name in _FLAGS], *_of_installation()]


@functools.cache
def _of_installation() -> list[str]:
    return [platform.system(), sys.version, *map(importlib.metadata.version, _LIBRARIES), _of_sources()]


def _of_sources() -> str:
    """A digest of the project's modules, and of the arrays that lie beside them."""
    digest = hashlib.sha256()
    for path in sorted(path for package in _PACKAGES for path in (_ROOT / package).rglob("*")):
        if path.suffix in (".py", ".npz"):
            content = path.read_bytes()
            digest.update(f"{path.relative_to(_ROOT).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()
