"""The commands from flags to pictures on a tiny run, and one sentence for what a user can mend."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from experiments.base.errors import UserError
from experiments.gradients import hypergradients, influence, inputs, uncertainty


@pytest.fixture
def flags(monkeypatch):
    """Gives a command its flags."""
    return lambda *given: monkeypatch.setattr("sys.argv", ["program", *map(str, given)])


def check_picture(path):
    picture = np.asarray(Image.open(path).convert("RGB"))
    assert picture.shape[1] > 800
    assert (picture.reshape(-1, 3).std(0) > 5).all()


def test_influence(flags, saved_run, tmp_path, capsys):
    flags(f"--results={saved_run}", f"--output_dir={tmp_path}", "--directions=3", "--instance=pitch_1", "--phase=0.3")
    influence.main()
    check_picture(tmp_path / "influence.png")
    text = capsys.readouterr().out
    assert "What pulls pitch_1" in text and "mm per px" in text
    assert "nan" not in text


def test_uncertainty(flags, saved_run, tmp_path, capsys):
    flags(f"--results={saved_run}", f"--output_dir={tmp_path}", "--directions=3", "--samples=20")
    uncertainty.main()
    check_picture(tmp_path / "uncertainty.png")
    text = capsys.readouterr().out
    assert "along the ray" in text
    # Read back from a folder, the clips have their truth; cameras decide whether it can be used.
    assert "calibrate" in text or "within 2" in text
    assert "nan" not in text


def test_hypergradient_picture(tmp_path):
    names = ("weight_init", "lr_field")
    rounds = [
        {
            "validation": 10 - i,
            "test": 11 - i,
            "hyper": dict.fromkeys(names, 1.0 + i),
            "slope": dict.fromkeys(names, -0.5),
        }
        for i in range(3)
    ]
    figure = hypergradients.draw(rounds, names, 200)
    errors, paths, slopes = figure.axes
    np.testing.assert_array_equal(errors.lines[0].get_ydata(), [10, 9, 8])
    np.testing.assert_array_equal(paths.lines[1].get_ydata(), [1, 2, 3])
    assert [patch.get_width() for patch in slopes.patches] == [-0.5, -0.5]


@pytest.mark.parametrize(
    ("module", "flag", "words"),
    [
        (influence, "--joint=wing", ["--joint=wing", "right_wrist"]),
        (influence, "--phase=2", ["--phase=2", "0 to 1"]),
        (influence, "--spread=0", ["--spread=0", "above 0"]),
        (uncertainty, "--joints=wing", ["--joints=wing", "right_wrist"]),
        (uncertainty, "--samples=1", ["--samples=1", "from 2 to"]),
        (uncertainty, "--directions=0", ["--directions=0", "from 1 to"]),
        (uncertainty, "--joints=", ["--joints=", "names none"]),
        (uncertainty, "--samples=１", ["--samples=１", "a whole number from 2"]),
        (influence, "--spread=1e30", ["--spread=1e+30", "out of range"]),
        (influence, "--jiont=nose", ["--jiont is not a flag", "did you mean --joint"]),
        (hypergradients, "--seed=1_0", ["--seed=1_0", "a whole number"]),
        (hypergradients, "--steps=0", ["--steps=0", "from 1 to"]),
    ],
)
def test_bad_flags(flags, module, flag, words):
    flags(flag)
    with pytest.raises(UserError) as error:
        module.parse()
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("module", [influence, uncertainty, hypergradients])
def test_help_lists_the_shared_flags_and_its_own(flags, module, capsys):
    flags("--help")
    with pytest.raises(SystemExit) as end:
        module.parse()
    page = capsys.readouterr().out
    assert end.value.code == 0
    assert f"python -m experiments.gradients.{module.__name__.split('.')[-1]}" in page
    settings = next(kind for name, kind in vars(module).items() if name.endswith("Settings"))
    for field in dataclasses.fields(settings):
        assert f"  --{field.name}=" in page
    assert "(default results/gradients)" in page and max(map(len, page.splitlines())) <= 100


def test_errors_are_one_sentence(monkeypatch, capsys):
    # Which would set up the whole process.
    monkeypatch.setattr(inputs.devices, "choose", lambda _: "")
    monkeypatch.setattr(inputs.devices, "keep_compiled", lambda: None)
    monkeypatch.setattr(inputs.stopping, "end_on_signals", lambda: None)

    def fail():
        raise UserError("--results=nowhere: there is no such folder")

    with pytest.raises(SystemExit) as end:
        inputs.command(fail)
    assert end.value.code == 2
    assert capsys.readouterr().err == "error: --results=nowhere: there is no such folder\n"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"prior_set": "published"}, ["published priors", "default preset"]),
        ({"keypoint_loss": "rmse_robust"}, ["rmse_robust", "--fit.keypoint_loss"]),
    ],
)
def test_runs_whose_loss_is_no_sum_of_squares(saved_run, tmp_path, change, words):
    folder = tmp_path / "run"
    shutil.copytree(saved_run, folder)
    config = json.loads((folder / "config.json").read_text())
    config["fit"].update(change)
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError) as error:
        inputs.load(str(folder), tmp_path, None)
    for word in (str(folder), *words):
        assert word in str(error.value)


def test_a_clip_that_is_not_there(tiny_dataset):
    with pytest.raises(UserError, match=r"--instance=nobody is not one of pitch_0, pitch_1"):
        influence.find_target(tiny_dataset, None, "nobody", 0.5, "nose")
