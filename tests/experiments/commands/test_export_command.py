"""`run.py export`: every format of a finished run, at any rate from the field itself, and one sentence for what is wrong."""

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from absl import flags as absl_flags

from experiments import export
from experiments.base.errors import UserError
from experiments.commands import export as export_command
from experiments.export import animation
from experiments.results import reading
from nemo_jax import options

SUFFIXES = {"amass": "npz", "bvh": "bvh", "glb": "glb", "fbx-ready": "glb", "trc": "trc", "csv": "csv"}


@pytest.fixture(scope="module")
def run(saved_run):
    return reading.load(saved_run)


def parse(*arguments):
    return export_command.parse(["run.py", *map(str, arguments)], absl_flags.FlagValues())


def test_everything_that_is_not_given(tmp_path):
    assert parse("--results=r") == export_command.ExportSettings("r")
    given = parse(
        "--results=r", "--format=bvh, glb,bvh", "--instances=a,b", "--fps=59.94", "--noground", "--output_dir=o"
    )
    assert given == export_command.ExportSettings("r", ("bvh", "glb"), ("a", "b"), 59.94, None, False, "o")


def test_help_lists_every_flag_and_format(capsys):
    with pytest.raises(SystemExit) as end:
        parse("--help")
    assert end.value.code == 0
    page = capsys.readouterr().out
    for flag in ("results", "format", "instances", "fps", "up", "ground", "output_dir"):
        assert re.search(rf"^  --{flag}=", page, re.MULTILINE)
    for name in export.FORMATS:
        assert re.search(rf"^  {name} +\S", page, re.MULTILINE)
    assert max(map(len, page.splitlines())) <= 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--results is missing; give the output folder of a run"),
        (["--results=r", "--format=bhv"], "--format has 'bhv', which is none; did you mean bvh"),
        (["--results=r", "--format=glb,fbx"], "'fbx', which is none; did you mean fbx-ready"),
        (["--results=r", "--format=GLTF"], "'GLTF', which is none; did you mean glb|give some of amass,bvh"),
        (["--results=r", "--format=,"], "--format= has no name in it"),
        (["--results=r", "--fps=0"], "--fps=0.0 is out of range; give a number above 0 and up to 1000"),
        (["--results=r", "--fps=nan"], "--fps=nan is not understood; expected a number above 0"),
        (["--results=r", "--fps=25"], "--fps=25 is too low for amass, .* give --fps=30 or leave amass out"),
        (["--results=r", "--format=glb", "--up=z"], "--up=z is not for glb: glTF has y up"),
        (["--results=r", "--up=x"], "--up=x is not one of y, z"),
        (["--results=r", "--formt=glb"], "--formt is not a flag; did you mean --format"),
        (["--results=r", "glb"], "'glb' is not understood"),
    ],
)
def test_bad_flags_are_one_sentence(arguments, message):
    with pytest.raises(UserError, match=message) as error:
        parse(*arguments)
    assert "\n" not in str(error.value)


def test_every_format_is_written_once_for_each_instance(run, tmp_path, capsys):
    export_command.run(parse(f"--results={run.folder}", f"--output_dir={tmp_path / 'my files'}"))
    found = sorted(str(path.relative_to(tmp_path / "my files")) for path in tmp_path.rglob("*.*"))
    assert found == sorted(f"{name}/{clip}.{end}" for name, end in SUFFIXES.items() for clip in run.dataset.names)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines if not line.startswith(" ")] == list(SUFFIXES)
    assert "amass: 2 files" in lines[0] and "30 frames per second, z up" in lines[0]
    assert any("mean shape" in line for line in lines)


def test_chosen_instances_formats_and_place(run, tmp_path):
    folder = tmp_path / "results"
    shutil.copytree(run.folder, folder)
    name = run.dataset.names[1]
    export_command.run(parse(f"--results={folder}", "--format=csv", f"--instances={name}"))
    assert [path.name for path in (folder / "export").rglob("*.*")] == [f"{name}.csv"]


