"""The report: one page that needs nothing else, says what it found by rules that hand-made fits meet, and how to do it
again."""

import base64
import dataclasses
import html.parser
import io
import json
import shlex
from urllib.parse import unquote

import jax
import numpy as np
import pytest
from absl import flags as absl_flags
from PIL import Image

from experiments.commands import fit as flags
from experiments.evaluation import scores, summary
from experiments.fitting.settings import Settings
from experiments.show import figures, report
from experiments.show.report import checks, markup, page, reproduce, table
from nemo_jax.config import FitConfig
from nemo_jax.fit import with_steps

VOID = {"meta", "img", "br", "hr", "link"}


class Page(html.parser.HTMLParser):
    """Every tag closed in its turn; text, sources and links collected."""

    def __init__(self, text):
        super().__init__()
        self.open, self.images, self.links, self.ids, self.texts, self.tags = [], [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append(tag)
        self.ids += [attributes["id"]] if "id" in attributes else []
        if tag == "img":
            assert attributes["alt"]
            self.images.append(attributes["src"])
        if tag == "a":
            self.links.append(attributes["href"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def write(run, settings=None, notes=()):
    numbers, each = scores.evaluate(run.dataset, run.fitted, run.body, None, 0.5)
    metrics = {
        **numbers,
        "seconds/total": 70.0,
        "seconds/compile": 30.0,
        "seconds/fit": 35.0,
        "device": "cpu (2 cores)",
    }
    metrics["version/jax"] = "9.9.9"
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / "metrics.json").write_text(json.dumps(metrics))
    settings = settings or Settings(action="baseball_pitch")
    path = report.write(dataclasses.replace(run, metrics=metrics), settings, each, notes)
    return path, Page(path.read_text(encoding="utf-8")), metrics


@pytest.fixture(scope="module")
def full(tmp_path_factory, tiny_dataset, tiny_fitted, make_run):
    output = tmp_path_factory.mktemp("report") / "results"
    run = make_run(tiny_dataset, tiny_fitted, output)
    figures.write_all(run)
    (output / "viewer.html").write_text("x")
    (output / "overlay").mkdir()
    (output / "overlay" / "a film.mp4").write_bytes(b"x")
    return output, *write(run, notes=["A note <of> the data."])


def test_the_page_needs_nothing_beside_it(full):
    output, path, seen, _ = full
    text = path.read_text(encoding="utf-8")
    assert path == output / "report.html"
    assert path.stat().st_size < 8e6
    assert "script" not in seen.tags and "link" not in seen.tags
    assert "@import" not in text and "url(" not in text and "http" not in text
    assert len(seen.images) >= len(figures.NAMES)
    for source in seen.images:
        kind, data = source.split(",", 1)
        assert kind in ("data:image/jpeg;base64", "data:image/png;base64")
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            image.load()
            assert max(image.size) <= 1400


def test_links_lead_to_what_is_there(full):
    output, _, seen, _ = full
    inside = [link[1:] for link in seen.links if link.startswith("#")]
    assert set(inside) <= set(seen.ids)
    beside = [unquote(link) for link in seen.links if not link.startswith("#")]
    assert {"viewer.html", "overlay/a film.mp4", "figures/rollout.pdf", "metrics.json"} <= set(beside)
    assert [link for link in beside if not (output / link).exists()] == []


def test_the_page_says_what_was_fitted_and_how_well(full, tiny_dataset):
    *_, seen, metrics = full
    frames = int(np.asarray(tiny_dataset.clips.frame_mask).sum())
    assert f"2, {frames} frames" in seen.text
    for part in ("open body", "cpu (2 cores)", "1 min 10 s in all", "9.9.9", "A note <of> the data."):
        assert part in seen.text
    for key in ("mpjpe_mm/init", "mpjpe_mm/fit", "g_mpjpe_mm/fit"):
        assert f"{metrics[key]:.1f}" in seen.text
    assert f"more than {checks.HIGH_ERROR:.0%}" in seen.text
    assert all(text in seen.text for text in checks.CRITERIA.values())


def test_every_number_is_explained(tiny_dataset):
    keys = [key for _, _, key, _, _ in (*summary._ERRORS, *summary._PIXELS)]
    assert {label.strip() for label, *_ in (*summary._ERRORS, *summary._PIXELS)} <= table.MEANING.keys()
    metrics = {key if "/" in key else f"{key}/fit": 1.0 for key in keys}
    shown = Page(table.numbers(tiny_dataset, metrics))
    assert shown.tags.count("tr") == len(keys) + 1


def test_a_bare_run_has_a_page_too(tmp_path, tiny_dataset, tiny_fitted, make_run):
    """No truth, no initial poses, no pictures, nothing that was switched on; one clip is seen in no frame."""
    clips = tiny_dataset.clips
    confidence = np.array(clips.confidence)
    confidence[1] = 0
    clips = dataclasses.replace(clips, init_mask=np.zeros_like(clips.init_mask), confidence=confidence)
    dataset = dataclasses.replace(tiny_dataset, clips=clips, truth=None, cameras=None, synthetic=False)
    _, seen, _ = write(make_run(dataset, tiny_fitted, tmp_path / "results"))
    for part in ("none: the clips are lifted from 2D", "None were written", "0% of its annotated joints are visible"):
        assert part in seen.text
    assert "MPJPE" not in seen.text.split("What looks wrong")[0]
    assert "none is compared" in seen.text


def test_names_are_text(tmp_path, tiny_dataset, tiny_fitted, make_run):
    names = ("<script>alert('1')<!--", 'a"&b')
    dataset = dataclasses.replace(tiny_dataset, names=names, action="<b>x")
    path, seen, _ = write(make_run(dataset, tiny_fitted, tmp_path / "results"), Settings(action="<b>x"))
    assert "<script" not in path.read_text()
    assert all(name in seen.text for name in (*names, "<b>x"))


def test_text_is_escaped_once():
    assert markup.element("p", "a < b", markup.element("i", "&"), class_='"') == (
        '<p class="&quot;">a &lt; b<i>&amp;</i></p>'
    )


# --- what looks wrong ---


@pytest.fixture
def several(tiny_dataset, tiny_fitted):
    """Six clips that do the same and are seen the same: the first of the tiny ones again and again."""
    take = lambda tree: jax.tree.map(lambda leaf: np.repeat(np.asarray(leaf)[:1], 6, 0), tree)
    clips = take(tiny_dataset.clips)
    clips = dataclasses.replace(clips, confidence=np.ones_like(clips.confidence) * clips.frame_mask[..., None])
    dataset = dataclasses.replace(
        tiny_dataset,
        clips=clips,
        names=tuple("abcdef"),
        truth=None,
        cameras=None,
        box_size=take(tiny_dataset.box_size),
    )
    level = np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]])
    fitted = dataclasses.replace(
        tiny_fitted,
        params=take(dataclasses.replace(tiny_fitted.params, field=None)),
        prediction=take(tiny_fitted.prediction),
        head_2d=take(tiny_fitted.head_2d),
        raw_phases=take(tiny_fitted.raw_phases),
        camera_from_world=np.tile(level, (6, 1, 1)),
        camera_translation=np.tile([0.0, 0.0, 6.0], (6, 1)),
        focal=take(tiny_fitted.focal),
        principal=take(tiny_fitted.principal),
    )
    return dataset, fitted


