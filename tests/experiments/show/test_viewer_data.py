"""What the 3D page carries: arrays that survive as text, a small body, poses in the right world; no browser is needed."""

import dataclasses
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from body_models import joints as jn
from body_models import smpl
from experiments.results import reading as saved_lib
from experiments.show.viewer import figure, page, scene
from experiments.show.viewer.packing import pack, pack_rounded, unpack
from nemo_jax import metrics, rotations


@pytest.fixture(scope="module")
def saved(saved_run):
    return saved_lib.load(saved_run)


@pytest.fixture(scope="module")
def described(saved):
    # Through text, as the page gets it.
    return json.loads(json.dumps(scene.describe(saved), allow_nan=False))


@pytest.mark.parametrize(
    "array", [np.float32([[1.5, -2], [3e-7, 4]]), np.array([[0, 255]]), np.array([70_000, 1]), [True]]
)
def test_arrays_come_back_as_they_were(array):
    packed = json.loads(json.dumps(pack(array)))
    assert unpack(packed).shape == np.shape(array)
    np.testing.assert_array_equal(unpack(packed), array)


def test_integers_below_zero_are_refused():
    with pytest.raises(ValueError, match="below zero"):
        pack(np.array([-1, 2]))


@pytest.mark.parametrize(("bits", "axis"), [(8, None), (16, None), (8, 1), (16, -1)])
def test_rounded_arrays_are_off_by_half_a_step(rng_array, bits, axis):
    found = unpack(json.loads(json.dumps(pack_rounded(rng_array, bits, axis))))
    others = None if axis is None else tuple(i for i in range(3) if i != axis % 3)
    largest = np.abs(rng_array).max(others, keepdims=True)
    step = largest / (2 ** (bits - 1) - 1)
    assert found.dtype == np.float32
    assert (np.abs(found - rng_array) <= 0.5001 * step).all()
    assert np.abs(found - rng_array).max() > 0.05 * step.max()  # it was rounded at all


@pytest.fixture
def rng_array():
    return np.random.default_rng(0).normal(size=(5, 4, 3)) * np.array([0.01, 1, 100])[None, None]


def test_zeros_stay_zeros():
    np.testing.assert_array_equal(unpack(pack_rounded(np.zeros((2, 3)), 8, axis=1)), 0)


def test_few_directions_correct_the_skin_in_the_poses_they_are_made_for():
    rng = np.random.default_rng(1)
    posedirs = rng.normal(0, 0.004, (40, 3, 207))
    poses = Rotation.from_rotvec(rng.normal(0, 0.4, (6 * 24, 3))).as_matrix().reshape(6, 24, 3, 3)
    directions, corrections = figure.corrective_directions(posedirs, poses)
    assert directions.shape == (40, 3, corrections.shape[0])
    assert 1 <= corrections.shape[0] <= 6  # six poses need no more
    feature = (poses[:, 1:] - np.eye(3)).reshape(6, -1)
    wanted = np.einsum("vif,pf->pvi", posedirs, feature)
    assert np.linalg.norm(wanted, axis=-1).max() > 10 * figure.TOLERANCE
    found = np.einsum("vid,df,pf->pvi", directions, corrections, feature)
    assert np.linalg.norm(found - wanted, axis=-1).max() <= figure.TOLERANCE


def test_a_body_without_corrections_gets_no_directions(described, tiny_body):
    # The tiny body's are zero.
    assert described["body"]["offsets"]["shape"] == [tiny_body.num_vertices, tiny_body.num_betas, 3]
    assert described["body"]["corrections"]["shape"] == [0, 207]


def test_four_weights_a_vertex_that_add_up():
    weights = np.zeros((3, 24))
    weights[0, 5] = 1
    weights[1, [2, 7, 9]] = 1 / 3
    weights[2, [0, 1, 3, 4, 6]] = [0.1, 0.2, 0.4, 0.2, 0.1]
    ids, parts = figure.skin_weights(weights)
    assert parts.sum(1).tolist() == [255] * 3
    assert parts[0].tolist() == [255, 0, 0, 0] and ids[0, 0] == 5
    assert set(ids[1, :3]) == {2, 7, 9} and parts[1].tolist() == [85, 85, 85, 0]
    assert ids[2, 0] == 3 and set(ids[2, 1:3]) == {1, 4}


def test_the_field_and_the_codes_are_exact(described, saved):
    params = saved.params.field
    for name, layer in zip(
        ("hidden_0", "hidden_1", "hidden_2", "rotation", "translation"), described["field"]["layers"], strict=True
    ):
        np.testing.assert_array_equal(unpack(layer["kernel"]), params[name]["kernel"])
        np.testing.assert_array_equal(unpack(layer["bias"]), params[name]["bias"])
    np.testing.assert_array_equal(unpack(described["codes"]), saved.params.codes)
    np.testing.assert_array_equal(unpack(described["phases"]), saved.fitted.prediction.phase)
    assert described["frames"] == [saved.num_frames(n) for n in range(2)]


def test_the_ground_lies_under_the_lowest_feet(described, saved):
    seen = saved.fitted.prediction
    for n, height in enumerate(described["ground"]):
        frames = slice(saved.num_frames(n))
        lowest = saved.vertices(n, seen.rotations[n, frames], seen.translation[n, frames])[..., 1].min(1)
        assert lowest.min() - 1e-5 <= height <= np.median(lowest)


