"""What many tests share: a compiler in a hurry, its programs kept, a body of 54 vertices and two short synthetic clips."""

import atexit
import gc
import os
import shutil
import tempfile
from importlib import metadata

import numpy as np
import pytest

from body_models import joints as jn
from body_models import loaders, smpl
from experiments.base import garbage
from experiments.loaders import synthetic

# Tests spend their time in the compiler: told to hurry, it takes a half to a quarter. Set before anything starts JAX, so
# that this process and those that it starts compute the same bits.
_hurry = ["--xla_backend_optimization_level=0"]
# Newer versions have no other way, and an unknown flag ends the process.
if metadata.version("jaxlib").startswith("0.10."):
    # Cutting the code of a program into parts takes a fifth of all compiling; there is no idle core to compile them on.
    _hurry += ["--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1"]
# Workers that inherit them have them already.
_given = os.environ.get("XLA_FLAGS", "").split()
os.environ["XLA_FLAGS"] = " ".join([*_given, *(flag for flag in _hurry if flag not in _given)])

# Programs are kept for all processes of one run of the tests, so that each is compiled once.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="xla_")
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
# But not by what they were made from: tests change functions that programs are made of.
os.environ["NEMO_KEEP_PROGRAMS"] = "0"
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


garbage.collect_seldom()


def pytest_collection_modifyitems(items):
    """Files with whole fits come first, so that no worker is left with one of them at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def tiny_arrays():
    """Arrays of SMPL's format with a vertex at each of the 54 joints of the open body, and no others."""
    full = loaders.read_arrays(loaders.OPEN_BODY)
    listed = np.zeros((len(jn.ALL_JOINTS), len(full["v_template"])))
    listed[: jn.NUM_JOINTS] = full["J_regressor"]
    listed[np.arange(jn.NUM_JOINTS, 45), full["landmark_vertex_ids"]] = 1
    listed[45:] = full["J_regressor_extra"]
    weights = np.maximum(listed @ full["weights"], 0)
    weights[: jn.NUM_JOINTS] = np.eye(jn.NUM_JOINTS)
    rows = np.eye(len(listed))
    return {
        "v_template": listed @ full["v_template"],
        "shapedirs": np.tensordot(listed, full["shapedirs"], 1),
        "posedirs": np.zeros((len(listed), 3, 207)),
        "J_regressor": rows[: jn.NUM_JOINTS],
        "weights": weights / weights.sum(1, keepdims=True),
        "f": np.array([[0, 1, 2], [3, 4, 5]]),
        "kintree_table": full["kintree_table"],
        "landmark_vertex_ids": np.arange(jn.NUM_JOINTS, 45),
        "J_regressor_extra": rows[45:],
    }


@pytest.fixture(scope="session")
def tiny_body(tiny_arrays):
    return smpl.build(tiny_arrays)


@pytest.fixture(scope="session")
def tiny_body_file(tiny_arrays, tmp_path_factory):
    path = tmp_path_factory.mktemp("body") / "tiny.npz"
    np.savez(path, **tiny_arrays)
    return path


@pytest.fixture(scope="session")
def tiny_dataset(tiny_body):
    """Two synthetic pitches of 8 to 12 frames, with initial poses and ground truth."""
    return synthetic.load(tiny_body, num_instances=2, style=synthetic.StyleModel(frames_range=(8, 12)))


def pytest_make_parametrize_id(config, val):
    """Files in names of tests hold the time at which they were made, and workers must agree on names."""
    return f"{len(val)}_bytes" if isinstance(val, bytes) else None


@pytest.fixture(scope="module", autouse=True)
def _little_garbage():
    """What a file leaves behind, programs above all, is never looked through again: there are millions of objects."""
    yield
    gc.collect()
    gc.freeze()
