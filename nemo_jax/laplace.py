"""The Gauss-Newton posterior around a fit: how the result depends on the data, and how uncertain it is.

Around the fitted parameters the loss 1/2 |r|^2 of `nemo_jax.residuals` is read as a negative logarithm of probability, with
noise of standard deviation s on the entries of r. With J the Jacobian of r and an independent normal prior of standard
deviations t on the deviations of the parameters, the posterior precision of the deviations is J^T J / s^2 +
diag(1 / t^2) (Laplace's method with the Gauss-Newton matrix; MacKay, Neural Computation 1992). The prior also acts as
damping.

Only the two heads of the field and each instance's camera, shape and code may deviate; the layers below the heads and
the phases are fixed (the last-layer posterior; Daxberger et al., NeurIPS 2021). Of the heads' input features only the
leading directions are kept; they are few, because features change smoothly with phase. The precision therefore has only
a few thousand rows. It is assembled from one small matrix per frame: the Jacobian of the frame's residuals with respect
to the inputs of the frame (field outputs, camera and shape), computed by Jacobian-vector products. In the whitened
deviations u = deviations / t, no eigenvalue is below 1.
"""

import dataclasses
from collections.abc import Callable
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np

from body_models import smpl
from body_models.pytree import Tree, pytree
from nemo_jax import camera as cam
from nemo_jax import clips as clips_lib
from nemo_jax import lens, mirror, model, moving, path, residuals, rotations
from nemo_jax.batches import Batch
from nemo_jax.clips import Clips
from nemo_jax.config import FitConfig
from nemo_jax.model import Assets, Params, Prediction
from nemo_jax.objective import Targets

Array = jax.Array

_ROTATION, _HEADS = 144, 147  # output sizes: of the rotation head, and of both heads together


@pytree
class Given:
    """A finished fit. batch: B frames, each existing frame exactly once."""

    params: Params
    assets: Assets
    config: FitConfig
    clips: Clips
    targets: Targets
    batch: Batch


@pytree
class Tangents:
    """The linear map from the deviations u (D,) to the inputs z of each frame.

    z (B, Z): inputs of each frame, Z = 147 + 9 + S: outputs of both heads (translation relative to its origin), camera,
    shape.
    rotation, translation (B, R): the vectors by which a row of the rotation and of the translation head is multiplied:
    R - 1 leading directions of the features and a one, times the prior's standard deviations.
    own (B, Z, V): derivatives by the instance's V = 9 + S + C numbers (camera, shape, code), times their prior standard
    deviations.
    """

    z: Array
    rotation: Array
    translation: Array
    own: Array


def tangents(given: Given, directions: int = 24, spread: float = 1.0) -> Tangents:
    """Linearises the fit.

    Args:
      given: the fit; groups whose learning rate is 0 do not deviate.
      directions: maximal number of feature directions to keep; those of largest variation are kept.
      spread: the prior's standard deviation of every entry of an array is this times the array's root mean square, so
        that a layer, a camera and a code are each uncertain by as much as they are large.
    """
    params, config = given.params, given.config
    instance = given.batch.instance
    phases = _phases(given)
    codes = params.codes[instance]

    def heads(phase: Array, code: Array) -> tuple[Array, Array]:
        applied = model.field_module(config).apply(
            {"params": params.field}, phase, code, capture_intermediates=True, mutable=["intermediates"]
        )
        (rotation, translation), state = cast(tuple[tuple[Array, Array], Tree], applied)
        hidden = jax.nn.relu(state["intermediates"]["hidden_2"]["__call__"][0])
        return jnp.concatenate([rotation.reshape(-1), translation]), hidden

    raw, hidden = jax.vmap(heads)(phases, codes)
    start, origin = heads(jnp.zeros(()), jnp.zeros(config.code_size))
    raw = raw.at[:, _ROTATION:].add(-start[_ROTATION:])
    if params.path is not None:
        # Paths do not deviate. They belong to the world of the instance, which is reflected after the field.
        each = clips_lib.raw_phase(given.clips)[instance, given.batch.frame]
        moved = jax.vmap(path.offset)(params.path[instance], each)
        sign = jnp.where(params.mirrored[instance] > 0.5, -1.0, 1.0)
        raw = raw.at[:, _ROTATION:].add(moved.at[:, 0].multiply(sign))
    by_code = jax.vmap(jax.jacfwd(lambda c, p: heads(p, c)[0]), (0, 0))(codes, phases)

    keep = min(directions, *hidden.shape)
    wide = jnp.linalg.svd(hidden, full_matrices=False)[2][:keep].T
    kernel, bias = (spread * _rms(params.field["rotation"][name]) for name in ("kernel", "bias"))
    one = jnp.ones((hidden.shape[0], 1), hidden.dtype)
    rotation = jnp.concatenate([kernel * hidden @ wide, bias * one], 1)
    # The bias of the translation head cancels, because translations are relative to an origin.
    shift = spread * _rms(params.field["translation"]["kernel"]) * (hidden - origin) @ wide
    rates = (config.lr_field, config.lr_camera, config.lr_betas, config.lr_code)
    moves = [jnp.where(jnp.asarray(rate) > 0, 1.0, 0.0) for rate in rates]
    own_size = cam.CAMERA_SIZE + params.betas.shape[1]
    own = jnp.zeros((raw.shape[0], _HEADS + own_size, own_size + codes.shape[1]), raw.dtype)
    sizes = (cam.CAMERA_SIZE, params.betas.shape[1])
    scales = [jnp.full(n, spread * _rms(x) * on) for n, x, on in zip(sizes, _own(params), moves[1:3], strict=True)]
    own = own.at[:, _HEADS:, :own_size].set(jnp.diag(jnp.concatenate(scales)))
    own = own.at[:, :_HEADS, own_size:].set(by_code * spread * _rms(params.codes) * moves[3])
    z = jnp.concatenate([raw, *(x[instance] for x in _own(params))], 1)
    translation = jnp.concatenate([shift, jnp.zeros_like(one)], 1)
    return Tangents(z=z, rotation=rotation * moves[0], translation=translation * moves[0], own=own)


