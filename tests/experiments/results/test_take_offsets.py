"""When clips of a take start: in numbers, files, pages and sentences."""

import dataclasses

import numpy as np
import pytest
from rich.console import Console

from experiments.evaluation import summary
from experiments.results import take_offsets, writing
from experiments.show.report import page
from nemo_jax.clips import take_spans


@pytest.fixture
def taken(tiny_dataset, tiny_fitted):
    """Two clips of one take, the second known to start 0.25 s later, and found 0.1 spans later still; others alone."""
    count = len(tiny_dataset.names)
    take = np.arange(count, dtype=np.float32)
    take[1] = 0
    offset, delay = np.zeros((2, count), np.float32)
    offset[1], delay[1] = 0.25, 0.1
    clips = dataclasses.replace(tiny_dataset.clips, take=take, offset=offset)
    params = dataclasses.replace(tiny_fitted.params, delay=delay)
    first, last = take_spans(clips)
    dataset, fitted = (
        dataclasses.replace(tiny_dataset, clips=clips),
        dataclasses.replace(tiny_fitted, params=params),
    )
    return dataset, fitted, 0.25 + 0.1 * float(last[1] - first[1])


def test_of_clips(taken, tiny_dataset, tiny_fitted):
    dataset, fitted, at = taken
    found = take_offsets.of_clips(dataset, fitted.params)
    np.testing.assert_allclose(found[:2], [0, at], rtol=1e-5)
    assert np.isnan(found[2:]).all()
    (take,) = take_offsets.of_takes(dataset, found)
    assert take == {dataset.names[0]: 0, dataset.names[1]: pytest.approx(at)}
    each = take_offsets.with_offsets({name: {"a": 1.0} for name in (*dataset.names, "more")}, [take])
    assert each[dataset.names[1]] == {"a": 1.0, "offset_seconds/fit": pytest.approx(at)} and each["more"] == {"a": 1.0}
    assert np.isnan(take_offsets.of_clips(tiny_dataset, tiny_fitted.params)).all()


def test_motion_files(taken, tmp_path):
    dataset, fitted, at = taken
    offsets = take_offsets.of_clips(dataset, fitted.params)
    writing.write_motions(tmp_path, dataset, fitted, "tiny", offsets=offsets)
    with np.load(tmp_path / f"{dataset.names[1]}.npz") as file:
        assert file["take"] == 0 and file["offset_seconds"] == pytest.approx(at)
    alone = dataclasses.replace(dataset, clips=dataclasses.replace(dataset.clips, take=None, offset=None))
    writing.write_motions(tmp_path, alone, fitted, "tiny", offsets=take_offsets.of_clips(alone, fitted.params))
    with np.load(tmp_path / f"{dataset.names[1]}.npz") as file:
        assert "take" not in file and "offset_seconds" not in file


def test_sentences():
    takes = [{"cam1": 0.0, "cam2": 0.231, "cam3": -1.5}, {"a": 0.0, "b": -0.001}]
    assert take_offsets.sentences(takes) == [
        "cam1, cam2 and cam3 are one performance; they start at 0, 0.23 and -1.50 s.",
        "a and b are one performance; they start at 0 and 0 s.",
    ]


def test_terminal_and_report(taken, make_run, tmp_path):
    dataset, fitted, at = taken
    takes = take_offsets.of_takes(dataset, take_offsets.of_clips(dataset, fitted.params))
    (sentence,) = take_offsets.sentences(takes)
    console = Console(record=True, width=300, quiet=False, file=(tmp_path / "out").open("w"))
    metrics = {"seconds/total": 3.0, "seconds/compile": 1.0, "seconds/fit": 1.0, take_offsets.KEY: takes}
    summary.print_table(console, dataset, metrics, tmp_path)
    assert sentence in console.export_text()
    run = make_run(dataset, fitted)
    paragraph, table = page._clips(run, {}, ())
    assert sentence in str(paragraph)
    assert "starts at (s), in its take" in str(table) and f"{at:.2f}" in str(table)
