"""The numbers of metrics.json: zero for the truth, known for known errors, absent where nothing can be known."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from experiments import evaluation
from nemo_jax import rotations

THRESHOLD = 0.5


def evaluate(dataset, fitted, body, hidden=None):
    return evaluation.evaluate(dataset, fitted, body, hidden, THRESHOLD)


def with_prediction(fitted, **fields):
    return dataclasses.replace(fitted, prediction=dataclasses.replace(fitted.prediction, **fields))


def with_input(dataset, keypoints, confidence):
    return dataclasses.replace(
        dataset, clips=dataclasses.replace(dataset.clips, keypoints=keypoints, confidence=confidence)
    )


def test_the_truth_has_no_error_in_3d(tiny_dataset, perfect, tiny_body):
    numbers, each = evaluate(tiny_dataset, perfect, tiny_body)
    for name in ("mpjpe_mm", "pa_mpjpe_mm", "g_mpjpe_mm", "root_aligned_mpjpe_mm"):
        assert numbers[f"{name}/fit"] < 0.2, name
    assert numbers["accel_mm_s2/fit"] < 200  # float32 positions times 30^2
    assert 30 < numbers["mpjpe_mm/init"] < 300
    assert list(each) == list(tiny_dataset.names)
    assert each[tiny_dataset.names[0]]["mpjpe_mm/fit"] < 0.2
    assert "g_mpjpe_mm/init" not in numbers
    assert not any(name.startswith("heldout") for name in numbers)


def test_mpjpe_ignores_root_shape_and_translation(tiny_dataset, perfect, tiny_body):
    turned = np.array(perfect.prediction.rotations)
    turned[:, :, 0] = Rotation.from_euler("y", 90, degrees=True).as_matrix() @ turned[:, :, 0]
    moved = with_prediction(perfect, rotations=turned, translation=perfect.prediction.translation + 1.0)
    numbers, _ = evaluate(tiny_dataset, moved, tiny_body)
    assert numbers["mpjpe_mm/fit"] < 0.2


def test_global_error_forgives_one_rigid_motion_but_no_scale(tiny_dataset, perfect, tiny_body):
    rotation = Rotation.from_euler("xyz", [10, 50, -20], degrees=True).as_matrix().astype(np.float32)
    joints = np.asarray(perfect.prediction.keypoints)
    moved = with_prediction(perfect, keypoints=joints @ rotation.T + np.float32([1, 2, 3]))
    numbers, _ = evaluate(tiny_dataset, moved, tiny_body)
    assert numbers["g_mpjpe_mm/fit"] < 0.2
    larger, _ = evaluate(tiny_dataset, with_prediction(perfect, keypoints=1.1 * joints), tiny_body)
    assert larger["g_mpjpe_mm/fit"] > 10
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


def test_keypoint_0_is_compared_as_the_data_mean_it(tiny_dataset, perfect, tiny_body):
    other = dataclasses.replace(perfect, head_2d=perfect.head_2d + 1000.0)
    assert np.allclose(other.scored_2d[:, :, 0], perfect.prediction.keypoints_2d[:, :, 0] + 1000.0)
    assert np.array_equal(other.scored_2d[:, :, 1:], perfect.prediction.keypoints_2d[:, :, 1:])


def test_what_cannot_be_known_is_left_out(tiny_dataset, perfect, tiny_body):
    blind = with_input(
        tiny_dataset, np.asarray(tiny_dataset.clips.keypoints), np.zeros_like(tiny_dataset.clips.confidence)
    )
    numbers, each = evaluate(dataclasses.replace(blind, truth=None), perfect, tiny_body)
    assert numbers == {}
    assert each == {name: {} for name in tiny_dataset.names}

    clips = dataclasses.replace(tiny_dataset.clips, init_mask=np.zeros_like(tiny_dataset.clips.init_mask))
    numbers, _ = evaluate(dataclasses.replace(tiny_dataset, clips=clips), perfect, tiny_body)
    assert not any(name.endswith("/init") for name in numbers)

    numbers, _ = evaluate(dataclasses.replace(tiny_dataset, cameras=None), perfect, tiny_body)
    assert "root_aligned_mpjpe_mm/fit" not in numbers
    assert "mpjpe_mm/fit" in numbers


def test_an_instance_without_initial_poses_does_not_spoil_the_mean(tiny_dataset, perfect, tiny_body):
    mask = np.array(tiny_dataset.clips.init_mask)
    mask[1] = 0
    dataset = dataclasses.replace(tiny_dataset, clips=dataclasses.replace(tiny_dataset.clips, init_mask=mask))
    numbers, each = evaluate(dataset, perfect, tiny_body)
    first, second = tiny_dataset.names
    assert numbers["mpjpe_mm/init"] == pytest.approx(each[first]["mpjpe_mm/init"])
    assert "mpjpe_mm/init" not in each[second]
