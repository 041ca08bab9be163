"""Reads body models from files: SMPL's official `.pkl`, `.npz` files with the same keys, and the open body.

Arrays are checked here, once, so that nothing later meets a wrong shape or a NaN.
"""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from body_models import joints as jn
from body_models import safe_npz, safe_pickle, smpl
from body_models.array_parts import shape_of
from body_models.wording import listed

OPEN_BODY = Path(__file__).parent / "open_body" / "open_body.npz"
# Names under which SMPL's neutral model is downloaded or usually kept, in the order they are looked for in a folder.
NEUTRAL_FILES = (
    "SMPL_NEUTRAL.pkl",
    "SMPL_NEUTRAL.npz",
    "basicmodel_neutral_lbs_10_207_0_v1.1.0.pkl",
    "basicModel_neutral_lbs_10_207_0_v1.0.0.pkl",
)
EXTRA_REGRESSOR_FILE = "J_regressor_extra.npy"
NUM_POSE_FEATURES = 9 * (jn.NUM_JOINTS - 1)
# Three times SMPL-X's; the 207 pose directions of each take a gigabyte on the way.
_MOST_VERTICES = 30_000
_REQUIRED = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "f", "kintree_table")
_OPTIONAL = ("landmark_vertex_ids", "J_regressor_extra")
_AVERAGES = ("weights", "J_regressor")
_OTHER_BODIES = {5: "FLAME", 16: "MANO", 52: "SMPL-H", 55: "SMPL-X"}


class BodyModelError(ValueError):
    """A body model file that cannot be used. One sentence naming the file, what was found and what was expected."""


def load_body(
    path: str | os.PathLike | None = None,
    num_betas: int = 10,
    keypoint_ids: Sequence[int] = tuple(jn.BODY_25),
    extra_regressor: str | os.PathLike | None = None,
) -> smpl.SMPL:
    """The body model at `path`.

    Args:
      path: a `.pkl` or `.npz` file, or a folder with one of `NEUTRAL_FILES` (in it or in its subfolder `smpl`); None
        for the open body that ships with the project.
      num_betas: how many of the file's shape directions to keep, from the first.
      keypoint_ids: which of the 54 joints of `body_models.joints.ALL_JOINTS` `smpl.keypoints` returns, in order.
      extra_regressor: `.npy` file (9, V) of the joints 45..53. None: the file's own `J_regressor_extra`, else
        `J_regressor_extra.npy` beside the file or in `../spin_data`. SMPL's own files have none; a body without it is
        complete but for these joints, and asking for one of them is an error.

    Raises:
      BodyModelError: no such file, not a body model, not SMPL, damaged, or without what is asked for.
    """
    file = _find_file(Path(path)) if path is not None else OPEN_BODY
    arrays = read_arrays(file, extra_regressor)
    available = arrays["shapedirs"].shape[-1]
    if not 1 <= num_betas <= available:
        raise BodyModelError(f"{file}: it has {available} shape directions, num_betas asks for {num_betas}")
    arrays["shapedirs"] = arrays["shapedirs"][..., :num_betas]
    extras = [int(i) for i in keypoint_ids if i >= len(jn.ALL_JOINTS) - len(jn.EXTRA_JOINTS)]
    if extras and not len(arrays["J_regressor_extra"]):
        raise BodyModelError(
            f"{file}: it has no J_regressor_extra, which joint {extras[0]} ({jn.ALL_JOINTS[extras[0]]}) needs; "
            f"put SPIN's {EXTRA_REGRESSOR_FILE} beside it (looked for {_listed(_extra_regressor_places(file))})"
        )
    return smpl.build(arrays, keypoint_ids)


