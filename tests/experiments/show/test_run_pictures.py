"""The pictures: written, of a readable size, nothing cut off, with and without frames, truth and hidden joints."""

import dataclasses

import matplotlib
import matplotlib.image
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image

from experiments.show import overview
from experiments.show.figures import run_pictures
from experiments.show.style import RC

HISTORY = {
    "warmup": {"total": np.geomspace(10, 1, 20), "init_pose": np.geomspace(10, 1, 20)},
    "joint": {"total": np.geomspace(1e3, 1, 50), "code": np.zeros(50), "limits": np.geomspace(1e-9, 1, 50)},
}


@pytest.fixture(autouse=True)
def _style():
    with matplotlib.rc_context(RC):
        yield


def repeated(dataset, fitted, count):
    """The same clips again and again, under other names."""
    import jax

    index = np.arange(count) % len(dataset.names)

    def take(leaf):
        return np.asarray(leaf)[index]

    params = dataclasses.replace(fitted.params, mirrored=take(fitted.params.mirrored))
    many = dataclasses.replace(
        fitted,
        params=params,
        prediction=jax.tree.map(take, fitted.prediction),
        head_2d=take(fitted.head_2d),
        raw_phases=take(fitted.raw_phases),
    )
    clips = jax.tree.map(take, dataset.clips)
    named = dataclasses.replace(
        dataset,
        clips=clips,
        names=tuple(f"clip_{i:04d}" for i in range(count)),
        truth=None,
        box_size=take(dataset.box_size),
    )
    return named, many


def assert_nothing_cut_off(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    used = figure.get_tightbbox(canvas.get_renderer())
    width, height = figure.get_size_inches()
    assert used.x0 >= -0.01
    assert used.y0 >= -0.01
    assert used.x1 <= width + 0.01
    assert used.y1 <= height + 0.01
    texts = [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]
    assert texts
    assert min(text.get_fontsize() for text in texts) >= 9


@pytest.mark.parametrize("count", [1, 2, 8])
def test_overview_page(tiny_dataset, tiny_fitted, make_run, count):
    dataset, fitted = repeated(tiny_dataset, tiny_fitted, count)
    scene = overview.make_scene(make_run(dataset, fitted), None)
    assert_nothing_cut_off(overview.draw_page(scene, range(count), "baseball_pitch (synthetic)"))


def test_overview_with_truth_and_hidden_joints(tiny_dataset, perfect, make_run):
    hidden = np.zeros(tiny_dataset.clips.confidence.shape, bool)
    hidden[..., 4] = True
    scene = overview.make_scene(make_run(tiny_dataset, perfect), hidden)
    exists = np.asarray(tiny_dataset.clips.frame_mask) > 0
    assert np.allclose(scene.run.truth.joints[exists], perfect.prediction.keypoints[exists], atol=1e-3)
    figure = overview.draw_page(scene, [0, 1], "t")
    assert_nothing_cut_off(figure)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "hidden from the fit" in labels
    assert "truth, moved onto the fit" in labels


def test_overview_shows_pictures_where_they_are(tmp_path, tiny_dataset, tiny_fitted, make_run):
    width, height = (int(x) for x in tiny_dataset.clips.image_size[0])
    Image.new("RGB", (width, height), (0, 200, 0)).save(tmp_path / "frame.png")
    (tmp_path / "broken.jpg").write_bytes(b"not a picture")
    frames = tiny_dataset.clips.frame_mask.shape[1]
    paths = ((str(tmp_path / "frame.png"),) * frames, (str(tmp_path / "broken.jpg"),) * (frames - 1) + (None,))
    dataset = dataclasses.replace(tiny_dataset, frame_paths=paths)
    scene = overview.make_scene(make_run(dataset, tiny_fitted), None)
    figure = overview.draw_page(scene, [0, 1], "t")
    run_pictures.save(figure, tmp_path / "overview.png")
    pixels = matplotlib.image.imread(tmp_path / "overview.png")[..., :3]
    green = np.isclose(pixels, [0, 200 / 255, 0], atol=0.02).all(-1)
    assert green[: len(green) // 2].mean() > 0.05
    assert not green[int(0.6 * len(green)) :].any()


@pytest.mark.parametrize("angle", [0.0, 0.4, 1.2, 2.5, -1.0])
def test_the_fixed_view_shows_bodies_from_the_side_on_which_they_spread(angle):
    rng = np.random.default_rng(0)
    joints = rng.normal(size=(50, 25, 3)) * [3.0, 1.0, 0.5]
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    across = overview.widest_direction(joints @ turn.T)
    assert abs(across @ turn[:, 0]) > 0.99
    assert across[0] >= 0
    assert np.cross(across, [0, 1, 0])[2] >= 0


@pytest.mark.parametrize(("count", "expected"), [(1, [0]), (3, [0, 1, 2]), (8, list(range(8)))])
def test_few_instances_are_all_shown(count, expected):
    assert overview.spread(count) == expected


def test_many_instances_are_spread():
    shown = overview.spread(43)
    assert len(shown) == overview.ROWS
    assert (shown[0], shown[-1]) == (0, 42)


def test_all_files(tmp_path, tiny_dataset, tiny_fitted, make_run):
    dataset, fitted = repeated(tiny_dataset, tiny_fitted, 10)
    run_pictures.write_all(make_run(dataset, fitted, tmp_path), HISTORY, None)
    written = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert written == ["losses.png", "overview.png", "overview/page_1.png", "overview/page_2.png", "phases.png"]
    for name in written:
        image = Image.open(tmp_path / name)
        assert min(image.size) > 300
        assert max(image.size) < 2500
    few, fitted_few = repeated(tiny_dataset, tiny_fitted, 2)
    run_pictures.write_all(make_run(few, fitted_few, tmp_path), HISTORY, None)
    assert not list((tmp_path / "overview").glob("*.png"))


@pytest.mark.parametrize("count", [2, 20])
def test_phases(tiny_dataset, tiny_fitted, make_run, count):
    dataset, fitted = repeated(tiny_dataset, tiny_fitted, count)
    figure = run_pictures.draw_phases(make_run(dataset, fitted))
    assert_nothing_cut_off(figure)
    assert len(figure.axes[0].lines) == count + 1


@pytest.mark.parametrize(
    "history", [HISTORY, {"joint": {"total": np.full(3, np.nan)}}, {"joint": {"total": np.ones(1)}}]
)
def test_losses(history):
    figure = run_pictures.draw_losses(history)
    assert_nothing_cut_off(figure)
    assert len(figure.axes) == len(history)
