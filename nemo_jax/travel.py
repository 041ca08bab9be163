"""Where the body goes, found before its cameras are searched.

Cameras are found against a motion. As long as the field's body stays in one place, a camera that sees somebody run past is
fitted to a body that does not, and ends where a later stage cannot lead it out. Under the cameras that the root
orientations suggest, each clip tells by itself where the body is in every frame; the clips' paths are made smooth, the
median of them is the action's, and the field is set to go that way: a long one by its polynomial of the phase.
"""

import dataclasses

import jax
import jax.numpy as jnp

from nemo_jax import camera as cam
from nemo_jax import camera_search, field, mirror, model, moving
from nemo_jax.camera_search import Sight
from nemo_jax.clips import Clips
from nemo_jax.config import FitConfig
from nemo_jax.model import Assets, Params
from nemo_jax.moving import Views

Array = jax.Array

_RIDGE = 1e-2  # of closed forms, in parts of the mean square of what they are fitted to
_GRID = 48
# Metres from which on the polynomial tells a part of a path, and all of it.
_SHORT, _LONG = 1.5, 3.0


def path_of_clip(
    points: Array, keypoints: Array, weights: Array, views: Views, focal: Array, principal: Array, yaw: Array
) -> Array:
    """Where (P, 3), metres, the body of ONE clip is in P frames, in the axes of a world in which the camera is level.

    Args:
      points: (P, K, 3) metres, posed bodies that stay at one place of that world. keypoints: (P, K, 2) pixels. weights:
        (P, K), 0 excludes a point. views: (P,), None where the camera stands still. focal: pixels. principal: (2,) pixels.
      yaw: () of the camera, see `camera.level_camera`.
    """
    keypoints, weights = moving.steady_frames(views, keypoints, weights, focal, principal)
    rotation = cam.level_camera(yaw)
    turned = jnp.einsum("ij,pkj->pki", rotation, points, precision="highest")
    each = jax.vmap(cam.solve_translation, (0, 0, 0, None, None))
    return jnp.matmul(each(turned, keypoints, weights, focal, principal), rotation, precision="highest")


def smoothed(phases: Array, path: Array, weights: Array, at: Array) -> Array:
    """The cubic polynomial (G, 3) nearest to a path (P, 3) at `phases` (P,) with weights (P,), evaluated at phases (G,).

    Its constant is left out, since a camera stands anywhere: it is 0 at phase 0.
    """
    share = weights / jnp.maximum(weights.sum(), 1e-12)
    basis, goal = field.powers(phases), path
    basis, goal = basis - share @ basis, goal - share @ goal
    normal = jnp.matmul((share[:, None] * basis).T, basis, precision="highest")
    right = jnp.matmul((share[:, None] * basis).T, goal, precision="highest")
    normal = normal + _RIDGE * (jnp.trace(normal) / field.WAY_DEGREE + 1e-6) * jnp.eye(field.WAY_DEGREE)
    return jnp.matmul(field.powers(at), jax.scipy.linalg.solve(normal, right, assume_a="pos"), precision="highest")


def common(paths: Array, known: Array) -> Array:
    """The median path (G, 3) of clips' paths (N, G, 3), nearer to staying where they disagree; known (N,), 1 where a clip
    has one. Zero where none has."""
    there = known[:, None, None] > 0
    middle = jnp.nan_to_num(jnp.nanmedian(jnp.where(there, paths, jnp.nan), axis=0))
    count = jnp.maximum(known.sum(), 1)
    # What the mean of so many paths that differ so much says by chance (James and Stein, 1961).
    chance = jnp.sum(jnp.where(there, (paths - middle) ** 2, 0.0)) / count / jnp.maximum(count - 1, 1)
    return middle * jnp.maximum(1 - chance / jnp.maximum(jnp.sum(middle**2), 1e-12), 0.0)


