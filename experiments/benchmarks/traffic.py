"""Memory traffic and operations of a compiled program, summed over the optimised HLO that XLA prints.

XLA's own `cost_analysis` counts a loop's body once and ignores library calls (products by cuBLAS, Pallas kernels). Here
a loop counts as often as it runs. Every kernel (a fusion, a product, a copy, a call) is taken to read each of its
operands once and to write its results once; if it only reads or writes a slice of an array, only the slice counts. Some
of these bytes come from a cache, so that a small program can seem to exceed the memory's bandwidth.
"""

import math
import re
from typing import Any, NamedTuple

_BYTES = {"pred": 1, "bf16": 2, "c64": 8, "c128": 16, "token": 0, "opaque": 0}
_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{$")
_LINE = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = ((?:\(|\w+\[).*)$")
_SHAPE = re.compile(r"(\w+)\[([\d,]*)\]")
# Instructions without traffic: aliases of other values, and the ends of asynchronous operations, counted at their
# starts.
_FREE = ("parameter", "constant", "get-tuple-element", "tuple", "bitcast", "after-all", "opt-barrier", "add-dependency")
_FREE += ("domain", "partition-id", "replica-id", "async-update")
_CUTS = ("slice", "dynamic-slice", "gather")


class Moved(NamedTuple):
    """bytes: read and written by kernels. flops: operations of matrix products, a multiply-add counts as two; products
    inside of custom kernels are not included."""

    bytes: float
    flops: float


class Op(NamedTuple):
    """One instruction: the type of its result, its opcode, the names of its operands, and the rest of its line."""

    type: str
    opcode: str
    operands: tuple[str, ...]
    rest: str


class Computation(NamedTuple):
    """Instructions by name, in order, and the name of the root instruction."""

    ops: dict[str, Op]
    root: str


def of_program(compiled: Any) -> Moved:
    """The traffic of one run of a compiled JAX program, on each of its devices."""
    return of_text(compiled.as_text())


def of_text(text: str) -> Moved:
    """The traffic of one run of a program given as optimised HLO text."""
    computations, entry = _parse(text)
    return _total(computations, entry, {})


def _parse(text: str) -> tuple[dict[str, Computation], str]:
    computations: dict[str, Computation] = {}
    ops: dict[str, Op] = {}
    name = entry = root = ""
    for line in re.sub(r"/\*.*?\*/", "", text).splitlines():
        if header := _HEADER.match(line):
            name, ops, root = header[2], {}, ""
            entry = name if header[1] else entry
        elif line == "}":
            computations[name] = Computation(ops, root)
        elif name and (found := _LINE.match(line)):
            ops[found[2]] = _instruction(found[3])
            root = found[2] if found[1] else root
    return computations, entry


def _instruction(text: str) -> Op:
    """Parses an instruction such as `f32[2]{0} add(%a, %b), metadata={...}`."""
    end = _closing(text, 0) + 1 if text.startswith("(") else text.index(" ")
    opcode, _, _ = text[end:].lstrip().partition("(")
    opening = text.index("(", end)
    closing = _closing(text, opening)
    operands = [part.split()[-1].lstrip("%") for part in _split(text[opening + 1 : closing])]
    return Op(text[:end], opcode, tuple(operands), text[closing + 1 :])


def _closing(text: str, opening: int) -> int:
    depth = 0
    for at in range(opening, len(text)):
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        if depth == 0:
            return at
    raise ValueError(f"a bracket is never closed in {text[:80]}")


def _split(text: str) -> list[str]:
    """Splits a text at the commas that are outside of all brackets."""
    parts, depth, start = [], 0, 0
    for at, letter in enumerate(text + ","):
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            parts.append(text[start:at].strip())
            start = at + 1
    return [part for part in parts if part]


def _shapes(text: str) -> list[tuple[str, list[int]]]:
    return [(kind, [int(n) for n in sizes.split(",") if n]) for kind, sizes in _SHAPE.findall(text)]


def _size(text: str) -> float:
    """Bytes of a type, all parts of a tuple together."""
    return float(sum(_width(kind) * math.prod(sizes) for kind, sizes in _shapes(text)))


def _width(kind: str) -> float:
    if kind in _BYTES:
        return _BYTES[kind]
    # f8e4m3 and its like are named after their bits first.
    bits = re.match(r"[a-z](\d+)", kind)
    return int(bits[1]) / 8 if bits else 0


def _total(computations: dict[str, Computation], name: str, known: dict[str, Moved]) -> Moved:
    if name not in known:
        inside = computations[name]
        parts = [_cost(computations, inside, op, known) for op in inside.ops.values()]
        known[name] = Moved(sum(part.bytes for part in parts), sum(part.flops for part in parts))
    return known[name]


def _cost(computations: dict[str, Computation], inside: Computation, op: Op, known: dict[str, Moved]) -> Moved:
    called = {key: names for key, names in _called(op).items() if all(name in computations for name in names)}
    if op.opcode in _FREE or op.opcode.endswith("-done"):
        return Moved(0.0, 0.0)
    if op.opcode == "while":
        rounds = _rounds(computations, op, called)
        each = [_total(computations, name, known) for key in ("condition", "body") for name in called[key]]
        return Moved(rounds * sum(part.bytes for part in each), rounds * sum(part.flops for part in each))
    if op.opcode == "conditional":
        branches = [_total(computations, name, known) for names in called.values() for name in names]
        return Moved(max(part.bytes for part in branches), max(part.flops for part in branches))
    if op.opcode in ("call", "call-start", "async-start"):
        return _total(computations, next(iter(called.values()))[0], known)
    if op.opcode in ("fusion", "fusion-start"):
        body = computations[called["calls"][0]]
        return Moved(
            _read(inside, op, body) + _written(body, body.root), _total(computations, called["calls"][0], known).flops
        )
    return Moved(_alone(inside, op), _product(inside, op))


def _called(op: Op) -> dict[str, list[str]]:
    found = re.findall(r"(\w+)=(?:\{((?:%[\w.\-]+(?:, )?)+)\}|%?([\w.\-]+))", op.rest)
    return {
        key: [name.strip().lstrip("%") for name in (several or one).split(",")]
        for key, several, one in found
        if key
        in ("calls", "to_apply", "condition", "body", "branch_computations", "true_computation", "false_computation")
    }


def _rounds(computations: dict[str, Computation], op: Op, called: dict[str, list[str]]) -> int:
    """The trip count of a loop: the one that XLA reports, else the only whole number in its condition, else 1."""
    if told := re.search(r'"known_trip_count":\{"n":"(\d+)"', op.rest):
        return int(told[1])
    condition = computations[called["condition"][0]]
    limits = [one.operands[0] for one in condition.ops.values() if one.opcode == "constant" and one.operands]
    return int(limits[0]) if len(limits) == 1 and limits[0].isdigit() else 1


def _read(inside: Computation, op: Op, body: Computation) -> float:
    """Bytes that a fusion reads of its operands."""
    parameters = {int(one.operands[0]): name for name, one in body.ops.items() if one.opcode == "parameter"}
    return sum(min(_touched(body, parameters[at]), _size(inside.ops[name].type)) for at, name in enumerate(op.operands))


def _touched(body: Computation, name: str) -> float:
    """Bytes that a computation reads of one of its values: the whole value, or only the slices that it uses."""
    total = 0.0
    for user_name, user in body.ops.items():
        if name not in user.operands:
            continue
        if user.opcode in _CUTS and user.operands[0] == name:
            total += _size(user.type)
        elif user.opcode == "bitcast":
            total += _touched(body, user_name)
        elif user.opcode != "dynamic-update-slice" or user.operands[0] != name:
            return _size(body.ops[name].type)
    return total


def _written(body: Computation, name: str) -> float:
    """Bytes of a result of a fusion; of an array changed in place, those that change."""
    op = body.ops[name]
    if op.opcode == "tuple":
        return sum(_written(body, part) for part in op.operands)
    if op.opcode == "bitcast":
        return _written(body, op.operands[0])
    if op.opcode == "dynamic-update-slice":
        return _size(body.ops[op.operands[1]].type)
    source = body.ops[op.operands[0]] if op.opcode == "get-tuple-element" else op
    return _results(op.type, source.opcode)


def _results(text: str, opcode: str) -> float:
    """Bytes of an instruction's results, without the workspace of a library call, which is an array of single bytes."""
    room = ("s8", "u8") if opcode == "custom-call" else ()
    return float(sum(_width(kind) * math.prod(sizes) for kind, sizes in _shapes(text) if kind not in room))


def _alone(inside: Computation, op: Op) -> float:
    """Bytes of an instruction that is a kernel of its own."""
    sizes = [_size(inside.ops[name].type) for name in op.operands if name in inside.ops]
    if op.opcode in _CUTS:
        return 2 * _size(op.type) + sum(sizes[1:])
    if op.opcode == "dynamic-update-slice":
        return 2 * sizes[1] + sum(sizes[2:])
    if op.opcode == "scatter":
        return sum(sizes[1:]) + 2 * sizes[-1]
    if op.opcode == "copy-start":
        return 2 * sizes[0]
    return sum(sizes) + _results(op.type, op.opcode)


def _product(inside: Computation, op: Op) -> float:
    """Operations of a matrix product, including products by library calls."""
    contracted = re.search(r'lhs_contracting_dim(?:s=\{([\d,]*)\}|ensions":\[([\d",]*)\])', op.rest)
    if not contracted or op.opcode not in ("dot", "custom-call"):
        return 0.0
    left = _shapes(inside.ops[op.operands[0]].type)[0][1]
    sizes = [left[int(axis)] for axis in re.findall(r"\d+", contracted[1] or contracted[2] or "")]
    return 2.0 * math.prod(_shapes(op.type)[0][1]) * math.prod(sizes)
