"""The safe unpickler: real formats load, hostile and damaged ones give one sentence and run nothing."""

import collections
import os
import pickle
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from body_models import safe_pickle
from body_models.safe_pickle import BadPickleError, UnsafePickleError
from tests.body_models import smpl_files

HERE = Path(__file__).parent
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def loads(contents, **kwargs):
    return safe_pickle.loads(contents, "some/file.pkl", **kwargs)


def refuse(contents, *words, error=BadPickleError, **kwargs):
    """Asserts that loading fails with one sentence that names the file and has the words; returns it."""
    with pytest.raises(error) as caught:
        loads(contents, **kwargs)
    message = str(caught.value)
    assert message.startswith("some/file.pkl: ")
    assert "\n" not in message
    assert len(message) < 300
    for word in words:
        assert word in message
    return message


def assert_same(actual, expected):
    assert type(actual) is type(expected)
    if isinstance(expected, dict):
        assert list(actual) == list(expected)
        for key in expected:
            assert_same(actual[key], expected[key])
    elif isinstance(expected, list | tuple):
        assert len(actual) == len(expected)
        for a, e in zip(actual, expected, strict=True):
            assert_same(a, e)
    elif isinstance(expected, np.ndarray):
        assert actual.dtype == expected.dtype.newbyteorder("=")
        np.testing.assert_array_equal(actual, expected)
    else:
        assert actual == expected


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_data_and_arrays_of_every_protocol(protocol):
    value = {
        "array": np.arange(24.0).reshape(2, 3, 4),
        "fortran": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
        "permuted": np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2),
        "strided": np.arange(10)[::3],
        "half": np.array([1.5], np.float16),
        "bool": np.array([True, False]),
        "big_endian": np.arange(3, dtype=">i4"),
        "unicode": np.array(["a", "bcd"]),
        "strings": np.array([b"a", b"bcd"]),
        "objects": np.array([1, None, "x", (2, 3)], object),
        "empty": np.zeros((0, 3)),
        "zero_dim": np.array(3.0),
        "scalar": np.float32(0.25),
        "int": 2**80,
        "nested": [(1, 2.5, None, True), {"a": [b"\x00\xff", bytearray(b"xy"), ""]}],
        "sets": {1, 2},
        7: "seven",
    }
    if protocol >= 4:
        value["frozen"] = frozenset({3})
    assert_same(loads(pickle.dumps(value, protocol)), value)


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_a_pickle_that_python_2_wrote(protocol):
    """Files written by Python 2.7.18 with NumPy 1.16.6, SciPy 1.2.3, chumpy 0.69."""
    value = safe_pickle.load(HERE / f"python2_protocol{protocol}.pkl")
    x = np.arange(12.0).reshape(2, 2, 3) / 8
    for key, expected in {
        "ch": x,
        "select": x[:, :, :2],
        "csc": np.diag([1.0, 0, 3]),
        "csr": np.diag([1.0, 0, 3]),
        "coo": np.diag([1.0, 0, 3]),
        "fortran": x[0],
        "uint32": np.array([4294967295, 0], np.uint32),
        "big_endian": np.arange(3, dtype=np.float32),
        "text": "lbs",
        "unicode": "\xe9",
        "raw": "\xff\x00",
        "long": 2**70,
        "scalar": np.float32(2.5),
        "strings": np.array([b"ab", b"c"]),
        "objects": np.array([1, None, "x"], object),
        "ordered": {"b": 1, "a": 2},
        "set": {1, 2},
    }.items():
        assert_same(value[key], expected)
    assert value["expression"].name == "chumpy.ch_ops.add"


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", ["csc", "csr", "coo"])
@pytest.mark.parametrize("suffix", ["matrix", "array"])
def test_scipy_sparse_becomes_dense(protocol, kind, suffix):
    sp = pytest.importorskip("scipy.sparse")
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(5, 7)) * (rng.uniform(size=(5, 7)) < 0.4)
    matrix = getattr(sp, f"{kind}_{suffix}")(dense)
    np.testing.assert_array_equal(loads(pickle.dumps(matrix, protocol)), dense)


