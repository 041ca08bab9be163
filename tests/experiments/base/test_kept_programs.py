"""Compiled programs on disk: found again by all that they depend on, and by nothing less."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.base import kept_programs, programs

X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Programs are kept in a folder of the test."""
    monkeypatch.delenv("NEMO_KEEP_PROGRAMS")
    before = jax.config.values["jax_compilation_cache_dir"]
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    kept_programs._say.cache_clear()
    yield tmp_path / kept_programs.FOLDER
    jax.config.update("jax_compilation_cache_dir", before)


def function(tree, x):
    return {"sum": tree["a"] * x.sum(), "rows": (jnp.tanh(x) @ x.T, None)}


def untraceable(*args):
    raise AssertionError("it is traced again")


def make(what=function):
    return programs.make("test", jax.jit(what), {"a": np.float32(2)}, X)


def run(made):
    return jax.device_get(made.compiled()({"a": np.float32(2)}, X))


def code(file):
    """What a file holds besides shapes."""
    kept = kept_programs.find(file)
    assert kept is not None
    return kept.code


def same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_program_is_found_again_and_gives_the_same_bits(folder):
    first = make()
    expected = run(first)
    again = make(untraceable)
    assert again.shapes == first.shapes
    same(run(again), expected)
    assert programs.shapes_of("test", jax.jit(untraceable), {"a": np.float32(2)}, X) == first.shapes
    assert len(list(folder.glob("*"))) == 1


def test_the_memory_of_an_argument_is_still_donated(folder):
    args = (jnp.ones((64, 64)), 2.0)
    for what in (lambda x, y: x * y, untraceable):
        made = programs.make("test", jax.jit(what, donate_argnums=0), *args)
        given = jnp.ones((64, 64))
        program = made.compiled()
        assert program.memory_analysis().alias_size_in_bytes == given.nbytes
        program(given, 2.0)
        assert given.is_deleted()


def test_another_process_finds_it(folder):
    """It has not looked up the functions of LAPACK, without which a program that calls them ends the process."""
    code = (
        "import jax, numpy as np\n"
        "from experiments.base import programs\n"
        f"jax.config.update('jax_compilation_cache_dir', {str(folder.parent)!r})\n"
        "def function(x):\n"
        "    assert __import__('sys').argv[1] == 'first', 'traced again'\n"
        "    return jax.numpy.linalg.inv(x), jax.numpy.linalg.svd(x)[1]\n"
        "x = np.arange(9, dtype=np.float32).reshape(3, 3) ** 2 + np.eye(3, dtype=np.float32)\n"
        "print([part.tobytes().hex() for part in jax.device_get(programs.Program(function)(x))])\n"
    )
    said = [
        subprocess.run([sys.executable, "-c", code, which], capture_output=True, text=True, env=dict(os.environ))
        for which in ("first", "second")
    ]
    assert [one.returncode for one in said] == [0, 0], said[-1].stderr
    assert said[0].stdout == said[1].stdout != ""


# --- keys ---


def key(name="test", args=({"a": 1.0}, X), options=None):
    found = kept_programs.place_of(name, args, {"level": "1"} if options is None else options, jax.devices()[:1])
    assert found is not None
    return found


@pytest.mark.parametrize(
    "other",
    [
        {"name": "other"},
        {"options": {}},
        {"options": {"level": "2"}},
        {"args": ({"a": 1.0}, X[:2])},
        {"args": ({"a": 1.0}, X.astype(np.int32))},
        {"args": ({"a": np.float32(1)}, X)},
        {"args": ({"b": 1.0}, X)},
        {"args": ([1.0], X)},
        {"args": ({"a": None}, X)},
        {"args": ({"a": 1.0}, jax.device_put(X, jax.sharding.SingleDeviceSharding(jax.devices()[0])))},
    ],
)
def test_another_program_has_another_key(folder, other):
    assert key(**other) != key()


def test_values_of_arrays_are_in_no_key(folder):
    assert key(args=({"a": 3.0}, 2 * X)) == key(args=({"a": jax.ShapeDtypeStruct((), jnp.float32, weak_type=True)}, X))


def test_settings_of_jax_and_xla_are_in_the_key(folder, monkeypatch):
    found = {key()}
    with jax.default_matmul_precision("bfloat16"):
        found.add(key())
    with jax.debug_nans(True):
        found.add(key())
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
    found.add(key())
    monkeypatch.setattr(kept_programs, "_of_cpu", lambda: ["another"])
    found.add(key())
    assert len(found) == 5


