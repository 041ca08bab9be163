"""Penn Action as it is published, where NEMO_DATA_DIR has it."""

import os
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from body_models import loaders, smpl
from experiments.loaders import penn_action, penn_ids


@pytest.fixture(scope="module")
def real():
    root = os.environ.get("NEMO_DATA_DIR")
    if not root or not Path(root, "penn_action").is_dir():
        pytest.skip("NEMO_DATA_DIR is not set or holds no penn_action")
    return Path(root, "penn_action")


ACTIONS = {"baseball_pitch": 43, "baseball_swing": 46, "golf_swing": 49, "tennis_serve": 47, "tennis_swing": 43}


@pytest.mark.parametrize(("action", "count"), ACTIONS.items())
def test_real_actions_load_whole(real, action, count):
    data = penn_action.load(real, action)
    assert len(data.names) == count
    assert set(data.names) == penn_ids.of_paper(penn_action.ALIASES.get(action, action))
    assert not data.notes
    frames = data.clips.frame_mask > 0
    assert (data.box_size[frames] >= 0).all()
    assert np.median(data.box_size[frames]) > 100
    assert data.clips.confidence[frames][:, list(data.annotated)].mean() > 0.7


def test_real_sides_are_the_persons_own(real):
    # Somebody seen from behind has the right shoulder on the right of the image; seen from the front, on the left.
    data = penn_action.load(real, "tennis_forehand")
    side = {"back": [], "front": []}
    for n, view in enumerate(data.view):
        both = (data.clips.confidence[n][:, [2, 5]] > 0).all(1)
        if view in side and both.any():
            side[view].append(np.mean((data.clips.keypoints[n, :, 2] - data.clips.keypoints[n, :, 5])[both, 0] > 0))
    assert np.mean(side["back"]) > 0.9
    assert np.mean(side["front"]) < 0.1


def test_real_head_points_are_nearest_to_the_nose(real):
    # Height above the shoulders of upright people, over the length shoulder-hip-knee-ankle, against the body's own points.
    heights = []
    for action in ACTIONS:
        clips = penn_action.load(real, action).clips
        needed = [0, 2, 5, 9, 10, 11]
        keypoints = clips.keypoints[(clips.confidence[..., needed] > 0).all(-1)].astype(float)
        shoulders = keypoints[:, [2, 5]].mean(1)
        side = np.stack([shoulders, keypoints[:, 9], keypoints[:, 10], keypoints[:, 11]], 1)
        trunk = side[:, 1] - side[:, 0]
        upright = np.abs(trunk[:, 0]) < 0.14 * trunk[:, 1]
        length = np.linalg.norm(np.diff(side, axis=1), axis=-1).sum(1)
        heights.append(((shoulders[:, 1] - keypoints[:, 0, 1]) / length)[upright])
    measured = np.median(np.concatenate(heights))
    body = loaders.load_body()
    joints = smpl.all_joints(body, jnp.tile(jnp.eye(3), (24, 1, 1)), jnp.zeros(body.num_betas), jnp.zeros(3))
    joints = np.asarray(joints, float)
    length = np.linalg.norm(np.diff(joints[[17, 2, 5, 8]], axis=0), axis=-1).sum()
    above = {name: (joints[i, 1] - joints[17, 1]) / length for name, i in (("nose", 24), ("top", 48), ("centre", 53))}
    assert min(above, key=lambda name: abs(above[name] - measured)) == "nose"
