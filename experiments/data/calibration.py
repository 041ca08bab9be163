"""What is known of a calibrated camera, whatever file says it: its lens and where it stands.

Lenses are those of OpenCV: a pinhole camera behind a distortion with radial coefficients k1 to k6 and tangential p1, p2
(documentation of OpenCV, module calib3d). Fits know no distortion: keypoints are moved to where a lens without any, and of
one focal length for both axes, would have seen them.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from experiments.data import ranges
from experiments.data.camera import is_rotation

Array = np.ndarray
COEFFICIENTS = (0, 2, 4, 5, 8)  # numbers that a distortion may have
_STEPS = 40
_CLOSE = 1e-7  # of a point on the plane at depth 1
_FARTHEST = 100.0  # metres between a camera and the origin of its calibration
_MACROBLOCK = 16  # pixels, by which films are cut to whole blocks
_SAME_RATIO = 0.01


class CalibrationError(ValueError):
    """A calibration cannot be used; the message says what of it, to stand behind the name of its file."""


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """One camera.

    name: as its file says. size: width and height of its pictures, pixels; None = unknown. matrix (3, 3): intrinsics,
    pixels. distortion (8,): k1, k2, p1, p2, k3, k4, k5, k6 as OpenCV orders them. rotation (3, 3), translation (3,)
    metres: a point of the calibration's world -> in camera axes (x right, y down, z into the scene); None = only the lens is
    known.
    """

    name: str
    size: tuple[float, float] | None
    matrix: Array
    distortion: Array
    rotation: Array | None = None
    translation: Array | None = None

    @property
    def focal(self) -> float:
        """The focal length, pixels, that pictures have after `straight`: the geometric mean of both axes."""
        return float(np.sqrt(self.matrix[0, 0] * self.matrix[1, 1]))

    @property
    def principal(self) -> Array:
        """The principal point (2,), pixels."""
        return self.matrix[:2, 2]

    def straight(self, pixels: Array) -> tuple[Array, Array]:
        """Where a pinhole camera of the same principal point and one focal length sees what is at pixels (..., 2).

        Returns:
          Pixels (..., 2); and whether (...) there is such a place: behind a strong distortion there may be none.
        """
        plane, found = undistorted(self._plane(np.asarray(pixels, float)), self.distortion)
        return self.focal * plane + self.principal, found

    def project(self, points: Array) -> Array:
        """Pixels (..., 2), with distortion, of points (..., 3) of the calibration's world, or of camera axes without one."""
        points = np.asarray(points, float)
        if self.rotation is not None and self.translation is not None:
            points = points @ self.rotation.T + self.translation
        plane = distorted(points[..., :2] / points[..., 2:], self.distortion)
        return plane @ self.matrix[:2, :2].T + self.principal

    def of_size(self, size: tuple[float, float]) -> Calibration:
        """The calibration of the same camera's pictures scaled to another width and height, pixels.

        Sides that differ by less than a block of a video codec are cut, not scaled.

        Raises:
          CalibrationError: no scaling makes one size of the other.
        """
        if self.size is None:
            return dataclasses.replace(self, size=size)
        if max(abs(a - b) for a, b in zip(self.size, size, strict=True)) < _MACROBLOCK:
            return dataclasses.replace(self, size=size)
        across, down = (new / old for new, old in zip(size, self.size, strict=True))
        if abs(across / down - 1) > _SAME_RATIO:
            said, given = ("{:g}x{:g}".format(*each) for each in (self.size, size))
            turned = ", turned by a quarter" if abs(self.size[0] / self.size[1] * size[0] / size[1] - 1) < 0.02 else ""
            raise CalibrationError(
                f"camera {self.name} has pictures of {said}, but its clip is of {given}{turned}; expected the same or a "
                "scaled size: calibrate the films as they are"
            )
        scaled = np.diag([across, down, 1.0]) @ self.matrix
        return dataclasses.replace(self, size=size, matrix=scaled)

    @property
    def picture_lens(self) -> Calibration | None:
        """The lens alone, as datasets keep it for their pictures; None where pictures are those of a pinhole camera."""
        if not self.distortion.any() and np.isclose(self.matrix[0, 0], self.matrix[1, 1]) and not self.matrix[0, 1]:
            return None
        return Calibration("", self.size, self.matrix.astype(np.float32), self.distortion.astype(np.float32))

    def straight_picture(self, size: tuple[int, int]) -> tuple[Array, Array]:
        """How a picture of a width and height becomes that of the pinhole camera of `straight`.

        Returns:
          The number (height, width) of the pixel, row by row, that each one of it shows, the nearest; and whether it is
          inside.
        """
        width, height = size
        # Of the calibration's own size pixels are as they are; smaller pictures are scaled.
        scale = np.array([1.0, 1.0] if self.size is None else [self.size[0] / width, self.size[1] / height])
        x, y = np.meshgrid(np.arange(width), np.arange(height))
        plane = (np.stack([x, y], -1) * scale - self.principal) / self.focal
        seen = (distorted(plane, self.distortion) @ self.matrix[:2, :2].T + self.principal) / scale
        column, row = np.rint(np.nan_to_num(seen, nan=-1.0)).clip(-1, [width, height]).astype(int).transpose(2, 0, 1)
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        return np.where(inside, row * width + column, 0), inside

    def _plane(self, pixels: Array) -> Array:
        return (pixels - self.principal) @ np.linalg.inv(self.matrix[:2, :2]).T


