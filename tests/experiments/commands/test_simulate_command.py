"""`run.py simulate`: the constants that were asked for, everything by its seed, and a truth that the clips agree with."""

import dataclasses
import os
import re
from pathlib import Path

import numpy as np
import pytest
from absl import flags as absl_flags
from equal_datasets import assert_equal
from scipy.spatial.transform import Rotation

from body_models import loaders
from experiments.base.errors import UserError
from experiments.commands import simulate
from experiments.data import neutral
from experiments.data.dataset import DatasetError
from experiments.fitting.run import run as fit
from experiments.fitting.settings import Settings
from experiments.show import presentation
from experiments.simulation import amass
from experiments.simulation.observations import ObservationModel
from nemo_jax.config import FitConfig

MOCAP = Path(os.environ.get("NEMO_DATA_DIR", "absent")) / "mocap"
ACTIONS = {"kick": 3, "punch_left": 5, "slash": 6, "bow": 8, "guide": 8, "wave_both_hands": 8}
needs_mocap = pytest.mark.skipif(not MOCAP.is_dir(), reason="NEMO_DATA_DIR names no folder with mocap/<action>.<i>.npz")


def parse(*arguments):
    return simulate.parse(["run.py", *arguments], absl_flags.FlagValues())


def write_motion(path, frames=20, seed=0, fps=30.0, **changes):
    """A standing person who sways, z up, as AMASS has it."""
    rng = np.random.default_rng(seed)
    sway = np.cumsum(rng.normal(0, 0.03, (frames, 24, 3)), 0)
    upright = Rotation.from_rotvec([np.pi / 2, 0, 0])
    sway[:, 0] = (upright * Rotation.from_rotvec(sway[:, 0])).as_rotvec()
    arrays = {
        "poses": sway.reshape(frames, 72),
        "trans": np.cumsum(rng.normal(0, 0.01, (frames, 3)), 0) + [0, 0, 0.9],
        "betas": np.zeros(10),
        "gender": "neutral",
        "mocap_framerate": fps,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{**arrays, **changes})
    return path


@pytest.fixture
def motions(tmp_path):
    for number in range(3):
        write_motion(tmp_path / "motion" / f"sway.{number}.npz", frames=20 + number, seed=number)
    return tmp_path / "motion"


def make(motions, body, **changes):
    return simulate.make(simulate.SimulateSettings("sway", str(motions), **changes), body)


def rows(dataset, name):
    """The arrays of one clip."""
    n = dataset.names.index(name)
    frames = int(dataset.clips.frame_mask[n].sum())
    timed = ("keypoints", "confidence", "init_pose", "init_mask")
    return {key: getattr(dataset.clips, key)[n, :frames] for key in timed} | {
        "joints": dataset.truth.joints[n, :frames]
    }


def test_the_constants_are_those_of_the_published_protocol():
    expected = {
        "image_size": (1920, 1080), "focal_range": (1300, 1700), "distance_range": (4.5, 7), "azimuth_range": (0, 360),
        "noise_px": 5, "noise_motion": 0.12, "lost_fraction": 0.08, "swapped_fraction": 0.02, "pull": 0.25,
        "bias_sd": 0.12, "drift_sd": 0.12, "jitter_sd": 0.05, "missing_fraction": 0.04,
    }  # fmt: skip
    model = dataclasses.asdict(ObservationModel())
    assert {key: model[key] for key in expected} == expected
    settings = parse("--action=kick", "--motion=m")
    assert settings == simulate.SimulateSettings("kick", "m")
    assert settings.observe == ObservationModel()
    assert (settings.seed, settings.views, settings.fps, settings.output_dir) == (0, 1, None, "simulated")


@pytest.mark.parametrize(
    ("argument", "field", "value"),
    [
        ("--observe.noise_px=3", "noise_px", 3.0),
        ("--observe.focal_range=900,1000", "focal_range", (900.0, 1000.0)),
        ("--observe.image_size=640x480", "image_size", (640, 480)),
        ("--observe.azimuth_range=(-10, 10)", "azimuth_range", (-10.0, 10.0)),
        ("--observe.focal_known=false", "focal_known", False),
        ("--noobserve.focal_known", "focal_known", False),
    ],
)
def test_every_kind_of_constant_can_be_set(argument, field, value):
    observe = parse("--action=a", "--motion=m", argument).observe
    assert getattr(observe, field) == value
    assert type(getattr(observe, field)) is type(value)
    assert dataclasses.replace(observe, **{field: getattr(ObservationModel(), field)}) == ObservationModel()


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(ObservationModel)])
def test_every_constant_takes_its_own_default(field):
    default = getattr(ObservationModel(), field)
    shown = ",".join(map(str, default)) if isinstance(default, tuple) else str(default).lower()
    assert parse("--action=a", "--motion=m", f"--observe.{field}={shown}").observe == ObservationModel()


