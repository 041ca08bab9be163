"""Imports run one way, and the method prints nothing, draws nothing and reads no flags."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What each package may import of the project.
LAYERS = {"body_models": {"body_models"}, "nemo_jax": {"body_models", "nemo_jax"}}
PROJECT = {"body_models", "nemo_jax", "experiments", "run", "tests"}
FOREIGN = {"absl", "matplotlib", "rich", "PIL", "torch", "anny"}
FILES = [
    (package, path)
    for package in LAYERS
    for path in sorted((ROOT / package).rglob("*.py"))
    # The open body's build script is no part of the library.
    if "open_body" not in path.parts
]


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            yield node.module


@pytest.mark.parametrize(("package", "path"), FILES, ids=lambda x: x if isinstance(x, str) else x.name)
def test_imports_run_downwards(package, path):
    roots = {name.split(".")[0] for name in imported(ast.parse(path.read_text()))}
    assert roots & PROJECT <= LAYERS[package]
    assert not roots & FOREIGN


def test_there_are_files():
    assert len(FILES) > 15


def test_no_circles():
    modules = {}
    for _, path in FILES:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        tree = ast.parse(path.read_text())
        uses = set(imported(tree))
        # `from nemo_jax import losses` uses nemo_jax.losses, not the package's (empty) own file.
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                uses |= {f"{node.module}.{alias.name}" for alias in node.names}
        modules[name] = uses
    known = {name: {use for use in uses if use in modules and use != name} for name, uses in modules.items()}
    known = {name: uses - {"nemo_jax", "body_models"} for name, uses in known.items()}
    done = set()

    def visit(name, above):
        assert name not in above, f"circle: {' -> '.join([*above, name])}"
        if name not in done:
            for use in known[name]:
                visit(use, (*above, name))
            done.add(name)

    for name in known:
        visit(name, ())
    assert done == set(modules)


@pytest.mark.parametrize("path", [path for package, path in FILES if package == "nemo_jax"], ids=lambda x: x.name)
def test_the_method_does_not_print_or_open(path):
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    assert not {f.id for f in calls if isinstance(f, ast.Name)} & {"print", "open", "input", "exec", "eval"}


@pytest.mark.parametrize(("package", "path"), FILES, ids=lambda x: x if isinstance(x, str) else x.name)
def test_files_hold_one_idea(package, path):
    assert len(path.read_text().splitlines()) <= 400
