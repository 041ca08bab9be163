"""The extras of pyproject.toml, read from the requirements files, which pip reads too: each package is listed once."""

from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent
EXTRAS = ("video", "dev", "oracle", "benchmarks")
BASE = "requirements.txt"
# It is imported by the name of this project's own package, which it would overwrite; benchmarks run from a checkout.
SAME_NAME = "body-models"


def listed(name: str) -> list[str]:
    """The requirements of a file and of those that it includes by `-r`, but for the base ones, which always install."""
    found = []
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        text = line.split("#")[0].strip()
        if text.startswith("-r "):
            included = text.removeprefix("-r ").strip()
            found += [] if included == BASE else listed(included)
        elif text and not text.startswith(SAME_NAME):
            found.append(text)
    return found


setup(extras_require={extra: listed(f"requirements-{extra}.txt") for extra in EXTRAS})
