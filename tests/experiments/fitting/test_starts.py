"""Several whole starts of a fit: the best is kept, and a stopped run goes on with all of them."""

import dataclasses
import io
import json

import jax
import numpy as np
import pytest
from absl import flags as absl_flags
from rich.console import Console

from experiments.base.errors import UserError
from experiments.commands import fit
from experiments.fitting import compiled_programs, finishing, fits_table, inputs, starts
from experiments.fitting import run as fitting
from experiments.fitting.checkpoints import Snapshot
from experiments.fitting.compiled_programs import Position, shapes_of_one
from experiments.fitting.plan import Planned
from experiments.fitting.settings import Settings
from experiments.show import presentation
from nemo_jax import rotations
from tests.experiments.conftest import JOINT_ALONE


class StoppedError(Exception):
    pass


def run_here(arguments):
    """Fits like run.py, in this process, and returns what it says."""
    said = io.StringIO()
    settings = fit.parse(["run.py", *arguments], absl_flags.FlagValues())
    console = Console(file=said, highlight=False, soft_wrap=True, width=200)
    fitting.run(settings, presentation.begin, console, checkpoint_seconds=0.0)
    return said.getvalue()


def arrays_of(path):
    with np.load(path) as file:
        return dict(file)


def stop_after(monkeypatch, last):
    """Makes the next run stop with an error after so many chunks, of all its programs together."""
    run, seen = compiled_programs.CompiledFit.run, []

    def run_and_stop(self, problem, position, carry):
        for chunk in run(self, problem, position, carry):
            yield chunk
            seen.append(chunk)
            if len(seen) == last:
                raise StoppedError

    monkeypatch.setattr(compiled_programs.CompiledFit, "run", run_and_stop)


@pytest.fixture
def given(tiny_job, tiny_dataset, tiny_body):
    identity = {"action": "serve", "seed": "3"}
    return inputs.Inputs(tiny_dataset, None, tiny_body, tiny_job, (), identity, shapes_of_one)


@pytest.fixture
def ready(given, tmp_path):
    """Makes the starts of a fit: number -> list of `Ready`."""
    return lambda number: starts.of(
        Planned(Settings(action="serve", starts=number, output_dir=str(tmp_path)), {}), given
    )


def test_the_first_start_is_the_fit_of_the_seed(given, ready):
    (only,) = ready(1)
    assert only.inputs.job is given.job and only.inputs.identity is given.identity
    first, *others = ready(3)
    assert first.inputs.job.key is given.job.key and first.inputs.identity == given.identity
    keys = {tuple(np.asarray(jax.random.key_data(each.inputs.job.key))) for each in (first, *others)}
    assert len(keys) == 3
    assert [each.inputs.identity.get("start") for each in others] == ["1", "2"]
    assert [each.name for each in ready(2)] == ["serve, seed 0, start 0", "serve, seed 0, start 1"]
    assert only.name == "serve, seed 0"


def test_the_loss_is_that_of_the_last_steps():
    history = {
        "warmup": {"total": np.zeros(70)},
        "joint": {"keypoints": np.zeros(70), "total": np.r_[np.full(20, 9.0), np.arange(50.0)]},
    }
    assert starts.loss_of(history) == 24.5
    assert starts.loss_of({"camera": {"pixels": np.array([1.0, 3.0])}}) == 2.0


def test_the_spread_is_over_joints_in_the_camera(tiny_fitted):
    turn = np.asarray(rotations.axis_angle_to_matrix(jax.numpy.array([0.0, 0.7, 0.0])))
    moved = tiny_fitted.prediction.keypoints @ turn.T + np.array([0.3, 0.0, -1.0], np.float32)
    # The same fit in another world, seen by the same camera.
    other = dataclasses.replace(
        tiny_fitted,
        prediction=dataclasses.replace(tiny_fitted.prediction, keypoints=moved),
        camera_from_world=tiny_fitted.camera_from_world @ turn.T,
    )
    assert starts.spread_mm([tiny_fitted, other]).max() < 1e-2
    # One of 15 joints 6 cm further up, in frame 2 of clip 1: its standard deviation is 3 cm. Joint 20 is not compared.
    apart = np.array(moved)
    apart[1, 2, 4, 1] += 0.06
    apart[:, :, 20] += 1.0
    found = starts.spread_mm(
        [tiny_fitted, dataclasses.replace(other, prediction=dataclasses.replace(other.prediction, keypoints=apart))]
    )
    assert found[1, 2] == pytest.approx(30 / 15, abs=0.01)
    found[1, 2] = 0
    assert found.max() < 1e-2


