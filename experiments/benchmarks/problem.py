"""The inputs of the benchmarks: eight clips of 100 frames, a body of SMPL's size, priors of the licensed files' sizes.

The licensed files cannot be distributed. Speed depends only on shapes, so they are replaced by inputs of equal shapes:
the open body refined to SMPL's 6,890 vertices, a random mixture of eight components, a random network instead of
VPoser.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from body_models import joints as jn
from body_models import loaders, smpl
from experiments import configs
from experiments.loaders import synthetic
from nemo_jax import rotations
from nemo_jax.clips import Clips
from nemo_jax.config import FitConfig
from nemo_jax.fit import for_clips
from nemo_jax.priors import Priors, gmm, published_limits, vposer

INSTANCES, FRAMES = 8, 100
_NUM_COMPONENTS = 8
_PER_VERTEX = ("v_template", "shapedirs", "posedirs", "weights")
_REGRESSORS = ("J_regressor", "J_regressor_extra")


@functools.cache
def body_arrays() -> dict[str, np.ndarray]:
    """The open body's arrays, refined at the midpoints of random edges until it has SMPL's number of vertices.

    Every vertex has weights for four joints, as in SMPL, because the speed of a kernel may depend on this.
    """
    arrays = loaders.read_arrays(loaders.OPEN_BODY)
    rng = np.random.default_rng(0)
    missing = jn.SMPL_NUM_VERTICES - len(arrays["v_template"])
    ends = rng.choice(arrays["f"], missing, replace=False)[:, :2]
    for name in _PER_VERTEX:
        arrays[name] = np.concatenate([arrays[name], arrays[name][ends].mean(1)])
    arrays["weights"] = _four_joints(arrays["weights"])
    for name in _REGRESSORS:
        arrays[name] = np.pad(arrays[name], ((0, 0), (0, missing)))
    return arrays


def _four_joints(weights: np.ndarray) -> np.ndarray:
    """Weights (V, J) of four joints per vertex: the greatest ones, then nearest joints of the tree, 0.001 each."""
    steps = np.full((jn.NUM_JOINTS, jn.NUM_JOINTS), jn.NUM_JOINTS)
    np.fill_diagonal(steps, 0)
    for joint, parent in enumerate(jn.PARENTS[1:], start=1):
        # Parents come before their children, and the path from a child to any earlier joint goes through its parent.
        steps[joint, :joint] = steps[:joint, joint] = steps[parent, :joint] + 1
    near = steps[weights.argmax(1)]
    order = np.argsort(np.where(weights > 0, -weights, 1 + near), axis=1, kind="stable")[:, :4]
    kept = np.maximum(np.take_along_axis(weights, order, 1), 1e-3)
    found = np.zeros_like(weights)
    np.put_along_axis(found, order, kept / kept.sum(1, keepdims=True), 1)
    return found


def turns(axis_angle: jax.Array) -> jax.Array:
    """Rotations (..., 3, 3) of rotation vectors (..., 3)."""
    return jax.jit(rotations.axis_angle_to_matrix)(axis_angle)


@functools.cache
def body(keypoint_ids: tuple[int, ...] = tuple(jn.BODY_25)) -> smpl.SMPL:
    """A body of SMPL's size."""
    return smpl.build(body_arrays(), keypoint_ids)


@functools.cache
def clips(first: int = 0) -> Clips:
    """Eight synthetic pitches of 100 frames; another `first` gives other pitches."""
    style = synthetic.StyleModel(frames_range=(FRAMES, FRAMES))
    made = synthetic.load(loaders.load_body(), seed=first, num_instances=INSTANCES, style=style).clips
    return jax.tree.map(jnp.asarray, made)


@functools.cache
def published_priors() -> Priors:
    """Random stand-ins of the shapes of `gmm_08.pkl` and `V02_05`."""
    rng = np.random.default_rng(1)
    size = gmm.NUM_DIMENSIONS
    factors = np.eye(size) * 0.3 + 0.02 * rng.normal(size=(_NUM_COMPONENTS, size, size))
    mixture = gmm.mixture(
        0.2 * rng.normal(size=(_NUM_COMPONENTS, size)),
        factors @ factors.swapaxes(1, 2),
        np.full(_NUM_COMPONENTS, 1 / _NUM_COMPONENTS),
    )
    state = {}
    for name, shape in vposer.state_shapes().items():
        if name.endswith("running_var"):
            state[name] = rng.uniform(0.05, 1, shape)
        else:
            state[name] = rng.normal(size=shape) / (np.sqrt(shape[-1]) if len(shape) > 1 else 4)
    return Priors(gmm=mixture, vposer=vposer.from_state_dict(state))


@dataclasses.dataclass(frozen=True)
class Case:
    """One fit: the arguments of `fit` except the key."""

    name: str
    clips: Clips
    body: smpl.SMPL
    priors: Priors
    config: FitConfig


@functools.cache
def case(preset: str) -> Case:
    """A preset on the clips: `default` with the free priors, the others with the published ones."""
    config = for_clips(configs.get(preset), clips())
    if config.prior_set == "open":
        return Case(preset, clips(), body(), Priors(joint_limits=published_limits()), config)
    top = config.head_keypoint == "top_of_head"
    ids = (jn.TOP_OF_HEAD, *jn.BODY_25[1:]) if top else jn.BODY_25
    return Case(preset, clips(), body(tuple(int(i) for i in ids)), published_priors(), config)


def in_precision(given: Case, precision: str, **changes: Any) -> Case:
    """The case with its networks in another precision, and other changes of the configuration."""
    config = dataclasses.replace(given.config, matmul_precision=precision, **changes)
    return dataclasses.replace(given, config=config)
