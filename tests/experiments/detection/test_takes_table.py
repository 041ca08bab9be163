"""The table of takes: written, read, and each mistake in it told in a sentence."""

import numpy as np
import pytest

from experiments.base.errors import UserError
from experiments.detection import take_choice, takes_table
from experiments.detection.takes_table import Take


def test_written_and_read(tmp_path):
    path = tmp_path / "takes.csv"
    takes = [Take(1, 0.52, 2.0), Take(2, 2.0, 3.48)]
    takes_table.write(path, [("gym, left", take) for take in takes])
    assert takes_table.read(path, ["gym, left"]) == {"gym, left": takes}
    times = np.arange(100) / 25
    assert takes_table.frames(takes, times, "gym, left") == [range(13, 50), range(50, 87)]
    assert takes_table.frames([Take(1, 0, 4)], times, "a") == [range(100)]


def test_as_spreadsheets_write_it(tmp_path):
    path = tmp_path / "takes.csv"
    path.write_text("\ufefffilm;take;start_seconds;end_seconds;good\na;1;0,5;1,25;yes\n;;;;\n", encoding="utf-8")
    assert takes_table.read(path, ["a"]) == {"a": [Take(1, 0.5, 1.25)]}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("b,1,0,1", "line 2, names the film 'b', which is not among a"),
        ("a,1,x,1", "line 2, has 'x' as start_seconds; expected a number"),
        ("a,1,2,1", "line 2, ends at 1 s, not after its start at 2 s"),
        ("a,0,0,1", "has '0' as take; expected 1, 2, 3"),
        ("a,1,0,1\na,1,2,3", "has take 1 of a twice"),
        ("a,1,0,1.5\na,2,1,2", "has takes 1 and 2 of a that overlap from 1 to 1.5 s"),
        ("", "has no take"),
    ],
)
def test_wrong_rows(tmp_path, rows, message):
    path = tmp_path / "takes.csv"
    path.write_text(f"film,take,start_seconds,end_seconds\n{rows}\n")
    with pytest.raises(UserError) as error:
        takes_table.read(path, ["a"])
    assert str(error.value).startswith(f"--takes={path}") and message in str(error.value)


def test_other_files_and_takes_outside_the_film(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        takes_table.read(tmp_path / "none.csv", ["a"])
    (tmp_path / "t.csv").write_text("film,take,start\n")
    with pytest.raises(UserError, match="has no column start_seconds"):
        takes_table.read(tmp_path / "t.csv", ["a"])
    with pytest.raises(UserError, match=r"from 0 to 9 s, but the film ends at 4\.00 s"):
        takes_table.frames([Take(1, 0, 9)], np.arange(100) / 25, "a")


def test_the_flag():
    assert take_choice.SPLIT.of("off,a=8", "a") == "8" and take_choice.SPLIT.of("a=8", "b") == "auto"
    for wrong in ("0", "some", "a=-1", "٣"):
        with pytest.raises(UserError, match="expected auto, off, a number of takes"):
            take_choice.SPLIT.parse(wrong)