def read_arrays(path: str | os.PathLike, extra_regressor: str | os.PathLike | None = None) -> dict[str, np.ndarray]:
    """The checked arrays of a `.pkl` or `.npz` file, dense, in the layout that `smpl.build` takes.

    Keys: v_template (V, 3), shapedirs (V, 3, S), posedirs (V, 3, 207), J_regressor (24, V), weights (V, 24), f (F, 3),
    kintree_table (2, 24), landmark_vertex_ids (21,), J_regressor_extra (9, V), or (0, V) where there is none. Metres.

    A `.npz` may store an array `x` compactly: as float16, with a factor `x_scale`, or as a sparse matrix in `x_row`,
    `x_col`, `x_data`, `x_shape` (rows run over all axes but the last). A mesh other than SMPL's names its
    `landmark_vertex_ids`, and its posedirs are zeros where it has none.

    Raises:
      BodyModelError: as `load_body`.
    """
    file = Path(path)
    raw = _read_npz(file) if file.suffix.lower() == ".npz" else _read_pickle(file)
    _check_kinematic_tree(file, raw)
    arrays = {"kintree_table": np.asarray(raw["kintree_table"])}
    template = arrays["v_template"] = _numbers(file, raw, "v_template", (None, 3))
    num_vertices = len(template)
    if num_vertices > _MOST_VERTICES:
        raise BodyModelError(f"{file}: its mesh has {num_vertices} vertices, bodies of up to {_MOST_VERTICES} are read")
    own_mesh = num_vertices == jn.SMPL_NUM_VERTICES
    if "posedirs" not in raw and not own_mesh and "landmark_vertex_ids" in raw:
        arrays["posedirs"] = np.zeros((num_vertices, 3, NUM_POSE_FEATURES), np.float32)
    else:
        flat = getattr(raw.get("posedirs"), "ndim", 3) == 2
        shape = (NUM_POSE_FEATURES, 3 * num_vertices) if flat else (num_vertices, 3, NUM_POSE_FEATURES)
        posedirs = _numbers(file, raw, "posedirs", shape)
        arrays["posedirs"] = posedirs.T.reshape(num_vertices, 3, NUM_POSE_FEATURES) if flat else posedirs
    arrays["shapedirs"] = _numbers(file, raw, "shapedirs", (num_vertices, 3, None))
    arrays["J_regressor"] = _numbers(file, raw, "J_regressor", (jn.NUM_JOINTS, num_vertices))
    arrays["weights"] = _numbers(file, raw, "weights", (num_vertices, jn.NUM_JOINTS))
    for key in _AVERAGES:
        _check_sums(file, key, arrays[key])
    arrays["f"] = _vertex_ids(file, raw, "f", (None, 3), num_vertices)
    if "landmark_vertex_ids" in raw:
        shape = (len(jn.LANDMARKS),)
        arrays["landmark_vertex_ids"] = _vertex_ids(file, raw, "landmark_vertex_ids", shape, num_vertices)
    elif own_mesh:
        arrays["landmark_vertex_ids"] = jn.SMPL_LANDMARK_VERTICES
    else:
        raise BodyModelError(
            f"{file}: its mesh has {num_vertices} vertices where SMPL's has {jn.SMPL_NUM_VERTICES}, so it must say in "
            f"landmark_vertex_ids which {len(jn.LANDMARKS)} of them are nose, eyes, ears, feet and finger tips"
        )
    arrays["J_regressor_extra"] = _extra_regressor(file, raw, extra_regressor, num_vertices)
    return arrays


def _find_file(path: Path) -> Path:
    if not path.is_dir():
        if not path.exists():
            raise BodyModelError(f"{path}: no such file; a body model is a .pkl or .npz file or a folder with one")
        return path
    places = [folder / name for folder in (path, path / "smpl") for name in NEUTRAL_FILES]
    for place in places:
        if place.is_file():
            return place
    others = sorted(
        str(p.relative_to(path)) for g in ("*", "smpl/*") for p in path.glob(g) if p.suffix in (".pkl", ".npz")
    )
    found = f"it has {_listed(others[:5])}: name the file itself" if others else "it has no .pkl or .npz file"
    raise BodyModelError(f"{path}: none of {_listed(NEUTRAL_FILES)} is in this folder or its subfolder smpl; {found}")


def _read_pickle(file: Path) -> dict[str, Any]:
    try:
        contents = safe_pickle.load(file)
    except safe_pickle.BadPickleError as error:
        raise BodyModelError(str(error)) from error
    if not isinstance(contents, dict):
        raise BodyModelError(f"{file}: it holds a {type(contents).__name__}, a body model is a dict of arrays")
    return contents


