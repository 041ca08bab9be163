"""What stands between a picture and BlazePose's networks, and what their numbers mean; they are not run themselves."""

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from experiments.base.errors import UserError
from experiments.detection import crops, finder, landmarker, models, networks

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (40, 60, 3)).astype(np.uint8)


def test_an_upright_square_is_cut_out():
    cut = crops.square(PICTURE, np.array([25, 15]), np.array([20, 20]), 0.0, 20)
    np.testing.assert_array_equal(cut, PICTURE[5:25, 15:35])
    assert cut.dtype == np.float32


def test_a_quarter_turn():
    """Turned clockwise, the region's right is the picture's down."""
    cut = crops.square(PICTURE, np.array([25, 15]), np.array([20, 20]), np.pi / 2, 20)
    np.testing.assert_array_equal(cut, np.rot90(PICTURE[5:25, 16:36]))


@pytest.mark.parametrize(("black", "mode"), [(False, "nearest"), (True, "constant")])
def test_any_square_is_interpolated_as_scipy_does(black, mode):
    """Beyond the picture, too; but for places, which are rounded to a 32nd of a pixel, and levels, to whole ones."""
    centre, sides, rotation, count = np.array([52.3, 11.8]), np.array([45.0, 30.0]), 0.7, 32
    across, down = (np.arange(count) / count - 0.5) * sides[:, None]
    x = across * np.cos(rotation) - down[:, None] * np.sin(rotation) + centre[0]
    y = across * np.sin(rotation) + down[:, None] * np.cos(rotation) + centre[1]
    assert x.max() > 62 and y.min() < -2
    x, y = np.rint(32 * x) / 32, np.rint(32 * y) / 32
    # Black beyond the picture is a pixel away.
    padded = np.pad(PICTURE, ((2, 2), (2, 2), (0, 0)), mode="constant" if black else "edge").astype(float)
    expected = [ndimage.map_coordinates(padded[..., k], (y + 2, x + 2), order=1, mode=mode) for k in range(3)]
    cut = crops.square(PICTURE, centre, sides, rotation, count, black)
    np.testing.assert_allclose(cut, np.stack(expected, -1), atol=0.51)


def test_a_square_far_outside_is_its_nearest_pixel_or_black():
    far = np.array([1e12, 20.0])
    assert (crops.square(PICTURE, far, np.array([0.1, 0.01]), 0.0, 8) == PICTURE[20, -1]).all()
    assert not crops.square(PICTURE, far, np.array([0.1, 0.01]), 0.0, 8, black=True).any()


def test_anchors():
    anchors = finder._anchors()
    assert anchors.shape == (2254, 2)
    np.testing.assert_allclose(anchors[:3], [(0.5 / 28, 0.5 / 28)] * 2 + [(1.5 / 28, 0.5 / 28)], rtol=1e-6)
    np.testing.assert_allclose(anchors[-6:], [(6.5 / 7, 6.5 / 7)] * 6, rtol=1e-6)


def test_boxes_that_overlap_are_averaged_by_score():
    boxes = np.array([(0.0, 0.0, 1.0, 1.0), (3.0, 0.0, 4.0, 1.0), (0.1, 0.0, 1.1, 1.0), (0.6, 0.0, 1.6, 1.0)])
    points = np.arange(16.0).reshape(4, 4)
    scores = np.array([0.6, 0.8, 0.9, 0.5])
    found = finder._merged(boxes, points, scores)
    # The third is surest and takes the first with it, but not the last, of which a third is shared.
    np.testing.assert_allclose(found[0], (0.9 * points[2] + 0.6 * points[0]) / 1.5)
    np.testing.assert_allclose(found[1:], [points[1], points[3]])
    assert finder._merged(np.zeros((0, 4)), np.zeros((0, 4)), np.zeros(0)) == []


class Detector:
    """A network that sees two people, each at an anchor; the boxes of the second are nonsense."""

    side = 224

    def __call__(self, picture):
        self.picture = picture
        raw, logits = np.zeros((2254, 12)), np.full((2254, 1), -100.0)
        logits[[10, 2000]] = 3.0
        raw[10] = (0, 0, 56, 112, 22.4, 0, 22.4, -44.8, 0, 0, 0, 0)
        raw[2000] = (0, 0, -5, 5, 0, 0, 0, 0, 0, 0, 0, 0)
        return raw, logits


