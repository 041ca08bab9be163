"""Motion in AMASS convention: `.npz` files with `poses`, `trans`, `betas`, and a frame rate; z up becomes y up.

Source: Mahmood et al., AMASS, ICCV 2019. A file holds T frames of one person: `poses` (T, 72) of SMPL, (T, 156) of SMPL-H or
(T, 165) of SMPL-X, axis-angle, root first; `trans` (T, 3) metres, added to the posed body; `betas`, and
`mocap_framerate` or, in the SMPL-X release, `mocap_frame_rate`. The first 22 joints are the same in all three.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from body_models import joints as jn
from body_models import smpl
from experiments.base.errors import UserError
from experiments.base.text import listed
from experiments.data import neutral_file, ranges
from experiments.data.neutral_file import FileError
from experiments.simulation.observations import Motion

Array = np.ndarray
NUM_BODY_JOINTS = 22  # SMPL's without its two hand joints, which SMPL-H and SMPL-X have fingers for
WIDTHS = {3 * NUM_BODY_JOINTS: "22 joints", 72: "SMPL", 156: "SMPL-H", 165: "SMPL-X"}
_RATES = ("mocap_framerate", "mocap_frame_rate")
# Of AMASS's world, x right, y into the scene, z up, in ours, y up: (x, y, z) becomes (x, z, -y).
Y_UP_FROM_Z_UP = Rotation.from_matrix([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
_MOST_NAMED = 8


def find(motion: str | Path, action: str) -> list[Path]:
    """The motions of an action.

    Args:
      motion: one file, or a folder: its subfolder named like the action, else its files named `<action>.npz`,
        `<action>.<number>.npz` or the like, else those whose name contains the action, in upper or lower case.
      action: which to take.

    Raises:
      UserError: no such file or folder, or none of the action in it.
    """
    root = Path(motion)
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise UserError(f"--motion={motion}: there is no such file or folder; give one with .npz files of motion")
    own = neutral_file.files(root / action)
    files = neutral_file.files(root)
    numbered = [p for p in files if re.fullmatch(rf"{re.escape(action)}([._ -]?\d.*)?", p.stem)]
    containing = [p for p in files if action.lower() in p.stem.lower()]
    found = own or numbered or containing
    if found:
        return found
    here = {_without_number(p): None for p in files}
    here |= {folder.name: None for folder in sorted(root.iterdir()) if folder.is_dir() and neutral_file.files(folder)}
    if not here:
        raise UserError(f"--motion={motion} holds no .npz files; expected {action}.0.npz or {action}/<any>.npz in it")
    raise UserError(
        f"--action={action} names no motion in {motion}, which holds {listed(list(here), _MOST_NAMED)}; "
        "name one of these"
    )


def actions(motion: str | Path) -> list[str]:
    """The actions of a folder: its files without the numbers at their ends, or, where it has none, its folders with files.

    Raises:
      UserError: no such folder, or no motion in it.
    """
    root = Path(motion)
    if not root.is_dir():
        raise UserError(f"--motion={motion} is no folder; give one with .npz files of motion, such as kick.0.npz")
    files = list(dict.fromkeys(_without_number(path) for path in neutral_file.files(root)))
    found = files or [f.name for f in sorted(root.iterdir()) if f.is_dir() and neutral_file.files(f)]
    if not found:
        raise UserError(f"--motion={motion} holds no .npz files; expected motions such as kick.0.npz in it")
    return found


def _without_number(path: Path) -> str:
    return re.sub(r"[._ -]?\d+$", "", path.stem)


def read(path: Path, body: smpl.SMPL) -> tuple[Motion, list[str]]:
    """The motion of a file, y up, at its own frame rate, and sentences about what of it is not used.

    SMPL-H's and SMPL-X's fingers, jaw and eyes are left out: joints 22 and 23 are 0. The shape is the file's where the body
    has SMPL's mesh, else the mean: other bodies have other shape directions. The gender is not used. This project's own
    results say `up_axis` y, so that they are not turned, and `body_model`, so that their shape is taken as it is.

    Args:
      path: of the file.
      body: whose pelvis at rest is the point about which `poses` turn.

    Raises:
      FileError: not a motion; says which key, what was found and what was expected.
    """
    wanted = ("poses", "trans", "betas", *_RATES, "up_axis", "body_model")
    arrays = neutral_file.read(path, wanted)
    rates = [key for key in _RATES if key in arrays]
    missing = [key for key in ("poses", "trans", "betas") if key not in arrays] + [_RATES[0]] * (not rates)
    if missing:
        raise FileError(f"it has no {' and no '.join(missing)}, which a motion in AMASS convention has")
    poses, translation = _numbers(arrays, "poses", 2), _numbers(arrays, "trans", 2)
    betas, rate = _numbers(arrays, "betas", 1), _numbers(arrays, rates[0], None)
    if poses.shape[1] not in WIDTHS or not len(poses):
        widths = ", ".join(f"{width} ({model})" for width, model in WIDTHS.items())
        raise FileError(f"poses has shape {poses.shape}, expected at least 1 row of {widths} numbers")
    if translation.shape != (len(poses), 3):
        raise FileError(f"trans has shape {translation.shape}, expected ({len(poses)}, 3) for {len(poses)} poses")
    if rate.size != 1 or rate.item() <= 0:
        raise FileError(f"{rates[0]} is {rate.tolist()}, expected one number of frames per second")
    kinds = {"poses": ranges.ANGLE, "trans": ranges.POSITION, "betas": ranges.BETAS, rates[0]: ranges.RATE}
    for key, values in {"poses": poses, "trans": translation, "betas": betas, rates[0]: rate}.items():
        kinds[key].check(key, values, FileError)
    up = str(arrays.get("up_axis", "z"))
    if up not in ("y", "z"):
        raise FileError(f"up_axis is {up!r}, expected y or z")
    pose, betas, notes = joint_poses(poses), betas[: body.num_betas], []
    if body.num_vertices != jn.SMPL_NUM_VERTICES and "body_model" not in arrays:
        if betas.any():
            notes.append(
                "People have the body's mean shape: the motion's own is in SMPL's shape directions, which this body lacks; "
                "--body_model= takes an SMPL file"
            )
        betas = np.zeros(body.num_betas)
    if odd := ranges.too_fast(translation, rate.item()):
        notes.append(f"The motion of {path} {odd}")
    if up == "z":
        pose, translation = turn(pose, translation, rest_pelvis(body, betas), Y_UP_FROM_Z_UP)
    return Motion(pose=pose, translation=translation, betas=betas, fps=float(rate.item())), notes


def joint_poses(poses: Array) -> Array:
    """SMPL's joints (T, 24, 3) of rows (T, D) of `WIDTHS` numbers: as they are, or 22 of them and still hands."""
    joints = poses.reshape(len(poses), -1, 3)
    if joints.shape[1] == jn.NUM_JOINTS:
        return joints
    hands = np.zeros((len(poses), jn.NUM_JOINTS - NUM_BODY_JOINTS, 3))
    return np.concatenate([joints[:, :NUM_BODY_JOINTS], hands], axis=1)