def _read_npz(file: Path) -> dict[str, np.ndarray]:
    """The wanted arrays, compact ones expanded. Others are left unread."""
    if not file.exists():
        raise BodyModelError(f"{file}: no such file" + (" (the open body was not built)" if file == OPEN_BODY else ""))
    try:
        with safe_npz.opened(file) as archive:
            arrays = {key: _expand(key, archive) for key in (*_REQUIRED, *_OPTIONAL)}
    except safe_npz.NpzError as error:
        raise BodyModelError(f"{file}: not a .npz file of plain arrays, or truncated ({error})") from error
    except ValueError as error:
        raise BodyModelError(f"{file}: {error}") from error
    return {key: array for key, array in arrays.items() if array is not None}


def _expand(key: str, archive: safe_npz.Npz) -> np.ndarray | None:
    """Array `key` of the archive, whichever way it is stored; None where it is absent.

    Raises:
      ValueError: its parts do not fit each other, or would make too much.
    """
    sparse = f"{key}_row" in archive
    stored = f"{key}_data" if sparse else key
    if stored not in archive:
        return None
    half = archive.header(stored).dtype == np.float16
    array = _dense(key, archive) if sparse else archive[key]
    if f"{key}_scale" in archive:
        factor = archive[f"{key}_scale"]
        if array.dtype.kind not in "iuf" or factor.dtype.kind not in "iuf" or factor.size != 1:
            raise ValueError(f"{key}_scale has shape {factor.shape} and type {factor.dtype}, one number was expected")
        archive.archive.budget.take_bytes(8 * array.size)
        array = array.astype(np.float32) * factor.astype(np.float32).reshape(())
    if half and key in _AVERAGES and array.ndim:
        # Rounding to float16 leaves sums of 1.0005 and the like, millimetres on a body.
        archive.archive.budget.take_bytes(8 * array.size)
        array = array.astype(np.float32)
        with np.errstate(divide="ignore", invalid="ignore"):
            array = array / array.sum(-1, keepdims=True)
    return array


def _dense(key: str, archive: safe_npz.Npz) -> np.ndarray:
    """The array that `key_row`, `key_col`, `key_data` and `key_shape` describe."""
    parts = [archive.get(f"{key}_{part}") for part in ("row", "col", "data", "shape")]
    if any(part is None or part.ndim != 1 for part in parts):
        raise ValueError(f"the sparse {key} needs {key}_row, {key}_col, {key}_data and {key}_shape, rows of numbers")
    row, col, data, lengths = (np.asarray(part) for part in parts)
    try:
        shape = shape_of(lengths[:8].tolist())
    except ValueError as error:
        raise ValueError(f"{key}_shape is no shape: {error}") from error
    fits = row.shape == col.shape == data.shape and {row.dtype.kind, col.dtype.kind} <= set("iu")
    if len(shape) < 2 or min(shape) < 1 or not fits or data.dtype.kind not in "iuf":
        raise ValueError(f"the sparse {key} of shape {shape} has entries that do not fit it")
    flat = (math.prod(shape[:-1]), shape[-1])
    if row.size and not (row.min() >= 0 and row.max() < flat[0] and col.min() >= 0 and col.max() < flat[1]):
        raise ValueError(f"the sparse {key} of shape {shape} has entries outside it")
    archive.archive.budget.take_bytes(4 * math.prod(shape))
    array = np.zeros(flat, np.float32)
    np.add.at(array, (row, col), data.astype(np.float32))
    return array.reshape(shape)


def _check_kinematic_tree(file: Path, raw: Mapping[str, Any]) -> None:
    missing = [key for key in _REQUIRED if key not in raw and key != "posedirs"]
    if missing:
        raise BodyModelError(f"{file}: it has no {_listed(missing)}, which an SMPL file has; found {listed(raw, 12)}")
    table = raw["kintree_table"]
    if not isinstance(table, np.ndarray) or table.dtype.kind not in "iu" or table.ndim != 2 or len(table) != 2:
        raise BodyModelError(f"{file}: kintree_table is {_described(table)}, (2, 24) whole numbers were expected")
    count = table.shape[1]
    if count != jn.NUM_JOINTS:
        guess = f": {_OTHER_BODIES[count]}?" if count in _OTHER_BODIES else ""
        raise BodyModelError(f"{file}: not SMPL (found {count} joints{guess}), a model of 24 joints was expected")
    # The root's parent is written as -1, in unsigned 32 bits as 4294967295, or as the root itself.
    parents = table[0].astype(np.int64)
    wrong = np.flatnonzero(parents[1:] != jn.PARENTS[1:])
    if len(wrong):
        joint = int(wrong[0]) + 1
        raise BodyModelError(
            f"{file}: not SMPL (the parent of joint {joint} is {parents[joint]}, in SMPL it is {jn.PARENTS[joint]})"
        )


