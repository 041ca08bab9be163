"""run.py as people use it: results, running again, and one sentence for what is wrong."""

import contextlib
import io
import json
import shutil
import subprocess

import numpy as np
import pytest
import scipy.io
from absl import flags as absl_flags
from rich.console import Console

from experiments import configs
from experiments.base.errors import UserError
from experiments.commands import fit, main
from experiments.data import holdout
from experiments.data.dataset import DatasetError
from experiments.fitting import inputs as fit_inputs
from experiments.fitting import run as fitting
from experiments.fitting.settings import Settings
from experiments.show import presentation
from tests.experiments.conftest import JOINT_ALONE, WARMUP_ALONE

ERRORS = ("mpjpe_mm/init", "mpjpe_mm/fit", "pa_mpjpe_mm/init", "pa_mpjpe_mm/fit", "g_mpjpe_mm/fit", "accel_mm_s2/fit")
PIXELS = ("reprojection_px/median", "reprojection_share/median", "pck_0.05/fit", "pck_auc/fit")
ABOUT = ("seconds/total", "seconds/compile", "seconds/fit", "num_instances", "num_frames", "device", "version/jax")


def metrics_of(folder):
    return json.loads((folder / "metrics.json").read_text(), parse_constant=lambda name: pytest.fail(name))


def one_sentence(process):
    """The error message of a failed run."""
    assert process.returncode == 2, process.stderr
    lines = process.stderr.strip().splitlines()
    assert len(lines) == 1, process.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


def run_here(*arguments):
    """Fits like `run.py`, in this process, and returns what it says."""
    said = io.StringIO()
    settings = fit.parse(["run.py", *map(str, arguments)], absl_flags.FlagValues())
    fitting.run(settings, presentation.begin, Console(file=said, highlight=False, soft_wrap=True, width=200))
    return said.getvalue()


def main_here(*arguments):
    """The same up to the sentence and the exit code of what is wrong; importing all of it anew takes seconds."""
    out, errors = io.StringIO(), io.StringIO()
    settings = fit.parse(["run.py", *map(str, arguments)], absl_flags.FlagValues())
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        code = main.run(main.Task("fit", settings))
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), errors.getvalue())


