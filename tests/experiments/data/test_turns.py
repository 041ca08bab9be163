"""`--turn`: what it means, and the sentence where it means nothing."""

import pytest

from experiments.base.errors import UserError
from experiments.data.turns import TURN


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90", ["90", "90"]),
        ("serve 2=270", ["0", "270"]),
        ("serve 2=90, serve 1=180", ["180", "90"]),
        ("90,serve 1=0", ["0", "90"]),
    ],
)
def test_turns(text, expected):
    assert [TURN.of(text, name) for name in ("serve 1", "serve 2")] == expected


@pytest.mark.parametrize("text", ["", "45", "-90", "360", "left", "90.0", "090", "90,180", "a=", "a=9"])
def test_what_is_no_turn_is_one_sentence(text):
    with pytest.raises(
        UserError,
        match=rf"^--turn={text} is not understood at '.*'; expected 0, 90, 180 or 270, the degrees .* name=choice$",
    ):
        TURN.parse(text)
