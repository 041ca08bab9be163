"""Left and right that a fit reads the other way round: shares, sentences, and what scores are measured against."""

import dataclasses

import numpy as np
import pytest

from body_models import joints as jn
from experiments.data.exchanged import as_read
from experiments.evaluation import doubts, exchanged
from nemo_jax import exchange


@pytest.fixture
def some(tiny_dataset):
    """Flags (N, T, 2): the legs of the first clip in four of its frames."""
    found = np.zeros((*np.shape(tiny_dataset.clips.frame_mask), 2), np.float32)
    found[0, 2:6, exchange.GROUPS.index("legs")] = 1
    return found


def wrong_names(dataset, some):
    """What a detector says that exchanges them."""
    clips = exchange.swapped(dataset.clips, some)
    return dataclasses.replace(dataset, clips=dataclasses.replace(clips, init_mask=dataset.clips.init_mask))


def test_shares_and_sentences(tiny_dataset, some):
    found = exchanged.as_metrics(tiny_dataset, some)
    name, frames = tiny_dataset.names[0], int(np.sum(tiny_dataset.clips.frame_mask[0]))
    assert found == {name: {"arms": 0.0, "legs": pytest.approx(4 / frames)}}
    (told,) = exchanged.sentences(found)
    assert told == (
        f"Left and right of {name} are exchanged by the detector in {4 / frames:.0%} (legs) of its frames; "
        "the fit reads them the other way round."
    )
    assert exchanged.sentences({"a": {"arms": 0.29, "legs": 0.38}})[0].startswith(
        "Left and right of a are exchanged by the detector in 29% (arms) and 38% (legs) of its frames;"
    )
    assert exchanged.sentences({"a": {"arms": 0.01, "legs": 0.02}}) == []


def test_names_are_put_right(tiny_dataset, some):
    given = wrong_names(tiny_dataset, some)
    read = as_read(given, some)
    np.testing.assert_array_equal(read.clips.keypoints, tiny_dataset.clips.keypoints)
    assert np.any(np.asarray(given.clips.keypoints) != np.asarray(tiny_dataset.clips.keypoints))
    assert as_read(given, np.zeros_like(some)) is given


def test_both_readings_are_scored(tiny_dataset, perfect, some):
    exact = dataclasses.replace(tiny_dataset.clips, keypoints=perfect.scored_2d)
    given = wrong_names(dataclasses.replace(tiny_dataset, clips=exact), some)
    each = {name: {"pck_0.05/fit": 0.7} for name in given.names}
    found = exchanged.with_scores(each, given, perfect, some, None, 0.5)
    assert found[given.names[0]] == {"pck_0.05/fit": 0.7, exchanged.AS_READ: 1.0}
    assert all(found[name] == each[name] for name in given.names[1:])
    # Hidden keypoints do not count, whatever they are read as.
    hidden = np.zeros(np.shape(given.clips.confidence), bool)
    left, right = (jn.BODY_25_NAMES.index(f"{side}_ankle") for side in ("left", "right"))
    hidden[0, :, left] = True
    pixels = np.array(given.clips.keypoints)
    pixels[0, :, left] += 1e4
    other = dataclasses.replace(given, clips=dataclasses.replace(given.clips, keypoints=pixels))
    assert exchanged.with_scores(each, other, perfect, some, hidden, 0.5)[given.names[0]][exchanged.AS_READ] == 1.0
    hidden[0, :, left], hidden[0, :, right] = False, True
    assert exchanged.with_scores(each, other, perfect, some, hidden, 0.5)[given.names[0]][exchanged.AS_READ] < 1.0


def test_a_clip_put_right_is_not_doubted_for_its_names(tiny_dataset, perfect, some):
    each = {name: {"pck_0.05/fit": 0.97} for name in tiny_dataset.names}
    each[tiny_dataset.names[0]] = {"pck_0.05/fit": 0.7}
    assert list(doubts.find(tiny_dataset, perfect, each, 0.5)) == [tiny_dataset.names[0]]
    each[tiny_dataset.names[0]][exchanged.AS_READ] = 0.97
    assert doubts.find(tiny_dataset, perfect, each, 0.5) == {}
