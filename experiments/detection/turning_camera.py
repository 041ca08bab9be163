"""The geometry of a camera that turns and zooms where it stands: what two pictures of it say of turn, zoom and lens.

Pixels are measured from the principal point, the middle of the picture. A camera is a turn, a rotation from the reference
camera to its own, and the logarithm of its zoom.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

Array = np.ndarray

_NEAR = 1.5  # pixels within which a point agrees with a camera
_TRIES = 120  # pairs of points from which a similarity is made
_ROUNDS = 12
_SOFT = 0.5  # pixels, from which on points count less
_LENS_SPREAD = 0.5  # standard deviation of the logarithm of a guessed focal length
_LEAST_NOISE = 0.2  # pixels: what points miss that agree perfectly, as lenses and shutters are not ideal


@dataclasses.dataclass(frozen=True, eq=False)
class Camera:
    """turn (3, 3): its camera from that of the reference. zoom: logarithm of its focal length over that of the reference."""

    turn: Array
    zoom: float


STILL = Camera(np.eye(3), 0.0)


@dataclasses.dataclass(frozen=True, eq=False)
class Match:
    """Points (P, 2) seen by camera number `first`, and where camera number `second` sees them (P, 2)."""

    first: int
    second: int
    points: Array
    seen: Array


def transfer(points: Array, first: Camera, second: Camera, focal: float) -> Array:
    """Where the second camera sees what the first sees at points (P, 2); NaN for what is behind it."""
    rays = _rays(points, first, second, focal)
    depth = np.where(rays[:, 2:] > 0.05, rays[:, 2:], np.nan)
    return focal * np.exp(second.zoom) * rays[:, :2] / depth


def agreeing(before: Array, after: Array, seed: int = 0) -> Array:
    """Which (P,) of the displacements from points (P, 2) to others (P, 2) belong to the similarity that most agree with
    (Fischler and Bolles, Communications of the ACM 1981)."""
    count = len(before)
    if count < 3:
        return np.zeros(count, bool)
    pairs = np.random.default_rng(seed).integers(0, count, (_TRIES, 2))
    one, other = (x[..., 0] + 1j * x[..., 1] for x in (before, after))
    across = one[pairs[:, 1]] - one[pairs[:, 0]]
    # A similarity is z -> a z + b of complex numbers.
    usable = np.abs(across) > 10
    if not usable.any():
        return np.zeros(count, bool)
    pairs, across = pairs[usable], across[usable]
    a = (other[pairs[:, 1]] - other[pairs[:, 0]]) / across
    b = other[pairs[:, 0]] - a * one[pairs[:, 0]]
    near = np.abs(a[:, None] * one + b[:, None] - other) < _NEAR
    best = near[near.sum(1).argmax()]
    if best.sum() < 3:
        return best
    # Once more by all that agree, as the two points of a hypothesis have their own errors.
    design = np.stack([one[best], np.ones(best.sum())], -1)
    (a, b), *_ = np.linalg.lstsq(design, other[best], rcond=None)
    return np.abs(a * one + b - other) < _NEAR


def fit(match: Match, first: Camera, start: Camera, focal: float) -> Camera:
    """The camera that sees a match's points where they were seen, robustly, by the method of Gauss and Newton."""
    camera = start
    for _ in range(_ROUNDS):
        rays = _rays(match.points, first, camera, focal)
        front = rays[:, 2] > 0.05
        rays, seen = rays[front], match.seen[front]
        if len(rays) < 3:
            return camera
        length, depth = focal * np.exp(camera.zoom), rays[:, 2]
        at = length * rays[:, :2] / depth[:, None]
        apart = seen - at
        x, y, z = rays.T
        zero = np.zeros_like(x)
        # Of a small turn d before the projection, a ray moves by d x ray.
        to_x = length / depth * np.stack([-x * y / z, z + x**2 / z, -y], 0)
        to_y = length / depth * np.stack([-(z + y**2 / z), x * y / z, x], 0)
        slopes = np.concatenate(
            [np.stack([*to_x, at[:, 0]], -1), np.stack([*to_y, at[:, 1]], -1)]
        )  # both coordinates, (2 P, 4)
        weight = np.tile(1 / (1 + (apart**2).sum(-1) / _SOFT**2), 2)
        normal = (weight[:, None] * slopes).T @ slopes + 1e-9 * np.eye(4) + 0 * zero[0]
        step = np.linalg.solve(normal, (weight[:, None] * slopes).T @ np.concatenate([apart[:, 0], apart[:, 1]]))
        camera = Camera(Rotation.from_rotvec(step[:3]).as_matrix() @ camera.turn, camera.zoom + step[3])
        if np.abs(step).max() < 1e-7:
            break
    return camera


