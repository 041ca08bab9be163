"""The package that pip installs and the names that it shows."""

import ast
import dataclasses
import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
import textwrap
import zipfile
from email import message_from_string
from pathlib import Path

import jax
import numpy as np
import pytest
from packaging.requirements import Requirement

import nemo_jax
from nemo_jax import model
from tests.nemo_jax import helpers

ROOT = Path(__file__).parents[1]
PACKAGES = ("nemo_jax", "body_models", "experiments")
# What may lie in the packages without being installed: notes for those who build the open body.
LEFT_OUT = {"body_models/open_body/requirements-build.txt"}


def python(*arguments, path, cwd):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    command = [sys.executable, "-P", *arguments]
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


# --- the wheel ---


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of a copy of this folder, opened."""
    folder = tmp_path_factory.mktemp("wheel")
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=ignore)
    for file in (
        *ROOT.glob("requirements*.txt"),
        *(ROOT / n for n in ("pyproject.toml", "setup.py", "README.md", "LICENSE")),
    ):
        shutil.copy(file, folder / "source")
    code = f"from setuptools import build_meta; print(build_meta.build_wheel({str(folder)!r}))"
    done = python("-c", code, path=(), cwd=folder / "source")
    assert done.returncode == 0, done.stderr[-2000:]
    with zipfile.ZipFile(folder / done.stdout.splitlines()[-1]) as archive:
        yield archive


def metadata(wheel):
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return message_from_string(wheel.read(name).decode())


def test_the_wheel_holds_the_packages_and_nothing_else(wheel):
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()]
    expected = {path.relative_to(ROOT).as_posix() for path in files if path.suffix != ".pyc"}
    # Scripts that build the open body lie in a folder of data, which is no package.
    scripts = {name for name in expected if name.startswith("body_models/open_body/") and name.endswith(".py")}
    assert packed == expected - LEFT_OUT - scripts
    assert {
        "nemo_jax/py.typed",
        "body_models/open_body/open_body.npz",
        "experiments/show/viewer/web/page.html",
    } <= packed
    assert any(name.endswith("licenses/LICENSE") for name in wheel.namelist())


def names_of(lines):
    return sorted(re.match(r"[\w.-]+", line)[0].lower().replace("_", "-") for line in lines)


def test_it_needs_what_the_requirements_files_list(wheel):
    lines = metadata(wheel).get_all("Requires-Dist")
    base = [line for line in lines if "extra ==" not in line]
    read = lambda name: [line.split("#")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    listed = lambda name: [line for line in read(name) if line and not line.startswith("-r")]
    assert names_of(base) == names_of(listed("requirements.txt"))
    for extra in ("video", "dev", "oracle", "benchmarks"):
        wanted = listed(f"requirements-{extra}.txt") + (listed("requirements-dev.txt") if extra == "oracle" else [])
        found = [line for line in lines if re.search(f"extra == .{extra}.", line)]
        # It would be installed over this project's own package of the same import name.
        assert names_of(found) == names_of(line for line in wanted if not line.startswith("body-models"))
    assert set(metadata(wheel).get_all("Provides-Extra")) == {"video", "dev", "oracle", "benchmarks"}
    litert = next(Requirement(line) for line in lines if line.startswith("ai-edge-litert"))
    (written,) = [Requirement(line) for line in listed("requirements-video.txt")]
    assert litert.specifier == written.specifier


def test_its_version_and_command(wheel):
    assert metadata(wheel)["Version"] == nemo_jax.__version__
    (name,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    match = re.search(r"nemo-jax = ([\w.]+):(\w+)", wheel.read(name).decode())
    assert callable(getattr(importlib.import_module(match[1]), match[2]))


def test_the_installed_packages_work_in_another_folder(wheel, tmp_path):
    wheel.extractall(tmp_path / "site")
    (tmp_path / "other").mkdir()
    code = "import nemo_jax; print(nemo_jax.__file__, nemo_jax.load_body().num_vertices, callable(nemo_jax.fit))"
    done = python("-c", code, path=[tmp_path / "site"], cwd=tmp_path / "other")
    assert done.stdout.split() == [str(tmp_path / "site" / "nemo_jax" / "__init__.py"), "6773", "True"], done.stderr
    code = "from experiments.commands.entry import main; main()"
    done = python("-c", code, "--help", path=[tmp_path / "site"], cwd=tmp_path / "other")
    assert done.returncode == 0 and "--action=" in done.stdout, done.stderr


# --- another package of the same name ---


@pytest.fixture(
    params=["VERSION = 1", "import a_module_that_is_not_there", None], ids=["other", "broken", "folder without code"]
)
def other_body_models(request, tmp_path):
    """Paths on which another `body_models` hides this project's."""
    (tmp_path / "other" / "body_models").mkdir(parents=True)
    if request.param is not None:
        (tmp_path / "other" / "body_models" / "__init__.py").write_text(request.param)
    (tmp_path / "ours").mkdir()
    for package in ("nemo_jax", "experiments"):
        (tmp_path / "ours" / package).symlink_to(ROOT / package)
    return [tmp_path / "other", tmp_path / "ours"]


