"""The model: its learned parameters, its fixed inputs, and the prediction of ONE frame of ONE instance."""

import dataclasses
import functools
from typing import cast

import chex
import jax
import jax.numpy as jnp
import numpy as np

from body_models import joints as jn
from body_models import smpl
from body_models.kernels import vertex_gap
from body_models.pytree import Tree, pytree
from nemo_jax import camera as cam
from nemo_jax import clips as clips_lib
from nemo_jax import contact as contact_lib
from nemo_jax import losses, mirror, moving, rotations
from nemo_jax import path as path_lib
from nemo_jax import rig as rig_lib
from nemo_jax.clips import Clips
from nemo_jax.config import FitConfig
from nemo_jax.field import MotionField
from nemo_jax.phase import MonotonicPhase
from nemo_jax.priors import Priors

Array = jax.Array
WHOLE = (0.0, 1.0)  # the span of an instance that shows the whole action


@pytree
class Params:
    """The learned parameters of a fit. Every attribute except those of `SHARED` has a leading axis of N instances.

    field: Flax parameters of `MotionField`, shared. phase: Flax parameters of `MonotonicPhase`, stacked.
    codes (N, C): the instance embedding. cameras (N, 9): see `nemo_jax.camera`. betas (N, S): body shapes.
    log_focal (N,): correction of the focal length, 0 = as given. span (N, 2): phases at which the instance starts and
    ends; (0, 1) = it shows the whole action. mirrored (N,): 1 where the instance does the action with
    the other hand, so that the shared motion is reflected for it; set by the start of a fit, not by gradients.
    path (N, P, 3): the way of each clip beside that of the field, see `nemo_jax.path`. delay (N,): how much later than
    given each clip was filmed, in parts of its take's span, see `nemo_jax.takes`. contact: Flax parameters of
    `ContactHead`, shared. ground (5,) or (6,): floor, up and soles, shared, see `nemo_jax.ground`. Each of these is None
    where the configuration has none.
    """

    field: Tree
    phase: Tree
    codes: Array
    cameras: Array
    betas: Array
    log_focal: Array
    span: Array
    mirrored: Array
    path: Array | None = None
    delay: Array | None = None
    contact: Tree = None
    ground: Array | None = None


SHARED = ("field", "contact", "ground")


@pytree
class Assets:
    """The fixed inputs of a fit besides the clips.

    body: the body model. priors: the pose priors. focal (N,) pixels, to which `Params.log_focal` is a correction.
    principal (N, 2) pixels. pixel_scale (N,): residuals are multiplied by it before the loss. diagonal (N,) of the image,
    pixels. lens_known (N,): 1 where the focal length is given, so that it is not corrected. same_lens (N, N): the matrix
    that averages over the instances of one lens, or None; same_take (N, N): over the clips of one take, or None. rig: what
    is known of cameras of takes against each other, or None. rows: the
    body in the layout of the fused vertex term, computed by `with_rows` before a loop; None if the plain term is used.
    soles (P,): heights of the points of contact above the ground when they stand, metres, and lowest (): the height
    of that ground; None without contacts. given_depth (N, T, 14): see `depth.along_axis`, of given first poses, computed
    before a loop too; None elsewhere.
    """

    body: smpl.SMPL
    priors: Priors
    focal: Array
    principal: Array
    pixel_scale: Array
    diagonal: Array
    lens_known: Array
    same_lens: Array | None = None
    same_take: Array | None = None
    rig: rig_lib.Rig | None = None
    rows: vertex_gap.Table | None = None
    soles: Array | None = None
    lowest: Array | None = None
    given_depth: Array | None = None


@pytree
class Prediction:
    """One frame: phase () in [0, 1]; rotations (24, 3, 3), root first; translation (3,) metres; joints (24, 3) of the
    skeleton and keypoints (K, 3) in the shared world, metres; keypoints_2d (K, 2) pixels; contact (P,): logits of
    contact with the ground of the first P of `contact.POINTS`, None without contacts."""

    phase: Array
    rotations: Array
    translation: Array
    joints: Array
    keypoints: Array
    keypoints_2d: Array
    contact: Array | None = None


def field_module(config: FitConfig) -> MotionField:
    return MotionField(
        hidden=config.hidden,
        features=config.features,
        num_centres=config.num_centres,
        kernel=config.kernel,
        log_scale=config.log_scale,  # where the trained ones start
        activation=config.activation,
        way=config.find_travel,
    )