def residuals(match: Match, cameras: list[Camera], focal: float) -> Array:
    """By how many pixels (P, 2) a match's points are seen elsewhere than its cameras say."""
    return match.seen - transfer(match.points, cameras[match.first], cameras[match.second], focal)


def refine(
    cameras: list[Camera], matches: list[Match], focal: float, known: bool, usual: float | None = None
) -> tuple[list[Camera], float, float]:
    """All cameras together, the first of them the reference, and the focal length that they share.

    Args:
      cameras: where to start. matches: between them. focal: pixels, where to start. known: whether it is right. usual:
        pixels, the likeliest focal length where it is not known; None = where to start.

    Returns:
      Cameras, the focal length, and the standard deviation of its logarithm as the matches tell it: infinite where known.
    """
    start = np.concatenate([[0.0], *([0, 0, 0, camera.zoom] for camera in cameras[1:])])

    def unpack(x: Array) -> tuple[list[Camera], float]:
        moved = [
            Camera(Rotation.from_rotvec(step[:3]).as_matrix() @ camera.turn, float(step[3]))
            for camera, step in zip(cameras[1:], x[1:].reshape(-1, 4), strict=True)
        ]
        return [cameras[0], *moved], focal * float(np.exp(0.0 if known else x[0]))

    def apart(x: Array) -> Array:
        now, lens = unpack(x)
        each = [np.nan_to_num(residuals(match, now, lens), nan=50.0).ravel() for match in matches]
        unusual = x[0] + np.log(focal / (usual or focal))
        return np.concatenate([[_LEAST_NOISE * unusual / _LENS_SPREAD], *each])

    solved = least_squares(apart, start, loss="soft_l1", f_scale=_SOFT, x_scale="jac", max_nfev=30)
    found, lens = unpack(solved.x)
    if known:
        return found, focal, float("inf")
    missed = apart(solved.x)[1:]
    noise = max(1.5 * float(np.median(np.abs(missed))), _LEAST_NOISE)
    # Without the guess, which is the first row.
    normal = solved.jac[1:].T @ solved.jac[1:]
    variance = np.linalg.pinv(normal + 1e-12 * np.trace(normal) * np.eye(len(normal)))[0, 0]
    return found, lens, float(noise * np.sqrt(max(variance, 0.0)))


def between(guess: float, told: float, spread: float) -> float:
    """The focal length between a guess and what pictures tell, by how sure each is; `spread` of the logarithm of the latter.

    What pictures hardly tell runs away: a camera that walks along a wall sees it as the longest of lenses would.
    """
    trust = _LENS_SPREAD**2 / (_LENS_SPREAD**2 + spread**2)
    return float(guess * (told / guess) ** trust)


def by_lens(camera: Camera, focal: float, other: float) -> Camera:
    """The camera that moves the picture as much under another focal length, exactly where it turns little."""
    turn = Rotation.from_matrix(camera.turn).as_rotvec() * [focal / other, focal / other, 1.0]
    return Camera(Rotation.from_rotvec(turn).as_matrix(), camera.zoom)


def _rays(points: Array, first: Camera, second: Camera, focal: float) -> Array:
    """Directions (P, 3) in the axes of the second camera of what the first sees at points (P, 2)."""
    rays = np.concatenate([points / (focal * np.exp(first.zoom)), np.ones((len(points), 1))], -1)
    return rays @ (second.turn @ first.turn.T).T
