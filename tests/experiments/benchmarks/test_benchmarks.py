"""The benchmarks' tables on a tiny fit: every row is there and honest; nothing is said about speed."""

import dataclasses
import json
import math

import jax
import numpy as np
import pytest

from experiments.benchmarks import accuracy, counts, fit, many, measure, problem, stages, vertices
from experiments.evaluation import scores
from experiments.results.fitted_motion import predict
from nemo_jax import model
from nemo_jax.stages import start

CEILINGS = {"float32_flops": 1e12, "copy_bytes": 1e12}


@pytest.fixture(scope="module")
def tiny_case(tiny_job):
    return problem.Case("tiny", tiny_job.clips, tiny_job.body, tiny_job.priors, tiny_job.config)


@pytest.fixture(scope="module")
def short_case(tiny_case):
    """Of one stage: that there are several, `test_a_whole_fit` has."""
    return dataclasses.replace(tiny_case, config=dataclasses.replace(tiny_case.config, warmup_steps=0, camera_steps=0))


def assert_measured(row, zero=()):
    """All numbers of a row are finite and positive, but those of `zero`, which are 0."""
    numbers = {name: value for name, value in row.items() if isinstance(value, float | int)}
    assert all(math.isfinite(value) for value in numbers.values()), row
    assert {name for name, value in numbers.items() if value <= 0} == set(zero), row


def test_stages(tiny_case, monkeypatch):
    monkeypatch.setattr(measure, "jax_seconds", once)
    rows = stages.table([tiny_case], ["float32"], [1, 2], ["joint"], 3, CEILINGS)
    assert [(row["stage"], row["fits"]) for row in rows] == [("joint", 1), ("joint", 2)]
    for row in rows:
        assert_measured(row)
        assert row["moved MB"] > row["needed MB"] and row["program GFLOP"] > 0
        assert row["binds"] in ("float32", "memory", "caches", "neither")


def test_only_the_named_stage_is_prepared(tiny_case):
    ready = stages.prepare(tiny_case, 1, ["joint"])
    assert [one.stage.name for one in ready] == ["joint"]
    assert stages.prepare(tiny_case, 1, ["lift"]) == []


def test_many(short_case):
    rows = many.table(short_case, [2], [1], CEILINGS)
    assert len(rows) == 1 and rows[0]["efficiency"] == 1.0
    assert_measured(rows[0])
    assert rows[0]["fits per hour"] == pytest.approx(3600 * 2 / rows[0]["seconds"])


def test_efficiency_is_against_as_many_fits_on_one_device():
    row = lambda devices, fits, rate: {"devices": devices, "fits": fits, "fits per hour": rate}
    rows = many.with_efficiency([row(1, 8, 100.0), row(2, 8, 190.0), row(4, 8, 300.0), row(2, 4, 90.0)])
    assert [one["efficiency"] for one in rows] == [1.0, 0.95, 0.75, None]


def test_a_whole_fit(tiny_case):
    measured = fit.measure_one(tiny_case, 2)
    assert_measured({name: value for name, value in measured.items() if name != "equal"})
    assert measured["equal"] and measured["peak_bytes"] is None
    row = fit.row(measured, measured | {"compile": 0.5})
    assert (row["peak MB"], row["compile s, cached"], row["processes equal"]) == (None, 0.5, "True")
    assert fit.row(measured, measured | {"digest": 0.0, "peak_bytes": 5e6})["processes equal"] == "False"


def test_accuracy(short_case, tiny_dataset, monkeypatch):
    monkeypatch.setattr(accuracy, "PRECISIONS", ("float32", "bfloat16"))
    given = accuracy.gather(short_case.config, [tiny_dataset], 2)
    rows = accuracy.table([short_case], [given])
    assert [(row["networks"], row["vertices"], row["fits"]) for row in rows] == [
        ("float32", "-", 2),
        ("bfloat16", "-", 2),
    ]
    for row in rows:
        # A CPU computes in float32 whatever is asked.
        assert_measured(row, zero={"change mm", "its s.e."})
    assert rows[0]["MPJPE mm"] == rows[1]["MPJPE mm"]


def test_errors_are_those_of_a_run(tiny_case, tiny_dataset):
    body = problem.body()
    given = accuracy.gather(tiny_case.config, [tiny_dataset], 1)
    case = dataclasses.replace(tiny_case, body=body)
    one, state = jax.jit(start)(given.keys[0], case.clips, body, case.priors, case.config)
    params = jax.tree.map(lambda leaf: leaf[None], state.params)
    fitted = predict(state.params, one.assets, body, case.config, case.clips)
    errors = accuracy._errors(params, given, body, case)
    expected = scores.evaluate(tiny_dataset, fitted, body, None, 0.5)[0]["mpjpe_mm/fit"]
    np.testing.assert_allclose(errors, [expected], rtol=1e-5)