def kinds(dataset, fitted):
    return [(finding.instance, finding.kind) for finding in checks.findings(dataset, fitted, 0.5)]


def change(fitted, **arrays):
    return dataclasses.replace(fitted, prediction=dataclasses.replace(fitted.prediction, **arrays))


def test_equal_clips_are_in_order(several):
    assert kinds(*several) == []


def test_another_motion(several):
    dataset, fitted = several
    joints = np.array(fitted.prediction.keypoints)
    # A hand that is 4 m off is 267 mm on average over 15 joints.
    joints[2, :, 4, 0] += 4.0
    fitted = change(fitted, keypoints=joints)
    assert kinds(dataset, fitted) == [(2, "motion")]
    assert checks.motion_distances(dataset, fitted)[2] == pytest.approx(4000 / 15, rel=1e-3)


def test_a_mirrored_clip_is_named_and_compared_as_the_others_move(several):
    from body_models import joints as jn

    dataset, fitted = several
    joints = np.array(fitted.prediction.keypoints)
    joints[..., 4, 0] += 1.0
    joints[3] = joints[3][:, jn.MIRROR_BODY_25] * [-1, 1, 1]
    flags_ = np.array(fitted.params.mirrored)
    flags_[3] = 1
    turned = dataclasses.replace(
        change(fitted, keypoints=joints), params=dataclasses.replace(fitted.params, mirrored=flags_)
    )
    assert kinds(dataset, turned) == [(3, "mirrored")]
    np.testing.assert_allclose(checks.motion_distances(dataset, turned), 0, atol=1e-3)


