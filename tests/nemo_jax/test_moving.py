"""Cameras that turn and zoom: exact projections, and stages that find in moving clips what they find in still ones."""

import dataclasses
import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nemo_jax import (
    batches,
    camera_search,
    depth,
    instances,
    laplace,
    lift,
    model,
    moving,
    objective,
    rescue,
    residuals,
    rotations,
    stacking,
)
from nemo_jax import camera as cam
from nemo_jax.clips import Clips
from nemo_jax.instances import Instance
from nemo_jax.priors import Priors, published_limits
from tests.nemo_jax import helpers, points

predicted = jax.jit(model.predict_clips)
CONFIG = helpers.tiny_config(camera_yaws=4, camera_frames=3)
FOCAL, MIDDLE = 1500.0, np.array([640.0, 360.0])


def homography(pixels, turn, zoom, focal=FOCAL):
    """Pixels (..., 2) of the reference as a camera turned by `turn` (3, 3) has them: the oracle, in NumPy."""
    ray = np.concatenate([(np.asarray(pixels, float) - MIDDLE) / focal, np.ones((*np.shape(pixels)[:-1], 1))], -1)
    seen = ray @ turn.T
    return focal * zoom * seen[..., :2] / seen[..., 2:] + MIDDLE


def motion(shape, pan=0.3):
    """Turns (N, T, 3, 3) and zooms (N, T) that start at nothing: pan, tilt, roll and shake, others in each clip."""
    n, t = shape
    share = np.linspace(0, 1, t) * np.where(np.arange(n) % 2, -1.0, 1.0)[:, None]
    shake = 0.01 * np.sin(7 * np.arange(t))
    turns = helpers.rotation(np.stack([0.3 * pan * share + shake, pan * share, 0.1 * share], -1))
    return turns @ np.swapaxes(turns[:, :1], -1, -2), np.exp(0.4 * np.abs(share))


def panned(clips, pan=0.3, turn_focal=None):
    """The same clips filmed by cameras that turn and zoom: exact pixels, first poses as these cameras see them."""
    turns, zooms = motion((clips.num_instances, clips.num_frames), pan)
    mask = np.asarray(clips.frame_mask) > 0
    pixels, pose = np.array(clips.keypoints), np.array(clips.init_pose)
    for at in np.argwhere(mask):
        n, t = at
        pixels[n, t] = homography(pixels[n, t], turns[n, t], zooms[n, t])
        root = turns[n, t] @ helpers.rotation(pose[n, t, 0])
        pose[n, t, 0] = helpers.Rotation.from_matrix(root).as_rotvec()
    return dataclasses.replace(
        clips,
        keypoints=jnp.asarray(pixels),
        init_pose=jnp.asarray(pose),
        camera_turn=jnp.asarray(np.where(mask[..., None, None], turns, 0.0), jnp.float32),
        zoom=jnp.asarray(np.where(mask, zooms, 0.0), jnp.float32),
        turn_focal=None if turn_focal is None else jnp.full(clips.num_instances, turn_focal),
    )


def test_projection_is_the_homography():
    rng = np.random.default_rng(0)
    turn, zoom = helpers.rotation([0.2, -0.5, 0.1]), 1.7
    with jax.enable_x64(True):
        world = jnp.asarray(rng.normal(size=(20, 3)) + [0, 0, 6.0])
        still = cam.project(world, FOCAL, MIDDLE)
        view = moving.View(turn=jnp.asarray(turn), zoom=jnp.asarray(zoom))
        seen = cam.project(*moving.look(view, world, jnp.asarray(FOCAL)), MIDDLE)
        np.testing.assert_allclose(seen, homography(still, turn, zoom), atol=1e-9)
        back, weight = moving.steady(view, seen, jnp.ones(20), jnp.asarray(FOCAL), jnp.asarray(MIDDLE))
        np.testing.assert_allclose(back, still, atol=1e-9)
        np.testing.assert_array_equal(weight, np.ones(20))


