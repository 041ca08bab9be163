"""The command line: presets and overrides, the help page, sentences for what is wrong."""

import dataclasses

import pytest
from absl import flags as absl_flags

from experiments import configs
from experiments.base.errors import UserError
from experiments.commands import fit as flags
from experiments.commands import flag_text
from nemo_jax.config import FitConfig


def parse(*arguments):
    return flags.parse(["run.py", *arguments], absl_flags.FlagValues())


def test_defaults():
    settings = parse("--action=baseball_pitch")
    assert settings.fit == FitConfig()
    assert str(settings.output) == "results/baseball_pitch"
    assert settings.resume
    assert settings.holdout is None


@pytest.mark.parametrize(
    ("argument", "field", "value"),
    [
        ("--fit.hidden=64", "hidden", 64),
        ("--fit.lr_field=2e-4", "lr_field", 2e-4),
        ("--fit.weight_init=3", "weight_init", 3.0),
        ("--fit.camera_search=false", "camera_search", False),
        ("--nofit.camera_search", "camera_search", False),
        ("--fit.code_noisy", "code_noisy", True),
        ("--fit.init_space=axis_angle", "init_space", "axis_angle"),
        ("--fit.batch_size=-1", "batch_size", -1),
        ("--fit.log_scale=-2", "log_scale", -2.0),
    ],
)
def test_every_kind_of_field_can_be_set(argument, field, value):
    fit = parse("--action=a", argument).fit
    assert getattr(fit, field) == value
    assert type(getattr(fit, field)) is type(getattr(FitConfig(), field))
    assert dataclasses.replace(fit, **{field: getattr(FitConfig(), field)}) == FitConfig()


@pytest.mark.parametrize(
    "field", [f.name for f in dataclasses.fields(FitConfig) if f.name not in flags.DECIDED], ids=lambda name: name
)
def test_every_field_takes_its_own_default(field):
    default = getattr(FitConfig(), field)
    text = str(default).lower() if isinstance(default, bool) else default
    assert parse("--action=a", f"--fit.{field}={text}").fit == FitConfig()


def test_overrides_apply_to_the_preset_whatever_the_order(monkeypatch):
    monkeypatch.setattr(configs, "get", lambda name: FitConfig(hidden={"default": 256, "small": 16}[name], code_size=2))
    expected = FitConfig(hidden=16, code_size=3)
    assert parse("--action=a", "--preset=small", "--fit.code_size=3").fit == expected
    assert parse("--fit.code_size=3", "--preset", "small", "--action=a").fit == expected
    assert parse("--action=a", "--preset=default", "--preset=small", "--fit.code_size=3").fit == expected


def test_the_last_of_several_values_counts():
    assert parse("--action=a", "--fit.hidden=5", "--fit.hidden=6").fit.hidden == 6


@pytest.mark.parametrize("name", configs.names())
def test_presets_say_what_they_are(name):
    assert isinstance(configs.get(name), FitConfig)
    document = configs._module(name).__doc__
    for word in ("Command:", "Expected accuracy:", "Expected time:", "python run.py"):
        assert word in document


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["--action is missing"]),
        (["--action=a", "view"], ["'view'", "flags such as"]),
        (["--actoin=a"], ["--actoin is not a flag", "did you mean --action"]),
        (["--action=../up"], ["--action=../up is not a name"]),
        (["--action=a", "--fit.lr_feild=1"], ["--fit.lr_feild is not a field", "did you mean --fit.lr_field"]),
        (["--action=a", "--fit.nothing_like_it=1"], ["--fit.nothing_like_it is not a field", "--help"]),
        (["--action=a", "--fit.lift=true"], ["--fit.lift is decided by the clips"]),
        (["--action=a", "--fit.hidden=wide"], ["--fit.hidden=wide", "a whole number"]),
        (["--action=a", "--fit.lr_field=fast"], ["--fit.lr_field=fast", "a number"]),
        (["--action=a", "--fit.camera_search=perhaps"], ["--fit.camera_search=perhaps", "true or false"]),
        (["--action=a", "--fit.hidden=0"], ["--fit.hidden=0", "1 or more"]),
        (["--action=a", "--fit.lr_field=-1"], ["--fit.lr_field=-1", "0 or more"]),
        (["--action=a", "--fit.lr_field=nan"], ["--fit.lr_field=nan is not finite"]),
        (["--action=a", "--fit.robust_scale=0"], ["--fit.robust_scale=0", "above 0"]),
        (["--action=a", "--fit.kernel=gausian"], ["--fit.kernel=gausian", "did you mean gaussian"]),
        (["--action=a", "--fit.keypoint_loss=l1"], ["--fit.keypoint_loss=l1", "mse_robust"]),
        (["--action=a", "--fit.batch_size=0"], ["--fit.batch_size=0", "-1 for all"]),
        (["--action=a", "--fit.schedule"], ["--fit.schedule"]),
        (["--action=a", "--fit=1"], ["--fit"]),
        (["--action=a", "--preset=defualt"], ["--preset=defualt is not a preset", "did you mean default"]),
        (["--action=a", "--preset"], ["--preset= is not a preset"]),
        (["--action=a", "--seed=-1"], ["--seed=-1", "from 0"]),
        (["--action=a", "--seed=many"], ["--seed=many", "a whole number"]),
        (["--action=a", "--accelerator=npu"], ["--accelerator=npu", "auto, cpu, gpu, tpu"]),
        (["--action=a", "--holdout=1"], ["--holdout=1", "from 0 up to"]),
        (["--action=a", "--resume=maybe"], ["--resume=maybe", "true or false"]),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(arguments, parts):
    with pytest.raises(UserError) as error:
        parse(*arguments)
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_help_lists_every_flag_and_field_with_its_comment(capsys):
    with pytest.raises(SystemExit) as stop:
        parse("--help")
    assert stop.value.code == 0
    page = capsys.readouterr().out
    assert max(map(len, page.splitlines())) <= 100
    for flag in ("--action=", "--data_dir=", "--accelerator=auto|cpu|gpu|tpu", "--resume=", "--holdout="):
        assert flag in page
    for field in dataclasses.fields(FitConfig):
        assert (f"--fit.{field.name}=" in page) == (field.name not in flags.DECIDED)
    assert "width of the field's layers" in page
    assert "default: Fits any action" in page
    assert "logtostderr" not in page


def test_help_comes_before_complaints(capsys):
    with pytest.raises(SystemExit):
        parse("--nonsense", "--help")
    assert "Fields of the fit" in capsys.readouterr().out


def test_every_field_has_a_comment_or_a_telling_name():
    comments = {
        field: text for section in flag_text.field_comments(FitConfig).values() for field, text in section.items()
    }
    assert set(comments) == {field.name for field in dataclasses.fields(FitConfig)}
    assert sum(1 for text in comments.values() if text) > len(comments) / 2
