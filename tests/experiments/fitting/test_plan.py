"""Which fits a command line stands for, and where each one's results go."""

import dataclasses
from pathlib import Path

import pytest
from absl import flags as absl_flags

from experiments.base.errors import UserError
from experiments.commands import fit
from experiments.data import neutral
from experiments.fitting import plan as many_plan
from experiments.loaders import registry


def plan(*arguments):
    return many_plan.plan(fit.parse(["run.py", *arguments], absl_flags.FlagValues()))


def folders(*arguments):
    return [str(planned.folder) for planned in plan(*arguments)]


def test_one_fit_is_its_own_plan():
    (only,) = plan("--action=baseball_pitch")
    assert only.settings.output == Path("results/baseball_pitch")
    assert only.settings.overlay


def test_folders_of_actions_seeds_and_sweeps():
    assert folders("--action=a,b") == ["results/a", "results/b"]
    assert folders("--action=a", "--num_seeds=2", "--seed=3") == ["results/a/seed_3", "results/a/seed_4"]
    assert folders("--action=a", "--sweep=fit.lr_field=1e-4,3e-4") == [
        "results/a/lr_field=0.0001",
        "results/a/lr_field=0.0003",
    ]
    assert folders("--action=a,b", "--num_seeds=2", "--sweep=hidden=8", "--output_dir=o") == [
        f"o/{action}/seed_{seed}/hidden=8" for action in "ab" for seed in (0, 1)
    ]


def test_sweeps_multiply_and_keep_the_types_of_their_fields():
    fits = plan("--action=a", "--sweep=fit.lr_field=1e-4,1", "--sweep=fit.plateau=true,false", "--fit.hidden=16")
    values = [(planned.settings.fit.lr_field, planned.settings.fit.plateau) for planned in fits]
    assert values == [(1e-4, True), (1e-4, False), (1.0, True), (1.0, False)]
    assert {type(lr) for lr, _ in values} == {float}
    assert all(planned.settings.fit.hidden == 16 for planned in fits)
    assert fits[0].name == "a, seed 0, lr_field=0.0001, plateau=True"


def test_each_is_planned_as_if_alone():
    drawn = ("--overview", "--overlay", "--figures", "--viewer", "--report")
    first, second = plan("--action=a", "--num_seeds=2", "--fits_per_batch=1", *drawn)
    for seed, planned in enumerate((first, second)):
        alone = fit.parse(
            ["run.py", "--action=a", f"--seed={seed}", f"--output_dir=results/a/seed_{seed}"], absl_flags.FlagValues()
        )
        assert planned.settings == alone


def test_each_fit_has_all_the_starts_in_one_folder():
    assert [planned.settings.starts for planned in plan("--action=a,b", "--starts=3", "--num_seeds=2")] == [3] * 4
    assert plan("--action=a")[0].settings.starts is None
    assert folders("--action=a", "--starts=3") == ["results/a"]


def test_films_are_drawn_of_several_fits_only_when_asked_for():
    assert not plan("--action=a,b")[0].settings.overlay
    assert plan("--action=a,b", "--overlay")[0].settings.overlay


def test_all_actions_of_a_folder(tmp_path, tiny_dataset):
    for action in ("serve", "throw"):
        neutral.write(dataclasses.replace(tiny_dataset, action=action), tmp_path)
    assert registry.actions(str(tmp_path)) == ["serve", "throw"]
    assert folders("--action=all", f"--data_dir={tmp_path}") == ["results/serve", "results/throw"]
    assert folders("--action=all") == ["results/baseball_pitch"]


ODD = ("１", "1_000", "0x10", "nan", "inf", "٣")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--sweep=lr_feild=1"], ["lr_feild", "did you mean fit.lr_field"]),
        (["--sweep=lr_field"], ["expected a field and its values"]),
        (["--sweep=lr_field=1,x"], ["x is not understood", "a number"]),
        (["--sweep=hidden=1.5"], ["1.5", "a whole number"]),
        *(
            (["--sweep=fit.hidden=8," + odd], [odd, "is not understood", "a whole number from 1 to 16384"])
            for odd in ODD
        ),
        *(
            (["--sweep=lr_field=1e-3," + odd], [odd, "is not understood", "a number from 0 to 10"])
            for odd in (*ODD, "1e400")
        ),
        (["--sweep=lr_field=1e-3,1e30"], ["--fit.lr_field=1e+30", "is out of range", "from 0 to 10"]),
        (["--sweep=hidden=99999999999"], ["--fit.hidden=99999999999", "from 1 to 16384"]),
        (["--num_seeds=100000", "--sweep=hidden=1,2"], ["200000 fits", "100000"]),
        (["--sweep=plateau=maybe"], ["maybe", "true or false"]),
        (["--sweep=kernel=gaussian,cubic"], ["--fit.kernel=cubic", "is not one of"]),
        (["--sweep=lift=true"], ["lift is not a field"]),
        (["--sweep=lr_field=1,1.0"], ["has 1.0 twice"]),
        (["--sweep=lr_field=1", "--sweep=fit.lr_field=2"], ["swept twice"]),
        (["--action=a,a"], ["names a twice"]),
        (["--action=a,"], ["is not a name"]),
        (["--starts=0"], ["--starts=0", "from 1 to 1000"]),
        (["--starts=1001"], ["--starts=1001", "from 1 to 1000"]),
        (["--starts=two"], ["--starts=two", "a whole number"]),
        (["--starts=1000", "--num_seeds=101"], ["101 fits", "--starts=1000", "100000"]),
        (["--num_seeds=0"], ["--num_seeds=0", "from 1 to 100000"]),
        (["--num_seeds=2", f"--seed={2**32 - 1}"], ["goes beyond"]),
        (["--action=all", "--videos=x"], ["--action=all needs --data_dir"]),
        (["--action=a,b", "--videos=x"], ["--videos=x shows one"]),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(arguments, parts):
    with pytest.raises(UserError) as error:
        plan("--action=a", *arguments)
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert part in message
