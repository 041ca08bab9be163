"""Results of cameras that turn and zoom: every file and picture has the camera of its frame."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from body_models import smpl
from experiments.data import neutral
from experiments.results import fitted_motion, reading, writing
from experiments.show.figures import comparison
from experiments.show.render import bodies, floor, overlay
from experiments.show.report import checks
from experiments.show.viewer import scene
from nemo_jax import camera as cam
from nemo_jax import model
from nemo_jax.priors import Priors
from tests.experiments.show.test_viewer_data import unpack


@pytest.fixture(scope="module")
def run(tiny_dataset, tiny_job, make_run, tiny_fitted):
    """An unfitted model in level cameras, of which the first pans and zooms; found with another lens than the fit has."""
    clips, (n, t) = tiny_dataset.clips, tiny_dataset.clips.frame_mask.shape
    angles = np.linspace(0, 0.5, t)[:, None] * [0.1, 1.0, 0.0]
    turn = np.stack([Rotation.from_rotvec(angles).as_matrix(), np.tile(np.eye(3), (t, 1, 1))])
    mask = np.asarray(clips.frame_mask)
    moving = dataclasses.replace(
        clips,
        camera_turn=np.float32(turn * mask[..., None, None]),
        zoom=np.float32(np.stack([np.linspace(1, 1.4, t), np.ones(t)]) * mask),
        turn_focal=np.float32(clips.focal_length * [0.8, 1.0]),
    )
    dataset = dataclasses.replace(tiny_dataset, clips=moving)
    level = np.tile([0.1, 0.0, 5.0, 1, 0, 0, -1, 0, 0], (n, 1))
    params = dataclasses.replace(tiny_fitted.params, cameras=jnp.float32(level))
    assets = model.prepare(jax.tree.map(jnp.asarray, moving), tiny_job.body, Priors(), tiny_job.config)
    fitted = fitted_motion.predict(params, assets, tiny_job.body, tiny_job.config, moving)
    return make_run(dataset, fitted)


def frames_of(run, n=0):
    return range(run.num_frames(n))


def test_the_camera_of_a_frame_gives_the_pixels(run):
    fitted = run.fitted
    for n in range(2):
        for frame in frames_of(run, n):
            turn, move, focal = fitted.camera(n, frame)
            points = fitted.prediction.keypoints[n, frame] @ turn.T + move
            pixels = cam.project(points, focal, fitted.principal[n])
            np.testing.assert_allclose(pixels, fitted.prediction.keypoints_2d[n, frame], atol=0.02)
    # The lens is longer than that with which the turns were found, so that they are smaller.
    last = run.num_frames(0) - 1
    found = Rotation.from_matrix(fitted.camera_turn[0, last]).magnitude()
    given = Rotation.from_matrix(run.dataset.clips.camera_turn[0, last]).magnitude()
    assert found == pytest.approx(0.8 * given, rel=1e-3)
    wide = fitted.padded(20)
    assert wide.camera_turn.shape[1] == wide.zoom.shape[1] == 20


def test_bodies_and_floor_lie_in_the_picture_of_their_frame(run):
    body, fitted, frames = run.body, run.fitted, [0, 3, 6]
    for frame, vertices in zip(frames, bodies.of_fit(run, 0, frames), strict=True):
        camera = bodies.camera(run, 0, frame)
        seen = fitted.prediction
        posed = smpl.vertices(body, seen.rotations[0, frame], fitted.params.betas[0], seen.translation[0, frame])
        turn, move, focal = fitted.camera(0, frame)
        pixels = cam.project(np.asarray(posed) @ turn.T + move, focal, fitted.principal[0])
        np.testing.assert_allclose(
            camera.focal * vertices[:, :2] / vertices[:, 2:] + camera.principal, pixels, atol=0.05
        )
        level = floor.camera(run, 0, frame, camera)
        np.testing.assert_allclose(level.to_camera(np.asarray(posed, float)), vertices, atol=1e-4)
    assert bodies.camera(run, 0, 6).focal > bodies.camera(run, 0, 0).focal
    # A first pose that is the fit's, as the camera of its frame sees it, is drawn where the fit is.
    pose = Rotation.from_matrix(np.asarray(fitted.prediction.rotations[0], float).reshape(-1, 3, 3)).as_rotvec()
    pose = pose.reshape(-1, 24, 3)
    for frame in frames_of(run):
        root = Rotation.from_matrix(fitted.camera(0, frame)[0]) * Rotation.from_rotvec(pose[frame, 0])
        pose[frame, 0] = root.as_rotvec()
    clips = run.dataset.clips
    told = dataclasses.replace(clips, init_pose=np.stack([pose, clips.init_pose[1]]), init_mask=clips.frame_mask)
    told = dataclasses.replace(run, dataset=dataclasses.replace(run.dataset, clips=told))
    one, other = (np.stack(list(of(told, 0, frames))) for of in (bodies.of_fit, bodies.of_initial))
    np.testing.assert_allclose(other, one, atol=1e-4)


def test_pictures_are_drawn(run):
    pictures = list(overlay.stills(run, 0, [0, 6]))
    assert pictures[0].shape == pictures[1].shape and (pictures[0] != pictures[1]).any()
    drawn = comparison._body(run, 0, 6, "truth")
    # The truth is seen by the true camera of the frame.
    camera, clips = run.dataset.cameras[0], run.dataset.clips
    there = camera.to_camera(np.asarray(run.dataset.truth.joints)[0, 6, 8]) @ np.asarray(clips.camera_turn[0, 6]).T
    np.testing.assert_allclose(drawn.root, there, atol=1e-4)
    assert drawn.camera.focal == pytest.approx(camera.focal * clips.zoom[0, 6])
    # Depths of the report are along the axis of each frame.
    place = checks.camera_place(run.dataset, run.fitted, 0)
    roots = run.fitted.prediction.keypoints[0, :, 8]
    depths = [(roots[f] @ run.fitted.camera(0, f)[0].T + run.fitted.camera(0, f)[1])[2] for f in frames_of(run)]
    assert place.nearest == pytest.approx(min(depths), rel=1e-4)


def test_files_have_the_camera_of_each_frame(run, tmp_path):
    for n in range(2):
        arrays = writing.motion_arrays(run.dataset, run.fitted, n, "body")
        assert ("camera_turn" in arrays) == ("zoom" in arrays) == (n == 0)
    arrays = writing.motion_arrays(run.dataset, run.fitted, 0, "body")
    assert arrays["camera_turn"].shape == (run.num_frames(0), 3, 3)
    seen = arrays["joints"] @ arrays["camera_from_world"].T + arrays["camera_translation"]
    seen = np.einsum("tij,tkj->tki", arrays["camera_turn"], seen)
    pixels = arrays["focal"] * arrays["zoom"][:, None, None] * seen[..., :2] / seen[..., 2:] + arrays["principal"]
    np.testing.assert_allclose(pixels, arrays["joints_2d"], atol=0.02)
    # The clips of a results folder keep what they were fitted with.
    reading.write(tmp_path, run.dataset, run.params)
    kept = neutral.load(tmp_path / reading.CLIPS, run.dataset.action).clips
    np.testing.assert_array_equal(kept.camera_turn, run.dataset.clips.camera_turn)
    np.testing.assert_array_equal(kept.turn_focal, run.dataset.clips.turn_focal)


def test_the_viewer_has_them(run):
    described = scene.describe(run)
    cameras = described["cameras"]
    np.testing.assert_array_equal(unpack(cameras["turn"]), run.fitted.camera_turn)
    np.testing.assert_array_equal(unpack(cameras["zoom"]), run.fitted.zoom)
    pose, mask = unpack(described["initial"]["pose"]), unpack(described["initial"]["mask"])
    frame = int(np.flatnonzero(mask[0])[-1])
    clips = run.dataset.clips
    turn = np.asarray(clips.camera_turn[0, frame], float) @ run.fitted.camera_from_world[0]
    given = Rotation.from_rotvec(clips.init_pose[0, frame, 0])
    assert (Rotation.from_matrix(turn) * Rotation.from_rotvec(pose[0, frame, 0]) * given.inv()).magnitude() < 1e-3
