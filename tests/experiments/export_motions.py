"""Motions to export: a person who turns every joint every way, on two bodies."""

import numpy as np
from scipy.spatial.transform import Rotation

from body_models import smpl
from experiments.export import animation


def motion(body, frames=9, fps=30.0, seed=0, size=1.2, name="kick 1"):
    """A clip whose joints wander through large rotations, the root all the way round."""
    rng = np.random.default_rng(seed)
    vectors = np.cumsum(rng.normal(0, size / 3, (frames, 24, 3)), 0) + rng.normal(0, size, (24, 3))
    vectors[:, 0] = [[0, 2 * np.pi * t / frames, 0.2] for t in range(frames)]
    rotations = Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(frames, 24, 3, 3)
    translation = np.cumsum(rng.normal(0, 0.05, (frames, 3)), 0) + [0.3, 1.1, -0.4]
    betas = rng.normal(0, 1, body.num_betas)
    return animation.posed(name, "kick", fps, np.linspace(0.1, 0.9, frames), rotations, translation, betas, body)


def chain(parents, offsets, rotations, places):
    """Joints (T, J, 3) of a chain, one joint after the other: places (T, 3) of the root, offsets (J, 3) to the parents."""
    frames, joints = rotations.shape[:2]
    positions, world = np.zeros((frames, joints, 3)), np.zeros((frames, joints, 3, 3))
    for joint, parent in enumerate(parents):
        if parent < 0:
            positions[:, joint], world[:, joint] = places, rotations[:, joint]
        else:
            positions[:, joint] = positions[:, parent] + world[:, parent] @ offsets[joint]
            world[:, joint] = world[:, parent] @ rotations[:, joint]
    return positions, world


def z_up(points):
    """A world with y up as one with z up: what points up keeps its height, what points to the person's front comes to -y."""
    x, y, z = np.moveaxis(np.asarray(points), -1, 0)
    return np.stack([x, -z, y], -1)


def with_smpls_mesh(arrays):
    """A body of as many vertices as SMPL's, made of 54 that are there many times."""
    count = len(arrays["v_template"])
    source = np.arange(6890) % count
    wider = {key: np.asarray(arrays[key])[source] for key in ("v_template", "shapedirs", "posedirs", "weights")}
    for key in ("J_regressor", "J_regressor_extra"):
        wider[key] = np.pad(arrays[key], [(0, 0), (0, 6890 - count)])
    return smpl.build({**arrays, **wider})