def phase_module(config: FitConfig) -> MonotonicPhase:
    return MonotonicPhase(num_nodes=config.phase_nodes, start=config.phase_init)


def prepare(clips: Clips, body: smpl.SMPL, priors: Priors, config: FitConfig) -> Assets:
    """Camera intrinsics and residual scale of the clips, gathered with body and priors."""
    clips_lib.check(clips)
    keypoints, confidence = jnp.asarray(clips.keypoints), jnp.asarray(clips.confidence)
    image_size = jnp.asarray(clips.image_size)
    known = jnp.where(config.focal_fixed > 0, config.focal_fixed, clips.focal_length)
    box = losses.box_diagonal(keypoints, confidence, visible_only=True)
    # The median is over frames that show at least half of the body: a box around two joints does not show the size.
    seen = (confidence > 0).sum(-1) >= 6
    size = jnp.nanmedian(jnp.where(seen, box, jnp.nan), axis=-1)
    size = jnp.where(jnp.isnan(size), box.max(-1), size)
    soles, lowest = contact_lib.soles(body, config.contact_hands) if config.contact_centres else (None, None)
    return Assets(
        body=body,
        priors=priors,
        focal=cam.focal_lengths(known, image_size, config.focal_guess),
        principal=cam.principal_points(image_size, config.principal_swapped, clips.principal),
        pixel_scale=jnp.where(config.person_size > 0, config.person_size / size, 1.0),
        diagonal=jnp.linalg.norm(image_size, axis=-1),
        lens_known=(~jnp.isnan(known)).astype(size.dtype),
        same_lens=None if clips.lens is None else clips_lib.averages(clips, clips.lens),
        same_take=None if clips.take is None else clips_lib.averages(clips, clips.take),
        rig=rig_lib.of_clips(clips),
        soles=soles,
        lowest=lowest,
    )


def with_rows(assets: Assets, config: FitConfig) -> Assets:
    """The assets with `rows` filled in if the configuration uses the fused vertex term."""
    if assets.priors.vposer is None or not config.fused_vertices:
        return assets
    return dataclasses.replace(assets, rows=vertex_gap.table(assets.body))


def init(key: Array, num_instances: int, image_size: Array, num_betas: int, config: FitConfig) -> Params:
    """Initial parameters; cameras at the published start, 2 f / height away, until the camera stage moves them."""
    field_key, phase_key, code_key, camera_key = jax.random.split(key, 4)
    field = field_module(config).init(field_key, jnp.zeros(()), jnp.zeros(config.code_size))["params"]
    phase_init = phase_module(config).init
    phase = jax.vmap(lambda k: phase_init(k, jnp.zeros(()))["params"])(jax.random.split(phase_key, num_instances))
    cameras = 1e-4 * jax.random.normal(camera_key, (num_instances, cam.CAMERA_SIZE))
    cameras = cameras.at[:, 3:].add(rotations.IDENTITY_6D)
    height = image_size[:, 1].max()
    focal = jnp.where(config.focal_fixed > 0, config.focal_fixed, 5000.0)
    path, contact, ground = None, None, None
    if config.path_knots or config.contact_centres:
        path = jnp.zeros((num_instances, max(config.path_knots, 1), 3))
    if config.contact_centres:
        head = contact_lib.ContactHead(config.contact_centres, len(contact_lib.points(config.contact_hands)))
        contact = head.init(key, jnp.zeros(()), jnp.zeros(config.code_size))["params"]
        ground = jnp.zeros(5 + config.contact_hands)
    return Params(
        field=field,
        phase=phase,
        codes=config.code_std * jax.random.normal(code_key, (num_instances, config.code_size)),
        cameras=cameras.at[:, 2].add(2 * focal / height),
        betas=jnp.zeros((num_instances, num_betas)),
        log_focal=jnp.zeros(num_instances),
        span=jnp.broadcast_to(jnp.array(WHOLE), (num_instances, 2)),
        mirrored=jnp.zeros(num_instances),
        path=path,
        contact=contact,
        ground=ground,
    )


def warp(params: Params, config: FitConfig, instance: Array, raw_phase: Array) -> Array:
    """Phase of ONE instance (an index) at raw phases of any shape."""
    return warp_of(of_instance(params, instance), config, raw_phase)


def warp_of(own: Params, config: FitConfig, raw_phase: Array) -> Array:
    """`warp` of the instance whose parameters are `own`, see `of_instance`."""
    part = cast(Array, phase_module(config).apply({"params": own.phase}, on_time(own, raw_phase)))
    start, end = jnp.clip(own.span, 0.0, 1.0)
    return start + (end - start) * part


