"""Pieces of pickles, written by hand: each function gives the bytes that leave one value on the unpickler's stack."""

import pickle
import struct


def file(body: bytes, protocol: int = 4) -> bytes:
    """A whole pickle around what leaves one value."""
    return b"\x80" + bytes([protocol]) + body + b"."


def text(value: str) -> bytes:
    encoded = value.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def raw(value: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(value)) + value


def number(value: int) -> bytes:
    encoded = pickle.encode_long(value)
    if len(encoded) < 256:
        return b"\x8a" + bytes([len(encoded)]) + encoded
    return b"\x8b" + struct.pack("<i", len(encoded)) + encoded


def tuple_(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def list_(*parts: bytes) -> bytes:
    return b"](" + b"".join(parts) + b"e"


def dict_(*pairs: tuple[bytes, bytes]) -> bytes:
    return b"}(" + b"".join(key + value for key, value in pairs) + b"u"


def put(index: int) -> bytes:
    return b"r" + struct.pack("<I", index)


def get(index: int) -> bytes:
    return b"j" + struct.pack("<I", index)


def name(full: str) -> bytes:
    module, _, own = full.rpartition(".")
    return f"c{module}\n{own}\n".encode()


def call(full: str, *args: bytes) -> bytes:
    return name(full) + tuple_(*args) + b"R"


def built(full: str, state: bytes, *args: bytes) -> bytes:
    """An object with a state; without arguments made as Python 3 makes objects."""
    return name(full) + tuple_(*args) + b"\x81" + state + b"b"


DTYPE_STATE = tuple_(b"K\x03", text("<"), b"N", b"N", b"N", number(-1), number(-1), b"K\x00")


def dtype(code: bytes, state: bytes = DTYPE_STATE) -> bytes:
    return call("numpy.dtype", code, b"\x89", b"\x88") + state + b"b"


def array(shape: bytes, data: bytes, kind: bytes | None = None, order: bytes = b"\x89") -> bytes:
    """An array as NumPy pickles it: the parts of its state are any values."""
    start = call("numpy.core.multiarray._reconstruct", name("numpy.ndarray"), tuple_(b"K\x00"), raw(b"b"))
    return start + tuple_(b"K\x01", shape, dtype(text("f4")) if kind is None else kind, order, data) + b"b"


def wrapper(shape: bytes, kind: bytes, order: bytes, alignment: bytes = b"N") -> bytes:
    """What joblib writes before the bytes of an array."""
    state = dict_(
        (text("subclass"), name("numpy.ndarray")),
        (text("shape"), shape),
        (text("order"), order),
        (text("dtype"), kind),
        (text("allow_mmap"), b"\x88"),
        (text("numpy_array_alignment_bytes"), alignment),
    )
    return built("joblib.numpy_pickle.NumpyArrayWrapper", state)
