"""Outputs of pose methods in which entries are missing or of another kind."""

import copy
import pickle
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tests.fuzz.cases import Case

_FRAMES = 3
_MATRICES = np.tile(np.eye(3), (_FRAMES, 24, 1, 1))


def _vibe() -> dict[Any, Any]:
    person = {
        "pose": np.zeros((_FRAMES, 72)),
        "betas": np.zeros((_FRAMES, 10)),
        "joints2d": None,
        "joints2d_img_coord": np.zeros((_FRAMES, 49, 2)),
        "bboxes": np.ones((_FRAMES, 4)),
        "frame_ids": np.arange(_FRAMES),
    }
    return {1: person, 2: copy.deepcopy(person)}


def _pare() -> dict[Any, Any]:
    (person, _) = _vibe().values()
    return {7: {**person, "pose": _MATRICES.copy(), "smpl_joints2d": np.zeros((_FRAMES, 49, 2))}}


def _one_person() -> dict[Any, Any]:
    return _vibe()[1]


def _wham() -> dict[Any, Any]:
    pose = np.zeros((_FRAMES, 72))
    trans = np.zeros((_FRAMES, 3))
    person = {"pose": pose, "trans": trans, "pose_world": pose, "trans_world": trans, "betas": np.zeros((_FRAMES, 10))}
    return {0: {**person, "frame_ids": np.arange(_FRAMES)}}


def _wham_as_a_library() -> dict[Any, Any]:
    return {
        0: {
            "poses_root_cam": _MATRICES[:, :1].copy(),
            "poses_body": _MATRICES[:, 1:].copy(),
            "betas": np.zeros((_FRAMES, 10)),
            "frame_id": np.arange(_FRAMES),
        }
    }


def _phalp() -> dict[Any, Any]:
    def picture(time: int) -> dict[str, Any]:
        smpl = {"global_orient": np.eye(3)[None], "body_pose": np.tile(np.eye(3), (23, 1, 1)), "betas": np.zeros(10)}
        return {
            "time": time,
            "tid": [3, 5],
            "smpl": [smpl, copy.deepcopy(smpl)],
            "bbox": [np.ones(4), np.ones(4)],
            "tracked_time": [0, 0],
        }

    return {f"img/{frame:06d}.jpg": picture(frame) for frame in range(_FRAMES)}


def _gvhmr() -> dict[Any, Any]:
    names = {"global_orient": 3, "body_pose": 63, "betas": 10, "transl": 3}
    return {
        "smpl_params_incam": {name: np.zeros((_FRAMES, count)) for name, count in names.items()},
        "smpl_params_global": {},
        "K_fullimg": np.tile(900 * np.eye(3), (_FRAMES, 1, 1)),
    }


def _tram() -> dict[Any, Any]:
    return {
        "pred_rotmat": _MATRICES.copy(),
        "pred_shape": np.zeros((_FRAMES, 10)),
        "pred_trans": np.zeros((_FRAMES, 1, 3)),
        "frame": np.arange(_FRAMES),
    }


def _anybody() -> dict[Any, Any]:
    return {
        "poses": np.zeros((_FRAMES, 72)),
        "mask": np.ones(_FRAMES),
        "frame_ids": np.arange(_FRAMES),
        "betas": np.zeros(10),
        "joints_2d": np.zeros((_FRAMES, 25, 3)),
        "bbox": np.zeros((_FRAMES, 4)),
        "method": "mine",
    }


def _root_and_body() -> dict[Any, Any]:
    return {"global_orient": np.zeros((_FRAMES, 3)), "body_pose": np.zeros((_FRAMES, 69))}


METHODS: dict[str, Callable[[], dict[Any, Any]]] = {
    "VIBE": _vibe,
    "PARE": _pare,
    "one person": _one_person,
    "WHAM": _wham,
    "WHAM as a library": _wham_as_a_library,
    "PHALP": _phalp,
    "GVHMR": _gvhmr,
    "TRAM": _tram,
    "anybody's": _anybody,
    "root and body": _root_and_body,
}
ODD: list[Any] = [
    None, True, 0, -1, 7, 1 << 40, 1 << 70, -(1 << 200), 0.5, float("inf"), float("-inf"), float("nan"), 1e300, 1j, "",
    "text", "3", "x" * 100_000, b"bytes", [], [None], [1], ["a"], [[]], [[1], [2, 3]], (), (1, 2), {}, {"a": 1}, {1: {}},
    set(), frozenset({1}), [0] * 5000, [{}] * 3, [None] * 3, [[None] * 3] * 3, [float("inf")] * 3, np.array(3.0),
    np.zeros(0), np.zeros((0, 3, 3)), np.zeros((3, 0)), np.zeros((3, 3)), np.zeros((2, 2)), np.zeros(3), np.zeros((1, 72)),
    np.zeros((3, 72), complex), np.zeros((3, 72), bool), np.zeros((3, 72), "S2"), np.full((3, 72), "a"),
    np.full((3, 72), np.nan), np.full((3, 72), np.inf), np.full((3, 72), 1e308), np.full(3, np.inf), np.full(3, 1e18),
    np.full(3, -1), np.full(3, 1 << 62), np.full(3, (1 << 64) - 1, np.uint64), np.array([1.5, 2, 3]), np.array([0, 0, 0]),
    np.array([None, None, None]), np.array([{}, [], 1], object), np.array([[1, 2], None], object),
    np.zeros((3, 72), np.float16), np.zeros((3, 72, 1)), np.zeros((3, 24, 3, 3)), np.zeros((1,) * 30), np.float32(2),
    np.float64("nan"), np.bool_(True), np.str_("a"), np.zeros((200_000, 72)), np.zeros(3, "M8[s]"), np.zeros(2, "f4,f4"),
]  # fmt: skip


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _paths(inner, (*path, key))


def _changed(contents: Any, path: tuple[Any, ...], rng: random.Random) -> Any:
    holder = contents
    for key in path[:-1]:
        if not isinstance(holder, dict | list):
            return
        holder = holder[key]
    choice = rng.random()
    if isinstance(holder, list) and rng.random() < 0.5:
        holder.append(rng.choice(ODD))
    elif choice < 0.25:
        del holder[path[-1]]
    elif choice < 0.35 and isinstance(holder, dict):
        holder[rng.choice(["", 5, None, "tid", "smpl", "pose", ("a", 1), 1.5, "y" * 5000])] = holder.pop(path[-1])
    else:
        holder[path[-1]] = rng.choice(ODD)


NAMES = [f"entries of {method}" for method in METHODS]


def make(kind: str, rng: random.Random) -> Case:
    contents: Any = METHODS[kind.removeprefix("entries of ")]()
    where = []
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        paths = list(_paths(contents))
        if paths:
            path = rng.choice(paths)
            where.append("/".join(str(part)[:20] for part in path))
            _changed(contents, path, rng)
    if rng.random() < 0.03:
        contents = rng.choice(ODD)
    return Case(kind, ", ".join(where), pickle.dumps(contents), ".pkl", ("laid",))