def test_help_lists_every_flag(capsys):
    with pytest.raises(SystemExit) as end:
        parse("--help")
    assert end.value.code == 0
    page = capsys.readouterr().out
    for field in dataclasses.fields(ObservationModel):
        assert re.search(rf"--observe\.{field.name}=\S+ +\S", page), f"{field.name} has no comment"
    for field in dataclasses.fields(simulate.SimulateSettings):
        assert f"--{field.name}=" in page or field.name == "observe"
    assert max(map(len, page.splitlines())) <= 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--action is missing; name what the motions show, such as --action=kick"),
        (["--action=a"], "--motion is missing"),
        (["--action=a/b", "--motion=m"], "--action=a/b is not a name"),
        (["--action=a", "--motoin=m"], "--motoin is not a flag; did you mean --motion"),
        (["--action=a", "--motion=m", "--observe.noise_pix=3"], "--observe.noise_pix is not a flag; did you mean"),
        (["--action=a", "--motion=m", "m2"], "'m2' is not understood"),
        (["--action=a", "--motion=m", "--seed=-1"], "--seed=-1 is out of range; give a whole number from 0"),
        (["--action=a", "--motion=m", "--seed=x"], "--seed=x is not understood; expected a whole number"),
        (["--action=a", "--motion=m", "--views=0"], "--views=0 is out of range; give a whole number from 1 to"),
        (["--action=a", "--motion=m", "--max_instances=0"], "--max_instances=0 is out of range"),
        (["--action=a", "--motion=m", "--fps=nan"], "--fps=nan is not understood; expected a number above 0"),
        (
            ["--action=a", "--motion=m", "--observe.pull=1.5"],
            "--observe.pull=1.5 is out of range; give a number from 0 to 1",
        ),
        (
            ["--action=a", "--motion=m", "--observe.noise_px=-1"],
            "--observe.noise_px=-1.0 is out of range; give a number from 0 to",
        ),
        (
            ["--action=a", "--motion=m", "--observe.noise_px=inf"],
            "noise_px=inf is not understood; expected a number from 0",
        ),
        (["--action=a", "--motion=m", "--observe.drift_frames=0"], "give a number above 0"),
        (
            ["--action=a", "--motion=m", "--observe.focal_range=9,8"],
            "focal_range=9.0,8.0 .* the least and then the greatest",
        ),
        (
            ["--action=a", "--motion=m", "--observe.focal_range=9"],
            "focal_range=9 is not understood; expected two numbers",
        ),
        (["--action=a", "--motion=m", "--observe.distance_range=0,8"], "give two numbers above 0"),
        (["--action=a", "--motion=m", "--observe.image_size=0x480"], "give two whole numbers from 1 to 65535"),
        (["--action=a", "--motion=m", "--observe.lost_fraction=1"], "from 0 up to, but not including, 1"),
        (["--action=a", "--motion=m", "--observe.lost_fraction=0.9"], "lost_burst=5.0 .* 9 or more, as a share of 0.9"),
        (
            ["--action=a", "--motion=m", "--observe.lost_burst=0.5"],
            "lost_burst=0.5 is out of range; give a number from 1",
        ),
    ],
)
def test_bad_flags_are_one_sentence(arguments, message):
    with pytest.raises(UserError, match=message) as error:
        parse(*arguments)
    assert "\n" not in str(error.value)


