"""The command line: presets and overrides, the help page, sentences for what is wrong."""

import dataclasses
from pathlib import Path

import pytest
from absl import flags as absl_flags

from experiments import configs
from experiments.base.errors import UserError
from experiments.commands import fit as flags
from experiments.fitting.settings import Settings, check
from nemo_jax import options
from nemo_jax.config import FitConfig
from nemo_jax.field import KERNELS
from nemo_jax.losses import KEYPOINT_LOSSES

ROOT = Path(__file__).parents[3]


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
        (["--action=a", "--fit.hidden=0"], ["--fit.hidden=0", "from 1 to 16384"]),
        (["--action=a", "--fit.lr_field=-1"], ["--fit.lr_field=-1", "from 0 to 10"]),
        (["--action=a", "--fit.lr_field=nan"], ["--fit.lr_field=nan is not understood", "a number from 0 to 10"]),
        (["--action=a", "--fit.robust_scale=0"], ["--fit.robust_scale=0", "from 0.001 to"]),
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


def test_every_field_says_what_it_is_and_in_what_range():
    for name, known in options.of(FitConfig).items():
        assert len(known.help) > 5 and known.group, name
        if known.kind in (int, float):
            assert known.least is not None or known.above is not None, name
            assert known.most is not None, name
    assert list(options.of(FitConfig)) == [field.name for field in dataclasses.fields(FitConfig)]


def test_choices_are_those_that_the_method_knows():
    assert options.of(FitConfig)["kernel"].choices == tuple(KERNELS)
    assert options.of(FitConfig)["keypoint_loss"].choices == KEYPOINT_LOSSES


@pytest.mark.parametrize("preset", configs.names())
def test_presets_lie_in_the_ranges(preset):
    assert list(options.problems(configs.get(preset))) == []


# Which `int` and `float` take, and people do not mean.
ODD = (
    "１",
    "1_000",
    "0x10",
    " 5 ",
    "5 ",
    "1e400",
    "-1e400",
    "nan",
    "inf",
    "-inf",
    "Infinity",
    "1,5",
    "٣",
    "1e",
    "",
    "9" * 5000,
)
NUMBERS = [
    *(f"fit.{name}" for name, known in options.of(FitConfig).items() if known.kind in (int, float)),
    *(name for name, known in options.of(Settings).items() if known.kind in (int, float)),
]


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_plain_decimals(name):
    for text in ODD:
        with pytest.raises(UserError, match=rf"^--{name}=.* is not understood; expected a (whole )?number") as error:
            parse("--action=a", f"--{name}={text}")
        assert "\n" not in str(error.value) and len(str(error.value)) < 400


@pytest.mark.parametrize("name", NUMBERS)
def test_no_number_is_without_bounds(name):
    for text in ("99999999999", "-99999999999", "1" + "0" * 17):
        with pytest.raises(UserError, match=rf"^--{name}=.* is out of range; give a (whole )?number") as error:
            parse("--action=a", f"--{name}={text}")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", ["1e30", "-1e-30", "1e308"])
def test_what_no_optimiser_survives_is_refused_at_once(value):
    with pytest.raises(UserError, match=r"--fit.lr_field=.* is out of range; give a number from 0 to 10$"):
        parse("--action=a", f"--fit.lr_field={value}")


def test_values_that_stand_for_something():
    assert parse("--action=a", "--fit.batch_size=-1").fit.batch_size == -1
    with pytest.raises(UserError, match="from 1 to 100000, or -1 for all frames"):
        parse("--action=a", "--fit.batch_size=-2")


def test_settings_made_by_programs_are_checked_too():
    for changes, message in (
        ({"lr_field": float("nan")}, "--fit.lr_field=nan is not finite"),
        ({"hidden": 2.0}, "--fit.hidden=2.0 is not understood; expected a whole number from 1 to 16384"),
        ({"hidden": True}, "--fit.hidden=true is not understood"),
        ({"plateau": 1}, "--fit.plateau=1 is not understood; expected true or false"),
        ({"kernel": None}, "--fit.kernel=None is not understood; expected one of gaussian, "),
    ):
        with pytest.raises(UserError, match=message):
            check(Settings("a", fit=dataclasses.replace(FitConfig(), **changes)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--action=.hid"], r"--action=\.hid is not a name \(it begins with a dot\); give one such as baseball_pitch"),
        (["--action=a,.hid"], "--action=a,.hid is not a name"),
        (["--action=a\\b"], "cannot be in the name of a folder"),
        (["--action=a\nb"], r"--action=a\\nb is not a name \('\\n' cannot be"),
        (["--action=" + "a" * 201], r"--action=aaa.*\.\.\. is not a name \(it has 201 bytes"),
        (["--action=" + "\N{HIRAGANA LETTER A}" * 70], r"it has 210 bytes, and the name of its folder can have 200"),
        (["--action=a\udcff"], "--action=.* is not understood"),
        (["--action=a", "--output_dir=" + "b" * 256], r"--output_dir=b.* has a name of 256 bytes in it"),
        (["--action=a", "--output_dir=" + "b/" * 1800], r"is a path of \d+ bytes, and no more than 3400"),
        (["--action=a", "--output_dir=a\0b"], "is not a path: it has a NUL in it"),
        (["--action=a", "--init=x", "--init=" + "b" * 256], "--init=x,b.* has a name of 256 bytes"),
        (["--action=a", "--image_size=１920x1080"], "--image_size=.* is not understood"),
        (["--action=a", "--image_size=99999999x1"], "--image_size=.* is not understood"),
        (["--action=a", "--person=１"], "--person=１ is not understood; expected digits from 0 to 9"),
    ],
)
def test_names_that_no_folder_can_have_are_refused_at_once(arguments, message):
    with pytest.raises(UserError, match=message) as error:
        parse(*arguments)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400
    str(error.value).encode()


def test_names_in_any_script_are_names():
    assert parse("--action=lancé de poids").action == "lancé de poids"
    assert parse("--action=" + "a" * 200).action == "a" * 200
    assert parse("--action=a", "--person=Zoë２=2").person == "Zoë２=2"


def test_help_needs_no_source_and_no_docstrings(run_py):
    page = run_py("--help")
    assert page.returncode == 0
    bare = run_py("-OO", str(ROOT / "run.py"), "--help", script=())
    assert (bare.returncode, bare.stdout, bare.stderr) == (0, page.stdout, "")


def test_help_imports_nothing_of_a_fit(run_py):
    code = "import sys; sys.argv = ['run.py', '--help']\ntry:\n    import run; run.main()\nexcept SystemExit: pass\n"
    code += "print([m for m in ('flax', 'chex', 'optax', 'rich', 'matplotlib', 'ml_collections') if m in sys.modules])"
    assert run_py(script=("-c", code)).stdout.splitlines()[-1] == "[]"
