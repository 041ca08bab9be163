"""The one data type: several instances of one action, padded, with masks."""

from collections.abc import Sequence

import chex
import jax
import jax.numpy as jnp
import numpy as np

from body_models import joints as jn
from body_models.pytree import pytree
from nemo_jax import instances as instances_lib
from nemo_jax.instances import Instance, pad

Array = jax.Array | np.ndarray
"""Clips that were read or built hold NumPy arrays; what is computed of them are JAX arrays."""
TIMED = ("keypoints", "confidence", "frame_mask", "init_pose", "init_mask", "camera_turn", "zoom")
"""The fields with an axis of frames, (N, T, ...)."""


@pytree
class Clips:
    """One action: N instances, T frames (the longest), K = 25 keypoints in BODY_25 order.

    keypoints (N, T, K, 2): pixels, x right, y down, origin at the top left of the image.
    confidence (N, T, K): detector confidence in [0, 1]; 0 = not seen.
    frame_mask (N, T): 1 where the frame exists. An instance's frames come first, its padding last.
    init_pose (N, T, 24, 3): initial estimate, axis-angle, SMPL order; the root is seen from the camera (x right, y down,
      z into the scene), as human mesh recovery methods give it.
    init_mask (N, T): 1 where that estimate exists; all 0 when there is none.
    image_size (N, 2): width, height in pixels.
    focal_length (N,): pixels; NaN = unknown.
    fps (N,): frames per second.
    lens (N,): number of the lens that filmed each instance; instances with equal numbers share an unknown focal length.
      None = each has its own.
    height (N,): how tall each person is, metres; NaN = unknown. None = nobody's is known.
    take (N,): number of the take that each instance belongs to; instances with equal numbers are cameras on one
      performance, see `takes`. None = each is a performance of its own.
    offset (N,): when the first frame of each instance was filmed, seconds on the clock of its take; None = all clips of a
      take start together.
    principal (N, 2): where the axis of each lens meets its picture, pixels; NaN = unknown, the middle. None = all unknown.
    camera_known (N, 9): the camera of each instance as of `nemo_jax.camera`, from a world that the known ones of a take have
      in common, see `rig`; NaN = unknown. None = all unknown.
    camera_turn (N, T, 3, 3): rotation of each frame's camera from the reference camera of its clip, in general that of its
      first frame; see `moving`. None = all cameras stand still.
    zoom (N, T): focal length of each frame over that of the reference, to which `focal_length` belongs; 0 in the padding.
      Given together with `camera_turn`.
    turn_focal (N,): pixels, the focal length with which the turns were found in the pictures; NaN = they are measured
      angles. None = all are.
    real (N,): 1 where the instance exists, 0 where it is padding without any frame, which comes after all existing
      instances (`stacking.pad_instances`); None = all exist.
    """

    keypoints: Array
    confidence: Array
    frame_mask: Array
    init_pose: Array
    init_mask: Array
    image_size: Array
    focal_length: Array
    fps: Array
    lens: Array | None = None
    take: Array | None = None
    offset: Array | None = None
    real: Array | None = None
    height: Array | None = None
    principal: Array | None = None
    camera_known: Array | None = None
    camera_turn: Array | None = None
    zoom: Array | None = None
    turn_focal: Array | None = None

    @classmethod
    def from_instances(cls, instances: Sequence[Instance]) -> "Clips":
        """Pads instances of different lengths to the longest and stacks them, as NumPy float32 arrays.

        Raises:
          ValueError: `instances` is empty, or the arrays of an instance have inconsistent shapes; the message names
            both.
        """
        if not len(instances):
            raise ValueError("Clips.from_instances was given no instances, expected at least one")
        for number, instance in enumerate(instances):
            instances_lib.check(instance, f"instance {number}")

        def keypoints(instance: Instance) -> np.ndarray:
            # The pixels of undetected joints are never used, but a NaN among them would make gradients NaN.
            given, seen = np.asarray(instance.keypoints), np.asarray(instance.confidence)[..., None] > 0
            return np.where(seen | np.isfinite(given), given, 0)

        def pose(instance: Instance) -> np.ndarray:
            none = np.zeros((instance.num_frames, jn.NUM_JOINTS, 3))
            return none if instance.init_pose is None else np.asarray(instance.init_pose)

        def pose_mask(instance: Instance) -> np.ndarray:
            if instance.init_pose is None:
                return np.zeros(instance.num_frames)
            return np.ones(instance.num_frames) if instance.init_mask is None else np.asarray(instance.init_mask)

        heights = np.array([i.height for i in instances], np.float32)
        found_with = np.array([i.turn_focal for i in instances], np.float32)
        moves = any(i.camera_turn is not None or i.zoom is not None for i in instances)
        return cls(
            keypoints=pad([keypoints(i) for i in instances]),
            confidence=pad([np.asarray(i.confidence) for i in instances]),
            frame_mask=pad([np.ones(i.num_frames) for i in instances]),
            init_pose=pad([pose(i) for i in instances]),
            init_mask=pad([pose_mask(i) for i in instances]),
            image_size=np.array([i.image_size for i in instances], np.float32),
            focal_length=np.array([i.focal_length for i in instances], np.float32),
            fps=np.array([i.fps for i in instances], np.float32),
            height=None if np.isnan(heights).all() else heights,
            camera_turn=pad([i.turns for i in instances]) if moves else None,
            zoom=pad([i.zooms for i in instances]) if moves else None,
            turn_focal=found_with if moves and not np.isnan(found_with).all() else None,
        )

    @property
    def num_instances(self) -> int:
        return self.keypoints.shape[-4]

    @property
    def num_frames(self) -> int:
        return self.keypoints.shape[-3]