def test_importing_names_the_other_package(other_body_models, tmp_path):
    done = python("-c", "import nemo_jax", path=other_body_models, cwd=tmp_path)
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1 and last.startswith("ImportError: `import body_models` finds ")
    assert "such as body-models of PyPI" in last and ("__init__.py" in last or "a folder without code" in last)


def test_the_command_names_the_other_package_in_one_sentence(other_body_models, tmp_path):
    code = "from experiments.commands.entry import main; main()"
    done = python("-c", code, "--action=a", path=other_body_models, cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: `import body_models` finds ")


# --- the names ---


def test_every_name_is_there_and_documented():
    assert nemo_jax.__all__ == sorted(nemo_jax.__all__, key=lambda n: (not n.isupper(), not n[0].isupper(), n))
    for name in nemo_jax.__all__:
        value = getattr(nemo_jax, name)
        assert name == "__version__" or inspect.getdoc(value), name
    assert not inspect.ismodule(nemo_jax.fit)
    assert set(nemo_jax.__all__) == {*nemo_jax._MODULES, *nemo_jax._HOME_OF, "__version__"}
    assert set(nemo_jax.__all__) <= set(dir(nemo_jax))
    with pytest.raises(AttributeError, match="no attribute 'fti'"):
        _ = nemo_jax.fti


def test_type_checkers_see_the_same_names():
    """They read the imports of the package, which run for them alone."""
    (block,) = [
        node
        for node in ast.parse(Path(nemo_jax.__file__).read_text()).body
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
    ]
    homes = {node.module: tuple(alias.name for alias in node.names) for node in block.body}
    assert homes == nemo_jax._HOMES | {"nemo_jax": nemo_jax._MODULES}


def test_the_page_lists_exactly_the_names():
    page = (ROOT / "docs" / "api.md").read_text()
    listed = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert sorted(listed) == sorted(nemo_jax.__all__)


def test_one_example_stands_in_readme_page_and_docstring():
    blocks = [
        re.search(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)[1]
        for page in ("README.md", "docs/api.md")
    ]
    assert blocks[0] == blocks[1]
    assert textwrap.indent(blocks[0], "    ") in nemo_jax.__doc__
    used = {
        node.attr
        for node in ast.walk(ast.parse(blocks[0]))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "nemo_jax"
    }
    assert used <= set(nemo_jax.__all__)


def test_importing_brings_no_files_or_pictures(tmp_path):
    code = "import sys; from nemo_jax import *; print(sorted({'experiments', 'matplotlib', 'PIL', 'av'} & set(sys.modules)))"
    done = python("-c", code, path=[ROOT], cwd=tmp_path)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    "code",
    [
        "import nemo_jax; fit = nemo_jax.fit",
        "from nemo_jax import fit",
        "import nemo_jax.fit; fit = nemo_jax.fit",
        "from nemo_jax.fit import fit as _; import nemo_jax; fit = nemo_jax.fit",
        "import nemo_jax.parallel, nemo_jax.unroll; from nemo_jax import fit",
        "from nemo_jax import *",
    ],
)
def test_fit_is_the_function_whatever_is_imported(code, tmp_path):
    done = python("-c", f"{code}; print(type(fit).__name__)", path=[ROOT], cwd=tmp_path)
    assert done.stdout.strip() == "function", done.stderr


