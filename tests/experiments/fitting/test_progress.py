"""The lines that a running fit prints."""

import io

import numpy as np
import pytest
from rich.console import Console

from experiments.base.text import duration
from experiments.fitting.compiled_programs import Chunk, Position
from experiments.fitting.progress import FitProgress, losses_text
from nemo_jax import stages
from nemo_jax.config import FitConfig

STAGES = stages.stages(
    FitConfig(lift=False, warmup_steps=4, camera_steps=2, joint_steps=6, rescue_steps=0, exchange_price=0)
)


def chunks():
    for number, stage in enumerate(STAGES):
        for first in range(0, stage.steps, 2):
            losses = {"code": np.full(2, 0.5), "total": np.linspace(9, 8, 2) - first, "keypoints": np.full(2, 3.0)}
            yield Chunk(stage, first, losses, Position(number, first + 2), None)


def output(terminal, width=200):
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=width, color_system=None, highlight=False)
    with FitProgress(console, STAGES, Position()) as progress:
        for chunk in chunks():
            progress.chunk(chunk)
            if terminal:
                progress._live.refresh()
    return stream.getvalue()


def test_one_line_per_stage_without_a_terminal():
    lines = output(terminal=False).splitlines()
    assert [line.split()[0] for line in lines] == ["warmup", "camera", "joint"]
    assert lines[0].startswith("warmup  4 steps in 0 s, loss 9 -> 6")


@pytest.mark.parametrize("width", [60, 200])
def test_a_live_line_on_a_terminal(width):
    text = output(terminal=True, width=width)
    assert "step    4/6" in text
    assert "left" in text
    assert ("keypoints 3" in text) == (width == 200)
    assert "joint   6 steps" in text


def test_losses_come_with_the_total_first():
    assert losses_text({"code": 0.1, "keypoints": 20.0, "total": 5.0}) == "total 5 · keypoints 20 · code 0.1"


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "0 s"), (59.4, "59 s"), (60, "1 min 00 s"), (185, "3 min 05 s")])
def test_durations(seconds, text):
    assert duration(seconds) == text
