"""Initial cameras: aligned by the initial root orientations, or the best of level ones and one of any pitch and roll."""

import dataclasses
from typing import cast

import chex
import jax
import jax.numpy as jnp
import optax

from body_models.pytree import pytree
from nemo_jax import camera as cam
from nemo_jax import clips as clips_lib
from nemo_jax import lens, model, moving, optim, reprojection, rotations
from nemo_jax import rig as rig_lib
from nemo_jax.clips import Clips
from nemo_jax.config import FitConfig
from nemo_jax.model import Assets, Params, Prediction
from nemo_jax.moving import Views
from nemo_jax.objective import Targets

Array = jax.Array

_LENS_MARGIN = 0.15  # share of its loss by which a lens must be better than the guessed one

_ADAM = optax.scale_by_adam(eps_root=optim.ROOT_FLOOR)


def key_frames(clips: Clips, count: int) -> Array:
    """Frame indices (N, count), int: `count` frames evenly spaced from each instance's first frame to its last."""
    last = clips_lib.num_frames(clips)[:, None] - 1
    return jnp.round(jnp.linspace(0.0, 1.0, count) * last).astype(jnp.int32)


def common_frames(clips: Clips, count: int) -> tuple[Array, Array | None]:
    """Frame indices (N, count) at `count` raw phases that are the same for all instances, and whether (N, count) each
    shows that moment; None = all do, which only clips of takes need not."""
    if clips.take is None:
        return key_frames(clips, count), None
    phases = jnp.linspace(0.0, 1.0, count)
    raw, exists = clips_lib.raw_phase(clips)[:, None], jnp.asarray(clips.frame_mask)[:, None] > 0
    apart = jnp.where(exists, jnp.abs(raw - phases[:, None]), jnp.inf)
    return jnp.argmin(apart, -1).astype(jnp.int32), apart.min(-1) <= 0.5 / (count - 1)


def targets_from(clips: Clips) -> Targets:
    """The clips' own initial poses as targets; the root stays unused until cameras are aligned."""
    mask = jnp.asarray(clips_lib.posed_frames(clips))
    # Entries without an estimate may hold any value, including NaN.
    pose = jnp.where(mask[..., None, None] > 0, clips.init_pose, 0.0)
    matrices = rotations.axis_angle_to_matrix(pose)
    if (views := moving.every(clips)) is not None:
        # Given roots are seen from the cameras of their frames.
        root = moving.to_reference(views, matrices[:, :, 0])
        matrices = matrices.at[:, :, 0].set(root)
        pose = pose.at[:, :, 0].set(rotations.matrix_to_axis_angle(root))
    return Targets(
        pose=pose,
        rotations=matrices,
        mask=mask,
        root_mask=jnp.zeros_like(mask),
        weight=jnp.ones(clips.num_instances),
    )


def nearest_known(mask: Array, frames: Array) -> Array:
    """For each of `frames` (P,), the nearest frame whose `mask` (T,) is 1; the frame itself if the mask is all 0."""
    distance = jnp.abs(frames[:, None] - jnp.arange(mask.shape[0]))
    known = jnp.argmin(jnp.where(mask > 0.5, distance, mask.shape[0] + distance), axis=-1)
    return jnp.where(mask.sum() > 0, known, frames)


