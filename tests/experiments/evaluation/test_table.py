"""The evaluation table: methods side by side, one line per instance, means, as CSV and on the terminal."""

import csv
import dataclasses

import numpy as np
import pytest
from rich.console import Console

from experiments.evaluation import summary, table


@pytest.fixture
def scored(tiny_dataset):
    """A dataset with another method, absent from the second clip, and made-up numbers."""
    clips = tiny_dataset.clips
    mask = np.array(clips.frame_mask)
    mask[1] = 0
    dataset = dataclasses.replace(tiny_dataset, other_poses={"vibe": (clips.init_pose, mask)})
    first, second = dataset.names
    each = {
        first: {"mpjpe_mm/init": 100.0, "mpjpe_mm/vibe": 80.0, "mpjpe_mm/fit": 40.0, "pck_0.05/paper": 0.5},
        second: {"mpjpe_mm/init": 50.0, "mpjpe_mm/fit": 20.0, "g_mpvpe_mm/fit": 123456.789},
    }
    return dataset, each


def test_every_method_on_every_instance_and_its_mean(scored, tmp_path):
    dataset, each = scored
    path = tmp_path / "evaluation.csv"
    table.write_csv(path, dataset, each)
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert tuple(lines[0]) == table.COLUMNS
    expected = [(m, i) for m in ("init", "vibe", "fit") for i in (*dataset.names, "mean")]
    assert [(line["method"], line["instance"]) for line in lines] == expected
    cell = {(line["method"], line["instance"]): line for line in lines}
    first, second = dataset.names
    assert [cell["init", i]["mpjpe_mm"] for i in (first, second, "mean")] == ["100", "50", "75"]
    # A method's mean is over the instances that it has.
    assert [cell["vibe", i]["mpjpe_mm"] for i in (first, second, "mean")] == ["80", "", "80"]
    frames = dataset.clips.frame_mask.sum(-1).astype(int)
    assert [cell["vibe", i]["frames"] for i in (first, second, "mean")] == [str(frames[0]), "0", str(frames[0])]
    assert cell["fit", "mean"]["frames"] == str(frames.sum())
    assert cell["fit", first]["pck_0.05_paper"] == "0.5"
    assert cell["init", first]["pck_0.05_paper"] == ""
    assert cell["fit", second]["g_mpvpe_mm"] == "123457"
    assert all(line["mpvpe_mm"] == "" for line in lines)


def test_without_initial_poses_the_fit_is_alone(tiny_dataset):
    clips = dataclasses.replace(tiny_dataset.clips, init_mask=np.zeros_like(tiny_dataset.clips.init_mask))
    assert table.methods(dataclasses.replace(tiny_dataset, clips=clips)) == ("fit",)


def test_the_closing_table_puts_methods_side_by_side(scored):
    dataset, _ = scored
    numbers = {"mpjpe_mm/init": 75.0, "mpjpe_mm/vibe": 80.0, "mpjpe_mm/fit": 30.0, "pck_0.05/paper": 0.5}
    console = Console(width=120)
    with console.capture() as capture:
        console.print(summary.comparison_table(dataset, numbers))
    lines = capture.get().splitlines()
    heading = next(line for line in lines if "initial" in line)
    assert heading.index("initial") < heading.index("vibe") < heading.index("fit")
    row = next(line for line in lines if line.strip("│ ").startswith("MPJPE (pose only)"))
    assert [float(word) for word in row.replace("│", " ").split()[-3:]] == [75.0, 80.0, 30.0]
    assert not any("G-MPJPE" in line for line in lines)
    assert any("PCK at 0.05 of the paper" in line and "50.0" in line for line in lines)
