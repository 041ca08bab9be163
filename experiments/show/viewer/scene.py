"""What a page shows: the learned field, the clips in its world, their cameras, the initial estimates and the truth."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from body_models import joints as jn
from body_models import smpl
from experiments.results.reading import Run
from experiments.show.overview import widest_direction
from experiments.show.style import CENTRE, CYCLE, INITIAL, TRUTH
from experiments.show.viewer import figure
from experiments.show.viewer.packing import pack, pack_rounded

Array = np.ndarray

# Orange is the initial estimate's, and black the body between instances.
COLOURS = tuple(colour for colour in CYCLE if colour not in (INITIAL, CENTRE))
_GROUND_FRAMES = 24  # of each instance, whose lowest vertices make its ground
_GROUND_PERCENTILE = 5  # a few frames in which a foot sinks do not lift the rest


def describe(saved: Run) -> dict[str, Any]:
    """Everything that the page is given, as values of JSON. N instances, T frames, K keypoints, C numbers in a code."""
    dataset, fitted = saved.dataset, saved.fitted
    clips, seen = dataset.clips, fitted.prediction
    exists = np.asarray(clips.frame_mask) > 0
    posed = [np.asarray(seen.rotations)[exists]]
    initial, truth = _initial(saved), _truth(saved)
    posed += [_matrices(other["pose"][other["mask"]]) for other in (initial, truth) if other is not None]
    across = widest_direction(np.asarray(seen.keypoints)[exists])
    visible = (np.asarray(clips.confidence) > 0) & exists[..., None]
    return {
        "action": dataset.action,
        "synthetic": dataset.synthetic,
        "names": list(dataset.names),
        "colours": [COLOURS[n % len(COLOURS)] for n in range(len(dataset.names))],
        "other_colours": {"initial": INITIAL, "truth": TRUTH, "between": CENTRE},
        "fps": np.asarray(clips.fps, float).tolist(),
        "frames": exists.sum(1).tolist(),
        "phases": pack(np.asarray(seen.phase)),
        "across": across.tolist(),
        "ground": [ground(saved, n) for n in range(len(dataset.names))],
        "field": _field(saved),
        "codes": pack(fitted.params.codes),
        "betas": pack(fitted.params.betas),
        "mirrored": (np.asarray(fitted.params.mirrored) > 0.5).tolist(),
        "cameras": {
            "rotation": pack(fitted.camera_from_world),
            "translation": pack(fitted.camera_translation),
            "focal": np.asarray(fitted.focal, float).tolist(),
            "principal": np.asarray(fitted.principal, float).tolist(),
            "image_size": np.asarray(clips.image_size, float).tolist(),
        },
        "keypoints": pack_rounded(np.where(visible[..., None], clips.keypoints, 0), 16),
        "visible": pack(visible),
        "limbs": [list(limb) for limb in jn.BODY_25_LIMBS],
        "initial": _packed(initial),
        "truth": _packed(truth),
        "body": figure.describe(saved.body, np.concatenate(posed)),
    }


def ground(saved: Run, instance: int) -> float:
    """Height, metres, of the lowest feet of an instance: what its body stands on."""
    frames = np.linspace(0, saved.num_frames(instance) - 1, _GROUND_FRAMES).round().astype(int)
    seen = saved.fitted.prediction
    motion = (seen.rotations[instance, frames], seen.translation[instance, frames])
    lowest = _lowest(saved.body, jnp.asarray(saved.params.betas[instance]), *map(jnp.asarray, motion))
    return float(np.percentile(np.asarray(lowest), _GROUND_PERCENTILE))


@jax.jit
def _lowest(body: smpl.SMPL, betas: jax.Array, rotations: jax.Array, translations: jax.Array) -> jax.Array:
    """Height (P,) of the lowest vertex in poses (P, 24, 3, 3), (P, 3)."""
    return jax.lax.map(
        lambda motion: smpl.vertices(body, motion[0], betas, motion[1])[:, 1].min(), (rotations, translations)
    )


def _field(saved: Run) -> dict[str, Any]:
    """Weights of the field as `web/field.js` evaluates it; an exact copy."""
    params, config = saved.params.field, saved.config
    layers = [params[f"hidden_{layer}"] for layer in range(3)]
    features = {"kind": config.features, "kernel": config.kernel, "centres": config.num_centres}
    if config.features == "rbf":
        features["log_scales"] = pack(params["features"]["log_scales"])
    return {
        "features": features,
        "layers": [
            {"kernel": pack(layer["kernel"]), "bias": pack(layer["bias"])}
            for layer in [*layers, params["rotation"], params["translation"]]
        ],
    }


def _initial(saved: Run) -> dict[str, Array] | None:
    """The initial estimates pose (N, T, 24, 3) with their roots in the world, mask (N, T); None where there is none.

    They know how the root is turned towards the camera, not where it is: the page puts them where the fit is.
    """
    clips, fitted = saved.dataset.clips, saved.fitted
    mask = (np.asarray(clips.init_mask) > 0.5) & (np.asarray(clips.frame_mask) > 0)
    if not mask.any():
        return None
    pose = np.where(mask[..., None, None], np.asarray(clips.init_pose), 0.0).astype(np.float32)
    pose[..., 0, :] = _turned(np.swapaxes(fitted.camera_from_world, -1, -2), pose[..., 0, :])
    return {"pose": pose, "mask": mask}


def _truth(saved: Run) -> dict[str, Array] | None:
    """The truth, each clip moved as a whole onto its fit, without scale: pose (N, T, 24, 3), translation (N, T, 3), betas
    (N, S), mask (N, T); None where there is none."""
    dataset, seen = saved.dataset, saved.fitted.prediction
    if dataset.truth is None:
        return None
    true = dataset.truth
    pose, translation, joints = (np.asarray(x, np.float32) for x in (true.pose, true.translation, true.joints))
    mask = np.asarray(dataset.clips.frame_mask) > 0
    for array in (pose, translation, joints):
        mask = mask & np.isfinite(array.reshape(*mask.shape, -1)).all(-1)
    pose, translation, joints = (
        np.where(mask.reshape(mask.shape + (1,) * (array.ndim - 2)), array, 0.0)
        for array in (pose, translation, joints)
    )
    betas = np.zeros((len(mask), saved.body.num_betas), np.float32)
    shared = min(betas.shape[1], np.shape(true.betas)[1])
    betas[:, :shared] = np.asarray(true.betas)[:, :shared]
    moves = [_onto(joints[n, mask[n]], np.asarray(seen.keypoints)[n, mask[n]]) for n in range(len(mask))]
    turn, shift = (np.stack(part) for part in zip(*moves, strict=True))
    root = np.asarray(saved.body.joint_template)[0] + betas @ np.asarray(saved.body.joint_shapedirs)[0].T
    # A body turns about its root joint: x -> turn x + shift moves that joint, and turns the body about it.
    place = np.einsum("nij,ntj->nti", turn, root[:, None] + translation) + shift[:, None]
    pose[..., 0, :] = _turned(turn, pose[..., 0, :])
    return {"pose": pose, "translation": place - root[:, None], "betas": betas, "mask": mask}


def _onto(source: Array, target: Array) -> tuple[Array, Array]:
    """Rotation (3, 3) and translation (3,) that move joints (T, K, 3) of one clip onto others (Kabsch 1976)."""
    if not len(source):
        return np.eye(3), np.zeros(3)
    source, target = (points.reshape(-1, 3).astype(np.float64) for points in (source, target))
    middle, place = source.mean(0), target.mean(0)
    turn = Rotation.align_vectors(target - place, source - middle)[0].as_matrix()
    return turn, place - turn @ middle


def _turned(turn: Array, root: Array) -> Array:
    """Axis-angle (N, T, 3) of root orientations, each instance's turned by a matrix (N, 3, 3)."""
    own = Rotation.from_rotvec(root.reshape(-1, 3))
    every = Rotation.from_matrix(np.repeat(turn, root.shape[1], 0))
    return (every * own).as_rotvec().reshape(root.shape)


def _matrices(pose: Array) -> Array:
    """Rotations (P, 24, 3, 3) of axis-angle poses (P, 24, 3)."""
    return Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix().reshape(-1, jn.NUM_JOINTS, 3, 3)


def _packed(poses: dict[str, Array] | None) -> dict[str, Any] | None:
    if poses is None:
        return None
    return {key: pack_rounded(value, 16) if key == "pose" else pack(value) for key, value in poses.items()}