def test_fits_are_all_actions_from_all_seeds(tiny_case, tiny_dataset):
    longer = dataclasses.replace(tiny_dataset, clips=tiny_dataset.clips)
    given = accuracy.gather(dataclasses.replace(tiny_case.config, resample="shortest"), [tiny_dataset, longer], 3)
    frames = int(tiny_dataset.clips.frame_mask.sum(-1).min()) - 1
    assert given.clips.keypoints.shape[:3] == (6, 2, frames) and given.poses.shape[:3] == (6, 2, frames)
    assert np.unique(jax.random.key_data(given.keys), axis=0).shape[0] == 3


def test_needed_work_by_hand(tiny_case):
    config, body = tiny_case.config, tiny_case.body
    field = jax.eval_shape(
        model.field_module(config).init, jax.random.key(0), np.float32(0), np.zeros(config.code_size, np.float32)
    )
    size = sum(leaf.size for leaf in jax.tree.leaves(field))
    # 4 features and a code of 5; three layers of 8; 24 x 6 numbers of rotations and 3 of translation.
    weights = (4 + 5) * 8 + 8 * 8 + 8 * 8 + 8 * 144 + 8 * 3
    warmup = counts.of_step("warmup", tiny_case)
    assert warmup == (3 * 2 * 8 * weights, 7 * 4 * size)
    anchors = len(body.keypoint_anchors.template)
    joint = counts.of_step("joint", tiny_case)
    assert joint.flops - warmup.flops == 8 * 3 * 2 * anchors * (3 * 207 + 12 * 24 + 12)
    assert joint.bytes == warmup.bytes
    assert counts.of_step("camera", tiny_case) == (0, 0)
    assert counts.of_fit(tiny_case).flops == 6 * warmup.flops + 7 * joint.flops


def test_needed_work_of_published_priors(tiny_case):
    priors = problem.published_priors()
    case = dataclasses.replace(tiny_case, priors=priors)
    mesh = 8 * 3 * 2 * case.body.num_vertices * (3 * 207 + 12 * 24 + 12)
    network = 8 * 4 * sum(leaf.size for leaf in jax.tree.leaves(priors.vposer) if leaf.ndim == 2)
    mixture = 8 * 4 * 8 * 69 * 69
    assert counts.of_step("joint", case).flops - counts.of_step("joint", tiny_case).flops == mesh + network + mixture


@pytest.mark.parametrize(
    ("flops", "moved", "binds"),
    [(4e11, 4e11, "neither"), (6e11, 5e11, "float32"), (1e11, 9e11, "memory"), (6e11, 2e12, "caches")],
)
def test_which_ceiling_binds(flops, moved, binds):
    rates = measure.rates(1.0, counts.Count(flops, 1e9), moved, CEILINGS, "float32")
    assert tuple(rates) == measure.RATES
    assert (rates["needed TFLOP/s"], rates["moved share of copy"], rates["binds"]) == (
        flops / 1e12,
        moved / 1e12,
        binds,
    )


def test_a_report_in_several_tables(tmp_path, capsys):
    rows = [{"preset": "tiny", "ms": 1.23456, "peak": None}]
    measure.report("Title", rows, {"notes": "so"}, tmp_path / "out.json", [("preset", "ms"), ("preset", "peak")])
    shown = capsys.readouterr().out
    assert shown.count("Title") == 2 and "1.235" in shown and "│    - │" in shown
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["rows"] == [{"preset": "tiny", "ms": 1.235, "peak": None}] and written["notes"] == "so"


@pytest.mark.parametrize(
    ("module", "flag", "said"),
    [
        (stages, "--stages=joint,walk", "--stages=joint,walk: walk is none of lift, warmup, camera, joint"),
        (many, "--devices=1,99", "ask for no more"),
        (accuracy, "--seeds=0", "1 or more"),
    ],
)
def test_wrong_flags_are_named(module, flag, said, monkeypatch):
    monkeypatch.setattr("sys.argv", ["benchmark", flag, *(["--presets=default"] if module is accuracy else [])])
    monkeypatch.setattr(module.devices, "keep_compiled", lambda: None)
    with pytest.raises(SystemExit, match=said):
        module.main()


def once(call, **options):
    """A timing of one call, in place of many."""
    del options
    _, seconds = measure.run(call, long=0.0)
    return measure.timing.Timing(seconds, seconds, seconds, 1)


def test_vertex_term_is_the_plain_one_without_a_gpu():
    row = vertices.row(2)
    assert row["pairs"] == 2 and row["fused ms"] > 0 and row["plain ms"] > 0
    # Off a GPU both paths are the same program's.
    assert [row[name] for name in row if "error" in name or name.endswith("'s")] == pytest.approx([0] * 5, abs=1e-6)