def test_fits_are_whole_when_all_starts_have_ended_or_failed(ready):
    gathered = starts.Gathered()
    first, second, third = ready(3)
    gathered.end(third)
    assert gathered.lose(second, UserError("the fit diverged")) is None
    assert gathered.whole() == []
    gathered.end(first)
    assert [[each.number for each in fit] for fit in gathered.whole()] == [[0, 2]]
    assert gathered.whole() == []


def test_a_fit_fails_with_the_last_of_its_starts(ready):
    gathered = starts.Gathered()
    one, other = ready(2)
    assert gathered.lose(one, UserError("first")) is None
    assert str(gathered.lose(other, UserError("second"))) == "first"
    assert gathered.whole() == []


def test_the_best_of_those_that_ended_is_kept(ready, tiny_fitted, tiny_dataset, tiny_config):
    def finished(loss):
        history = {"joint": {"total": np.full(60, loss, np.float32)}}
        settings = Settings(action="serve", starts=4)
        seconds = {"fit": 2.0}
        return finishing.Finished(
            settings, tiny_dataset, None, ("a note",), tiny_config, tiny_fitted, {}, {}, history, seconds, "cpu"
        )

    every = ready(4)
    ended = [every[0], every[2], every[3]]
    kept = starts.best(ended, [finished(loss) for loss in (3.0, 1.0, 1.0)])
    assert (kept.kept_start, kept.starts, kept.seconds) == (2, (3.0, None, 1.0, 1.0), {"fit": 6.0})
    assert "start 2 is kept" in kept.notes[1] and "3, diverged, 1, 1" in kept.notes[1]
    assert kept.spread is not None
    assert kept.spread.shape == tiny_fitted.raw_phases.shape and kept.spread.max() < 1e-3
    (only,) = ready(1)
    alone = starts.best([only], [finished(1.0)])
    assert alone.notes == ("a note",) and alone.starts == () and alone.spread is None


def test_what_is_said_about_where_starts_go_on(ready):
    def at(each, position):
        return dataclasses.replace(each, found=Snapshot(position, None, each.inputs.job.key, {}, {}))

    first, second, third = ready(3)
    assert starts.said_of([first, second, third]) == []
    end = compiled_programs.end_of(first.inputs.job)
    said = starts.said_of([at(first, end), at(second, Position(0, 2)), third])
    assert said == [
        "Continuing an interrupted fit that has some finished starts: start 0.",
        "Continuing an interrupted fit at step 2 of the warmup stage: start 1.",
    ]
    (only,) = ready(1)
    assert starts.said_of([at(only, Position(0, 2))]) == [
        "Continuing an interrupted fit at step 2 of the warmup stage."
    ]
    assert "is finished" in starts.said_of([at(only, end)])[0]


