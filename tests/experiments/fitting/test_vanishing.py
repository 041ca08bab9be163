"""A results folder that is deleted while a fit runs, and a disk that is full at its end: one sentence."""

import io
import shutil

import pytest
from absl import flags as absl_flags
from rich.console import Console

from experiments.base.errors import UserError
from experiments.commands import fit
from experiments.fitting import checkpoints
from experiments.fitting import run as fitting
from experiments.results import writing

GONE = r"was deleted or moved while the fit ran; leave it in its place, and run the same command again"


@pytest.fixture
def run_here(serve_flags, tmp_path):
    """Fits like run.py, in this process; returns the function and the folder of its results."""

    def run(present=lambda *_: lambda *_: None, checkpoint_seconds=1e9):
        settings = fit.parse(["run.py", *serve_flags, f"--output_dir={tmp_path / 'out'}"], absl_flags.FlagValues())
        fitting.run(settings, present, Console(file=io.StringIO()), checkpoint_seconds)

    return run, tmp_path / "out"


def before(monkeypatch, owner, name, act):
    original = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *a, **k: (act(), original(*a, **k))[1])


def test_a_folder_that_vanishes_without_checkpoints(run_here, monkeypatch):
    run, out = run_here
    before(monkeypatch, fitting.finishing, "score", lambda: shutil.rmtree(out))
    with pytest.raises(UserError, match=GONE):
        run()
    assert not out.exists()


def test_a_folder_that_vanishes_before_a_checkpoint(run_here, monkeypatch):
    run, out = run_here
    before(monkeypatch, checkpoints.Checkpoints, "save", lambda: shutil.rmtree(out))
    with pytest.raises(UserError, match=GONE):
        run(checkpoint_seconds=0.0)
    assert not (out / "metrics.json").exists()


def test_a_folder_that_vanishes_while_pictures_are_drawn(run_here):
    run, out = run_here
    with pytest.raises(UserError, match=GONE):
        run(present=lambda *_: lambda *_: shutil.rmtree(out))
    assert not out.exists()


def test_a_disk_that_is_full_at_the_end(run_here, monkeypatch):
    run, out = run_here

    def full(*_):
        raise OSError(28, "No space left on device", "history.npz")

    monkeypatch.setattr(writing, "write_history", full)
    with pytest.raises(
        UserError, match=r"results in .* cannot be written \(No space left on device of history.npz\); make"
    ):
        run()
    assert not list(out.rglob(".unfinished*"))


def test_the_table_of_many_fits_that_cannot_be_written(monkeypatch, tmp_path):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fitting.fits_table, "write", full)
    settings = fit.parse(["run.py", "--action=serve", f"--output_dir={tmp_path}"], absl_flags.FlagValues())
    session = fitting.Session(settings, Console(quiet=True), lambda *_: None, 1.0, 0.0, "cpu")
    with pytest.raises(UserError, match=r"many\.csv cannot be written \(no space left on device\); make room"):
        fitting._close(settings, [], session)
