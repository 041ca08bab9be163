"""Trees in NeMo-MoCap's published layout, and films of stick people, that several files of tests load."""

import shutil

import numpy as np
import pytest
import stick_people as sticks

from experiments.detection import landmarks, search
from experiments.loaders import videos
from tests.experiments import published_layouts


@pytest.fixture(scope="session")
def made(tiny_body):
    return published_layouts.clips(tiny_body)


@pytest.fixture(scope="session")
def tree(made, tiny_body, tmp_path_factory):
    """A folder with spaces and letters of all kinds that holds `data`; not to be changed."""
    root = tmp_path_factory.mktemp("published") / "Läufe und Würfe 野球"
    published_layouts.nemo_mocap(root / "data", tiny_body, made)
    return root


@pytest.fixture
def own_tree(tree, tmp_path):
    """A copy to break."""
    return shutil.copytree(tree, tmp_path / "tree") / "data"


@pytest.fixture
def quick_poses(monkeypatch):
    """Poses that tell what they were made of: the world landmark of the left shoulder, in each joint."""

    def initial_pose(body, world, visibility, fps):
        return np.repeat(world[:, None, 11], 24, 1), (visibility.max(1) > 0.5).astype(float)

    monkeypatch.setattr(landmarks, "initial_pose", initial_pose)


@pytest.fixture
def load(tmp_path, tiny_body, quick_poses):
    """`videos.load` on a folder; what started the stand-in is its attribute."""

    def run(pattern=None, **options):
        detector = search.Detector(sticks.MODEL, run.starter)
        options = {"cache_dir": tmp_path / "out" / "detections", "body": tiny_body, "detector": detector, **options}
        return videos.load(str(pattern or tmp_path), "kick", **options)

    run.starter = sticks.Starter()
    return run
