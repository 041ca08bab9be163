"""The commands of `run.py`: one module each, with its settings and how it parses and obeys them."""

# The word after `run.py`, and the module whose `parse(argv)` makes settings and whose `run(settings)` obeys them. Without a
# word it is `fit`. They are imported when they are asked for.
COMMANDS = {name: f"{__name__}.{name}" for name in ("fit", "split", "simulate", "view", "export", "benchmark")}
