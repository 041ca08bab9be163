"""Reads what a pickle asks for without doing it: every call becomes a record, every name must be allowed."""

import io
import pickle
import re
from collections.abc import Callable, Container, Mapping
from typing import Any, ClassVar


class BadPickleError(ValueError):
    """The file is missing, no pickle, truncated, damaged or too large. One sentence naming the file."""


class UnsafePickleError(BadPickleError):
    """The pickle asks for something outside the allow-list. One sentence naming the file and what it asked for."""


class Call:
    """What a pickle asked to have built, recorded and not done.

    That is `name(*args)`, then `state` and `items` set on it and the `values` appended; `attached` is what a `Follower`
    read from behind it.
    """

    name: ClassVar[str]
    args: tuple
    state: Any
    items: dict
    values: list
    attached: Any

    # The unpickler makes instances by `cls(*args)` and by `cls.__new__(cls, *args)`, hence no __init__.
    def __new__(cls, *args: object):
        self = super().__new__(cls)
        self.args, self.state, self.items, self.values, self.attached = args, None, {}, [], None
        return self

    def __setstate__(self, state: object) -> None:
        self.state = state

    def __setitem__(self, key: object, value: object) -> None:
        self.items[key] = value

    def append(self, value: object) -> None:
        self.values.append(value)


class Stream(io.BytesIO):
    """Where the bytes run out, reading fails instead of returning less."""

    def read(self, size: int | None = -1) -> bytes:
        found = super().read(size)
        if size is not None and len(found) < size:
            raise EOFError
        return found

    def readline(self, size: int | None = -1) -> bytes:
        line = super().readline(size)
        if not line.endswith(b"\n"):
            raise EOFError
        return line


# Reads, from the stream, what a format puts right behind an object's state, outside of the pickle's instructions.
Follower = Callable[[Call, Stream], Any]


def record(
    contents: bytes | Stream,
    name: str,
    allowed: Container[str],
    persistent_load: Callable[[Any], Any] | None,
    followers: Mapping[str, Follower] | None = None,
) -> Any:
    """What the pickle `contents` describes: plain data, with a `Call` wherever it asks for a name to be called.

    Args:
      contents: the pickle, or a stream that stands at its start and is left at its end.
      name: what errors call it.
      allowed: the names that may be asked for, as `package.module.Class` in their present spelling; those of chumpy may
        always.
      persistent_load: turns persistent ids into values; None: there may be none.
      followers: for names behind whose state the file has data of its own, what reads these; it becomes `Call.attached`.

    Raises:
      UnsafePickleError, BadPickleError.
    """
    if isinstance(contents, bytes):
        if not contents:
            raise BadPickleError(f"{name}: the file is empty, a pickle was expected")
        for magic, found in _OTHER_FORMATS.items():
            if contents.startswith(magic):
                raise BadPickleError(f"{name}: this is {found}, not a pickle")
        contents = Stream(contents)
    reader = _Recorder(contents, name, allowed, persistent_load, followers or {})
    # Hostile or damaged bytes can raise nearly anything, from the unpickler as from the builders.
    try:
        return reader.load()
    except BadPickleError:
        raise
    except EOFError as error:
        size = len(contents.getbuffer())
        raise BadPickleError(
            f"{name}: the pickle is truncated, or no pickle: it stops after {size} bytes without an end"
        ) from error
    except Exception as error:
        why = "no such instruction" if isinstance(error, KeyError) else reason(error)
        raise BadPickleError(
            f"{name}: not a pickle, or a damaged one: reading fails near byte {contents.tell()} ({why})"
        ) from error


def reason(error: Exception) -> str:
    """One line that says what went wrong."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, KeyError):
        return f"{str(error)[:80]} is unknown or missing"
    return " ".join(str(error).split())[:200] or type(error).__name__


_OTHER_FORMATS = {
    b"PK\x03\x04": "a zip archive (.npz, or a torch checkpoint)",
    b"\x93NUMPY": "a .npy file",
    b"version https://git-lfs": "a Git LFS pointer (the file itself was not downloaded)",
    b"<": "a web page (a download that was refused?)",
}


# The pure-Python unpickler: the C one of some Python versions fills gigabytes on a memo index of a few bytes.
class _Recorder(pickle._Unpickler):
    """Records calls to allowed names; everything else in the stream is plain data."""

    def __init__(self, stream: Stream, name: str, allowed: Container[str], persistent_load, followers):
        super().__init__(stream, encoding="latin1")
        self._name, self._allowed, self._persistent_load = name, allowed, persistent_load
        self._stream, self._followers = stream, followers
        self._classes: dict[str, type[Call]] = {}

    def find_class(self, module: str, name: str) -> type[Call]:  # pyright: ignore[reportIncompatibleMethodOverride]
        full = _canonical(f"{module}.{name}")
        if full not in self._allowed and not full.startswith("chumpy."):
            # The name comes from the file: shown short and printable.
            asked = ascii(f"{module}.{name}"[:80]).strip("'")
            raise UnsafePickleError(
                f"{self._name}: the pickle asks for {asked}, which could run code, so it is not loaded; "
                "only arrays, numbers, text and containers are read from pickles"
            )
        # One class per name and file: whatever a pickle does to it ends with this load.
        if full not in self._classes:
            self._classes[full] = type(name, (Call,), {"name": full})
        return self._classes[full]

    def persistent_load(self, pid: object) -> object:
        if self._persistent_load is None:
            raise UnsafePickleError(f"{self._name}: the pickle asks for data outside itself (a torch checkpoint?)")
        return self._persistent_load(pid)

    def load_bytearray8(self) -> None:
        # The inherited method allocates the announced size before it looks whether there is so much.
        self.load_binbytes8()  # pyright: ignore[reportAttributeAccessIssue]
        self.stack[-1] = bytearray(self.stack[-1])  # pyright: ignore[reportAttributeAccessIssue]

    def load_build(self) -> None:
        super().load_build()  # pyright: ignore[reportAttributeAccessIssue]
        built = self.stack[-1]  # pyright: ignore[reportAttributeAccessIssue]
        follower = self._followers.get(_class_name(built)) if isinstance(built, Call) else None
        if follower is not None:
            built.attached = follower(built, self._stream)

    dispatch: ClassVar[dict] = {
        **pickle._Unpickler.dispatch,
        pickle.BYTEARRAY8[0]: load_bytearray8,
        pickle.BUILD[0]: load_build,
    }


def _class_name(built: Call) -> str:
    """Of the object's class; protocols 0 and 1 have it built by `copyreg._reconstructor(cls, object, None)`."""
    if built.name == "copyreg._reconstructor" and built.args:
        return getattr(built.args[0], "name", "")
    return built.name


def _canonical(full: str) -> str:
    """One spelling for a name that moved between versions of Python, NumPy, SciPy and chumpy."""
    for old, new in (("__builtin__.", "builtins."), ("copy_reg.", "copyreg."), ("numpy.core.", "numpy._core.")):
        full = new + full.removeprefix(old) if full.startswith(old) else full
    full = re.sub(r"^scipy\.sparse\.(?:_?\w+\.)?(csc|csr|coo)_(?:matrix|array)$", r"scipy.sparse.\1", full)
    return "chumpy.ch.Ch" if full == "chumpy.Ch" else full
