"""Reads what a pickle asks for without doing it: every call becomes a record, every name must be allowed."""

import pickle
import re
from collections.abc import Callable, Container, Mapping
from typing import Any, ClassVar

from body_models import file_kinds
from body_models.budget import MAX_NUMBER_BYTES, MAX_NUMBER_KEY, Budget, TooMuchError, no_collection
from body_models.streams import Stream, StreamError
from body_models.wording import reason, shown

# Of what files call functions and classes; longer ones are of none that is known.
_MAX_NAME = 200
# How many of them a file may ask for: each becomes a class.
_MAX_NAMES = 1000
# Digits of a number that is written out.
_MAX_DIGITS = 3 * MAX_NUMBER_BYTES
_MAX_MEMO = (1 << 32) - 1
# Steps are taken from the budget so many at a time.
_STEPS = 1000


class BadPickleError(ValueError):
    """The file is missing, no pickle, truncated, damaged or too large. One sentence naming the file."""


class UnsafePickleError(BadPickleError):
    """The pickle asks for something outside the allow-list. One sentence naming the file and what it asked for."""


class OtherFormatError(BadPickleError):
    """The file is of another format. `kind` says which, such as "a BVH file". One sentence naming the file."""

    def __init__(self, name: str, kind: str):
        super().__init__(f"{name}: this is {kind}, not a pickle")
        self.kind = kind


class Call:
    """What a pickle asked to have built, recorded and not done.

    That is `name(*args)`, then `state` and `items` set on it and the `values` appended; `attached` is what a `Follower`
    read from behind it.
    """

    __slots__ = ("args", "attached", "items", "state", "values")
    name: ClassVar[str]

    def __init__(self, args: tuple = ()):
        self.args: tuple = args
        self.state: Any = None
        self.items: dict = {}
        self.values: list = []
        self.attached: Any = None


# Reads, from the stream, what a format puts right behind an object's state, outside of the pickle's instructions.
Follower = Callable[[Call, Stream], Any]


def record(
    contents: bytes | Stream,
    name: str,
    allowed: Container[str],
    persistent_load: Callable[[Any], Any] | None,
    followers: Mapping[str, Follower] | None = None,
    *,
    budget: Budget,
) -> Any:
    """What the pickle `contents` describes: plain data, with a `Call` wherever it asks for a name to be called.

    Args:
      contents: the pickle, or a stream that stands at its start and is left at its end.
      name: what errors call it.
      allowed: the names that may be asked for, as `package.module.Class` in their present spelling; those of chumpy may
        always.
      persistent_load: turns persistent ids into values; None: there may be none.
      followers: for names behind whose state the file has data of its own, what reads these; it becomes `Call.attached`.
      budget: what reading the file may take.

    Raises:
      UnsafePickleError, BadPickleError.
    """
    stream = Stream(contents) if isinstance(contents, bytes) else contents
    head = b""
    # Hostile or damaged bytes can raise nearly anything, from the unpickler as from the builders.
    try:
        if not stream.tell():
            head = stream.peek(file_kinds.HEAD)
            _check_head(head, name)
        with no_collection():
            return _Recorder(stream, name, allowed, persistent_load, followers or {}, budget).load()
    except OtherFormatError:
        raise
    except BadPickleError as error:
        kind = file_kinds.found_text(head, unsafe=True)
        if kind is None:
            raise
        raise OtherFormatError(name, kind) from error
    except EOFError as error:
        kind = file_kinds.found_text(head, ended=True)
        if kind is not None:
            raise OtherFormatError(name, kind) from error
        size = stream.tell() if stream.size is None else stream.size
        raise BadPickleError(
            f"{name}: the pickle is truncated, or no pickle: it stops after {size} bytes without an end"
        ) from error
    except StreamError as error:
        raise BadPickleError(f"{name}: {error}") from error
    except TooMuchError as error:
        raise BadPickleError(f"{name}: the pickle is not read: {error}") from error
    except Exception as error:
        kind = file_kinds.found_text(head)
        if kind is not None:
            raise OtherFormatError(name, kind) from error
        why = "no such instruction" if isinstance(error, KeyError) else reason(error)
        raise BadPickleError(
            f"{name}: not a pickle, or a damaged one: reading fails near byte {stream.tell()} ({why})"
        ) from error


def _check_head(head: bytes, name: str) -> None:
    if not head:
        raise BadPickleError(f"{name}: the file is empty, a pickle was expected")
    kind = file_kinds.found(head)
    if kind is not None:
        raise OtherFormatError(name, kind)