# --- clips from arrays ---


def instance(frames, **changes):
    rng = np.random.default_rng(frames)
    fields = {
        "keypoints": rng.uniform(0, 600, (frames, 25, 2)),
        "confidence": np.ones((frames, 25)),
        "image_size": (640, 480),
    }
    return nemo_jax.Instance(**{**fields, **changes})


def test_instances_are_padded_behind():
    pose = np.full((2, 24, 3), 0.1)
    given = [instance(3), instance(2, init_pose=pose, fps=25.0, focal_length=700.0)]
    clips = nemo_jax.Clips.from_instances(given)
    np.testing.assert_array_equal(clips.frame_mask, [[1, 1, 1], [1, 1, 0]])
    np.testing.assert_array_equal(clips.init_mask, [[0, 0, 0], [1, 1, 0]])
    np.testing.assert_array_equal(clips.keypoints[1, :2], given[1].keypoints.astype(np.float32))
    assert not clips.keypoints[1, 2].any() and not clips.confidence[1, 2].any()
    np.testing.assert_array_equal(clips.fps, [30, 25])
    np.testing.assert_array_equal(clips.focal_length, np.float32([np.nan, 700]))
    assert {leaf.dtype for leaf in jax.tree.leaves(clips)} == {np.dtype(np.float32)}


def test_jax_arrays_and_lists_are_taken_too():
    one = instance(3)
    other = dataclasses.replace(
        one, keypoints=jax.numpy.asarray(one.keypoints), confidence=one.confidence.tolist(), image_size=[640, 480]
    )
    both = nemo_jax.Clips.from_instances([one]), nemo_jax.Clips.from_instances([other])
    jax.tree.map(np.testing.assert_array_equal, *both)


def test_a_joint_that_was_not_seen_may_be_nan():
    points, confidence = np.ones((2, 25, 2)), np.ones((2, 25))
    points[0, 3], confidence[0, 3] = np.nan, 0
    clips = nemo_jax.Clips.from_instances([instance(2, keypoints=points, confidence=confidence)])
    assert (clips.keypoints[0, 0, 3] == 0).all() and np.isfinite(clips.keypoints).all()


NAN = np.full((4, 25, 2), np.nan)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"keypoints": np.zeros((4, 17, 2))}, ["keypoints have shape (4, 17, 2), expected (F, 25, 2)", "BODY_25"]),
        ({"keypoints": np.zeros((0, 25, 2))}, ["keypoints have shape (0, 25, 2)"]),
        ({"keypoints": NAN}, ["a keypoint whose confidence is above 0 is NaN"]),
        ({"confidence": np.ones((3, 25))}, ["confidence has shape (3, 25), expected (4, 25)", "4 frames"]),
        ({"confidence": NAN[..., 0]}, ["confidence holds NaN"]),
        ({"init_pose": np.zeros((4, 72))}, ["init_pose has shape (4, 72), expected (4, 24, 3)"]),
        ({"init_pose": np.full((4, 24, 3), np.nan)}, ["init_pose holds NaN", "init_mask"]),
        ({"init_mask": np.ones(4)}, ["init_mask marks frames as posed, but there is no init_pose"]),
        ({"init_pose": np.zeros((4, 24, 3)), "init_mask": np.ones(5)}, ["init_mask has shape (5,), expected (4,)"]),
        ({"image_size": (640, 0)}, ["image_size is (640, 0), expected (width, height)"]),
        ({"fps": 0.0}, ["fps is 0.0"]),
        ({"focal_length": -1.0}, ["focal_length is -1.0"]),
    ],
)
def test_a_wrong_instance_is_named(changes, words):
    with pytest.raises(ValueError, match=r"^instance 1: ") as caught:
        nemo_jax.Clips.from_instances([instance(2), instance(4, **changes)])
    assert all(word in str(caught.value) for word in words), caught.value


def test_no_instances_at_all():
    with pytest.raises(ValueError, match="was given no instances"):
        nemo_jax.Clips.from_instances([])


# --- no trap ---

CONFIG = helpers.tiny_config(lift=None, warmup_steps=2, camera_steps=2, joint_steps=2, lift_steps=2)
LIMITS = nemo_jax.Priors(joint_limits=nemo_jax.published_limits())


