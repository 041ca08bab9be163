"""Errors that are expected without a truth: what they are made of, and how their weights are found."""

import dataclasses
import json

import numpy as np
import pytest

from experiments.base.errors import UserError
from experiments.benchmarks import calibration
from experiments.benchmarks.calibration import Frames
from experiments.evaluation import expected_error
from experiments.evaluation.expected_error import FEATURES, Calibration

INDEX = {name.split(",")[0]: number for number, name in enumerate(FEATURES)}
KNOWN = Calibration(np.arange(len(FEATURES), dtype=float), np.arange(len(FEATURES)) - 4.0, 0.5, 0.4)


def test_a_perfect_fit_has_no_error_and_features_that_say_so(tiny_dataset, perfect):
    exists = np.asarray(tiny_dataset.clips.frame_mask) > 0
    assert expected_error.errors_mm(tiny_dataset, perfect)[exists].max() < 0.01
    found = expected_error.features(tiny_dataset, perfect, 0.5)
    assert found.shape == (*exists.shape, len(FEATURES)) and np.isfinite(found).all()
    assert (found[..., 0] == 1).all() and (found[..., INDEX["a single clip"]] == 0).all()
    assert np.allclose(found[..., INDEX["log number of clips"]], np.log(len(tiny_dataset.names)))
    pixels = found[..., INDEX["log reprojection error of the clip"]]
    moved = dataclasses.replace(
        perfect,
        prediction=dataclasses.replace(perfect.prediction, keypoints_2d=perfect.prediction.keypoints_2d + 100),
        head_2d=perfect.head_2d + 100,
    )
    assert (
        expected_error.features(tiny_dataset, moved, 0.5)[..., INDEX["log reprojection error of the clip"]] > pixels
    ).all()


def test_errors_are_in_the_axes_of_the_pelvis(tiny_dataset, perfect):
    """A body that stands elsewhere and is turned as a whole has no error; one whose hand is 15 cm off has 1 cm."""
    seen = perfect.prediction
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    rotations = np.array(seen.rotations)
    rotations[:, :, 0] = turn @ rotations[:, :, 0]
    elsewhere = dataclasses.replace(seen, keypoints=np.asarray(seen.keypoints) @ turn.T + 3.0, rotations=rotations)
    exists = np.asarray(tiny_dataset.clips.frame_mask) > 0
    fitted = dataclasses.replace(perfect, prediction=elsewhere)
    assert expected_error.errors_mm(tiny_dataset, fitted)[exists].max() < 0.01
    reached = np.array(seen.keypoints)
    reached[:, :, 4, 1] += 0.15
    fitted = dataclasses.replace(perfect, prediction=dataclasses.replace(seen, keypoints=reached))
    np.testing.assert_allclose(expected_error.errors_mm(tiny_dataset, fitted)[exists], 10.0, rtol=1e-3)


def test_without_poses_or_keypoints_there_are_features_too(tiny_dataset, perfect):
    clips = tiny_dataset.clips
    bare = dataclasses.replace(
        clips, init_mask=np.zeros_like(clips.init_mask), confidence=np.zeros_like(clips.confidence)
    )
    found = expected_error.features(dataclasses.replace(tiny_dataset, clips=bare), perfect, 0.5)
    assert np.isfinite(found).all() and (found[..., INDEX["no initial pose"]] == 1).all()
    assert (found[..., INDEX["share of joints that are not seen in the frame"]] == 1).all()


def test_a_single_clip_does_not_agree_with_others(tiny_dataset, perfect):
    """What says so is told apart from clips that are all alike."""
    distance = INDEX["log distance from the other clips at equal phase"]
    exists = np.array(tiny_dataset.clips.frame_mask)
    exists[1:] = 0
    alone = dataclasses.replace(tiny_dataset, clips=dataclasses.replace(tiny_dataset.clips, frame_mask=exists))
    found = expected_error.features(alone, perfect, 0.5)
    assert np.isfinite(found).all() and (found[..., INDEX["a single clip"]] == 1).all()
    assert (found[..., distance] == 0).all() and (found[..., INDEX["log number of clips"]] == 0).all()
    assert (expected_error.features(tiny_dataset, perfect, 0.5)[..., distance] < 0).all()


def test_mirrored_joints():
    joints = np.random.default_rng(0).normal(size=(4, 15, 3))
    there = expected_error.mirrored(joints)
    np.testing.assert_array_equal(there[:, 2], joints[:, 5] * (-1, 1, 1))
    np.testing.assert_array_equal(expected_error.mirrored(there), joints)


