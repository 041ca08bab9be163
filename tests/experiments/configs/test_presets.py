import dataclasses

import pytest

from experiments import configs
from experiments.base.errors import UserError
from experiments.fitting import inputs
from experiments.fitting.settings import Settings, check
from nemo_jax import stages
from nemo_jax.config import FitConfig
from nemo_jax.priors import Priors

PAPER = ["paper_v1", "paper_v2", "paper_v3", "paper_v4"]


def test_presets_are_listed_and_described():
    assert configs.names() == ("default", *PAPER)
    assert all(configs.summary(name).endswith(".") for name in configs.names())
    assert configs.get("default") == FitConfig()


def test_what_tells_the_published_versions_apart():
    v1, v2, v3, v4 = (configs.get(name) for name in PAPER)
    differ = lambda a, b: {k for k, v in dataclasses.asdict(a).items() if dataclasses.asdict(b)[k] != v}
    assert differ(v1, v2) == {"features"}
    assert differ(v2, v3) == {"weight_init", "weight_code", "lr_phase"}
    assert differ(v3, v4) == {"camera_joint", "head_keypoint"}


@pytest.mark.parametrize("name", PAPER)
def test_published_numbers(name):
    config = configs.get(name)
    assert (config.warmup_steps, config.camera_steps, config.joint_steps, config.batch_size) == (300, 1000, 2000, 512)
    assert (config.lr_camera, config.lr_field, config.lr_code, config.weight_decay) == (0.1, 1e-4, 1e-3, 1e-3)
    assert (config.weight_vposer, config.weight_vposer_z, config.weight_gmm) == (10.0, 1.0, 1.0)
    assert (config.focal_fixed, config.hidden, config.num_centres, config.phase_nodes) == (5000.0, 1000, 100, 200)
    # Nothing that came after the paper.
    assert (config.lens_starts, config.lr_focal, config.lr_span, config.rescue_steps) == (0,) * 4
    assert config.exchange_price == 0
    assert [stage.name for stage in stages.stages(dataclasses.replace(config, lift=False))] == [
        "warmup",
        "camera",
        "joint",
    ]
    assert inputs.load_priors(Settings(action="a", preset=name, fit=config)) == Priors()


@pytest.mark.parametrize("missing", ["body_model", "vposer", "gmm"])
def test_a_missing_licensed_file_is_named(missing):
    given = {name: "somewhere" for name in ("body_model", "vposer", "gmm") if name != missing}
    settings = Settings(action="a", preset="paper_v2", fit=configs.get("paper_v2"), **given)
    with pytest.raises(UserError, match=rf"--preset=paper_v2 needs --{missing}, .* get it from https://") as caught:
        check(settings)
    assert "\n" not in str(caught.value)


def test_the_default_needs_no_licensed_file():
    assert check(Settings(action="a")) is None
    assert (
        check(
            Settings(action="a", preset="paper_v2", fit=dataclasses.replace(configs.get("paper_v2"), prior_set="open"))
        )
        is None
    )
