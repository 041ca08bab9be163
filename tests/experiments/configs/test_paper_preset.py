"""A published preset end to end, on small files of the licensed formats."""

import csv
import json

import numpy as np

from experiments.show.presentation import PARTS
from tests.experiments import prior_formats
from tests.nemo_jax import prior_arrays

SMALL = (
    "hidden=8",
    "num_centres=4",
    "phase_nodes=4",
    "batch_size=4",
    "warmup_steps=2",
    "camera_steps=2",
    "joint_steps=2",
)


def test_a_published_preset_with_all_its_files(run_py, tiny_body_file, tmp_path):
    means, covariances, weights = prior_arrays.mixture(components=8)
    mixture = {"means": means, "covars": covariances, "weights": weights}
    (tmp_path / "gmm_08.pkl").write_bytes(prior_formats.dumps(mixture))
    snapshots = tmp_path / "V02_05" / "snapshots"
    snapshots.mkdir(parents=True)
    (snapshots / "V02_05_epoch=13.ckpt").write_bytes(prior_formats.checkpoint(prior_arrays.vposer_state()))
    output = tmp_path / "out"
    process = run_py(
        "--action=baseball_pitch",
        "--max_instances=2",
        "--preset=paper_v2",
        f"--body_model={tiny_body_file}",
        f"--gmm={tmp_path / 'gmm_08.pkl'}",
        f"--vposer={tmp_path / 'V02_05'}",
        f"--output_dir={output}",
        *(f"--fit.{item}" for item in SMALL),
        *(f"--{part}=false" for part in PARTS),
    )
    assert process.returncode == 0, process.stderr
    with np.load(output / "history.npz") as history:
        terms = {name.removeprefix("joint/") for name in history.files if name.startswith("joint/")}
        assert {"keypoints", "gmm", "vposer", "vposer_kl", "total"} <= terms and "limits" not in terms
        assert all(np.isfinite(history[name]).all() for name in history.files)
        total = history["joint/keypoints"] + history["joint/gmm"]
        total = total + 10 * history["joint/vposer"] + history["joint/vposer_kl"]
        np.testing.assert_allclose(history["joint/total"], total, rtol=1e-4)
    with np.load(output / "motion" / "pitch_0.npz") as motion:
        assert (motion["betas"] == 0).all()
        assert motion["focal"] == 5000
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["num_instances"] == 2
    with (output / "evaluation.csv").open() as file:
        assert len(list(csv.DictReader(file))) > 2


def test_without_them_one_sentence(run_py):
    process = run_py("--action=baseball_pitch", "--preset=paper_v4")
    assert process.returncode == 2
    (line,) = process.stderr.strip().splitlines()
    assert line.startswith("error: --preset=paper_v4 needs --body_model") and "https://smpl.is.tue.mpg.de" in line
