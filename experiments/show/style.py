"""Colours and fonts of the figures. The palette is Okabe and Ito's, which colour-blind readers can tell apart."""

from typing import Any

LEFT, RIGHT, CENTRE, TRUTH = "#0072B2", "#D55E00", "#222222", "#9A9A9A"
SHADE = "#DDDDDD"
FIT, INITIAL = "#56B4E9", "#E69F00"
CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#222222", "#8C6D1F")
RC: dict[Any, Any] = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E5E5E5",
    "legend.frameon": False,
}
# For pictures that show names of clips or actions, in which "$" must not start a formula. Do not use it for logarithmic
# axes, whose numbers are formulas.
NO_FORMULAS: dict[Any, Any] = {"text.parse_math": False}
