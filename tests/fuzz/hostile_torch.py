"""Hostile checkpoints of torch and files of joblib."""

import random
import struct
import zlib
from collections.abc import Callable

from tests.fuzz import bombs
from tests.fuzz.cases import Case
from tests.fuzz.hostile_values import VALUES
from tests.fuzz.opcodes import call, dict_, file, get, list_, name, number, put, raw, text, tuple_, wrapper
from tests.fuzz.opcodes import dtype as dtype_
from tests.fuzz.zips import Entry, archive

_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
# A layer of VPoser, the poses of GVHMR and those of anybody: what some reader asks for.
_WANTED = ("vp_model.decoder_net.0.weight", "poses", "K_fullimg")


def _checkpoint(value: bytes, entries: dict[str, bytes] | None = None) -> bytes:
    contents = dict_(*((text(key), value) for key in _WANTED), (text("state_dict"), dict_((text(_WANTED[0]), value))))
    files = {
        "data.pkl": file(contents, 2),
        "version": b"3\n",
        **({"data/0": bytes(16)} if entries is None else entries),
    }
    return archive([Entry(f"archive/{key}".encode(), data) for key, data in files.items()])


def _storage(key: bytes | None = None, count: bytes | None = None, kind: bytes | None = None) -> bytes:
    kind = name("torch.FloatStorage") if kind is None else kind
    return tuple_(text("storage"), kind, text("0") if key is None else key, text("cpu"), count or number(4)) + b"Q"


def _tensor(storage: bytes, offset: bytes, size: bytes, stride: bytes) -> bytes:
    return call(
        "torch._utils._rebuild_tensor_v2", storage, offset, size, stride, b"\x89", call("collections.OrderedDict")
    )


def _ints(*values: int) -> bytes:
    return tuple_(*map(number, values))


def _strides(rng: random.Random) -> bytes:
    size, stride = rng.choice(
        [
            ((10**9,), (0,)),
            ((60_000, 60_000), (0, 0)),
            ((1 << 40,), (0,)),
            ((1 << 62, 1 << 62), (0, 0)),
            ((1 << 62, 4), (0, 0)),
            ((2, 2), (1 << 62, 1 << 62)),
            ((0, 1 << 62), (1, 1)),
            ((1 << 40, 0), (1, 1)),
            ((-1, -1), (1, 1)),
            ((4,), (-1,)),
            ((2,) * 70, (0,) * 70),
            ((1,) * 50_000, (0,) * 50_000),
            (((1 << 61) - 1,) * 30_000, (0,) * 30_000),
            ((4,), (1, 1)),
        ]
    )
    return _checkpoint(_tensor(_storage(), number(rng.choice([0, 0, 3, -1, 1 << 70])), _ints(*size), _ints(*stride)))


def _value_in_a_tensor(rng: random.Random) -> bytes:
    value = VALUES[rng.choice(list(VALUES))](rng)
    place = rng.randrange(8)
    parts = [number(0), _ints(4), _ints(1)]
    if place < 3:
        parts[place] = value
        return _checkpoint(_tensor(_storage(), *parts))
    if place < 6:
        storage = [_storage(key=value), _storage(count=value), _storage(kind=value)][place - 3]
        return _checkpoint(_tensor(storage, *parts))
    return _checkpoint(value if place == 6 else value + b"Q")


def _one_storage_often(rng: random.Random) -> bytes:
    """A hundred thousand tensors out of one large storage."""
    one = _tensor(_storage(count=number(4_000_000)) + put(9), number(0), _ints(1), _ints(1))
    again = _tensor(get(9), number(0), _ints(1), _ints(1)) if rng.random() < 0.5 else one
    return _checkpoint(list_(one, *[again] * 20_000), {"data/0": bytes(16_000_000)})


