"""From the recorded files to this project's types: parameters, clips, configuration, and back to recorded names."""

import dataclasses
import json
import os

import jax.numpy as jnp
import numpy as np

from experiments.configs._published import PUBLISHED
from nemo_jax.clips import Clips
from nemo_jax.model import Params

_LAYERS = {
    "net.net.0": "hidden_0",
    "net.net.2": "hidden_1",
    "net.net.4": "hidden_2",
    "rot_out": "rotation",
    "linear_out": "translation",
}


def field(arrays, prefix=""):
    """Flax parameters of `MotionField` from a torch state dict; torch's weights are (out, in)."""
    return {
        ours: {
            "kernel": jnp.asarray(np.asarray(arrays[f"{prefix}{theirs}.weight"]).T),
            "bias": jnp.asarray(arrays[f"{prefix}{theirs}.bias"]),
        }
        for theirs, ours in _LAYERS.items()
    }


def params(run, group):
    """`Params` from the arrays `group/<torch name>` of a recorded run."""
    arrays = {name.removeprefix(f"{group}/"): run[name] for name in run if name.startswith(f"{group}/")}
    num = len(arrays["learned_cameras"])
    learned = field(arrays, "learned_motion.")
    if "phase_rbf.log_sigmas" in arrays:
        learned["features"] = {"log_scales": jnp.asarray(arrays["phase_rbf.log_sigmas"])}
    of = lambda key: jnp.stack([jnp.asarray(arrays[f"phase_networks.{n}.{key}"]) for n in range(num)])
    phase = {"shifts": of("shifts"), "scales": of("scales")}
    return Params(
        field=learned,
        phase=phase,
        codes=jnp.asarray(arrays["learned_instance_code"]),
        cameras=jnp.asarray(arrays["learned_cameras"]),
        betas=jnp.tile(jnp.asarray(arrays["learned_betas"]), (num, 1)),
        log_focal=jnp.zeros(num),
        span=jnp.tile(jnp.array([0.0, 1.0]), (num, 1)),
        mirrored=jnp.zeros(num),
    )


def torch_names(tree):
    """A tree like `Params`, parameters or gradients, as a dict under the recorded names.

    One shape is shared by all instances there, and its gradient is the sum of theirs.
    """
    named = {
        "learned_cameras": tree.cameras,
        "learned_instance_code": tree.codes,
        "learned_betas": tree.betas.sum(0)[None],
    }
    for theirs, ours in _LAYERS.items():
        named[f"learned_motion.{theirs}.weight"] = tree.field[ours]["kernel"].T
        named[f"learned_motion.{theirs}.bias"] = tree.field[ours]["bias"]
    if "features" in tree.field:
        named["phase_rbf.log_sigmas"] = tree.field["features"]["log_scales"]
    for key, stacked in tree.phase.items():
        named |= {f"phase_networks.{n}.{key}": leaf for n, leaf in enumerate(stacked)}
    return {name: np.asarray(leaf) for name, leaf in named.items()}


def clips(run):
    """The input of a recorded run. Its 3D estimates carry the root in front, as ours do."""
    keypoints = run["data/keypoints_2d"]
    n, t = keypoints.shape[:2]
    size = jnp.asarray([float(run["data/img_d1"]), float(run["data/img_d0"])], jnp.float32)
    return Clips(
        keypoints=jnp.asarray(keypoints[..., :2]),
        confidence=jnp.asarray(keypoints[..., 2]),
        frame_mask=jnp.ones((n, t)),
        init_pose=jnp.asarray(run["data/hmr_pose"]).reshape(n, t, 24, 3),
        init_mask=jnp.asarray(run["data/hmr_mask"]),
        image_size=jnp.tile(size, (n, 1)),
        focal_length=jnp.full(n, jnp.nan),
        fps=jnp.full(n, 30.0),
    )


def config(run):
    """The published settings, quirks included, with the arguments of a recorded run."""
    args = json.loads(str(run["args_json"]))
    rbf = args["model_version"] > 1
    return dataclasses.replace(
        PUBLISHED,
        lift=False,
        features="rbf" if rbf else "none",
        kernel=args["rbf_kernel"],
        num_centres=args["phase_rbf_dim"] if rbf else 1,
        hidden=args["h_dim"],
        code_size=args["instance_code_size"],
        phase_nodes=args["monotonic_network_n_nodes"],
        phase_init=args["phase_init"],
        camera_joint=args["model_version"] == 4,
        keypoint_loss=args["loss"],
        weight_gmm=args["weight_gmm_loss"],
        weight_vposer=args["weight_vp_loss"],
        weight_vposer_z=args["weight_vp_z_loss"],
        weight_init=args["weight_3d_loss"],
        weight_code=args["weight_instance_loss"],
        batch_size=args["batch_size"],
        warmup_steps=10,
        camera_steps=10,
        joint_steps=30,
        lr_warmup=args["lr_human"],
        lr_camera_stage=args["lr_camera"],
        lr_camera=args["lr_camera"],
        lr_field=args["lr_human"],
        lr_phase=args["lr_phase"],
        lr_code=args["lr_instance"],
        weight_decay=args["wd_human"],
    )


# Largest deviation of every test so far, for the table that `conftest.py` prints.
SEEN: dict[str, float] = {}


def deviation(found, expected, floor=0.0):
    """Largest difference, relative to the largest absolute value expected, or to `floor` where that is larger."""
    expected = np.asarray(expected, np.float64)
    value = float(np.abs(np.asarray(found, np.float64) - expected).max() / max(np.abs(expected).max(), floor, 1e-30))
    test = os.environ.get("PYTEST_CURRENT_TEST", "").split("::")[-1].split(" ")[0]
    SEEN[test] = max(SEEN.get(test, 0.0), value)
    return value