def test_arrays_are_writable_and_shared_ones_stay_shared():
    array = np.zeros(3)
    loaded = loads(pickle.dumps([array, array]))
    loaded[0][0] = 1
    assert loaded[1][0] == 1


def test_a_list_that_holds_itself():
    """Whoever makes an array of it, or writes it out, would not come to an end."""
    value = [np.ones(1)]
    value.append(value)
    refuse(pickle.dumps(value), "holds itself")
    inner = {"a": [1]}
    inner["a"].append((inner,))
    refuse(pickle.dumps(inner), "holds itself")


def test_ordered_dict():
    assert loads(pickle.dumps(collections.OrderedDict(b=np.float64(1), a=2))) == {"b": 1.0, "a": 2}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_containers_of_the_collections_module(protocol):
    value = collections.defaultdict(dict, {1: {"a": 2}})
    assert_same(loads(pickle.dumps(value, protocol)), {1: {"a": 2}})
    assert_same(loads(pickle.dumps(collections.deque([1, np.ones(2)], maxlen=5), protocol)), [1, np.ones(2)])
    assert_same(loads(pickle.dumps(collections.deque(["a"]), protocol)), ["a"])


class Raw:
    """Its state is followed in the file by bytes that are no pickle."""

    def __init__(self, size):
        self.size = size


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_a_format_puts_behind_an_object(protocol):
    name = f"{Raw.__module__}.Raw"
    builders = {name: lambda call, resolve: call.attached}
    followers = {name: lambda call, stream: stream.read(call.state["size"])}
    # Framed pickles end a frame before such bytes, short ones have no frame.
    contents = pickle.dumps(Raw(3), protocol)
    assert loads(contents[:-1] + b"...", builders=builders, followers={}) is None
    if protocol < 4:
        assert loads(contents[:-1] + b"raw.", builders=builders, followers=followers) == b"raw"
        refuse(contents[:-1] + b"ra", "truncated", builders=builders, followers=followers)


class Runs:
    """Pickles as a call to any function."""

    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("function", "args", "name"),
    [
        (os.system, ("touch hacked",), "system"),
        (eval, ("open('hacked', 'w')",), "eval"),
        (exec, ("open('hacked', 'w')",), "exec"),
        (getattr, (1.5, "real"), "getattr"),
        (np.load, ("hacked",), "load"),
        (open, ("hacked", "w"), "open"),
        (Path, ("hacked",), "Path"),
        (warnings.warn, ("hacked",), "warn"),
        (np.memmap, ("hacked", "uint8", "w+", 0, (1,)), "memmap"),
    ],
)
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {"v_template": [smpl_files.chumpy(x)]}])
def test_hostile_pickle_names_what_it_asks_for_and_runs_nothing(
    tmp_path, monkeypatch, protocol, function, args, name, wrap
):
    monkeypatch.chdir(tmp_path)
    contents = smpl_files.dumps(wrap(Runs(function, *args)), protocol, python2=False)
    refuse(contents, name, error=UnsafePickleError)
    assert not list(tmp_path.iterdir())


def test_names_are_refused_in_every_way_of_asking():
    refuse(b"cos\nsystem\n.", "os.system", error=UnsafePickleError)
    refuse(b"(S'ls'\nios\nsystem\n.", "os.system", error=UnsafePickleError)
    refuse(b"(cos\nsystem\nS'ls'\no.", "os.system", error=UnsafePickleError)
    refuse(b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "os.system", error=UnsafePickleError)
    # A dotted name would reach attributes of an allowed one.
    refuse(b"\x80\x04\x8c\x05numpy\x8c\x0dndarray.dumps\x93.", "numpy.ndarray.dumps", error=UnsafePickleError)
    refuse(b"\x80\x04\x8c\x05numpy\x8c\x04\nx\x00y\x93.", "numpy", error=UnsafePickleError)
    refuse(b"c" + b"a" * 5000 + b"\nb\n.", "aaa", error=UnsafePickleError)
    refuse(b"\x80\x02X\x01\x00\x00\x00aQ.", "outside itself", error=UnsafePickleError)
    refuse(b"\x80\x02\x82\x01.")


