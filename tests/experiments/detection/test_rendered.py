"""The whole way from a film to keypoints and first poses, with the real detector, on a film of which the truth is known."""

import films
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from body_models import loaders, smpl
from experiments.detection import models
from experiments.loaders import synthetic, videos
from experiments.show.render import rasterizer, shading
from nemo_jax import rotations

pytestmark = pytest.mark.skipif(
    not models.installed(), reason="ai-edge-litert is not installed (requirements-video.txt)"
)
HEIGHT, FRAMES = 480, 16


def test_a_rendered_pitch(tmp_path):
    body = loaders.load_body()
    made = synthetic.load(body, seed=0, num_instances=1)
    truth, camera = made.truth, made.cameras[0]
    which = np.linspace(0, made.clips.frame_mask[0].sum() - 1, FRAMES).astype(int)
    turns = rotations.axis_angle_to_matrix(jnp.asarray(truth.pose[0, which]))
    vertices = jax.vmap(smpl.vertices, (None, 0, None, 0))(
        body, turns, jnp.asarray(truth.betas[0]), jnp.asarray(truth.translation[0, which])
    )
    width, height = camera.image_size
    scale = HEIGHT / height
    size = (round(width * scale / 2) * 2, HEIGHT)
    camera_from_world = camera.world_from_camera.T
    seen_by = rasterizer.Projection(
        camera_from_world, -camera_from_world @ camera.position, camera.focal * scale, np.array(size) / 2, size
    )
    empty = np.full((HEIGHT, size[0], 3), 150, np.uint8)
    skin = (0.85, 0.6, 0.5)
    drawn = [
        shading.draw(empty, [shading.Mesh(np.asarray(points), np.asarray(body.faces), skin)], seen_by)
        for points in vertices
    ]
    path = films.write(tmp_path / "pitch.mp4", drawn)

    dataset = videos.load(str(path), "pitch", cache_dir=tmp_path / "detections", body=body)
    clips = dataset.clips
    keypoints, confidence = clips.keypoints[0], clips.confidence[0]
    true = camera.project(truth.joints[0, which]) * scale
    assert (confidence > 0.5).any(1).mean() >= 0.95
    used = confidence > 0.5
    assert used[:, [2, 5, 9, 12]].mean() > 0.9 and used.mean() > 0.6
    off = np.linalg.norm(keypoints - true, axis=-1) / np.linalg.norm(np.ptp(true, axis=1), axis=-1)[:, None]
    # Measured: 0.014 and 0.97.
    assert np.median(off[used]) < 0.025
    assert (off[used] < 0.05).mean() > 0.9

    mask = clips.init_mask[0] > 0
    assert mask.mean() > 0.9
    true_turns = np.array(turns)
    true_turns[:, 0] = camera_from_world @ true_turns[:, 0]
    first = rotations.axis_angle_to_matrix(jnp.asarray(clips.init_pose[0]))
    joints = jax.vmap(smpl.joints, (None, 0, None, None))
    flat, still = jnp.zeros_like(jnp.asarray(truth.betas[0])), jnp.zeros(3)
    apart = np.asarray(joints(body, first, flat, still) - joints(body, jnp.asarray(true_turns), flat, still))
    # From a single view, root aligned, the way that the body faces included. Measured: 134 mm.
    error = np.linalg.norm(apart - apart[:, :1], axis=-1)[mask].mean()
    assert error < 0.2
