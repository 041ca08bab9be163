"""What a file holds, and why it cannot be read, in a few words: nothing that came from a file is written out in full.

Values of strangers are of any length and nesting, and may take without end to be turned into text.
"""

from collections.abc import Iterable


def reason(error: BaseException) -> str:
    """Why reading failed, in part of one line. Nothing that came from the file is written out in full."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, KeyError):
        # The text of a KeyError is that of its key, which may be anything.
        return f"{shown(error.args[0]) if error.args else 'an entry'} is unknown or missing"
    return " ".join(str(error)[:2000].split())[:200] or type(error).__name__


def shown(value: object) -> str:
    """Any value from a file in a few characters: short text and numbers as they are, of others what they are."""
    if isinstance(value, str | bytes):
        return ascii(value[:40]) if len(value) <= 40 else f"{value[:40]!a}..."
    if isinstance(value, int) and value.bit_length() > 64:
        return f"a number of {value.bit_length()} bits"
    if isinstance(value, int | float | type(None)):
        return repr(value)
    if isinstance(value, list | tuple | set | frozenset | dict):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"


def listed(keys: Iterable[object], most: int = 8) -> str:
    """The keys of a dict from a file, the first of them, in a line; "nothing" where there are none."""
    keys = list(keys)
    names = [ascii(key[:40])[1:-1] if isinstance(key, str) else shown(key) for key in keys[:most]]
    return (", ".join(names) or "nothing") + (", ..." if len(keys) > most else "")
