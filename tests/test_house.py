"""The house of docs/architecture.md: imports run one way and in no circle; the method reads no flags and shows nothing."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# The packages and the rooms of experiments/ from the lowest on: each may import those before it.
PACKAGES = ("body_models", "nemo_jax", "experiments", "run")
ROOMS = (
    "base",
    "configs",
    "data",
    "detection",
    "poses",
    "simulation",
    "loaders",
    "results",
    "evaluation",
    "fitting",
    "show",
    "export",
    "gradients",
    "benchmarks",
    "commands",
)
FOREIGN = {"absl", "matplotlib", "rich", "PIL", "torch", "anny"}
FILES = [
    (package, path)
    for package in PACKAGES[:-1]
    for path in sorted((ROOT / package).rglob("*.py"))
    # The open body's build script is no part of the library.
    if "open_body" not in path.parts
]
TESTS = sorted((ROOT / "tests").rglob("*.py"))
LIBRARY = [(package, path) for package, path in FILES if package != "experiments"]
# It runs in an environment in which body_models is another project's.
PEER = "body_models_peer.py"


def name_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for _, path in FILES}


def imported(tree):
    """Every module that is imported, in functions and under TYPE_CHECKING too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            for alias in node.names:
                # `from nemo_jax import losses` uses nemo_jax.losses, not the package's own file.
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else node.module


def place(module):
    """Where a module of the project is in the order."""
    package, *rest = module.split(".")
    room = ROOMS.index(rest[0]) if package == "experiments" and rest else -1
    return PACKAGES.index(package), room


def uses(path):
    return {name for name in imported(ast.parse(path.read_text())) if name.split(".")[0] in PACKAGES}


@pytest.mark.parametrize("path", [path for _, path in FILES if path.name != PEER], ids=name_of)
def test_imports_run_downwards(path):
    own = place(name_of(path))
    assert [name for name in uses(path) if place(name) > own] == []


@pytest.mark.parametrize("path", [path for _, path in LIBRARY], ids=name_of)
def test_the_library_knows_no_flags_and_no_pictures(path):
    assert not {name.split(".")[0] for name in imported(ast.parse(path.read_text()))} & FOREIGN


def test_every_file_of_experiments_is_in_a_room():
    assert [path.name for path in (ROOT / "experiments").glob("*.py")] == ["__init__.py"]
    rooms = {path.parent.name for path in (ROOT / "experiments").glob("*/__init__.py")}
    assert rooms == set(ROOMS)


def test_there_are_files():
    assert len(LIBRARY) > 15 and len(FILES) > 150


def test_no_circles():
    known = {name: {use for use in uses(path) if use in MODULES and use != name} for name, path in MODULES.items()}
    # A package's own file says what is in the package; modules within it import each other by their names.
    known = {
        name: {use for use in found if not name.startswith(f"{use}.") and use not in PACKAGES}
        for name, found in known.items()
    }
    done = set()

    def visit(name, above):
        assert name not in above, f"circle: {' -> '.join([*above, name])}"
        if name not in done:
            for use in known[name]:
                visit(use, (*above, name))
            done.add(name)

    for name in known:
        visit(name, ())
    assert done == set(MODULES)


@pytest.mark.parametrize("path", [path for package, path in FILES if package == "nemo_jax"], ids=name_of)
def test_the_method_does_not_print_or_open(path):
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    assert not {f.id for f in calls if isinstance(f, ast.Name)} & {"print", "open", "input", "exec", "eval"}


@pytest.mark.parametrize("path", [*(path for _, path in FILES), *TESTS], ids=name_of)
def test_files_hold_one_idea(path):
    assert len(path.read_text().splitlines()) <= 400
