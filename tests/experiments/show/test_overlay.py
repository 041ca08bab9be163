"""The films: read back, they have the frames, the size, the rate and the colours that they should."""

import dataclasses
import io

import av
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from scipy.spatial.transform import Rotation

from body_models import loaders, smpl
from experiments.data.footage import Video
from experiments.show import style
from experiments.show.render import bodies, floor, grid, marks, mp4, overlay, views
from experiments.show.render.overlay import Show
from experiments.show.render.rasterizer import Projection
from experiments.show.render.views import View
from nemo_jax import rotations

SIZE = (96, 54)  # a twentieth of what the synthetic cameras see


def read(path):
    """Pictures (F, H, W, 3) of a film, and its stream."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])
        return frames, stream


def quiet():
    return Console(file=io.StringIO(), width=200)


@pytest.fixture(scope="module")
def body():
    """The open body: the tiny one has no skin to draw."""
    return loaders.load_body()


@pytest.fixture(scope="module")
def films(body, perfect, tiny_dataset, make_run):
    """Two short clips as small pictures, and their perfect fit, seen by the true cameras."""
    scale = SIZE[0] / tiny_dataset.cameras[0].image_size[0]
    clips = dataclasses.replace(
        tiny_dataset.clips,
        keypoints=np.asarray(tiny_dataset.clips.keypoints) * scale,
        image_size=np.array([SIZE] * 2, np.float32),
    )
    dataset = dataclasses.replace(tiny_dataset, clips=clips)
    cameras = tiny_dataset.cameras
    fitted = dataclasses.replace(
        perfect,
        prediction=dataclasses.replace(perfect.prediction, keypoints_2d=perfect.prediction.keypoints_2d * scale),
        camera_translation=np.stack([-c.world_from_camera.T @ c.position for c in cameras]).astype(np.float32),
        focal=np.array([c.focal * scale for c in cameras], np.float32),
        principal=np.array([SIZE] * 2, np.float32) / 2,
    )
    return make_run(dataset, fitted, body=body)


def count(scene, instance):
    return int(np.asarray(scene.dataset.clips.frame_mask[instance]).sum())


def coloured(pictures, colour, tolerance=60):
    """Pixels whose hue is that of a colour: the direction from grey, as shading only darkens."""
    wanted = np.array(marks.rgb(colour)) / np.linalg.norm(marks.rgb(colour))
    norm = np.linalg.norm(pictures.astype(float), axis=-1, keepdims=True)
    return np.linalg.norm(pictures / np.maximum(norm, 1) - wanted, axis=-1) < tolerance / 255


def orange(picture):
    """Pixels of the initial estimate, which lets grey shine through, so that only its tint is sure."""
    return picture[..., 0].astype(int) - picture[..., 2] > 25


class TestBodies:
    def test_the_fit_is_where_its_camera_sees_it(self, films, body):
        frames = [0, 3, 5]
        camera = bodies.camera(films, 1, 0)
        for frame, vertices in zip(frames, bodies.of_fit(films, 1, frames), strict=True):
            posed = smpl.vertices(
                body,
                jnp.asarray(films.fitted.prediction.rotations[1, frame]),
                jnp.asarray(films.fitted.params.betas[1]),
                jnp.asarray(films.fitted.prediction.translation[1, frame]),
            )
            true = films.dataset.cameras[1].project(np.asarray(posed, float)) * SIZE[0] / 1920
            seen = camera.focal * vertices[:, :2] / vertices[:, 2:] + camera.principal
            np.testing.assert_allclose(seen, true, atol=0.02)

    def test_the_initial_estimate_stands_at_the_fits_root(self, films, body):
        mask = np.asarray(films.dataset.clips.init_mask[0])[: count(films, 0)]
        frames = range(len(mask))
        found = list(bodies.of_initial(films, 0, frames))
        assert [vertices is not None for vertices in found] == list(mask > 0)
        frame = int(np.flatnonzero(mask)[-1])
        pose = np.asarray(films.dataset.clips.init_pose[0, frame])
        betas = jnp.asarray(films.fitted.params.betas[0])
        alone = smpl.vertices(body, rotations.axis_angle_to_matrix(jnp.asarray(pose)), betas, jnp.zeros(3))
        root = np.asarray(smpl.rest_joints(body, betas)[0])
        turn, moved = films.fitted.camera_from_world[0], films.fitted.camera_translation[0]
        place = turn @ (root + films.fitted.prediction.translation[0, frame]) + moved
        np.testing.assert_allclose(found[frame] - place, np.asarray(alone) - root, atol=1e-4)

    def test_the_true_pose_as_initial_estimate_is_the_fit(self, films):
        fitted = films.fitted
        world = Rotation.from_matrix(np.asarray(fitted.prediction.rotations[0], float).reshape(-1, 3, 3))
        pose = world.as_rotvec().reshape(-1, 24, 3)
        pose[:, 0] = (Rotation.from_matrix(fitted.camera_from_world[0]) * Rotation.from_rotvec(pose[:, 0])).as_rotvec()
        init = np.array(films.dataset.clips.init_pose)
        init[0] = pose
        clips = dataclasses.replace(films.dataset.clips, init_pose=init, init_mask=films.dataset.clips.frame_mask)
        run = dataclasses.replace(films, dataset=dataclasses.replace(films.dataset, clips=clips))
        one = np.stack(list(bodies.of_fit(run, 0, [1, 4])))
        other = np.stack(list(bodies.of_initial(run, 0, [1, 4])))
        np.testing.assert_allclose(other, one, atol=1e-4)


class TestViews:
    @pytest.mark.parametrize(
        ("image", "size", "scale"),
        [
            ((320, 568), (320, 568), 1),
            ((1920, 1080), (960, 540), 0.5),
            ((481, 271), (480, 270), 1),
            ((1000, 333), (960, 318), 0.96),
        ],
    )
    def test_whole(self, image, size, scale):
        view = views.whole(np.array(image), 960)
        assert view.size == size and view.scale == pytest.approx(scale) and view.corner == (0, 0)

    def test_around_holds_the_points(self):
        points = np.array([[20, 30], [40, 50], [np.nan, 3]])
        view = views.around(points, np.array([200, 100]), 1.5, (150, 100), margin=0.1)
        placed = view.place(points[:2])
        assert (placed > 5).all() and (placed < [145, 95]).all()
        # 20 pixels and margins of 2, 1.5 times as wide as high, in 100 pixels.
        assert view.scale == pytest.approx(100 / 24)
        assert view.corner == pytest.approx((30 - 18, 40 - 12))

    def test_around_stays_in_the_picture(self):
        view = views.around(np.array([[-5.0, 3], [30, 20]]), np.array([200, 100]), 1.0, (60, 60))
        assert view.corner == (0, 0)
        nothing = views.around(np.zeros((0, 2)), np.array([200, 100]), 2.0, (60, 30), margin=0)
        assert nothing.corner == (0, 0) and nothing.scale == pytest.approx(0.3)

    def test_background_cuts_and_scales(self):
        picture = np.zeros((40, 60, 3), np.uint8)
        picture[10:20, 30:40] = [255, 0, 0]
        cut = views.background(picture, np.array([60, 40]), View((30, 10), 2.0, (30, 20)))
        # Scaling mixes pixels with their neighbours.
        assert (cut[2:18, 2:18] == [255, 0, 0]).all() and (cut[:, 22:] == 0).all() and cut.shape == (20, 30, 3)

    def test_background_of_a_finer_picture(self):
        picture = np.zeros((80, 120, 3), np.uint8)
        picture[:, 60:] = 200
        shown = views.background(picture, np.array([60, 40]), views.whole(np.array([60, 40]), 960))
        assert shown.shape == (40, 60, 3)
        assert (shown[:, :29] == 0).all() and (shown[:, 31:] == 200).all()

    def test_background_beyond_the_picture_is_grey(self):
        picture = np.full((40, 60, 3), 7, np.uint8)
        shown = views.background(picture, np.array([60, 40]), View((-10, 0), 1.0, (80, 40)))
        grey = marks.rgb(style.SHADE)
        assert (shown[:, :10] == grey).all() and (shown[:, 10:70] == 7).all() and (shown[:, 70:] == grey).all()
        nothing = views.background(None, np.array([60, 40]), View((0, 0), 1.0, (60, 40)))
        assert (nothing == grey).all()
        beside = views.background(picture, np.array([60, 40]), View((500, 0), 1.0, (20, 20)))
        assert (beside == grey).all()


class TestMarks:
    def test_joints_have_the_colour_of_their_side(self):
        picture = np.full((40, 120, 3), 90, np.uint8)
        pixels = np.zeros((25, 2))
        pixels[[4, 7]] = [[20.5, 20.5], [60.5, 20.5]]  # right and left wrist
        pixels[1] = np.nan
        visible = np.isin(np.arange(25), [1, 4, 7])
        marks.draw_joints(picture, pixels, visible, 3.0)
        assert tuple(picture[20, 20]) == marks.rgb(style.RIGHT)
        assert tuple(picture[20, 60]) == marks.rgb(style.LEFT)
        assert (picture[:, 80:] == 90).all() and (picture[0, 0] == 90).all()

    def test_joints_at_the_edge_and_outside(self):
        picture = np.full((20, 20, 3), 90, np.uint8)
        pixels = np.array([[0.0, 0.0], [-50, 5], [20, 20], [1e9, 3], [5, -1e9]])
        marks.draw_joints(picture, pixels, np.ones(5, bool), 3.0)
        assert (picture[0, 0] != 90).any() and (picture[-1, -1] != 90).any() and (picture[10, 10] == 90).all()

    def test_words_that_are_too_long_are_cut(self):
        text = marks.shorten("a rather long name of a clip", 14, 80)
        assert text.endswith("…") and marks.font(14).getlength(text) <= 80
        assert marks.shorten("short", 14, 80) == "short"


class TestMp4:
    def test_read_back(self, tmp_path):
        path = tmp_path / "new" / "film.mp4"
        colours = [marks.rgb(c) for c in (style.FIT, style.INITIAL, style.LEFT)]
        with mp4.writing(path, (32, 48), 29.97) as add:
            for colour in colours:
                add(np.full((48, 32, 3), colour, np.uint8))
        frames, stream = read(path)
        assert frames.shape == (3, 48, 32, 3)
        assert float(stream.average_rate) == pytest.approx(29.97)
        assert stream.codec_context.name == "h264" and stream.codec_context.pix_fmt == "yuv420p"
        np.testing.assert_allclose(frames.mean((1, 2)), colours, atol=4)
        # The index comes before the pictures.
        data = path.read_bytes()
        assert 0 < data.index(b"moov") < data.index(b"mdat")
        assert list(path.parent.iterdir()) == [path]

    @pytest.mark.parametrize(("fps", "rate"), [(240, (240, 1)), (23.976024, (24000, 1001)), (12.5, (25, 2))])
    def test_rates(self, fps, rate):
        assert mp4.exact_rate(np.float32(fps).item()).as_integer_ratio() == rate

    def test_odd_sizes_are_refused(self, tmp_path):
        with pytest.raises(ValueError, match=r"even, not \(31, 48\)"), mp4.writing(tmp_path / "x.mp4", (31, 48), 30):
            pass

    def test_a_film_that_fails_is_not_left(self, tmp_path):
        with pytest.raises(ValueError, match="ndim"), mp4.writing(tmp_path / "x.mp4", (32, 48), 30) as add:
            add(np.zeros((48, 32), np.uint8))
        assert not (tmp_path / "x.mp4").exists()


class TestGrid:
    def test_nearest_frames_never_go_back(self):
        phase = np.array([0.0, 0.1, 0.1, 0.5, 0.9, 1.0])
        wanted = np.linspace(0, 1, 41)
        found = grid.nearest_frames(phase, wanted)
        assert (np.diff(found) >= 0).all() and found[0] == 0 and found[-1] == 5
        off = np.abs(phase[found] - wanted)
        np.testing.assert_allclose(off, np.abs(phase[:, None] - wanted).min(0), atol=1e-9)
        assert (grid.nearest_frames(np.zeros(1), wanted) == 0).all()

    def test_plan(self, films):
        fps = np.array([30.0, 60.0], np.float32)
        clips = dataclasses.replace(films.dataset.clips, fps=fps)
        plan = grid.make_plan(dataclasses.replace(films, dataset=dataclasses.replace(films.dataset, clips=clips)))
        counts = [count(films, 0), count(films, 1)]
        for cell in range(2):
            phase = np.asarray(films.fitted.prediction.phase)[cell, : counts[cell]]
            np.testing.assert_allclose(
                np.abs(phase[plan.in_step[:, cell]] - plan.phases),
                np.abs(phase[:, None] - plan.phases).min(0),
                atol=1e-6,
            )
            assert (np.diff(plan.plain[:, cell]) >= 0).all()
        # In plain time the second clip runs through its frames twice as fast, and waits at its last.
        both = plan.plain[plan.plain[:, 1] < counts[1] - 1]
        assert (np.abs(both[:, 1] - 2 * both[:, 0]) <= 1).all()
        assert tuple(plan.plain[-1]) == (counts[0] - 1, counts[1] - 1)
        # A third of a second would be over before it is seen.
        seconds = np.median(np.array(counts) / fps)
        assert len(plan.phases) == 75 and plan.rate == pytest.approx(seconds / 2.5)

    def test_many_clips_are_thinned(self, films, make_run):
        names = tuple(f"clip_{i}" for i in range(40))
        repeat = lambda tree: jax.tree.map(lambda leaf: np.repeat(np.asarray(leaf), 20, axis=0), tree)
        dataset = dataclasses.replace(films.dataset, names=names, clips=repeat(films.dataset.clips), truth=None)
        fitted = dataclasses.replace(films.fitted, prediction=repeat(films.fitted.prediction))
        plan = grid.make_plan(make_run(dataset, fitted))
        assert len(plan.instances) == 16 and plan.instances[0] == 0 and plan.instances[-1] == 39
        assert plan.notes(40) == [
            "all_synchronised.mp4 and all_unsynchronised.mp4 show 16 of the 40 clips, evenly spread."
        ]

    def test_one_clip_has_no_grid(self, films):
        first = jax.tree.map(lambda leaf: leaf[:1], films.dataset.clips)
        assert (
            grid.make_plan(
                dataclasses.replace(
                    films, dataset=dataclasses.replace(films.dataset, names=("a",), clips=first, truth=None)
                )
            )
            is None
        )

    def test_a_clip_may_have_the_name_of_a_grid(self):
        assert grid.film_name("all_synchronised") == "all_synchronised_clip.mp4"
        assert grid.film_name("pitch 1 ü") == "pitch 1 ü.mp4"


class TestStills:
    def test_the_body_is_on_the_joints(self, films):
        shown = overlay.still(films, 0, 2, show=Show(joints=False))
        assert shown.shape == (*SIZE[::-1], 3)
        pixels = films.fitted.prediction.keypoints_2d[0, 2]
        for joint in (1, 8):  # neck, middle of the hips: well within the body
            column, row = np.floor(pixels[joint]).astype(int)
            assert coloured(shown, style.FIT)[row, column]
        assert tuple(shown[1, 1]) == marks.rgb(style.SHADE)

    def test_what_to_show(self, films):
        frame = int(np.flatnonzero(np.asarray(films.dataset.clips.init_mask[0]))[0])
        nothing = overlay.still(films, 0, frame, show=Show(fit=False, joints=False))
        assert (nothing == marks.rgb(style.SHADE)).all()
        initial = overlay.still(films, 0, frame, show=Show(fit=False, initial=True, joints=False))
        assert orange(initial).sum() > 20 and not coloured(initial, style.FIT).any()

    def test_a_view_of_the_person(self, films):
        pixels = np.asarray(films.fitted.prediction.keypoints_2d[0, 2])
        view = views.around(pixels, np.array(SIZE), 0.75, (90, 120))
        shown = overlay.still(films, 0, 2, view, Show(joints=False))
        assert shown.shape == (120, 90, 3)
        column, row = np.floor(view.place(pixels[8])).astype(int)
        assert coloured(shown, style.FIT)[row, column]
        small = overlay.still(films, 0, 2, show=Show(joints=False))
        assert coloured(shown, style.FIT).sum() > 2 * coloured(small, style.FIT).sum()


class TestWriteAll:
    @pytest.fixture(scope="class")
    def written(self, films, tmp_path_factory):
        output = tmp_path_factory.mktemp("results")
        (output / "overlay").mkdir()
        (output / "overlay" / "gone.mp4").write_bytes(b"")
        (output / "overlay" / "mine.txt").write_text("kept")
        console = quiet()
        overlay.write_all(dataclasses.replace(films, folder=output), console)
        return output / "overlay", console.file.getvalue()

    def test_the_films(self, written, films):
        folder, said = written
        names = {*(f"{name}.mp4" for name in films.dataset.names), "all_synchronised.mp4", "all_unsynchronised.mp4"}
        assert {path.name for path in folder.iterdir()} == names | {"mine.txt"}
        assert said.startswith("overlay 4 films in ")
        for instance, name in enumerate(films.dataset.names):
            frames, stream = read(folder / f"{name}.mp4")
            assert frames.shape == (count(films, instance), *SIZE[::-1], 3)
            assert float(stream.average_rate) == pytest.approx(float(films.dataset.clips.fps[instance]))
            np.testing.assert_allclose(frames[:, 1, 1], [marks.rgb(style.SHADE)] * len(frames), atol=4)
            expected = overlay.still(films, instance, 3)
            assert np.abs(frames[3].astype(float) - expected).mean() < 6

    def test_the_grids(self, written, films):
        folder, _ = written
        plan = grid.make_plan(films)
        for name, schedule in (("all_synchronised", plan.in_step), ("all_unsynchronised", plan.plain)):
            frames, stream = read(folder / f"{name}.mp4")
            assert len(frames) == len(schedule) and stream.average_rate == 30
            assert frames.shape[1] <= 800 and frames.shape[2] <= 1280
            # The bars of the phase are empty at the start, half full in between and full at the end.
            full = 2 * 6 * plan.views[0].size[0]
            bars = [coloured(frames[at], style.CYCLE[2], 40).sum() / full for at in (0, len(frames) // 2, -1)]
            np.testing.assert_allclose(bars, [0, 0.5, 1], atol=0.2)
            # A body in each half of the picture.
            middle = frames.shape[2] // 2
            blue = coloured(frames[len(frames) // 2], style.FIT)
            assert blue[:, :middle].sum() > 500 and blue[:, middle:].sum() > 500

    def test_pictures_from_disk(self, films, tmp_path):
        frames = count(films, 0)
        paths = [str(tmp_path / f"{i}.png") for i in range(frames)]
        for path in paths[2:]:
            Image.new("RGB", SIZE, (10, 160, 10)).save(path)
        (tmp_path / "1.png").write_bytes(b"not a picture")
        paths[2] = None
        dataset = dataclasses.replace(films.dataset, frame_paths=(tuple(paths), None))
        console = quiet()
        overlay.write_all(dataclasses.replace(films, folder=tmp_path, dataset=dataset), console)
        shown, _ = read(tmp_path / "overlay" / f"{dataset.names[0]}.mp4")
        grey, green = marks.rgb(style.SHADE), (10, 160, 10)
        np.testing.assert_allclose(shown[:, 1, 1], [grey] * 3 + [green] * (frames - 3), atol=6)
        # Frame 2 has no picture, which is no fault; those of frames 0 and 1 cannot be read.
        assert (
            f"Note: 2 pictures could not be read, the first is frame 0 of {dataset.names[0]}; the overlay is grey there."
            in console.file.getvalue()
        )

    def test_films_from_disk(self, films, tmp_path):
        frames = count(films, 1)
        with mp4.writing(tmp_path / "film.mp4", SIZE, 30) as add:
            for i in range(frames + 5):
                add(np.full((*SIZE[::-1], 3), 8 * i, np.uint8))
        which = np.arange(frames) + 5
        which[0] = -1
        videos = (None, Video(str(tmp_path / "film.mp4"), which))
        dataset = dataclasses.replace(films.dataset, videos=videos)
        overlay.write_all(dataclasses.replace(films, folder=tmp_path, dataset=dataset), quiet())
        shown, _ = read(tmp_path / "overlay" / f"{dataset.names[1]}.mp4")
        expected = np.concatenate([[marks.rgb(style.SHADE)[0]], 8 * which[1:]])
        np.testing.assert_allclose(shown[:, 1, 1, 0], expected, atol=6)

    def test_compare(self, films, tmp_path):
        overlay.write_all(dataclasses.replace(films, folder=tmp_path), quiet(), compare=True)
        mask = np.asarray(films.dataset.clips.init_mask[0])
        shown, _ = read(tmp_path / "overlay" / f"{films.dataset.names[0]}.mp4")
        # The legend's rim is white in every frame.
        assert (shown[:, 1, 1].min(-1) > 225).all()
        for frame in range(len(shown)):
            seen = overlay.still(films, 0, frame, show=Show(initial=True, joints=False))
            assert orange(seen).any() == bool(mask[frame])

    def test_nothing_to_compare_with(self, films, tmp_path):
        clips = dataclasses.replace(films.dataset.clips, init_mask=np.zeros_like(films.dataset.clips.init_mask))
        console = quiet()
        dataset = dataclasses.replace(films.dataset, clips=clips)
        overlay.write_all(dataclasses.replace(films, folder=tmp_path, dataset=dataset), console, compare=True)
        assert "no initial estimate to compare with" in console.file.getvalue()
        shown, _ = read(tmp_path / "overlay" / f"{films.dataset.names[0]}.mp4")
        np.testing.assert_allclose(shown[0, 1, 1], marks.rgb(style.SHADE), atol=4)


class TestFloor:
    # 2 m above the floor, looking down by 30 degrees along -z.
    TURN = np.array([[1, 0, 0], [0, -np.cos(np.pi / 6), 0.5], [0, -0.5, -np.cos(np.pi / 6)]])

    def camera(self):
        return Projection(self.TURN, -self.TURN @ [0, 2.0, 0], 100.0, np.array([80.0, 60.0]), (160, 120))

    def test_the_grid_stands_still_around_the_feet(self):
        start, end, strength = floor.lines(np.array([0.1, -3.2]))
        np.testing.assert_allclose(np.linalg.norm(end - start, axis=-1), 0.5)
        np.testing.assert_allclose(np.concatenate([start, end]) * 2 % 1, 0, atol=1e-12)
        assert (start[:, 1] == 0).all() and (strength > 0).all() and strength.max() > 0.98
        assert np.abs((start + end)[:, [0, 2]] / 2 - [0.1, -3.2]).max() < 3.0
        # A step of less than half a square moves no line, only how strong they are.
        again = floor.lines(np.array([0.2, -3.15]))[0]
        common = {tuple(row) for row in start} & {tuple(row) for row in again}
        assert len(common) > 0.9 * len({tuple(row) for row in start})

    def test_corners_are_where_the_camera_sees_them(self):
        ends = np.array([[0.5, 0, -3.0]]), np.array([[0.5, 0, -3.5]])
        found = floor.in_picture(*ends, self.camera())
        for pixel, z in zip(found[:2], (3.0, 3.5), strict=True):
            depth = z * np.cos(np.pi / 6) + 2 * 0.5
            below = 2 * np.cos(np.pi / 6) - z * 0.5
            np.testing.assert_allclose(pixel[0], [80 + 50 / depth, 60 + 100 * below / depth])

    def test_lines_behind_the_camera_vanish_and_others_are_cut(self):
        camera = dataclasses.replace(self.camera(), near=0.1)
        start = np.array([[0.5, 0, 5.0], [0.0, 0, 5.0]])
        end = np.array([[0.5, 0, 4.0], [0.0, 0, -5.0]])
        first, last, kept = floor.in_picture(start, end, camera)
        assert kept.tolist() == [1]
        # At the near plane z is (1 - 0.1) / cos 30.
        below = 2 * np.cos(np.pi / 6) + 0.9 / np.cos(np.pi / 6) * 0.5
        np.testing.assert_allclose(first[0], [80, 60 + 100 * below / 0.1])
        assert last[0, 1] < 120

    def test_lines_are_smooth_and_end_at_the_picture(self):
        picture = np.zeros((4, 6, 3), np.uint8)
        marks.draw_lines(picture, np.array([[-1e9, 1.75]]), np.array([[1e9, 1.75]]), np.array([1.0]), "#FFFFFF")
        assert (picture[1] == 191).all() and (picture[2] == 64).all() and not picture[[0, 3]].any()
        picture[:] = 0
        marks.draw_lines(picture, np.array([[2.5, 9.0]]), np.array([[2.5, 1.0]]), np.array([0.5]), "#FFFFFF")
        assert (picture[1:, 2] == 128).all() and picture.sum() == 3 * 3 * 128

    def test_a_shadow_lies_below_a_line_and_ends_at_the_picture(self):
        ends = np.array([[0.0, 1.5], [5.5, 4.0]]), np.array([[4.5, 1.5], [5.5, 0.0]])
        whole, apart = (np.full((4, 6, 3), 100, np.uint8) for _ in range(2))
        marks.draw_lines(whole, *ends, np.array([0.5, 1.0]), "#FFFFFF", "#000000")
        marks.draw_lines(apart, ends[0] + 1, ends[1] + 1, np.array([0.5, 1.0]), "#000000")
        marks.draw_lines(apart, *ends, np.array([0.5, 1.0]), "#FFFFFF")
        np.testing.assert_array_equal(whole, apart)
        assert whole[..., 0].tolist() == [
            [100, 100, 100, 100, 100, 255],
            [178, 178, 178, 178, 100, 255],
            [100, 50, 50, 50, 50, 255],
            [100, 100, 100, 100, 100, 255],
        ]

    def test_only_what_has_a_floor_and_asks_for_it_shows_it(self, films):
        params = dataclasses.replace(films.params, ground=np.zeros(5, np.float32))
        grounded = dataclasses.replace(films, params=params)
        plain = overlay.still(films, 0, 2, show=Show())
        np.testing.assert_array_equal(overlay.still(grounded, 0, 2, show=Show()), plain)
        np.testing.assert_array_equal(overlay.still(films, 0, 2, show=Show(ground=True)), plain)
        shown = overlay.still(grounded, 0, 2, show=Show(ground=True))
        changed = (shown != plain).any(-1)
        # Around the feet, below the head.
        feet = films.fitted.prediction.keypoints_2d[0, 2, [19, 21, 22, 24], 1]
        rows = np.flatnonzero(changed.any(1))
        assert changed.sum() > 20 and rows.min() > films.fitted.prediction.keypoints_2d[0, 2, 0, 1]
        assert rows.min() < feet.mean() < rows.max() + 3
