"""Small pickles that ask for hours and gigabytes are refused at once; what they share with real files is still read."""

import pickle
import struct
import time
import tracemalloc

import numpy as np
import pytest

from body_models import budget, safe_pickle
from body_models.budget import Budget, TooMuchError
from body_models.safe_pickle import BadPickleError
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

# Of the processor; each takes far less, and hung or took gigabytes before there were budgets.
SECONDS = 5
MEGABYTES = 400
LAUGHS = b")" + b"2\x86" * 45


def refuse(contents, *words, **kwargs):
    start = time.process_time()
    with pytest.raises(BadPickleError) as caught:
        safe_pickle.loads(contents, "some/file.pkl", **kwargs)
    assert time.process_time() - start < SECONDS
    message = str(caught.value)
    assert message.startswith("some/file.pkl: ")
    assert "\n" not in message and len(message) < 300
    for word in words:
        assert word in message, message


class TestNestedValues:
    """((x, x), (x, x)) forty times over: hashing, comparing or writing it out has no end."""

    @pytest.mark.parametrize(
        "place",
        [
            lambda x: dict_((x, b"N")),
            lambda x: b"}" + x + b"Ns",
            lambda x: b"(" + x + b"Nd",
            lambda x: b"\x8f(" + x + b"\x90",
            lambda x: b"(" + x + b"\x91",
            lambda x: call("builtins.set", list_(x)),
            lambda x: call("builtins.frozenset", list_(x)),
            lambda x: call("collections.OrderedDict", list_(tuple_(x, b"N"))),
            lambda x: name("collections.OrderedDict") + b")R" + x + b"Ns",
        ],
        ids=["dict", "item", "old dict", "set", "frozenset", "set()", "frozenset()", "OrderedDict()", "OrderedDict"],
    )
    def test_as_a_key(self, place):
        refuse(file(place(LAUGHS)), "a key of more than 32 parts")

    @pytest.mark.parametrize(
        ("place", "words"),
        [
            (lambda x: call("_codecs.encode", text("x"), x), "encodes text as a tuple of 2"),
            (lambda x: array(tuple_(b"K\x02"), raw(bytes(8)), dtype(x)), "of type a tuple of 2"),
            (lambda x: array(tuple_(b"K\x02"), raw(bytes(8)), dtype(text("f4"), x)), "type with parts"),
            (lambda x: array(x, raw(bytes(8))), "length a tuple of 2"),
            (lambda x: array(tuple_(b"K\x02"), x), "are a tuple of 2, not bytes"),
            (lambda x: call("numpy.core.multiarray.scalar", x, raw(bytes(8))), "for a type"),
            (lambda x: x + b"s", ""),
            (lambda x: dict_((text("pose"), x)), "without end"),
            (lambda x: call("collections.deque", list_(x)), "without end"),
        ],
        ids=["encoding", "type", "state", "shape", "data", "scalar", "index", "value", "deque"],
    )
    def test_as_a_part(self, place, words):
        refuse(file(place(LAUGHS)), words)

    @pytest.mark.parametrize(
        "wrap",
        [
            lambda x: list_(x, x),
            lambda x: dict_((text("a"), x), (text("b"), x)),
            lambda x: tuple_(list_(x), x),
            lambda x: array(tuple_(b"K\x02"), list_(x, x), call("numpy.dtype", text("O8"))),
        ],
        ids=["lists", "dicts", "mixed", "arrays"],
    )
    def test_of_other_containers(self, wrap):
        nested = b"K\x01" + put(0) + b"".join(b"0" + wrap(get(i)) + put(i + 1) for i in range(40))
        refuse(file(nested), "without end")

    def test_long_text_and_arrays_many_times_over(self):
        refuse(file(b"](" + text("a" * 100_000) + b"2" * 3000 + b"e"), "without end")
        refuse(file(b"](" + array(tuple_(number(100_000)), raw(bytes(400_000))) + b"2" * 3000 + b"e"), "without end")

    def test_sharing_as_in_real_files_is_read(self):
        shared = np.ones(3)
        value = [{"camera": shared, "size": (1, 2)} for _ in range(1000)]
        assert safe_pickle.loads(pickle.dumps(value), "file")[999]["camera"][2] == 1

    def test_deep(self):
        refuse(file(b")" + b"\x85" * 200_000), "nested too deeply")
        chain = b"]" + put(0) + b"".join(b"0](" + get(i) + b"e" + put(i + 1) for i in range(300))
        # Each is in a list of all, so that none is looked at deep down.
        flat = list_(*(get(i) for i in range(300)))
        refuse(file(chain + b"0" + flat), "nested too deeply")
        value: list = [1.0]
        for _ in range(90):
            value = [value]
        assert safe_pickle.loads(pickle.dumps(value), "file") == value