def test_the_shipped_weights_are_complete(tiny_dataset, perfect):
    shipped = expected_error.shipped()
    assert shipped.weights.shape == (len(FEATURES),) and 0 < shipped.clip_spread <= shipped.spread < 1.5
    frames = expected_error.of_frames(tiny_dataset, expected_error.features(tiny_dataset, perfect, 0.5))
    exists = np.asarray(tiny_dataset.clips.frame_mask) > 0
    assert (frames[exists] > 1).all() and np.isnan(frames[~exists]).all()
    said = expected_error.as_metrics(tiny_dataset.names, frames)
    assert list(said) == list(tiny_dataset.names)
    assert f"{np.mean(list(said.values())):.0f} mm" in expected_error.described(said, shipped)


def test_a_run_has_what_its_fit_has_found(make_run, tiny_dataset, perfect):
    run = make_run(tiny_dataset, perfect)
    found = expected_error.of_run(run)
    shown = expected_error.features(tiny_dataset, perfect, run.threshold)
    np.testing.assert_array_equal(found, expected_error.of_frames(tiny_dataset, shown))
    told = dataclasses.replace(run, expected_mm=2 * found)
    assert expected_error.of_run(told) is told.expected_mm


def drawn(rows=4000, seed=0):
    """Frames whose errors follow known weights."""
    rng = np.random.default_rng(seed)
    features = np.concatenate([np.ones((rows, 1)), rng.normal(size=(rows, len(FEATURES) - 1))], 1)
    weights = np.linspace(0.3, -0.2, len(FEATURES))
    weights[0] = 4.0
    errors = np.exp(features @ weights + 0.2 * rng.normal(size=rows))
    actions = np.array(["bow", "kick", "run", "sit"])[np.arange(rows) % 4]
    return Frames(features, errors, actions, np.arange(rows) // 20, np.zeros(rows, int)), weights


def test_known_weights_are_found_again():
    frames, weights = drawn()
    found, expected, of_clips = calibration.calibrated(frames)
    np.testing.assert_allclose(found.weights, weights, atol=0.03)
    assert 0.18 < found.spread < 0.23 and found.clip_spread < found.spread
    for mean, true, count in calibration.bins(expected, frames.errors):
        assert abs(mean / true - 1) < 0.1 and count == 400
    assert len(of_clips) == 200


def test_actions_are_expected_by_the_others_alone():
    frames, _ = drawn()
    changed = dataclasses.replace(frames, errors=np.where(frames.actions == "bow", 5000.0, frames.errors))
    own = frames.actions == "bow"
    np.testing.assert_array_equal(calibration.left_out(changed)[own], calibration.left_out(frames)[own])


def test_files_of_suites(tmp_path):
    with pytest.raises(UserError, match=r"has no frames/.*expected the folder of a finished suite"):
        calibration.read([str(tmp_path)])
    (tmp_path / "frames").mkdir()
    for number, action in enumerate(("bow", "kick")):
        arrays = {"features": np.ones((3, len(FEATURES))), "errors_mm": np.full(3, 20.0), "clips": [0, 0, 1]}
        np.savez(tmp_path / "frames" / f"{number}.npz", action=action, variant="default", **arrays)
    old = tmp_path / "old" / "frames"
    old.mkdir(parents=True)
    np.savez(old / "0.npz", action="bow", features=np.ones((3, 11)), errors_mm=np.full(3, 20.0), clips=[0, 0, 1])
    with pytest.raises(UserError, match=rf"0\.npz has 11 features of each frame, expected {len(FEATURES)}"):
        calibration.read([str(old.parent)])
    frames = calibration.read([str(tmp_path)])
    assert frames.suites.tolist() == [0] * 6
    assert frames.clips.tolist() == [0, 0, 1, 2, 2, 3] and frames.actions.tolist() == ["bow"] * 3 + ["kick"] * 3
    document = json.loads(expected_error.document(KNOWN, {"frames": 6}))
    assert document["weights"]["constant"] == 0 and document["spread"] == 0.5 and document["frames"] == 6
    assert document["least"][FEATURES[-1]] == len(FEATURES) - 5
    frames, _ = drawn(400)
    calibration.draw(tmp_path / "figure.png", frames, frames.errors, calibration.per_clip(frames.errors, frames.clips))
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_a_level_is_right_on_average_and_nothing_else_changes():
    rng = np.random.default_rng(2)
    expected = rng.uniform(20, 80, 900)
    true = 0.7 * expected * np.exp(0.1 * rng.normal(size=900) - 0.005)
    # One action has many clips, and counts no more than another.
    pairs = np.stack([expected, true], 1)
    clips = {"bow": pairs[:800], "kick": pairs[800:], "run": pairs[800:] * [1.0, 1.5]}
    found, text = calibration.levelled(clips, KNOWN)
    ratio = np.mean([each[:, 1].mean() for each in clips.values()]) / np.mean(
        [each[:, 0].mean() for each in clips.values()]
    )
    np.testing.assert_allclose(found.weights, KNOWN.weights + np.log(ratio) * (np.arange(len(FEATURES)) == 0))
    np.testing.assert_allclose(found.least - KNOWN.least, found.weights - KNOWN.weights)
    assert found.spread == 0.5
    assert f"1000 fitted clips of 3 actions, whose errors are {ratio:.3f} of what was expected" in text
    alike = {"bow": pairs, "kick": pairs, "run": pairs}
    assert calibration.levelled(alike, KNOWN)[0].clip_spread == pytest.approx(0.1, rel=0.1)


def test_a_level_takes_the_clips_of_tables_and_writes_the_calibration(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"has no table\.json with expected and true errors"):
        calibration.read_clips([str(tmp_path)])
    each = {"kick.0": {"expected_mm": 40.0, "mpjpe_mm/fit": 30.0}, "kick.1": {"pck_0.05/fit": 1.0}}
    fits = [{"cell": {"action": action}, "each": each} for action in ("kick", "run", "kick")]
    (tmp_path / "table.json").write_text(json.dumps({"fits": fits}))
    clips = calibration.read_clips([str(tmp_path)])
    assert {action: pairs.tolist() for action, pairs in clips.items()} == {"kick": [[40, 30]] * 2, "run": [[40, 30]]}
    before = expected_error.WEIGHTS.read_text()
    text = calibration.level([str(tmp_path)], tmp_path / "new", write=False)
    assert "3 fitted clips of 2 actions, whose errors are 0.750 of" in text
    written = json.loads((tmp_path / "new" / expected_error.WEIGHTS.name).read_text())
    change = written["weights"]["constant"] - json.loads(before)["weights"]["constant"]
    assert change == pytest.approx(np.log(0.75), abs=1e-4) and written["actions"] == json.loads(before)["actions"]
    assert expected_error.WEIGHTS.read_text() == before
    monkeypatch.setattr(expected_error, "WEIGHTS", tmp_path / "shipped.json")
    (tmp_path / "shipped.json").write_text(before)
    calibration.level([str(tmp_path)], tmp_path / "new", write=True)
    assert json.loads((tmp_path / "shipped.json").read_text())["weights"] == written["weights"]


def test_single_clips_and_several_are_fitted_together():
    """What single clips have of their own is found beside those of several, and few frames of theirs count as much."""
    frames, weights = drawn()
    alone = INDEX["a single clip"]
    single = np.arange(len(frames.errors)) < 400
    features = frames.features.copy()
    features[:, alone] = single
    errors = frames.errors * np.exp(weights[alone] * (features - frames.features)[:, alone] + 0.9 * single)
    both = dataclasses.replace(frames, features=features, errors=errors, suites=single.astype(int))
    found, least = calibration.weights_of(both)
    assert found[alone] == pytest.approx(weights[alone] + 0.9, abs=0.06) and least[alone] == 0.0
    other = np.arange(len(FEATURES)) != alone
    np.testing.assert_allclose(found[other], weights[other], atol=0.05)


def test_nothing_says_more_for_a_fit_than_what_the_suites_showed():
    frames, _ = drawn()
    found, _, _ = calibration.calibrated(frames)
    share = (frames.features * found.weights < found.least).mean(0)
    np.testing.assert_allclose(share[1:], 0.005, atol=5e-4)
    usual, good, better, bad = (
        np.insert(np.full(len(FEATURES) - 1, value), 0, 1.0) for value in (0.0, -8.0, -16.0, 8.0)
    )
    raises = np.where(found.weights > 0, 1, -1)
    at = [
        expected_error.expected_mm(each * np.where(np.arange(len(FEATURES)), raises, 1), found)
        for each in (usual, good, better, bad)
    ]
    assert at[0] > at[1] == at[2]
    assert at[3] == pytest.approx(at[0] * np.exp(8 * np.abs(found.weights[1:]).sum()))


def test_first_poses_count_where_a_simulator_made_them(tiny_dataset, perfect):
    turn, none = INDEX["log turn of the joints from the initial pose"], INDEX["no initial pose"]
    simulated = expected_error.features(tiny_dataset, perfect, 0.5)
    filmed = expected_error.features(dataclasses.replace(tiny_dataset, truth=None), perfect, 0.5)
    assert (simulated[..., none] == 0).any()
    assert (filmed[..., none] == 1).all() and (filmed[..., turn] == 0).all()
    kept = [n for n in range(len(FEATURES)) if n not in (turn, none)]
    np.testing.assert_array_equal(filmed[..., kept], simulated[..., kept])
