"""The data of the viewer page: the learned field, the clips in its world, cameras, initial estimates, ground truth."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from body_models import joints as jn
from body_models import smpl
from body_models.posing import pose_in_chunks
from experiments.data import moving_cameras
from experiments.data.visible import visible
from experiments.evaluation import expected_error
from experiments.results.reading import Run
from experiments.show.overview import widest_direction
from experiments.show.style import CENTRE, CYCLE, INITIAL, TRUTH
from experiments.show.viewer import figure
from experiments.show.viewer.packing import pack, pack_rounded
from nemo_jax import contact, path

Array = np.ndarray

# Orange is the initial estimate's, and black the body between instances.
COLOURS = tuple(colour for colour in CYCLE if colour not in (INITIAL, CENTRE))
_GROUND_FRAMES = 24  # number of frames of each instance whose lowest vertices determine the ground height
_WAY_POINTS = 65  # phases between which a clip's own path is straight
_CONTACT_NAMES = ("left_foot", "left_ankle", "right_foot", "right_ankle", "left_wrist", "right_wrist")
_CONTACT_JOINTS = tuple(jn.SMPL_JOINTS.index(name) for name in _CONTACT_NAMES)
_GROUND_PERCENTILE = 5  # robust to a few frames in which a foot is below the ground


def describe(saved: Run) -> dict[str, Any]:
    """All data of the page, as JSON values. N instances, T frames, K keypoints, C numbers in a code."""
    dataset, fitted = saved.dataset, saved.fitted
    clips, seen = dataset.clips, fitted.prediction
    exists = np.asarray(clips.frame_mask) > 0
    posed = [np.asarray(seen.rotations)[exists]]
    initial, truth = _initial(saved), _truth(saved)
    posed += [_matrices(other["pose"][other["mask"]]) for other in (initial, truth) if other is not None]
    across = widest_direction(np.asarray(seen.keypoints)[exists])
    drawn = visible(dataset, 0, derived=True)
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
        "expected_mm": pack(np.nan_to_num(expected_error.of_run(saved)).astype(np.float32)),
        "ways": _ways(saved),
        "ground": [ground(saved, n) for n in range(len(dataset.names))],
        "field": _field(saved),
        "contact": _contact(saved),
        "codes": pack(fitted.params.codes),
        "betas": pack(fitted.params.betas),
        "mirrored": (np.asarray(fitted.params.mirrored) > 0.5).tolist(),
        "cameras": {
            "rotation": pack(fitted.camera_from_world),
            "translation": pack(fitted.camera_translation),
            "focal": np.asarray(fitted.focal, float).tolist(),
            "principal": np.asarray(fitted.principal, float).tolist(),
            "image_size": np.asarray(clips.image_size, float).tolist(),
            "turn": None if fitted.camera_turn is None else pack(fitted.camera_turn),
            "zoom": None if fitted.zoom is None else pack(fitted.zoom),
        },
        "keypoints": pack_rounded(np.where(drawn[..., None], clips.keypoints, 0), 16),
        "visible": pack(drawn),
        "limbs": [list(limb) for limb in jn.BODY_25_LIMBS],
        "initial": _packed(initial),
        "truth": _packed(truth),
        "body": figure.describe(saved.body, np.concatenate(posed)),
    }


def ground(saved: Run, instance: int) -> float:
    """Height, in metres, of the ground under an instance: that of the fit's floor, else of its lowest vertices."""
    if saved.params.ground is not None:
        return 0.0
    frames = np.linspace(0, saved.num_frames(instance) - 1, _GROUND_FRAMES).round().astype(int)
    seen = saved.fitted.prediction
    motion = (seen.rotations[instance, frames], seen.translation[instance, frames])
    lowest = pose_in_chunks(_lowest, (saved.body, saved.params.betas[instance]), *motion)
    return float(np.percentile(lowest, _GROUND_PERCENTILE))


def _ways(saved: Run) -> dict[str, Any] | None:
    """The clips' own paths beside that of the field, (N, P, 3) metres at P evenly spaced phases; None without."""
    if saved.params.path is None:
        return None
    fitted, at = saved.fitted, np.linspace(0, 1, _WAY_POINTS)
    offsets = np.asarray(_offsets(jnp.asarray(saved.params.path), jnp.asarray(fitted.raw_phases)))
    found = []
    for n, offset in enumerate(offsets):
        frames = saved.num_frames(n)
        phases = np.asarray(fitted.prediction.phase[n, :frames])
        found.append(np.stack([np.interp(at, phases, offset[:frames, axis]) for axis in range(3)], -1))
    return pack(np.stack(found).astype(np.float32))


_offsets = jax.jit(jax.vmap(jax.vmap(path.offset, (None, 0))))