@pytest.fixture(scope="session")
def finished(run_py, tiny_flags, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "results"
    process = run_py(*tiny_flags, f"--output_dir={folder}")
    assert process.returncode == 0, process.stderr
    return folder, process


@pytest.mark.slow
def test_a_run_leaves_its_results(finished, tiny_config):
    folder, _ = finished
    metrics = metrics_of(folder)
    for key in (*ERRORS, *PIXELS, *ABOUT):
        assert key in metrics
    assert metrics["num_instances"] == 2
    assert metrics["synthetic"] is True
    assert metrics["seconds/total"] > metrics["seconds/fit"] > 0
    assert not any(key.startswith("heldout") for key in metrics)
    for name in (
        "overview.png",
        "phases.png",
        "losses.png",
        "config.json",
        "history.npz",
        "instances.json",
        "evaluation.csv",
    ):
        assert (folder / name).stat().st_size > 0
    assert sorted(p.name for p in (folder / "motion").iterdir()) == ["pitch_0.npz", "pitch_1.npz"]
    assert not list(folder.rglob(".unfinished*"))
    config = json.loads((folder / "config.json").read_text())
    assert config["fit"]["hidden"] == tiny_config.hidden
    assert config["action"] == "baseball_pitch"
    with np.load(folder / "history.npz") as history:
        assert history["joint/total"].shape == (tiny_config.joint_steps,)
        assert np.isfinite(history["joint/total"]).all()


def test_a_run_says_plain_things_when_not_on_a_terminal(finished):
    _, process = finished
    assert process.stderr == ""
    assert "\x1b" not in process.stdout
    assert "\r" not in process.stdout
    assert "synthetic" in process.stdout.splitlines()[1]
    for stage in ("warmup", "camera", "joint"):
        assert sum(line.startswith(stage) for line in process.stdout.splitlines()) == 1
    for label in ("MPJPE", "G-MPJPE", "reprojection", "PCK at 0.05"):
        assert label in process.stdout


def test_a_finished_run_is_not_fitted_again(finished, tiny_flags):
    folder, _ = finished
    before, history = metrics_of(folder), (folder / "history.npz").read_bytes()
    (folder / "metrics.json").unlink()
    (folder / "overview.png").unlink()
    said = run_here(*tiny_flags, f"--output_dir={folder}")
    assert "This fit is finished" in said
    assert not any(line.startswith("joint") for line in said.splitlines())
    after = metrics_of(folder)
    assert {k: after[k] for k in (*ERRORS, *PIXELS)} == {k: before[k] for k in (*ERRORS, *PIXELS)}
    assert after["seconds/fit"] == before["seconds/fit"]
    assert (folder / "history.npz").read_bytes() == history
    assert (folder / "overview.png").exists()


def test_other_settings_do_not_touch_a_finished_run(finished, tiny_flags):
    folder, _ = finished
    before = (folder / "metrics.json").read_bytes()
    message = one_sentence(main_here(*tiny_flags, "--fit.lr_field=0.5", f"--output_dir={folder}"))
    assert "another fit.lr_field (0.001 there, 0.5 now)" in message
    assert "--resume=false" in message
    assert (folder / "metrics.json").read_bytes() == before


def test_resume_false_starts_over(finished, tiny_flags, tmp_path):
    folder = shutil.copytree(finished[0], tmp_path / "results")
    other = ["--fit.lr_field=0.002", *WARMUP_ALONE]
    said = run_here(*tiny_flags, *other, "--resume=false", f"--output_dir={folder}")
    assert "finished" not in said
    assert json.loads((folder / "config.json").read_text())["fit"]["lr_field"] == 0.002


def test_a_diverging_fit_is_stopped(tiny_flags, tmp_path):
    # Weights grow 10,000 times a step.
    growing = ["--fit.optimiser=adamw", "--fit.weight_decay=1000", "--fit.lr_field=10"]
    message = one_sentence(main_here(*tiny_flags, *JOINT_ALONE, *growing, f"--output_dir={tmp_path}"))
    assert "diverged" in message
    assert "joint stage" in message


@pytest.fixture(scope="session")
def penn_folder(tmp_path_factory, tiny_dataset):
    """Three label files made of the synthetic keypoints."""
    folder = tmp_path_factory.mktemp("penn") / "labels"
    folder.mkdir()
    order = [0, 5, 2, 6, 3, 7, 4, 12, 9, 13, 10, 14, 11]
    for number in range(3):
        points = np.asarray(tiny_dataset.clips.keypoints[number % 2])[:8][:, order]
        contents = {
            "x": points[..., 0].astype(float),
            "y": points[..., 1].astype(float),
            "visibility": np.ones(points.shape[:2]),
            "dimensions": np.array([[1080, 1920, 8]]),
            "action": "baseball_pitch",
            "pose": "front",
            "bbox": np.tile([500.0, 200.0, 1000.0, 900.0], (8, 1)),
        }
        scipy.io.savemat(folder / f"{number + 1:04d}.mat", contents)
    return folder.parent


def test_annotations_without_truth(tiny_flags, penn_folder, tmp_path):
    flags = [flag for flag in tiny_flags if "max_instances" not in flag]
    lift = ["--fit.lift_steps=3", "--fit.lift_frames=4", "--fit.lift_yaws=2", *WARMUP_ALONE]
    said = run_here(*flags, *lift, f"--data_dir={penn_folder}", f"--output_dir={tmp_path}")
    assert "10% of the visible joints" in said
    metrics = metrics_of(tmp_path)
    assert metrics["num_instances"] == 3
    for key in PIXELS:
        assert key in metrics
        assert f"heldout_{key}" in metrics
    assert not any("mpjpe" in key for key in metrics)
    assert metrics["synthetic"] is False
    assert sum(line.startswith("lift") for line in said.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--action=baseball_pitch", "--accelerator=tpu"], ["--accelerator=tpu", "no TPU"]),
        (["--action=baseball_pitch", "--fit.hiden=3"], ["--fit.hiden", "--fit.hidden"]),
    ],
    ids=["accelerator", "field"],
)
def test_bad_input_is_one_sentence_and_exit_code_2(run_py, arguments, parts):
    message = one_sentence(run_py(*arguments))
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--action=swim"], ["--action=swim", "--data_dir"]),
        (
            ["--action=baseball_pitch", "--max_instances=1", "--output_dir=/dev/null/out"],
            ["--output_dir=/dev/null/out"],
        ),
    ],
    ids=["action", "output"],
)
def test_so_is_what_loading_finds(tmp_path, arguments, parts):
    message = one_sentence(main_here(f"--output_dir={tmp_path}", *arguments))
    for part in parts:
        assert part in message


