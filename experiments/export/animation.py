"""The motion of one instance, sampled from the field at a frame rate, from which all exported files are written."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from body_models import joints as jn
from body_models import smpl
from body_models.posing import pose_in_chunks
from experiments.results.reading import Run
from nemo_jax import model
from nemo_jax.contact import FEET

Array = np.ndarray


@dataclasses.dataclass(frozen=True)
class Animation:
    """T frames of one person in a world with y up, metres.

    fps: frame rate; frame t is at t / fps seconds. phases (T,): phases of the shared motion. rotations
    (T, 24, 3, 3): of each joint relative to its parent, of the root relative to the world. translation (T, 3): added to
    the posed body. betas (S,): shape. joints (T, 24, 3); keypoints (T, 25, 3), BODY_25; lowest (T,): height of the
    lowest vertex. contact (T, 6), or (T, 4) of the feet alone: probabilities that `nemo_jax.contact.POINTS` stand on the
    ground, whose floor is y = 0; None where the fit has none. locked: whether planted feet have been made to stand still.
    """

    name: str
    action: str
    fps: float
    phases: Array
    rotations: Array
    translation: Array
    betas: Array
    body: smpl.SMPL
    joints: Array
    keypoints: Array
    lowest: Array
    contact: Array | None = None
    locked: bool = False

    @property
    def times(self) -> Array:
        """Seconds (T,) since the first frame."""
        return np.arange(len(self.phases)) / self.fps

    @property
    def standing(self) -> Array:
        """Whether (T, 4) the points of the feet are more likely down than not, of a clip with contacts."""
        assert self.contact is not None
        return self.contact[:, : len(FEET)] > 0.5

    @functools.cached_property
    def rest_joints(self) -> Array:
        """The joints (24, 3) of the unposed body, metres."""
        template, directions = self.body.joint_template, self.body.joint_shapedirs
        return np.asarray(template, float) + np.asarray(directions, float) @ self.betas

    @functools.cached_property
    def rest_vertices(self) -> Array:
        """The mesh (V, 3) of the unposed body, metres."""
        mesh = self.body.mesh
        return np.asarray(mesh.template, float) + np.asarray(mesh.shapedirs, float) @ self.betas

    @functools.cached_property
    def rest_landmarks(self) -> Array:
        """The points `jn.LANDMARKS` (L, 3) of the unposed body, metres."""
        points = self.body.landmarks
        anchors = np.asarray(points.template, float) + np.asarray(points.shapedirs, float) @ self.betas
        return np.asarray(self.body.landmark_sum, float) @ anchors

    @functools.cached_property
    def rotation_vectors(self) -> Array:
        """`rotations` as axis-angle (T, 24, 3), radians."""
        return Rotation.from_matrix(self.rotations.reshape(-1, 3, 3)).as_rotvec().reshape(-1, jn.NUM_JOINTS, 3)

    def moved(self, offset: Array) -> Animation:
        """The clip with every point moved by offset (3,), metres."""
        return dataclasses.replace(
            self,
            translation=self.translation + offset,
            joints=self.joints + offset,
            keypoints=self.keypoints + offset,
            lowest=self.lowest + offset[1],
        )

    def grounded(self) -> Animation:
        """The clip moved vertically so that its lowest vertex over all frames is at y = 0."""
        return self.moved(np.array([0, -self.lowest.min(), 0]))

    def shaped(self, betas: Array) -> Animation:
        """The clip with another body shape (S,), the same rotations and the same path of the pelvis."""
        root = smpl.rest_joints(self.body, jnp.asarray(betas, jnp.float32))[0]
        translation = self.joints[:, 0] - np.asarray(root, float)
        return posed(
            self.name,
            self.action,
            self.fps,
            self.phases,
            self.rotations,
            translation,
            np.asarray(betas, float),
            self.body,
            self.contact,
        )


def sample(saved: Run, instance: int, fps: float | None = None, ground: bool = True) -> Animation:
    """An instance of a finished run, sampled from its field.

    Args:
      saved: the run.
      instance: index of the instance.
      fps: frames per second; None for the clip's own. Nothing is interpolated: the field is evaluated at each time.
      ground: move the clip so that its lowest point is at height 0, where the fit has found no floor, which is there.
    """
    own = float(saved.dataset.clips.fps[instance])
    fps = fps or own
    rotations, translation = saved.at_rate(instance, fps)
    seconds = (saved.num_frames(instance) - 1) / own
    raw_phases = saved.raw_phases_at(instance, np.arange(len(rotations)) / fps / max(seconds, 1e-9))
    phases = _warp(saved.params, saved.config, instance, jnp.asarray(raw_phases, jnp.float32))
    name, betas = saved.dataset.names[instance], np.asarray(saved.params.betas[instance], float)
    contact = saved.contact_at(instance, raw_phases)
    motion = (np.asarray(phases), rotations, translation.astype(float), betas, saved.body, contact)
    clip = posed(name, saved.dataset.action, fps, *motion)
    return clip.grounded() if ground and saved.params.ground is None else clip


def posed(
    name: str,
    action: str,
    fps: float,
    phases: Array,
    rotations: Array,
    translation: Array,
    betas: Array,
    body: smpl.SMPL,
    contact: Array | None = None,
) -> Animation:
    """The clip of a motion, with its joints, keypoints and lowest vertices computed. Arguments as in `Animation`."""
    found = pose_in_chunks(_pose, (body, betas), rotations, translation)
    points = [part.astype(float) for part in found]
    return Animation(name, action, fps, phases, rotations, translation, betas, body, *points, contact=contact)


_warp = jax.jit(model.warp)


def _pose(shaped: tuple[smpl.SMPL, jax.Array], rotation: jax.Array, move: jax.Array):
    """Joints (24, 3), keypoints (25, 3) and height of the lowest vertex () of ONE frame."""
    body, betas = shaped
    mesh = smpl.vertices(body, rotation, betas, move)
    return smpl.joints(body, rotation, betas, move), smpl.keypoints(body, rotation, betas, move), mesh[:, 1].min()


def marker_names() -> list[str]:
    """Names of the `markers`: the joints, then the points of the face and the feet that BODY_25 adds."""
    return [*jn.SMPL_JOINTS, *(jn.BODY_25_NAMES[k] for k in _ON_THE_SKIN)]


def markers(clip: Animation) -> Array:
    """Points (T, 35, 3), metres: the 24 joints, then nose, eyes, ears, toes and heels."""
    return np.concatenate([clip.joints, clip.keypoints[:, _ON_THE_SKIN]], axis=1)


_ON_THE_SKIN = [k for k, joint in enumerate(jn.BODY_25) if joint >= jn.NUM_JOINTS]
