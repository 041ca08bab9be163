"""Pictures of a textured world as a camera that turns, zooms or walks sees it."""

import functools

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial.transform import Rotation

SIZE = (320, 180)
FOCAL = 330.0  # 0.9 diagonals


@functools.cache
def texture(side=1400):
    """Grey values of a wall, at all scales."""
    rng = np.random.default_rng(0)
    grey = sum(scale * gaussian_filter(rng.normal(size=(side, side)), scale) for scale in (1.0, 2.5, 6.0, 20.0))
    return np.clip(128 + 60 * grey / grey.std(), 0, 255).astype(np.float32)


def turns(frames, pan=0.0, tilt=0.0, roll=0.0, shake=0.0, seed=1):
    """Turns (F, 3, 3) from the first camera's, of angles in degrees that the last has, and a shake."""
    share = np.sin(np.linspace(0, np.pi / 2, frames))[:, None]
    angles = share * np.radians([tilt, pan, roll])
    angles[1:] += np.radians(shake) * np.random.default_rng(seed).normal(size=(frames - 1, 3)) * [1, 1, 0.5]
    return Rotation.from_rotvec(angles).as_matrix()


def picture(turn, zoom=1.0, place=(0.0, 0.0, 0.0), near=None, focal=FOCAL, size=SIZE):
    """What a camera sees of a wall 10 m away that is turned by 0.2 radians, and of a nearer one where (H, W) `near`."""
    columns, rows = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    rays = np.stack([columns - size[0] / 2, rows - size[1] / 2, np.full(columns.shape, focal * zoom)], -1)
    rays = rays / (focal * zoom) @ turn  # in the axes of the first camera
    rays[..., 2] = np.maximum(rays[..., 2], 0.05)
    depth = np.full(columns.shape, 10.0) if near is None else np.where(near, 3.0, 10.0)
    where = np.asarray(place) + rays / rays[..., 2:] * (depth[..., None] - place[2])
    at = where[..., :2] / depth[..., None] * 330 + 700 + (0 if near is None else 200 * near[..., None])
    return map_coordinates(texture(), [at[..., 1], at[..., 0]], order=1, mode="mirror")


def film(turn, zoom=None, person=True, noise=1.0, **camera):
    """Pictures (F, H, W) and a function that says where the people of a frame are: somebody dark walks through."""
    zoom = np.ones(len(turn)) if zoom is None else zoom
    rng = np.random.default_rng(2)
    pictures, boxes = [], []
    for number, (own, factor) in enumerate(zip(turn, zoom, strict=True)):
        now = picture(own, factor, **camera)
        left = 40 + 3 * number % 200
        if person:
            now[40:150, left : left + 50] = 40 + 30 * (np.indices((110, 50)).sum(0) // 6 % 2)
        pictures.append(np.clip(now + noise * rng.normal(size=now.shape), 0, 255).astype(np.uint8))
        boxes.append(np.array([[left - 5, 35, left + 55, 155]] if person else np.zeros((0, 4)), float))
    return np.stack(pictures), boxes.__getitem__
