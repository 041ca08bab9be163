"""Operations and bytes of one step, counted by hand from the shapes: the minimum that any program for it needs."""

from typing import NamedTuple

import jax
import numpy as np

from body_models import joints as jn
from experiments.benchmarks import problem
from nemo_jax import model, stages

_FEATURES = 9 * (jn.NUM_JOINTS - 1)


class Count(NamedTuple):
    """flops: operations, a multiply-add counts as two. bytes: traffic of the device's memory, each array once."""

    flops: float
    bytes: float


def of_step(stage: str, case: problem.Case) -> Count:
    """The count of one step of a stage of ONE fit; 0 for the camera and lift stages, which have no matrix products."""
    config, body, priors = case.config, case.body, case.priors
    if stage not in ("warmup", "joint"):
        return Count(0.0, 0.0)
    field = jax.eval_shape(model.field_module(config).init, jax.random.key(0), _scalar(), _vector(config.code_size))
    weights = [leaf.shape for leaf in jax.tree.leaves(field) if leaf.ndim == 2]
    # Forward, and one product each for the gradients of inputs and weights.
    flops = 3 * 2 * config.batch_size * sum(int(np.prod(shape)) for shape in weights)
    size = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(field))
    # Adam reads the weights, their gradient and two moments, and writes all but the gradient.
    moved = 7 * 4 * size
    if stage == "joint":
        anchors = body.keypoint_anchors.template.shape[0]
        flops += config.batch_size * 3 * _skinning(anchors)
        if priors.vposer is not None:
            # Two meshes forward, one backward; the network forward, and backward to the pose.
            flops += config.batch_size * 3 * _skinning(body.num_vertices)
            network = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(priors.vposer) if leaf.ndim == 2)
            flops += config.batch_size * 2 * 2 * network
            moved += sum(leaf.nbytes for leaf in jax.tree.leaves((body.mesh, priors.vposer)))
        if priors.gmm is not None:
            flops += config.batch_size * 2 * 2 * priors.gmm.whitening.size
    return Count(float(flops), float(moved))


def of_fit(case: problem.Case) -> Count:
    """The count of all steps of ONE fit."""
    steps = [(of_step(stage.name, case), stage.steps) for stage in stages.stages(case.config)]
    return Count(*(sum(count[part] * times for count, times in steps) for part in range(2)))


def _skinning(points: int) -> float:
    """One pose of `points` anchors: pose blend shapes, then blended 3 x 4 transforms, then applying them."""
    return 2.0 * points * (3 * _FEATURES + 12 * jn.NUM_JOINTS + 12)


def _scalar() -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((), np.float32)


def _vector(size: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((size,), np.float32)