def test_an_unusual_code(several):
    dataset, fitted = several
    codes = np.zeros_like(fitted.params.codes)
    codes[:, 0] = [-1, 1, -1, 1, -1, 9]
    fitted = dataclasses.replace(fitted, params=dataclasses.replace(fitted.params, codes=codes))
    assert kinds(dataset, fitted) == [(5, "code")]


def test_an_unusual_time_warp(several):
    dataset, fitted = several
    count = int(dataset.clips.frame_mask[0].sum())
    phase = np.tile(fitted.raw_phases[0], (6, 1))
    phase[1, :count] = phase[1, :count] ** 3
    found = list(kinds(dataset, change(fitted, phase=phase, keypoints=np.zeros((6, phase.shape[1], 25, 3)))))
    assert (1, "time warp") in found and {instance for instance, kind in found if kind == "time warp"} == {1}


def test_a_phase_that_stands_still(several):
    dataset, fitted = several
    count = int(dataset.clips.frame_mask[0].sum())
    phase = np.array(np.tile(fitted.raw_phases[0], (6, 1)))
    phase[:, :count] = np.interp(np.linspace(0, 1, count), [0, 0.25, 0.75, 1], [0, 0.5, 0.5, 1])
    still = change(fitted, phase=phase, keypoints=np.zeros((6, phase.shape[1], 25, 3)))
    assert kinds(dataset, still) == [(n, "time warp") for n in range(6)]


def test_clips_hardly_seen(several):
    dataset, fitted = several
    confidence = np.array(dataset.clips.confidence)
    confidence[0, :, 10:] = 0
    hidden = dataclasses.replace(dataset, clips=dataclasses.replace(dataset.clips, confidence=confidence))
    assert kinds(hidden, fitted) == [(0, "detections")]
    assert checks.seen_shares(hidden, 0.5)[0] == pytest.approx(0.4)


def test_a_long_gap(several):
    dataset, _ = several
    frames = 40
    longer = lambda array, fill: np.full((6, frames, *array.shape[2:]), fill, np.float32)
    clips = dataclasses.replace(
        dataset.clips,
        confidence=longer(dataset.clips.confidence, 1),
        keypoints=longer(dataset.clips.keypoints, 0),
        frame_mask=np.ones((6, frames), np.float32),
    )
    clips.confidence[4, 20:30] = 0
    clips.confidence[5, 20:29] = 0
    found = checks._detections(dataclasses.replace(dataset, clips=clips), 0.5)
    assert [(finding.instance, finding.text) for finding in found] == [(4, "frames 20 to 29 show fewer than 3 joints")]


@pytest.mark.parametrize(
    ("translation", "turn", "text"),
    [
        ([0, 0, 0.5], (0, 0), "m away"),
        ([0, 0, 90], (0, 0), "90 m away"),
        ([0, 0, -6], (0, 0), "behind"),
        ([0, 0, 6], (50, 0), "looks down by 50°"),
        ([0, 0, 6], (-50, 0), "looks up by 50°"),
        ([0, 0, 6], (0, 30), "rolled by 30°"),
    ],
)
def test_cameras_that_cannot_be(several, translation, turn, text):
    dataset, fitted = several
    down, roll = np.radians(turn)
    tilt = np.array([[1, 0, 0], [0, np.cos(down), np.sin(down)], [0, -np.sin(down), np.cos(down)]])
    spin = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    rotation, place = np.array(fitted.camera_from_world), np.array(fitted.camera_translation)
    # A camera that is turned down by `down` sees what was straight ahead further up, at smaller y.
    rotation[2] = spin @ tilt.T @ rotation[2]
    place[2] = translation
    joints = np.zeros_like(fitted.prediction.keypoints)
    fitted = dataclasses.replace(change(fitted, keypoints=joints), camera_from_world=rotation, camera_translation=place)
    found = checks.findings(dataset, fitted, 0.5)
    assert [(finding.instance, finding.kind) for finding in found] == [(2, "camera")]
    assert text in found[0].text