def test_a_clip_depends_on_its_seed_and_name_alone(motions, tiny_body):
    first, notes = make(motions, tiny_body)
    assert first.names == ("sway.0", "sway.1", "sway.2")
    assert not notes
    assert_equal(first, make(motions, tiny_body)[0])
    (motions / "sway.0.npz").unlink()
    fewer, _ = make(motions, tiny_body, max_instances=1)
    assert fewer.names == ("sway.1",)
    several, _ = make(motions, tiny_body, views=2)
    assert several.names == ("sway.1.v0", "sway.1.v1", "sway.2.v0", "sway.2.v1")
    other, _ = make(motions, tiny_body, seed=1)
    expected = rows(first, "sway.1")
    for key, value in expected.items():
        np.testing.assert_array_equal(value, rows(fewer, "sway.1")[key])
        np.testing.assert_array_equal(value, rows(several, "sway.1.v0")[key])
    for different in (rows(other, "sway.1"), rows(several, "sway.1.v1")):
        assert not np.array_equal(expected["keypoints"], different["keypoints"])
        assert not np.array_equal(expected["init_pose"], different["init_pose"])
        np.testing.assert_array_equal(expected["joints"], different["joints"])
    cameras = [camera.position for camera in several.cameras]
    assert len({tuple(position) for position in cameras}) == 4


def test_frame_rates(tmp_path, tiny_body):
    write_motion(tmp_path / "sway.0.npz", frames=41, fps=120.0)
    write_motion(tmp_path / "sway.1.npz", frames=41, fps=25.0)
    dataset, _ = make(tmp_path, tiny_body)
    assert dataset.clips.fps.tolist() == [30, 25]
    assert dataset.clips.frame_mask.sum(1).tolist() == [11, 41]
    fast, _ = make(tmp_path, tiny_body, fps=60.0)
    assert fast.clips.fps.tolist() == [60, 60]
    assert fast.clips.frame_mask.sum(1).tolist() == [21, 97]


def test_broken_motions_are_notes(motions, tiny_body):
    write_motion(motions / "sway.1.npz", trans=np.zeros((3, 3)))
    (motions / "sway.2.npz").write_bytes(b"PK")
    dataset, notes = make(motions, tiny_body)
    assert dataset.names == ("sway.0",)
    assert re.search(r"Left out .*sway\.1\.npz \(trans has shape \(3, 3\), expected \(20, 3\) for 20 poses\)", notes[0])
    assert re.search(r"sway\.2\.npz \(not a \.npz file", notes[1])
    (motions / "sway.0.npz").unlink()
    with pytest.raises(DatasetError, match=r"--motion=.* has no usable motion: .*sway\.1\.npz .*sway\.2\.npz"):
        make(motions, tiny_body)


def test_a_person_outside_the_image_is_notes(motions, tiny_body):
    # The camera is aimed a kilometre off.
    with pytest.raises(DatasetError, match=r"sway\.0 \(no joint of it is seen in its image\)"):
        make(motions, tiny_body, observe=ObservationModel(aim_sd=1000.0, image_size=(8, 8)))


def pinhole(camera, points):
    """Pixels of world points, written out: rows of the world-to-camera rotation, then similar triangles."""
    right, down, forward = np.asarray(camera.world_from_camera).T
    offset = points - camera.position
    depth = offset @ forward
    width, height = camera.image_size
    return np.stack(
        [width / 2 + camera.focal * (offset @ right) / depth, height / 2 + camera.focal * (offset @ down) / depth], -1
    )


def standard_errors(dataset):
    """What is left of the keypoints over the spread that the noise model states, and the share of joints not seen."""
    scaled, lost = [], []
    for n, camera in enumerate(dataset.cameras):
        clip = rows(dataset, dataset.names[n])
        exact = pinhole(camera, clip["joints"].astype(float))
        moved = np.concatenate([np.zeros((1, 25)), np.linalg.norm(np.diff(exact, axis=0), axis=-1)])
        inside = ((exact > 60) & (exact < np.array(camera.image_size) - 60)).all(-1)
        seen = clip["confidence"] > 0
        scaled.append(((clip["keypoints"] - exact) / (5.0 + 0.12 * moved)[..., None])[seen & inside])
        lost.append(~seen[inside])
    return np.concatenate(scaled), np.concatenate(lost)