def test_sources_and_versions_are_in_the_key(folder, monkeypatch, tmp_path):
    source, page = tmp_path / "nemo_jax" / "inner" / "loss.py", tmp_path / "nemo_jax" / "README.md"
    source.parent.mkdir(parents=True)
    monkeypatch.setattr(kept_programs, "_ROOT", tmp_path)
    found = []
    for changed, text in ((source, "2 * x"), (page, "words"), (source, "3 * x"), (source.with_name("b.py"), "3 * x")):
        changed.write_text(text)
        kept_programs._of_installation.cache_clear()
        found.append(key())
    monkeypatch.setattr(kept_programs.importlib.metadata, "version", lambda name: "0.0")
    kept_programs._of_installation.cache_clear()
    found.append(key())
    kept_programs._of_installation.cache_clear()
    assert found[0] == found[1] and len(set(found)) == 4


# --- files ---


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: b"", lambda content: b"x" + content])
def test_a_damaged_file_is_replaced(folder, damage, caplog):
    expected = run(make())
    (file,) = folder.glob("*")
    content = file.read_bytes()
    file.write_bytes(damage(content))
    same(run(make()), expected)
    assert "is damaged" in caplog.text and str(file) in caplog.text
    caplog.clear()
    same(run(make(untraceable)), expected)
    assert not caplog.text


def test_code_that_the_device_cannot_load_is_compiled_anew(folder, monkeypatch, caplog):
    expected = run(make())

    def fails(*args, **options):
        raise RuntimeError("no such instruction")

    with monkeypatch.context() as patched:
        patched.setattr(kept_programs.serialize_executable, "deserialize_and_load", fails)
        same(run(make()), expected)
    assert "no such instruction" in caplog.text
    same(run(make(untraceable)), expected)


def test_what_a_device_cannot_write_runs_all_the_same(folder, monkeypatch, caplog):
    def fails(compiled):
        raise ValueError("Compilation does not support serialization")

    monkeypatch.setattr(kept_programs.serialize_executable, "serialize", fails)
    assert run(make())["sum"].shape == ()
    run(make())
    assert caplog.text.count("cannot be kept") == 1
    assert not list(folder.glob("*"))


def test_the_oldest_go_where_there_are_too_many(folder, monkeypatch):
    monkeypatch.setattr(kept_programs, "MOST_BYTES", 3_000)
    for number in range(40):
        place = folder / f"{number:02}.program"
        kept_programs.keep(place, jax.ShapeDtypeStruct((2,) * 30, jnp.float32))
        os.utime(place, (number, number))
        assert kept_programs.find(folder / "00.program") is not None
    found = sorted(file.name for file in folder.glob("*"))
    assert sum(file.stat().st_size for file in folder.glob("*")) <= 3_000
    assert found[0].startswith("00") and found[-1].startswith("39") and len(found) < 40
    assert [int(name[:2]) for name in found[1:]] == list(range(41 - len(found), 40))


def test_shapes_alone_do_not_take_the_place_of_a_program(folder):
    run(make())
    (file,) = folder.glob("*")
    size = file.stat().st_size
    kept_programs.keep(file, make().shapes)
    assert file.stat().st_size == size
    file.unlink()
    assert programs.shapes_of("test", jax.jit(function), {"a": np.float32(2)}, X) == make().shapes
    assert not code(file)
    run(make())
    assert file.stat().st_size == size


def test_what_jax_has_read_from_its_cache_is_kept_when_it_is_wanted_again(folder, monkeypatch):
    """Of such a program not all can be written: its shapes are kept, and the next command compiles it."""
    expected, compiles, asked = run(make()), jax.stages.Lowered.compile, []
    (file,) = folder.glob("*")
    file.unlink()

    def found_by_jax(lowered, compiler_options):
        asked.append(compiler_options)
        if "xla_debug_buffer_assignment_show_max" not in compiler_options:
            jax.monitoring.record_event("/jax/compilation_cache/cache_hits")
        return compiles(lowered, compiler_options)

    monkeypatch.setattr(jax.stages.Lowered, "compile", found_by_jax)
    same(run(make()), expected)
    assert not code(file)
    same(run(make()), expected)
    assert len(asked) == 3
    same(run(make(untraceable)), expected)


@pytest.mark.parametrize("how", ["variable", "folder", "jax"])
def test_nothing_is_kept_where_that_is_off(folder, how, monkeypatch):
    if how == "variable":
        monkeypatch.setenv("NEMO_KEEP_PROGRAMS", "0")
    elif how == "folder":
        jax.config.update("jax_compilation_cache_dir", None)
    else:
        jax.config.update("jax_enable_compilation_cache", False)
    assert run(make())["sum"].shape == ()
    jax.config.update("jax_enable_compilation_cache", True)
    assert not folder.exists()


def test_a_function_inside_another_needs_a_name():
    with pytest.raises(ValueError, match="needs a name"):
        programs.Program(lambda x: x)
