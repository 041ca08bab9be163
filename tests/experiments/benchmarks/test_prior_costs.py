"""What the benchmark of the priors' cost compares, and how."""

import pytest

from experiments.benchmarks import priors


def test_ratios_are_taken_within_turns():
    # The machine becomes ten times slower, which says nothing of the priors.
    seconds = {priors.WITHOUT: [1.0, 10.0, 2.0], "poses": [1.1, 11.0, 3.0]}
    without, poses = priors.table(seconds, steps=10)
    assert without["longer by %"] == 0 and without["ms"] == 200
    assert poses["longer by %"] == pytest.approx(10) and poses["ms"] == 300
    assert poses["fastest"] == pytest.approx(110) and poses["of fastest %"] == pytest.approx(10)


def test_cases_differ_in_their_priors_alone():
    plain, poses, few = priors.cases([16])
    assert plain.priors.limbs is None and plain.priors.motion is None and plain.priors.joint_limits is not None
    assert poses.priors.limbs is not None and poses.config.motion_windows == 0
    assert few.priors.motion is not None and few.config.motion_windows == 16
    assert plain.clips is poses.clips is few.clips
