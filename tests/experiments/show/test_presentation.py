"""Films, figures, page and report of a run: there when asked for, gone when not."""

import io

import numpy as np
import pytest
from rich.console import Console

from experiments.fitting.settings import Settings
from experiments.show import presentation

OFF = dict.fromkeys(presentation.PARTS, False)


@pytest.fixture(scope="module")
def run(tiny_dataset, tiny_fitted, make_run, tmp_path_factory):
    metrics = {"num_instances": 2, "num_frames": 20, "device": "cpu", "pck_0.05/fit": 0.5, "seconds/total": 1.0}
    folder = tmp_path_factory.mktemp("presented")
    return make_run(tiny_dataset, tiny_fitted, folder, settings={"action": "baseball_pitch"}, metrics=metrics)


def present(run, **parts):
    settings = Settings(action="baseball_pitch", output_dir=str(run.folder), fit=run.config, **parts)
    console = Console(file=io.StringIO(), width=120)
    each = {name: {} for name in run.dataset.names}
    history = {"joint": {"total": np.geomspace(10, 1, 20)}}
    presentation.begin(run, settings, None, history)(run, each, ("A note of the clips.",), console)
    return console.file.getvalue()


def test_all_of_it_is_there_by_default_and_the_report_links_it(run):
    said = present(run)
    for path in (*presentation.PARTS.values(), "overview.png", "phases.png", "losses.png"):
        assert (run.folder / path).exists(), path
    assert len(list((run.folder / "overlay").glob("*.mp4"))) == 4  # two clips, and both together twice
    assert list((run.folder / "figures").glob("*.pdf"))
    report = (run.folder / "report.html").read_text()
    for text in ("viewer.html", "A note of the clips.", "overlay/"):
        assert text in report
    for name in ("figures in", "viewer in", "report in"):
        assert name in said


def test_what_is_switched_off_leaves_nothing_of_an_older_fit(run):
    for folder in ("overlay", "figures"):
        (run.folder / folder).mkdir(exist_ok=True)
    for page in ("viewer.html", "report.html"):
        (run.folder / page).touch()
    assert present(run, **OFF) == ""
    for path in presentation.PARTS.values():
        assert not (run.folder / path).exists(), path
    assert (run.folder / "overview.png").exists()


def test_the_page_takes_the_fit_as_it_is(run, tiny_fitted):
    assert run.fitted is tiny_fitted
