"""Body model files: every layout loads to the same arrays; whatever is wrong gets one sentence naming the file."""

import os
import pickle
import re
import subprocess
import sys

import chex
import numpy as np
import pytest

from body_models import joints as jn
from body_models import loaders, smpl
from body_models.loaders import BodyModelError, load_body, read_arrays
from tests.body_models import smpl_files
from tests.body_models.smpl_files import without
from tests.body_models.test_safe_pickle import Runs

KEYS = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "f")


@pytest.fixture(scope="module")
def full_size():
    """A body on a mesh of SMPL's size, without shape or pose directions worth mentioning, to keep it small."""
    return smpl_files.make_arrays(6890, num_betas=2)


def npz(folder, arrays, name="body.npz"):
    np.savez(folder / name, **arrays)
    return folder / name


def pkl(folder, value, name="body.pkl", protocol=2):
    (folder / name).write_bytes(smpl_files.dumps(value, protocol))
    return folder / name


def refuse(path, *words, **kwargs):
    with pytest.raises(BodyModelError) as caught:
        load_body(path, **kwargs)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 600
    for word in (*words, str(path)):
        assert word in message


def assert_arrays(found, expected, rtol=0.0):
    for key in expected:
        np.testing.assert_allclose(found[key], expected[key], rtol=rtol, atol=rtol, err_msg=key)


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_official_pickle_loads_to_its_arrays(tmp_path, full_size, protocol):
    arrays = full_size if protocol == 2 else {**full_size, "posedirs": np.zeros((6890, 3, 207), np.float32)}
    found = read_arrays(pkl(tmp_path, smpl_files.official(arrays), protocol=protocol))
    assert_arrays(found, {key: arrays[key] for key in KEYS})
    np.testing.assert_array_equal(found["landmark_vertex_ids"], jn.SMPL_LANDMARK_VERTICES)
    assert found["J_regressor_extra"].shape == (0, 6890)