def test_initial_estimates_are_turned_into_the_world(described, saved):
    clips, fitted = saved.dataset.clips, saved.fitted
    pose, mask = unpack(described["initial"]["pose"]), unpack(described["initial"]["mask"])
    np.testing.assert_array_equal(mask, np.asarray(clips.init_mask) > 0.5)
    matrices = np.asarray(rotations.axis_angle_to_matrix(jnp.asarray(pose)))
    given = np.asarray(rotations.axis_angle_to_matrix(jnp.asarray(clips.init_pose)))
    seen = mask > 0
    # Seen from the camera again they are what was given.
    again = np.einsum("nij,ntjk->ntik", fitted.camera_from_world, matrices[:, :, 0])
    np.testing.assert_allclose(again[seen], given[:, :, 0][seen], atol=5e-4)
    np.testing.assert_allclose(matrices[:, :, 1:][seen], given[:, :, 1:][seen], atol=5e-4)


def test_the_truth_is_moved_onto_the_fit_as_a_whole(described, saved):
    truth, fitted = saved.dataset.truth, saved.fitted
    found = {key: jnp.asarray(unpack(value)) for key, value in described["truth"].items()}
    matrices = rotations.axis_angle_to_matrix(found["pose"])
    posed = jax.vmap(jax.vmap(smpl.keypoints, (None, 0, None, 0)), (None, 0, 0, 0))(
        saved.body, matrices, found["betas"], found["translation"]
    )
    for n in range(2):
        exists = np.asarray(saved.dataset.clips.frame_mask[n]) > 0
        source = jnp.asarray(truth.joints[n][exists]).reshape(-1, 3)
        target = jnp.asarray(fitted.prediction.keypoints[n][exists]).reshape(-1, 3)
        wanted = metrics.similarity_align(source, target, jnp.ones(len(source)), with_scale=False)
        np.testing.assert_allclose(np.asarray(posed[n])[exists].reshape(-1, 3), wanted, atol=2e-3)


def test_without_truth_and_initial_estimates_there_are_none(saved):
    clips = dataclasses.replace(saved.dataset.clips, init_mask=np.zeros_like(saved.dataset.clips.init_mask))
    bare = dataclasses.replace(saved, dataset=dataclasses.replace(saved.dataset, clips=clips, truth=None))
    described = scene.describe(bare)
    assert described["truth"] is None and described["initial"] is None


def test_missing_joints_and_unknown_numbers_do_not_reach_the_page(saved):
    clips = saved.dataset.clips
    confidence, keypoints = np.array(clips.confidence), np.array(clips.keypoints)
    confidence[:, :, 3], keypoints[:, :, 3] = 0, np.nan
    truth = dataclasses.replace(saved.dataset.truth, pose=np.array(saved.dataset.truth.pose))
    truth.pose[0, 2] = np.nan
    changed = dataclasses.replace(clips, confidence=confidence, keypoints=keypoints)
    dataset = dataclasses.replace(saved.dataset, clips=changed, truth=truth)
    described = scene.describe(dataclasses.replace(saved, dataset=dataset))
    json.dumps(described, allow_nan=False)
    assert not unpack(described["visible"])[:, :, 3].any()
    mask = unpack(described["truth"]["mask"])
    assert not mask[0, 2] and mask[0, 1] and np.isfinite(unpack(described["truth"]["translation"])).all()


def test_the_page_is_one_file_that_asks_for_nothing(saved, tmp_path):
    page.write(tmp_path / "new" / "viewer.html", saved)
    text = (tmp_path / "new" / "viewer.html").read_text(encoding="utf-8")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["viewer.html"]
    assert not re.search(r"https?://|<link[^>]+href=\"(?!data:)|\bsrc=|@import|fetch\(|import\(", text)
    assert "{{" not in text
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1]
    assert json.loads(data)["names"] == list(saved.dataset.names)


def test_no_name_can_break_out_of_the_data(saved):
    names = ("</script><b>", *saved.dataset.names[1:])
    odd = dataclasses.replace(saved, dataset=dataclasses.replace(saved.dataset, names=names, action="a</title>&"))
    text = page.render(odd)
    assert "</script><b>" not in text and "a</title>" not in text
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1]
    assert json.loads(data)["names"][0] == "</script><b>"


def test_instances_have_colours_of_their_own(described):
    kinds = set(described["other_colours"].values())
    assert len(kinds) == 3
    assert not kinds & set(scene.COLOURS)
    assert described["body"]["parents"] == jn.PARENTS.tolist()


def test_own_paths_are_carried_along_phases(saved, described):
    """Without paths nothing is; with them, the page's straight lines lead where the fit is, and the floor is at 0."""
    assert described["ways"] is None and described["contact"] is None
    knots = np.random.default_rng(0).normal(size=(len(saved.dataset.names), 6, 3)).astype(np.float32)
    params = dataclasses.replace(saved.params, path=jnp.asarray(knots), ground=jnp.zeros(5))
    moved = dataclasses.replace(saved, params=params)
    ways = unpack(json.loads(json.dumps(scene._ways(moved))))
    before, after = (run.fitted.prediction for run in (saved, moved))
    for n in range(len(ways)):
        frames = saved.num_frames(n)
        offset = np.asarray(after.translation - before.translation)[n, :frames]
        phases = np.asarray(before.phase)[n, :frames]
        found = np.stack([np.interp(phases, np.linspace(0, 1, len(ways[n])), ways[n][:, i]) for i in range(3)], -1)
        np.testing.assert_allclose(found, offset, atol=0.1)
    assert scene.ground(moved, 0) == 0