def test_rays_that_leave_the_reference_picture_have_no_weight():
    pixels = jnp.asarray([[640.0, 360.0], [640.0 + 1000, 360.0]])
    view = moving.View(turn=jnp.asarray(helpers.rotation([0.0, 1.2, 0.0]), jnp.float32), zoom=jnp.ones(()))
    back, weight = moving.steady(view, pixels, jnp.array([0.5, 0.7]), jnp.asarray(FOCAL), jnp.asarray(MIDDLE))
    # The middle of the turned picture is 1.2 radians to the left; what is right of it nearer to the axis.
    assert back[0] == pytest.approx([640 - FOCAL * np.tan(1.2), 360], rel=1e-4)
    np.testing.assert_allclose(weight, [0.5, 0.7])
    half_turn = dataclasses.replace(view, turn=jnp.asarray(helpers.rotation([0.0, 2.8, 0.0]), jnp.float32))
    back, weight = moving.steady(half_turn, pixels, jnp.ones(2), jnp.asarray(FOCAL), jnp.asarray(MIDDLE))
    np.testing.assert_array_equal(weight, [0, 0])
    np.testing.assert_array_equal(back, np.tile(MIDDLE, (2, 1)))


@pytest.mark.parametrize("known", [True, False])
def test_a_turn_of_pixels_follows_the_lens(known):
    """A shift of pixels stays, whatever the focal length; a measured angle stays an angle."""
    view = moving.View(
        turn=jnp.asarray(helpers.rotation([0.0, 0.02, 0.3]), jnp.float32),
        zoom=jnp.ones(()),
        focal=jnp.asarray(1000.0 if known else np.nan),
    )
    turns = jax.jit(lambda focal: moving.turns(view, focal))
    slopes = jax.jit(jax.value_and_grad(lambda focal: turns(focal)[0, 2]))
    for focal in (500.0, 1000.0, 3000.0):
        found, slope = slopes(jnp.asarray(focal))
        roll = np.asarray(turns(jnp.asarray(focal)))
        assert np.arctan2(roll[1, 0], roll[0, 0]) == pytest.approx(0.3, abs=1e-3)
        share = 1000.0 / focal if known else 1.0
        assert found == pytest.approx(0.02 * share, rel=0.05)
        assert slope == pytest.approx(-0.02 * 1000 / focal**2 if known else 0.0, rel=0.05)


def test_gradients_are_those_of_differences():
    with jax.enable_x64(True):
        view = moving.View(
            turn=jnp.asarray(helpers.rotation([0.3, -0.2, 0.1])), zoom=jnp.asarray(1.3), focal=jnp.asarray(900.0)
        )
        start = np.concatenate([np.random.default_rng(1).normal(size=6), [1.1]])

        def loss(x):
            world = x[:6].reshape(2, 3) + jnp.asarray([0, 0, 5.0])
            pixels = cam.project(*moving.look(view, world, 1000 * x[6]), MIDDLE)
            back, weight = moving.steady(view, pixels + 3.0, jnp.ones(2), 1000 * x[6], jnp.asarray(MIDDLE))
            return jnp.sum(weight[:, None] * (pixels**2 + back**2)) / 1e6

        found = jax.jit(jax.grad(loss))(jnp.asarray(start))
        np.testing.assert_allclose(found, helpers.numerical_gradient(jax.jit(loss), start), rtol=1e-6, atol=1e-8)


@functools.cache
def scene():
    """A field's motion in two clips, one padded, still and panned; and the parameters that made it."""
    clips = helpers.scene(lengths=(5, 8), yaws=(0.3, -0.7)).clips
    params = points.at("somewhere", CONFIG, clips)
    turns = jnp.asarray(np.stack([helpers.level_matrix(yaw) for yaw in (0.3, -0.7)]), jnp.float32)
    params = dataclasses.replace(
        params, cameras=cam.join(turns, jnp.asarray([[0.1, -0.2, 6.0], [0.0, 0.1, 5.0]])), log_focal=jnp.zeros(2)
    )
    assets = jax.jit(model.prepare)(clips, helpers.body(), Priors(), CONFIG)
    seen = predicted(params, assets, CONFIG, clips)
    still = dataclasses.replace(clips, keypoints=seen.keypoints_2d)
    assets = dataclasses.replace(assets, pixel_scale=jnp.ones(2))
    return SimpleNamespace(params=params, assets=assets, still=still, moved=panned(still))


def test_a_fit_sees_what_the_cameras_saw():
    case = scene()
    mask = np.asarray(case.still.frame_mask) > 0
    seen = predicted(case.params, case.assets, CONFIG, case.moved)
    np.testing.assert_allclose(seen.keypoints_2d[mask], case.moved.keypoints[mask], atol=0.02)
    # Padding, which has no camera, stays finite.
    assert helpers.all_finite(seen)
    batch = batches.Batch(instance=jnp.asarray([0, 1, 1]), frame=jnp.asarray([4, 2, 7]))

    @jax.jit
    def loss(params, assets, clips):
        return objective.keypoint_term(
            objective.predict_batch(params, assets, CONFIG, clips, batch), assets, CONFIG, clips, batch
        )

    per_frame = loss(case.params, case.assets, case.moved)
    assert per_frame.max() < 1e-3
    # The same with the lens that the turns were not found with: they must follow it.
    longer = dataclasses.replace(case.params, log_focal=jnp.full(2, 0.2))
    held = dataclasses.replace(case.moved, turn_focal=jnp.full(2, FOCAL))
    shift = lambda clips: np.asarray(predicted(longer, case.assets, CONFIG, clips).keypoints_2d[0, 4, 8])
    assert np.abs(shift(held) - MIDDLE).max() < np.abs(shift(case.moved) - MIDDLE).max() - 50