def _numbers(file: Path, raw: Mapping[str, Any], key: str, shape: tuple[int | None, ...]) -> np.ndarray:
    """Array `key`, checked to be finite numbers of that shape (None: any positive length)."""
    if key not in raw:
        raise BodyModelError(f"{file}: it has no {key}, which an SMPL file has; found {listed(raw, 12)}")
    array = raw[key]
    expected = str(shape).replace("None", "any")
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iuf":
        raise BodyModelError(f"{file}: {key} is {_described(array)}, numbers of shape {expected} were expected")
    fits = array.ndim == len(shape) and all(
        n == m or (m is None and n) for n, m in zip(array.shape, shape, strict=True)
    )
    if not fits:
        raise BodyModelError(f"{file}: {key} has shape {array.shape}, {expected} was expected")
    bad = int(np.size(array) - np.count_nonzero(np.isfinite(array)))
    if bad:
        raise BodyModelError(f"{file}: {key} has {bad} numbers that are NaN or infinite")
    return array


def _vertex_ids(
    file: Path, raw: Mapping[str, Any], key: str, shape: tuple[int | None, ...], num_vertices: int
) -> np.ndarray:
    ids = _numbers(file, raw, key, shape)
    # A closed mesh has two faces for each vertex.
    if len(ids) > 4 * _MOST_VERTICES:
        raise BodyModelError(f"{file}: {key} has {len(ids)} rows, {4 * _MOST_VERTICES} at most were expected")
    if ids.min() < 0 or ids.max() >= num_vertices or (ids != np.floor(ids)).any():
        raise BodyModelError(
            f"{file}: {key} has entries from {ids.min()} to {ids.max()}, the vertices are 0 to {num_vertices - 1}"
        )
    return ids.astype(np.int64)


def _check_sums(file: Path, key: str, rows: np.ndarray) -> None:
    """Blend weights and joint regressors are averages: rows that do not sum to 1 would pull the body to the origin."""
    sums = rows.sum(1, dtype=np.float64)
    worst = int(np.abs(sums - 1).argmax())
    if abs(sums[worst] - 1) > 0.01:
        raise BodyModelError(f"{file}: row {worst} of {key} sums to {sums[worst]:.3f}, 1 was expected")


def _extra_regressor_places(file: Path) -> list[Path]:
    return [file.parent / EXTRA_REGRESSOR_FILE, file.parent.parent / "spin_data" / EXTRA_REGRESSOR_FILE]


def _extra_regressor(
    file: Path, raw: Mapping[str, Any], given: str | os.PathLike | None, num_vertices: int
) -> np.ndarray:
    shape = (len(jn.EXTRA_JOINTS), num_vertices)
    if given is None and "J_regressor_extra" in raw:
        return _numbers(file, raw, "J_regressor_extra", shape)
    places = [Path(given)] if given is not None else [p for p in _extra_regressor_places(file) if p.is_file()]
    if not places:
        return np.zeros((0, num_vertices), np.float32)
    try:
        regressor = safe_npz.read_npy(places[0])
    except safe_npz.NpzError as error:
        raise BodyModelError(f"{places[0]}: not a .npy file of plain numbers, or truncated ({error})") from error
    return _numbers(places[0], {"the regressor": regressor}, "the regressor", shape)


def _described(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} of shape {value.shape}"
    return repr(value) if isinstance(value, safe_pickle.Opaque) else f"a {type(value).__name__}"


def _listed(names: Sequence[object]) -> str:
    return ", ".join(str(name) for name in names)