def align_roots(
    targets: Targets, clips: Clips, mirrored: Array, iterations: int = 20, count: int = 32
) -> tuple[Array, Targets]:
    """Level cameras under which the instances' root orientations agree, and targets with roots in that world.

    Alternates between the mean root orientation over instances at each phase and, for each instance, the level camera
    that best explains its own (rotation averaging restricted to yaws). Instances where `mirrored` (N,) is 1 are compared as
    their mirror images. The first instance's camera fixes the world: its body faces +z on average.

    Returns:
      yaws (N,) of the level cameras, and targets whose root orientations are in the shared world frame.
    """
    chex.assert_rank(targets.rotations, 5)
    frames, shown = common_frames(clips, count)
    frames = jax.vmap(nearest_known)(targets.mask, frames)
    seen = jnp.take_along_axis(targets.rotations[:, :, 0], frames[..., None, None], axis=1)
    if shown is not None:
        seen = jnp.where(shown[..., None, None], seen, 0.0)
    known = (targets.mask.sum(-1) > 0).astype(seen.dtype) * targets.weight
    if clips.real is not None:
        known = known * clips.real
    # For a level camera C and the reflection M, M C M is the level camera of the opposite yaw.
    side = jnp.where(mirrored > 0.5, -1.0, 1.0)
    sign = jnp.stack([side, jnp.ones_like(side), jnp.ones_like(side)], -1)
    seen = seen * (sign[:, :, None] * sign[:, None, :])[:, None]

    def level_yaw(camera_from_world: Array) -> Array:
        """Yaw of the level camera nearest to a sum of rotations (3, 3)."""
        m = camera_from_world
        return jnp.arctan2(m[0, 2] + m[2, 0], m[0, 0] - m[2, 2])

    def world_roots(yaws: Array) -> Array:
        return jnp.einsum("nij,npik->npjk", cam.level_camera(yaws), seen, precision="highest")

    def refine(yaws: Array, _: None) -> tuple[Array, None]:
        mean = jnp.einsum("n,npij->pij", known, world_roots(yaws), precision="highest")
        disagreement = jnp.einsum("npij,pkj->nik", seen, mean, precision="highest")
        return jax.vmap(level_yaw)(disagreement), None

    first = jnp.argmax(known)
    start = jnp.broadcast_to(level_yaw(seen[first].sum(0)), known.shape)
    # Every instance is first aligned with a single one, so that the iteration does not start from an average of all.
    against_first = jnp.einsum("npij,pkj->nik", seen, world_roots(start)[first], precision="highest")
    yaws, _ = jax.lax.scan(refine, jax.vmap(level_yaw)(against_first), None, length=iterations)
    yaws = side * yaws
    root = jnp.einsum("nij,ntik->ntjk", cam.level_camera(yaws), targets.rotations[:, :, 0], precision="highest")
    return yaws, dataclasses.replace(targets, rotations=targets.rotations.at[:, :, 0].set(root), root_mask=targets.mask)


@pytree
class Search:
    """Candidate cameras (S, N, 9) of the camera stage, their Adam state, and the fixed points and pixels they are
    fitted to.

    log_focal (S, N): each candidate's correction of the focal length, which stays. points (N, P, K, 3) metres; pixels
    (N, P, K, 2); weight (N, P, K); box (N, P) diagonal of each frame's keypoints, pixels; views (N, P), None where the
    cameras stand still.
    """

    cameras: Array
    adam: optax.OptState
    log_focal: Array
    points: Array
    pixels: Array
    weight: Array
    box: Array
    views: Views = None


@pytree
class Sight:
    """What the search looks at: key frames (N, P) and what they show.

    prediction, leaves (N, P, ...): of the field as it is. pixels (N, P, K, 2), 0 where weight (N, P, K) is; box (N, P)
    diagonal of each frame's keypoints, pixels; views (N, P), None where the cameras stand still.
    """

    prediction: Prediction
    pixels: Array
    weight: Array
    box: Array
    views: Views


def look(params: Params, assets: Assets, config: FitConfig, clips: Clips) -> Sight:
    """The key frames of all instances; bodies are posed only once, since the field is frozen while cameras are searched."""
    frames = key_frames(clips, config.camera_frames)
    rows = jnp.arange(clips.num_instances)
    raw = jnp.take_along_axis(clips_lib.raw_phase(clips), frames, axis=1)
    over_frames = jax.vmap(model.predict, (None, None, None, None, 0))
    prediction = jax.vmap(over_frames, (None, None, None, 0, 0))(params, assets, config, rows, raw)
    weight, pixels = reprojection.seen(clips, config, rows[:, None], frames, config.camera_confidence)
    return Sight(
        prediction=prediction,
        pixels=pixels,
        weight=weight,
        box=reprojection.box(clips, config, rows[:, None], frames),
        views=moving.of_frames(clips, rows[:, None], frames),
    )


