"""Motion -> observations: what a camera, a keypoint detector and a mesh recovery method would say of a known motion.

Every constant of the model is a field of `ObservationModel`. The world is y up, the camera x right, y down, z into the
scene; a rotation named `world_from_camera` maps camera vectors to the world. Everything is NumPy float64; the body
alone is evaluated by JAX, in float32.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from body_models import joints as jn
from body_models import smpl
from body_models.posing import pose_in_chunks
from experiments.data.camera import Camera
from nemo_jax.instances import Instance
from nemo_jax.options import option

Array = np.ndarray
MODELLED_FPS = 30.0  # what the constants of `ObservationModel`, many of them per frame, are meant for


def _range(default: tuple[float, float], text: str, **known: Any) -> Any:
    """An option of two numbers between which one is drawn."""
    wrong = lambda ends: None if ends[0] <= ends[1] else "is out of range; give the least and then the greatest"
    return option(default, text, check=wrong, **known)


@dataclasses.dataclass(frozen=True)
class ObservationModel:
    """How a motion is seen. Ranges are (least, greatest), drawn uniformly per video."""

    image_size: tuple[int, int] = option(
        (1920, 1080), "width, height, pixels", least=1, most=65_535, group="the camera, one static camera a video"
    )
    focal_range: tuple[float, float] = _range((1300.0, 1700.0), "pixels", above=0, most=1e6)
    focal_known: bool = option(True, "whether the clip says its focal length; off = NaN")
    focal_told: float = option(
        1.0, "factor by which the focal length that the clip says differs from the true one", above=0, most=1e6
    )
    distance_range: tuple[float, float] = _range(
        (4.5, 7.0), "metres, on the ground, from the middle of the motion", above=0, most=1e6
    )
    azimuth_range: tuple[float, float] = _range(
        (0.0, 360.0), "degrees about the vertical; 0 looks from +z", least=-1e6, most=1e6
    )
    height_range: tuple[float, float] = _range(
        (0.9, 1.8), "metres above the lowest point of the motion", least=-1e6, most=1e6
    )
    aim_sd: float = option(0.08, "metres, how far the optical axis misses the middle of the motion", least=0, most=1e6)
    roll_sd: float = option(1.0, "degrees", least=0, most=1e6)

    cut_share: float = option(0.0, "of the motion that the clip misses, at its start or at its end", least=0, most=0.9)

    noise_px: float = option(
        5.0, "sd per coordinate of a joint at rest, pixels", least=0, most=1e6, group="the keypoint detector"
    )
    noise_motion: float = option(
        0.12, "added sd, as a share of the joint's own motion since the last frame", least=0, most=1e6
    )
    confidence_px: float = option(30.0, "confidence is exp(-sd / confidence_px), times a factor ...", above=0, most=1e6)
    confidence_spread: float = option(0.1, "... drawn from U(1 - spread, 1)", least=0, most=1)
    lost_fraction: float = option(0.08, "of (frame, joint) pairs, not detected", least=0, below=1)
    lost_burst: float = option(5.0, "mean length of such a gap, frames", least=1, most=1e6)
    swapped_fraction: float = option(0.02, "of frames, left leg taken for the right one", least=0, below=1)
    swapped_burst: float = option(2.0, "mean length of a swap, frames", least=1, most=1e6)
    exchanged_share: float = option(
        0.0,
        "of a clip's frames, in which left and right are exchanged in one stretch, of the legs and in another of arms and "
        "head; in the initial poses too",
        least=0,
        most=1,
    )
    exchanged_clips: int = option(1, "clips of an action, its first ones, that this happens to", least=0, most=10_000)

    pull: float = option(
        0.25,
        "share of the way from the truth to the clip's mean pose, body joints",
        least=0,
        most=1,
        group="the initial 3D pose; angles are sd per rotation-vector component, radians",
    )
    pull_root: float = option(0.0, "the same for the root, which such methods follow well", least=0, most=1)
    bias_sd: float = option(0.12, "constant per video and joint", least=0, most=100)
    drift_sd: float = option(0.12, "slow", least=0, most=100)
    drift_frames: float = option(15.0, "sd of the kernel that makes it slow, frames", above=0, most=10_000)
    jitter_sd: float = option(0.05, "independent per frame", least=0, most=100)
    missing_fraction: float = option(0.04, "of frames without an estimate", least=0, below=1)
    missing_burst: float = option(2.0, "mean length of such a gap, frames", least=1, most=1e6)


def problem(model: ObservationModel) -> str | None:
    """Which constants do not go together, to follow `--observe.` in a sentence; None = all do."""
    for kind in ("lost", "swapped", "missing"):
        share, length = (getattr(model, f"{kind}_{what}") for what in ("fraction", "burst"))
        least = max(1.0, share / (1 - share))
        if length < least:
            needed = f"give {least:g} or more, as a share of {share:g} needs runs that long"
            return f"{kind}_burst={length} is out of range; {needed}"
    return None


@dataclasses.dataclass(frozen=True)
class Motion:
    """A motion of F frames.

    pose (F, 24, 3): axis-angle, root in the world. translation (F, 3): metres, added to the body. betas (S,): shape
    coefficients. fps: frames per second.
    """

    pose: Array
    translation: Array
    betas: Array
    fps: float = MODELLED_FPS


@dataclasses.dataclass(frozen=True)
class Observation:
    """What came of one motion: the instance that a fit may see, and what is true of it.

    joints (F, 25, 3): BODY_25 joints in the world, metres. clean (F, 25, 2): their exact pixels, NaN behind the camera.
    """

    instance: Instance
    motion: Motion
    camera: Camera
    joints: Array
    clean: Array


_CHUNK = 128  # frames posed at once


def observe(rng: np.random.Generator, body: smpl.SMPL, motion: Motion, model: ObservationModel) -> Observation:
    """Films one motion with a camera drawn from the model. Equal generators give equal observations."""
    if model.cut_share > 0:
        motion = cut(rng, motion, model.cut_share)
    joints = body_keypoints(body, motion.pose, motion.betas) + motion.translation[:, None]
    camera = draw_camera(rng, joints, model)
    clean = camera.project(joints)
    keypoints, confidence = detect(rng, clean, model)
    init_pose, init_mask = estimate_pose(rng, motion.pose, camera, model)
    if model.exchanged_share > 0:
        exchange(rng, keypoints, confidence, init_pose, model.exchanged_share)
    instance = Instance(
        keypoints=keypoints,
        confidence=confidence,
        init_pose=init_pose,
        init_mask=init_mask,
        image_size=model.image_size,
        focal_length=camera.focal * model.focal_told if model.focal_known else float("nan"),
        fps=motion.fps,
    )
    return Observation(instance=instance, motion=motion, camera=camera, joints=joints, clean=clean)


def cut(rng: np.random.Generator, motion: Motion, share: float) -> Motion:
    """The motion without a share of its frames, at its start or at its end; two frames are left at least."""
    frames = len(motion.pose)
    kept = max(frames - round(share * frames), min(frames, 2))
    first = frames - kept if rng.random() < 0.5 else 0
    rows = slice(first, first + kept)
    return dataclasses.replace(motion, pose=motion.pose[rows], translation=motion.translation[rows])


def body_keypoints(body: smpl.SMPL, pose: Array, betas: Array) -> Array:
    """BODY_25 joints (F, 25, 3), metres, of axis-angle poses (F, 24, 3) with zero translation, float64."""
    rotations = Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix().reshape(len(pose), -1, 3, 3)
    shape = np.zeros(body.num_betas, np.float32)
    shape[: len(betas)] = betas[: body.num_betas]
    return pose_in_chunks(_keypoints, (body, shape), rotations, size=_CHUNK).astype(float)


def _keypoints(shaped: tuple[smpl.SMPL, jax.Array], rotation: jax.Array) -> jax.Array:
    """BODY_25 joints (25, 3) of ONE frame."""
    return smpl.keypoints(shaped[0], rotation, shaped[1], jnp.zeros(3))


def draw_camera(rng: np.random.Generator, joints: Array, model: ObservationModel) -> Camera:
    """A camera that looks at the middle of the motion. joints: (F, K, 3) in the world, metres."""
    low, high = joints.min((0, 1)), joints.max((0, 1))
    middle = (low + high) / 2
    azimuth = np.radians(rng.uniform(*model.azimuth_range))
    distance, height = rng.uniform(*model.distance_range), rng.uniform(*model.height_range)
    focal = rng.uniform(*model.focal_range)
    position = np.array([middle[0], low[1] + height, middle[2]])
    position += distance * np.array([np.sin(azimuth), 0.0, np.cos(azimuth)])
    target = middle + rng.normal(0, model.aim_sd, 3)
    forward = (target - position) / np.linalg.norm(target - position)
    # Image x is right of the viewing direction: forward x up, with y down completing the frame.
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    level = np.stack([right, np.cross(forward, right), forward], 1)
    roll = Rotation.from_euler("z", rng.normal(0, model.roll_sd), degrees=True).as_matrix()
    return Camera(world_from_camera=level @ roll, position=position, focal=focal, image_size=model.image_size)


def detect(rng: np.random.Generator, clean: Array, model: ObservationModel) -> tuple[Array, Array]:
    """What a 2D detector says of exact pixels (F, K, 2): keypoints (F, K, 2) and confidence (F, K).

    A joint that is lost or outside the image is (0, 0) with confidence 0, as OpenPose writes it.
    """
    frames, count, _ = clean.shape
    speed = np.linalg.norm(np.diff(clean, axis=0, prepend=clean[:1]), axis=-1)
    sd = model.noise_px + model.noise_motion * speed
    keypoints = clean + sd[..., None] * rng.standard_normal(clean.shape)
    confidence = np.exp(-sd / model.confidence_px) * rng.uniform(1 - model.confidence_spread, 1, sd.shape)
    lost = bursts(rng, frames, count, model.lost_fraction, model.lost_burst)

    swapped = bursts(rng, frames, 1, model.swapped_fraction, model.swapped_burst)[:, 0]
    for detected in (keypoints, confidence):
        detected[swapped] = detected[swapped][:, LEGS_EXCHANGED]

    with np.errstate(invalid="ignore"):
        inside = np.all((keypoints >= 0) & (keypoints < np.asarray(model.image_size)), axis=-1)
    seen = inside & ~lost
    return np.where(seen[..., None], keypoints, 0.0), np.where(seen, confidence, 0.0)


# Joints of BODY_25 that trade places when a detector takes one leg for the other.
LEGS = tuple(
    i
    for i, name in enumerate(jn.BODY_25_NAMES)
    if name.split("_")[-1] in ("hip", "knee", "ankle", "toe", "heel") and i != 8
)
LEGS_EXCHANGED = jn.mirror_order(jn.BODY_25_NAMES, LEGS)


# The same of arms and head, and the joints of SMPL that belong to arms and to legs.
ARMS = tuple(i for i, name in enumerate(jn.BODY_25_NAMES) if ("left" in name or "right" in name) and i not in LEGS)
ARMS_EXCHANGED = jn.mirror_order(jn.BODY_25_NAMES, ARMS)
_OF_ARMS = [
    i for i, n in enumerate(jn.SMPL_JOINTS) if n.split("_")[-1] in ("collar", "shoulder", "elbow", "wrist", "hand")
]
_OF_LEGS = [i for i, n in enumerate(jn.SMPL_JOINTS) if n.split("_")[-1] in ("hip", "knee", "ankle", "foot")]


def exchange(rng: np.random.Generator, keypoints: Array, confidence: Array, init_pose: Array, share: float) -> None:
    """Exchanges left and right in place, of the legs in one stretch of a `share` of the frames and of the arms in another:
    keypoints (F, K, 2), confidence (F, K) and the limbs of initial poses (F, 24, 3), which come of the same mistake."""
    frames = len(keypoints)
    length = round(share * frames)
    for order, joints in ((LEGS_EXCHANGED, _OF_LEGS), (ARMS_EXCHANGED, _OF_ARMS)):
        first = rng.integers(0, frames - length + 1)
        rows = slice(first, first + length)
        keypoints[rows], confidence[rows] = keypoints[rows][:, order], confidence[rows][:, order]
        init_pose[rows, joints] = (init_pose[rows][:, jn.MIRROR_JOINTS] * (1.0, -1.0, -1.0))[:, joints]


def estimate_pose(
    rng: np.random.Generator, pose: Array, camera: Camera, model: ObservationModel
) -> tuple[Array, Array]:
    """What a mesh recovery method says of poses (F, 24, 3): init_pose (F, 24, 3), root in the camera, init_mask (F,)."""
    frames = len(pose)
    true = pose.copy()
    root = Rotation.from_matrix(camera.world_from_camera.T) * Rotation.from_rotvec(pose[:, 0])
    true[:, 0] = root.as_rotvec()
    bias = rng.normal(0, 1, (1, jn.NUM_JOINTS, 3)) * model.bias_sd
    drift = smooth_noise(rng, frames, (jn.NUM_JOINTS, 3), model.drift_frames) * model.drift_sd
    jitter = rng.standard_normal((frames, jn.NUM_JOINTS, 3)) * model.jitter_sd
    error = bias + drift + jitter
    estimate = np.empty_like(true)
    for joint in range(jn.NUM_JOINTS):
        truth = Rotation.from_rotvec(true[:, joint])
        to_mean = (truth.inv() * truth.mean()).as_rotvec()
        share = model.pull if joint else model.pull_root
        pulled = truth * Rotation.from_rotvec(share * to_mean)
        estimate[:, joint] = (pulled * Rotation.from_rotvec(error[:, joint])).as_rotvec()
    missing = bursts(rng, frames, 1, model.missing_fraction, model.missing_burst)[:, 0]
    estimate[missing] = 0.0
    return estimate, 1.0 - missing


def bursts(rng: np.random.Generator, frames: int, count: int, fraction: float, mean_length: float) -> Array:
    """Boolean (frames, count): `count` independent on-off Markov chains.

    Each is on for `fraction` of the time on average, in runs whose mean length is `mean_length` frames.
    """
    if not 0 <= fraction < 1 or mean_length < 1:
        raise ValueError(
            f"bursts need a fraction in [0, 1) and a mean length of 1 or more, not {fraction} and {mean_length}"
        )
    stop = 1 / mean_length
    start = stop * fraction / (1 - fraction)
    draws = rng.random((frames, count))
    on = np.zeros((frames, count), bool)
    state = draws[0] < fraction
    on[0] = state
    for frame in range(1, frames):
        state = np.where(state, draws[frame] >= stop, draws[frame] < start)
        on[frame] = state
    return on


def smooth_noise(rng: np.random.Generator, frames: int, shape: tuple[int, ...], width: float) -> Array:
    """Unit-variance Gaussian noise (frames, *shape), correlated over `width` frames (sd of its kernel)."""
    margin = int(np.ceil(4 * width)) + 1
    noise = rng.standard_normal((frames + 2 * margin, *shape))
    filtered = gaussian_filter1d(noise, width, axis=0)[margin : margin + frames]
    # The filter's own gain, so that the variance does not depend on the draw.
    impulse = np.zeros(2 * margin + 1)
    impulse[margin] = 1.0
    return filtered / np.sqrt(np.sum(gaussian_filter1d(impulse, width) ** 2))
