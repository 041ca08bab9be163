"""Names of clips and actions come from files: nothing in them is a formula of Matplotlib or markup of Rich."""

import dataclasses
import io

import numpy as np
from rich.console import Console

from experiments.evaluation import summary
from experiments.gradients import inputs
from experiments.show.figures import run_pictures
from experiments.show.render import overlay

FORMULA = r"$\nothing{$"  # Matplotlib's reader of formulas refuses it
HISTORY = {"joint": {"total": np.geomspace(1e3, 1, 20)}}


def printed(what, **console):
    to = Console(file=io.StringIO(), width=200, highlight=False, **console)
    to.print(what)
    return to.file.getvalue()


def test_dollars_in_names_are_drawn_as_they_are(tiny_dataset, tiny_fitted, make_run, tmp_path):
    names = (FORMULA, *tiny_dataset.names[1:])
    dataset = dataclasses.replace(tiny_dataset, names=names, action=FORMULA)
    run_pictures.write_all(make_run(dataset, tiny_fitted, tmp_path), HISTORY, None)
    assert (tmp_path / "overview.png").exists() and (tmp_path / "phases.png").exists()


def test_numbers_of_logarithmic_axes_stay_formulas(tiny_dataset, tiny_fitted, make_run, tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(run_pictures, "save", lambda figure, path: drawn.update({path.name: labels(figure)}))
    run_pictures.write_all(make_run(tiny_dataset, tiny_fitted, tmp_path), HISTORY, None)
    assert any("mathdefault" in text.get_text() and text.get_parse_math() for text in drawn["losses.png"])


def labels(figure):
    return [label for axes in figure.axes for label in axes.get_yticklabels()]


def test_brackets_in_names_are_printed_by_the_films(tiny_dataset, tiny_fitted, make_run, tmp_path):
    frames = tiny_dataset.clips.frame_mask.shape[1]
    gone = ((str(tmp_path / "gone.png"),) * frames, None)
    dataset = dataclasses.replace(tiny_dataset, names=("[red]a", "[b]b"), frame_paths=gone)
    for terminal in (False, True):
        console = Console(file=io.StringIO(), width=300, highlight=False, force_terminal=terminal)
        overlay.write_all(make_run(dataset, tiny_fitted, tmp_path), console)
        said = console.file.getvalue()
        assert "the first is frame 0 of [red]a;" in said
        assert ("[b]b, 2 of 2" in said) == terminal


def test_brackets_in_names_are_printed_in_tables(tiny_dataset):
    methods = {"[/red]wham": (tiny_dataset.clips.init_pose, tiny_dataset.clips.init_mask)}
    dataset = dataclasses.replace(tiny_dataset, action="[/b]kick", other_poses=methods)
    metrics = {"mpjpe_mm/fit": 1.0, "mpjpe_mm/[/red]wham": 2.0}
    said = printed(summary.comparison_table(dataset, metrics))
    assert "[/b]kick" in said and "[/red]wham" in said
    said = printed(inputs.table("pull of [/b]", ["clip", "share"], [["[/red]a", 0.5]]))
    assert "pull of [/b]" in said and "[/red]a" in said


def test_the_examples_print_brackets(capsys):
    inputs.plain_console().print("Picture: [/red]a.png")
    assert "Picture: [/red]a.png" in capsys.readouterr().out
