import re
from pathlib import Path

import numpy as np
import pytest

README = Path(__file__).parents[1] / "README.md"
TINY = (
    "nemo_jax.FitConfig(hidden=16, warmup_steps=2, camera_steps=2, joint_steps=2, batch_size=16, lift_steps=2, "
    "rescue_steps=0, exchange_price=0, contact_centres=0, find_travel=False)"
)


@pytest.mark.slow
def test_the_python_of_the_readme_runs(tiny_dataset):
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(block.splitlines()) <= 14
    clips = tiny_dataset.clips
    lengths = clips.frame_mask.sum(-1).astype(int)
    names = {"videos": [(clips.keypoints[n, :f], clips.confidence[n, :f]) for n, f in enumerate(lengths)]}
    exec(block.replace("nemo_jax.FitConfig()", TINY), names)
    assert names["config"].joint_steps == 2, "the block no longer asks for nemo_jax.FitConfig()"
    assert names["config"].lift is True
    assert names["mesh"].shape == (names["body"].num_vertices, 3)
    assert np.isfinite(names["mesh"]).all()
    height = np.ptp(names["mesh"][:, 1])
    assert 1.0 < height < 2.2


def test_the_readme_links_to_files_that_exist():
    text = README.read_text()
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("http")]
    assert links
    missing = [link for link in links if not (README.parent / link).exists()]
    assert not missing


def test_every_requirement_is_in_the_readmes_table():
    required = re.findall(r"^([A-Za-z_-]+)", (README.parent / "requirements.txt").read_text(), re.MULTILINE)
    table = README.read_text().split("## What it installs")[1]
    assert [name for name in required if name.lower() not in table.lower()] == []