def checked(
    name: str, size: object, matrix: object, distortion: object, rotation: object = None, translation: object = None
) -> Calibration:
    """A calibration of what a file says, any nested sequences of numbers.

    rotation: a matrix (3, 3), or an axis times an angle (3,), radians. Both or none of rotation and translation.

    Raises:
      CalibrationError: something has another shape, or values that no camera has.
    """
    where = f"camera {name}: "
    lens = _array(where + "its matrix", matrix, 9).reshape(3, 3)
    if not np.allclose(lens[2], [0, 0, 1]) or abs(lens[1, 0]) > 1e-6 * abs(lens[0, 0]):
        raise CalibrationError(f"{where}its matrix {lens.tolist()} is no intrinsics, expected fx 0 cx, 0 fy cy, 0 0 1")
    for axis in range(2):
        _within(ranges.FOCAL, f"{where}the focal length", lens[axis, axis])
    _within(ranges.PIXELS, f"{where}the principal point", lens[:2, 2])
    given = np.zeros(0) if distortion is None else _array(f"{where}its distortion", distortion)
    # OpenCV's further numbers, of thin prisms and tilted sensors, are 0 where nobody asked for them.
    given = given[:8] if len(given) in (12, 14) and not given[8:].any() else given
    if len(given) not in COEFFICIENTS:
        raise CalibrationError(
            f"{where}its distortion has {len(given)} numbers, expected 4, 5 or 8, as k1, k2, p1, p2, k3 of OpenCV"
        )
    sides = None if size is None else _array(f"{where}its size", size, 2)
    if sides is not None:
        _within(ranges.SIDE, f"{where}its size", sides)
    if (rotation is None) != (translation is None):
        there, absent = ("translation", "rotation") if rotation is None else ("rotation", "translation")
        raise CalibrationError(f"{where}it has a {there} but no {absent}; expected both, or none")
    turn = None if rotation is None else _rotation(where, _array(f"{where}its rotation", rotation))
    moved = None if translation is None else _array(f"{where}its translation", translation, 3)
    if moved is not None and np.linalg.norm(moved) > _FARTHEST:
        raise CalibrationError(
            f"{where}it stands {np.linalg.norm(moved):.0f} m from the origin, expected metres up to {_FARTHEST:g}; "
            "numbers that large are in millimetres: divide the translations by 1000"
        )
    return Calibration(
        name=name,
        size=None if sides is None else (float(sides[0]), float(sides[1])),
        matrix=lens,
        distortion=np.pad(given, (0, 8 - len(given))),
        rotation=turn,
        translation=moved,
    )


