"""The stages of a fit: lifting (if initial poses are missing), warm-up, camera stage, and the joint stage in two parts.
Between these lost clips are rescued, and exchanged left and right are found.

Each stage has a carry, a step function and a number of steps, so that `lax.scan` can run it: as a whole in
`nemo_jax.fit.fit`, or in chunks by a caller that shows progress and writes checkpoints. The random key of a step is
derived from the step's number, so that a chunk can start at any step.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from body_models import smpl
from body_models.pytree import Tree, pytree
from nemo_jax import batches as batches_lib
from nemo_jax import (
    camera_search,
    contact,
    depth,
    exchange,
    ground,
    handedness,
    lens,
    lift,
    model,
    objective,
    optim,
    rescue,
    resync,
    rig,
    stature,
    takes,
    travel,
)
from nemo_jax import clips as clips_lib
from nemo_jax import windows as windows_lib
from nemo_jax.batches import Batch
from nemo_jax.clips import Clips
from nemo_jax.config import FitConfig, with_steps
from nemo_jax.model import Assets, Params
from nemo_jax.objective import Targets
from nemo_jax.priors import Priors

Array = jax.Array
Losses = dict[str, Array]
Carry = Tree


@pytree
class Problem:
    """The inputs of a fit. key: the random key, from which the keys of all stages and steps are derived."""

    key: Array
    clips: Clips
    assets: Assets
    config: FitConfig


@pytree
class FitState:
    """The state between stages: params, Adam states of all groups, the plateau schedule, 3D targets, aligned yaws (N,)
    of the cameras, rescued (N,): 1 where the rescue changed an instance, and exchanged (N, T, 2): 1 in frames where left
    and right of `exchange.GROUPS` are read the other way round."""

    params: Params
    opt_state: optax.OptState
    plateau: optim.Plateau
    targets: Targets
    yaws: Array
    rescued: Array
    exchanged: Array


class Stage(NamedTuple):
    """name; number of steps; begin(problem, state) -> carry; step(problem, carry, i, batch) -> carry, losses;
    end(problem, carry) -> state; draws: 0 for a stage without random batches, else the number of the stream of random keys
    for its batches; first: the number i of its first step, where it goes on with the steps of another stage."""

    name: str
    steps: int
    begin: Callable[[Problem, FitState], Carry]
    step: Callable[[Problem, Carry, Array, Batch | None], tuple[Carry, Losses]]
    end: Callable[[Problem, Carry], FitState]
    draws: int = 0
    first: int = 0


def start(key: Array, clips: Clips, body: smpl.SMPL, priors: Priors, config: FitConfig) -> tuple[Problem, FitState]:
    """The problem and the state before the first stage."""
    config = with_steps(config, clips.num_instances)
    init_key, step_key = jax.random.split(key)
    assets = model.prepare(clips, body, priors, config)
    params = model.init(init_key, clips.num_instances, jnp.asarray(clips.image_size), body.num_betas, config)
    params = as_tall(params, body, clips)
    if params.ground is not None:
        params = dataclasses.replace(params, ground=params.ground.at[0].set(assets.lowest))
    params = takes.with_delays(takes.tied(params, assets), clips)
    state = FitState(
        params=params,
        opt_state=optim.initial(params, config),
        plateau=optim.fresh_plateau(),
        targets=camera_search.targets_from(clips),
        yaws=jnp.zeros(clips.num_instances),
        rescued=jnp.zeros(clips.num_instances),
        exchanged=exchange.none(clips),
    )
    return Problem(key=step_key, clips=clips, assets=assets, config=config), state


def run_steps(
    problem: Problem, stage: Stage, carry: Carry, steps: Array, batches: Batch | None = None
) -> tuple[Carry, Losses]:
    """Runs the steps numbered `steps` (L,) of a stage; `batches`, leaves (L, B), replaces the random ones."""

    # In the program of the steps, so that a fit that goes on has the same bits as one that was never stopped.
    assets = depth.with_given(problem.assets, problem.clips, problem.config)
    problem = dataclasses.replace(problem, assets=model.with_rows(assets, problem.config))
    if batches is None and stage.draws and problem.config.batch_size != -1:
        # All batches are drawn before the scan: random numbers take many small kernels, which would slow down steps.
        batches = jax.vmap(lambda step: _batch(problem, step, stage.draws))(steps)

    def body(carry: Carry, x: tuple[Array, Batch | None]) -> tuple[Carry, Losses]:
        with jax.default_matmul_precision(problem.config.matmul_precision):
            return stage.step(problem, carry, *x)

    return jax.lax.scan(body, carry, (steps, batches))


def stages(config: FitConfig) -> tuple[Stage, ...]:
    """The stages of a configuration, in order.

    Raises:
      ValueError: `config.lift` is None.
    """
    if config.lift is None:
        raise ValueError(
            "FitConfig.lift is None, which only the values of the clips decide, and here they are not known; call "
            "config = nemo_jax.for_clips(config, clips) first, outside of jit, vmap and grad"
        )
    # Lost clips are rescued before names are exchanged: one that is read wrongly throughout has no wrong names.
    early = _keep if config.rescue_steps else _read_anew
    before = steps_before(config)
    listed = [
        Stage("lift", config.lift_steps if config.lift else 0, _begin_lift, _step_lift, _end_lift),
        Stage("warmup", config.warmup_steps, _begin_warmup, _step_warmup, _keep, draws=1),
        Stage("camera", config.camera_steps, *_camera_stage(config), draws=2 if config.camera_joint else 0),
        Stage("early", before, _keep, _step_joint, early, draws=3),
        Stage("rescue", config.rescue_steps, _begin_rescue, _step_rescue, _end_rescue),
        Stage("joint", config.joint_steps - before, _keep, _step_joint, _end_joint, draws=3, first=before),
    ]
    return tuple(stage for stage in listed if stage.steps > 0)


def steps_before(config: FitConfig) -> int:
    """Steps of the joint stage before what may change the fit in a leap, rescue and exchange: it comes when the cameras are
    good and the rest of the stage can smooth it."""
    interrupted = config.rescue_steps > 0 or config.exchange_price > 0
    return config.joint_steps * config.rescue_after // 100 if interrupted else 0


def numbers(stage: Stage) -> Array:
    """The numbers (L,) of all steps of a stage."""
    return stage.first + jnp.arange(stage.steps)


def _keep(problem: Problem, state: FitState) -> FitState:
    """Begin and end of the stages whose carry is the state itself."""
    del problem
    return state


def _decay(config: FitConfig, step: Array) -> Array | float:
    """Of the learning rates of the joint stage, at a step."""
    return optim.cosine(step, config.joint_steps) if config.schedule == "cosine" else 1.0


def _batch(problem: Problem, step: Array, stage: int) -> Batch:
    if problem.config.batch_size == -1:
        return batches_lib.full_batch(problem.clips)
    key = jax.random.fold_in(jax.random.fold_in(problem.key, stage), step)
    joint = stage == 3
    pairs, windows = (batches_lib.num_pairs(problem.config), windows_lib.count(problem.config)) if joint else (0, 0)
    return batches_lib.sample_batch(key, problem.clips, problem.config.batch_size, pairs, windows)


def _update(problem: Problem, state: FitState, gradient: Params, rates: Mapping[str, Array | float]) -> FitState:
    # A known lens is not corrected, and clips of one lens are corrected together.
    free = 1 - problem.assets.lens_known
    log_focal = free * lens.shared(gradient.log_focal * free, problem.assets)
    gradient = takes.gradient(dataclasses.replace(gradient, log_focal=log_focal), problem.assets)
    config, rigs = problem.config, problem.assets.rig
    gradient = dataclasses.replace(gradient, cameras=rig.pulled(rigs, state.params.cameras, gradient.cameras))
    params, opt_state = optim.update(state.params, gradient, state.opt_state, config, rates)
    params = dataclasses.replace(params, cameras=rig.held(rigs, params.cameras))
    params = as_tall(params, problem.assets.body, problem.clips)
    return dataclasses.replace(state, params=params, opt_state=opt_state)


def as_tall(params: Params, body: smpl.SMPL, clips: Clips) -> Params:
    """The parameters with bodies as tall as their clips say, which is exact after every step."""
    if clips.height is None:
        return params
    return dataclasses.replace(params, betas=stature.with_height(body, params.betas, jnp.asarray(clips.height)))


# --- lifting ---


def _begin_lift(problem: Problem, state: FitState) -> tuple[FitState, lift.Lift]:
    return state, lift.begin(problem.assets, problem.config, problem.clips)


def _step_lift(problem: Problem, carry: Carry, step: Array, batch: Batch | None) -> tuple[Carry, Losses]:
    del batch
    config = problem.config
    rate = config.lift_lr * optim.cosine(step, config.lift_steps)
    moved, values = lift.step(carry[1], problem.assets, config, problem.clips, rate)
    return (carry[0], moved), values


def _end_lift(problem: Problem, carry: Carry) -> FitState:
    state, lifted = carry
    targets = lift.finish(lifted, problem.assets, problem.config, problem.clips, state.targets)
    return dataclasses.replace(state, targets=targets)


# --- warm-up ---


def _begin_warmup(problem: Problem, state: FitState) -> FitState:
    if problem.config.find_handedness:
        margin, same = problem.config.handedness_margin, problem.assets.same_take
        mirrored = handedness.mirrored_instances(state.targets, problem.clips, margin, same_take=same)
        state = dataclasses.replace(state, params=dataclasses.replace(state.params, mirrored=mirrored))
    if problem.config.warmup_root:
        yaws, targets = camera_search.align_roots(state.targets, problem.clips, state.params.mirrored)
        state = dataclasses.replace(state, targets=targets, yaws=yaws)
    return state


def _step_warmup(problem: Problem, state: FitState, step: Array, batch: Batch | None) -> tuple[FitState, Losses]:
    config = problem.config
    batch = _batch(problem, step, 1) if batch is None else batch
    (total, terms), gradient = jax.value_and_grad(objective.warmup_loss, has_aux=True)(
        state.params, config, problem.clips, state.targets, batch
    )
    rates = {"field": config.lr_warmup, "phase": config.lr_phase}
    return _update(problem, state, gradient, rates), {"total": total, **terms}


# --- cameras ---


def _begin_camera(problem: Problem, state: FitState) -> tuple[FitState, camera_search.Search]:
    config, clips = problem.config, problem.clips
    if config.find_travel:
        params = travel.follow(state.params, problem.assets, config, clips, state.yaws)
        state = dataclasses.replace(state, params=params)
    return state, camera_search.begin_search(state.params, problem.assets, config, clips, state.yaws)


def _step_camera(problem: Problem, carry: Carry, step: Array, batch: Batch | None) -> tuple[Carry, Losses]:
    del batch
    config = problem.config
    rate = config.lr_camera_stage * (optim.cosine(step, config.camera_steps) if config.camera_search else 1.0)
    moved, values = camera_search.search_step(carry[1], problem.assets, config, problem.clips, rate)
    return (carry[0], moved), values


def _end_camera(problem: Problem, carry: Carry) -> FitState:
    state, search = carry
    cameras, log_focal = camera_search.best(search, problem.assets, problem.config)
    params = dataclasses.replace(state.params, cameras=cameras, log_focal=log_focal)
    exists = jnp.asarray(clips_lib.num_frames(problem.clips) > 0)
    params = ground.with_floor(params, problem.assets.soles, search.points, exists)
    return dataclasses.replace(state, params=params)


def _step_camera_joint(problem: Problem, state: FitState, step: Array, batch: Batch | None) -> tuple[FitState, Losses]:
    config = problem.config
    batch = _batch(problem, step, 2) if batch is None else batch
    (total, terms), gradient = jax.value_and_grad(objective.camera_loss, has_aux=True)(
        state.params, problem.assets, config, problem.clips, state.targets, batch
    )
    rates = optim.joint_rates(config, _decay(config, jnp.zeros(())))
    return _update(problem, state, gradient, rates), {"total": total, **terms}


def _camera_stage(config: FitConfig) -> tuple[Callable, Callable, Callable]:
    if config.camera_joint:
        return _keep, _step_camera_joint, _keep
    return _begin_camera, _step_camera, _end_camera


# --- everything ---


def _step_joint(problem: Problem, state: FitState, step: Array, batch: Batch | None) -> tuple[FitState, Losses]:
    config = problem.config
    batch = _batch(problem, step, 3) if batch is None else batch
    noise = 0.0
    if config.code_noisy:
        key = jax.random.fold_in(jax.random.fold_in(problem.key, 4), step)
        noise = config.code_noise * jax.random.normal(key, (batch.instance.shape[0], config.code_size))
    clips, targets = exchange.as_read(problem.clips, state.targets, state.exchanged, problem.config)
    broader = contact.broader(config.contact_begin, config.contact_narrow * config.joint_steps, step)
    grown = lambda share: jnp.minimum(step / (share * config.joint_steps), 1.0)
    trust = config.depth_begin * (1 - grown(config.depth_until))
    looser = contact.looser(config.contact_loose, config.contact_narrow, step / config.joint_steps)
    present = dataclasses.replace(
        config,
        weight_apart=config.weight_apart * grown(config.apart_grown),
        contact_speed=config.contact_speed * looser,
        contact_height=config.contact_height * looser,
        balance_usual=config.balance_usual * grown(config.balance_begin),
    )
    (total, terms), gradient = jax.value_and_grad(objective.joint_loss, has_aux=True)(
        state.params, problem.assets, present, clips, targets, batch, noise, broader, trust
    )
    rates = optim.joint_rates(config, _decay(config, step))
    # Which clips are lost is told by the motion that all share, their way through the world too.
    rates["path"] = rates["path"] * (step >= steps_before(config))
    if config.plateau:
        rates = optim.reduced(rates, state.plateau)
        state = dataclasses.replace(state, plateau=optim.watch(state.plateau, total, config.plateau_factor))
    return _update(problem, state, gradient, rates), {"total": total, **terms}


def _read_anew(problem: Problem, state: FitState) -> FitState:
    """The state with left and right of all frames decided by the present motion."""
    exchanged = exchange.find(state.params, problem.assets, problem.config, problem.clips)
    return dataclasses.replace(state, exchanged=exchanged)


def _end_joint(problem: Problem, state: FitState) -> FitState:
    """Turns the finished fit so that the world's up is y and its floor is y = 0."""
    return dataclasses.replace(state, params=ground.level(state.params, problem.assets.body))


# --- lost clips ---


def _begin_rescue(problem: Problem, state: FitState) -> tuple[FitState, rescue.Rescue]:
    return state, rescue.begin(state.params, problem.assets, problem.config, problem.clips)


def _step_rescue(problem: Problem, carry: Carry, step: Array, batch: Batch | None) -> tuple[Carry, Losses]:
    del batch
    state, readings = carry
    factor = optim.cosine(step, problem.config.rescue_steps)
    arguments = (state.params, problem.assets, problem.config, problem.clips, state.targets)
    moved, values = rescue.step(readings, *arguments, factor)
    return (state, moved), values


def _end_rescue(problem: Problem, carry: Carry) -> FitState:
    state, readings = carry
    arguments = (state.params, problem.assets, problem.config, problem.clips, state.targets)
    params, rescued = rescue.finish(readings, *arguments)
    if problem.config.sync_frames:
        params = resync.synchronised(params, problem.assets, problem.config, problem.clips)
    return _read_anew(problem, dataclasses.replace(state, params=params, rescued=rescued))