@pytree
class GroundTruth:
    """The ground truth of the clips, in a class of its own so that a fit cannot see it.

    pose (N, T, 24, 3): axis-angle, the root in a world frame with y up. translation (N, T, 3): metres, added to the body.
    betas (N, S). joints (N, T, K, 3): BODY_25 joints in that world, metres.
    """

    pose: Array
    translation: Array
    betas: Array
    joints: Array


def check(clips: Clips) -> None:
    """Names, at trace time, the first field whose shape does not fit the others. Raises AssertionError."""
    n, t, k = clips.num_instances, clips.num_frames, jn.NUM_KEYPOINTS
    chex.assert_shape(clips.keypoints, (n, t, k, 2), custom_message="Clips.keypoints")
    chex.assert_shape(clips.confidence, (n, t, k), custom_message="Clips.confidence")
    chex.assert_shape(clips.frame_mask, (n, t), custom_message="Clips.frame_mask")
    chex.assert_shape(clips.init_pose, (n, t, jn.NUM_JOINTS, 3), custom_message="Clips.init_pose")
    chex.assert_shape(clips.init_mask, (n, t), custom_message="Clips.init_mask")
    chex.assert_shape(clips.image_size, (n, 2), custom_message="Clips.image_size")
    chex.assert_shape(clips.focal_length, (n,), custom_message="Clips.focal_length")
    chex.assert_shape(clips.fps, (n,), custom_message="Clips.fps")
    optional = dict.fromkeys(("lens", "height", "take", "offset", "real", "turn_focal"), (n,))
    optional |= {"principal": (n, 2), "camera_known": (n, 9), "camera_turn": (n, t, 3, 3), "zoom": (n, t)}
    for name, shape in optional.items():
        if getattr(clips, name) is not None:
            chex.assert_shape(getattr(clips, name), shape, custom_message=f"Clips.{name}")
    if (clips.camera_turn is None) != (clips.zoom is None):
        raise AssertionError("Clips.camera_turn and Clips.zoom are given together or not at all")


def num_frames(clips: Clips) -> Array:
    """Frames of each instance (N,)."""
    return clips.frame_mask.sum(-1)


def posed_frames(clips: Clips) -> Array:
    """1 where a frame (N, T) exists and has an initial pose."""
    return clips.init_mask * clips.frame_mask


def posed(clips: Clips) -> Array:
    """Which instances (N,) have an initial pose in some frame."""
    return posed_frames(clips).sum(-1) > 0


def which_real(clips: Clips) -> Array | None:
    """Mask (N,), bool, of the instances that exist, for the `where` argument of `jnp.mean`; None = all exist."""
    return None if clips.real is None else clips.real > 0


def averages(clips: Clips, numbers: Array) -> jax.Array:
    """The matrix (N, N) that averages a value of each instance over the existing instances of the same number (N,)."""
    numbers = jnp.asarray(numbers)
    same = (numbers[:, None] == numbers).astype(jnp.float32)
    if clips.real is not None:
        same = same * clips.real
    return same / jnp.maximum(same.sum(-1, keepdims=True), 1.0)


def raw_phase(clips: Clips) -> jax.Array:
    """Time of every frame (N, T), 0 to 1, within its clip or, where clips form takes, within the span of its take."""
    own = clip_phase(clips)
    if clips.take is None:
        return own
    first, last = take_spans(clips)
    start, end = _times(clips)
    length = jnp.maximum(last - first, 1e-6)
    return ((start - first) / length)[:, None] + own * ((end - start) / length)[:, None]


def take_spans(clips: Clips) -> tuple[jax.Array, jax.Array]:
    """The first and the last moment (N,) that any clip of each one's take shows, seconds on the clock of the take.

    Without takes, of each clip by itself.
    """
    start, end = _times(clips)
    if clips.take is None:
        return start, end
    take = jnp.asarray(clips.take)
    same = (take[:, None] == take) & (num_frames(clips) > 0)
    over = lambda values, reduce, none: reduce(jnp.where(same, values, none), -1)
    first, last = over(start, jnp.min, jnp.inf), over(end, jnp.max, -jnp.inf)
    # Padding has no frames, and may have no take that exists.
    exists = same.any(-1)
    return jnp.where(exists, first, start), jnp.where(exists, last, end)


def _times(clips: Clips) -> tuple[jax.Array, jax.Array]:
    """When the first and the last frame (N,) of each clip were filmed, seconds."""
    start = jnp.zeros(clips.num_instances) if clips.offset is None else jnp.asarray(clips.offset)
    return start, start + jnp.maximum(num_frames(clips) - 1, 0) / jnp.asarray(clips.fps)


def clip_phase(clips: Clips) -> jax.Array:
    """t / (F - 1) per instance (N, T); padding is clamped to 1, and the phase of a single frame is 0."""
    last = jnp.maximum(num_frames(clips) - 1, 1)[:, None]
    return jnp.minimum(jnp.arange(clips.num_frames) / last, 1.0)
