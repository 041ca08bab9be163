"""Body models that are bombs or of parts that make too much are refused before they are made."""

import tracemalloc

import numpy as np
import pytest

from body_models import loaders
from body_models.loaders import BodyModelError, read_arrays
from tests.body_models import smpl_files
from tests.fuzz import bombs, zips
from tests.fuzz.zips import Entry, archive

MEGABYTES = 300


def refuse(path, *words, **kwargs):
    tracemalloc.start()
    with pytest.raises(BodyModelError) as caught:
        read_arrays(path, **kwargs)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < MEGABYTES << 20
    message = str(caught.value)
    assert "\n" not in message and len(message) < 500
    for word in (*words, str(path)):
        assert word in message, message


def written(folder, **changes):
    np.savez_compressed(folder / "body.npz", **{**smpl_files.make_arrays(), **changes})
    return folder / "body.npz"


def test_archives_of_zeros(tmp_path):
    start = zips.npy("'|u1'", "(200000000,)", data=b"")
    size = len(start) + 200_000_000
    entry = Entry(b"v_template.npy", bombs.deflate(start, size), 8, size, None, bombs.crc(start, size))
    (tmp_path / "body.npz").write_bytes(archive([entry]))
    refuse(tmp_path / "body.npz", "unpacks to")


def test_meshes_without_end(tmp_path):
    refuse(written(tmp_path, v_template=np.zeros((1_000_000, 3), "u1")), "1000000 vertices")
    refuse(written(tmp_path, f=np.zeros((10_000_000, 3), "u1")), "10000000 rows")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"v_template_scale": np.ones((1, 3))}, "v_template_scale has shape (1, 3)"),
        ({"v_template": np.zeros((20_000, 1), "u1"), "v_template_scale": np.ones((1, 20_000), "u1")}, "one number"),
        ({"v_template_scale": np.array("large")}, "type <U5"),
        ({"weights_row": np.zeros(2)}, "the sparse weights needs"),
        ({f"weights_{part}": np.zeros(2, int) for part in ("row", "col", "data")}, "weights_row, weights_col"),
        (
            {
                **{f"weights_{part}": np.zeros(2) for part in ("row", "col", "data")},
                "weights_shape": np.array([61, 24]),
            },
            "do not fit",
        ),
        (
            {
                **{f"weights_{part}": np.zeros(2, int) for part in ("row", "col", "data")},
                "weights_shape": np.ones(1, int),
            },
            "do not fit",
        ),
        (
            {
                **{f"weights_{part}": np.zeros(2, int) for part in ("row", "col", "data")},
                "weights_shape": np.array([60_000, 60_000]),
            },
            "memory",
        ),
        (
            {
                **{f"weights_{part}": np.zeros(2, int) for part in ("row", "col", "data")},
                "weights_shape": np.array(["a"]),
            },
            "weights_shape is no shape",
        ),
    ],
)
def test_parts_that_do_not_fit(tmp_path, changes, words):
    without_weights = {"weights"} if any(key.startswith("weights_") for key in changes) else set()
    arrays = {key: value for key, value in smpl_files.make_arrays().items() if key not in without_weights}
    if "weights_row" in changes and "weights_data" not in changes:
        changes = {**changes, "weights_data": np.zeros(2)}
    np.savez_compressed(tmp_path / "body.npz", **{**arrays, **changes})
    refuse(tmp_path / "body.npz", words)


def test_other_entries_under_the_names_of_arrays(tmp_path):
    (tmp_path / "body.npz").write_bytes(archive([Entry(b"v_template", b"text"), Entry(b"kintree_table.npy", b"text")]))
    refuse(tmp_path / "body.npz", "kintree_table in it")


def test_a_regressor_beside_it(tmp_path):
    arrays = smpl_files.without(smpl_files.make_arrays(), "J_regressor_extra")
    np.savez(tmp_path / "body.npz", **arrays)
    beside = tmp_path / loaders.EXTRA_REGRESSOR_FILE
    for contents in (b"HIERARCHY", zips.header(b"(" * 3000), zips.npy(shape="(99999999999,)")):
        beside.write_bytes(contents)
        with pytest.raises(BodyModelError, match=r"J_regressor_extra\.npy: not a \.npy file"):
            read_arrays(tmp_path / "body.npz")


def test_files_of_other_formats_are_named(tmp_path):
    (tmp_path / "body.bvh").write_bytes(b"HIERARCHY\nROOT Hips\n")
    refuse(tmp_path / "body.bvh", "this is a BVH file (motion capture), not a pickle")
