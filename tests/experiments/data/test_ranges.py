"""Limits of what a real recording holds."""

import numpy as np
import pytest

from experiments.data import ranges


class OddError(ValueError):
    """Any of ours."""


@pytest.mark.parametrize("values", [20, -20.0, np.array([[1, 2], [3, np.nan]]), np.zeros(0), np.uint8(3)])
def test_what_lies_inside(values):
    ranges.BETAS.check("betas", values, OddError)


@pytest.mark.parametrize(("values", "shown"), [(21, "21"), ([0, -1e9, 5e9], "-1e+09"), (np.inf, "inf")])
def test_the_first_outside_is_named(values, shown):
    with pytest.raises(OddError) as error:
        ranges.BETAS.check("betas of a.npz", values, OddError)
    assert str(error.value) == f"betas of a.npz holds {shown}, expected shape coefficients from -20 to 20"


@pytest.mark.parametrize(("values", "shown"), [(0.5, "0.5"), (2, "2")])
def test_choices_are_whole(values, shown):
    with pytest.raises(OddError, match=f"^visibility holds {shown}, expected 0 or 1$"):
        ranges.choice("visibility", values, OddError)


def test_how_fast_people_move():
    sprint = np.arange(90)[:, None] / 30 * [12.0, 0, 0]
    assert ranges.too_fast(sprint, 30.0) is None
    assert ranges.too_fast(sprint[:1], 30.0) is None
    assert "moves by up to 120 metres per second" in str(ranges.too_fast(sprint, 300.0))
