"""Figures for a paper: nothing cut off, readable at the printed size, fonts embedded, and the numbers behind the bars."""

import dataclasses
import re
import zlib

import jax
import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.text import Text
from PIL import Image

from experiments.evaluation import scores
from experiments.show import figures
from experiments.show.figures import comparison, curves, joint_errors, posed, rollout, sheet


@pytest.fixture(autouse=True)
def _style():
    with matplotlib.rc_context(sheet.RC):
        yield


def repeated(dataset, fitted, count):
    """The same clips again and again, under long names that Matplotlib would take for formulas."""
    index = np.arange(count) % len(dataset.names)
    take = lambda tree: jax.tree.map(lambda leaf: np.asarray(leaf)[index], tree)
    params = fitted.params
    many = dataclasses.replace(
        fitted,
        params=dataclasses.replace(take(dataclasses.replace(params, field=None)), field=params.field),
        prediction=take(fitted.prediction),
        **{
            field: take(getattr(fitted, field))
            for field in (
                "poses",
                "head_2d",
                "raw_phases",
                "camera_from_world",
                "camera_translation",
                "focal",
                "principal",
            )
        },
    )
    named = dataclasses.replace(
        dataset,
        clips=take(dataset.clips),
        names=tuple(f"_a_name_that_is_very_long_$x$_{i:04d}" for i in range(count)),
        truth=take(dataset.truth),
        cameras=tuple(dataset.cameras[i] for i in index),
        box_size=take(dataset.box_size),
    )
    return named, many


def without_truth(dataset):
    clips = dataclasses.replace(dataset.clips, init_mask=np.zeros_like(dataset.clips.init_mask))
    return dataclasses.replace(dataset, clips=clips, truth=None, cameras=None, synthetic=False)


def texts(figure):
    return [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]