# What an instruction costs in steps, by the memory and time it takes; all others 1.
_COSTS = [1] * 256
for _code, _cost in {
    pickle.EMPTY_SET: 3, pickle.FROZENSET: 3, pickle.MEMOIZE: 2, pickle.BINPUT: 2, pickle.LONG_BINPUT: 2, pickle.PUT: 3,
    pickle.GET: 2, pickle.REDUCE: 4, pickle.NEWOBJ: 4, pickle.NEWOBJ_EX: 4, pickle.OBJ: 4, pickle.INST: 8,
    pickle.GLOBAL: 4, pickle.STACK_GLOBAL: 4, pickle.BUILD: 2, pickle.PERSID: 8, pickle.BINPERSID: 8, pickle.LONG: 2,
    pickle.INT: 2, pickle.FLOAT: 2, pickle.STRING: 2, pickle.UNICODE: 2, pickle.APPENDS: 2, pickle.SETITEMS: 2,
    pickle.ADDITEMS: 2, pickle.LONG1: 2, pickle.BINSTRING: 2, pickle.FRAME: 2,
}.items():  # fmt: skip
    _COSTS[_code[0]] = _cost


# The pure-Python unpickler: the C one of some Python versions fills gigabytes on a memo index of a few bytes. Whatever in
# it hashes, copies or calls what the file says is replaced. Frames are only a hint of how much to read at once: the bytes
# are the same without them.
class _Recorder(pickle._Unpickler):
    """Records calls to allowed names; everything else in the stream is plain data."""

    stack: list
    memo: dict[int, Any]

    def __init__(self, stream: Stream, name: str, allowed: Container[str], persistent_load, followers, budget: Budget):
        super().__init__(stream, encoding="latin1")  # pyright: ignore[reportArgumentType]
        self._name, self._allowed, self._persistent_load = name, allowed, persistent_load
        self._stream, self._followers, self._budget = stream, followers, budget
        self._classes: dict[tuple[str, str], type[Call]] = {}

    def load(self) -> Any:
        self.read, self.readline = self._stream.read, self._stream.readline
        self.metastack, self.stack, self.proto = [], [], 0
        self.append = self.stack.append
        next_byte, dispatch, costs = self._stream.file.read, self.dispatch, _COSTS
        left = 0
        try:
            while True:
                code = next_byte(1)
                if not code:
                    raise EOFError
                left -= costs[code[0]]
                if left < 0:
                    self._budget.take_steps(_STEPS)
                    left += _STEPS
                dispatch[code[0]](self)
        except pickle._Stop as stop:  # pyright: ignore[reportAttributeAccessIssue]
            return stop.value
        finally:
            self._budget.steps += max(left, 0)

    def find_class(self, module: str, name: str) -> type[Call]:  # pyright: ignore[reportIncompatibleMethodOverride]
        known = self._classes.get((module, name))
        if known is not None:
            return known
        full = _canonical(f"{module}.{name}") if len(module) + len(name) < _MAX_NAME else ""
        if full not in self._allowed and not full.startswith("chumpy."):
            # The name comes from the file: shown short and printable.
            asked = ascii(f"{module[:80]}.{name[:80]}"[:80]).strip("'")
            raise UnsafePickleError(
                f"{self._name}: the pickle asks for {asked}, which could run code, so it is not loaded; "
                "only arrays, numbers, text and containers are read from pickles"
            )
        if len(self._classes) >= _MAX_NAMES:
            raise TooMuchError(f"it asks for more than {_MAX_NAMES} functions and classes")
        # One class per name and file: whatever a pickle does to it ends with this load.
        made = type(name, (Call,), {"name": full, "__slots__": ()})
        self._classes[module, name] = made
        return made

    def get_extension(self, code: int) -> None:
        raise ValueError(f"it asks for the extension {code}, there are none")

    def persistent_load(self, pid: object) -> object:
        if self._persistent_load is None:
            raise UnsafePickleError(f"{self._name}: the pickle asks for data outside itself (a torch checkpoint?)")
        return self._persistent_load(pid)

    def load_frame(self) -> None:
        self._stream.expect(int.from_bytes(self.read(8), "little"))

    def load_int(self) -> None:
        line = self._number_line()
        self.append({b"00": False, b"01": True}[line] if line in (b"00", b"01") else int(line, 0))

    def load_long(self) -> None:
        self.append(int(self._number_line().removesuffix(b"L"), 0))

    def load_float(self) -> None:
        self.append(float(self._number_line()))

    def _number_line(self) -> bytes:
        line = self.readline()[:-1]
        if len(line) > _MAX_DIGITS:
            raise ValueError(f"it has a number of {len(line)} digits")
        return line

    def load_long4(self) -> None:
        count = int.from_bytes(self.read(4), "little", signed=True)
        if not 0 <= count <= MAX_NUMBER_BYTES:
            raise ValueError(f"it has a number of {count} bytes")
        self.append(pickle.decode_long(self.read(count)))

    def load_bytearray8(self) -> None:
        # The inherited method allocates the announced size before it looks whether there is so much.
        self.append(self._stream.read_array(int.from_bytes(self.read(8), "little")))

    def load_put(self) -> None:
        # Of larger indices the hashes could be made to collide.
        index = int(self._number_line())
        if not 0 <= index <= _MAX_MEMO:
            raise ValueError("it has a memo index beyond 32 bits")
        self.memo[index] = self.stack[-1]

    def load_get(self) -> None:
        index = int(self._number_line())
        if index not in self.memo:
            raise ValueError("it refers to what it does not hold")
        self.append(self.memo[index])

    def _keys(self, keys: list) -> list:
        for key in keys:
            kind = type(key)
            if kind is not str and not (kind is int and -MAX_NUMBER_KEY < key < MAX_NUMBER_KEY):
                self._budget.check_key(key, (Call, type))
        return keys

    def load_dict(self) -> None:
        items = self.pop_mark()  # pyright: ignore[reportAttributeAccessIssue]
        self.append(dict(zip(self._keys(items[::2]), items[1::2], strict=True)))

    def load_frozenset(self) -> None:
        items = self.pop_mark()  # pyright: ignore[reportAttributeAccessIssue]
        self.append(frozenset(self._keys(items)))

    def load_additems(self) -> None:
        items = self._keys(self.pop_mark())  # pyright: ignore[reportAttributeAccessIssue]
        self._on_top(set).update(items)

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        top = self._on_top(dict, Call)
        (self._keys([key]), top if isinstance(top, dict) else top.items)[1][key] = value

    def load_setitems(self) -> None:
        items = self.pop_mark()  # pyright: ignore[reportAttributeAccessIssue]
        top = self._on_top(dict, Call)
        pairs = zip(self._keys(items[::2]), items[1::2], strict=True)
        (top if isinstance(top, dict) else top.items).update(pairs)

    def load_append(self) -> None:
        value = self.stack.pop()
        top = self._on_top(list, Call)
        (top if isinstance(top, list) else top.values).append(value)

    def load_appends(self) -> None:
        items = self.pop_mark()  # pyright: ignore[reportAttributeAccessIssue]
        top = self._on_top(list, Call)
        (top if isinstance(top, list) else top.values).extend(items)

    def _on_top(self, *kinds: type) -> Any:
        if type(self.stack[-1]) not in kinds and not (Call in kinds and isinstance(self.stack[-1], Call)):
            raise ValueError(f"it adds to {shown(self.stack[-1])}, which holds nothing")
        return self.stack[-1]

    def _call(self, called: object, args: object) -> Call:
        if not (isinstance(called, type) and issubclass(called, Call)):
            raise ValueError(f"it calls {shown(called)}, which is no name")
        if type(args) is not tuple:
            raise ValueError(f"it calls {called.name} with {shown(args)} for arguments")
        return called(args)

    def load_reduce(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self._call(self.stack[-1], args)

    load_newobj = load_reduce

    def load_newobj_ex(self) -> None:
        if self.stack.pop() != {}:
            raise ValueError("it makes an object with named arguments")
        self.load_reduce()

    def load_obj(self) -> None:
        called, *args = self.pop_mark()  # pyright: ignore[reportAttributeAccessIssue]
        self.append(self._call(called, tuple(args)))

    def load_inst(self) -> None:
        module, name = (self.readline()[:-1].decode("ascii") for _ in range(2))
        args = self.pop_mark()  # pyright: ignore[reportAttributeAccessIssue]
        self.append(self._call(self.find_class(module, name), tuple(args)))

    def load_build(self) -> None:
        state, built = self.stack.pop(), self.stack[-1]
        if not isinstance(built, Call):
            raise ValueError(f"it sets a state on {shown(built)}, which has none")
        built.state = state
        follower = self._followers.get(_class_name(built))
        if follower is not None:
            built.attached = follower(built, self._stream)

    def load_buffer(self) -> None:
        raise ValueError("it asks for buffers outside itself")

    dispatch: ClassVar[dict] = {
        **pickle._Unpickler.dispatch,
        pickle.FRAME[0]: load_frame,
        pickle.INT[0]: load_int,
        pickle.LONG[0]: load_long,
        pickle.FLOAT[0]: load_float,
        pickle.LONG4[0]: load_long4,
        pickle.BYTEARRAY8[0]: load_bytearray8,
        pickle.PUT[0]: load_put,
        pickle.GET[0]: load_get,
        pickle.DICT[0]: load_dict,
        pickle.FROZENSET[0]: load_frozenset,
        pickle.ADDITEMS[0]: load_additems,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
        pickle.APPEND[0]: load_append,
        pickle.APPENDS[0]: load_appends,
        pickle.REDUCE[0]: load_reduce,
        pickle.NEWOBJ[0]: load_newobj,
        pickle.NEWOBJ_EX[0]: load_newobj_ex,
        pickle.OBJ[0]: load_obj,
        pickle.INST[0]: load_inst,
        pickle.BUILD[0]: load_build,
        pickle.NEXT_BUFFER[0]: load_buffer,
        pickle.READONLY_BUFFER[0]: load_buffer,
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