def test_regions_of_a_picture(monkeypatch):
    network = Detector()
    monkeypatch.setattr(finder, "Network", lambda *arguments: network)
    (region,) = finder.Finder(b"").regions(PICTURE)
    # Above and below the picture there is black: -1.
    assert network.picture.shape == (224, 224, 3) and (network.picture[:30] == -1).all()
    assert network.picture.max() == pytest.approx(1, abs=0.1)
    # The anchor of cell 5 of the first row, in the square of 60 pixels around the picture; a fifth of it is 12 pixels.
    x, y = (5.5 / 28 + 0.1) * 60, 0.5 / 28 * 60 - 10
    assert (60 * region.x_center, 40 * region.y_center) == pytest.approx((x, y))
    assert (60 * region.width, 40 * region.height) == pytest.approx((30, 30))
    assert region.rotation == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("step", "rotation"), [((0, -8), 0), ((8, 0), np.pi / 2), ((-8, 0), -np.pi / 2), ((6, -6), np.pi / 4)]
)
def test_a_region_is_turned_with_the_body(step, rotation):
    region = finder.circle_region(np.array([(30, 20), np.add((30, 20), step)], float), (60, 40))
    side = 2.5 * np.hypot(*step)
    assert region.rotation == pytest.approx(rotation)
    assert (region.width, region.height) == pytest.approx((side / 60, side / 40))


def test_landmarks_are_moved_to_the_heat():
    heat = np.full((64, 64, 4), -30.0)
    places = np.array([(0.5, 0.5), (0.5, 0.5), (0.5, 0.5), (1.2, 0.5)])
    heat[33, 34, 0], heat[33, 33, 0] = 8.0, 8.0  # near
    heat[33, 40, 1] = 8.0  # too far away
    heat[33, 34, 2] = -1.0  # too cold
    heat[33, 63, 3] = 8.0  # of a landmark that is outside
    found = landmarker._refined(places, heat)
    np.testing.assert_allclose(found[0], (33.5 / 64, 33 / 64), atol=1e-6)
    np.testing.assert_array_equal(found[1:], places[1:])


class Interpreter:
    """Stands in for LiteRT's."""

    def __init__(self, model_content, num_threads):
        self.shape = eval(model_content)

    def allocate_tensors(self):
        pass

    def get_input_details(self):
        return [{"shape": np.array(self.shape), "dtype": np.float32, "index": 0}]

    def get_output_details(self):
        return [{"shape": np.array([1, 7]), "index": 5}, {"shape": np.array([1, 3]), "index": 6}]

    def set_tensor(self, index, value):
        self.given = value

    def invoke(self):
        self.sum = self.given.sum()

    def get_tensor(self, index):
        return np.array([[self.sum, index]])


def test_outputs_are_told_apart_by_their_shapes(monkeypatch):
    monkeypatch.setattr(networks, "_runtime", lambda: networks)
    monkeypatch.setattr(networks, "Interpreter", Interpreter, raising=False)
    network = networks.Network(b"(1, 4, 4, 3)", [(3,), (7,)])
    assert network.side == 4
    assert [found.tolist() for found in network(np.ones((4, 4, 3)))] == [[48, 6], [48, 5]]
    with pytest.raises(ValueError, match=r"no output of shape \(1, 9\)"):
        networks.Network(b"(1, 4, 4, 3)", [(9,)])
    with pytest.raises(ValueError, match=r"float32 of shape \(1, 4, 5, 3\), not a square picture"):
        networks.Network(b"(1, 4, 5, 3)", [(3,)])


def test_the_shipped_networks_are_those_of_their_note():
    folder = Path(models.__file__).parent / "blazepose"
    note = (folder / "README.md").read_text()
    files = sorted(folder.glob("*.tflite"))
    assert {*models.SHIPPED.values(), "pose_detection.tflite"} == {file.name for file in files}
    for file in files:
        assert re.search(rf"`{file.name}`.*`{hashlib.sha256(file.read_bytes()).hexdigest()}`", note)


def test_a_copy_without_the_networks_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(models, "_FOLDER", tmp_path)
    monkeypatch.setattr(models, "installed", lambda: True)
    with pytest.raises(UserError, match=r"^the pose model .*pose_detection\.tflite is missing; get a whole copy"):
        models.load()