def _archive_bomb(rng: random.Random) -> bytes:
    size = 900_000_000
    packed, crc = bombs.deflate(b"", size), bombs.crc(b"", size)
    tensor = _tensor(_storage(count=number(size // 4)), number(0), _ints(size // 4), _ints(1))
    contents = dict_(*((text(key), tensor) for key in _WANTED))
    pickled = Entry(b"archive/data.pkl", file(contents, 2))
    where = rng.choice([b"archive/data/0", b"archive/byteorder"])
    return archive([pickled, Entry(where, packed, 8, size, None, crc)])


def _pickle_bomb(rng: random.Random) -> bytes:
    size = rng.choice([60 << 20, 900 << 20])
    start = b"\x80\x02N" + rng.choice([b"2", b"\x8f", b"]", b"("]) * 1_500_000
    packed = bombs.deflate(start, size)
    return archive([Entry(b"archive/data.pkl", packed, 8, rng.choice([size, 10]), None, bombs.crc(start, size))])


def _legacy_tensors(rng: random.Random) -> bytes:
    """Tensors of ordinary pickles, whose storage is a sequence of pickles in bytes."""
    value = VALUES[rng.choice(list(VALUES))](rng)
    inner = rng.choice(
        [
            _LEGACY + file(value, 2),
            _LEGACY + file(b"M\xe9\x03", 2) + file(value, 2) + file(_storage(), 2) + file(list_(text("0")), 2),
            _LEGACY + file(b"N", 2) + file(b"N", 2) + file(_storage(key=value), 2) + file(value, 2),
            _LEGACY + file(b"N", 2) + file(b"N", 2) + file(_storage(), 2) + file(list_(text("0")), 2) + bytes(24),
        ]
    )
    storage = call("torch.storage._load_from_bytes", raw(inner))
    many = rng.choice([1, 30_000])
    tensor = _tensor(storage + put(9), number(0), _ints(*rng.choice([(4,), (1 << 33,)])), _ints(0))
    more = _tensor(call("torch.storage._load_from_bytes", get(10)), number(0), _ints(1), _ints(1))
    body = raw(inner) + put(10) + b"0" + list_(tensor, *[more] * many)
    return file(dict_((text("poses"), body), (text("means"), body), (text("v_template"), body)), 2)


def _entries(rng: random.Random) -> bytes:
    pickled = file(dict_((text("poses"), _tensor(_storage(), number(0), _ints(4), _ints(1)))), 2)
    one = Entry(b"archive/data.pkl", pickled)
    return rng.choice(
        [
            archive([one, Entry(b"b/data.pkl", pickled)]),
            archive([one, one]),
            archive([one, Entry(b"archive/byteorder", b"big" * 3_000_000)]),
            archive([one, *(Entry(b"archive/data/%d" % k, b"") for k in range(3000))]),
            archive([one, Entry(b"archive/data/0", bytes(3))]),
            archive([one]),
            archive([one, Entry(b"archive/data/0", bytes(16), size=1 << 31)]),
        ]
    )


def _squeezed_bomb(rng: random.Random) -> bytes:
    squeeze = rng.choice(list(bombs.SQUEEZES))
    size = rng.choice([300, 1200]) << 20
    floats = size // 4 - 1000
    starts = [
        b"",
        b"\x80\x04",
        b"\x80\x02N" + b"\x8f" * 2_000_000,
        b"\x80\x04\x8e" + struct.pack("<Q", size - 100),
        b"\x80\x04\x95" + struct.pack("<Q", size - 100),
        b"\x80\x02c",
        file(dict_((text("poses"), wrapper(_ints(floats), dtype_(text("f4")), text("C")))), 2)[:-2],
    ]
    return bombs.SQUEEZES[squeeze](rng.choice(starts), size)


def _squeezed_twice(rng: random.Random) -> bytes:
    inner = bombs.zlib_(b"\x80\x02", 200 << 20)
    return rng.choice([zlib.compress(inner), bombs.gzip_(inner, len(inner)), bombs.xz(inner, len(inner))])


def _joblib_arrays(rng: random.Random) -> bytes:
    value = VALUES[rng.choice(list(VALUES))](rng)
    parts = {
        "shape": _ints(*rng.choice([(1 << 40,), (-5,), (1 << 62, 4), (0, 1 << 62), (1,) * 5000])),
        "kind": dtype_(text(rng.choice(["f4", "O8", "S0", "U1000000000", "V8"]))),
        "order": text(rng.choice(["C", "F", "Q", "K"])),
        "alignment": number(rng.choice([16, -1, 255, 1 << 40])),
    }
    if rng.random() < 0.6:
        parts[rng.choice(list(parts))] = value
    body = wrapper(**parts)
    behind = rng.choice(
        [bytes(64), b"", file(value, 2), file(wrapper(_ints(1), dtype_(text("O8")), text("C")), 2) * 400]
    )
    return file(dict_((text("poses"), body + behind)), 2)


def _joblib_nested(rng: random.Random) -> bytes:
    """Arrays of objects whose objects are arrays of objects, hundreds deep."""
    one = b"\x80\x02" + wrapper(_ints(1), dtype_(text("O8")), text("C"))
    return one * rng.choice([50, 3000]) + b"N."


KINDS: dict[str, tuple[Callable[[random.Random], bytes], str, tuple[str, ...]]] = {
    "torch strides": (_strides, ".pt", ("vposer", "poses")),
    "torch values": (_value_in_a_tensor, ".pt", ("vposer", "poses")),
    "torch storage often": (_one_storage_often, ".pt", ("vposer", "poses")),
    "torch bomb": (_archive_bomb, ".pt", ("vposer", "poses")),
    "torch pickle bomb": (_pickle_bomb, ".pt", ("vposer", "poses")),
    "torch entries": (_entries, ".pt", ("vposer", "poses")),
    "torch legacy": (_legacy_tensors, ".pkl", ("poses", "vposer")),
    "joblib bomb": (_squeezed_bomb, ".pkl", ("poses", "body", "mixture")),
    "joblib twice": (_squeezed_twice, ".pkl", ("poses",)),
    "joblib arrays": (_joblib_arrays, ".pkl", ("poses",)),
    "joblib nested": (_joblib_nested, ".pkl", ("poses",)),
}


NAMES = list(KINDS)


def make(kind: str, rng: random.Random) -> Case:
    build, suffix, readers = KINDS[kind]
    return Case(kind, "", build(rng), suffix, readers)
