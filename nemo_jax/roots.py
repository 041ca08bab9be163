"""How whole bodies are turned, as given first poses say and the cameras see it.

Keypoints hardly show how the pelvis is pitched against the rest of the body: hips and spine bend the other way and every
point stays where it is. A first pose says it twice, by how hips and spine are bent and by how the root is turned in camera
axes. The second is counted here; errors of single clips fall out, since the clips share one motion.
"""

import jax
import jax.numpy as jnp

from nemo_jax import clips as clips_lib
from nemo_jax import moving, rotations
from nemo_jax.clips import Clips
from nemo_jax.model import Prediction

Array = jax.Array


def root_residuals(prediction: Prediction, cameras: Array, clips: Clips, instance: Array, frame: Array) -> Array:
    """Differences (B, 3, 3) of the root's rotation matrices, in camera axes, from those of given first poses; 0 in frames
    without a given pose.

    Args:
      prediction: of the frames, leaves (B, ...). cameras: (N, 9), which get no gradient: their keypoints know them better.
      clips: all of them. instance, frame: (B,) int, of the frames.
    """
    at = (instance, frame)
    mask = clips_lib.posed_frames(clips)[at]
    # Where there is none a pose may hold any value, including NaN.
    given = rotations.axis_angle_to_matrix(jnp.where(mask[:, None] > 0, clips.init_pose[at][:, 0], 0.0))
    camera_from_world = moving.camera_rotations(jax.lax.stop_gradient(cameras), clips, instance, frame)
    found = jnp.einsum("bij,bjk->bik", camera_from_world, prediction.rotations[:, 0], precision="highest")
    return jnp.sqrt(mask)[:, None, None] * (found - given)
