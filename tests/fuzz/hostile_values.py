"""Values that are small in a pickle and without end in use: nested, repeated, enormous, or holding themselves."""

import random
import struct
from collections.abc import Callable

from tests.fuzz.opcodes import array, call, dict_, get, list_, name, number, put, raw, text, tuple_

# Products of primes, each of which fits 64 bits.
_PRIMES = ((1 << 61) - 1, (1 << 31) - 1, 4294967291, 18446744073709551557, 99999999977)


def _laughs_of_tuples(rng: random.Random) -> bytes:
    """((x, x), (x, x)) and so on: hashing, comparing or writing it out takes 2^n steps."""
    start = rng.choice([b")", b"N", b"K\x07", text("ha")])
    return start + rng.choice([b"2\x86", b"22\x87"]) * rng.randint(28, 90)


def _laughs(rng: random.Random, wrap: Callable[[bytes], bytes]) -> bytes:
    first = rng.randint(1000, 2000)
    levels = range(first, first + rng.randint(28, 60))
    return b"K\x01" + put(first) + b"".join(b"0" + wrap(get(level)) + put(level + 1) for level in levels)


def _laughs_of_lists(rng: random.Random) -> bytes:
    return _laughs(rng, lambda x: list_(x, x))


def _laughs_of_dicts(rng: random.Random) -> bytes:
    return _laughs(rng, lambda x: dict_((text("a"), x), (text("b"), x)))


def _laughs_of_mixed(rng: random.Random) -> bytes:
    return _laughs(rng, lambda x: tuple_(list_(x, x), b"N", x))


def _laughs_in_frozensets(rng: random.Random) -> bytes:
    return b"(" + _laughs_of_tuples(rng) + b"\x91"


def _laughs_of_frozensets(rng: random.Random) -> bytes:
    return _laughs(rng, lambda x: b"(" + tuple_(x, b"K\x01") + tuple_(x, b"K\x02") + b"\x91")


def _deep(rng: random.Random) -> bytes:
    depth = rng.choice([500, 5000, 300_000])
    kind = rng.randint(0, 4)
    if kind == 0:
        return b")" + b"\x85" * depth
    if kind == 1:
        return b"]" * depth + b"a" * (depth - 1)
    if kind == 2:
        return b"}K\x01" * (depth // 2) + b"N" + b"s" * (depth // 2)
    if kind == 3:
        return b"(" * depth + b"N" + b"\x91" * depth
    return name("collections.OrderedDict") * (depth // 50) + b")" + b"\x85R" * (depth // 50)


def _huge_number(rng: random.Random) -> bytes:
    size = rng.choice([200, 3000, 1 << 20])
    ways = [
        b"\x8b" + struct.pack("<i", size) + bytes([255]) * (size - 1) + b"\x7f",
        b"L" + b"9" * min(size, 4000) + b"L\n",
        b"I0x" + b"f" * size + b"\n",
    ]
    return rng.choice(ways)


def _huge_text(rng: random.Random) -> bytes:
    return rng.choice([text("A" * 4_000_000), text("\U0001f600" + "a" * 3_000_000), raw(b"\xff" * 4_000_000)])


def _itself(rng: random.Random) -> bytes:
    """A list or dict that holds itself twice."""
    index = rng.randint(1000, 2000)
    if rng.random() < 0.5:
        return b"]" + put(index) + b"(" + get(index) * 2 + b"e"
    return b"}" + put(index) + b"(" + text("a") + get(index) + text("b") + get(index) + b"u"


def _repeated_text(rng: random.Random) -> bytes:
    """One long text, many times over."""
    return b"](" + text("ab" * 200_000) + b"2" * rng.randint(10_000, 200_000) + b"e"


def _repeated_array(rng: random.Random) -> bytes:
    return b"](" + array(tuple_(number(500_000)), raw(bytes(2_000_000))) + b"2" * rng.randint(5_000, 100_000) + b"e"


def _product_of_primes(rng: random.Random) -> bytes:
    return tuple_(*(number(rng.choice(_PRIMES)) for _ in range(rng.choice([3, 40, 20_000]))))


def _repeated_numbers(rng: random.Random) -> bytes:
    """A long list of one number, each repetition a byte of the file: as a shape, a product of ten million digits."""
    value = rng.choice([0, 1, 2, -1, (1 << 63) - 1, (1 << 127) - 1])
    return b"](" + number(value) + b"2" * rng.choice([100, 30_000, 1_500_000]) + b"e"


def _many_numbers_nested(rng: random.Random) -> bytes:
    inner = b"](" + b"K\x01" + b"2" * 20_000 + b"e"
    return b"](" + inner + b"2" * 20_000 + b"e"


def _chain_of_calls(rng: random.Random) -> bytes:
    depth = rng.choice([200, 20_000])
    kind = rng.choice(["builtins.bytes", "collections.deque", "torch._utils._rebuild_parameter", "builtins.set"])
    return name(kind) * depth + b"]" + b"\x85R" * depth


def _calls_of_one_another(rng: random.Random) -> bytes:
    """A chain of calls in which each takes the one before twice."""
    return _laughs(rng, lambda x: call("collections.OrderedDict", list_(tuple_(x, x))))


def _one_thing_encoded_often(rng: random.Random) -> bytes:
    """Thousands of calls that each copy the same large argument."""
    kind = rng.choice(["_codecs.encode", "builtins.bytearray", "builtins.set", "collections.deque", "builtins.bytes"])
    argument = {"_codecs.encode": text("a" * 2_000_000)}.get(kind, raw(b"a" * 2_000_000))
    if kind in ("builtins.set", "collections.deque"):
        argument = b"](" + b"".join(b"J" + struct.pack("<i", i) for i in range(100_000)) + b"e"
    one = name(kind) + get(77) + (text("latin1") + b"\x86R" if kind == "_codecs.encode" else b"\x85R")
    return argument + put(77) + b"0](" + one * rng.randint(3000, 20_000) + b"e"


def _infinite(rng: random.Random) -> bytes:
    return rng.choice([b"G\x7f\xf0" + bytes(6), b"G\x7f\xf8" + bytes(6), b"Finf\n", b"F-inf\n", b"Fnan\n", b"F1e308\n"])


def _nested_arrays_of_objects(rng: random.Random) -> bytes:
    kind = call("numpy.dtype", text("O8"), b"\x89", b"\x88")
    return _laughs(rng, lambda x: array(tuple_(number(2)), list_(x, x), kind))


VALUES = {
    "tuples of tuples": _laughs_of_tuples,
    "lists of lists": _laughs_of_lists,
    "dicts of dicts": _laughs_of_dicts,
    "mixed nesting": _laughs_of_mixed,
    "tuples in a frozenset": _laughs_in_frozensets,
    "frozensets of frozensets": _laughs_of_frozensets,
    "arrays of arrays": _nested_arrays_of_objects,
    "deep nesting": _deep,
    "huge number": _huge_number,
    "huge text": _huge_text,
    "holds itself": _itself,
    "repeated text": _repeated_text,
    "repeated array": _repeated_array,
    "product of primes": _product_of_primes,
    "repeated number": _repeated_numbers,
    "nested numbers": _many_numbers_nested,
    "chain of calls": _chain_of_calls,
    "calls of calls": _calls_of_one_another,
    "copied often": _one_thing_encoded_often,
    "infinite": _infinite,
}
