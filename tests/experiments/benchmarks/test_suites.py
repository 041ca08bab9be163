"""`run.py benchmark`: what a command line asks for, what is fitted again, and the arithmetic of the table."""

import csv
import io
import json

import numpy as np
import pytest
from absl import flags as absl_flags
from rich.console import Console

from experiments.base.errors import UserError
from experiments.benchmarks.suites import figure, fits, mocap, penn, rows, table, variants
from experiments.benchmarks.suites import run as suites
from experiments.benchmarks.suites.rows import Cell, Row, Rows
from experiments.commands import benchmark
from experiments.fitting.settings import DECIDED
from experiments.simulation import amass
from nemo_jax.config import FitConfig
from nemo_jax.stacking import Padding
from tests.experiments.commands.test_simulate_command import write_motion
from tests.experiments.conftest import JOINT_ALONE, TINY

MOCAP = ("--suite=mocap", "--motion=motions")


def parse(*arguments):
    return benchmark.parse(["run.py", *arguments], absl_flags.FlagValues())


# --- the command line ---


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "--suite is missing; name a suite"),
        (("--suite=moca",), "--suite=moca is not one of .*did you mean mocap"),
        (("--suite=mocap",), "--suite=mocap needs --motion="),
        (("--suite=penn", "--seeds=1"), "--suite=penn needs --data_dir="),
        ((*MOCAP, "--data_dir=a"), "--data_dir is for --suite=penn, not for --suite=mocap"),
        (("--suite=penn", "--data_dir=a", "--motion=b"), "--motion is for --suite=mocap or --suite=robustness or"),
        ((*MOCAP, "--seeds=0"), "--seeds=0 is out of range"),
        ((*MOCAP, "--seed=4294967295"), "--seeds=3 from --seed=4294967295 on goes beyond"),
        ((*MOCAP, "--actions=a/b"), "--actions=a/b is not a name"),
        ((*MOCAP, "--observe.lost_fraction=0.9", "--observe.lost_burst=2"), "--observe.lost_burst=2.0 is out of range"),
        ((*MOCAP, "--fit.hiden=3"), "--fit.hiden is not a flag; did you mean --fit.hidden"),
    ],
)
def test_bad_command_lines_are_a_sentence(arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        parse(*arguments)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--presets=defalt",), "--preset=defalt is not a preset.*did you mean default"),
        (("--presets=paper_v2",), "paper_v2 needs --gmm"),
        (("--variants=mix:priors=true",), "mix needs --gmm"),
        (("--variants=lens",), "--variants=lens is not understood; expected a name and fields"),
        (("--variants=lens:focal_gues=1",), "focal_gues is not a field of the fit; did you mean --fit.focal_guess"),
        (("--variants=lens:focal_guess=x",), "--variants=lens:focal_guess=x: x is not understood; expected a number"),
        (("--variants=lens:lift=true",), "lift is not a field"),
        (("--variants=lens:focal_guess",), "focal_guess is not understood; expected <field>=<value>"),
        (("--variants=default:hidden=8",), "name default twice"),
        (("--presets=",), "name nothing to fit"),
    ],
)
def test_bad_variants_are_a_sentence(arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        variants.of(parse(*MOCAP, *arguments))


def test_variants_stand_on_their_presets_and_on_what_all_share():
    given = "--variants=lens:focal_guess=2.5,lr_focal=0.01; mix:preset=paper_v3,priors=true,hidden=4;with:priors=true"
    settings = parse(
        *MOCAP, "--presets=default,paper_v3", given, "--gmm=mixture", "--fit.joint_steps=9", "--fit.hidden=6"
    )
    plain, paper, lens, mix, with_prior = variants.of(settings)
    assert [plain.name, paper.name, lens.name, mix.name] == ["default", "paper_v3", "lens", "mix"]
    assert {variant.config.joint_steps for variant in (plain, paper, lens, mix)} == {9}
    assert (plain.config.hidden, paper.config.hidden, mix.config.hidden) == (6, 6, 4)
    assert (lens.config.focal_guess, lens.config.lr_focal) == (2.5, 0.01)
    assert (plain.config.focal_guess, plain.config.lr_focal) == (FitConfig().focal_guess, FitConfig().lr_focal)
    assert paper.config.weight_init == mix.config.weight_init == 1000
    assert [v.gmm for v in (plain, paper, lens, mix, with_prior)] == [None, "mixture", None, "mixture", "mixture"]


def test_the_lens_is_unknown_unless_it_is_asked_for():
    assert not parse(*MOCAP).observe.focal_known
    assert parse(*MOCAP, "--observe.focal_known").observe.focal_known


def test_actions_of_a_folder(tmp_path):
    for name in ("run.0", "run.10", "run_up.1", "other/walk"):
        write_motion(tmp_path / f"{name}.npz")
    assert amass.actions(tmp_path) == ["run", "run_up"]
    write_motion(tmp_path / "folders" / "walk" / "a.npz")
    assert amass.actions(tmp_path / "folders") == ["walk"]
    with pytest.raises(UserError, match="is no folder"):
        amass.actions(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"holds no \.npz files"):
        amass.actions(tmp_path / "empty")


# --- the table ---


def made(action, variant, seed, *clips, error=None):
    """A row of clips (error of the fit, of the initial pose)."""
    each = {f"{action}.{n}": {"mpjpe_mm/fit": fit, "mpjpe_mm/init": start} for n, (fit, start) in enumerate(clips)}
    whole = {"mpjpe_mm/fit": float(np.mean([fit for fit, _ in clips]))} if clips else {}
    return Row(Cell(action, variant, "with poses", seed), whole, each, error)


ROWS = [
    made("kick", "default", 0, (30.0, 100.0), (50.0, 40.0)),
    made("kick", "default", 1, (20.0, 100.0), (40.0, 40.0)),
    made("kick", "default", 2, (10.0, 100.0), (110.0, 40.0)),
    made("bow", "default", 0, (60.0, 70.0)),
    made("bow", "default", 1, error="the fit diverged"),
    made("kick", "lens", 0, (30.0, 100.0), (50.0, 60.0)),
]


def test_a_line_is_a_mean_over_clips_and_seeds():
    kick, lens, bow, mean, mean_lens = table.summaries(ROWS)
    assert (kick.action, kick.variant) == ("kick", "default")
    assert kick.values["mpjpe_mm/fit"] == pytest.approx((40 + 30 + 60) / 3)
    assert kick.values["worst"] == 110
    assert kick.values["worse_than_init"] == pytest.approx(2 / 6)  # 50 and 110 above 40; 40 is not above itself
    assert kick.values["spread"] == pytest.approx(60 / 40)
    assert (kick.values["clips"], kick.values["seeds"], kick.values["failed"]) == (2, 3, 0)
    assert (bow.values["seeds"], bow.values["failed"], bow.values["mpjpe_mm/fit"]) == (2, 1, 60)
    assert (mean.action, mean.variant, mean_lens.variant) == ("mean", "default", "lens")
    assert mean.values["mpjpe_mm/fit"] == pytest.approx((130 / 3 + 60) / 2)
    assert (mean.values["clips"], mean.values["worst"], mean.values["spread"]) == (3, 110, 1.5)
    assert mean.values["worse_than_init"] == pytest.approx(2 / 7)
    assert lens.values["mpjpe_mm/fit"] == mean_lens.values["mpjpe_mm/fit"] == 40


def test_a_fit_of_several_films_is_shown_film_by_film():
    cells = [(part.cell.action, part.each) for part in ROWS[0].by_clip()]
    assert cells == [(name, {name: ROWS[0].each[name]}) for name in ("kick.0", "kick.1")]
    assert ROWS[4].by_clip() == [ROWS[4]]


def test_the_three_files_agree(tmp_path):
    lines = table.write(tmp_path, "A suite", ROWS, {"device": "none"}, ["A note."])
    text = (tmp_path / "table.md").read_text()
    heading = next(line for line in text.splitlines() if line.startswith("| action"))
    assert "failed fits" in heading and "poses" not in heading and "G-MPJPE" not in heading
    assert "A note." in text and "| kick | default | 2 | 3 | 70.0 | 43.3 |" in text
    read = list(csv.DictReader(io.StringIO((tmp_path / "table.csv").read_text())))
    assert [float(row["mpjpe_mm/fit"]) for row in read] == pytest.approx(
        [line.values["mpjpe_mm/fit"] for line in lines], rel=1e-5
    )
    stored = json.loads((tmp_path / "table.json").read_text())
    assert len(stored["fits"]) == 6 and stored["fits"][4]["error"] == "the fit diverged"
    assert stored["table"][0]["values"]["worst"] == 110
    assert "failed" not in table.markdown("Fine", table.summaries(ROWS[:3]), [])


def test_the_figure_is_drawn_where_there_is_something(tmp_path):
    assert figure.write(tmp_path / "figure.png", "kick $x", ROWS, "mpjpe_mm/fit", "mm")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert not figure.write(tmp_path / "none.png", "kick", ROWS, "heldout_pck_0.05/fit", "%")
    assert not (tmp_path / "none.png").exists()


# --- rows on disk ---


def test_a_row_is_found_by_its_identity_alone(tmp_path):
    store = Rows(tmp_path)
    store.write(ROWS[0], "mine")
    assert store.find(ROWS[0].cell, "mine") == ROWS[0]
    assert store.find(ROWS[0].cell, "another") is None
    assert store.find(ROWS[1].cell, "mine") is None
    awkward = [Cell("a b", "x", "p", 0), Cell("a-b", "x", "p", 0), Cell("a", "b_x", "p", 0), Cell("a_b", "x", "p", 0)]
    assert len({store.path(cell) for cell in awkward}) == 4
    store.path(ROWS[0].cell).write_text('{"format": 1}')
    with pytest.raises(UserError, match=r"is damaged .*delete it"):
        store.find(ROWS[0].cell, "mine")


def test_identities_depend_on_the_sources(monkeypatch):
    before = rows.identity_of({"clips": "a"})
    assert before == rows.identity_of({"clips": "a"}) != rows.identity_of({"clips": "b"})
    monkeypatch.setattr(rows, "_sources", lambda: "others")
    assert before != rows.identity_of({"clips": "a"})


# --- a whole suite ---


@pytest.fixture(scope="module")
def motions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("motions")
    for number, (action, frames) in enumerate([("sway", 12), ("sway", 11), ("nod", 12), ("nod", 10)]):
        write_motion(folder / f"{action}.{number}.npz", frames=frames, seed=number)
    return folder


@pytest.fixture(scope="module")
def tiny_suite(tiny_body_file):
    """Runs a suite of tiny fits, two at a time; returns what it said and its lines."""
    common = [f"--fit.{name}={value}" for name, value in TINY.items() if name not in DECIDED]
    common += [f"--body_model={tiny_body_file}", "--fits_per_batch=2"]

    def run(*arguments):
        said = io.StringIO()
        lines = suites.run(parse(*common, *arguments), Console(file=said, width=200, soft_wrap=True))
        return said.getvalue(), lines

    return run


@pytest.fixture(scope="module")
def suite(motions, tiny_suite, tmp_path_factory):
    """The same of recorded motion, always in one folder, which it returns too."""
    folder = tmp_path_factory.mktemp("suite")
    return lambda *more: (*tiny_suite("--suite=mocap", f"--motion={motions}", f"--output_dir={folder}", *more), folder)


def test_a_suite_goes_on_from_its_finished_fits(suite, monkeypatch):
    """Interrupted after three of four fits, one of them then done by the real machine; then nothing is left to do."""

    def stopped(group, *_):
        for each in group[:-1]:
            yield (
                each,
                Row(each.cell, {"loss": 0.0}, {name: {"mpjpe_mm/fit": 1.0} for name in each.inputs.dataset.names}),
            )
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(fits, "_fit", stopped)
        with pytest.raises(KeyboardInterrupt):
            suite("--seeds=2")
    said, lines, folder = suite("--seeds=2")
    assert "4 fits, 3 of them finished before" in said
    assert "lens unknown" in said and "lens unknown" in (folder / "table.md").read_text()
    assert [(line.action, line.values["clips"], line.values["seeds"]) for line in lines] == [
        ("nod", 2, 2),
        ("sway", 2, 2),
        ("mean", 4, 2),
    ]
    # Only the last fit, of sway, is a real one.
    assert lines[0].values["mpjpe_mm/fit"] == 1 and 5 < lines[1].values["mpjpe_mm/fit"] < 500
    for key in ("w_mpjpe_mm/fit", "focal_error", "worse_than_init", "spread", "worst", "loss"):
        assert np.isfinite(lines[-1].values[key]), key
    assert sorted(path.name for path in folder.glob("[tf]*")) == [
        "figure.png",
        "frames",
        "table.csv",
        "table.json",
        "table.md",
    ]

    monkeypatch.setattr(fits, "_fit", None)
    said, again, _ = suite("--seeds=2")
    assert "4 of them finished before" in said and again == lines
    monkeypatch.undo()

    asked = []
    monkeypatch.setattr(fits, "_fit", lambda group, *_: asked.extend(group) or [])
    with pytest.raises(KeyError):
        suite("--seeds=2", "--variants=lens:focal_guess=0.7", "--initial_poses=both", "--actions=nod")
    cells = {(each.cell.action, each.cell.variant, each.cell.poses, each.cell.seed) for each in asked}
    assert cells == {
        ("nod", variant, poses, seed)
        for variant, poses in (("default", mocap.WITHOUT), ("lens", mocap.WITH), ("lens", mocap.WITHOUT))
        for seed in (0, 1)
    }
    assert all(not each.inputs.dataset.clips.init_mask.any() for each in asked if each.cell.poses == mocap.WITHOUT)
    assert all(np.isnan(each.inputs.dataset.clips.focal_length).all() for each in asked)
    asked.clear()
    # Other numbers of the simulation and of the fit are other fits, under the same names.
    with pytest.raises(KeyError):
        suite("--seeds=1", "--observe.noise_px=9")
    assert len(asked) == 2
    with pytest.raises(KeyError):
        suite("--seeds=1", "--fit.robust_scale=45")
    assert len(asked) == 4


def test_fits_that_diverge_are_counted_and_not_repeated(suite, monkeypatch):
    class Programs:
        seconds = 0.0
        of = staticmethod(lambda job: job)

    def diverge(lanes, position, programs, console, seconds, failed):
        for number in list(lanes):
            del lanes[number]
            failed(number, UserError("the fit diverged"))

    monkeypatch.setattr(fits, "compile_together", lambda jobs, *_: (Programs, 2, Padding(None, 32)))
    monkeypatch.setattr(fits.machine, "run", diverge)
    arguments = ("--seeds=1", "--presets=", "--variants=wild:lr_field=10")
    said, lines, folder = suite(*arguments)
    assert said.count("failed: the fit diverged") == 2
    assert [(line.values["failed"], line.values["seeds"]) for line in lines] == [(1, 1), (1, 1), (2, 1)]
    assert "mpjpe_mm/fit" not in lines[0].values and "| nod | wild | 0 | 1 | 1 |" in (folder / "table.md").read_text()
    said, again, _ = suite(*arguments)
    assert "2 of them finished before" in said and again == lines


def test_unknown_actions_are_named(suite):
    with pytest.raises(UserError, match=r"--actions=nodd is not in .*, which holds nod, sway"):
        suite("--actions=nodd")


# --- annotated clips ---


def test_clips_are_left_out_evenly():
    assert penn.left_out(10, 4) == [0, 3, 6, 9]
    assert penn.left_out(3, 8) == [0, 1, 2]
    assert penn.left_out(1, 4) == penn.left_out(5, 0) == []


def test_an_unseen_clip_is_scored_by_the_field_of_the_others(tiny_suite, without_truth, tmp_path, monkeypatch):
    flags = (
        "--suite=penn",
        f"--data_dir={without_truth}",
        "--actions=throw",
        "--seeds=1",
        "--leave_out=1",
        *JOINT_ALONE,
    )
    fields, score = [], penn._score_unseen

    def kept(own, alone, fit):
        fields.append((own.dataset.names, fit.dataset.names))
        return score(own, alone, fit)

    monkeypatch.setattr(penn, "_score_unseen", kept)
    said, lines = tiny_suite(*flags, f"--output_dir={tmp_path}", "--fit.lift_steps=4", "--fit.lift_frames=4")
    assert "2 fits; " in said
    ((alone, others),) = fields
    assert len(alone) == 1 and len(others) == 2 and not set(alone) & set(others)
    values = lines[0].values
    assert (values["clips"], values["seeds"]) == (3, 1)
    assert 0 <= values["unseen_pck_0.05/fit"] <= 1 and 0 <= values["heldout_pck_0.05/fit"] <= 1
    stored = json.loads((tmp_path / "table.json").read_text())["fits"]
    assert [set(fit["each"]) for fit in stored] == [{*others, *alone}, set(alone)]
    assert stored[1]["cell"]["without"] == alone[0]