def begin_search(params: Params, assets: Assets, config: FitConfig, clips: Clips, yaws: Array) -> Search:
    """Initial candidates, for each lens: each instance's aligned yaw (N,) first, then level cameras at evenly spaced yaws,
    with closed-form translations, and last the camera of any pitch and roll that `camera.solve_camera` finds. Without
    `camera_search` the current camera parameters are the only candidate."""
    sight = look(params, assets, config, clips)
    points, pixels, weight, views = sight.prediction.keypoints, sight.pixels, sight.weight, sight.views
    seen = {"points": points, "pixels": pixels, "weight": weight, "box": sight.box, "views": views}
    if not config.camera_search:
        cameras = params.cameras[None]
        return Search(cameras=cameras, adam=_ADAM.init(cameras), log_focal=params.log_focal[None], **seen)

    turns = jnp.linspace(0.0, 2 * jnp.pi, config.camera_yaws, endpoint=False)
    candidates = jnp.concatenate([yaws[None], jnp.broadcast_to(turns[:, None], (config.camera_yaws, yaws.shape[0]))])
    # Every direction is tried with every lens; an instance whose lens is known has the same candidate several times.
    log_focal = lens.starts(config.lens_starts)[:, None] * (1 - assets.lens_known)
    focal = assets.focal * jnp.exp(log_focal)

    def start(
        yaw: Array, points: Array, pixels: Array, weight: Array, views: Views, focal: Array, principal: Array
    ) -> Array:
        rotation = cam.level_camera(yaw)
        turned = jnp.einsum("ij,pkj->pki", rotation, points, precision="highest")
        pixels, weight = moving.steady_frames(views, pixels, weight, focal, principal)
        translation = cam.solve_translation(
            turned.reshape(-1, 3), pixels.reshape(-1, 2), weight.reshape(-1), focal, principal
        )
        return cam.join(rotation, translation)

    def free(points: Array, pixels: Array, weight: Array, views: Views, focal: Array, principal: Array) -> Array:
        pixels, weight = moving.steady_frames(views, pixels, weight, focal, principal)
        flat = (points.reshape(-1, 3), pixels.reshape(-1, 2), weight.reshape(-1))
        return cam.solve_camera(*flat, focal, principal)

    seen_by = (points, pixels, weight, views)
    over_yaws = jax.vmap(jax.vmap(start), (0, *[None] * 6))
    level = jax.vmap(over_yaws, (*[None] * 5, 0, None))(candidates, *seen_by, focal, assets.principal)
    tilted = jax.vmap(jax.vmap(free), (*[None] * 4, 0, None))(*seen_by, focal, assets.principal)
    cameras = jnp.concatenate([level, tilted[:, None]], 1)
    log_focal = jnp.repeat(log_focal, cameras.shape[1], 0)
    cameras = cameras.reshape(-1, *cameras.shape[2:])
    return Search(cameras=cameras, adam=_ADAM.init(cameras), log_focal=log_focal, **seen)


def search_losses(search: Search, cameras: Array, assets: Assets, config: FitConfig) -> Array:
    """Robust reprojection loss (S, N) of every candidate: the mean over frames, keypoints and coordinates."""

    def one(camera: Array, seen: Search, focal: Array, principal: Array, scale: Array) -> Array:
        points = cam.to_camera(camera, seen.points)
        if seen.views is None:
            pixels = cam.project(points, focal, principal, config.near)
        else:
            looked = jax.vmap(moving.look, (0, 0, None))(seen.views, points, focal)
            pixels = jax.vmap(cam.project, (0, 0, None, None))(*looked, principal, config.near)
        residual = reprojection.residuals(pixels, seen.pixels, seen.weight, scale)
        return jnp.mean(reprojection.loss(config, residual, seen.weight, seen.box * scale))

    looked_at = dataclasses.replace(search, cameras=None, adam=None, log_focal=None)
    over_instances = jax.vmap(one)
    return jax.vmap(over_instances, (0, None, 0, None, None))(
        cameras, looked_at, assets.focal * jnp.exp(search.log_focal), assets.principal, assets.pixel_scale
    )


def search_step(
    search: Search, assets: Assets, config: FitConfig, clips: Clips, rate: Array | float
) -> tuple[Search, dict[str, Array]]:
    """One Adam step of all candidates, in a search of the sizes of `camera.step_sizes` for the lens that an instance is
    known to have, or the guessed one."""
    real = clips_lib.which_real(clips)

    def total(cameras: Array) -> tuple[Array, Array]:
        values = search_losses(search, cameras, assets, config)
        judged = values + config.weight_level * cam.unlevel(cameras)
        return judged.mean(1, where=real).sum(), values

    (_, values), gradient = jax.value_and_grad(total, has_aux=True)(search.cameras)
    updates, state = _ADAM.update(gradient, search.adam)
    updates = cast(Array, updates)
    if config.camera_search:
        updates = updates * cam.step_sizes(search.cameras, assets.focal / assets.diagonal)
    cameras = search.cameras - rate * updates
    replaced = dataclasses.replace(search, cameras=cameras, adam=state)
    return replaced, {"keypoints": values.min(0).mean(where=real)}