def test_allowed_names_are_not_data_by_themselves():
    refuse(b"cnumpy\nndarray\n.", "numpy.ndarray")
    refuse(b"cnumpy\nndarray\n(I5\ntR.", "numpy.ndarray")
    refuse(b"cnumpy.core.multiarray\n_reconstruct\n)R.", "contents")
    refuse(b"ccopy_reg\n_reconstructor\n(I1\ntR.", "class")


def test_a_class_of_the_pickle_cannot_be_changed_for_later_loads():
    # BUILD on the class itself, with a new __setstate__ for its instances.
    refuse(b"\x80\x02cchumpy.ch\nCh\n}X\x0c\x00\x00\x00__setstate__cchumpy.ch\nCh\nsb.")
    test_arrays_are_writable_and_shared_ones_stay_shared()


def array_pickle(dtype_args, dtype_state, shape, data):
    """An array with any dtype state: NumPy's own `dtype.__setstate__` would take flags that make bytes pointers."""
    dtype = pickle.dumps((dtype_args, dtype_state), 2)[2:-1]
    return (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R("
        + b"K\x01"
        + pickle.dumps(shape, 2)[2:-1]
        + b"cnumpy\ndtype\n"
        + pickle.dumps(dtype_args, 2)[2:-1]
        + b"R"
        + pickle.dumps(dtype_state, 2)[2:-1]
        + b"b\x89"
        + pickle.dumps(data, 3)[2:-1]
        + b"tb."
    ), dtype


@pytest.mark.parametrize(
    ("dtype_args", "dtype_state", "shape", "data"),
    [
        (("V8", False, True), (3, "|", None, ("f",), {"f": (None, 0)}, 8, 1, 0), (1,), b"\x00" * 8),
        (("V8", False, True), (3, "|", None, None, None, 8, 1, 63), (1,), b"\x00" * 8),
        (("O8", False, True), (3, "|", None, None, None, -1, -1, 0), (1,), b"\x41" * 8),
        (("f8", False, True), (3, "<", None, None, None, -1, -1, 0), (2,), b"\x00" * 8),
        (("f8", False, True), (3, "<", None, None, None, -1, -1, 0), (10**12,), b"\x00" * 8),
        (("f8", False, True), (3, "<", None, None, None, -1, -1, 0), (-1,), b"\x00" * 8),
        (("f8", False, True), (3, "<", None, None, None, -1, -1, 0), (0, 10**30), b""),
        (("f8", False, True), (3, "<", None, None, None, -1, -1, 0), (1,), None),
        (("f8", False, True), (3,), (1,), b"\x00" * 8),
        ((3,), None, (1,), b"\x00" * 8),
        (("f8,f8",), None, (1,), b"\x00" * 16),
        (("S999999999",), None, (1,), b"x"),
        (("S0",), None, (10**12,), b""),
    ],
)
def test_crafted_arrays_are_refused(dtype_args, dtype_state, shape, data):
    refuse(array_pickle(dtype_args, dtype_state, shape, data)[0])


def test_size_bombs_are_refused_at_once():
    huge = struct.pack("<Q", 1 << 45)
    refuse(b"\x80\x05\x96" + huge + b".", "truncated")
    refuse(b"\x80\x05\x8e" + huge + b".", "truncated")
    refuse(b"\x80\x04\x95" + huge + b".", "truncated")
    # A memo index of two thousand million, which an array of that length would hold.
    assert loads(b"\x80\x02}r\xff\xff\xff\x7f.") == {}
    state = {"_shape": (10**6, 10**6), "data": np.ones(1), "indices": np.zeros(1, int), "indptr": np.array([0, 1])}
    refuse(smpl_files.dumps(smpl_files._with_attributes(smpl_files.Csc, **state)), "memory")
    # Many arrays out of the same bytes.
    data = np.zeros(1000)
    many = pickle.dumps([[data.copy() for _ in range(3)], data])
    assert loads(many, max_bytes=40_000)
    refuse(many, "memory", max_bytes=30_000)


def test_files_over_the_limit_and_missing_ones(tmp_path):
    file = tmp_path / "big.pkl"
    file.write_bytes(pickle.dumps(b"x" * 1000))
    with pytest.raises(BadPickleError, match=r"big\.pkl: 1\d\d\d bytes are more than the 999"):
        safe_pickle.load(file, max_bytes=999)
    with pytest.raises(BadPickleError, match="cannot be read"):
        safe_pickle.load(tmp_path / "absent.pkl")
    with pytest.raises(BadPickleError, match="cannot be read"):
        safe_pickle.load(tmp_path)


@pytest.mark.parametrize(
    "state",
    [
        {"_shape": (2, 2), "data": np.ones(1), "indices": np.array([5]), "indptr": np.array([0, 1, 1])},
        {"_shape": (2, 2), "data": np.ones(1), "indices": np.array([-1]), "indptr": np.array([0, 1, 1])},
        {"_shape": (2, 2), "data": np.ones(1), "indices": np.array([0]), "indptr": np.array([0, 9, 9])},
        {"_shape": (2, 2), "data": np.ones(1), "indices": np.array([0]), "indptr": np.array([0, 1 << 40, 1 << 40])},
        {"_shape": (2, 2), "data": np.ones(1), "indices": np.array([0]), "indptr": np.array([5, 1, 9])},
        {"_shape": (2, 2), "data": np.ones(1), "indices": np.array([0, 1]), "indptr": np.array([0, 0, 0, 0, 1])},
        {"_shape": (2,), "data": np.ones(1), "indices": np.array([0]), "indptr": np.array([0, 1])},
        {"_shape": (2, 2), "data": np.ones(1), "indices": np.array([0])},
        {},
    ],
)
def test_sparse_matrices_that_do_not_fit(state):
    refuse(smpl_files.dumps(smpl_files._with_attributes(smpl_files.Csc, **state)))


def test_what_is_no_pickle():
    refuse(b"", "empty")
    refuse(b"PK\x03\x04....", "zip archive")
    refuse(b"<!DOCTYPE html><html>sign in</html>", "web page")
    refuse(b"version https://git-lfs.github.com/spec/v1\noid sha256:", "Git LFS")
    refuse(b"joint,x,y,z\n0,1,2,3\n", "not a pickle")
    refuse(b"\x7fELF" + bytes(range(256)), "not a pickle")
    refuse(b"(((((" * 1000, "truncated")
    deep = b"]" * 200_000 + b"a" * 199_999 + b"."
    refuse(deep, "nested too deeply")


SMALL = smpl_files.dumps(smpl_files.official(smpl_files.make_arrays(24, 1)))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_truncated_anywhere(protocol):
    contents = pickle.dumps({"a": np.arange(5.0), "b": [1, "text", 2.5]}, protocol)
    for end in range(1, len(contents)):
        refuse(contents[:end], "truncated")


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(SMALL) - 1), st.integers(0, 255))
def test_any_damaged_byte_loads_or_is_refused(position, byte):
    contents = SMALL[:position] + bytes([byte]) + SMALL[position + 1 :]
    try:
        loads(contents)
    except BadPickleError as error:
        assert "\n" not in str(error)  # noqa: PT017


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_load_or_are_refused(contents):
    try:
        loads(contents)
    except BadPickleError as error:
        assert str(error).startswith("some/file.pkl: ")  # noqa: PT017


def test_more_names_can_be_allowed():
    mixture = smpl_files._with_attributes(smpl_files._class_named("sklearn.mixture.gmm", "GMM"), means_=np.ones((2, 3)))
    contents = smpl_files.dumps({"gmm": mixture})
    refuse(contents, "sklearn.mixture.gmm.GMM", error=UnsafePickleError)
    loaded = loads(contents, builders={"sklearn.mixture.gmm.GMM": safe_pickle.attributes})
    assert_same(loaded["gmm"], {"means_": np.ones((2, 3))})
    refuse(contents, "only read as a name", builders={"sklearn.mixture.gmm.GMM": None})


def test_persistent_ids_can_be_given_a_meaning():
    assert loads(b"\x80\x02X\x01\x00\x00\x00aQ.", persistent_load=lambda pid: {"a": 5}[pid]) == 5
