"""A fit's answer to its clips: what the reports, the files and the pictures of a run are made from."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from body_models import smpl
from experiments.data import padding
from nemo_jax import camera as cam
from nemo_jax import clips as clips_lib
from nemo_jax import model, rotations
from nemo_jax.config import FitConfig
from nemo_jax.model import Assets, Params, Prediction


@dataclasses.dataclass(frozen=True)
class FittedMotion:
    """A fit's answer to its clips, as arrays (N, ...) on the host.

    The prediction's keypoints are BODY_25 with the nose. poses (N, T, 24, 3): its rotations in axis-angle. head_2d
    (N, T, 2): the pixel of what the data calls keypoint 0. A point x of the world is camera_from_world x +
    camera_translation in the camera.
    """

    params: Params
    prediction: Prediction
    poses: np.ndarray
    head_2d: np.ndarray
    raw_phases: np.ndarray
    camera_from_world: np.ndarray
    camera_translation: np.ndarray
    focal: np.ndarray
    principal: np.ndarray

    @property
    def scored_2d(self) -> np.ndarray:
        """Pixels (N, T, K, 2) to compare with the data's keypoints."""
        return np.concatenate([self.head_2d[:, :, None], self.prediction.keypoints_2d[:, :, 1:]], 2)

    def padded(self) -> "FittedMotion":
        """With the frame slots that `experiments.data.padding` gives to clips of this length."""
        frames = padding.slots(self.raw_phases.shape[1])
        prediction = jax.tree.map(lambda leaf: padding.array(leaf, frames), self.prediction)
        rest = padding.grown(self, ("poses", "head_2d", "raw_phases"), frames)
        return dataclasses.replace(self, prediction=prediction, **rest)


@jax.jit
def _predict(params: Params, assets: Assets, config: FitConfig, clips: clips_lib.Clips, nose_body: smpl.SMPL):
    seen = model.predict_clips(params, dataclasses.replace(assets, body=nose_body), config, clips)
    poses = rotations.matrix_to_axis_angle(seen.rotations)
    head = model.predict_clips(params, assets, config, clips).keypoints_2d[:, :, 0]
    rotation, translation = cam.split(params.cameras)
    focal = assets.focal * jnp.exp(params.log_focal)
    return seen, poses, head, clips_lib.raw_phase(clips), rotation, translation, focal


def predict(
    params: Params, assets: Assets, nose_body: smpl.SMPL, config: FitConfig, clips: clips_lib.Clips
) -> FittedMotion:
    """The fitted model on every frame; `nose_body` is the body whose keypoint 0 is the nose."""
    wide = jax.device_get(_predict(params, assets, config, padding.clips(clips), nose_body))
    *timed, rotation, translation, focal = wide
    seen, poses, head, phases = jax.tree.map(lambda leaf: leaf[:, : clips.num_frames], timed)
    return FittedMotion(
        params=jax.device_get(params),
        prediction=seen,
        poses=poses,
        head_2d=head,
        raw_phases=phases,
        camera_from_world=rotation,
        camera_translation=translation,
        focal=focal,
        principal=np.asarray(assets.principal),
    )
