"""Recorded motion as films of a clothed body, drawn by the rasteriser: real pictures of which everything is known.

Each film has a look of its own: body, clothes, background, distance, motion blur and compression are drawn from its
random numbers. No film of it looks real; the detector finds the body in them nonetheless.
"""

import dataclasses
import hashlib
from pathlib import Path

import jax
import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.ndimage import zoom as enlarged
from scipy.spatial.transform import Rotation

from body_models import joints as jn
from body_models import posing, smpl
from experiments.data.camera import Camera
from experiments.fitting import checkpoints
from experiments.show.render import mp4
from experiments.show.render.rasterizer import Projection
from experiments.show.render.shading import Mesh, draw
from experiments.simulation import amass, observations
from experiments.simulation.observations import Motion, ObservationModel
from nemo_jax import rotations

Array = np.ndarray
FORMAT = 1  # of the pictures: another number draws all films again
SIZE = (960, 540)
# Near and far, a phone's lens; focal lengths in pixels of `SIZE`, 0.55 to 0.8 diagonals.
CAMERA = ObservationModel(
    image_size=SIZE, focal_range=(605.0, 880.0), distance_range=(3.2, 7.0), height_range=(0.8, 1.8), focal_known=False
)
_BLURRED = 3  # pictures that a blurred frame is the mean of
_SHIRT, _TROUSERS, _SHOES = (0, 3, 6, 9, 13, 14, 16, 17), (1, 2, 4, 5), (7, 8, 10, 11)
_SKINS = ((0.94, 0.78, 0.68), (0.80, 0.58, 0.45), (0.55, 0.38, 0.28), (0.36, 0.24, 0.18))
_SHAPE_SD = 0.6  # of the first shape coefficients
# Of cameras that move, from the first frame to the last: pan and tilt either way, degrees, and zoom; and their shake.
_PAN, _TILT, _ZOOM, _SHAKE = (6.0, 12.0), (2.0, 4.0), (1.1, 1.3), 0.15
_SHAKE_FRAMES = 3.0
_WIDE = 2  # size of the background that such a camera pans over, in pictures


@dataclasses.dataclass(frozen=True)
class Look:
    """What a film looks like. Colours are RGB in [0, 1]; textured: a background with things in it; shutter: share of the
    time between frames for which it is open, 0 = no blur; crf: see `mp4.writing`."""

    skin: tuple[float, ...]
    shirt: tuple[float, ...]
    trousers: tuple[float, ...]
    shoes: tuple[float, ...]
    wall: tuple[float, ...]
    floor: tuple[float, ...]
    textured: bool
    shutter: float
    crf: int


@dataclasses.dataclass(frozen=True)
class Film:
    """A rendered film. camera: of its first frame. joints (F, 25, 3): of the body in the world, metres, at every frame."""

    path: Path
    motion: Motion
    camera: Camera
    joints: Array


@dataclasses.dataclass(frozen=True)
class Turning:
    """How a camera moves where it stands. turn (F, 3, 3), zoom (F,): each frame's camera against the first one's."""

    turn: Array
    zoom: Array


def film(folder: Path, path: Path, body: smpl.SMPL, seed: int, moves: bool = False, textured: bool = False) -> Film:
    """The film of one motion, not drawn again if it is in the folder; equal files, bodies and seeds give equal films.

    Args:
      folder: of the films. path: of the motion. body: what moves. seed: of what is drawn at random.
      moves: whether the camera pans, tilts, zooms and shakes; all else is the same.
      textured: whether there are things in every background, which show how a camera moves.

    Raises:
      FileError: it is no motion.
    """
    rng = np.random.default_rng([seed, *path.stem.encode()])
    motion, _ = amass.read(path, body)
    fps = min(motion.fps, observations.MODELLED_FPS)
    motion = motion if fps == motion.fps else amass.resample(motion, fps)
    betas = np.zeros(body.num_betas)
    betas[:5] = _SHAPE_SD * rng.standard_normal(min(5, body.num_betas))
    motion = dataclasses.replace(motion, betas=betas)
    joints = observations.body_keypoints(body, motion.pose, betas) + motion.translation[:, None]
    camera = observations.draw_camera(rng, joints, CAMERA)
    look = draw_look(rng)
    look = dataclasses.replace(look, textured=look.textured or textured)
    about = (motion.pose, motion.translation, betas, camera.world_from_camera, camera.position)
    text = f"{FORMAT} {SIZE} {camera.focal} {look} {motion.fps} {checkpoints.digest((body, about))}"
    turning = draw_turning(np.random.default_rng([seed, *path.stem.encode()]), len(motion.pose)) if moves else None
    if turning is not None:
        text += checkpoints.digest((turning.turn, turning.zoom))
    mark = hashlib.sha256(text.encode()).hexdigest()[:8]
    made = folder / f"{path.stem}.{mark}.mp4"
    if not made.exists():
        render(made, body, motion, camera, look, rng, turning)
    return Film(made, motion, camera, joints)