class TestCollidingHashes:
    """A dict of keys whose hashes are all the same takes the square of their number."""

    def test_numbers(self):
        keys = [number((k + 1) * ((1 << 61) - 1)) for k in range(60_000)]
        refuse(file(dict_(*((key, b"N") for key in keys))), "as a key")
        refuse(file(b"\x8f(" + b"".join(keys) + b"\x90"), "as a key")
        numbers = {-5: 1, 0: 2, (1 << 61) - 2: 3, 1.5: 4, None: 5, True: 6, b"x": 7, np.int64(4): 8, np.str_("t"): 9}
        assert safe_pickle.loads(pickle.dumps(numbers), "file") == numbers

    def test_indices_of_the_memo(self):
        refuse(
            b"\x80\x02N" + b"".join(b"p%d\n" % ((k + 1) * ((1 << 61) - 1)) for k in range(60_000)) + b".", "memo index"
        )

    def test_tuples(self):
        refuse(file(dict_(*((tuple_(number(k), number(k)), b"N") for k in range(1001)))), "more than 1000 keys")
        few = {(k, "left", np.int64(k)): k for k in range(900)}
        assert safe_pickle.loads(pickle.dumps(few), "file") == few
        refuse(pickle.dumps({("a", frozenset({1})): 2}), "a frozenset as a key")

    def test_complex_numbers(self):
        refuse(pickle.dumps({np.complex128(1j): 2}), "as a key")


class TestShapes:
    def test_products_of_primes_and_long_lists(self):
        prime = number((1 << 61) - 1)
        refuse(file(array(tuple_(*[prime] * 30_000), raw(b""))), "30000 axes")
        refuse(file(array(b"](" + number((1 << 63) - 1) + b"2" * 1_000_000 + b"e", raw(bytes(4)))), "axes")
        refuse(file(array(tuple_(*map(number, (1 << 40, 1 << 40))), raw(b""))), "larger than anything")
        refuse(file(array(tuple_(b"K\x00", number(1 << 40)), raw(b""))), "larger than anything")
        refuse(file(array(tuple_(b"\x88"), raw(bytes(4)))), "whole numbers")


class TestFloods:
    @pytest.mark.parametrize("one", [b"\x8f", b"}", b"]", b"(", b"N\x94", b"2", b"N0"], ids=repr)
    def test_more_instructions_than_the_file_may_have(self, monkeypatch, one):
        monkeypatch.setattr(budget, "BASE_STEPS", 50_000)
        refuse(file(b"N" + one * 150_000), "instructions")

    def test_millions_of_sets(self):
        refuse(file(b"N" + b"\x8f" * 2_500_000), "instructions")

    def test_names(self):
        refuse(file(list_(*(name(f"chumpy.a{k}.b") for k in range(5000)))), "1000 functions and classes")
        long = text("chumpy." + "a" * 1_000_000) + put(5) + text("b") + put(6) + (get(5) + get(6) + b"\x930") * 5000
        refuse(file(long + b"N"), "chumpy.aaa", "could run code")

    @pytest.mark.parametrize("how", [b"R", b"\x81"])
    def test_long_arguments_again_and_again(self, how):
        arguments = b"(" + b"N" * 300_000 + b"t" + put(5) + b"0" + name("builtins.bytes") + put(6)
        contents = file(arguments + b"](" + (get(6) + get(5) + how) * 20_000 + b"e")
        tracemalloc.start()
        refuse(contents, "")
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < MEGABYTES << 20

    def test_one_large_argument_again_and_again(self):
        large = text("a" * 1_000_000) + put(5) + b"0]("
        encoded = name("_codecs.encode") + get(5) + text("latin1") + b"\x86R"
        refuse(file(large + encoded * 2000 + b"e"), "memory")
        listed = b"](" + b"N" * 100_000 + b"e" + put(5) + b"0]("
        refuse(file(listed + (name("collections.deque") + get(5) + b"\x85R") * 2000 + b"e"), "instructions")
        parts = {"data": np.ones(100_000), "indices": np.zeros(100_000, int), "indptr": np.array([0, 100_000])}
        state = dict_((text("_shape"), tuple_(b"K\x01", b"K\x01")), *((text(k), _plain(v)) for k, v in parts.items()))
        one = name("scipy.sparse.csc.csc_matrix") + b")\x81" + get(5) + b"b"
        refuse(file(state + put(5) + b"0](" + one * 1000 + b"e"), "memory")
        state = dict_((text("a"), _plain(np.ones(3))), (text("idxs"), _plain(np.zeros(300_000, int))))
        one = name("chumpy.reordering.Select") + b")\x81" + get(5) + b"b"
        refuse(file(state + put(5) + b"0](" + one * 1000 + b"e"), "memory")

    def test_numbers_of_many_digits(self):
        refuse(b"\x80\x02\x8b" + struct.pack("<i", 1 << 20) + b"\x7f" * (1 << 20) + b".", "1048576 bytes")
        refuse(b"\x80\x02\x8b\xff\xff\xff\xff.", "-1 bytes")
        refuse(b"\x80\x02I0x" + b"f" * 1_000_000 + b"\n.", "digits")
        refuse(b"\x80\x02F" + b"1" * 1_000_000 + b"\n.", "digits")
        assert safe_pickle.loads(pickle.dumps(-(2**500)), "file") == -(2**500)


