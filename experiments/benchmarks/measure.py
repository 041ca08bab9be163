"""Measurement and reports of all benchmarks: medians after warm-up, the device's limits, a table and a JSON file."""

import argparse
import concurrent.futures
import datetime
import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from rich.console import Console
from rich.table import Table

from experiments.base import devices
from experiments.benchmarks import counts, timing

Array = jax.Array

# A program that reaches this share of a limit is reported as bound by it.
_BINDS = 0.5
RATES = (
    "needed TFLOP/s",
    "needed share of matmul",
    "needed GB/s",
    "needed share of copy",
    "moved GB/s",
    "moved share of copy",
    "binds",
)
RATES_NOTE = (
    "needed: the least work that any program has to do, counted by hand; moved: what this program's kernels read and write, "
    "taken from its compiled text, caches included. binds: memory or the precision of the products, whichever ceiling is "
    f"nearer, if {_BINDS:.0%} of it is reached; caches: more is moved than memory can; neither: kernels too small to fill "
    "the device, or bound inside it."
)


def jax_seconds(call: Callable[[], Any], **options: Any) -> timing.Timing:
    """`timing.seconds` of a call that returns JAX arrays."""
    return timing.seconds(call, jax.block_until_ready, **options)


def ceilings() -> dict[str, float]:
    """The measured limits of this device: FLOP/s of large square matrix products in three precisions, and bytes/s of a
    copy, counting bytes read and written."""
    on_gpu = jax.default_backend() == "gpu"
    size = 8192 if on_gpu else 1024
    found = {}
    for name, dtype, precision in (
        ("float32", jnp.float32, "float32"),
        ("tensorfloat32", jnp.float32, "tensorfloat32"),
        ("bfloat16", jnp.bfloat16, "default"),
    ):
        if not on_gpu and name != "float32":
            continue
        a, b = jax.random.normal(jax.random.key(0), (2, size, size), dtype)
        product = jax.jit(lambda a, b, p=precision: jnp.matmul(a, b, precision=p))
        found[f"{name}_flops"] = 2 * size**3 / jax_seconds(lambda a=a, b=b, f=product: f(a, b)).median
    x = jax.random.normal(jax.random.key(1), (1 << (30 if on_gpu else 25),))
    copy = jax.jit(lambda x: -x)
    found["copy_bytes"] = 2 * x.nbytes / jax_seconds(lambda: copy(x)).median
    return found


def rates(
    seconds: float, needed: counts.Count, moved_bytes: float, ceilings: dict[str, float], precision: str
) -> dict[str, Any]:
    """The columns `RATES`: rates reached in `seconds`, for the required work and for the program's memory traffic."""
    product = ceilings.get(f"{precision}_flops", ceilings["float32_flops"])
    multiplied = needed.flops / seconds / product
    moved = moved_bytes / seconds / ceilings["copy_bytes"]
    bound = "neither"
    if max(moved, multiplied) >= _BINDS:
        bound = precision if multiplied > moved else "memory" if moved <= 1 else "caches"
    values = (
        needed.flops / seconds / 1e12,
        multiplied,
        needed.bytes / seconds / 1e9,
        needed.bytes / seconds / ceilings["copy_bytes"],
        moved_bytes / seconds / 1e9,
        moved,
        bound,
    )
    return dict(zip(RATES, values, strict=True))


def compile_all(lowered: Iterable[Any]) -> list[tuple[Any, float]]:
    """Compiles lowered functions in parallel threads; returns the programs and the seconds that each took.

    If `lowered` is an iterator, it can trace further functions while the first ones are compiled.
    """

    def one(program: Any) -> tuple[Any, float]:
        begun = time.perf_counter()
        compiled = program.compile(compiler_options=devices.compiler_options())
        return compiled, time.perf_counter() - begun

    with concurrent.futures.ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(one, lowered))


def run(call: Callable[[], Any], long: float = 10.0) -> tuple[Any, float]:
    """The result of a call and its seconds, measured on a second call unless the first one, which also loads the
    program, took `long` seconds."""

    def once() -> tuple[Any, float]:
        begun = time.perf_counter()
        result = jax.block_until_ready(call())
        return result, time.perf_counter() - begun

    first = once()
    return first if first[1] >= long else once()


def environment() -> dict[str, Any]:
    """The conditions of the measurement: device, versions, date."""
    packages = {}
    for name in ("jax", "jaxlib", "flax", "optax", "numpy", "torch", "smplx", "body-models"):
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "device": devices.describe(),
        "python": platform.python_version(),
        "versions": packages,
    }


def parser(description: str | None) -> argparse.ArgumentParser:
    """The flags that all benchmarks share."""
    made = argparse.ArgumentParser(
        description=(description or "").split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    made.add_argument("--output", type=Path, help="also write everything to this JSON file")
    return made


def report(
    title: str,
    rows: Sequence[dict[str, Any]],
    extra: dict[str, Any],
    output: Path | None,
    parts: Sequence[Sequence[str]] = (),
) -> None:
    """Prints rows (equal keys) under the environment, and writes both and `extra` to `output`.

    Args:
      title: title of the table. rows: its rows. extra: further entries. output: a JSON file, or None.
      parts: columns of each of several tables, if a single one would be too wide; empty = one table.
    """
    about = environment()
    console = Console(width=160, highlight=False)
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    console.print(f"{about['device']}, {about['date']}, Python {about['python']}, {versions}")
    for name, value in extra.items():
        console.print(f"{name}: {value if isinstance(value, str) else json.dumps(rounded(value))}")
    for names in parts or [list(rows[0])]:
        table = Table(title=title)
        for name in names:
            table.add_column(name, justify="left" if isinstance(rows[0][name], str) else "right")
        for row in rows:
            table.add_row(*(_shown(row[name]) for name in names))
        console.print(table)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps({"title": title, **about, **extra, "rows": rounded(list(rows))}, indent=1) + "\n")


def rounded(value: Any) -> Any:
    """Rounds all floats in a tree of dicts and lists to four significant digits."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list | tuple) else value


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,.4g}" if isinstance(value, float) else str(value)
