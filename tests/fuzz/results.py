"""Gives damaged results folders to `run.py export` and their reader: `python -m tests.fuzz.results --count=83 --seed=0`."""

import json
import random
import shutil
from pathlib import Path

from tests.fuzz import campaign, mutations, worker


def make(place: Path, scratch: Path, rng: random.Random) -> str:
    """A results folder `run` with one thing changed."""
    folder = place / "run"
    shutil.copytree(scratch / "run", folder)
    if rng.random() < 0.03:
        return "sound"
    if rng.random() < 0.4:
        name = rng.choice(("config.json", "config.json", "metrics.json"))
        how, text = mutations.document(json.loads((folder / name).read_text()), rng)
        (folder / name).write_bytes(text.encode("utf-8", errors="surrogatepass"))
        return f"JSON {how}: {name}"
    return mutations.folder(folder, rng)


def begin(scratch: Path) -> None:
    """Writes a sound folder, if there is none."""
    from tests.fuzz import tiny

    if not (scratch / "run").exists():
        tiny.results(scratch / "run")


def answer(place: Path) -> str:
    from absl import flags

    from body_models.loaders import BodyModelError
    from experiments.base.errors import UserError
    from experiments.commands import export
    from experiments.data.dataset import DatasetError

    arguments = ["run.py", f"--results={place / 'run'}", f"--output_dir={place / 'out'}", "--format=csv"]
    try:
        export.run(export.parse(arguments, flags.FlagValues()))
    except (UserError, DatasetError, BodyModelError) as error:
        return worker.sentence(error)
    return "loaded"


if __name__ == "__main__":
    raise SystemExit(campaign.main("results", make, __doc__))
