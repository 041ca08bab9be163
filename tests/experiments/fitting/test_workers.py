"""Work for other processes: where it runs, when, and what becomes of its errors."""

import os

import pytest

from experiments.base.errors import UserError
from experiments.fitting.workers import Later, Workers


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