def assert_printable(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    width, height = figure.get_size_inches()
    assert width <= sheet.WIDTH + 1e-6
    assert height <= 9.6
    used = figure.get_tightbbox(canvas.get_renderer())
    assert used.x0 >= -0.005 and used.y0 >= -0.005
    assert used.x1 <= width + 0.005 and used.y1 <= height + 0.005
    assert min(text.get_fontsize() for text in texts(figure)) >= 8


def test_all_files_with_truth(tmp_path, tiny_dataset, tiny_fitted, make_run):
    written = figures.write_all(make_run(tiny_dataset, tiny_fitted, tmp_path))
    names = {f"{name}.{kind}" for name in figures.NAMES for kind in ("png", "pdf")}
    assert {path.name for path in written} == names == {path.name for path in (tmp_path / "figures").iterdir()}
    for path in written:
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert image.width <= sheet.WIDTH * sheet.DPI + 1
                assert min(image.size) > 2 * sheet.DPI
        else:
            assert_fonts_embedded(path.read_bytes())
    figures.remove(tmp_path)
    assert not (tmp_path / "figures").exists()


def assert_fonts_embedded(pdf):
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    for stream in streams:
        try:
            pdf += zlib.decompress(stream)
        except zlib.error:
            continue
    assert b"/FontFile2" in pdf, "no TrueType font in the file"
    assert b"/Type3" not in pdf


def test_the_same_figure_is_the_same_file(tmp_path, tiny_dataset, tiny_fitted, make_run):
    for folder in ("a", "b"):
        sheet.save(curves.draw_phases(make_run(tiny_dataset, tiny_fitted)), tmp_path / folder, "f")
    for suffix in ("png", "pdf"):
        assert (tmp_path / f"a/f.{suffix}").read_bytes() == (tmp_path / f"b/f.{suffix}").read_bytes()


@pytest.mark.parametrize("count", [1, 2, 8, 11])
def test_figures_of_few_and_many_clips_are_printable(tiny_dataset, tiny_fitted, make_run, count):
    run = make_run(*repeated(tiny_dataset, tiny_fitted, count))
    assert_printable(curves.draw_phases(run))
    assert_printable(curves.draw_trajectories(run))
    assert_printable(joint_errors.draw(run))
    grid = rollout.draw(run)
    assert_printable(grid)
    assert len(grid.axes[0].images) == rollout.COLUMNS * (1 + min(count, rollout.ROWS))
    title = texts(grid)[0].get_text()
    assert ("8 of 11 clips" in title) == (count == 11)
    compared = comparison.draw(run)
    assert_printable(compared)
    assert len(compared.axes[0].images) == 7 * min(count, comparison.ROWS)


def test_figures_without_truth_and_initial_estimate(tiny_dataset, tiny_fitted, make_run, tmp_path):
    run = make_run(without_truth(tiny_dataset), tiny_fitted, tmp_path)
    figure = comparison.draw(run)
    assert_printable(figure)
    shown = [text.get_text() for text in texts(figure)]
    assert "truth" not in shown and "initial" not in shown
    assert shown.count("fit") == 2
    bars = joint_errors.draw(run)
    assert_printable(bars)
    assert "box" in bars.axes[0].get_ylabel()
    figures.write_all(run)


def test_truth_without_cameras_is_moved_onto_the_fit(tiny_dataset, perfect, make_run):
    """Where the fit is the truth the two cells of a row are the same picture, but for the colour."""
    run = make_run(dataclasses.replace(tiny_dataset, cameras=None), perfect)
    figure = comparison.draw(run)
    assert any("moved onto the fit" in text.get_text() for text in texts(figure))
    fit, truth = (comparison._body(run, 0, 3, name) for name in ("fit", "truth"))
    np.testing.assert_allclose(truth.mesh, fit.mesh, atol=1e-3)
    np.testing.assert_allclose(truth.root, fit.root, atol=1e-3)


def test_the_true_camera_sees_the_true_body_where_the_simulator_did(tiny_dataset, perfect, make_run):
    truth = comparison._body(make_run(tiny_dataset, perfect), 1, 2, "truth")
    # The tiny body has a vertex at each joint: SMPL's joint 17 is the right shoulder, BODY_25's 2.
    expected = tiny_dataset.cameras[1].project(np.asarray(tiny_dataset.truth.joints)[1, 2, 2])
    np.testing.assert_allclose(truth.pixels[17], expected, atol=0.05)


def test_the_field_is_sampled_at_the_phases_of_the_frames(tiny_dataset, tiny_fitted, tiny_config):
    seen, params = tiny_fitted.prediction, tiny_fitted.params
    phases = seen.phase[0, :4]
    codes = np.repeat(np.asarray(params.codes)[:1], 4, 0)
    rotation, translation = posed.sample(params, tiny_config, phases, codes, np.repeat(params.mirrored[:1], 4))
    np.testing.assert_allclose(rotation, seen.rotations[0, :4], atol=1e-5)
    np.testing.assert_allclose(translation, seen.translation[0, :4], atol=1e-5)


def test_the_fastest_moment_is_found(tiny_dataset, tiny_fitted):
    """All joints stand still but for a wrist, which moves between phases 0.6 and 0.7."""
    count = tiny_dataset.clips.frame_mask.shape[1]
    phase = np.linspace(0, 1, count)
    joints = np.zeros((len(tiny_dataset.names), count, 25, 3), np.float32)
    joints[..., 4, 0] = np.interp(phase, [0.6, 0.7], [0, 1])
    prediction = dataclasses.replace(tiny_fitted.prediction, keypoints=joints, phase=np.tile(phase, (len(joints), 1)))
    fitted = dataclasses.replace(tiny_fitted, prediction=prediction)
    full = dataclasses.replace(tiny_dataset.clips, frame_mask=np.ones_like(tiny_dataset.clips.frame_mask))
    moment = comparison.fastest_phase(dataclasses.replace(tiny_dataset, clips=full), fitted)
    assert 0.55 <= moment <= 0.75


def test_the_frame_shown_has_an_initial_estimate_and_joints(tiny_dataset, tiny_fitted):
    mask = np.zeros_like(tiny_dataset.clips.init_mask)
    mask[:, 1] = mask[:, 6] = 1
    clips = dataclasses.replace(tiny_dataset.clips, init_mask=mask)
    dataset = dataclasses.replace(tiny_dataset, clips=clips)
    assert comparison.frame_at(dataset, tiny_fitted, 0, 0.0) == 1
    assert comparison.frame_at(dataset, tiny_fitted, 0, 1.0) == 6
    confidence = np.array(clips.confidence)
    confidence[0, 1] = 0
    blind = dataclasses.replace(dataset, clips=dataclasses.replace(clips, confidence=confidence))
    assert comparison.frame_at(blind, tiny_fitted, 0, 0.0) == 6


def test_errors_of_the_joints_are_those_of_the_table(tiny_dataset, tiny_fitted, tiny_body, make_run):
    each = joint_errors.pose_errors(make_run(tiny_dataset, tiny_fitted))
    _, table = scores.evaluate(tiny_dataset, tiny_fitted, tiny_body, None, 0.5)
    for method in ("init", "fit"):
        expected = [table[name][f"mpjpe_mm/{method}"] for name in tiny_dataset.names]
        np.testing.assert_allclose(each[method].mean(-1), expected, rtol=1e-4)


def test_a_perfect_fit_has_no_errors(tiny_dataset, perfect, make_run):
    assert joint_errors.pose_errors(make_run(tiny_dataset, perfect))["fit"].max() < 0.1
    exact = dataclasses.replace(tiny_dataset.clips, keypoints=np.asarray(perfect.prediction.keypoints_2d))
    shares = joint_errors.reprojection_shares(make_run(dataclasses.replace(tiny_dataset, clips=exact), perfect))
    assert np.nanmax(shares) < 1e-6


def test_reprojection_shares_by_hand(tiny_dataset, tiny_fitted, make_run):
    clips = tiny_dataset.clips
    shape = clips.confidence.shape
    confidence = np.zeros(shape, np.float32)
    confidence[0, :3, 4] = 1
    pixels = np.asarray(tiny_fitted.scored_2d).copy()
    pixels[0, :3, 4, 0] += [3.0, 5.0, 100.0]
    dataset = dataclasses.replace(
        tiny_dataset,
        clips=dataclasses.replace(clips, keypoints=pixels, confidence=confidence),
        box_size=np.full(shape[:2], 50.0, np.float32),
    )
    shares = joint_errors.reprojection_shares(make_run(dataset, tiny_fitted))
    assert shares[0, 4] == pytest.approx(0.1, rel=1e-3)
    assert np.isfinite(shares).sum() == 1


def test_reprojection_shares_are_held_against_the_reference(tiny_dataset, tiny_fitted, make_run):
    """As in the table of numbers: against people's annotations where the clips' keypoints are a detector's."""
    shape = tiny_dataset.clips.confidence.shape
    pixels = np.asarray(tiny_fitted.scored_2d).copy()
    pixels[0, :3, 4, 0] += 10.0
    confidence = np.zeros(shape, np.float32)
    confidence[0, :3, 4] = 1
    dataset = dataclasses.replace(
        tiny_dataset, reference_2d=(pixels, confidence), box_size=np.full(shape[:2], 50.0, np.float32)
    )
    shares = joint_errors.reprojection_shares(make_run(dataset, tiny_fitted))
    assert shares[0, 4] == pytest.approx(0.2, rel=1e-3)
    assert np.isfinite(shares).sum() == 1


def test_names_are_cut_in_the_middle():
    name = "a_long_name_of_a_recording_0007"
    short = sheet.fit_text(name, 8, 0.9)
    assert "…" in short
    assert short.startswith("a_") and short.endswith("07")
    assert sheet.fit_text("kick_1", 8, 0.9) == "kick_1"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("kick_1", "kick_1"),
        ("baseball_pitch.0", "baseball_\npitch.0"),
        ("a_name_that_is_longer_than_two_lines_0012", "a_name_that_\nis_lon…s_0012"),
    ],
)
def test_names_of_rows(tiny_dataset, name, expected):
    dataset = dataclasses.replace(tiny_dataset, names=(name, "b" * 40))
    assert sheet.row_label(dataset, 0, "frame 3") == f"{expected}\nframe 3"
    first, rest = sheet.row_label(dataset, 1).split("\n")
    assert set(first) == {"b"} and "…" in rest


def test_metres_are_equal_along_both_axes_from_above(tiny_dataset, tiny_fitted, make_run):
    above = curves.draw_trajectories(make_run(tiny_dataset, tiny_fitted)).axes[0]
    (x0, x1), (z0, z1) = above.get_xlim(), above.get_ylim()
    assert above.get_aspect() == 1
    assert abs(x1 - x0) == pytest.approx(abs(z1 - z0))
    assert z0 > z1, "with x to the right, z points down as seen from above"
    assert not above.findobj(LineCollection)