def draw_look(rng: np.random.Generator) -> Look:
    """A look."""
    colour = lambda low, high: tuple(float(c) for c in rng.uniform(low, high, 3))
    # Rooms and fields are greyer than clothes.
    muted = lambda low, high: tuple(float(c) for c in rng.uniform(low, high) + rng.uniform(-0.1, 0.1, 3))
    return Look(
        skin=_SKINS[rng.integers(len(_SKINS))],
        shirt=colour(0.05, 0.95),
        trousers=colour(0.05, 0.7),
        shoes=colour(0.05, 0.95),
        wall=muted(0.35, 0.9),
        floor=muted(0.25, 0.7),
        textured=bool(rng.random() < 0.5),
        shutter=float(rng.choice([0.0, 0.25, 0.5])),
        crf=int(rng.choice([20, 28, 34])),
    )


def draw_turning(rng: np.random.Generator, frames: int) -> Turning:
    """A pan with some tilt, zoom and shake over so many frames."""
    share = (1 - np.cos(np.linspace(0, np.pi, frames))) / 2
    pan, tilt = (rng.choice([-1.0, 1.0]) * rng.uniform(*degrees) for degrees in (_PAN, _TILT))
    factor = rng.uniform(*_ZOOM) ** rng.choice([-1.0, 1.0])
    shake = _SHAKE * observations.smooth_noise(rng, frames, (3,), _SHAKE_FRAMES)
    angles = share[:, None] * [tilt, pan, 0.0] + shake - shake[0]
    return Turning(Rotation.from_rotvec(np.radians(angles)).as_matrix(), factor**share)


def render(
    path: Path,
    body: smpl.SMPL,
    motion: Motion,
    camera: Camera,
    look: Look,
    rng: np.random.Generator,
    turning: Turning | None = None,
) -> None:
    """Draws a film; turning: how its camera moves, None = it stands still."""
    wide = tuple((1 if turning is None else _WIDE) * side for side in camera.image_size)
    scene = background(look, dataclasses.replace(camera, image_size=wide), rng)
    faces, colours = np.asarray(body.faces), clothes(body, look)
    camera_from_world = camera.world_from_camera.T
    middle = np.asarray(camera.image_size, float) / 2
    seen = Projection(camera_from_world, -camera_from_world @ camera.position, camera.focal, middle, camera.image_size)
    shaped = (body, np.asarray(motion.betas, np.float32))
    times = 1 if look.shutter == 0 else _BLURRED
    # In the middle of the exposure the body is where the truth is.
    shifts = look.shutter * ((np.arange(times) + 0.5) / times - 0.5)
    poses = [_at(motion, shift) for shift in shifts]
    meshes = zip(*(posing.chunks(_mesh, shaped, *pose) for pose in poses), strict=True)
    number = 0
    with mp4.writing(path, camera.image_size, motion.fps, look.crf) as add:
        for chunk in meshes:
            for vertices in zip(*chunk, strict=True):
                now, behind = seen, scene
                if turning is not None:
                    now, behind = turned(seen, turning, number), panned(scene, camera, turning, number)
                drawn = [draw(behind, [Mesh(points, faces, colours)], now, supersample=1) for points in vertices]
                add(np.mean(drawn, 0).astype(np.uint8))
                number += 1