def test_the_camera_search_starts_as_with_still_cameras():
    case = scene()

    @jax.jit
    def begun(clips):
        search = camera_search.begin_search(case.params, case.assets, CONFIG, clips, jnp.zeros(2))
        cameras = jnp.broadcast_to(case.params.cameras, search.cameras.shape)
        return search.cameras, camera_search.search_losses(search, cameras, case.assets, CONFIG)

    (still, _), (moved, at_truth) = begun(case.still), begun(case.moved)
    np.testing.assert_allclose(moved, still, atol=2e-3)
    assert at_truth.max() < 1e-3


def test_the_rescue_reads_moving_clips_as_still_ones():
    case, config = scene(), dataclasses.replace(CONFIG, rescue_frames=4)

    @jax.jit
    def read(clips):
        begun = rescue.begin(case.params, case.assets, config, clips)
        targets = camera_search.targets_from(clips)
        return begun.own.cameras, rescue.losses(begun, begun.own, case.params, case.assets, config, clips, targets)

    (still, _), (moved, losses) = read(case.still), read(case.moved)
    np.testing.assert_allclose(moved, still, atol=5e-3)
    assert helpers.all_finite(losses)


def test_first_poses_are_turned_back():
    case = scene()
    still, moved = (helpers.targets_from(clips) for clips in (case.still, case.moved))
    mask = np.asarray(case.still.frame_mask) > 0
    np.testing.assert_allclose(moved.rotations[mask], still.rotations[mask], atol=1e-5)
    np.testing.assert_allclose(
        rotations.axis_angle_to_matrix(moved.pose)[mask], rotations.axis_angle_to_matrix(still.pose)[mask], atol=1e-5
    )


def test_depth_is_along_the_axis_of_the_frame():
    case = scene()
    at = (jnp.asarray([1]), jnp.asarray([7]))
    seen = jax.tree.map(lambda leaf: leaf[1, 7:], predicted(case.params, case.assets, CONFIG, case.moved))
    # Given poses that are the truth agree with it from any side.
    root = case.params.cameras[1]
    turn = case.moved.camera_turn[1, 7] @ cam.split(root)[0]
    pose = rotations.matrix_to_axis_angle(seen.rotations[0].at[0].set(turn @ seen.rotations[0, 0]))
    told = dataclasses.replace(case.moved, init_pose=case.moved.init_pose.at[1, 7].set(pose))
    one_sided = dataclasses.replace(case.params, cameras=case.params.cameras.at[0].set(root))
    apart = jax.jit(lambda clips: depth.depth_residuals(seen, one_sided.cameras, case.assets, clips, *at))
    # Up to the shape, which given poses do not have.
    assert np.abs(apart(told)).max() < 0.05
    as_still = dataclasses.replace(told, camera_turn=None, zoom=None)
    assert np.abs(apart(as_still)).max() > 0.1


def test_the_posterior_has_the_residuals_of_the_fit():
    case, priors = scene(), Priors(joint_limits=published_limits())
    config = dataclasses.replace(CONFIG, keypoint_loss="mse_robust")
    clips = dataclasses.replace(case.moved, keypoints=case.moved.keypoints + 5.0)
    assets = dataclasses.replace(case.assets, priors=priors)
    batch = batches.Batch(instance=jnp.asarray([0, 1, 1]), frame=jnp.asarray([4, 2, 7]))
    targets = helpers.targets_from(clips)
    given = laplace.Given(params=case.params, assets=assets, config=config, clips=clips, targets=targets, batch=batch)
    found = jax.jit(lambda given: laplace.frame_residuals(given, laplace.tangents(given).z)[:, :50])(given)
    expected = jax.jit(residuals.residuals)(case.params, assets, config, clips, targets, batch)["keypoints"]
    np.testing.assert_allclose(found, expected.reshape(3, -1), rtol=2e-3, atol=1e-3)


