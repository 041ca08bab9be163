"""How uncertain guessed focal lengths are said to be, and how that is measured."""

import dataclasses
import json

import numpy as np
import pytest

from experiments.base.errors import UserError
from experiments.benchmarks import lens_spread
from experiments.evaluation import lens_error
from experiments.evaluation.lens_error import SPREAD
from nemo_jax.config import FitConfig


def with_lenses(dataset, perfect, told, fitted):
    """The dataset whose clips tell `told` pixels, and a fit with `fitted`, both for the first clips; others are unknown."""
    count = len(dataset.names)
    given, found = np.full(count, np.nan), np.full(count, 500.0)
    given[: len(told)], found[: len(fitted)] = told, fitted
    clips = dataclasses.replace(dataset.clips, focal_length=given)
    return dataclasses.replace(dataset, clips=clips), dataclasses.replace(perfect, focal=found)


def test_a_guessed_lens_has_an_interval_and_a_known_one_has_none(tiny_dataset, perfect):
    dataset, fitted = with_lenses(tiny_dataset, perfect, [900.0], [900.0, 600.0])
    lenses = lens_error.of_clips(dataset, fitted, FitConfig())
    assert np.isnan(lenses.intervals[0]).all()
    np.testing.assert_allclose(lenses.intervals[1], [600 / np.exp(SPREAD), 600 * np.exp(SPREAD)])
    assert lens_error.shown(lenses, 0) == "900" and lens_error.shown(lenses, 1) == "600 (468 to 770)"
    found = lens_error.as_metrics(dataset.names, lenses)
    assert list(found) == list(dataset.names[1:])
    assert found[dataset.names[1]]["log_sd"] == SPREAD
    json.dumps(found, allow_nan=False)
    said = lens_error.described(found)
    assert "600 pixels" in said and "factor of 1.28" in said and dataset.names[0] not in said


def test_a_focal_length_of_the_settings_is_known(tiny_dataset, perfect):
    dataset, fitted = with_lenses(tiny_dataset, perfect, [], [5000.0])
    lenses = lens_error.of_clips(dataset, fitted, FitConfig(focal_fixed=5000.0))
    assert lens_error.as_metrics(dataset.names, lenses) == {}


def test_a_long_lens_is_less_certain(tiny_dataset, perfect):
    diagonal = np.linalg.norm(np.asarray(tiny_dataset.clips.image_size)[0])
    dataset, fitted = with_lenses(tiny_dataset, perfect, [], [4 * diagonal])
    np.testing.assert_allclose(lens_error.of_clips(dataset, fitted, FitConfig()).log_sd[0], 2 * SPREAD)


def test_the_spread_is_the_root_mean_square_and_each_action_is_judged_by_the_others():
    errors, actions = np.array([0.3, -0.3, 0.2, -0.2]), np.array(["a", "a", "b", "b"])
    assert lens_spread.spread_of(errors) == pytest.approx(np.sqrt(0.065))
    # 0.3 against 0.2 is 1.5 standard deviations, 0.2 against 0.3 less than one.
    assert lens_spread.coverage(errors, actions) == (0.5, 1.0)


def test_errors_are_read_from_the_rows_of_suites(tmp_path):
    rows = tmp_path / "rows"
    rows.mkdir()
    each = {"x": {"focal_error_log": 0.1, "focal_error": 0.105}, "y": {"focal_error": 0.0}}
    (rows / "a.json").write_text(json.dumps({"cell": {"action": "kick"}, "each": each}))
    errors, actions = lens_spread.read([str(tmp_path)])
    assert errors.tolist() == [0.1] and actions.tolist() == ["kick"]
    (rows / "a.json").write_text(json.dumps({"cell": {"action": "kick"}, "each": {"y": each["y"]}}))
    with pytest.raises(UserError, match=r"has no rows/\*\.json with focal_error_log"):
        lens_spread.read([str(tmp_path)])
