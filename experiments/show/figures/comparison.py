"""The comparison figure: one moment of several clips as filmed, beside it the initial estimate, the fit and the ground
truth, seen from the camera and from the side."""

import dataclasses

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image, ImageDraw
from scipy.spatial.transform import Rotation

from body_models import joints as jn
from body_models import smpl
from experiments.data import moving_cameras, pictures
from experiments.data.dataset import Dataset
from experiments.results import equal_phases
from experiments.results.fitted_motion import FittedMotion
from experiments.results.reading import Run
from experiments.show.figures import posed
from experiments.show.figures.sheet import Grid, kind, row_label
from experiments.show.overview import spread
from experiments.show.render import bodies, marks, views
from experiments.show.render.rasterizer import Projection
from experiments.show.render.shading import Mesh
from experiments.show.render.shading import draw as draw_meshes
from experiments.show.render.views import View
from experiments.show.style import CENTRE, FIT, INITIAL, TRUTH

Array = np.ndarray

ROWS = 6
_ASPECT = 0.8
_MID_HIP = jn.BODY_25_NAMES.index("mid_hip")
_MIDDLE = [jn.BODY_25_NAMES.index("neck"), _MID_HIP]
_TRUNK = ((2, 5), (9, 12), (2, 9), (5, 12))
_ALPHA = 0.85  # of bodies over a picture
# The side view is from the camera's right, so points far from the camera are on the right.
_SIDE = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
_COLOURS = {"initial": INITIAL, "fit": FIT, "truth": TRUTH}


@dataclasses.dataclass(frozen=True)
class _Body:
    """A mesh (V, 3) in camera axes, metres, its root (3,) and the camera that sees it."""

    mesh: Array
    root: Array
    camera: Projection

    @property
    def pixels(self) -> Array:
        """Pixels (V, 2) of the vertices in the clip's picture; NaN for vertices behind the lens."""
        depth = np.where(self.mesh[:, 2:] > self.camera.near, self.mesh[:, 2:], np.nan)
        return self.camera.focal * self.mesh[:, :2] / depth + self.camera.principal


def draw(run: Run) -> Figure:
    """Draws at most `ROWS` clips; only methods that the clips have get columns."""
    dataset, fitted = run.dataset, run.fitted
    chosen = spread(len(dataset.names), ROWS)
    moment = fastest_phase(dataset, fitted)
    has = {"initial": bool(np.any(dataset.clips.init_mask)), "fit": True, "truth": dataset.truth is not None}
    methods = [name for name, there in has.items() if there]
    grid = Grid(1 + 2 * len(methods), _ASPECT)
    cells, labels = [], []
    for instance in chosen:
        frame = frame_at(dataset, fitted, instance, moment)
        cells.append(_row(run, instance, frame, methods, grid.pixels))
        labels.append(row_label(dataset, instance, f"frame {frame}"))
    groups = [(1, len(methods), "from the camera"), (1 + len(methods), 2 * len(methods), "from the side")]
    columns = ["input", *methods, *methods]
    title = f"{kind(dataset, len(chosen))}, phase {moment:.2f}, where the motion is fastest"
    aligned = "truth" in methods and dataset.cameras is None
    note = "The truth is moved onto the fit as a whole, without scale: its cameras are not known." if aligned else ""
    return grid.draw(cells, labels, columns, title, groups, note)


def fastest_phase(dataset: Dataset, fitted: FittedMotion) -> float:
    """The phase at which the joints of all clips move fastest relative to their roots, smoothed over a tenth of the
    action."""
    grid = np.linspace(0, 1, 101)
    total = np.zeros(100)
    for instance in range(len(dataset.names)):
        even = equal_phases.joints_at(dataset, fitted, instance, grid)
        total += np.linalg.norm(np.diff(even, axis=0), axis=-1).mean(-1)
    smooth = np.convolve(total, np.ones(10), "valid")
    return float(grid[np.argmax(smooth) + 5])


def frame_at(dataset: Dataset, fitted: FittedMotion, instance: int, phase: float) -> int:
    """The clip's frame nearest to a phase, preferably one with visible joints and an initial estimate."""
    clips = dataset.clips
    frames = int(np.asarray(clips.frame_mask[instance]).sum())
    usable = np.asarray(clips.confidence)[instance, :frames].max(-1) > 0
    if (usable & (np.asarray(clips.init_mask)[instance, :frames] > 0.5)).any():
        usable &= np.asarray(clips.init_mask)[instance, :frames] > 0.5
    away = np.abs(np.asarray(fitted.prediction.phase)[instance, :frames] - phase)
    return int(np.argmin(np.where(usable, away, away + 10)))