def test_a_body_that_is_not_smpl(tmp_path):
    np.savez(tmp_path / "body.npz", v_template=np.zeros((5, 3)))
    flags = ("--action=baseball_pitch", f"--body_model={tmp_path / 'body.npz'}", f"--output_dir={tmp_path / 'out'}")
    assert "body.npz" in one_sentence(main_here(*flags))


def test_help(run_py):
    process = run_py("--help")
    assert process.returncode == 0
    assert "--fit.hidden=" in process.stdout
    assert process.stderr == ""


def test_bad_data_folders_end_in_an_expected_error(tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "none", tmp_path / "empty", tmp_path):
        with pytest.raises(DatasetError):
            fit_inputs.load(Settings(action="baseball_pitch", data_dir=str(folder)))


def test_expected_errors_become_exit_codes(monkeypatch, capsys):
    for error, code in ((UserError("no"), 2), (DatasetError("no"), 2), (KeyboardInterrupt(), 130)):

        def fail(settings, error=error):
            raise error

        monkeypatch.setattr(fit, "run", fail)
        assert main.run(main.Task("fit", Settings(action="a"))) == code
        assert "Traceback" not in capsys.readouterr().err

    def crash(settings):
        raise ValueError("a bug keeps its trace")

    monkeypatch.setattr(fit, "run", crash)
    with pytest.raises(ValueError, match="keeps its trace"):
        main.run(main.Task("fit", Settings(action="a")))


def test_what_is_held_out(penn_folder, tiny_body_file):
    settings = Settings(action="baseball_pitch", data_dir=str(penn_folder), body_model=str(tiny_body_file))
    inputs = fit_inputs.load(settings)
    visible = np.asarray(inputs.dataset.clips.confidence)[..., list(inputs.dataset.annotated)].sum()
    assert inputs.identity["holdout"] == "0.1"
    assert inputs.hidden.sum() == round(0.1 * visible)
    assert not (np.asarray(inputs.job.clips.confidence)[inputs.hidden] > 0).any()
    assert (np.asarray(inputs.dataset.clips.confidence)[inputs.hidden] > 0).all()
    assert inputs.job.config.lift
    everything = fit_inputs.load(Settings(**{**vars(settings), "holdout": 0.0}))
    assert everything.hidden is None
    synthetic = fit_inputs.load(Settings(action="baseball_pitch", max_instances=1, body_model=str(tiny_body_file)))
    assert synthetic.hidden is None
    assert not synthetic.job.config.lift
    assert holdout.hold_out(inputs.dataset.clips, 0.1, 0, inputs.dataset.annotated)[1].sum() == inputs.hidden.sum()


def test_a_body_without_extra_joints_leaves_other_head_points_out(monkeypatch, penn_folder, tmp_path, tiny_arrays):
    import dataclasses

    from experiments.loaders import registry

    np.savez(tmp_path / "body.npz", **{k: v for k, v in tiny_arrays.items() if k != "J_regressor_extra"})
    load = registry.load

    def with_head_centre(*arguments, **options):
        return dataclasses.replace(load(*arguments, **options), head_point="head_centre")

    monkeypatch.setattr(registry, "load", with_head_centre)
    settings = Settings(action="baseball_pitch", data_dir=str(penn_folder), body_model=str(tmp_path / "body.npz"))
    inputs = fit_inputs.load(settings)
    assert 0 not in inputs.dataset.annotated
    assert not np.asarray(inputs.job.clips.confidence)[..., 0].any()
    assert any("head" in note for note in inputs.notes)


def test_unknown_presets_are_named():
    with pytest.raises(UserError, match="--preset=fast is not a preset; choose one of default"):
        configs.get("fast")