def test_any_rate_is_sampled_from_the_field_itself(run):
    for fps in (17.0, 30.0, 117.3):
        sampled = animation.sample(run, 1, fps, ground=False)
        rotations, translation = run.at_rate(1, fps)
        np.testing.assert_array_equal(sampled.rotations, rotations)
        np.testing.assert_array_equal(sampled.translation, translation)
        np.testing.assert_allclose(sampled.joints, run.joints(1, rotations, translation), atol=1e-6)
        np.testing.assert_allclose(sampled.lowest, run.vertices(1, rotations, translation)[..., 1].min(1), atol=1e-6)
    own = animation.sample(run, 0)
    np.testing.assert_allclose(own.phases, run.fitted.prediction.phase[0, : run.num_frames(0)], atol=1e-6)
    np.testing.assert_allclose(own.keypoints - own.joints[:, :1], keypoints(run) - run_joints(run)[:, :1], atol=1e-5)


def keypoints(run):
    return run.fitted.prediction.keypoints[0, : run.num_frames(0)]


def run_joints(run):
    return run.joints(0, *run.at_rate(0, float(run.dataset.clips.fps[0])))


def test_a_long_clip_is_posed_in_parts(tiny_body):
    from export_motions import motion

    long = motion(tiny_body, frames=71)
    short = animation.posed(
        "a", "b", 30.0, long.phases[40:], long.rotations[40:], long.translation[40:], long.betas, tiny_body
    )
    np.testing.assert_allclose(long.joints[40:], short.joints, atol=1e-6)
    assert len(long.lowest) == len(long.keypoints) == 71


def test_the_lowest_point_of_a_clip_is_on_the_ground(run):
    raw, grounded = (animation.sample(run, 0, ground=ground) for ground in (False, True))
    assert abs(raw.lowest.min()) > 0.1
    assert grounded.lowest.min() == pytest.approx(0, abs=1e-6)
    moved = grounded.joints - raw.joints
    np.testing.assert_allclose(moved, np.broadcast_to([0, -raw.lowest.min(), 0], moved.shape), atol=1e-6)
    np.testing.assert_allclose(grounded.translation - raw.translation, moved[:, 0], atol=1e-6)


def test_an_instance_that_is_not_there(run, tmp_path):
    with pytest.raises(UserError, match=r"--instances has 'pich_1', which is not in .*; did you mean pitch_1"):
        export.export(run, tmp_path, ["csv"], instances=["pich_1"])
    with pytest.raises(UserError, match=r"'x', which is not in .*; it has pitch_0, pitch_1"):
        export.export(run, tmp_path, ["csv"], instances=["x"])


def test_a_run_that_did_not_finish(run, tmp_path):
    folder = tmp_path / "results"
    shutil.copytree(run.folder, folder)
    (folder / "metrics.json").unlink()
    (folder / "checkpoints").mkdir()
    with pytest.raises(UserError, match="holds a run that did not finish") as error:
        export_command.run(parse(f"--results={folder}"))
    assert "\n" not in str(error.value)


def test_a_place_that_cannot_be_written(run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--output_dir=.*file cannot be written \(.*\); choose another folder"):
        export.export(run, tmp_path / "file", ["bvh"])
    assert os.listdir(tmp_path) == ["file"]


def test_a_file_is_complete_or_not_there(run, tmp_path, monkeypatch):
    def full(motion, path, up):
        path.write_text("half")
        raise OSError(28, "No space left on device")

    broken = export.FORMATS["bvh"].__class__(".bvh", full)
    monkeypatch.setitem(export.FORMATS, "bvh", broken)
    with pytest.raises(UserError, match="no space left on device"):
        export.export(run, tmp_path, ["bvh"])
    assert not list(tmp_path.rglob("pitch_0.bvh"))


def test_notes_say_what_readers_have_to_know(run, tmp_path):
    lines = []
    export.export(run, tmp_path, ["amass"], fps=50.0, report=lines.append)
    assert any("set the target rate to 50" in line for line in lines)


def test_the_page_lists_every_format_and_its_python_is_python():
    page = (Path(__file__).parents[3] / "docs" / "export.md").read_text()
    listed = re.findall(r"^\| `([\w-]+)` \|", page, re.MULTILINE)
    assert listed == list(export.FORMATS)
    for name, form in export.FORMATS.items():
        (row,) = re.findall(rf"^\| `{name}` \|.*", page, re.MULTILINE)
        assert f"{form.up} up" in row
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        compile(block, "export.md", "exec")
    assert set(re.findall(r"`--(\w+)=", page)) <= {*options.of(export_command.ExportSettings), "body_model"}
