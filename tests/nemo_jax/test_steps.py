"""How many joint steps a fit takes where nobody says."""

import dataclasses

import pytest

from nemo_jax.config import FitConfig, with_steps


@pytest.mark.parametrize(("clips", "steps"), [(1, 1300), (8, 1300), (13, 1300), (14, 1400), (46, 4600)])
def test_steps_grow_with_clips(clips, steps):
    assert with_steps(FitConfig(), clips).joint_steps == steps


def test_steps_that_are_given_stay():
    given = dataclasses.replace(FitConfig(), joint_steps=7)
    assert with_steps(given, 46) == given
