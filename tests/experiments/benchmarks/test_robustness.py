"""The suite of curves, and the choices of the default preset that an ablation takes back."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from absl import flags as absl_flags
from rich.console import Console

from experiments.base.errors import UserError
from experiments.benchmarks.suites import robustness, table, variants
from experiments.benchmarks.suites.ablation import ABLATION
from experiments.benchmarks.suites.robustness import CURVES
from experiments.benchmarks.suites.rows import Cell, Row
from experiments.benchmarks.suites.settings import OBSERVED
from experiments.commands import benchmark
from experiments.simulation import observations
from nemo_jax import options
from nemo_jax.config import FitConfig
from tests.experiments.commands.test_simulate_command import write_motion


def parse(*arguments):
    return benchmark.parse(["run.py", *arguments], absl_flags.FlagValues())


@pytest.fixture(scope="module")
def motions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("motions")
    for number, (action, frames) in enumerate([("sway", 12), ("sway", 11), ("nod", 12)]):
        write_motion(folder / f"{action}.{number}.npz", frames=frames, seed=number)
    return folder


def test_each_choice_of_the_default_preset_is_taken_back_once():
    found = variants.of(parse("--suite=mocap", "--motion=m", "--ablation"))
    assert [variant.name for variant in found] == ["default", *(name for name, _ in ABLATION)]
    for variant, (name, fields) in zip(found[1:], ABLATION, strict=True):
        assert variant.config != FitConfig() and not list(options.problems(variant.config)), name
        assert dataclasses.replace(FitConfig(), **fields) == variant.config


@pytest.mark.parametrize("curve", CURVES)
def test_levels_can_be_simulated_and_differ(curve):
    models = [dataclasses.replace(OBSERVED, **level.observe) for level in CURVES[curve]]
    assert all(observations.problem(model) is None and not list(options.problems(model)) for model in models)
    assert len({(repr(m), level.clips, level.stranger) for m, level in zip(models, CURVES[curve], strict=True)}) == len(
        CURVES[curve]
    )


def test_the_fits_of_all_curves(motions, tiny_body_file, monkeypatch):
    """Every level has its clips; a stranger is fitted and not scored."""
    monkeypatch.setattr(robustness, "scores_of", lambda fit: (fit.numbers, fit.each))
    settings = parse(
        "--suite=robustness", f"--motion={motions}", "--actions=sway", "--seeds=1", f"--body_model={tiny_body_file}"
    )
    cases, _ = robustness.cases(settings, variants.of(settings), Console(quiet=True))
    assert [(each.cell.poses, each.cell.without) for each in cases] == [
        (curve, level.text) for curve, levels in CURVES.items() for level in levels
    ]
    by_name = {(each.cell.poses, each.cell.without): each for each in cases}
    names = lambda *key: by_name[key].inputs.dataset.names
    assert names("clips", "1") == ("sway.0",) and names("clips", "8") == ("sway.0", "sway.1")
    stranger = by_name["a clip of another action", "one more"]
    assert stranger.inputs.dataset.names == ("sway.0", "sway.1", "nod.2")
    each = {name: {"mpjpe_mm/fit": float(n)} for n, name in enumerate(stranger.inputs.dataset.names)}
    numbers, scored = stranger.score(SimpleNamespace(numbers={"mpjpe_mm/fit": 9.0, "loss": 3.0}, each=each))
    assert numbers == {"mpjpe_mm/fit": 0.5, "loss": 3.0} and set(scored) == {"sway.0", "sway.1"}
    frames = lambda key: np.asarray(by_name[key].inputs.dataset.clips.frame_mask).sum(1).tolist()
    assert frames(("clips cut", "0%")) == [12, 11] and frames(("clips cut", "30%")) == [8, 8]
    known = by_name["lens told wrong", "x2"].inputs.dataset
    told, true = np.asarray(known.clips.focal_length), [camera.focal for camera in known.cameras]
    np.testing.assert_allclose(told, 2 * np.array(true), rtol=1e-6)


def test_another_action_is_needed(motions, tmp_path, tiny_body_file):
    write_motion(tmp_path / "sway.0.npz", frames=12, seed=0)
    settings = parse("--suite=robustness", f"--motion={tmp_path}", f"--body_model={tiny_body_file}", "--seeds=1")
    with pytest.raises(UserError, match="has one action; --suite=robustness needs a clip of another one"):
        robustness.cases(settings, variants.of(settings), Console(quiet=True))


def rows_of(value):
    return [
        Row(Cell(action, "default", curve, 0, level.text), {"mpjpe_mm/fit": value, "pa_mpjpe_mm/fit": 1.0}, {})
        for curve, levels in CURVES.items()
        for level in levels
        for action in ("sway", "nod")
    ]


def test_a_line_for_each_level_and_a_figure(tmp_path: Path):
    rows = rows_of(30.0)
    lines = table.write(tmp_path, "Suite", robustness.by_level(rows), {}, [], means=False)
    assert [(line.action, line.variant) for line in lines] == [
        (curve, level.text) for curve, levels in CURVES.items() for level in levels
    ]
    assert robustness.draw(tmp_path / "figure.png", "Suite", rows) and (tmp_path / "figure.png").stat().st_size > 10_000
    failed = [dataclasses.replace(row, error="diverged") for row in rows]
    assert not robustness.draw(tmp_path / "none.png", "Suite", failed) and not (tmp_path / "none.png").exists()