@pytest.mark.slow
def test_stopped_and_run_again(serve_flags, tmp_path, monkeypatch):
    # The starts one after another, so that the program is that of a single fit.
    serve_flags = [*serve_flags, *JOINT_ALONE]
    flags = [*serve_flags, "--starts=2", "--fits_per_batch=1"]
    run_here([*flags, f"--output_dir={tmp_path / 'whole'}"])
    broken = [*flags, f"--output_dir={tmp_path / 'broken'}"]
    chunks = 7  # of one step each, of the 7 steps of a start
    with monkeypatch.context() as patch:
        stop_after(patch, chunks + 4)
        with pytest.raises(StoppedError):
            run_here(broken)
    assert not (tmp_path / "broken" / "metrics.json").exists()
    said = run_here(broken)
    assert "finished starts: start 0." in said and "stage: start 1." in said

    metrics, again = (json.loads((tmp_path / run / "metrics.json").read_text()) for run in ("whole", "broken"))
    assert metrics["starts"] == again["starts"] and metrics["kept_start"] == again["kept_start"]
    assert metrics["kept_start"] == int(np.argmin(metrics["starts"]))
    assert metrics["starts"][0] != metrics["starts"][1]
    for name in ("history.npz", "motion/pitch_0.npz", "motion/pitch_1.npz"):
        one, other = (arrays_of(tmp_path / run / name) for run in ("whole", "broken"))
        assert one.keys() == other.keys()
        for key in one:
            assert np.array_equal(one[key], other[key]), f"{name}: {key}"
    motion = arrays_of(tmp_path / "whole" / "motion" / "pitch_0.npz")
    assert motion["starts_spread_mm"].shape == motion["phases"].shape and motion["starts_spread_mm"].min() > 0

    # The same folder with one start: the first, which is there, without a trace of the other.
    said = run_here([*serve_flags, f"--output_dir={tmp_path / 'whole'}"])
    assert "This fit is finished" in said and "Fitting" not in said
    alone = json.loads((tmp_path / "whole" / "metrics.json").read_text())
    assert "starts" not in alone and "kept_start" not in alone
    history = arrays_of(tmp_path / "whole" / "history.npz")
    assert starts.loss_of({"joint": {"total": history["joint/total"]}}) == metrics["starts"][0]
    assert "starts_spread_mm" not in arrays_of(tmp_path / "whole" / "motion" / "pitch_0.npz")


@pytest.mark.slow
def test_every_one_of_many_fits_has_its_starts(both_flags, tmp_path):
    given = [*both_flags, *JOINT_ALONE, "--starts=2", "--fits_per_batch=2", f"--output_dir={tmp_path}"]
    said = run_here(given)
    assert said.count("compiled for 2 fits at once") == 1
    assert "Fitting throw, seed 0, start 0; throw, seed 0, start 1" in said
    assert sorted(path.parent.name for path in tmp_path.rglob("metrics.json")) == ["serve", "throw"]
    for action in ("serve", "throw"):
        metrics = json.loads((tmp_path / action / "metrics.json").read_text())
        assert metrics["kept_start"] == int(np.argmin(metrics["starts"])) and len(metrics["starts"]) == 2
        history = arrays_of(tmp_path / action / "history.npz")
        assert starts.loss_of({"joint": {"total": history["joint/total"]}}) == min(metrics["starts"])
        assert fits_table.num_starts(tmp_path / action) == 2
        assert f"{action}, seed 0: Of 2 starts, start {metrics['kept_start']} is kept" in said
    stamp = (tmp_path / "serve" / "metrics.json").stat().st_mtime_ns
    assert "Fitting" not in run_here(given)
    assert (tmp_path / "serve" / "metrics.json").stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    ("count", "posed", "lift", "expected"), [(2, 0, True, 3), (2, 1, True, 1), (2, 0, False, 1), (5, 0, True, 1)]
)
def test_few_clips_without_first_poses_are_fitted_several_times(given, tmp_path, count, posed, lift, expected):
    """Unless their number is said."""
    job, chosen = given.job, np.arange(count) % 2
    clips = jax.tree.map(lambda leaf: np.asarray(leaf)[chosen], job.clips)
    clips = dataclasses.replace(clips, init_mask=np.zeros_like(clips.init_mask) + posed)
    own = dataclasses.replace(job, clips=clips, config=dataclasses.replace(job.config, lift=lift))
    own = dataclasses.replace(given, job=own)
    made = {
        number: starts.of(Planned(Settings(action="serve", starts=number, output_dir=str(tmp_path)), {}), own)
        for number in (None, 1, 2)
    }
    assert [len(made[number]) for number in (None, 1, 2)] == [expected, 1, 2]
    assert made[None][0].several == (expected > 1)
    # The command that says nothing of starts does the same again.
    assert made[None][0].planned.settings.starts is None
