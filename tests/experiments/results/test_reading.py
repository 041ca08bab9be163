"""A finished run read back: the same motion, any rate, and one sentence for a folder that is none."""

import json
import shutil

import numpy as np
import pytest
from equal_datasets import assert_equal

from experiments.base.errors import UserError
from experiments.results import reading


@pytest.fixture(scope="module")
def run(saved_run):
    return reading.load(saved_run)


def test_what_was_written_comes_back(run, tiny_dataset, tiny_fitted, tiny_config):
    assert_equal(run.dataset, tiny_dataset)
    assert run.config == tiny_config
    assert run.settings["action"] == "baseball_pitch"
    np.testing.assert_array_equal(run.params.codes, tiny_fitted.params.codes)
    np.testing.assert_allclose(run.fitted.poses, tiny_fitted.poses, atol=1e-6)
    np.testing.assert_allclose(run.fitted.prediction.keypoints_2d, tiny_fitted.prediction.keypoints_2d, atol=1e-3)


def test_the_field_at_the_frames_is_the_motion_of_the_files(run, saved_run):
    for instance, name in enumerate(run.dataset.names):
        with np.load(saved_run / "motion" / f"{name}.npz") as motion:
            rotation, translation = run.at_raw_phase(instance, motion["raw_phases"])
            np.testing.assert_allclose(
                reading.axis_angles(rotation).reshape(len(rotation), 72), motion["poses"], atol=1e-6
            )
            np.testing.assert_allclose(translation, motion["trans"], atol=1e-6)
            joints = run.joints(instance, rotation, translation)
            # Chain joints that BODY_25 has too: the pelvis is not one, the right shoulder is.
            np.testing.assert_allclose(joints[:, 17], motion["joints"][:, 2], atol=1e-5)


def test_a_higher_rate_samples_the_field_between_the_frames(run):
    fps, frames = float(run.dataset.clips.fps[0]), run.num_frames(0)
    own, _ = run.at_rate(0, fps)
    four, moved = run.at_rate(0, 4 * fps)
    assert len(own) == frames
    assert len(four) == len(moved) == 4 * (frames - 1) + 1
    np.testing.assert_allclose(four[::4], own, atol=1e-5)
    slower, _ = run.at_rate(0, fps / 2)
    np.testing.assert_allclose(slower, own[::2], atol=1e-5)


def test_phases_and_codes_of_the_field(run):
    phases = run.fitted.prediction.phase[0, :3]
    rotation, translation = run.at_phase(phases, np.repeat(run.params.codes[:1], 3, 0))
    np.testing.assert_allclose(rotation, run.fitted.prediction.rotations[0, :3], atol=1e-5)
    np.testing.assert_allclose(translation, run.fitted.prediction.translation[0, :3], atol=1e-5)


def test_meshes_are_posed_with_the_instances_own_shape(run):
    rotation, translation = run.at_raw_phase(1, np.array([0.0, 0.5]))
    mesh = run.vertices(1, rotation, translation)
    assert mesh.shape == (2, 54, 3)
    # The tiny body has a vertex at each joint.
    np.testing.assert_allclose(mesh[:, 0], run.joints(1, rotation, translation)[:, 0], atol=1e-5)