def test_the_true_cameras_are_level_and_where_they_are(tiny_dataset, perfect):
    moved = np.stack([-c.world_from_camera.T @ c.position for c in tiny_dataset.cameras])
    fitted = dataclasses.replace(perfect, camera_translation=moved)
    for n, camera in enumerate(tiny_dataset.cameras):
        place = checks.camera_place(tiny_dataset, fitted, n)
        frames = int(tiny_dataset.clips.frame_mask[n].sum())
        away = np.linalg.norm(np.asarray(tiny_dataset.truth.joints)[n, :frames, 8] - camera.position, axis=-1)
        assert place.distance == pytest.approx(np.median(away), rel=1e-4)
        assert abs(place.roll) < 6


def test_stretches_by_hand():
    high, low = 0.2, 0.01
    errors = np.array(
        [
            [low, high, high, low, low, 0.3, low, low, low, high],
            [low, np.nan, low, low, low, low, low, low, low, low],
            [low, low, low, 0.9, np.nan, 0.06, low, low, low, low],
        ]
    )
    found = [(s.instance, s.first, s.last, s.worst, s.error) for s in checks.stretches(errors)]
    assert found == [(2, 3, 5, 3, 0.9), (0, 1, 5, 5, 0.3), (0, 9, 9, 9, 0.2)]


def test_errors_of_frames_by_hand(several):
    dataset, fitted = several
    pixels = np.array(fitted.scored_2d)
    pixels[0, 2, :, 1] += 7.0
    confidence = np.array(dataset.clips.confidence)
    confidence[1, 3, 2:] = 0
    clips = dataclasses.replace(dataset.clips, keypoints=pixels, confidence=confidence)
    box = np.full_like(dataset.box_size, 70.0)
    errors = checks.frame_errors(dataclasses.replace(dataset, clips=clips, box_size=box), fitted, 0.5)
    assert errors[0, 2] == pytest.approx(0.1, rel=1e-3)
    assert np.isnan(errors[1, 3])
    assert np.nansum(errors) == pytest.approx(0.1, rel=1e-3)


def test_bad_frames_are_shown(tmp_path, several, make_run):
    dataset, fitted = several
    clips = dataclasses.replace(dataset.clips, keypoints=np.array(fitted.scored_2d))
    clips.keypoints[4, 1:3, :, 0] += 0.5 * dataset.box_size[4, 1]
    dataset = dataclasses.replace(dataset, clips=clips)
    seen = Page(page.build(make_run(dataset, fitted, tmp_path), Settings(action="a"), {}, ()))
    assert "2 frames in 1 clip far from the input" in seen.text
    assert "1–2 (up to" in seen.text
    assert "e, frame" in seen.text
    assert len(seen.images) == 1


# --- the command ---


@pytest.mark.parametrize(
    "arguments",
    [
        ["--action=baseball_pitch"],
        ["--action=kick off", "--data_dir=a b/c'd", "--max_instances=3", "--seed=7", "--overlay=false", "--compare"],
        ["--action=x", "--init=a.pkl", "--init=b c.npz", "--holdout=0.25", "--fit.joint_steps=30"],
        [
            "--action=x",
            "--preset=default",
            "--fit.kernel=matern52",
            "--fit.lr_field=0.0002",
            "--fit.find_handedness=false",
        ],
        ["--action=x", "--videos=clips/*.mp4", "--person=a=2,b=largest", "--fps=29.97"],
    ],
)
def test_the_command_makes_the_same_settings(arguments):
    parse = lambda words: flags.parse(words, absl_flags.FlagValues())
    settings = parse(["run.py", *arguments])
    command = shlex.split(reproduce.command(settings, 8))
    assert command[:2] == ["python", "run.py"]
    again = parse(command[1:])
    counted = lambda one: dataclasses.replace(one, fit=with_steps(one.fit, 8))
    assert counted(again) == counted(settings)


def test_a_plain_command_stays_plain():
    assert reproduce.command(Settings(action="kick"), 5) == "python run.py --action=kick"
    # As `config.json` has them, with what the clips decided.
    decided = dataclasses.replace(with_steps(FitConfig(), 5), lift=True)
    assert reproduce.command(Settings(action="kick", fit=decided, resume=False), 5) == "python run.py --action=kick"