def rest_pelvis(body: smpl.SMPL, betas: Array) -> Array:
    """Where the pelvis (3,) of the unposed body is, metres, for the first shape coefficients `betas`."""
    shape = np.zeros(body.num_betas, np.float32)
    shape[: len(betas)] = betas
    return np.asarray(smpl.rest_joints(body, shape)[0], float)  # pyright: ignore[reportArgumentType]


def turn(pose: Array, translation: Array, pelvis: Array, rotation: Rotation) -> tuple[Array, Array]:
    """Turns a motion into another world: every point of the body is turned about the world's origin.

    The root turns the body about the resting pelvis p, not about the origin: a point x stands at p + R (x - p) + t. With the
    turn A that is p + A R (x - p) + (A t + A p - p), so the translation takes up what the pelvis lies off the origin.

    Args:
      pose: (T, 24, 3) axis-angle, root in the world.
      translation: (T, 3) metres.
      pelvis: (3,) of the resting body, metres.
      rotation: from the motion's world to the other, such as `Y_UP_FROM_Z_UP`.

    Returns:
      Pose and translation in the other world.
    """
    turned = pose.copy()
    turned[:, 0] = (rotation * Rotation.from_rotvec(pose[:, 0])).as_rotvec()
    return turned, rotation.apply(translation + pelvis) - pelvis


def resample(motion: Motion, fps: float) -> Motion:
    """The motion at another frame rate, from its first frame up to its last: joints by slerp, translation linearly."""
    frames = len(motion.pose)
    # The last moment is kept where rounding would lose it.
    count = int(np.floor((frames - 1) * fps / motion.fps + 1e-6)) + 1
    at = np.minimum(np.arange(count) * motion.fps / fps, frames - 1)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, frames - 1)
    part = at - low
    start, end = (Rotation.from_rotvec(motion.pose[which].reshape(-1, 3)) for which in (low, high))
    step = (start.inv() * end).as_rotvec() * np.repeat(part, jn.NUM_JOINTS)[:, None]
    pose = (start * Rotation.from_rotvec(step)).as_rotvec().reshape(count, jn.NUM_JOINTS, 3)
    translation = motion.translation[low] + part[:, None] * (motion.translation[high] - motion.translation[low])
    return dataclasses.replace(motion, pose=pose, translation=translation, fps=fps)


def _numbers(arrays: dict[str, Array], key: str, rank: int | None) -> Array:
    array = arrays[key]
    if array.dtype.kind not in "fiu":
        raise FileError(f"{key} is an array of {array.dtype}, expected numbers")
    if rank is not None and array.ndim != rank:
        raise FileError(f"{key} has shape {array.shape}, expected {rank} axes")
    most = neutral_file.MOST_FRAMES * max(WIDTHS)
    if array.size > most:
        raise FileError(f"{key} has {array.size} numbers, expected {most} at most; split the motion")
    bad = int(array.size - np.isfinite(array).sum())
    if bad:
        raise FileError(f"{key} has {bad} values that are NaN or infinite")
    return array.astype(float)
