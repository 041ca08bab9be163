"""The suite `film`: errors against measured joints by another formula, bad truths, and films of which all is known."""

import dataclasses
import types
from typing import Any

import av
import numpy as np
import pytest
from absl import flags as absl_flags
from rich.console import Console
from scipy.spatial.transform import Rotation

from body_models import joints as jn
from experiments.base.errors import UserError
from experiments.benchmarks.suites import film, film_truth, rendered, variants
from experiments.benchmarks.suites.film_truth import FilmTruth
from experiments.commands import benchmark
from experiments.data.dataset import Instance, stack
from experiments.data.footage import Video
from experiments.show.render import mp4
from nemo_jax.config import FitConfig
from tests.experiments.commands.test_simulate_command import write_motion
from tests.nemo_jax.test_world_metrics import motions, umeyama

FRAMES = 20


def parse(*arguments):
    return benchmark.parse(["run.py", "--suite=film", *arguments], absl_flags.FlagValues())


def cases(*arguments) -> Any:
    settings = parse(*arguments)
    return film.cases(settings, variants.of(settings), Console(quiet=True))


# --- measured joints ---


def test_errors_are_over_what_was_measured():
    predicted, true = motions(FRAMES)
    valid = np.random.default_rng(3).random((FRAMES, 15)) < 0.8
    valid[4, 2:] = False  # two joints align no frame
    frames = np.repeat(np.arange(0, FRAMES, 2), 2)  # the fit's frame rate is not the film's
    truth = FilmTruth("truth", np.where(valid[..., None], true, 0).astype(np.float32), valid, {})
    found = film_truth.errors(predicted[frames].astype(np.float32), frames, truth)

    each, p, t, ok = [], predicted[frames], true[frames], valid[frames]
    for n in range(len(frames)):
        if ok[n].sum() >= 3:
            scale, rotation, translation = umeyama(p[n][ok[n]], t[n][ok[n]], scaled=True)
            each += list(np.linalg.norm(scale * p[n][ok[n]] @ rotation.T + translation - t[n][ok[n]], axis=-1))
    _, rotation, translation = umeyama(p[ok], t[ok], scaled=False)
    whole = np.linalg.norm(p[ok] @ rotation.T + translation - t[ok], axis=-1).mean()
    assert found["pa"] == pytest.approx(1000 * np.mean(each), rel=1e-3)
    assert found["whole"] == pytest.approx(1000 * whole, rel=1e-3)
    assert found["whole"] > 2 * found["pa"]


def test_a_truth_that_ends_before_its_film_is_named():
    _, true = motions(FRAMES)
    truth = FilmTruth("truth_b", true.astype(np.float32), np.ones((FRAMES, 15), bool), {})
    with pytest.raises(UserError, match=r"truth_b\.npz has 20 frames, but a film is fitted up to frame 21"):
        film_truth.errors(true.astype(np.float32), np.arange(1, FRAMES + 1), truth)


GOOD = {"joints": np.ones((4, 15, 3), np.float32), "valid": np.ones((4, 15), bool)}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"joints": np.ones((4, 14, 3))}, r"joints has shape \(4, 14, 3\)"),
        ({"valid": np.ones((3, 15), bool)}, r"valid has shape \(3, 15\)"),
        ({"valid": np.ones((4, 15))}, "valid has shape .* of float64"),
        ({"joints": np.full((4, 15, 3), np.nan)}, "not finite where valid is true"),
        ({"joints": np.full((4, 15, 3), 1e9)}, "joints"),
        ({"K": np.ones((2, 3, 3)), "names": np.array(["a"])}, r"K has shape \(2, 3, 3\), expected \(1, 3, 3\)"),
        ({"valid": None}, "it has no valid"),
    ],
)
def test_bad_truths_are_a_sentence(tmp_path, changes, sentence):
    arrays = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
    np.savez(tmp_path / "truth.npz", **arrays)
    with pytest.raises(UserError, match=rf"truth\.npz cannot be used: .*{sentence}"):
        film_truth.read(tmp_path)


def test_truths_are_read_by_name(tmp_path):
    with pytest.raises(UserError, match=r"has no truth\.npz"):
        film_truth.read(tmp_path)
    joints = GOOD["joints"].copy()
    joints[0, 1] = np.nan
    valid = np.isfinite(joints[..., 0])
    np.savez(tmp_path / "truth_b.npz", joints=joints, valid=valid)
    np.savez(tmp_path / "truth.npz", **GOOD, K=np.array([np.diag([900.0, 900, 1])]), names=np.array(["cam"]))
    first, second = film_truth.read(tmp_path)
    assert (first.name, first.focal, second.name) == ("truth", {"cam": 900.0}, "truth_b")
    assert np.isfinite(second.joints).all() and first.digest != second.digest