def _plain(value):
    return pickle.dumps(value, 2)[2:-1]


class TestOtherAttacks:
    def test_states_and_items_of_what_has_none(self):
        refuse(file(b"N" + dict_((text("a"), b"N")) + b"b"), "sets a state on None")
        refuse(file(list_(b"N") + b"K\x00K\x01s"), "adds to a list of 1")
        refuse(file(b"}K\x01a"), "adds to a dict")
        refuse(file(text("a") + b")R"), "calls 'a'")
        refuse(file(name("builtins.bytes") + text("abc") + b"R"), "with 'abc' for arguments")

    def test_extensions_and_buffers(self):
        refuse(file(b"\x82\x01"), "extension")
        refuse(file(b"\x97"), "buffers")
        refuse(file(raw(b"a") + b"\x98"), "buffers")

    def test_a_frame_says_how_long_it_is(self):
        refuse(b"\x80\x04\x95" + struct.pack("<Q", 1 << 62) + b"N.", "truncated")
        assert safe_pickle.loads(b"\x80\x04\x95" + struct.pack("<Q", 2) + b"N.", "file") is None

    def test_chumpy_arrays_of_odd_parts(self):
        state = dict_((text("a"), _plain(np.ones(3))), (text("idxs"), LAUGHS))
        refuse(file(built("chumpy.reordering.Select", state)), "selects a tuple of 2")
        state = dict_((text("a"), _plain(np.ones(3))), (text("newshape"), tuple_(*[number(1 << 40)] * 3)))
        refuse(file(built("chumpy.reordering.Reshape", state)), "larger than anything")

    def test_keys_that_are_arrays(self):
        refuse(file(dict_((_plain(np.ones(1)), b"N"))), "a ndarray as a key")


class TestBudget:
    def test_grows_with_the_file_up_to_a_limit(self):
        assert Budget(0).max_bytes == budget.BASE_BYTES
        assert Budget(1 << 20).max_bytes == budget.BASE_BYTES + (budget.BYTES_PER_BYTE << 20)
        assert Budget(1 << 40).max_bytes == budget.MAX_BYTES
        assert Budget(1 << 40, 1000).max_bytes == 1000
        # A file of a gigabyte and the arrays out of it.
        assert Budget(1 << 30).max_bytes >= 2 << 30

    def test_is_not_given_back(self):
        left = Budget(0, 100)
        left.take_bytes(60)
        left.take_bytes(40)
        with pytest.raises(TooMuchError, match="memory"):
            left.take_bytes(1)

    def test_a_list_of_floats_as_large_as_its_file(self):
        values = np.random.default_rng(0).normal(size=(500, 72)).tolist()
        assert safe_pickle.loads(pickle.dumps({"poses": values}), "file")["poses"] == values
