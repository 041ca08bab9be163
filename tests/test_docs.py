"""The pages are all listed, their links lead somewhere, and the worked examples of CONTRIBUTING.md run."""

import json
import re
import types
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from body_models import joints as jn
from experiments.commands import COMMANDS
from experiments.data.dataset import DatasetError
from nemo_jax.clips import check
from tests.experiments.export_motions import motion

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PACKAGES = ("nemo_jax", "body_models", "experiments")
PAGES = sorted(
    [*ROOT.glob("*.md"), *DOCS.glob("*.md"), *(page for name in PACKAGES for page in (ROOT / name).rglob("*.md"))]
)
ROOMS = sorted(path.name for path in (ROOT / "experiments").iterdir() if (path / "__init__.py").exists())
ARCHITECTURE = (DOCS / "architecture.md").read_text()
CHANGES = (ROOT / "CHANGELOG.md").read_text()


def prose(path):
    """A page without its blocks of code, in which brackets are no links."""
    return re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)


def targets(path):
    """Where the links of a page within the project lead, without what stands behind #."""
    links = re.findall(r"\]\(([^)\s]+)\)", prose(path))
    return [link.split("#")[0] for link in links if not re.match(r"[a-z]+:", link) and not link.startswith("#")]


def example(kind):
    """The module that the block of CONTRIBUTING.md marked so would be."""
    page = (ROOT / "CONTRIBUTING.md").read_text()
    (block,) = re.findall(rf"^```python {kind}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    made = types.ModuleType(f"example_{kind}")
    made.__dict__.update({"Array": np.ndarray, "jnp": jnp} if kind == "loss" else {})
    exec(block, made.__dict__)
    return made


def exists(module):
    path = ROOT.joinpath(*module.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


# --- the pages ---


def test_the_index_lists_every_page_once():
    listed = [link for link in targets(DOCS / "index.md") if not link.startswith("../")]
    there = {path.name for pattern in ("*.md", "*.ipynb") for path in DOCS.glob(pattern)} - {"index.md"}
    assert sorted(listed) == sorted(there)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files(page):
    assert [link for link in targets(page) if not (page.parent / link).exists()] == []


def test_the_readme_leads_to_the_other_pages():
    assert {"docs/index.md", "CONTRIBUTING.md", "CHANGELOG.md"} <= set(targets(ROOT / "README.md"))


# --- docs/architecture.md ---


@pytest.mark.parametrize("room", ROOMS)
def test_the_architecture_names_every_room_and_its_files(room):
    (section,) = re.findall(rf"^### {room}\n(.*?)(?=^##)", ARCHITECTURE, re.DOTALL | re.MULTILINE)
    folder = ROOT / "experiments" / room
    files = {path.name for path in folder.rglob("*.py") if path.name != "__init__.py"}
    named = set(re.findall(r"`(\w+\.py)`", section)) - {"__init__.py"}
    assert named == files


def test_the_architecture_orders_the_rooms():
    (line,) = [line for line in ARCHITECTURE.splitlines() if line.startswith("base  ")]
    assert sorted(line.split()) == ROOMS
    assert re.findall(r"^### (\w+)$", ARCHITECTURE, re.MULTILINE) == line.split()


@pytest.mark.parametrize("package", ["nemo_jax", "body_models"])
def test_the_architecture_names_every_module_of_the_libraries(package):
    modules = [path.name for path in (ROOT / package).glob("*.py") if path.name != "__init__.py"]
    assert [name for name in modules if not re.search(rf"`({package}/)?{name}`", ARCHITECTURE)] == []


# --- CHANGELOG.md ---


def test_moved_modules_are_where_the_changes_say():
    rows = re.findall(r"^\| (`.*) \| (.*) \|$", CHANGES, re.MULTILINE)
    assert len(rows) > 30
    for old, new in rows:
        (home,) = re.findall(r"`([\w.]+)`", new)
        names = re.findall(r"`([\w.]+)`", old)
        moved = [f"{home}.{name}" for name in names[1:]] if new.startswith("the same names") else [home]
        assert [module for module in moved if not exists(module)] == []


def test_the_changes_are_of_this_version():
    import nemo_jax

    assert re.findall(r"^## ([\d.]+)", CHANGES, re.MULTILINE)[0] == nemo_jax.__version__


# --- the worked examples of CONTRIBUTING.md ---


def test_the_loss_of_the_example():
    value = example("loss").origin_loss(jnp.asarray([[3.0, 0.0, 4.0], [0.0, 1.0, 0.0]]))
    assert float(value) == pytest.approx((25 + 1) / 2)


def test_the_loader_of_the_example(tmp_path):
    loader, rng = example("loader"), np.random.default_rng(0)
    points = {name: rng.uniform(0.1, 100, (frames, 25, 3)) for name, frames in (("b 2", 3), ("b 10", 5))}
    (tmp_path / "kick").mkdir()
    assert not loader.recognises(tmp_path)
    for name, array in points.items():
        np.savetxt(tmp_path / "kick" / f"{name}.csv", array.reshape(-1, 75), delimiter=",")
    assert loader.recognises(tmp_path)
    assert loader.actions(tmp_path) == ["kick"]
    dataset = loader.load(tmp_path, "kick", image_size=(640, 480))
    check(dataset.clips)
    assert dataset.names == ("b 2", "b 10")
    np.testing.assert_allclose(dataset.clips.keypoints[1], points["b 10"][..., :2], rtol=1e-6)
    np.testing.assert_array_equal(dataset.clips.frame_mask.sum(1), [3, 5])
    assert loader.load(tmp_path, "kick", 1, image_size=(640, 480), ids="b 10").names == ("b 10",)
    with pytest.raises(DatasetError, match="give --image_size"):
        loader.load(tmp_path, "kick")
    (tmp_path / "kick" / "b 2.csv").write_text("1,2,x\n")
    with pytest.raises(DatasetError, match=r"b 2\.csv cannot be read .* expected 75 numbers"):
        loader.load(tmp_path, "kick", image_size=(640, 480))


@pytest.mark.parametrize("up", ["y", "z"])
def test_the_exporter_of_the_example(tiny_body, tmp_path, up):
    clip = motion(tiny_body)
    example("exporter").write(clip, tmp_path / "kick.json", up)
    found = json.loads((tmp_path / "kick.json").read_text())
    assert found["fps"] == 30
    assert found["names"] == list(jn.SMPL_JOINTS)
    x, y, z = np.moveaxis(np.asarray(clip.joints), -1, 0)
    expected = np.stack([x, y, z] if up == "y" else [x, -z, y], -1)
    np.testing.assert_allclose(found["joints"], expected, atol=1e-6)


def test_the_command_of_the_example(monkeypatch, capsys):
    from absl import flags

    from experiments.results import reading

    command = example("command")
    assert "clips" not in COMMANDS
    settings = command.parse(["run.py", "--results=results/kick"], flags.FlagValues())
    assert settings == command.ClipsSettings("results/kick")
    clips = types.SimpleNamespace(frame_mask=np.asarray([[1.0, 1, 0], [1, 1, 1]]))
    dataset = types.SimpleNamespace(names=("a", "b"), clips=clips)
    monkeypatch.setattr(reading, "load", lambda folder: types.SimpleNamespace(dataset=dataset))
    command.run(settings)
    assert capsys.readouterr().out == "a: 2 frames\nb: 3 frames\n"
