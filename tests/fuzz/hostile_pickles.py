"""Hostile pickles: every hostile value in every place of what is read, and attacks on the unpickler itself."""

import pickle
import random
import struct
from collections.abc import Callable

import numpy as np

from tests.fuzz.cases import Case
from tests.fuzz.hostile_values import VALUES
from tests.fuzz.opcodes import (
    array,
    built,
    call,
    dict_,
    dtype,
    file,
    get,
    list_,
    name,
    number,
    put,
    raw,
    text,
    tuple_,
)  # fmt: skip

READERS = ("body", "mixture", "poses")
Value = Callable[[bytes], bytes]
_SPARSE = {"_shape": np.array([2, 2]), "data": np.ones(1), "indices": np.zeros(1, int), "indptr": np.array([0, 1, 1])}


def _plain(value: object) -> bytes:
    """What leaves an ordinary value on the stack."""
    return pickle.dumps(value, 2)[2:-1]


def _sparse(key: str) -> Value:
    def place(value: bytes) -> bytes:
        parts = [(text(k), value if k == key else _plain(tuple(v) if k == "_shape" else v)) for k, v in _SPARSE.items()]
        return built("scipy.sparse.csc.csc_matrix", dict_(*parts))

    return place


def _chumpy(kind: str, key: str) -> Value:
    def place(value: bytes) -> bytes:
        source = built("chumpy.ch.Ch", dict_((text("x"), _plain(np.ones((2, 3))))))
        return built(f"chumpy.{kind}", dict_((text("x"), source), (text("a"), source), (text(key), value)))

    return place


_SOME = raw(bytes(8))
_TWO = tuple_(b"K\x02")
PLACES: dict[str, Value] = {
    "root": lambda v: v,
    "list": lambda v: list_(b"K\x01", v),
    "pose of VIBE": lambda v: dict_((b"K\x01", dict_((text("pose"), v), (text("frame_ids"), list_(b"K\x00"))))),
    "frames of VIBE": lambda v: dict_((b"K\x01", dict_((text("pose"), _plain(np.zeros((1, 72)))), (text("frame_ids"), v)))),
    "poses": lambda v: dict_((text("poses"), v)),
    "betas": lambda v: dict_((text("poses"), _plain(np.zeros((2, 72)))), (text("betas"), v)),
    "method": lambda v: dict_((text("poses"), _plain(np.zeros((2, 72)))), (text("method"), v)),
    "means": lambda v: dict_((text("means"), v), (text("covars"), v), (text("weights"), v)),
    "kintree_table": lambda v: dict_(*((text(k), v) for k in ("kintree_table", "v_template", "f", "J_regressor",
                                                               "shapedirs", "posedirs", "weights"))),
    "key": lambda v: dict_((v, b"N")),
    "key of an OrderedDict": lambda v: name("collections.OrderedDict") + b")R(" + v + b"Nu",
    "member of a set": lambda v: b"\x8f(" + v + b"\x90",
    "member of a frozenset": lambda v: b"(" + v + b"\x91",
    "set": lambda v: call("builtins.set", list_(v)),
    "set's argument": lambda v: call("builtins.set", v),
    "OrderedDict's argument": lambda v: call("collections.OrderedDict", v),
    "deque's argument": lambda v: call("collections.deque", v),
    "encoding": lambda v: call("_codecs.encode", text("x"), v),
    "encoded": lambda v: call("_codecs.encode", v, text("latin1")),
    "bytes": lambda v: call("builtins.bytes", v),
    "name's arguments": lambda v: name("chumpy.ch.Ch") + v + b"R",
    "new object's arguments": lambda v: name("chumpy.ch.Ch") + v + b"\x81",
    "class": lambda v: call("copyreg._reconstructor", v, name("builtins.object"), b"N"),
    "state": lambda v: built("chumpy.ch.Ch", v),
    "shape": lambda v: array(v, _SOME),
    "shape of bytes": lambda v: call("numpy._core.numeric._frombuffer", _SOME, dtype(text("f4")), v, text("C")),
    "axes of bytes": lambda v: call("numpy._core.numeric._frombuffer", _SOME, dtype(text("f4")), _TWO, text("K"), v),
    "data": lambda v: array(_TWO, v),
    "order": lambda v: array(_TWO, _SOME, order=v),
    "type": lambda v: array(_TWO, _SOME, dtype(v)),
    "type's state": lambda v: array(_TWO, _SOME, dtype(text("f4"), v)),
    "type of an array": lambda v: array(_TWO, _SOME, v),
    "array of objects": lambda v: array(tuple_(b"K\x01"), list_(v), call("numpy.dtype", text("O8"))),
    "state of an array": lambda v: (
        call("numpy.core.multiarray._reconstruct", name("numpy.ndarray"), _TWO, raw(b"b")) + v + b"b"
    ),
    "scalar": lambda v: call("numpy.core.multiarray.scalar", dtype(text("f8")), v),
    "type of a scalar": lambda v: call("numpy.core.multiarray.scalar", v, _SOME),
    "byte order": lambda v: array(_TWO, _SOME, dtype(text("f4"), tuple_(b"K\x03", v, b"N", b"N", b"N"))),
    "fields": lambda v: array(_TWO, _SOME, dtype(text("V8"), tuple_(b"K\x03", text("<"), b"N", v, v))),
    **{f"{key} of a sparse matrix": _sparse(key) for key in _SPARSE},
    "x of chumpy": _chumpy("ch.Ch", "x"),
    "idxs of chumpy": _chumpy("reordering.Select", "idxs"),
    "preferred_shape of chumpy": lambda v: built("chumpy.reordering.Select", dict_(
        (text("a"), _plain(np.ones(4))), (text("idxs"), _plain(np.arange(4))), (text("preferred_shape"), v))),
    "newshape of chumpy": _chumpy("reordering.Reshape", "newshape"),
    "axes of chumpy": _chumpy("reordering.transpose", "axes"),
    "persistent id": lambda v: v + b"Q",
    "index": lambda v: list_(b"N", b"N") + v + b"Ns",
    "appended": lambda v: name("collections.deque") + b")R(" + v + b"e",
}  # fmt: skip