def on_time(own: Params, raw_phase: Array) -> Array:
    """Raw phases of any shape of the instance whose parameters are `own`, corrected by what is learned of its clock."""
    return raw_phase if own.delay is None else raw_phase + own.delay


def motion(params: Params, config: FitConfig, phase: Array, code: Array) -> tuple[Array, Array]:
    """The field at ONE phase () and code (C,): rotations (24, 3, 3), translation (3,) relative to phase 0, code 0."""

    def field(phase: Array, code: Array) -> tuple[Array, Array]:
        return cast(tuple[Array, Array], field_module(config).apply({"params": params.field}, phase, code))

    rotation_6d, raw = field(phase, code)
    # The origin depends on no batched value, so that under vmap it is evaluated once.
    _, origin = field(jnp.zeros(()), jnp.zeros(config.code_size))
    return rotations.rotation_6d_to_matrix(rotation_6d), raw - origin


def sample(params: Params, config: FitConfig, phase: Array, code: Array) -> tuple[Array, Array]:
    """The field at any phases (...) and codes (..., C), whose leading axes broadcast against each other.

    Returns:
      Rotations (..., 24, 3, 3) of each joint against its parent, root first, and translations (..., 3) in metres. The
      motion is that of the hand that most instances use: `mirror.mirror_motion` reflects it for the others.
    """
    phase, code = jnp.asarray(phase, jnp.float32), jnp.asarray(code, jnp.float32)
    shape = jnp.broadcast_shapes(phase.shape, code.shape[:-1])
    phases = jnp.broadcast_to(phase, shape).reshape(-1)
    codes = jnp.broadcast_to(code, (*shape, code.shape[-1])).reshape(-1, code.shape[-1])
    rotation, translation = jax.vmap(motion, (None, None, 0, 0))(params, config, phases, codes)
    return rotation.reshape(*shape, *rotation.shape[1:]), translation.reshape(*shape, 3)


def predict(
    params: Params,
    assets: Assets,
    config: FitConfig,
    instance: Array,
    raw_phase: Array,
    code_noise: Array | float = 0.0,
    view: moving.Views = None,
) -> Prediction:
    """Motion, body and pixels of ONE instance (an index) at ONE raw phase ().

    Args:
      params: learned parameters. assets: fixed inputs. config: the configuration of the fit.
      instance: () int. raw_phase: () in [0, 1], see `clips.raw_phase`.
      code_noise: (C,), added to the instance code.
      view: how the camera of the frame differs from that of the instance; None = it stands still.
    """
    return evaluate(params, assets, config, instance, raw_phase, code_noise, view)[0]


def evaluate(
    params: Params,
    assets: Assets,
    config: FitConfig,
    instance: Array,
    raw_phase: Array,
    code_noise: Array | float = 0.0,
    view: moving.Views = None,
) -> tuple[Prediction, smpl.Skeleton]:
    """`predict`, and the posed skeleton behind it, for terms that need more of the body."""
    own = of_instance(params, instance)
    return evaluate_own(own, params, assets, config, instance, raw_phase, code_noise, view)


# All stages ask it for frames, so that it is traced once and then a part of each of their programs.
@functools.partial(jax.jit, inline=True)
def evaluate_own(
    own: Params,
    params: Params,
    assets: Assets,
    config: FitConfig,
    instance: Array,
    raw_phase: Array,
    code_noise: Array | float = 0.0,
    view: moving.Views = None,
) -> tuple[Prediction, smpl.Skeleton]:
    """`evaluate` with the instance's parameters `own` (see `of_instance`) in the place of those that `params` holds."""
    phase = warp_of(own, config, raw_phase)
    code = own.codes + code_noise
    rotation, translation = motion_of(own, params, config, raw_phase, phase, code)
    prediction, skeleton = _pose(own, assets, config, instance, rotation, translation, phase, view)
    if params.contact is not None:
        found = contact_lib.logits(params.contact, config.contact_centres, phase, code, own.mirrored)
        prediction = dataclasses.replace(prediction, contact=found)
    return prediction, skeleton


