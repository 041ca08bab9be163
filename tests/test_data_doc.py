"""docs/data.md: its Python writes a file that is read, and its tables list what the code knows."""

import re
from pathlib import Path

import numpy as np

from experiments.data import neutral, neutral_file
from experiments.simulation import amass

DOC = Path(__file__).parents[1] / "docs" / "data.md"


def table(heading):
    """The rows of a section's tables: the names in code style of the first column, then the other columns."""
    section = re.split(r"\n## ", DOC.read_text().split(f"\n## {heading}\n")[1])[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    return {name: [cell.strip() for cell in row[1:]] for row in rows for name in re.findall(r"`([^`]+)`", row[0])}


def test_its_python_writes_a_clip(tmp_path, monkeypatch):
    (block,) = re.findall(r"```python\n(.*?)```", DOC.read_text(), re.DOTALL)
    assert len(block.splitlines()) <= 12
    monkeypatch.chdir(tmp_path)
    exec(block, {})
    dataset = neutral.load(".", "serve")
    assert dataset.names == ("serve_1",)
    assert dataset.notes == ()
    assert dataset.clips.keypoints.shape == (1, 60, 25, 2)
    assert dataset.clips.fps.tolist() == [60]
    assert dataset.clips.image_size.tolist() == [[1280, 720]]
    assert len(np.unique(dataset.clips.keypoints[0, 0], axis=0)) == 25
    assert neutral.recognises(".")


def test_it_lists_every_key_of_the_neutral_format():
    listed = table("The neutral format")
    assert set(listed) - {"top_of_head"} == set(neutral_file.KEYS)
    for key, (shape, _, without) in listed.items():
        expected = neutral_file.KEYS[key]
        assert (without == "required") == (key in neutral_file.REQUIRED), key
        if expected.shape:
            lengths = ", ".join("any" if length is None else str(length) for length in expected.shape)
            # The pictures of a clip are as many as its frames, or none.
            lengths = "F" if key == "frame_paths" else lengths
            assert shape.startswith(f"({lengths}{',' if ',' not in lengths else ''})"), f"{key}: {shape}"
        if expected.kind != "numbers":
            assert expected.kind.removesuffix("s") in shape, f"{key}: {shape}"


def test_it_lists_every_key_and_width_of_motion():
    listed = table("Motion capture")
    assert {"poses", "trans", "betas", "mocap_framerate", "mocap_frame_rate", "up_axis"} == set(listed)
    assert {int(n) for n in re.findall(r"\(T, (\d+)\)", listed["poses"][0])} == set(amass.WIDTHS)


def test_its_links_stay_inside():
    text = DOC.read_text()
    anchors = {
        re.sub(r"[^\w -]", "", line[3:].lower()).replace(" ", "-") for line in text.splitlines() if line[:3] == "## "
    }
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert link.startswith("http") or link[1:] in anchors or (DOC.parent / link).exists(), link