def _row(run: Run, instance: int, frame: int, methods: list[str], size: tuple[int, int]) -> list[Array | None]:
    dataset = run.dataset
    image_size = np.asarray(dataset.clips.image_size[instance], float)
    seen = np.asarray(dataset.clips.confidence[instance, frame]) > 0
    joints = np.asarray(dataset.clips.keypoints[instance, frame])
    shown = {name: _body(run, instance, frame, name) for name in methods}
    points = [joints[seen], *(one.pixels for one in shown.values() if one is not None)]
    view = views.around(np.concatenate(points), image_size, _ASPECT, size, margin=0.06)
    picture = next(pictures.frames(dataset, instance, [frame]))
    background = views.background(picture, image_size, view)
    cells: list[Array | None] = [_input(background, view.place(joints), seen)]
    for name, one in shown.items():
        cells.append(None if one is None else _over(background, one, name, run.body, view, picture is None))
    # All bodies are drawn at the same scale, the largest at which they fit.
    there = [one for one in shown.values() if one is not None]
    reach = np.max([np.abs((one.mesh - one.root) @ _SIDE.T)[:, :2].max(0) for one in there], axis=0)
    scale = 0.46 * float(min(np.array(size) / reach)) if (reach > 0).all() else 1.0
    for name, one in shown.items():
        if one is None:
            cells.append(None)
        else:
            place = (size[0] / 2, size[1] / 2)
            faces = np.asarray(run.body.faces)
            cells.append(posed.picture(one.mesh, faces, _COLOURS[name], _SIDE, one.root, scale, place, size))
    return cells


def _input(background: Array, pixels: Array, seen: Array) -> Array:
    """The picture with the visible input joints and the limbs between them."""
    image = Image.fromarray(background)
    drawing = ImageDraw.Draw(image)
    # Manual annotations often lack the neck and the middle of the hips: then the trunk is drawn as a box.
    trunk = () if seen[_MIDDLE].all() else _TRUNK
    for limb in (*jn.BODY_25_LIMBS, *trunk):
        if seen[list(limb)].all():
            drawing.line([tuple(point) for point in pixels[list(limb)].tolist()], fill=marks.rgb(CENTRE), width=2)
    drawn = np.array(image)
    marks.draw_joints(drawn, pixels, seen, background.shape[0] / 90)
    return drawn


def _over(background: Array, one: _Body, name: str, body: smpl.SMPL, view: View, plain: bool) -> Array:
    camera = one.camera.view(view.corner, view.scale, view.size)
    mesh = Mesh(one.mesh, np.asarray(body.faces), to_rgb(_COLOURS[name]), 1.0 if plain else _ALPHA)
    return draw_meshes(background, [mesh], camera)


def _body(run: Run, instance: int, frame: int, name: str) -> _Body | None:
    """The body of a method in a frame; None if the method has no pose there."""
    fitted = run.fitted
    turn, move, _ = fitted.camera(instance, frame)
    root = np.asarray(fitted.prediction.keypoints)[instance, frame, _MID_HIP] @ turn.T + move
    camera = bodies.camera(run, instance, frame)
    if name == "fit":
        return _Body(next(bodies.of_fit(run, instance, [frame])), root, camera)
    if name == "initial":
        mesh = next(bodies.of_initial(run, instance, [frame]))
        return None if mesh is None else _Body(mesh, root, camera)
    return _truth(run, instance, frame, camera)


def _truth(run: Run, instance: int, frame: int, fitted_camera: Projection) -> _Body:
    """The true body, seen by the true camera if that is known, else aligned with the fit and seen by its camera."""
    dataset, fitted, body = run.dataset, run.fitted, run.body
    truth, aligned = dataset.truth, run.truth
    assert truth is not None and aligned is not None
    betas = np.zeros((1, body.num_betas), np.float32)
    given = np.asarray(truth.betas)[instance, : body.num_betas]
    betas[0, : len(given)] = given
    # Not by JAX, which would compile each operation by itself.
    matrices = Rotation.from_rotvec(np.asarray(truth.pose)[instance, frame]).as_matrix().astype(np.float32)
    translation = np.asarray(truth.translation)[instance, frame][None]
    mesh = posed.vertices(body, matrices[None], betas, translation)[0]
    joints = np.asarray(truth.joints)[instance]
    root = joints[frame, _MID_HIP]
    if dataset.cameras is not None:
        own = moving_cameras.camera_of(dataset, instance, frame)
        principal = np.asarray(own.image_size) / 2
        camera = dataclasses.replace(fitted_camera, focal=float(own.focal), principal=principal)
        return _Body(own.to_camera(mesh), own.to_camera(root), camera)
    turn, move, _ = fitted.camera(instance, frame)
    place = lambda points: aligned.place(instance, points) @ turn.T + move
    return _Body(place(mesh), place(root), fitted_camera)
