"""Recorded numbers of the published implementation; NEMO_REFERENCE_DIR names their folder, tests skip without it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from body_models import joints as jn
from body_models import loaders
from experiments.fitting import prior_files
from nemo_jax.priors import Priors, vposer
from tests.reference import convert


def pytest_terminal_summary(terminalreporter):
    """Prints the largest deviation of every comparison; `docs/parity.md` shows the table."""
    if convert.SEEN:
        terminalreporter.section("largest relative deviation from the record")
        for test, value in convert.SEEN.items():
            terminalreporter.write_line(f"{value:8.1e}  {test}")


@pytest.fixture(scope="session")
def reference_dir():
    folder = os.environ.get("NEMO_REFERENCE_DIR")
    if not folder:
        pytest.skip("NEMO_REFERENCE_DIR is not set")
    return Path(folder)


@pytest.fixture(scope="session")
def load(reference_dir):
    """A function: file name -> its arrays."""

    def read(name):
        with np.load(reference_dir / name) as archive:
            return dict(archive)

    return read


@pytest.fixture(scope="session")
def models(reference_dir, tmp_path_factory):
    """Folder of the model files behind the records."""
    folder = tmp_path_factory.mktemp("models")
    command = [sys.executable, str(reference_dir / "make_models.py"), "--out", str(folder), "--seed", "0"]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def bodies(models):
    """The body of the recorded runs by version: 1-3 hold the top of the head against the nose."""
    top = (jn.TOP_OF_HEAD, *jn.BODY_25[1:])
    return {
        version: loaders.load_body(models, keypoint_ids=jn.BODY_25 if version == 4 else top) for version in (1, 2, 3, 4)
    }


@pytest.fixture(scope="session")
def published_priors(models, load):
    """The mixture and VPoser of the recorded runs."""
    mixture = prior_files.load_gmm(str(models / "spin_data" / "gmm_08.pkl"))
    return Priors(gmm=mixture, vposer=vposer.from_state_dict(load("vposer_weights.npz")))
