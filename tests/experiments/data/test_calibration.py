"""Calibrated cameras: distortion and its inverse, other sizes, and values that no camera has."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from experiments.data import calibration
from experiments.data.calibration import CalibrationError, checked

LENS = [[1000.0, 0.0, 630.0], [0.0, 1020.0, 350.0], [0.0, 0.0, 1.0]]
DISTORTIONS = {
    "none": [],
    "radial": [-0.05, 0.14],
    "usual": [-0.24, 0.05, 0.0007, -0.003],
    "five": [0.12, -0.2, 0.001, 0.002, 0.05],
    "rational": [0.3, 0.02, -0.001, 0.0005, 0.004, 0.55, 0.05, 0.007],
}


def camera(distortion=(), **changes):
    known = {"size": (1280, 720), "rotation": None, "translation": None, **changes}
    return checked("cam", known["size"], LENS, list(distortion), known["rotation"], known["translation"])


def points(count=200, seed=0):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.uniform(-0.6, 0.6, (count, 2)), np.ones((count, 1))], 1) * rng.uniform(2, 9, (count, 1))


@pytest.mark.parametrize("name", DISTORTIONS)
def test_pixels_are_those_of_opencv_s_formulas(name):
    k1, k2, p1, p2, k3, k4, k5, k6 = (*DISTORTIONS[name], *[0] * 8)[:8]
    turn, moved = Rotation.from_rotvec([0.1, -0.2, 0.3]), np.array([0.1, -0.3, 1.5])
    own = camera(DISTORTIONS[name], rotation=[0.1, -0.2, 0.3], translation=moved)
    world = points()
    x, y, z = (turn.apply(world) + moved).T
    a, b = x / z, y / z
    r2 = a**2 + b**2
    radial = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
    u = a * radial + 2 * p1 * a * b + p2 * (r2 + 2 * a**2)
    v = b * radial + p1 * (r2 + 2 * b**2) + 2 * p2 * a * b
    np.testing.assert_allclose(own.project(world), np.stack([1000 * u + 630, 1020 * v + 350], 1), rtol=1e-12)


@pytest.mark.parametrize("name", DISTORTIONS)
def test_pixels_are_those_of_opencv(name):
    cv2 = pytest.importorskip("cv2")
    own = camera(DISTORTIONS[name], rotation=[0.1, -0.2, 0.3], translation=[0.1, -0.3, 1.5])
    world, given = points(), np.array([*DISTORTIONS[name], *[0.0] * 8][:8])
    vectors = np.array([0.1, -0.2, 0.3]), np.array([0.1, -0.3, 1.5])
    seen = cv2.projectPoints(world, *vectors, np.array(LENS), given)[0][:, 0]
    np.testing.assert_allclose(own.project(world), seen, rtol=1e-9)


@pytest.mark.parametrize("name", DISTORTIONS)
def test_distortion_is_taken_out_again(name):
    own = camera(DISTORTIONS[name])
    seen = points()
    straight, found = own.straight(own.project(seen).reshape(10, 20, 2))
    assert found.all() and straight.shape == (10, 20, 2)
    # One focal length for both axes, between the two.
    expected = np.sqrt(1000 * 1020) * seen[:, :2] / seen[:, 2:] + [630, 350]
    np.testing.assert_allclose(straight.reshape(-1, 2), expected, atol=1e-3)


def test_pixels_that_a_lens_does_not_make_have_no_place():
    # Of this lens nothing is seen farther from the middle than 0.385 in the plane at depth 1.
    own = camera([-1.0, 0.0])
    pixels = np.array([[630.0 + 380.0, 350.0], [630.0 + 420.0, 350.0], [630.0, 350.0]])
    straight, found = own.straight(pixels)
    np.testing.assert_array_equal(found, [True, False, True])
    assert np.isfinite(straight).all() and straight[0, 0] > pixels[0, 0]


def test_derivatives():
    numbers = np.array(DISTORTIONS["rational"])
    at, step = points()[:, :2] / 9, 1e-6
    slope = calibration._lens(at, numbers)[1]
    for axis in range(2):
        ahead, behind = (calibration.distorted(at + side * step * np.eye(2)[axis], numbers) for side in (1, -1))
        np.testing.assert_allclose(slope[..., axis], (ahead - behind) / (2 * step), atol=1e-7)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((640, 360), (500, 510, 315, 175)),
        ((1272, 720), (1000, 1020, 630, 350)),
        ((1920, 1082), (1500, 1532.8, 945, 526)),
    ],
)
def test_pictures_of_another_size(size, expected):
    """Scaled pictures scale the lens; some pixels less are cut off, as film codecs do."""
    matrix = camera().of_size(size).matrix
    np.testing.assert_allclose(matrix[[0, 1, 0, 1], [0, 1, 2, 2]], expected, atol=0.5)


@pytest.mark.parametrize(
    ("size", "more"), [((720, 1280), "720x1280, turned by a quarter; expected"), ((1280, 960), "1280x960; ")]
)
def test_pictures_of_another_shape(size, more):
    with pytest.raises(CalibrationError, match="camera cam has pictures of 1280x720, but its clip is of " + more):
        camera().of_size(size)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"matrix": np.eye(4)}, "its matrix has 16 numbers, expected 9"),
        ({"matrix": "no"}, "its matrix is 'no', expected numbers"),
        ({"matrix": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}, "the focal length holds 1, expected pixels from 10"),
        ({"matrix": [[900, 0, 0], [0, 900, 0], [3, 0, 1]]}, "is no intrinsics, expected fx 0 cx"),
        ({"distortion": [0.1] * 3}, "its distortion has 3 numbers, expected 4, 5 or 8"),
        ({"distortion": [0.1] * 12}, "its distortion has 12 numbers"),
        ({"size": (1280,)}, "its size has 1 numbers, expected 2"),
        ({"size": (0, 3)}, "its size holds 0"),
        ({"rotation": np.diag([1.0, 1.0, -1.0])}, "its rotation is none: its columns must be right-handed"),
        ({"rotation": [1.0, 2.0]}, "its rotation has 2 numbers, expected 3 \\(Rodrigues\\) or 9"),
        ({"rotation": None}, "it has a translation but no rotation; expected both, or none"),
        ({"translation": [0.0, np.nan, 0.0]}, "its translation holds numbers that are not finite"),
        (
            {"translation": [100.0, 2000.0, 3000.0]},
            "it stands 3607 m from the origin, .* divide the translations by 1000",
        ),
    ],
)
def test_what_no_camera_has(changes, sentence):
    known = {
        "size": (1280, 720), "matrix": LENS, "distortion": None, "rotation": np.eye(3), "translation": np.zeros(3)
    }  # fmt: skip
    checked("cam 1", **known)
    with pytest.raises(CalibrationError, match="^camera cam 1: .*" + sentence):
        checked("cam 1", **{**known, **changes})


def test_numbers_of_thin_prisms_that_are_zero():
    assert checked("cam", None, LENS, [0.1, 0.2, 0, 0, 0, 0, 0, 0] + [0.0] * 6).distortion[1] == 0.2