def _rotation(where: str, given: Array) -> Array:
    from scipy.spatial.transform import Rotation

    if given.size == 3:
        return Rotation.from_rotvec(given).as_matrix()
    if given.size != 9:
        raise CalibrationError(f"{where}its rotation has {given.size} numbers, expected 3 (Rodrigues) or 9")
    matrix = given.reshape(3, 3)
    if not is_rotation(matrix):
        raise CalibrationError(
            f"{where}its rotation is none: its columns must be right-handed, of length 1, perpendicular"
        )
    return matrix


def _array(what: str, value: object, count: int | None = None) -> Array:
    try:
        found = np.asarray(value, float).reshape(-1)
    except (TypeError, ValueError) as error:
        raise CalibrationError(f"{what} is {str(value)[:60]!r}, expected numbers") from error
    if count is not None and found.size != count:
        raise CalibrationError(f"{what} has {found.size} numbers, expected {count}")
    if not np.isfinite(found).all():
        raise CalibrationError(f"{what} holds numbers that are not finite")
    return found


def _within(limits: ranges.Range, what: str, values: Array) -> None:
    limits.check(what, values, CalibrationError)


# --- distortion ---


def distorted(plane: Array, distortion: Array) -> Array:
    """Where points (..., 2) of the plane at depth 1 appear behind a lens with a distortion (8,)."""
    return _lens(np.asarray(plane, float), distortion)[0]


def undistorted(plane: Array, distortion: Array) -> tuple[Array, Array]:
    """The inverse of `distorted` by Newton's method, and whether (...) each point has one."""
    goal = np.asarray(plane, float)
    if not np.any(distortion):
        return goal, np.ones(goal.shape[:-1], bool)
    at = goal.copy()
    with np.errstate(all="ignore"):
        for _ in range(_STEPS):
            seen, slope = _lens(at, distortion)
            step = np.linalg.solve(slope + 1e-12 * np.eye(2), (goal - seen)[..., None])[..., 0]
            # Not farther at once than a wide lens sees, so that no step leaves the fold of the polynomial.
            length = np.linalg.norm(step, axis=-1, keepdims=True)
            at = at + step * np.minimum(1.0, 0.2 / np.maximum(length, 1e-12))
        seen, slope = _lens(at, distortion)
        # A point where the lens folds back is the picture of another one.
        found = (np.abs(seen - goal).max(-1) < _CLOSE) & (np.linalg.det(slope) > 0)
    return np.where(found[..., None], at, goal), found


def _lens(plane: Array, distortion: Array) -> tuple[Array, Array]:
    """Distorted points (..., 2) and their derivatives (..., 2, 2) by the undistorted ones."""
    k1, k2, p1, p2, k3, k4, k5, k6 = distortion
    x, y = plane[..., 0], plane[..., 1]
    r = x**2 + y**2
    above, below = 1 + r * (k1 + r * (k2 + r * k3)), 1 + r * (k4 + r * (k5 + r * k6))
    scale = above / below
    by_r = (k1 + r * (2 * k2 + 3 * r * k3)) / below - scale * (k4 + r * (2 * k5 + 3 * r * k6)) / below
    shift = np.stack([2 * p1 * x * y + p2 * (r + 2 * x**2), p1 * (r + 2 * y**2) + 2 * p2 * x * y], -1)
    slope = np.stack(
        [
            np.stack(
                [scale + 2 * by_r * x**2 + 2 * p1 * y + 6 * p2 * x, 2 * by_r * x * y + 2 * p1 * x + 2 * p2 * y], -1
            ),
            np.stack(
                [2 * by_r * x * y + 2 * p1 * x + 2 * p2 * y, scale + 2 * by_r * y**2 + 6 * p1 * y + 2 * p2 * x], -1
            ),
        ],
        -2,
    )
    return plane * scale[..., None] + shift, slope
