"""How far apart clips truly are at what a fit holds to be one moment."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from experiments.evaluation import synchrony

FRAMES = 40


def of_motion(dataset, perfect, phases, mirrored=(0.0, 0.0), takes=None):
    """Two clips in which an arm rises by a metre with the phase while the person turns and walks, each its own way."""
    clips, truth, times = dataset.clips, dataset.truth, np.asarray(phases, np.float32)
    count = times.shape[1]
    joints, turns = np.zeros((2, count, 25, 3)), []
    for clip, raised in enumerate((np.linspace(0.0, 1.0, count), np.linspace(0.0, 1.0, count) ** 2)):
        turn = Rotation.from_rotvec(np.linspace([0, 0.2, 0], [0.3 * clip, 2.0 + clip, 0], count))
        local = np.zeros((count, 25, 3))
        local[:, 4, 1] = raised
        place = np.linspace([0.1, 1.0, 0.2], [clip, 1.0, 3.0], count)
        joints[clip] = np.einsum("tij,tkj->tki", turn.as_matrix(), local) + place[:, None]
        turns.append(turn.as_rotvec())
    pose = np.zeros((2, count, 24, 3))
    pose[:, :, 0] = turns
    known = dataclasses.replace(truth, pose=pose, joints=joints)
    clips = dataclasses.replace(clips, frame_mask=np.ones((2, count), np.float32), take=takes)
    params = dataclasses.replace(perfect.params, mirrored=np.asarray(mirrored, np.float32))
    prediction = dataclasses.replace(perfect.prediction, phase=times)
    fitted = dataclasses.replace(perfect, params=params, prediction=prediction)
    return dataclasses.replace(dataset, clips=clips, truth=known), fitted


TIMES = np.linspace(0.0, 1.0, FRAMES)


def test_the_right_phases_leave_next_to_nothing(tiny_dataset, perfect):
    found = synchrony.of(*of_motion(tiny_dataset, perfect, [TIMES, TIMES**2]))
    # One frame of 40 moves one joint of 15 by up to 50 mm.
    assert 0 <= found["synchrony_least_mm"] <= found["synchrony_mm"] < 2.0


def test_wrong_phases_leave_the_closed_form(tiny_dataset, perfect):
    found = synchrony.of(*of_motion(tiny_dataset, perfect, [TIMES, TIMES]))
    assert found["synchrony_mm"] == pytest.approx(1000 * np.mean(TIMES - TIMES**2) / 15, rel=1e-3)
    assert found["synchrony_least_mm"] < 1.0


@pytest.mark.parametrize("case", [{"mirrored": (0.0, 1.0)}, {"takes": np.array([3, 3])}])
def test_pairs_that_say_nothing_do_not_count(tiny_dataset, perfect, case):
    assert synchrony.of(*of_motion(tiny_dataset, perfect, [TIMES, TIMES], **case)) == {}


def test_moments_that_the_other_clip_lacks_do_not_count(tiny_dataset, perfect):
    apart = [0.4 * TIMES, 0.6 + 0.4 * TIMES]
    assert synchrony.of(*of_motion(tiny_dataset, perfect, apart)) == {}
    dataset, fitted = of_motion(tiny_dataset, perfect, [TIMES, TIMES])
    assert synchrony.of(dataclasses.replace(dataset, truth=None), fitted) == {}


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**31))
def test_the_best_warp_is_that_of_all(rows, columns, seed):
    cost = np.random.default_rng(seed).uniform(size=(rows, columns))
    every = itertools.combinations_with_replacement(range(columns), rows)
    assert synchrony.warped(cost) == pytest.approx(min(cost[np.arange(rows), list(one)].sum() for one in every))