def test_lifting_finds_where_the_body_faces_in_a_pan():
    yaws = (0.6, np.pi - 0.5)
    found = helpers.scene(lengths=(8, 8), yaws=yaws)
    clips = dataclasses.replace(found.clips, init_mask=jnp.zeros_like(found.clips.init_mask))
    clips = panned(clips, pan=0.5)
    config = helpers.tiny_config(lift=True, lift_steps=120, lift_frames=4, lift_yaws=6, lift_turned=0)
    priors = Priors(joint_limits=published_limits())

    @jax.jit
    def lifted(clips):
        assets = model.prepare(clips, helpers.body(), priors, config)
        rate = lambda i: config.lift_lr * 0.5 * (1 + jnp.cos(jnp.pi * i / config.lift_steps))
        step = lambda state, i: lift.step(state, assets, config, clips, rate(i))
        done, history = jax.lax.scan(step, lift.begin(assets, config, clips), jnp.arange(config.lift_steps))
        return lift.finish(done, assets, config, clips, camera_search.targets_from(clips)), history["lift"]

    targets, history = lifted(clips)
    assert history[-1] < 0.5 * history[0]
    for i in range(2):
        turned = np.asarray(targets.rotations)[i, :, 0]
        true = found.rotations[i] @ helpers.rotation(found.pose[i, :, 0])
        # As the reference camera would see it: where the pan ends, half a radian on, too.
        assert np.all(np.einsum("ti,ti->t", turned[..., 2], true[..., 2]) > 0.6), yaws[i]


def instance(frames, **camera):
    rng = np.random.default_rng(frames)
    return Instance(rng.uniform(0, 500, (frames, 25, 2)), np.ones((frames, 25)), (640.0, 480.0), **camera)


def test_clips_of_which_some_cameras_move():
    turns, zooms = motion((1, 4))
    clips = Clips.from_instances([instance(6), instance(4, camera_turn=turns[0], zoom=zooms[0], turn_focal=800.0)])
    np.testing.assert_array_equal(clips.camera_turn[0], np.tile(np.eye(3), (6, 1, 1)))
    np.testing.assert_allclose(clips.camera_turn[1, :4], turns[0], rtol=1e-6)
    np.testing.assert_allclose(clips.zoom, [[1] * 6, [*zooms[0], 0, 0]], rtol=1e-6)
    np.testing.assert_array_equal(clips.turn_focal, np.float32([np.nan, 800]))
    still = Clips.from_instances([instance(6), instance(4)])
    assert still.camera_turn is None and still.zoom is None and still.turn_focal is None

    wide = stacking.pad_instances(stacking.pad_frames(jax.tree.map(jnp.asarray, clips), 8), 3)
    view = moving.every(wide)
    assert view is not None
    np.testing.assert_allclose(np.linalg.det(view.turn), np.ones((3, 8)), rtol=1e-5)
    assert view.zoom.min() > 0
    assert stacking.pad_frames(still, 8).camera_turn is None
    assert stacking.kind_of(clips, CONFIG) != stacking.kind_of(still, CONFIG)


@pytest.mark.parametrize(
    ("camera", "message"),
    [
        ({"camera_turn": np.ones((4, 3, 3))}, "one: camera_turn of frame 0 is no rotation"),
        ({"camera_turn": np.full((4, 3, 3), np.nan)}, "one: camera_turn of frame 0 is no rotation"),
        ({"camera_turn": np.diag([1.0, 1, -1])[None].repeat(4, 0)}, "is no rotation"),
        ({"camera_turn": np.zeros((3, 3, 3))}, r"camera_turn has shape \(3, 3, 3\), expected \(4, 3, 3\)"),
        ({"zoom": np.array([1, 1, 0, 1.0])}, "zoom holds numbers that are not above 0"),
        ({"zoom": np.array([1, 1, np.inf, 1.0])}, "zoom holds numbers that are not above 0"),
        ({"zoom": np.ones(5)}, r"zoom has shape \(5,\), expected \(4,\)"),
        ({"turn_focal": -3.0}, "turn_focal is -3.0, expected pixels above 0"),
    ],
)
def test_wrong_cameras_are_named(camera, message):
    with pytest.raises(ValueError, match=message):
        instances.check(instance(4, **camera), "one")


def test_turn_and_zoom_come_together():
    clips = Clips.from_instances([instance(4, zoom=np.ones(4))])
    with pytest.raises(AssertionError, match="together"):
        model.clips_lib.check(dataclasses.replace(clips, camera_turn=None))