@pytest.fixture(scope="module")
def clips():
    return jax.tree.map(np.asarray, helpers.scene(lengths=(5, 8), num_frames=8).clips)


def without_poses(clips):
    return dataclasses.replace(
        clips, init_mask=np.zeros_like(clips.init_mask), init_pose=np.zeros_like(clips.init_pose)
    )


def test_a_fit_decides_by_the_clips_whether_it_lifts(clips):
    # The other stages are alike whether there is a lift.
    config = dataclasses.replace(CONFIG, camera_steps=0, joint_steps=0)

    def fit(clips):
        # The clips are known, as they are outside of `jit`; that compiles all operations at once.
        return jax.jit(lambda key: nemo_jax.fit(key, clips, helpers.body(), LIMITS, config))(jax.random.key(0))

    fitted = fit(clips)
    assert "lift" not in fitted.history
    bare = without_poses(clips)
    fitted = fit(bare)
    assert fitted.history["lift"]["lift"].shape == (2,)
    np.testing.assert_array_equal(fitted.targets.mask, clips.frame_mask)
    assert nemo_jax.for_clips(CONFIG, bare).lift is True and nemo_jax.for_clips(CONFIG, clips).lift is False


def test_padded_instances_are_not_lifted(clips):
    wide = nemo_jax.stack_clips([clips, jax.tree.map(lambda leaf: np.concatenate([leaf, leaf[:1]]), clips)])
    padded = jax.tree.map(lambda leaf: leaf[0], wide)
    assert padded.real is not None and nemo_jax.for_clips(CONFIG, padded).lift is False


def test_a_compiled_fit_that_cannot_know_says_so(clips):
    with pytest.raises(ValueError, match=r"call config = nemo_jax.for_clips\(config, clips\) first"):
        jax.jit(nemo_jax.fit)(jax.random.key(0), clips, helpers.body(), LIMITS, CONFIG)


def test_predictions_of_clips_of_numpy_arrays(clips):
    config = nemo_jax.for_clips(CONFIG, clips)
    params = helpers.init(jax.random.key(0), 2, clips.image_size, helpers.NUM_BETAS, config)
    plain, traced = (
        wrap(
            lambda clips: nemo_jax.predict_clips(
                params, nemo_jax.prepare(clips, helpers.body(), LIMITS, config), config, clips
            )
        )(clips)
        for wrap in (lambda f: f, jax.jit)
    )
    assert plain.keypoints_2d.shape == (2, 8, 25, 2)
    np.testing.assert_allclose(plain.keypoints_2d, traced.keypoints_2d, rtol=1e-3, atol=1e-2)


def test_the_field_is_sampled_at_any_shapes(clips):
    config = nemo_jax.for_clips(CONFIG, clips)
    params = helpers.init(jax.random.key(0), 2, clips.image_size, helpers.NUM_BETAS, config)
    params = jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(1), leaf.shape), params)
    phases = np.linspace(0, 1, 3)
    rotations, translations = nemo_jax.sample(params, config, phases[:, None], params.codes)
    assert rotations.shape == (3, 2, 24, 3, 3) and translations.shape == (3, 2, 3)
    for row, phase in enumerate(phases):
        for column, code in enumerate(params.codes):
            rotation, translation = model.motion(params, config, np.float32(phase), code)
            np.testing.assert_allclose(rotations[row, column], rotation, atol=1e-5)
            np.testing.assert_allclose(translations[row, column], translation, atol=1e-5)
    assert np.abs(np.diff(translations[1], axis=0)).max() > 1e-4
    one = nemo_jax.sample(params, config, 0.5, params.codes[0])
    assert one[0].shape == (24, 3, 3) and one[1].shape == (3,)


def test_importing_starts_no_device():
    """A process that forks afterwards would hang in the threads of a device that was started before."""
    code = (
        "import experiments.fitting.run, experiments.export, experiments.show.presentation, nemo_jax\n"
        "from jax._src import xla_bridge\n"
        "assert not xla_bridge._backends, list(xla_bridge._backends)"
    )
    done = python("-c", code, path=[ROOT], cwd=ROOT)
    assert done.returncode == 0, done.stderr