def test_official_pickle_needs_neither_chumpy_nor_scipy(tmp_path):
    arrays = smpl_files.make_arrays()
    contents = smpl_files.official(arrays) | {"landmark_vertex_ids": arrays["landmark_vertex_ids"]}
    path = pkl(tmp_path, contents)
    script = (
        "import sys; sys.modules['chumpy'] = sys.modules['scipy.sparse'] = None\n"
        f"from body_models import loaders; print(loaders.read_arrays({str(path)!r})['J_regressor'].shape)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True, text=True, check=True, cwd=os.getcwd(), env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )  # fmt: skip
    assert done.stdout == "(24, 61)\n"


def test_npz_pickle_and_folders_give_the_same_body(tmp_path):
    arrays = smpl_files.make_arrays()
    expected = smpl.build(arrays)
    chex.assert_trees_all_equal(load_body(npz(tmp_path, arrays)), expected)
    chex.assert_trees_all_equal(load_body(str(npz(tmp_path, arrays))), expected)
    chex.assert_trees_all_equal(load_body(pkl(tmp_path, arrays)), expected)
    (tmp_path / "a").mkdir()
    pkl(tmp_path / "a", arrays, "SMPL_NEUTRAL.pkl")
    chex.assert_trees_all_equal(load_body(tmp_path / "a"), expected)
    (tmp_path / "b" / "smpl").mkdir(parents=True)
    pkl(tmp_path / "b" / "smpl", arrays, "basicModel_neutral_lbs_10_207_0_v1.0.0.pkl")
    chex.assert_trees_all_equal(load_body(tmp_path / "b"), expected)


def test_other_layouts_of_the_same_arrays(tmp_path):
    arrays = smpl_files.make_arrays()
    found = read_arrays(npz(tmp_path, {**arrays, "posedirs": arrays["posedirs"].reshape(-1, 207).T}))
    assert_arrays(found, arrays)
    for root in (-1, 0):
        kintree = arrays["kintree_table"].astype(np.int64)
        kintree[0, 0] = root
        assert_arrays(
            read_arrays(npz(tmp_path, {**arrays, "kintree_table": kintree})), without(arrays, "kintree_table")
        )


def test_compact_storage(tmp_path):
    arrays = smpl_files.make_arrays()
    compact = without(arrays, "J_regressor", "weights", "shapedirs", "v_template", "posedirs")
    for key in ("J_regressor", "weights", "shapedirs"):
        flat = arrays[key].reshape(-1, arrays[key].shape[-1])
        row, col = np.nonzero(flat)
        stored = {"row": row.astype(np.uint16), "col": col.astype(np.uint8), "shape": np.array(arrays[key].shape)}
        compact |= {f"{key}_{part}": value for part, value in stored.items()}
        compact[f"{key}_data"] = flat[row, col].astype(np.float16)
    compact["v_template"] = (arrays["v_template"] / 2).astype(np.float16)
    compact["v_template_scale"] = np.float32(2)
    found = read_arrays(npz(tmp_path, compact))
    assert_arrays(found, without(arrays, "posedirs"), rtol=1e-3)
    assert found["posedirs"].shape == (61, 3, 207)
    assert not found["posedirs"].any()
    # float16 averages are made averages again.
    np.testing.assert_allclose(found["weights"].sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(found["J_regressor"].sum(1), 1, atol=1e-6)

    for part, value in {"row": row + 60000, "col": col - 1, "data": np.ones(3), "shape": np.array([10**6] * 3)}.items():
        refuse(npz(tmp_path, {**compact, f"shapedirs_{part}": value}), "shapedirs")


def test_number_of_shape_directions(tmp_path):
    arrays = smpl_files.make_arrays(num_betas=12)
    path = npz(tmp_path, arrays)
    body = load_body(path, num_betas=3)
    chex.assert_trees_all_equal(body, smpl.build({**arrays, "shapedirs": arrays["shapedirs"][..., :3]}))
    assert body.num_betas == 3
    refuse(path, "12 shape directions", "asks for 13", num_betas=13)
    refuse(path, "asks for 0", num_betas=0)


def test_extra_regressor_is_found_or_its_absence_is_said(tmp_path):
    arrays = smpl_files.make_arrays()
    bare = without(arrays, "J_regressor_extra")
    folder = tmp_path / "models" / "smpl"
    folder.mkdir(parents=True)
    path = npz(folder, bare)
    body = load_body(path)
    assert not body.has_extra_joints
    refuse(
        path, "joint 48 (top_of_head)", str(folder / "J_regressor_extra.npy"), "spin_data", keypoint_ids=(0, jn.TOP_OF_HEAD)
    )  # fmt: skip
    with pytest.raises(ValueError, match="J_regressor_extra"):
        smpl.all_joints(body, np.zeros((24, 3, 3)), np.zeros(10), np.zeros(3))

    expected = smpl.build(arrays, (jn.TOP_OF_HEAD,))
    elsewhere = tmp_path / "other.npy"
    np.save(elsewhere, arrays["J_regressor_extra"])
    found = load_body(path, keypoint_ids=(jn.TOP_OF_HEAD,), extra_regressor=elsewhere)
    chex.assert_trees_all_equal(found, expected)
    (tmp_path / "models" / "spin_data").mkdir()
    for place in (tmp_path / "models" / "spin_data", folder):
        place_file = place / "J_regressor_extra.npy"
        np.save(place_file, arrays["J_regressor_extra"])
        chex.assert_trees_all_equal(load_body(path, keypoint_ids=(jn.TOP_OF_HEAD,)), expected)
        place_file.unlink()


def test_bad_extra_regressors(tmp_path):
    path = npz(tmp_path, without(smpl_files.make_arrays(), "J_regressor_extra"))
    extra = tmp_path / "J_regressor_extra.npy"
    np.save(extra, np.zeros((9, 60)))
    with pytest.raises(BodyModelError, match=r"J_regressor_extra\.npy.*\(9, 60\), \(9, 61\) was expected"):
        load_body(path)
    np.save(extra, np.array([None]), allow_pickle=True)
    with pytest.raises(BodyModelError, match=r"J_regressor_extra\.npy"):
        load_body(path)
    extra.write_bytes(b"\x93NUMPY")
    with pytest.raises(BodyModelError, match=r"J_regressor_extra\.npy"):
        load_body(path)
    with pytest.raises(BodyModelError, match=r"absent\.npy"):
        load_body(path, extra_regressor=tmp_path / "absent.npy")


def test_keypoint_ids_outside_the_list(tmp_path):
    path = npz(tmp_path, smpl_files.make_arrays())
    for ids in ((54,), (-1,)):
        with pytest.raises(ValueError, match="keypoint_ids"):
            load_body(path, keypoint_ids=ids)


@pytest.mark.parametrize("key", KEYS + ("kintree_table",))
def test_missing_key(tmp_path, key):
    arrays = without(smpl_files.make_arrays(), key)
    if key == "posedirs":
        arrays.pop("landmark_vertex_ids")
    refuse(npz(tmp_path, arrays), f"has no {key}")
    refuse(pkl(tmp_path, arrays), f"has no {key}")


def test_pose_directions_may_lack_only_where_the_mesh_is_not_smpls(tmp_path, full_size):
    refuse(npz(tmp_path, without(full_size, "posedirs")), "has no posedirs")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("v_template", np.zeros((61, 2)), "(61, 2), (any, 3) was expected"),
        ("v_template", np.zeros((0, 3)), "(0, 3)"),
        ("shapedirs", np.zeros((60, 3, 10)), "(60, 3, 10), (61, 3, any) was expected"),
        ("shapedirs", np.zeros((61, 3, 0)), "(61, 3, 0)"),
        ("posedirs", np.zeros((61, 3, 93)), "(61, 3, 93), (61, 3, 207) was expected"),
        ("posedirs", np.zeros((207, 182)), "(207, 183) was expected"),
        ("J_regressor", np.zeros((23, 61)), "(24, 61) was expected"),
        ("J_regressor", np.zeros((24, 61)), "row 0 of J_regressor sums to 0.000"),
        ("weights", np.full((61, 24), 0.5), "row 0 of weights sums to 12.000"),
        ("weights", np.full((61, 24), "x"), "an array of <U1"),
        ("f", np.array([[0, 1, 61]]), "0 to 61, the vertices are 0 to 60"),
        ("f", np.array([[0, 1, -1]]), "f has entries from -1"),
        ("f", np.array([[0, 1, 1.5]]), "f has entries"),
        ("landmark_vertex_ids", np.zeros(20, int), "(20,), (21,) was expected"),
        ("landmark_vertex_ids", np.full(21, 61), "landmark_vertex_ids has entries"),
        ("J_regressor_extra", np.zeros((8, 61)), "(9, 61) was expected"),
        ("kintree_table", np.zeros((3, 24), int), "kintree_table is"),
        ("kintree_table", np.zeros((2, 24)), "kintree_table is"),
        ("kintree_table", np.zeros((2, 52), int), "not SMPL (found 52 joints: SMPL-H?)"),
        ("kintree_table", np.zeros((2, 55), int), "not SMPL (found 55 joints: SMPL-X?)"),
        ("kintree_table", np.zeros((2, 31), int), "not SMPL (found 31 joints)"),
        ("kintree_table", np.zeros((2, 24), int), "the parent of joint 4 is 0, in SMPL it is 1"),
    ],
)
def test_wrong_array(tmp_path, key, value, words):
    arrays = {**smpl_files.make_arrays(), key: value}
    refuse(npz(tmp_path, arrays), words)
    refuse(pkl(tmp_path, arrays), words)