def _lowest(shaped: tuple[smpl.SMPL, jax.Array], rotation: jax.Array, translation: jax.Array) -> jax.Array:
    """Height () of the lowest vertex in ONE pose (24, 3, 3), (3,)."""
    return smpl.vertices(shaped[0], rotation, shaped[1], translation)[:, 1].min()


def _field(saved: Run) -> dict[str, Any]:
    """An exact copy of the field's weights, in the format that `web/field.js` evaluates."""
    params, config = saved.params.field, saved.config
    layers = [params[f"hidden_{layer}"] for layer in range(3)]
    features = {"kind": config.features, "kernel": config.kernel, "centres": config.num_centres}
    if config.features == "rbf":
        features["log_scales"] = pack(params["features"]["log_scales"])
    return {
        "features": features,
        "activation": config.activation,
        "layers": [
            {"kernel": pack(layer["kernel"]), "bias": pack(layer["bias"])}
            for layer in [*layers, params["rotation"], params["translation"]]
        ],
        "way": pack(params["way"]) if "way" in params else None,
    }


def _contact(saved: Run) -> dict[str, Any] | None:
    """An exact copy of the weights of contact, in the format that `web/contacts.js` evaluates, and where its P points are
    from the joints that move them, (P, 3) metres on the unposed body; None without contacts."""
    if saved.params.contact is None:
        return None
    count = np.shape(saved.params.contact["values"])[-1]
    body, joints = saved.body, list(_CONTACT_JOINTS[:count])
    rest = np.broadcast_to(np.eye(3, dtype=np.float32), (jn.NUM_JOINTS, 3, 3))
    # As one program: one by one its operations would take longer to compile than all of the page.
    points = jax.jit(smpl.keypoints)(body, rest, np.zeros(body.num_betas, np.float32), np.zeros(3, np.float32))
    points = points[np.array(contact.POINTS[:count])]
    return {
        "values": pack(saved.params.contact["values"]),
        "own": pack(saved.params.contact["own"]),
        "joints": joints,
        "offsets": pack(np.asarray(points - body.joint_template[np.array(joints)], np.float32)),
        "other_side": contact.OTHER_SIDE[:count].tolist(),
    }


def _initial(saved: Run) -> dict[str, Array] | None:
    """The initial estimates: pose (N, T, 24, 3) with root orientations in world axes, mask (N, T); None if there are
    none.

    Initial estimates have no position, only an orientation relative to the camera: the page draws them at the fit's.
    """
    clips, fitted = saved.dataset.clips, saved.fitted
    mask = (np.asarray(clips.init_mask) > 0.5) & (np.asarray(clips.frame_mask) > 0)
    if not mask.any():
        return None
    pose = np.where(mask[..., None, None], np.asarray(clips.init_pose), 0.0).astype(np.float32)
    pose = moving_cameras.in_reference(clips, pose)
    pose[..., 0, :] = _turned(np.swapaxes(fitted.camera_from_world, -1, -2), pose[..., 0, :])
    return {"pose": pose, "mask": mask}


def _truth(saved: Run) -> dict[str, Array] | None:
    """The ground truth, each clip rigidly aligned as a whole with its fit: pose (N, T, 24, 3), translation (N, T, 3),
    betas (N, S), mask (N, T); None where there is none."""
    true, aligned = saved.dataset.truth, saved.truth
    if true is None or aligned is None:
        return None
    pose, translation = (np.asarray(x, np.float32) for x in (true.pose, true.translation))
    mask = aligned.mask & np.isfinite(pose).all((-1, -2)) & np.isfinite(translation).all(-1)
    pose = np.where(mask[..., None, None], pose, 0.0)
    translation = np.where(mask[..., None], translation, 0.0)
    betas = np.zeros((len(mask), saved.body.num_betas), np.float32)
    shared = min(betas.shape[1], np.shape(true.betas)[1])
    betas[:, :shared] = np.asarray(true.betas)[:, :shared]
    turn, shift = aligned.rotation, aligned.translation
    root = np.asarray(saved.body.joint_template)[0] + betas @ np.asarray(saved.body.joint_shapedirs)[0].T
    # A pose rotates the body about its root joint: x -> turn x + shift moves that joint and turns the body about it.
    place = np.einsum("nij,ntj->nti", turn, root[:, None] + translation) + shift[:, None]
    pose[..., 0, :] = _turned(turn, pose[..., 0, :])
    return {"pose": pose, "translation": place - root[:, None], "betas": betas, "mask": mask}


def _turned(turn: Array, root: Array) -> Array:
    """Root orientations (N, T, 3), axis-angle, rotated by one matrix (N, 3, 3) per instance."""
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