def test_keypoints_scatter_about_the_truth_as_stated(tmp_path, tiny_body):
    for number in range(4):
        write_motion(tmp_path / f"sway.{number}.npz", frames=400, seed=number)
    dataset, _ = make(tmp_path, tiny_body, observe=ObservationModel(swapped_fraction=0.0))
    errors, lost = standard_errors(dataset)
    assert errors.std() == pytest.approx(1.0, abs=0.02)
    assert errors.mean() == pytest.approx(0.0, abs=0.02)
    assert np.mean(np.abs(errors) < 1) == pytest.approx(0.683, abs=0.01)  # normal
    assert lost.mean() == pytest.approx(0.08, abs=0.015)
    assert 1 - np.concatenate([rows(dataset, name)["init_mask"] for name in dataset.names]).mean() == pytest.approx(
        0.04, abs=0.025
    )


def test_the_command_writes_what_a_fit_reads(run_py, tiny_body_file, tmp_path):
    folder = tmp_path / "bewegung à deux"
    for number in range(2):
        write_motion(folder / f"sway.{number}.npz", frames=9, seed=number)
    output = tmp_path / "my clips"
    arguments = ["simulate", f"--motion={folder}", "--action=sway", "--seed=3", f"--body_model={tiny_body_file}"]
    done = run_py(*arguments, f"--output_dir={output}")
    assert done.returncode == 0, done.stderr
    assert f"python run.py --action=sway '--data_dir={output}' --body_model={tiny_body_file}" in done.stdout
    assert f"{output / 'sway' / 'sway.1.npz'}: 9 frames at 30 per second" in done.stdout
    read = neutral.load(output, "sway")
    settings = simulate.SimulateSettings("sway", str(folder), seed=3)
    assert_equal(read, simulate.make(settings, loaders.load_body(tiny_body_file))[0])
    assert read.synthetic
    assert read.truth is not None
    assert len(read.cameras) == 2

    wrong = run_py(*arguments[:2], "--action=jump")
    assert wrong.returncode == 2
    assert wrong.stderr.strip().splitlines() == [
        f"error: --action=jump names no motion in {folder}, which holds sway; name one of these"
    ]


@needs_mocap
@pytest.mark.parametrize("action", ACTIONS)
def test_recorded_actions(action, tmp_path):
    body = loaders.load_body()
    settings = simulate.SimulateSettings(action, str(MOCAP), observe=ObservationModel(swapped_fraction=0.0))
    dataset, notes = simulate.make(settings, body)
    assert not notes
    assert len(dataset.names) == ACTIONS[action]
    neutral.write(dataset, tmp_path)
    assert_equal(dataset, neutral.load(tmp_path, action))
    errors, lost = standard_errors(dataset)
    assert errors.std() == pytest.approx(1.0, abs=0.03)
    assert lost.mean() == pytest.approx(0.08, abs=0.03)
    for n, path in enumerate(amass.find(MOCAP, action)):
        stored = np.load(path)
        joints = rows(dataset, dataset.names[n])["joints"]
        # People stand upright on a level floor and go as far as their pelvis was recorded to go.
        assert (joints[:, 1, 1] > joints[:, 8, 1] - 0.3).all()
        assert np.median(joints[:, 1, 1] - joints[:, [11, 14], 1].mean(1)) > 1.0
        moved = stored["trans"] - stored["trans"][0]
        pelvis = dataset.truth.translation[n, : len(moved)]
        np.testing.assert_allclose(pelvis - pelvis[0], np.stack([moved[:, 0], moved[:, 2], -moved[:, 1]], 1), atol=1e-5)


@needs_mocap
@pytest.mark.slow
def test_a_recorded_action_is_fitted(tmp_path, monkeypatch):
    """Simulated, read back and fitted for a few hundred steps, the poses are nearer to the truth than they began."""
    settings = simulate.SimulateSettings("punch_left", str(MOCAP), output_dir=str(tmp_path / "clips"))
    simulate.run(settings)
    steps = {"warmup_steps": 100, "camera_steps": 50, "joint_steps": 300, "hidden": 128, "batch_size": 128}
    steps |= {"rescue_steps": 0}
    metrics = fit(
        Settings(
            action="punch_left",
            data_dir=str(tmp_path / "clips"),
            output_dir=str(tmp_path / "results"),
            **dict.fromkeys(presentation.PARTS, False),
            fit=dataclasses.replace(FitConfig(), **steps),
        ),
        presentation.begin,
    )
    assert metrics["num_instances"] == 5
    assert metrics["synthetic"]
    assert 60 < metrics["mpjpe_mm/init"] < 140
    assert metrics["mpjpe_mm/fit"] < 0.75 * metrics["mpjpe_mm/init"]
