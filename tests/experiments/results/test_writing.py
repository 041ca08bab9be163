"""Files of a fit: whole or not there, strict JSON, motion that gives the prediction back when posed."""

import dataclasses
import json
import multiprocessing

import jax
import numpy as np
import pytest

from body_models import joints as jn
from body_models import smpl
from experiments.base import files
from experiments.base.errors import UserError
from experiments.results import reading, writing
from nemo_jax import rotations


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "metrics.json"
    writing.write_json(path, {"a": 1})

    def fail():
        with files.replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert json.loads(path.read_text()) == {"a": 1}


def test_json_is_strict(tmp_path):
    path = tmp_path / "sub" / "metrics.json"
    writing.write_json(path, {"good": 1.5, "nan": float("nan"), "inf": float("inf"), "name": "x", "whole": 3})
    values = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(name))
    assert values == {"good": 1.5, "name": "x", "whole": 3}
    assert [p.name for p in path.parent.iterdir()] == ["metrics.json"]


def test_history_is_kept_by_stage_and_term(tmp_path):
    values = np.arange(3, dtype=np.float32)
    writing.write_history(tmp_path / "history.npz", {"joint": {"total": values}})
    with np.load(tmp_path / "history.npz") as file:
        assert np.array_equal(file["joint/total"], values)


def test_motion_gives_the_prediction_back(tmp_path, tiny_dataset, tiny_fitted, tiny_body):
    (tmp_path / "motion").mkdir()
    (tmp_path / "motion" / "gone.npz").touch()
    writing.write_motions(tmp_path / "motion", tiny_dataset, tiny_fitted, "tiny")
    assert sorted(p.stem for p in (tmp_path / "motion").iterdir()) == sorted(tiny_dataset.names)
    for n, name in enumerate(tiny_dataset.names):
        frames = int(tiny_dataset.clips.frame_mask[n].sum())
        with np.load(tmp_path / "motion" / f"{name}.npz") as file:
            motion = dict(file)
        assert motion["poses"].shape == (frames, 72)
        assert motion["poses"].dtype == np.float32
        assert motion["trans"].shape == (frames, 3)
        assert motion["betas"].shape == (10,)
        assert motion["gender"] == "neutral"
        assert motion["mocap_framerate"] == 30.0
        assert motion["up_axis"] == "y"
        assert list(motion["joint_names"]) == jn.BODY_25_NAMES
        posed = jax.vmap(smpl.keypoints, (None, 0, None, 0))(
            tiny_body,
            rotations.axis_angle_to_matrix(motion["poses"].reshape(frames, 24, 3)),
            motion["betas"],
            motion["trans"],
        )
        assert np.allclose(posed, motion["joints"], atol=1e-4)
        seen = motion["joints"] @ motion["camera_from_world"].T + motion["camera_translation"]
        pixels = motion["focal"] * seen[..., :2] / seen[..., 2:] + motion["principal"]
        assert np.allclose(pixels, motion["joints_2d"], atol=0.1)
        assert motion["raw_phases"][0] == 0
        assert motion["raw_phases"][-1] == 1
        assert np.all(np.diff(motion["phases"]) >= 0)


def test_exchanged_sides_come_back_from_the_files(tmp_path, tiny_dataset, tiny_fitted, tiny_body, tiny_config):
    exchanged = np.random.default_rng(0).random((*tiny_dataset.clips.frame_mask.shape, 2)) < 0.5
    exchanged &= tiny_dataset.clips.frame_mask[..., None] > 0
    (tmp_path / "motion").mkdir()
    writing.write_motions(tmp_path / "motion", tiny_dataset, tiny_fitted, "tiny", exchanged=exchanged)
    config = dataclasses.replace(tiny_config, exchange_price=8)
    run = lambda config: reading.Run(tmp_path, tiny_dataset, tiny_fitted.params, config, tiny_body)
    np.testing.assert_array_equal(run(config).exchanged, exchanged)
    assert not run(tiny_config).exchanged.any()
    writing.write_motions(tmp_path / "motion", tiny_dataset, tiny_fitted, "tiny")
    with pytest.raises(UserError, match=r"has nothing as exchanged, expected \(\d+, 2\); run the command"):
        _ = run(config).exchanged


@pytest.mark.parametrize("folder", ["/dev/null/results", "/proc/results"])
def test_a_folder_that_cannot_be_written(folder):
    with pytest.raises(UserError, match=f"--output_dir={folder} cannot be written"), writing.held(writing.Path(folder)):
        pass


def _hold(folder, ready, done):
    with writing.held(folder):
        ready.set()
        done.wait(30)


@pytest.mark.skipif(writing.fcntl is None, reason="this system has no file locks")
def test_two_runs_do_not_share_a_folder(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path, ready, done))
    other.start()
    try:
        assert ready.wait(60)
        with pytest.raises(UserError, match="in use by another run"), writing.held(tmp_path):
            pass
    finally:
        done.set()
        other.join(30)
    with writing.held(tmp_path):
        pass