def best(search: Search, assets: Assets, config: FitConfig) -> tuple[Array, Array]:
    """For each instance, the candidate camera (N, 9) with the smallest reprojection loss, and its log_focal (N,).

    The priors over rolls and lenses count too, and instances of one lens choose it together. Another lens than the guessed
    one must be clearly better: an instance that goes another way than most would else seem to be filmed from far away.
    Those of a rig have the best place for it, see `of_rigs`.
    """
    values = search_losses(search, search.cameras, assets, config)
    values = values + config.weight_level * cam.unlevel(search.cameras)
    if config.lens_starts and config.camera_search:
        values = values + config.weight_lens * lens.loss(search.log_focal, assets)
        by_lens = values.reshape(config.lens_starts, -1, values.shape[-1])
        each = lens.shared(by_lens.min(1), assets)
        # The first lens is the guess.
        chosen = jnp.argmin(each.at[0].multiply(1 - _LENS_MARGIN), axis=0)
        other = jnp.arange(config.lens_starts)[:, None, None] != chosen
        values = jnp.where(other, jnp.inf, by_lens).reshape(values.shape)
    winner = jnp.argmin(values, axis=0)
    rows = jnp.arange(winner.shape[0])
    cameras, log_focal = search.cameras[winner, rows], search.log_focal[winner, rows]
    if assets.rig is None:
        return cameras, log_focal
    return jnp.where(
        rig_lib.in_rig(assets.rig)[:, None], of_rigs(search, log_focal, assets, config), cameras
    ), log_focal


def of_rigs(search: Search, log_focal: Array, assets: Assets, config: FitConfig) -> Array:
    """The cameras (N, 9) under which all clips of a rig together have the smallest loss.

    Every candidate of every clip says where its rig would stand. The best of each clip's, judged by all clips of the rig, is
    fitted to them by as many steps as candidates were, and then the best of these is taken. log_focal: (N,).
    """
    assert assets.rig is not None
    rig, count = assets.rig, search.cameras.shape[1]

    def judged(leaders: Array) -> Array:
        """The loss (S, N) of the rig of each clip, by all its clips, where its leader has the camera leaders (S, N, 9)."""
        lens_of_all = dataclasses.replace(search, log_focal=jnp.broadcast_to(log_focal, (leaders.shape[0], count)))

        def of_clip(leader: Array, same: Array) -> Array:
            cameras = rig_lib.seen_from(
                rig, jnp.broadcast_to(leader[:, None], (*leader.shape[:1], count, cam.CAMERA_SIZE))
            )
            values = search_losses(lens_of_all, cameras, assets, config) + config.weight_level * cam.unlevel(cameras)
            return jnp.sum(same * values, -1)

        return jax.lax.map(lambda given: of_clip(*given), (jnp.moveaxis(leaders, 1, 0), rig.same)).T

    said = rig_lib.leading(rig, search.cameras)
    first = jnp.argmin(judged(said), 0)
    leaders = jnp.take_along_axis(said, first[None, :, None], 0)

    def step(state: tuple[Array, optax.OptState], number: Array) -> tuple[tuple[Array, optax.OptState], None]:
        leaders, adam = state
        gradient = jax.grad(lambda leaders: judged(leaders).sum())(leaders)
        updates, adam = _ADAM.update(gradient, adam)
        rate = config.lr_camera_stage * optim.cosine(number, config.camera_steps)
        return (
            leaders - rate * cast(Array, updates) * cam.step_sizes(leaders, assets.focal / assets.diagonal),
            adam,
        ), None

    (moved, _), _ = jax.lax.scan(step, (leaders, _ADAM.init(leaders)), jnp.arange(config.camera_steps))
    # Steps may lead away from a place that was good already.
    both = jnp.concatenate([leaders, moved])
    values = judged(both)
    better = jnp.argmin(values, 0)
    fitted = jnp.take_along_axis(both, better[None, :, None], 0)[0]
    chosen = jnp.argmin(jnp.where(rig.same > 0, values.min(0), jnp.inf), -1)
    return rig_lib.seen_from(rig, fitted[chosen])