def _colliding_keys(rng: random.Random) -> bytes:
    """Numbers whose hashes are all the same: a dict of them takes the square of their count."""
    return dict_(*((number((k + 1) * ((1 << 61) - 1)), b"N") for k in range(100_000)))


def _colliding_members(rng: random.Random) -> bytes:
    return b"\x8f(" + b"".join(number((k + 1) * ((1 << 61) - 1)) for k in range(100_000)) + b"\x90"


def _colliding_indices(rng: random.Random) -> bytes:
    return b"N" + b"".join(b"p%d\n" % ((k + 1) * ((1 << 61) - 1)) for k in range(100_000))


def _colliding_tuples(rng: random.Random) -> bytes:
    """Pairs (a, b) with b made so that CPython's hash of every pair is the same."""
    first, second, mask = 11400714785074694791, 14029467366897019727, (1 << 64) - 1
    inverse = pow(second, -1, 1 << 64)
    keys, a = [], 0
    while len(keys) < 30_000:
        a += 1
        lane = (2870177450012600261 + a * second) & mask
        lane = (((lane << 31) | (lane >> 33)) * first) & mask
        b = ((12345 - lane) * inverse) & mask
        b -= 1 << 64 if b >> 63 else 0
        if abs(b) < (1 << 61) - 1 and b != -1:
            keys.append(tuple_(number(a), number(b)))
    return dict_(*((key, b"N") for key in keys))


def _flood(rng: random.Random) -> bytes:
    """Millions of instructions that each make something of a hundred bytes."""
    one = rng.choice([b"\x8f", b"}", b"]", b"(", b")", b"N\x94", b"2", b"K\x010", b"\x8f0", b"G" + bytes(8)])
    return b"N" + one * rng.choice([300_000, 3_000_000])


def _new_names(rng: random.Random) -> bytes:
    """A class for every name that is asked for."""
    return list_(*(name(f"chumpy.a{k}.b{k}") for k in range(100_000)))


def _long_names(rng: random.Random) -> bytes:
    return text("chumpy." + "a" * 1_000_000) + put(5) + text("b") + put(6) + (get(5) + get(6) + b"\x930") * 5000 + b"N"


def _long_arguments(rng: random.Random) -> bytes:
    """The same million arguments for each of thousands of calls."""
    how = rng.choice([b"R", b"\x81"])
    arguments = b"(" + b"N" * 1_000_000 + b"t" + put(5)
    return arguments + b"0" + name("chumpy.ch.Ch") + put(6) + b"](" + (get(6) + get(5) + how) * 5000 + b"e"