def motion_of(
    own: Params, params: Params, config: FitConfig, raw_phase: Array, phase: Array, code: Array
) -> tuple[Array, Array]:
    """The motion of ONE instance at ONE raw phase (), warped to `phase`, with a code (C,): the field's, reflected where it
    does the action with the other hand, on its own path. own: its parameters, see `of_instance`.

    Returns:
      Rotations (24, 3, 3) and translation (3,).
    """
    rotation, translation = mirror.mirror_motion(*motion(params, config, phase, code), own.mirrored)
    if own.path is None:
        return rotation, translation
    return rotation, translation + path_lib.offset(own.path, on_time(own, raw_phase))


def pose_body(
    params: Params,
    assets: Assets,
    config: FitConfig,
    instance: Array,
    rotation: Array,
    translation: Array,
    phase: Array | float = 0.0,
    view: moving.Views = None,
) -> Prediction:
    """Prediction of ONE instance (an index) from its joint rotations (24, 3, 3) and root translation (3,)."""
    return _pose(of_instance(params, instance), assets, config, instance, rotation, translation, phase, view)[0]


def of_instance(params: Params, instance: Array) -> Params:
    """The parameters of ONE instance (an index), without the leading axis; shared ones are None.

    All parameters are read together as one row of a table, so that their gradient is one matrix product. Unlike the
    scatter that JAX would otherwise use, it is fast on accelerators and sums in the same order every time.
    """
    leaves, tree = jax.tree.flatten(without_shared(params))
    table = jnp.concatenate([leaf.reshape(leaf.shape[0], -1) for leaf in leaves], 1)
    ends = np.cumsum([leaf[0].size for leaf in leaves])[:-1]
    parts = jnp.split(_row(table, instance), ends)
    return jax.tree.unflatten(tree, [part.reshape(leaf.shape[1:]) for part, leaf in zip(parts, leaves, strict=True)])


def without_shared(params: Params) -> Params:
    """The parameters that have an axis of instances; shared ones are None."""
    return dataclasses.replace(params, **dict.fromkeys(SHARED))


def with_shared(own: Params, params: Params) -> Params:
    """The parameters `own` with the shared ones of `params`."""
    return dataclasses.replace(own, **{name: getattr(params, name) for name in SHARED})


@jax.custom_jvp
def _row(table: Array, index: Array) -> Array:
    return table[index]


@_row.defjvp
def _row_jvp(primals: tuple[Array, Array], tangents: tuple[Array, object]) -> tuple[Array, Array]:
    table, index = primals
    picked = (jnp.arange(table.shape[0]) == index).astype(table.dtype)
    return _row(table, index), jnp.matmul(picked, tangents[0], precision=jax.lax.Precision.HIGHEST)


def _pose(
    own: Params,
    assets: Assets,
    config: FitConfig,
    instance: Array,
    rotation: Array,
    translation: Array,
    phase: Array | float,
    view: moving.Views,
) -> tuple[Prediction, smpl.Skeleton]:
    """`pose_body` with the parameters `own` of the instance alone, and the posed skeleton."""
    skeleton = smpl.pose_skeleton(assets.body, rotation, own.betas)
    keypoints = smpl.keypoints_of(assets.body, skeleton) + translation
    prediction = Prediction(
        phase=jnp.asarray(phase),
        rotations=rotation,
        translation=translation,
        joints=skeleton.posed + translation,
        keypoints=keypoints,
        keypoints_2d=_see(own, assets, config, instance, keypoints, view),
    )
    return prediction, skeleton


def _see(own: Params, assets: Assets, config: FitConfig, instance: Array, points: Array, view: moving.Views) -> Array:
    focal = assets.focal[instance] * jnp.exp(own.log_focal)
    points, focal = moving.look(view, cam.to_camera(own.cameras, points), focal)
    return cam.project(points, focal, assets.principal[instance], config.near)


def predict_clips(params: Params, assets: Assets, config: FitConfig, clips: Clips) -> Prediction:
    """`predict` for every frame of every instance: leaves (N, T, ...). Padding repeats the last phase."""
    phases = clips_lib.raw_phase(clips)
    over_time = jax.vmap(predict, (None, None, None, None, 0, None, 0))
    return jax.vmap(over_time, (None, None, None, 0, 0, None, 0))(
        params, assets, config, jnp.arange(clips.num_instances), phases, 0.0, moving.every(clips)
    )


def body_pose(rotation: Array) -> Array:
    """Axis-angle (23, 3) of rotations (24, 3, 3) without the root."""
    chex.assert_axis_dimension(rotation, -3, jn.NUM_JOINTS)
    return rotations.matrix_to_axis_angle(rotation[..., 1:, :, :])
