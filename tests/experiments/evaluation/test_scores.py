"""The numbers of metrics.json: zero for the truth, known for known errors, absent where nothing can be known."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from body_models import smpl
from experiments.data.dataset import DatasetError
from experiments.evaluation import pose_errors, scores
from nemo_jax import metrics, rotations, stature

THRESHOLD = 0.5


def evaluate(dataset, fitted, body, hidden=None):
    return scores.evaluate(dataset, fitted, body, hidden, THRESHOLD)


def with_prediction(fitted, **fields):
    return dataclasses.replace(fitted, prediction=dataclasses.replace(fitted.prediction, **fields))


def with_input(dataset, keypoints, confidence):
    return dataclasses.replace(
        dataset, clips=dataclasses.replace(dataset.clips, keypoints=keypoints, confidence=confidence)
    )


def test_the_truth_has_no_error_in_3d(tiny_dataset, perfect, tiny_body):
    numbers, each = evaluate(tiny_dataset, perfect, tiny_body)
    exact = ("mpjpe_mm", "mpvpe_mm", "pa_mpjpe_mm", "g_mpjpe_mm", "g_mpvpe_mm", "root_aligned_mpjpe_mm")
    for name in (*exact, "w_mpjpe_mm", "wa_mpjpe_mm", "rte_percent"):
        assert numbers[f"{name}/fit"] < 0.2, name
    assert numbers["accel_mm_s2/fit"] < 200  # float32 positions times 30^2
    assert 30 < numbers["mpjpe_mm/init"] < 300
    assert list(each) == list(tiny_dataset.names)
    assert each[tiny_dataset.names[0]]["mpjpe_mm/fit"] < 0.2
    assert "g_mpjpe_mm/init" not in numbers and "w_mpjpe_mm/init" not in numbers
    # The true feet slip by less than the 0.3 m/s at which they count as standing.
    assert numbers["jitter_10m_s3/fit"] > 0 and 0 < numbers["foot_slide_mm/fit"] < 10
    assert not any(name.startswith("heldout") for name in numbers)


def test_mpjpe_ignores_root_shape_and_translation(tiny_dataset, perfect, tiny_body):
    turned = np.array(perfect.prediction.rotations)
    turned[:, :, 0] = Rotation.from_euler("y", 90, degrees=True).as_matrix() @ turned[:, :, 0]
    moved = with_prediction(perfect, rotations=turned, translation=perfect.prediction.translation + 1.0)
    numbers, _ = evaluate(tiny_dataset, moved, tiny_body)
    assert numbers["mpjpe_mm/fit"] < 0.2
    assert numbers["mpvpe_mm/fit"] < 0.2


@jax.jit
@functools.partial(jax.vmap, in_axes=(None, 0, 0, 0))
@functools.partial(jax.vmap, in_axes=(None, 0, None, 0))
def keypoints(body, rotation, betas, translation):
    return smpl.keypoints(body, rotation, betas, translation)


def posed(body, fitted, **fields):
    """A fit with other rotations, translation or betas, and the joints that follow."""
    seen = fitted.prediction
    rotation, translation = fields.get("rotations", seen.rotations), fields.get("translation", seen.translation)
    betas = fields.get("betas", fitted.params.betas)
    joints = keypoints(body, *map(jnp.asarray, (rotation, betas, translation)))
    fitted = dataclasses.replace(fitted, params=dataclasses.replace(fitted.params, betas=np.asarray(betas)))
    return with_prediction(fitted, rotations=rotation, translation=translation, keypoints=np.asarray(joints))


def test_global_error_forgives_one_rigid_motion_but_no_scale(tiny_dataset, perfect, tiny_body):
    turn = Rotation.from_euler("xyz", [10, 50, -20], degrees=True).as_matrix().astype(np.float32)
    rotation = np.array(perfect.prediction.rotations)
    pelvis = np.stack([smpl.rest_joints(tiny_body, b)[0] for b in tiny_dataset.truth.betas])[:, None]
    rotation[:, :, 0] = turn @ rotation[:, :, 0]
    # A body turns about its pelvis, the world about its origin.
    where = (perfect.prediction.translation + pelvis) @ turn.T - pelvis + np.float32([1, 2, 3])
    numbers, _ = evaluate(tiny_dataset, posed(tiny_body, perfect, rotations=rotation, translation=where), tiny_body)
    assert numbers["g_mpjpe_mm/fit"] < 0.2
    assert numbers["g_mpvpe_mm/fit"] < 0.2
    far = posed(tiny_body, perfect, translation=1.5 * perfect.prediction.translation)
    larger, _ = evaluate(tiny_dataset, far, tiny_body)
    assert larger["g_mpjpe_mm/fit"] > 10
    assert larger["g_mpvpe_mm/fit"] > 10
    assert larger["pa_mpjpe_mm/fit"] < 0.2


def test_root_aligned_error_is_measured_in_camera_axes(tiny_dataset, perfect, tiny_body):
    turn = Rotation.from_euler("y", 40, degrees=True).as_matrix().astype(np.float32)
    world = with_prediction(perfect, keypoints=np.asarray(perfect.prediction.keypoints) @ turn.T)
    same_pictures = dataclasses.replace(world, camera_from_world=perfect.camera_from_world @ turn.T)
    numbers, _ = evaluate(tiny_dataset, same_pictures, tiny_body)
    assert numbers["root_aligned_mpjpe_mm/fit"] < 0.2
    wrong, _ = evaluate(tiny_dataset, world, tiny_body)
    assert wrong["root_aligned_mpjpe_mm/fit"] > 50


def test_initial_error_of_a_perfect_initial_pose_is_zero(tiny_dataset, perfect, tiny_body):
    pose = np.array(tiny_dataset.truth.pose)
    root = np.asarray(rotations.axis_angle_to_matrix(jnp.asarray(pose[:, :, 0])))
    pose[:, :, 0] = np.asarray(
        rotations.matrix_to_axis_angle(jnp.einsum("nij,ntjk->ntik", perfect.camera_from_world, root))
    )
    clips = dataclasses.replace(tiny_dataset.clips, init_pose=pose)
    numbers, _ = evaluate(dataclasses.replace(tiny_dataset, clips=clips), perfect, tiny_body)
    assert numbers["mpjpe_mm/init"] < 0.2
    # The true bodies have other shapes than the mean one, which the initial poses come on.
    assert numbers["root_aligned_mpjpe_mm/init"] < 60


def test_reprojection_of_known_errors(tiny_dataset, perfect, tiny_body):
    seen = np.asarray(perfect.prediction.keypoints_2d)
    confidence = np.ones(seen.shape[:3], np.float32) * tiny_dataset.clips.frame_mask[..., None]
    offset = np.zeros_like(seen)
    offset[..., 0] = 3.0
    offset[:, :, ::5] = [6.0, 8.0]
    dataset = with_input(tiny_dataset, seen + offset, confidence)
    dataset = dataclasses.replace(dataset, box_size=np.full(seen.shape[:2], 100.0, np.float32))
    numbers, _ = evaluate(dataset, perfect, tiny_body)
    assert numbers["reprojection_px/median"] == pytest.approx(3.0, abs=1e-3)
    assert numbers["reprojection_share/median"] == pytest.approx(0.03, abs=1e-5)
    assert numbers["pck_0.05/fit"] == pytest.approx(0.8, abs=1e-6)
    assert 0 < numbers["pck_auc/fit"] < 1


def test_unsure_unannotated_and_padded_joints_are_not_scored(tiny_dataset, perfect, tiny_body):
    seen = np.asarray(perfect.prediction.keypoints_2d)
    confidence = np.ones(seen.shape[:3], np.float32)
    wrong = seen.copy()
    confidence[:, 0], wrong[:, 0] = 0.5, 1e4  # not above the threshold
    wrong[:, :, 3] = 1e4  # not annotated
    wrong[np.asarray(tiny_dataset.clips.frame_mask) == 0] = 1e4
    annotated = tuple(k for k in range(25) if k != 3)
    dataset = dataclasses.replace(with_input(tiny_dataset, wrong, confidence), annotated=annotated)
    numbers, _ = evaluate(dataset, perfect, tiny_body)
    assert numbers["reprojection_px/median"] < 1e-3
    assert numbers["pck_0.05/fit"] == 1.0


def test_hidden_joints_are_scored_apart(tiny_dataset, perfect, tiny_body):
    seen = np.asarray(perfect.prediction.keypoints_2d)
    hidden = np.zeros(seen.shape[:3], bool)
    hidden[:, ::2, 4] = True
    shifted = seen.copy()
    shifted[hidden] += [0.0, 7.0]
    dataset = with_input(tiny_dataset, shifted, np.ones(seen.shape[:3], np.float32))
    numbers, _ = evaluate(dataset, perfect, tiny_body, hidden)
    assert numbers["reprojection_px/median"] < 1e-3
    assert numbers["heldout_reprojection_px/median"] == pytest.approx(7.0, abs=1e-3)
    assert {"heldout_reprojection_share/median", "heldout_pck_0.05/fit", "heldout_pck_auc/fit"} <= set(numbers)


def test_a_reference_takes_the_place_of_the_clips_own_keypoints(tiny_dataset, perfect, tiny_body):
    exact = np.asarray(perfect.prediction.keypoints_2d)
    sure = np.ones(exact.shape[:3], np.float32)
    off = with_input(tiny_dataset, exact + np.float32([30, 40]), sure)
    reference = dataclasses.replace(off, reference_2d=(exact + np.float32([3, 4]), sure))
    hidden = np.zeros(exact.shape[:3], bool)
    hidden[0, 2, 3] = True
    numbers, each = evaluate(reference, perfect, tiny_body, hidden)
    assert numbers["reprojection_px/median"] == pytest.approx(5, abs=0.1)
    assert numbers["reprojection_px/paper"] == pytest.approx(5, abs=0.1)
    assert each[tiny_dataset.names[1]]["reprojection_px/median"] == pytest.approx(5, abs=0.1)
    # What was hidden was the clip's own.
    assert numbers["heldout_reprojection_px/median"] == pytest.approx(50, abs=0.1)
    unseen = dataclasses.replace(off, reference_2d=(reference.reference_2d[0], np.zeros_like(sure)))
    assert "reprojection_px/median" not in evaluate(unseen, perfect, tiny_body)[0]


def test_keypoint_0_is_compared_as_the_data_mean_it(tiny_dataset, perfect, tiny_body):
    other = dataclasses.replace(perfect, head_2d=perfect.head_2d + 1000.0)
    assert np.allclose(other.scored_2d[:, :, 0], perfect.prediction.keypoints_2d[:, :, 0] + 1000.0)
    assert np.array_equal(other.scored_2d[:, :, 1:], perfect.prediction.keypoints_2d[:, :, 1:])


def test_what_cannot_be_known_is_left_out(tiny_dataset, perfect, tiny_body):
    blind = with_input(
        tiny_dataset, np.asarray(tiny_dataset.clips.keypoints), np.zeros_like(tiny_dataset.clips.confidence)
    )
    numbers, each = evaluate(dataclasses.replace(blind, truth=None), perfect, tiny_body)
    # Only of the body itself there is something to say.
    of_body = {"height_m/fit", "scale_sd_percent/fit"}
    assert set(numbers) == of_body
    assert {name: set(own) for name, own in each.items()} == dict.fromkeys(tiny_dataset.names, of_body)

    clips = dataclasses.replace(tiny_dataset.clips, init_mask=np.zeros_like(tiny_dataset.clips.init_mask))
    numbers, _ = evaluate(dataclasses.replace(tiny_dataset, clips=clips), perfect, tiny_body)
    assert not any(name.endswith("/init") for name in numbers)

    numbers, _ = evaluate(dataclasses.replace(tiny_dataset, cameras=None), perfect, tiny_body)
    assert "root_aligned_mpjpe_mm/fit" not in numbers
    assert "mpjpe_mm/fit" in numbers


def test_metres_are_as_sure_as_the_height(tiny_dataset, perfect, tiny_body):
    clips = dataclasses.replace(tiny_dataset.clips, height=np.array([np.nan, 1.8], np.float32))
    _, each = evaluate(dataclasses.replace(tiny_dataset, clips=clips), perfect, tiny_body)
    betas = perfect.params.betas
    tall, sure = stature.of(tiny_body, betas), 100 * stature.scale_uncertainty(tiny_body, betas, clips.height)
    found = [[each[name][key] for name in tiny_dataset.names] for key in ("height_m/fit", "scale_sd_percent/fit")]
    np.testing.assert_allclose(found, [tall, sure], rtol=1e-6)
    assert found[1][0] > 1 and found[1][1] == 0


def test_an_instance_without_initial_poses_does_not_spoil_the_mean(tiny_dataset, perfect, tiny_body):
    mask = np.array(tiny_dataset.clips.init_mask)
    mask[1] = 0
    dataset = dataclasses.replace(tiny_dataset, clips=dataclasses.replace(tiny_dataset.clips, init_mask=mask))
    numbers, each = evaluate(dataset, perfect, tiny_body)
    first, second = tiny_dataset.names
    assert numbers["mpjpe_mm/init"] == pytest.approx(each[first]["mpjpe_mm/init"])
    assert "mpjpe_mm/init" not in each[second]


def test_other_methods_are_scored_like_the_initial_estimate(tiny_dataset, perfect, tiny_body):
    clips = tiny_dataset.clips
    mask = np.array(clips.init_mask)
    mask[1] = 0
    others = {"same": (clips.init_pose, clips.init_mask), "half": (clips.init_pose, mask)}
    dataset = dataclasses.replace(tiny_dataset, other_poses=others)
    numbers, each = evaluate(dataset, perfect, tiny_body)
    first, second = dataset.names
    for name in ("mpjpe_mm", "mpvpe_mm", "mpjpe_dynamic_mm", "pa_mpjpe_mm", "root_aligned_mpjpe_mm", "accel_mm_s2"):
        assert numbers[f"{name}/same"] == pytest.approx(numbers[f"{name}/init"], rel=1e-5), name
        assert each[first][f"{name}/half"] == pytest.approx(each[first][f"{name}/init"], rel=1e-5), name
        assert f"{name}/half" not in each[second]
    assert "g_mpjpe_mm/same" not in numbers


def test_methods_that_do_not_fit_the_clips_are_named(tiny_dataset):
    pose, mask = tiny_dataset.clips.init_pose, tiny_dataset.clips.init_mask
    with pytest.raises(DatasetError, match="a method called fit"):
        dataclasses.replace(tiny_dataset, other_poses={"fit": (pose, mask)})
    with pytest.raises(DatasetError, match="other_poses of vibe have shape"):
        dataclasses.replace(tiny_dataset, other_poses={"vibe": (pose[:, :-1], mask)})


def test_vertex_errors_are_those_of_all_frames_at_once(tiny_dataset, perfect, tiny_body):
    """The chunks, the moments and the mean body, against whole arrays."""
    truth, seen = tiny_dataset.truth, perfect.prediction
    noise = Rotation.from_rotvec(np.random.default_rng(0).normal(0, 0.2, (seen.rotations[..., 0, 0].size, 3)))
    rotation = np.asarray(seen.rotations) @ noise.as_matrix().reshape(seen.rotations.shape).astype(np.float32)
    worse = posed(tiny_body, perfect, rotations=rotation, betas=0.5 * np.asarray(truth.betas))
    numbers, each = evaluate(tiny_dataset, worse, tiny_body)
    true_rotation = np.asarray(rotations.axis_angle_to_matrix(jnp.asarray(truth.pose)))
    skin = jax.jit(jax.vmap(smpl.vertices, (None, 0, None, 0)))
    for n, name in enumerate(tiny_dataset.names):
        frames = int(tiny_dataset.clips.frame_mask[n].sum())
        whole = [
            np.asarray(skin(tiny_body, jnp.asarray(r[n, :frames]), jnp.asarray(b[n]), jnp.asarray(t[n, :frames])))
            for r, b, t in (
                (rotation, 0.5 * truth.betas, seen.translation),
                (true_rotation, truth.betas, truth.translation),
            )
        ]
        joints = [np.asarray(j[n, :frames, :15]) for j in (worse.prediction.keypoints, truth.joints)]
        g_joints, g_vertices = metrics.global_errors(*joints, *whole, jnp.ones(frames))
        assert each[name]["g_mpjpe_mm/fit"] == pytest.approx(float(g_joints), rel=1e-4)
        assert each[name]["g_mpvpe_mm/fit"] == pytest.approx(float(g_vertices), rel=1e-4)

        rootless = [np.array(r[n, :frames]) for r in (rotation, true_rotation)]
        for r in rootless:
            r[:, 0] = np.eye(3)
        flat, still = jnp.zeros(tiny_body.num_betas), jnp.zeros((frames, 3))
        bare = [np.asarray(skin(tiny_body, jnp.asarray(r), flat, still), np.float64) for r in rootless]
        error = 1000 * np.linalg.norm(bare[0] - bare[1], axis=-1).mean(-1)
        assert each[name]["mpvpe_mm/fit"] == pytest.approx(error.mean(), rel=1e-4)
    assert numbers["mpvpe_mm/fit"] == pytest.approx(np.mean([e["mpvpe_mm/fit"] for e in each.values()]), rel=1e-6)


def test_dynamic_errors_are_of_the_fast_frames(tiny_dataset, perfect, tiny_body):
    """Wrong before and after the fast frames only: an error over the clip, none in the dynamic range."""
    pose = np.array(tiny_dataset.truth.pose)
    frames = tiny_dataset.clips.frame_mask.sum(-1).astype(int)
    still = pose.copy()
    fast = slice(3, 6)
    for n in range(len(frames)):
        still[n, :3], still[n, 6:] = pose[n, 3], pose[n, 5]
        still[n, 4, 16:20] += 1.0
    truth = dataclasses.replace(tiny_dataset.truth, pose=still)
    rotation = np.array(rotations.axis_angle_to_matrix(jnp.asarray(still)))
    wrong = np.ones(rotation.shape[1], bool)
    wrong[fast] = False
    rotation[:, wrong, 1:3] = np.eye(3)
    dataset = dataclasses.replace(tiny_dataset, truth=truth)
    numbers, _ = evaluate(dataset, with_prediction(perfect, rotations=rotation), tiny_body)
    assert numbers["mpjpe_mm/fit"] > 5 and numbers["mpvpe_mm/fit"] > 5
    assert numbers["mpjpe_dynamic_mm/fit"] < 0.2 and numbers["mpvpe_dynamic_mm/fit"] < 0.2


def test_resampled_clips_are_timed_as_published(tiny_dataset):
    frames = tiny_dataset.clips.frame_mask.sum(-1)
    np.testing.assert_allclose(pose_errors.speed_rate(tiny_dataset), 30)
    resampled = dataclasses.replace(tiny_dataset, source_frames=2 * frames)
    np.testing.assert_allclose(pose_errors.speed_rate(resampled), 60)


def test_the_papers_2d_numbers(tiny_dataset, perfect, tiny_body):
    seen = np.asarray(perfect.prediction.keypoints_2d)
    confidence = np.zeros(seen.shape[:3], np.float32)
    confidence[:, :, [2, 4, 20]] = 1.0  # two of the fifteen
    keypoints = np.where(confidence[..., None] > 0, seen + np.float32([3.0, 4.0]), 0.0)
    numbers, _ = evaluate(with_input(tiny_dataset, keypoints, confidence), perfect, tiny_body)
    assert numbers["reprojection_px/paper"] == pytest.approx(2 * 5 / 15, abs=1e-3)
    # The box reaches to the undetected keypoints at the origin.
    assert numbers["pck_0.05/paper"] == 1.0
    assert numbers["pck_0.05/visible_box"] <= 1.0