def _memo(rng: random.Random) -> bytes:
    return b"}" + put(rng.choice([0xFFFFFFFF, 0x7FFFFFFF])) + b"p%d\n" % rng.choice([1 << 40, 10**3000, 5])


def _lying_lengths(rng: random.Random) -> bytes:
    size = rng.choice([1 << 31, 1 << 33, 1 << 40, (1 << 63) - 1])
    return (
        rng.choice(
            [
                b"\x95" + struct.pack("<Q", size),
                b"\x8e" + struct.pack("<Q", size),
                b"\x96" + struct.pack("<Q", size),
                b"\x8d" + struct.pack("<Q", size),
                b"B\xff\xff\xff\xff",
                b"X\xff\xff\xff\xff",
                b"\x8b\xff\xff\xff\x7f",
                b"\x8b\xff\xff\xff\xff",
                b"T\xff\xff\xff\xff",
            ]
        )
        + b"abc"
    )


def _out_of_band(rng: random.Random) -> bytes:
    return rng.choice([b"\x97", b"\x97\x98", raw(b"ab") + b"\x98", b"N\x98", b"\x82\x01", b"\x84\xff\xff\xff\x7f"])


def _changed_storage(rng: random.Random) -> bytes:
    """A state set on something that is no recorded call."""
    target = rng.choice([name("chumpy.ch.Ch"), b"N", b"]", b"}", text("a"), raw(b"a"), name("numpy.ndarray")])
    return target + dict_((text("__setstate__"), name("chumpy.ch.Ch")), (text("name"), b"N")) + b"b"


def _one_array_made_sparse_often(rng: random.Random) -> bytes:
    """Thousands of matrices of the same large parts."""
    count = 200_000
    parts = {"data": np.ones(count), "indices": np.zeros(count, int), "indptr": np.array([0, count, count])}
    state = dict_((text("_shape"), tuple_(b"K\x02", b"K\x02")), *((text(k), _plain(v)) for k, v in parts.items()))
    one = name("scipy.sparse.csc.csc_matrix") + b")\x81" + get(5) + b"b"
    return state + put(5) + b"0](" + one * 5000 + b"e"


def _one_array_selected_often(rng: random.Random) -> bytes:
    state = dict_((text("a"), _plain(np.ones(3))), (text("idxs"), _plain(np.zeros(300_000, int))))
    one = name("chumpy.reordering.Select") + b")\x81" + get(5) + b"b"
    return state + put(5) + b"0](" + one * 5000 + b"e"


def _large_sparse(rng: random.Random) -> bytes:
    shape = rng.choice([(10**6, 10**6), (1 << 62, 4), (60_000, 5_000)])
    return _sparse("_shape")(tuple_(*map(number, shape)))


def _random_instructions(rng: random.Random) -> bytes:
    codes = b"()]}NK012abeostuRq\x85\x86\x87\x8f\x90\x91\x93\x94\x81\x82\x88\x89c\x8c\x8aGhjrp"
    return bytes(rng.choice(codes) for _ in range(rng.randint(5, 400)))


ATTACKS: dict[str, Callable[[random.Random], bytes]] = {
    "colliding keys": _colliding_keys,
    "colliding members": _colliding_members,
    "colliding indices": _colliding_indices,
    "colliding tuples": _colliding_tuples,
    "flood": _flood,
    "new names": _new_names,
    "long names": _long_names,
    "long arguments": _long_arguments,
    "memo": _memo,
    "lying lengths": _lying_lengths,
    "out of band": _out_of_band,
    "changed state": _changed_storage,
    "made sparse often": _one_array_made_sparse_often,
    "selected often": _one_array_selected_often,
    "large sparse": _large_sparse,
    "random instructions": _random_instructions,
}


NAMES = [*VALUES, *ATTACKS]


def make(kind: str, rng: random.Random) -> Case:
    place = rng.choice(list(PLACES)) if kind in VALUES else ""
    body = PLACES[place](VALUES[kind](rng)) if kind in VALUES else ATTACKS[kind](rng)
    return Case(kind, place, file(body, rng.choice([2, 4])), ".pkl", READERS)
