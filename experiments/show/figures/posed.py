"""Bodies for figures: the field sampled at phases and codes, the meshes, and a view without visible perspective."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.colors import to_rgb

from body_models import smpl
from body_models.posing import pose_in_chunks
from experiments.show.render.rasterizer import Projection
from experiments.show.render.shading import Mesh, draw
from nemo_jax import mirror, model
from nemo_jax.config import FitConfig
from nemo_jax.model import Params

Array = np.ndarray

_CHUNK = 16  # bodies posed at once
_FAR = 60.0  # metres between camera and body; at this distance perspective is not visible


def sample(params: Params, config: FitConfig, phases: Array, codes: Array, mirrored: Array) -> tuple[Array, Array]:
    """Samples the field at warped phases (P,) and codes (P, C), reflected where `mirrored` (P,) is 1: rotations
    (P, 24, 3, 3) and translations (P, 3), metres."""
    return jax.device_get(_sample(params, config, *map(jnp.asarray, (phases, codes, mirrored))))


@jax.jit
def _sample(params: Params, config: FitConfig, phases: jax.Array, codes: jax.Array, mirrored: jax.Array) -> Any:
    motion = jax.vmap(model.motion, (None, None, 0, 0))(params, config, phases, codes)
    return jax.vmap(mirror.mirror_motion)(*motion, mirrored)


def vertices(body: smpl.SMPL, rotation: Array, betas: Array, translation: Array) -> Array:
    """Meshes (P, V, 3), metres, of rotations (P, 24, 3, 3), betas (P, S), translations (P, 3)."""
    return pose_in_chunks(smpl.vertices, body, rotation, betas, translation, size=_CHUNK)


def picture(
    mesh: Array,
    faces: Array,
    colour: str,
    axes: Array,
    centre: Array,
    pixels_per_metre: float,
    place: tuple[float, float],
    size: tuple[int, int],
) -> Array:
    """A body (V, 3) on white, RGB uint8.

    Args:
      axes: (3, 3), its rows are the directions that point right, down and away from the viewer in the picture.
      centre: (3,), the point that is shown at pixel `place`.
      size: width and height, pixels.
    """
    camera = Projection(
        camera_from_world=axes,
        translation=-axes @ centre + [0, 0, _FAR],
        focal=pixels_per_metre * _FAR,
        principal=np.asarray(place, float),
        size=size,
    )
    return draw(np.full((size[1], size[0], 3), 255, np.uint8), [Mesh(mesh, faces, to_rgb(colour))], camera)
