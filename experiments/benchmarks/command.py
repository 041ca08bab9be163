"""Times whole commands in processes of their own, cold and from the cache: `python -m experiments.benchmarks.command`.

The pitch that needs no data, with all its pictures, and the help page. Processor seconds are those of the command and of its
workers: they say more than the clock where other programs run too.
"""

import argparse
import datetime
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from experiments.base import devices

_RUN = Path(__file__).parents[2] / "run.py"


def seconds(arguments: list[str], cache: Path) -> tuple[float, float]:
    """Wall and processor seconds of `run.py` with these arguments; compiled programs are kept in `cache`.

    Raises:
      SystemExit: the command failed.
    """
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(cache)}
    done = subprocess.run([sys.executable, str(_RUN), *arguments], env=environment, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"run.py {' '.join(arguments)} ended with {done.returncode}; what it said is above")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--action", default="baseball_pitch", help="what is fitted")
    action = parser.parse_args().action
    table = Table(title=f"{devices.num_cores()} cores, {datetime.date.today()}", title_justify="left")
    for column in ("command", "wall s", "processor s"):
        table.add_column(column)
    with tempfile.TemporaryDirectory() as folder:
        fit = [f"--action={action}", f"--output_dir={folder}/results", "--resume=false"]
        for name, arguments in (("fit, cold", fit), ("fit, from the cache", fit), ("--help", ["--help"])):
            wall, processor = seconds(arguments, Path(folder) / "cache")
            table.add_row(name, f"{wall:.1f}", f"{processor:.1f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