@pytest.mark.parametrize(("about", "points"), [({}, 4), ({"contact_hands": False}, 4), ({"contact_hands": True}, 6)])
def test_contacts_of_feet_alone_and_of_hands_too(run, saved_run, tmp_path, about, points):
    """Results written before hands could stand do not say whether they can, and have four points."""
    folder = tmp_path / "results"
    shutil.copytree(saved_run, folder)
    settings = json.loads((folder / "config.json").read_text())
    settings["fit"].pop("contact_hands", None)
    settings["fit"] |= {"contact_centres": 3, **about}
    (folder / "config.json").write_text(json.dumps(settings))
    with np.load(folder / "params.npz") as saved:
        arrays = dict(saved)
    instances, size = run.params.codes.shape
    logits = np.linspace(-2, 2, points).astype(np.float32)
    arrays |= {
        "contact/values": np.tile(logits, (3, 1)),
        "contact/own": np.zeros((size, 3, points), np.float32),
        "path": np.zeros((instances, 1, 3), np.float32),
        "ground": np.zeros(3 + points // 2, np.float32),
    }
    np.savez(folder / "params.npz", **arrays)
    found = reading.load(folder)
    np.testing.assert_allclose(
        found.contact_at(0, np.array([0.0, 0.7])), np.tile(1 / (1 + np.exp(-logits)), (2, 1)), rtol=1e-5
    )
    assert found.fitted.contact.shape == (*found.fitted.poses.shape[:2], points)


@pytest.mark.parametrize(
    ("missing", "parts"),
    [
        ("metrics.json", ["holds no run", "metrics.json", "finished run"]),
        ("params.npz", ["params.npz"]),
        ("clips", ["clips"]),
    ],
)
def test_a_folder_without_a_finished_run(saved_run, tmp_path, missing, parts):
    folder = tmp_path / "results"
    shutil.copytree(saved_run, folder)
    shutil.rmtree(folder / missing) if (folder / missing).is_dir() else (folder / missing).unlink()
    with pytest.raises(UserError) as error:
        reading.load(folder)
    for part in (str(folder), *parts):
        assert part in str(error.value)
    (folder / "checkpoints").mkdir()
    with pytest.raises(UserError, match="did not finish"):
        reading.load(folder)


def test_no_folder(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        reading.load(tmp_path / "none")


def test_parameters_of_another_run(saved_run, tmp_path):
    folder = tmp_path / "results"
    shutil.copytree(saved_run, folder)
    config = json.loads((folder / "config.json").read_text())
    config["fit"]["hidden"] += 1
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="another run"):
        reading.load(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        reading.load(folder)
    shutil.copy(saved_run / "config.json", folder)
    (folder / "params.npz").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(UserError, match="cannot be read"):
        reading.load(folder)


def test_a_run_whose_layers_told_all_of_the_way(saved_run, run, tmp_path):
    folder = tmp_path / "results"
    shutil.copytree(saved_run, folder)
    config = json.loads((folder / "config.json").read_text())
    config["fit"]["find_travel"] = True
    (folder / "config.json").write_text(json.dumps(config))
    old = reading.load(folder)
    np.testing.assert_array_equal(old.params.field["way"], np.zeros((3, 3)))
    np.testing.assert_array_equal(old.params.field["translation"]["kernel"], run.params.field["translation"]["kernel"])


def test_a_run_from_before_spans_lenses_and_rescues(saved_run, run, tmp_path):
    folder = tmp_path / "results"
    shutil.copytree(saved_run, folder)
    with np.load(folder / "params.npz") as file:
        arrays = {name: file[name] for name in file.files if name != "span"}
    assert set(arrays) < {*arrays, "span"} and "betas" in arrays
    np.savez(folder / "params.npz", **arrays)
    config = json.loads((folder / "config.json").read_text())
    younger = (
        "lens_starts",
        "weight_lens",
        "weight_span",
        "warmup_tempo",
        "apart_frames",
        "weight_limbs",
        "weight_motion",
        "motion_windows",
        "lr_span",
        "weight_level",
        "lift_turned",
        "weight_depth",
        "exchange_price",
        "init_hips",
        "init_root",
        "depth_begin",
        "rescue_share",
        "sync_frames",
    )
    more = ("rescue_steps", "rescue_after", "rescue_frames", "rescue_margin")
    for name in (*younger, *more):
        del config["fit"][name]
    (folder / "config.json").write_text(json.dumps(config))
    old = reading.load(folder)
    np.testing.assert_array_equal(old.params.span, [[0, 1]] * len(run.dataset.names))
    np.testing.assert_array_equal(old.fitted.poses, run.fitted.poses)
    # What did not exist had no part in the fit.
    assert [getattr(old.config, name) for name in (*younger, "rescue_steps")] == [0] * (len(younger) + 1)
    assert not old.exchanged.any()
    np.savez(folder / "params.npz", **arrays, span=np.zeros((1, 2)))
    with pytest.raises(UserError, match="as span, expected"):
        reading.load(folder)


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("config.json", "[]", "expected the entries of a run"),
        ("config.json", "null", "expected the entries of a run"),
        ("metrics.json", "7", "expected the entries of a run"),
        ("config.json", DEEP, "nested too deeply"),
        ("config.json", "{", "cannot be read"),
        ("config.json", {"action": 3}, "has 3 as action, expected a name"),
        ("config.json", {"action": None}, "expected a name"),
        ("config.json", {"body_model": "x" * 3000}, "has a name of 3000 bytes in it"),
        ("config.json", {"body_model": ["x"]}, "as body_model, expected a path or nothing"),
        ("config.json", {"fit": []}, "as fit, expected the fields of a fit"),
        ("config.json", {"fit": {"hidden": "wide"}}, "fit.hidden=wide is not understood"),
        ("config.json", {"fit": {"hidden": -1}}, "fit.hidden=-1 is out of range"),
        ("config.json", {"fit": {"hidden": 10**12}}, "is out of range"),
        ("config.json", {"fit": {"lr_field": 10**400}}, "is out of range"),
        ("config.json", {"fit": {"kernel": "nothing"}}, "fit.kernel=nothing"),
        ("config.json", {"fit": {"lr_field": [1]}}, "fit.lr_field"),
    ],
)
def test_damaged_results_are_one_sentence(saved_run, tmp_path, name, content, words):
    folder = tmp_path / "results"
    shutil.copytree(saved_run, folder)
    if isinstance(content, dict):
        content = json.dumps({**json.loads((folder / name).read_text()), **content})
    (folder / name).write_text(content)
    with pytest.raises(UserError) as error:
        reading.load(folder)
    assert words in str(error.value) and name in str(error.value)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_parameters_that_are_no_numbers(saved_run, tmp_path):
    folder = tmp_path / "results"
    shutil.copytree(saved_run, folder)
    with np.load(folder / reading.PARAMS) as file:
        arrays = dict(file)
    for spoilt in (np.full_like(arrays["codes"], np.nan), arrays["codes"].astype(str)):
        np.savez(folder / reading.PARAMS, **{**arrays, "codes": spoilt})
        with pytest.raises(UserError, match=r"params\.npz .*codes"):
            reading.load(folder)