def turned(seen: Projection, turning: Turning, frame: int) -> Projection:
    """The camera of a frame, by that of the first."""
    turn, factor = turning.turn[frame], float(turning.zoom[frame])
    return dataclasses.replace(
        seen,
        camera_from_world=turn @ seen.camera_from_world,
        translation=turn @ seen.translation,
        focal=factor * seen.focal,
    )


def panned(scene: Array, camera: Camera, turning: Turning, frame: int) -> Array:
    """What a frame shows of a background (H', W', 3) that the camera of the first frame would see around its picture."""
    width, height = camera.image_size
    columns, rows = np.meshgrid(np.arange(width) + 0.5 - width / 2, np.arange(height) + 0.5 - height / 2)
    rays = np.stack([columns, rows, np.full(columns.shape, camera.focal * turning.zoom[frame])], -1)
    rays = rays @ turning.turn[frame]
    at = camera.focal * rays[..., :2] / rays[..., 2:] + [scene.shape[1] / 2 - 0.5, scene.shape[0] / 2 - 0.5]
    places = [at[..., 1], at[..., 0]]
    return np.stack([map_coordinates(scene[..., c], places, order=1, mode="nearest") for c in range(3)], -1)


def _at(motion: Motion, shift: float) -> tuple[Array, Array]:
    """Pose (F, 24, 3) and translation (F, 3) `shift` frames later, between neighbours and not beyond the ends."""
    frames = len(motion.pose)
    at = np.linspace(shift, frames - 1 + shift, frames).clip(0, frames - 1)
    low = np.minimum(np.floor(at).astype(int), max(frames - 2, 0))
    high = np.minimum(low + 1, frames - 1)
    part = at - low
    start, end = (Rotation.from_rotvec(motion.pose[which].reshape(-1, 3)) for which in (low, high))
    turn = (start.inv() * end).as_rotvec() * np.repeat(part, jn.NUM_JOINTS)[:, None]
    pose = (start * Rotation.from_rotvec(turn)).as_rotvec().reshape(frames, jn.NUM_JOINTS, 3)
    steps = motion.translation[high] - motion.translation[low]
    return pose, motion.translation[low] + part[:, None] * steps


def clothes(body: smpl.SMPL, look: Look) -> Array:
    """The colour (V, 3) of each vertex, by the joint that moves it most."""
    owner = np.asarray(body.mesh.rotation_weights).argmax(1)
    colours = np.tile(np.asarray(look.skin), (body.num_vertices, 1))
    for joints, colour in ((_SHIRT, look.shirt), (_TROUSERS, look.trousers), (_SHOES, look.shoes)):
        colours[np.isin(owner, joints)] = colour
    return colours


def background(look: Look, camera: Camera, rng: np.random.Generator) -> Array:
    """A wall and a floor (H, W, 3) uint8, with patches of other colours where the look is textured."""
    width, height = camera.image_size
    # Rows below the horizon show the floor.
    forward = camera.world_from_camera[:, 2]
    level = np.array([forward[0], 0.0, forward[2]])
    point = camera.position + 100.0 * level / np.linalg.norm(level)
    horizon = float(np.nan_to_num(camera.project(point)[1], nan=height / 2))
    floor = (np.arange(height) > horizon + 0.12 * height)[:, None, None]
    scene = np.where(floor, np.asarray(look.floor), np.asarray(look.wall)) * np.ones((height, width, 1))
    if look.textured:
        coarse = rng.uniform(-1, 1, (9, 16, 1)) + 0.3 * rng.uniform(-1, 1, (9, 16, 3))
        blocks = enlarged(coarse, (height / 9, width / 16, 1), order=0)[:height, :width]
        fine = gaussian_filter(rng.standard_normal((height, width)), 3)[..., None]
        scene = scene + 0.15 * blocks + 0.3 * fine
    return (255 * np.clip(np.asarray(scene), 0, 1)).astype(np.uint8)


# Of ONE frame.
def _mesh(shaped: tuple[smpl.SMPL, jax.Array], pose: jax.Array, translation: jax.Array) -> jax.Array:
    return smpl.vertices(shaped[0], rotations.axis_angle_to_matrix(pose), shaped[1], translation)
