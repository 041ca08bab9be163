"""Changes that files suffer, or are made to: of their bytes, of the values of a JSON document, of what lies in a folder."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

# Numbers that no float holds are made of text, as JSON has them.
HUGE = "@huge@"
ODD = (
    None, True, False, 0, -1, 1.5, 1e308, -1e308, HUGE, "", "text", "[/red]", "x" * 3000, "\0", "１", [], {}, [[]], [None],
    {"people": 1}, [1] * 3000, float("nan"), float("inf"), "../../etc", "/", "http://127.0.0.1/x", 2**63, "é\ud800",
)  # fmt: skip


def bytes_of(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """What is done, and the bytes after it."""
    kinds = ("cut", "flipped", "zeros", "doubled", "exchanged", "random", "empty", "inserted", "sizes")
    kind = rng.choice(kinds)
    changed = bytearray(content)
    at = rng.randrange(max(len(content), 1))
    length = min(rng.choice((1, 8, 100, 4000)), len(content) - at)
    if kind == "cut":
        changed = changed[:at]
    elif kind == "flipped":
        for _ in range(rng.choice((1, 3, 30))):
            if changed:
                changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    elif kind == "zeros":
        changed[at : at + length] = bytes(length)
    elif kind == "doubled":
        changed[at:at] = changed[at : at + length]
    elif kind == "exchanged":
        other = rng.randrange(max(len(content) - length, 1))
        changed[at : at + length], changed[other : other + length] = (
            changed[other : other + length],
            changed[at : at + length],
        )
    elif kind == "random":
        changed = bytearray(rng.randbytes(len(content)))
    elif kind == "empty":
        changed = bytearray()
    elif kind == "inserted":
        changed[at:at] = rng.randbytes(length)
    else:
        # Whole numbers in four bytes, as sizes and counts are.
        changed[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\0\0\0\1"))
    return kind, bytes(changed)


def document(value: Any, rng: random.Random) -> tuple[str, str]:
    """What is done, and the text of a JSON document after it."""
    kind = rng.choice(("value", "value", "value", "missing", "doubled", "deep", "text", "root", "encoding"))
    if kind == "text":
        how, changed = bytes_of(dumped(value).encode(), rng)
        return f"text {how}", changed.decode("latin1")
    if kind == "deep":
        depth = rng.choice((50, 1000, 100_000))
        opening, closing = rng.choice((("[", "]"), ('{"people":', "}")))
        return kind, opening * depth + "0" + closing * depth
    if kind == "root":
        return kind, dumped(rng.choice(ODD))
    if kind == "encoding":
        return kind, rng.choice(("\ufeff", "", "\0")) + dumped(value) + rng.choice(("\0", "//", ",", " " * 100_000))
    holder, key = rng.choice(list(_places(value)))
    if kind == "value":
        holder[key] = rng.choice(ODD)
    elif kind == "missing":
        del holder[key]
    elif isinstance(holder, list):
        holder.extend([holder[key]] * rng.choice((1, 100, 3000)))
    else:
        holder[f"{key} "] = holder[key]
    return kind, dumped(value)


def dumped(value: Any) -> str:
    return json.dumps(value).replace(f'"{HUGE}"', "1" + "0" * 400)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every holder and key in a document; of long lists some."""
    found: list[tuple[Any, Any]] = []
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        if not isinstance(value, list) or len(value) < 10 or key % 25 == 0:
            found.append((value, key))
            found += _places(value[key])
    return found


def folder(root: Path, rng: random.Random) -> str:
    """Changes one thing in a folder and says what."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    file = rng.choice(files)
    kind = rng.choice(
        ("bytes", "bytes", "bytes", "bytes", "missing", "folder", "swapped", "link", "whole folder", "more")
    )
    place = file.relative_to(root)
    if kind == "bytes":
        how, content = bytes_of(file.read_bytes(), rng)
        file.write_bytes(content)
        return f"bytes {how}: {place}"
    if kind == "missing":
        file.unlink()
    elif kind == "folder":
        file.unlink()
        file.mkdir()
    elif kind == "swapped":
        other = rng.choice(files)
        content = file.read_bytes()
        file.write_bytes(other.read_bytes())
        other.write_bytes(content)
    elif kind == "link":
        file.unlink()
        file.symlink_to(rng.choice((file.name, "nowhere", "/dev/null", "..")))
    elif kind == "whole folder":
        shutil.rmtree(file.parent) if file.parent != root else file.unlink()
    else:
        (file.parent / rng.choice(("99", "x.json", "a\n[red].npz", ".unfinished.x", file.stem))).write_bytes(b"more")
    return f"{kind}: {place}"
