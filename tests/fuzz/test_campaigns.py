"""A short part of the campaigns of damaged JSON, results, checkpoints and films, and that a campaign can fail."""

import os
import random

import pytest

from tests.fuzz import campaign, checkpoints, films, keypoints, mutations, results
from tests.fuzz.worker import Worker

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the worker is asked by pipes of POSIX")
SECONDS, BYTES = campaign.MAX_SECONDS, campaign.MAX_BYTES


@pytest.mark.parametrize(
    ("name", "module", "count"),
    [("keypoints", keypoints, 25), ("results", results, 8), ("checkpoints", checkpoints, 6), ("films", films, 40)],
)
def test_a_short_campaign(name, module, count, capsys):
    if name == "films":
        pytest.importorskip("av")
    assert campaign.run(name, module.make, count, 1, SECONDS, BYTES) == []
    last = capsys.readouterr().out.splitlines()[-1].split()
    assert last[0] == "all" and int(last[1]) == count and int(last[2]) > 0


def test_what_hangs_grows_dies_and_fails_is_said_and_the_next_is_asked(tmp_path):
    with Worker("trial", tmp_path) as worker:
        for what, expected in (
            ("hang", "hangs"),
            ("refused", "refused"),
            ("grow", "takes too much memory"),
            ("die", "dies of signal 6"),
            ("fail", "trace: ValueError: a trace"),
            ("loaded", "loaded"),
        ):
            place = tmp_path / f"try {what}"
            place.mkdir()
            (place / what).touch()
            assert worker.ask(place, 0.5, 200 << 20).answer.startswith(expected)
    assert (tmp_path / "begun").exists()


def test_a_campaign_names_what_fails(capsys):
    def make(place, scratch, rng):
        (place / rng.choice(("refused", "fail"))).touch()
        return "sound" if rng.random() < 0.2 else "some: kind"

    failed = campaign.run("trial", make, 20, 0, 1.0, BYTES)
    assert any("'some: kind': trace: ValueError" in line for line in failed)
    assert any("'sound': refused" in line for line in failed)
    assert "some " in capsys.readouterr().out


def test_changes_depend_on_chance_alone():
    content = bytes(range(256)) * 20
    for seed in range(40):
        first, again = (mutations.bytes_of(content, random.Random(seed)) for _ in range(2))
        assert first == again
    kinds = {mutations.bytes_of(content, random.Random(seed))[0] for seed in range(100)}
    assert len(kinds) == 9
    people = {"people": [{"pose_keypoints_2d": [1.0] * 75}]}
    texts = {mutations.document({**people}, random.Random(seed))[1] for seed in range(60)}
    assert len(texts) > 30