def push(lines: Tangents, instance: Array, u: Array) -> Array:
    """The change of z (B, Z) under the deviations u (D,)."""
    rotation, translation, own = _split(lines, u)
    heads = jnp.concatenate([lines.rotation @ rotation.T, lines.translation @ translation.T], 1)
    rest = jnp.einsum("bzv,bv->bz", lines.own, own[instance])
    return rest.at[:, :_HEADS].add(heads)


def pull(lines: Tangents, instance: Array, dz: Array, num_instances: int) -> Array:
    """The transpose of `push`: (B, Z) -> (D,)."""
    rotation = dz[:, :_ROTATION].T @ lines.rotation
    translation = dz[:, _ROTATION:_HEADS].T @ lines.translation
    each = jnp.einsum("bzv,bz->bv", lines.own, dz)
    own = jax.ops.segment_sum(each, instance, num_instances)
    return jnp.concatenate([x.reshape(-1) for x in (rotation, translation, own)])


def frame_residuals(given: Given, z: Array) -> Array:
    """Residuals (B, M) of frames whose inputs are z (B, Z)."""
    params, assets, config = given.params, given.assets, given.config

    def one(z: Array, instance: Array, view: moving.Views) -> Prediction:
        rotation, translation, camera, betas = _body(given, z, params.mirrored[instance])
        skeleton = smpl.pose_skeleton(assets.body, rotation, betas)
        points = smpl.keypoints_of(assets.body, skeleton) + translation
        focal = lens.focal_lengths(params, assets)[instance]
        seen, focal = moving.look(view, cam.to_camera(camera, points), focal)
        pixels = cam.project(seen, focal, assets.principal[instance], config.near)
        return Prediction(
            phase=jnp.zeros(()),
            rotations=rotation,
            translation=translation,
            joints=skeleton.posed + translation,
            keypoints=points,
            keypoints_2d=pixels,
        )

    views = moving.of_frames(given.clips, given.batch.instance, given.batch.frame)
    prediction = jax.vmap(one)(z, given.batch.instance, views)
    cameras = z[:, _HEADS : _HEADS + cam.CAMERA_SIZE]
    arguments = (assets, config, given.clips, given.targets, given.batch)
    found = residuals.of_frames(prediction, cameras, params.cameras, *arguments)
    return jnp.concatenate([value.reshape(z.shape[0], -1) for value in found.values()], 1)


def frame_points(given: Given, z: Array) -> Array:
    """Keypoints (B, K, 3) of frames whose inputs are z, in the axes of their clips' cameras, metres. Camera axes do not
    depend on the world frame, which every fit may choose differently."""

    def one(z: Array, instance: Array) -> Array:
        rotation, translation, camera, betas = _body(given, z, given.params.mirrored[instance])
        return cam.to_camera(camera, smpl.keypoints(given.assets.body, rotation, betas, translation))

    return jax.vmap(one)(z, given.batch.instance)


def frame_jacobian(function: Callable[[Array], Array], z: Array) -> Array:
    """Jacobian (B, M, Z) of a function (B, Z) -> (B, M) in which each output row depends only on the same input row."""
    columns = jax.lax.map(lambda e: jax.jvp(function, (z,), (jnp.broadcast_to(e, z.shape),))[1], jnp.eye(z.shape[1]))
    return jnp.moveaxis(columns, 0, -1)


def frame_hessian(given: Given, z: Array) -> Array:
    """Exact Hessian (B, Z, Z) of each frame's 1/2 |r|^2; it need not be positive definite."""
    slope = jax.grad(lambda z: 0.5 * jnp.sum(frame_residuals(given, z) ** 2))
    return frame_jacobian(slope, z)


