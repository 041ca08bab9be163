"""Error bars of each joint: errors of poses against the ground truth or, without one, of the fit against its input."""

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from body_models import joints as jn
from body_models import smpl
from experiments.evaluation.pose_errors import given_poses
from experiments.results import pixel_errors
from experiments.results.reading import Run
from experiments.show.figures.sheet import NORMAL, WIDTH, kind
from experiments.show.style import CENTRE, CYCLE, FIT, INITIAL
from nemo_jax import metrics, rotations

Array = np.ndarray

_OTHERS = (CYCLE[2], CYCLE[3], CYCLE[0], CYCLE[1])
_UNMOVED = ("mid_hip", "right_hip", "left_hip")
_NAMES = {"init": "initial estimate"}


def draw(run: Run) -> Figure:
    """Draws the means over clips and their standard deviations."""
    dataset = run.dataset
    if dataset.truth is not None:
        methods = pose_errors(run)
        joints = np.array([k for k in range(metrics.PAPER_JOINTS) if jn.BODY_25_NAMES[k] not in _UNMOVED])
        what, unit = "MPJPE of each joint, poses alone; the hips, which no pose moves, are left out", "error (mm)"
    else:
        shares = 100 * reprojection_shares(run)
        methods = {"fit": shares}
        joints = np.flatnonzero(np.isfinite(shares).any(0))
        what, unit = "reprojection error of each joint", "median error\n(% of the person's box)"
    count = len(dataset.names)
    spread = "; whiskers: standard deviation over clips" if count > 1 else ""
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    axes = figure.add_subplot()
    wide = 0.8 / len(methods)
    others = iter(_OTHERS * len(methods))
    for number, (name, values) in enumerate(methods.items()):
        shown = values[:, joints]
        there = np.isfinite(shown).sum(0)
        mean = np.nansum(shown, 0) / np.maximum(there, 1)
        deviation = np.sqrt(np.nansum((shown - mean) ** 2, 0) / np.maximum(there, 1))
        colour = {"init": INITIAL, "fit": FIT}.get(name) or next(others)
        place = np.arange(len(mean)) + (number - (len(methods) - 1) / 2) * wide
        # Error bars are cut at 0, because errors cannot be negative.
        whiskers = np.stack([np.minimum(deviation, mean), deviation]) if count > 1 else None
        style = {"ecolor": CENTRE, "elinewidth": 0.7, "capsize": 1.5}
        axes.bar(place, mean, 0.92 * wide, color=colour, label=_NAMES.get(name, name), yerr=whiskers, error_kw=style)
    labels = [jn.BODY_25_NAMES[joint].replace("_", " ") for joint in joints]
    axes.set_xticks(np.arange(len(labels)), labels, rotation=40, ha="right", rotation_mode="anchor")
    axes.set(ylabel=unit, ylim=(0, None), xlim=(-0.6, max(len(labels), 1) - 0.4))
    axes.grid(axis="x", visible=False)
    axes.set_axisbelow(True)
    title = f"{kind(dataset)}: {what}\nmean of {count} clip{'s' * (count > 1)}{spread}"
    figure.suptitle(title, x=0.01, ha="left", fontsize=NORMAL)
    if len(methods) > 1:
        figure.legend(loc="outside lower center", ncols=4)
    return figure


def pose_errors(run: Run) -> dict[str, Array]:
    """For each method, mean errors (N, 15) in mm of each joint, without shape, root orientation and translation.

    The mean over the joints is the paper's MPJPE. NaN where a method has no pose in a clip.
    """
    dataset, fitted = run.dataset, run.fitted
    truth = dataset.truth
    assert truth is not None
    frames = np.asarray(dataset.clips.frame_mask)
    given = {name: (pose, mask * frames) for name, (pose, mask) in given_poses(dataset).items() if np.any(mask > 0)}
    methods = {**given, "fit": (fitted.poses, frames)}
    true = _bare_joints(run.body, jnp.asarray(truth.pose))
    return {
        name: np.asarray(_joint_errors(_bare_joints(run.body, jnp.asarray(pose)), true, jnp.asarray(mask)))
        for name, (pose, mask) in methods.items()
    }


_joint_errors = jax.jit(jax.vmap(metrics.joint_errors))


@jax.jit
def _bare_joints(body: smpl.SMPL, poses: jax.Array) -> jax.Array:
    """Joints (N, T, 15, 3) of the mean body in poses (N, T, 24, 3), its root at the identity."""

    def one(pose: jax.Array) -> jax.Array:
        matrices = rotations.axis_angle_to_matrix(pose.at[0].set(0.0))
        return smpl.keypoints(body, matrices, jnp.zeros(body.num_betas), jnp.zeros(3))[: metrics.PAPER_JOINTS]

    with jax.default_matmul_precision("float32"):
        return jax.vmap(jax.vmap(one))(poses)


def reprojection_shares(run: Run) -> Array:
    """Median errors (N, 25) of each joint over the frames in which it is visible, divided by the diagonal of the
    person's box; NaN if it is never visible. The reference is `reference_2d` if the dataset has it, else the input."""
    errors, scored = pixel_errors.from_reference(run.dataset, run.fitted, run.threshold)
    shares = np.where(scored, errors / np.maximum(run.dataset.box_size, 1e-6)[..., None], np.nan)
    out = np.full((len(shares), shares.shape[-1]), np.nan)
    for n, k in zip(*np.nonzero(scored.any(1)), strict=True):
        out[n, k] = np.nanmedian(shares[n, :, k])
    return out