@pytest.mark.parametrize("key", ["v_template", "shapedirs", "posedirs", "J_regressor", "weights", "J_regressor_extra"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite(tmp_path, key, value):
    arrays = smpl_files.make_arrays()
    arrays[key] = arrays[key].copy()
    arrays[key][1, 0] = value
    refuse(npz(tmp_path, arrays), f"{key} has", "NaN or infinite")


def test_unevaluated_chumpy_expression_is_named(tmp_path):
    arrays = smpl_files.make_arrays()
    path = pkl(tmp_path, {**arrays, "v_template": smpl_files.chumpy_sum(arrays["v_template"])})
    refuse(path, "v_template is <chumpy.ch_ops.add, not evaluated>")


def test_a_mesh_of_another_size_must_name_its_landmarks(tmp_path):
    refuse(
        npz(tmp_path, without(smpl_files.make_arrays(), "landmark_vertex_ids")), "61 vertices", "landmark_vertex_ids"
    )


def test_hostile_pickle_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "body.pkl").write_bytes(pickle.dumps({"v_template": Runs(os.system, "touch hacked")}, 2))
    refuse(tmp_path / "body.pkl", "system", "run code")
    # The same inside an .npz.
    np.savez(
        tmp_path / "body.npz", **smpl_files.make_arrays() | {"f": np.array(Runs(os.system, "touch hacked"), object)}
    )
    refuse(tmp_path / "body.npz", "plain arrays")
    assert not (tmp_path / "hacked").exists()


def test_files_that_are_something_else(tmp_path):
    refuse(tmp_path / "absent.pkl", "no such file")
    refuse(tmp_path / "absent.npz", "no such file")
    refuse(tmp_path, "SMPL_NEUTRAL.pkl", "basicmodel_neutral_lbs_10_207_0_v1.1.0.pkl", "no .pkl or .npz")
    refuse(pkl(tmp_path, [1, 2]), "holds a list")
    refuse(pkl(tmp_path, {"means": np.zeros(3)}), "has no v_template", "found means")
    refuse(tmp_path, "it has body.pkl: name the file itself")
    for name in ("text.pkl", "text.npz", "text.obj"):
        (tmp_path / name).write_text("not a body\n")
        refuse(tmp_path / name)


def test_truncated_files(tmp_path):
    arrays = smpl_files.make_arrays()
    for path, words in ((npz(tmp_path, arrays), "truncated"), (pkl(tmp_path, arrays), "truncated")):
        contents = path.read_bytes()
        for part in (0.0, 0.01, 0.5, 0.99):
            path.write_bytes(contents[: int(part * len(contents))])
            refuse(path, words if part else "")


def test_damaged_npz(tmp_path):
    path = npz(tmp_path, smpl_files.make_arrays())
    contents = bytearray(path.read_bytes())
    contents[len(contents) // 2] ^= 0xFF
    path.write_bytes(contents)
    refuse(path)


def test_open_body_is_the_default(tmp_path, monkeypatch):
    arrays = smpl_files.make_arrays()
    monkeypatch.setattr(loaders, "OPEN_BODY", npz(tmp_path, arrays))
    chex.assert_trees_all_equal(load_body(), smpl.build(arrays))
    monkeypatch.setattr(loaders, "OPEN_BODY", tmp_path / "absent.npz")
    with pytest.raises(BodyModelError, match=re.escape("absent.npz: no such file (the open body was not built)")):
        load_body()
