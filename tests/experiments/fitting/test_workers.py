"""Work for other processes: where it runs, when, and what becomes of its errors."""

import gc
import multiprocessing
import os

import pytest

from experiments.base.errors import UserError
from experiments.fitting.workers import Later, Shared, Workers


def refuse(sentence):
    raise UserError(sentence)


def test_what_has_no_process_runs_when_it_is_asked_for():
    done = []
    work = Later(done.append, 1)
    assert not done
    assert work.result() is None and work.result() is None
    assert done == [1]
    with pytest.raises(UserError, match="no room"):
        Later(refuse, "no room").result()


def test_an_only_fit_draws_in_other_processes_and_the_rest_stays_here(monkeypatch):
    monkeypatch.setattr("experiments.base.devices.num_cores", lambda: 2)
    with Workers(1, drawing=True) as workers:
        assert not workers.apart
        assert workers.submit(os.getpid).result() == os.getpid()
        assert workers.draw(os.getpid).result() != os.getpid()
        with pytest.raises(UserError, match="no room"):
            workers.draw(refuse, "no room").result()


def test_without_pictures_there_are_no_processes():
    with Workers(1) as workers:
        assert workers.draw(os.getpid).result() == os.getpid()


def test_processes_that_draw_compile_in_a_hurry(monkeypatch):
    monkeypatch.setattr("experiments.base.devices.num_cores", lambda: 2)
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    with Workers(1, drawing=True) as workers:
        asked = [workers.draw(os.getenv, "XLA_FLAGS") for _ in range(8)]
        thresholds = workers.draw(gc.get_threshold).result()
    for flags in (each.result().split() for each in asked):
        assert "--xla_cpu_enable_fast_math=false" in flags and "--xla_backend_optimization_level=0" in flags
    assert os.environ["XLA_FLAGS"] == "--xla_cpu_enable_fast_math=false"
    assert thresholds[0] > 700


def test_processes_that_make_clips_up_compile_as_this_one_does(monkeypatch):
    """What is made up is the same to the bit for one fit and for many."""
    monkeypatch.setattr("experiments.base.devices.num_cores", lambda: 2)
    monkeypatch.setenv("XLA_FLAGS", "")
    with Workers(8) as workers:
        asked = [workers.submit(os.getenv, "XLA_FLAGS") for _ in range(8)]
    assert {each.result() for each in asked} == {"--xla_cpu_multi_thread_eigen=false"}


def test_all_processes_start_at_once(monkeypatch):
    """Not when the second piece of work comes: it would wait for the imports."""
    monkeypatch.setattr("experiments.base.devices.num_cores", lambda: 2)
    before = {child.pid for child in multiprocessing.active_children()}
    with Workers(1, drawing=True):
        assert len({child.pid for child in multiprocessing.active_children()} - before) == 2


class Counted:
    """Says how often it was pickled."""

    pickled = 0

    def __reduce__(self):
        Counted.pickled += 1
        return Counted, ()


def test_what_many_pieces_of_work_share_is_pickled_once(monkeypatch):
    monkeypatch.setattr("experiments.base.devices.num_cores", lambda: 2)
    monkeypatch.setattr(Counted, "pickled", 0)
    with Workers(1, drawing=True) as workers:
        shared = Shared(Counted(), workers.draw)
        kinds = {workers.draw(type, shared).result().__name__ for _ in range(6)}
    assert kinds == {"Counted"}
    assert Counted.pickled == 1
    path = shared._path
    assert path is not None and path.exists()
    del shared
    gc.collect()
    assert not path.exists()


def test_a_piece_of_work_without_a_process_is_given_what_is_shared():
    assert Later(len, Shared([1, 2, 3], Later)).result() == 3