def follow(params: Params, assets: Assets, config: FitConfig, clips: Clips, yaws: Array) -> Params:
    """The parameters with a field that goes where the clips say, under level cameras of `yaws` (N,)."""
    sight = camera_search.look(params, assets, config, clips)
    return going(params, config, find(sight, params, assets, yaws))


def find(sight: Sight, params: Params, assets: Assets, yaws: Array) -> Array:
    """The action's path (G, 3) at `grid()`, by what is seen of it under level cameras of `yaws` (N,)."""
    seen, weights = sight.prediction, sight.weight
    standing = seen.keypoints - seen.translation[:, :, None]
    lenses = assets.focal, assets.principal
    paths = jax.vmap(path_of_clip)(standing, sight.pixels, weights, sight.views, *lenses, yaws)
    paths = jax.vmap(smoothed, (0, 0, 0, None))(seen.phase, paths, weights.sum(-1), grid())
    paths = jnp.where(params.mirrored[:, None, None] > 0.5, mirror.SIGN * paths, paths)
    return common(paths, (weights.sum((1, 2)) > 0).astype(paths.dtype))


def grid() -> Array:
    """Phases (G,) at which paths are known."""
    return jnp.linspace(0.0, 1.0, _GRID)


def of_field(params: Params, config: FitConfig) -> Array:
    """The path (G, 3) of a field at `grid()`."""
    return model.sample(params, config, grid(), jnp.zeros(config.code_size))[1]


def going(params: Params, config: FitConfig, path: Array) -> Params:
    """The parameters with a field that goes a path (G, 3), known at `grid()`; poses are what they were.

    Its layers tell a short way and its polynomial a long one: as the layers' weights change in a fit, what they say of many
    metres changes with them, and somebody who goes far would be lost.
    """
    # The root's slope is finite where nobody goes anywhere.
    gone = jnp.sqrt(jnp.sum((path.max(0) - path.min(0)) ** 2) + 1e-12)
    share = jnp.clip((gone - _SHORT) / (_LONG - _SHORT), 0.0, 1.0)
    return _by_layers(_by_polynomial(params, share * path), config, path)


def _by_polynomial(params: Params, path: Array) -> Params:
    """The parameters with a field whose polynomial of the phase goes as much of a path (G, 3) as it can."""
    basis = field.powers(grid())
    normal = jnp.matmul(basis.T, basis, precision="highest")
    right = jnp.matmul(basis.T, path, precision="highest")
    way = jax.scipy.linalg.solve(normal, right, assume_a="pos")
    return dataclasses.replace(params, field={**params.field, "way": way})


def _by_layers(params: Params, config: FitConfig, path: Array) -> Params:
    """The parameters with a field whose layers go what is left of a path (G, 3).

    The head of translations is linear in the last hidden layer, so its smallest change is found in closed form.
    """
    features = jax.vmap(lambda phase: _hidden(params, config, phase))
    hidden = features(grid()) - features(jnp.zeros(1))
    change = path - of_field(params, config)
    gram = jnp.matmul(hidden, hidden.T, precision="highest")
    gram = gram + _RIDGE * (jnp.trace(gram) / gram.shape[0] + 1e-12) * jnp.eye(gram.shape[0])
    weights = jnp.matmul(hidden.T, jax.scipy.linalg.solve(gram, change, assume_a="pos"), precision="highest")
    head = dict(params.field["translation"])
    head["kernel"] = head["kernel"] + weights
    return dataclasses.replace(params, field={**params.field, "translation": head})


def _hidden(params: Params, config: FitConfig, phase: Array) -> Array:
    """The last hidden layer (H,) of the field at ONE phase and code 0."""
    last = "hidden_2"
    _, kept = model.field_module(config).apply(
        {"params": params.field},
        phase,
        jnp.zeros(config.code_size),
        capture_intermediates=lambda module, _: module.name == last,
    )
    return field.ACTIVATIONS[config.activation](jnp.asarray(kept["intermediates"][last]["__call__"][0]))