def precision(given: Given, lines: Tangents, curvature: np.ndarray, noise: float, spread: float = 1.0) -> np.ndarray:
    """The whitened precision (D, D), in NumPy and float64: its eigenvalues span more than float32 can hold.

    Args:
      given, lines: the fit and its linearisation by `tangents`.
      curvature: (B, Z, Z), of each frame's loss with respect to z: A^T A with A from `frame_jacobian`, or
        `frame_hessian`.
      noise: the standard deviation s. spread: the value given to `tangents`.
    """
    curvature = np.asarray(curvature, np.float64) / noise**2
    features = [np.asarray(x, np.float64) for x in (lines.rotation, lines.translation)]
    own, instance = np.asarray(lines.own, np.float64), np.asarray(given.batch.instance)
    parts = (slice(0, _ROTATION), slice(_ROTATION, _HEADS))
    size, width = features[0].shape
    num, each = given.params.codes.shape[0], own.shape[2]
    total = np.eye(_HEADS * width + num * each)
    ends = (0, _ROTATION * width, _HEADS * width)
    by_own = curvature @ own
    for i, row in enumerate(parts):
        for j, column in enumerate(parts):
            block = curvature[:, row, column]
            pairs = (features[i][:, :, None] * features[j][:, None, :]).reshape(size, -1)
            # One matrix product over frames: (o p) x B by B x (f g).
            product = block.reshape(size, -1).T @ pairs
            product = product.reshape(*block.shape[1:], width, width).transpose(0, 2, 1, 3)
            rows = product.shape[0] * width
            total[ends[i] : ends[i + 1], ends[j] : ends[j + 1]] += product.reshape(rows, -1)
        for n in range(num):
            at = slice(ends[2] + n * each, ends[2] + (n + 1) * each)
            mine = instance == n
            cross = np.einsum("bov,bf->ofv", by_own[mine, row], features[i][mine], optimize=True).reshape(-1, each)
            total[ends[i] : ends[i + 1], at] += cross
            total[at, ends[i] : ends[i + 1]] += cross.T
    total[ends[2] :, ends[2] :] += np.diag(own_pull(given, noise, spread))
    for n in range(num):
        at, mine = slice(ends[2] + n * each, ends[2] + (n + 1) * each), instance == n
        total[at, at] += np.einsum("bzv,bzw->vw", own[mine], by_own[mine], optimize=True)
    return total


def own_pull(given: Given, noise: float, spread: float = 1.0) -> np.ndarray:
    """Diagonal (N V,) that the loss terms on shapes and codes add to the precision of the instances' parameters."""
    codes, betas = given.params.codes, given.params.betas
    by_betas = float(residuals.betas_factor(given.params, given.config) * _rms(betas))
    by_codes = float(residuals.code_factor(given.params, given.config) * _rms(codes))
    factors = np.repeat([0.0, by_betas, by_codes], [cam.CAMERA_SIZE, betas.shape[1], codes.shape[1]])
    return np.tile((spread * factors / noise) ** 2, codes.shape[0])


def in_clips(clips: Clips, batch: Batch, values: Array) -> Array:
    """Scatters values (B, ...) of the batch's frames into an array (N, T, ...), zeros elsewhere."""
    shape = (clips.num_instances, clips.num_frames, *values.shape[1:])
    return jnp.zeros(shape, values.dtype).at[batch.instance, batch.frame].set(values)


def with_keypoints(given: Given, keypoints: Array) -> Given:
    """The same fit with its keypoints replaced by others (N, T, K, 2)."""
    return dataclasses.replace(given, clips=dataclasses.replace(given.clips, keypoints=keypoints))


def _phases(given: Given) -> Array:
    raw = clips_lib.raw_phase(given.clips)[given.batch.instance, given.batch.frame]
    return jax.vmap(model.warp, (None, None, 0, 0))(given.params, given.config, given.batch.instance, raw)


def _body(given: Given, z: Array, mirrored: Array) -> tuple[Array, Array, Array, Array]:
    rotation = rotations.rotation_6d_to_matrix(z[:_ROTATION].reshape(-1, 6))
    rotation, translation = mirror.mirror_motion(rotation, z[_ROTATION:_HEADS], mirrored)
    camera, betas = jnp.split(z[_HEADS:], [cam.CAMERA_SIZE])
    return rotation, translation, camera, betas


def _own(params: Params) -> tuple[Array, Array]:
    return params.cameras, params.betas


def _rms(values: Array) -> Array:
    return jnp.sqrt(jnp.mean(jnp.asarray(values) ** 2))


def _split(lines: Tangents, u: Array) -> tuple[Array, Array, Array]:
    """Splits u into rows of the rotation head (144, R) and translation head (3, R), and instance numbers (N, V)."""
    width, each = lines.rotation.shape[1], lines.own.shape[2]
    rotation, translation, own = jnp.split(u, [_ROTATION * width, _HEADS * width])
    return rotation.reshape(-1, width), translation.reshape(-1, width), own.reshape(-1, each)
