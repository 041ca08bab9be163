"""`--height`: what it means, and the sentence where it means nothing."""

import dataclasses

import numpy as np
import pytest

from experiments.base.errors import UserError
from experiments.data import heights, neutral
from experiments.data.dataset import Dataset, DatasetError, Instance, stack


def dataset(height=float("nan")):
    one = Instance(np.ones((2, 25, 2)), np.ones((2, 25)), image_size=(400, 300), height=height)
    return Dataset(clips=stack([one] * 2), names=("serve 1", "serve 2"), action="serve", box_size=np.ones((2, 2)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.83", [1.83, 1.83]),
        ("serve 2=1.7", [np.nan, 1.7]),
        ("serve 2=1.7, serve 1=2", [2.0, 1.7]),
        ("1.83,serve 1=1.6", [1.6, 1.83]),
    ],
)
def test_heights(text, expected):
    np.testing.assert_array_equal(heights.with_heights(dataset(), text).clips.height, np.float32(expected))


def test_the_flag_goes_before_the_file():
    np.testing.assert_array_equal(
        heights.with_heights(dataset(1.5), "serve 2=1.7").clips.height, np.float32([1.5, 1.7])
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tall", r"--height=tall has 'tall' as a height; expected metres such as 1\.83"),
        ("serve 1=", r"has 'nothing' as a height"),
        ("1.83m", r"has '1\.83m' as a height"),
        ("183", r"--height=183 has a height of 183; expected metres from 0\.5 to 2\.5"),
        ("serve 2=0.2", r"has a height of 0\.2; expected metres from 0\.5 to 2\.5"),
        ("-1.8", r"has '-1\.8' as a height"),
        ("nan", r"has 'nan' as a height"),
        ("serve 3=1.8", r"--height=serve 3=1\.8 names serve 3, which is no clip here; the clips are serve 1, serve 2"),
    ],
)
def test_what_is_no_height(text, words):
    with pytest.raises(UserError, match=words):
        heights.with_heights(dataset(), text)


def test_the_neutral_format_keeps_heights(tmp_path):
    known = heights.with_heights(dataset(), "serve 1=1.9")
    neutral.write(known, tmp_path)
    np.testing.assert_array_equal(neutral.load(tmp_path, "serve").clips.height, np.float32([1.9, np.nan]))
    neutral.write(dataset(), tmp_path)
    assert neutral.load(tmp_path, "serve").clips.height is None
    wrong = dataclasses.replace(known.clips, height=np.float32([190, 180]))
    neutral.write(dataclasses.replace(known, clips=wrong), tmp_path)
    with pytest.raises(DatasetError, match=r"height holds 190, expected metres from 0\.5 to 2\.5"):
        neutral.load(tmp_path, "serve")


def taken(heights_of_files=(np.nan, np.nan)):
    given = dataset()
    clips = dataclasses.replace(given.clips, take=np.zeros(2, np.float32), height=np.float32(heights_of_files))
    return dataclasses.replace(given, clips=clips)


@pytest.mark.parametrize(
    ("text", "files", "expected"),
    [
        ("serve 2=1.7", (np.nan, np.nan), 1.7),
        ("1.9,serve 1=1.6", (np.nan, np.nan), 1.6),
        ("serve 2=1.7", (1.5, 1.6), 1.7),
        (None, (np.nan, 1.6), 1.6),
    ],
)
def test_a_take_has_one_height(text, files, expected):
    given = taken(files)
    found = heights.of_takes(given if text is None else heights.with_heights(given, text))
    np.testing.assert_array_equal(found.clips.height, np.float32([expected] * 2))


@pytest.mark.parametrize(("text", "files"), [("serve 1=1.5,serve 2=1.6", (np.nan, np.nan)), (None, (1.5, 1.6))])
def test_two_heights_in_a_take(text, files):
    given = taken(files)
    act = (lambda: heights.of_takes(given)) if text is None else (lambda: heights.with_heights(given, text))
    with pytest.raises(
        UserError, match=r"serve 1 has a person of 1\.5 m .* and serve 2 one of 1\.6 m, .*give one height"
    ):
        act()


def test_clips_by_themselves_have_heights_of_their_own():
    given = dataclasses.replace(taken((1.5, np.nan)), names=("serve 1", "serve 2"))
    apart = dataclasses.replace(given, clips=dataclasses.replace(given.clips, take=np.float32([0, 1])))
    np.testing.assert_array_equal(heights.of_takes(apart).clips.height, np.float32([1.5, np.nan]))
    assert heights.of_takes(dataset()).clips.take is None
