"""What settings make of the clips that a loader has read: takes first, then heights."""

import dataclasses

import numpy as np
import pytest

from experiments.base.errors import UserError
from experiments.data import neutral
from experiments.fitting import clips
from experiments.fitting.settings import Settings
from tests.experiments.data.test_takes import dataset


@pytest.fixture
def read(monkeypatch):
    """`clips.read` of a dataset and settings."""

    def run(given, **asked):
        monkeypatch.setattr(clips.registry, "load", lambda *_, **__: given)
        return clips.read(Settings(action="kick", **asked), None, None).clips

    return run


def test_takes_of_folders_get_their_starts(read):
    given = dataset()
    found = read(dataclasses.replace(given, clips=dataclasses.replace(given.clips, take=np.float32([0, 1, 0]))))
    np.testing.assert_array_equal(found.take, [0, 1, 0])
    np.testing.assert_allclose(found.offset, [0, 0, -0.31], atol=1 / 60 + 1e-6)
    off = dataclasses.replace(given, clips=dataclasses.replace(given.clips, take=np.float32([0, 1, 0])))
    assert read(off, same_take="off").take is None


def test_heights_follow_takes(read, tmp_path):
    found = read(dataset(), same_take="cam0,cam2", height="cam2=1.7")
    np.testing.assert_array_equal(found.height, np.float32([1.7, np.nan, 1.7]))
    # Those of files too, whose takes are known.
    given = dataset()
    known = {"take": np.float32([0, 0, 1]), "offset": np.zeros(3, np.float32)}
    for heights, words in ((np.float32([np.nan, 1.6, np.nan]), None), (np.float32([1.5, 1.6, 1.5]), "one of 1.6 m")):
        neutral.write(
            dataclasses.replace(given, clips=dataclasses.replace(given.clips, height=heights, **known)), tmp_path
        )
        files = neutral.load(tmp_path, "kick")
        if words is None:
            np.testing.assert_array_equal(read(files).height, np.float32([1.6, 1.6, np.nan]))
        else:
            with pytest.raises(UserError, match=words):
                read(files)
        # A flag goes before files.
        np.testing.assert_array_equal(read(files, height="1.8").height, np.float32([1.8] * 3))