def test_folders_without_films_are_a_sentence(tmp_path):
    with pytest.raises(UserError, match=r"--suite=film needs --films= or --motion="):
        parse()
    with pytest.raises(UserError, match=r"--films=.*absent is no folder"):
        cases(f"--films={tmp_path}/absent")
    np.savez(tmp_path / "truth.npz", **GOOD)
    with pytest.raises(UserError, match=r"--films=.* holds no films"):
        cases(f"--films={tmp_path}")


# --- rendered films ---


@pytest.fixture(scope="module")
def made(open_body, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rendered")
    return rendered.film(folder / "films", write_motion(folder / "sway.0.npz", frames=6), open_body, seed=0)


@pytest.fixture(scope="module")
def open_body():
    from body_models import loaders

    return loaders.load_body()


def pictures(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_a_film_shows_the_body_where_it_is(made):
    shown = pictures(made.path)
    assert len(shown) == len(made.joints) == 6 and shown[0].shape == (540, 960, 3)
    assert made.camera.image_size == rendered.SIZE
    hips = made.camera.project(made.joints)[:, jn.BODY_25_NAMES.index("mid_hip")]
    # The hips have the colours of clothes, a corner that of the wall.
    for picture, (x, y) in zip(shown, hips, strict=True):
        assert np.abs(picture[int(y), int(x)].astype(int) - picture[5, 5]).max() > 25


def test_equal_motions_are_drawn_once(made, open_body, monkeypatch):
    motion = made.path.parents[1] / "sway.0.npz"
    monkeypatch.setattr(rendered, "render", lambda *_: pytest.fail("drawn again"))
    again = rendered.film(made.path.parent, motion, open_body, seed=0)
    assert again.path == made.path
    np.testing.assert_array_equal(again.joints, made.joints)
    drawn = []
    monkeypatch.setattr(rendered, "render", lambda path, *_: drawn.append(path))
    rendered.film(made.path.parent, motion, open_body, seed=1)
    assert len(drawn) == 1 and drawn[0] != made.path


def test_looks_differ():
    looks = [rendered.draw_look(np.random.default_rng(seed)) for seed in range(30)]
    assert {look.textured for look in looks} == {True, False}
    assert len({look.shutter for look in looks}) == len({look.crf for look in looks}) == 3
    assert len({look.shirt for look in looks}) == 30


def test_clothes_are_where_they_belong(open_body):
    look = rendered.draw_look(np.random.default_rng(0))
    colours = rendered.clothes(open_body, look)
    height = np.asarray(open_body.mesh.template)[:, 1]
    np.testing.assert_allclose(colours[height.argmax()], look.skin)
    np.testing.assert_allclose(colours[height.argmin()], look.shoes)


def test_the_middle_of_a_blurred_frame_is_where_the_truth_is(made):
    motion = made.motion
    pose, translation = rendered._at(motion, 0.0)
    turned = Rotation.from_rotvec(pose.reshape(-1, 3)) * Rotation.from_rotvec(motion.pose.reshape(-1, 3)).inv()
    assert turned.magnitude().max() < 1e-6
    np.testing.assert_allclose(translation, motion.translation)
    before, after = (rendered._at(motion, shift)[1] for shift in (-0.25, 0.25))
    inner = slice(1, -1)
    np.testing.assert_allclose(after[inner], 0.75 * motion.translation[inner] + 0.25 * motion.translation[2:])
    assert not np.allclose(before[inner], after[inner])


def test_a_moving_camera_turns_with_its_background(made, open_body):
    path = made.path.parents[1] / "sway.0.npz"
    moving = rendered.film(made.path.parent, path, open_body, seed=0, moves=True, textured=True)
    assert moving.path != made.path
    # All else is the same.
    np.testing.assert_array_equal(moving.joints, made.joints)
    np.testing.assert_array_equal(moving.camera.world_from_camera, made.camera.world_from_camera)
    turning = rendered.draw_turning(np.random.default_rng([0, *path.stem.encode()]), 6)
    np.testing.assert_allclose(turning.turn[0], np.eye(3), atol=1e-12)
    assert turning.zoom[0] == 1 and 5 < np.degrees(Rotation.from_matrix(turning.turn[-1]).magnitude()) < 14
    shown, hip = pictures(moving.path), jn.BODY_25_NAMES.index("mid_hip")
    seen = moving.camera.to_camera(moving.joints[:, hip])
    for picture, point, turn, zoom in zip(shown, seen, turning.turn, turning.zoom, strict=True):
        x, y, z = turn @ point
        place = moving.camera.focal * zoom * np.array([x, y]) / z + np.array(rendered.SIZE) / 2
        assert np.abs(picture[int(place[1]), int(place[0])].astype(int) - shown[0][5, 5]).max() > 25
    # A point of the background is where the same turn takes it.
    ramp = np.zeros((1080, 1920, 3))
    ramp[..., 0], ramp[..., 1] = np.arange(1920), np.arange(1080)[:, None]
    still = rendered.panned(ramp, moving.camera, turning, 0)
    np.testing.assert_allclose(still[270, 480], [480 + 480, 270 + 270, 0], atol=1e-6)
    later = rendered.panned(ramp, moving.camera, turning, 5)
    ray = turning.turn[5].T @ [0.5, 0.5, moving.camera.focal * turning.zoom[5]]
    at = moving.camera.focal * ray[:2] / ray[2] + [959.5, 539.5]
    np.testing.assert_allclose(later[270, 480, :2], at, atol=1e-6)


def test_films_of_still_and_moving_cameras_side_by_side(tmp_path, monkeypatch):
    write_motion(tmp_path / "sway.0.npz", frames=6)
    asked = []
    monkeypatch.setattr(film, "_drawn", lambda settings, action, seed, moves, *_: (asked.append(moves), ([], []))[1])
    monkeypatch.setattr(film.fits, "case", lambda cell, *_, **__: cell)
    found, _ = cases(f"--motion={tmp_path}", "--actions=sway", "--seeds=1", "--cameras=both")
    assert [cell.poses for cell in found] == ["rendered film", "rendered film, moving camera"]
    assert asked == [False, True]
    assert [cell.poses for cell in cases(f"--motion={tmp_path}", "--actions=sway", "--seeds=2")[0]] == [
        "rendered film"
    ] * 2


def test_truth_follows_the_frames_of_the_film(made, tiny_dataset):
    frames = np.array([0, 0, 2, 5])
    seen = Instance(np.ones((4, 25, 2)), np.ones((4, 25)), rendered.SIZE, fps=30)
    video = Video(str(made.path), frames)
    dataset = dataclasses.replace(
        tiny_dataset, clips=stack([seen]), names=("a",), videos=(video,), truth=None, cameras=None,
        box_size=np.ones((1, 4)), other_poses={},
    )  # fmt: skip
    known = film.with_truth(dataset, {str(made.path): made})
    assert known.truth is not None
    np.testing.assert_allclose(known.truth.joints[0], made.joints[frames], rtol=1e-6)
    assert known.cameras == (made.camera,) and known.synthetic


def test_compression_can_be_chosen(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (8, 64, 64, 3)).astype(np.uint8)
    for name, crf in (("fine", 20), ("coarse", 40)):
        with mp4.writing(tmp_path / f"{name}.mp4", (64, 64), 25, crf) as add:
            for picture in noise:
                add(picture)
    assert (tmp_path / "coarse.mp4").stat().st_size < 0.5 * (tmp_path / "fine.mp4").stat().st_size


# --- which fits there are, and what is said of them ---


@pytest.fixture
def take(tmp_path, monkeypatch):
    """A folder of three films that nobody opens; returns it, and which films each dataset was asked to be of."""
    np.savez(tmp_path / "truth.npz", **GOOD)
    for name in ("cam1.mp4", "cam2.MP4", "cam10.mov", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    asked = []
    monkeypatch.setattr(film.videos, "load", lambda pattern, name, **_: asked.append((pattern, name)))
    monkeypatch.setattr(film.takes_of_clips, "with_same_take", lambda dataset, said: dataset)
    monkeypatch.setattr(film.fits, "case", lambda cell, *_, **__: cell)
    return tmp_path, lambda: [sorted(part.rsplit("/", 1)[1] for part in pattern.split(",")) for pattern, _ in asked]


def test_films_of_a_take_are_fitted_together_or_alone(take):
    folder, asked = take
    found, _ = cases(f"--films={folder}", "--seeds=2")
    assert asked() == [["cam1.mp4", "cam10.mov", "cam2.MP4"]]
    assert [(cell.action, cell.seed) for cell in found] == [(folder.name, 0), (folder.name, 1)]
    found, _ = cases(f"--films={folder}", "--seeds=1", "--together=false", "--actions=cam1,cam2")
    assert asked()[1:] == [["cam1.mp4"], ["cam2.MP4"]]
    assert [cell.action for cell in found] == ["cam1", "cam2"]
    with pytest.raises(UserError, match=r"--actions=cam3 is no film of .*, which holds cam1, cam10, cam2"):
        cases(f"--films={folder}", "--actions=cam3")


def test_a_fit_is_scored_against_every_truth(tiny_dataset, perfect):
    counts = tiny_dataset.clips.frame_mask.sum(1).astype(int)
    shown = tuple(Video("film.mp4", np.arange(count)) for count in counts)
    name = tiny_dataset.names[0]
    dataset = dataclasses.replace(tiny_dataset, videos=shown, cameras=None)
    fit: Any = types.SimpleNamespace(
        dataset=dataset, as_read=dataset, fitted=perfect, numbers={},
        each={name: {} for name in tiny_dataset.names}, mirrored=[], seconds={"fit": 1.0},
        config=FitConfig(), history={"joint": {"total": np.ones(3)}}, expected_mm=np.full((len(counts), counts.max()), 40.0),
    )  # fmt: skip
    known = np.asarray(perfect.prediction.keypoints)[0, : counts[0], :15]
    turned = known @ Rotation.from_rotvec([0.2, 1, 0.3]).as_matrix().T + 2.0
    frames = np.zeros((counts.max(), 15, 3), np.float32)
    frames[: counts[0]] = turned
    valid = np.ones((counts.max(), 15), bool)
    lens = float(perfect.focal[0]) / 1.1
    truths = [FilmTruth("truth", frames, valid, {name: lens}), FilmTruth("larger", 1.2 * frames, valid, {})]
    numbers, each = film._score(truths, fit)
    own = each[name]
    assert own["film_pa_mm/truth"] < 0.1 and own["film_whole_mm/truth"] < 0.1
    # Scale is forgiven frame by frame, but not for the clip.
    assert own["film_pa_mm/larger"] < 0.1 and own["film_whole_mm/larger"] > 20
    assert own["focal_error"] == pytest.approx(0.1, abs=1e-4)
    assert numbers["loss"] == 1.0


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--shift=7"], r"--shift is of real films as one take; give --suite=film --films= --as_take"),
        (["--calibration=Calib.toml"], r"--calibration is of real films as one take"),
        (["--as_take", "--shift=7,a"], r"--shift=7,a has 'a'; expected whole frames such as 7,-12,31"),
    ],
)
def test_shifts_and_calibrations_are_of_takes(tmp_path, flags, sentence):
    with pytest.raises(UserError, match=sentence):
        parse(f"--films={tmp_path}", *flags)


def test_shifted_films_start_later(tiny_dataset):
    count = len(tiny_dataset.names)
    lengths = (np.asarray(tiny_dataset.clips.frame_mask) > 0).sum(1)
    films = dataclasses.replace(
        tiny_dataset, videos=tuple(Video("a.mp4", np.arange(length)) for length in lengths), frame_paths=None
    )
    said = ["1", "-1", *["0"] * count][: count - 1]
    found = film.shifted(films, said)
    begins = np.array([0, *map(int, said)])
    begins -= begins.min()
    np.testing.assert_array_equal([video.frames[0] for video in found.videos], begins)
    np.testing.assert_array_equal((np.asarray(found.clips.frame_mask) > 0).sum(1), lengths - begins)
    assert film.shifted(films, ()) is films
    with pytest.raises(UserError, match=f"has {count} numbers for {count} films; expected {count - 1}"):
        film.shifted(films, ["0"] * count)
    with pytest.raises(UserError, match="leaves no frame of"):
        film.shifted(films, ["999"] * (count - 1))


def test_how_well_clocks_are_found(tiny_dataset):
    count = len(tiny_dataset.names)
    fps = np.asarray(tiny_dataset.clips.fps, float)
    begins = np.arange(count) * 2
    late = np.linspace(0.0, 1.0, count)
    clips = dataclasses.replace(
        tiny_dataset.clips, take=np.zeros(count, np.float32), offset=np.float32((begins + late) / fps)
    )
    videos = tuple(Video("a.mp4", np.arange(begin, begin + 9)) for begin in begins)
    dataset = dataclasses.replace(tiny_dataset, clips=clips, videos=videos, frame_paths=None)
    params = types.SimpleNamespace(delay=None)
    fit: Any = types.SimpleNamespace(dataset=dataset, fitted=types.SimpleNamespace(params=params))
    np.testing.assert_allclose(film.clock_errors(fit), np.abs(late - late.mean()), atol=1e-4)
    alone: Any = types.SimpleNamespace(
        dataset=dataclasses.replace(dataset, clips=tiny_dataset.clips), fitted=fit.fitted
    )
    assert np.isnan(film.clock_errors(alone)).all()
