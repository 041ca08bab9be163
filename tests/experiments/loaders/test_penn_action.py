"""Penn Action's label files, written here in the published layout, sound and broken; and the paper's choice of clips."""

from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from experiments.base.errors import UserError
from experiments.data.dataset import DatasetError
from experiments.loaders import penn_action, penn_ids
from nemo_jax import clips as clips_lib

HEAD, LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_WRIST = 0, 1, 2, 5  # columns of the files


def _label(frames=6, action="baseball_pitch", seed=0, **changes):
    rng = np.random.default_rng(seed)
    fields = {
        "x": rng.uniform(10, 470, (frames, 13)),
        "y": rng.uniform(10, 350, (frames, 13)),
        "visibility": np.ones((frames, 13), np.uint8),
        "dimensions": np.array([[360, 480, frames]], np.uint16),
        "bbox": np.tile([100.0, 50.0, 130.0, 90.0], (frames, 1)),  # the head is in it
        "action": action,
        "pose": "back",
        "nframes": np.array([[frames]], np.uint8),
    }
    fields["x"][:, HEAD], fields["y"][:, HEAD] = 115, 70
    return {**fields, **changes}


def _write(root, **labels):
    folder = root / "labels"
    folder.mkdir(parents=True, exist_ok=True)
    for name, fields in labels.items():
        scipy.io.savemat(folder / f"{name.removeprefix('v')}.mat", fields)
    return root


def test_joints_go_to_their_places_with_sides_exchanged(tmp_path):
    label = _label(frames=3)
    data = penn_action.load(_write(tmp_path, v0001=label, v0002=_label(frames=5, seed=1)), "baseball_pitch")
    clips_lib.check(data.clips)
    assert data.names == ("0001", "0002")
    assert data.view == ("back", "back")
    assert data.head_point == "nose"
    pixels = np.stack([label["x"], label["y"]], -1)
    first = data.clips.keypoints[0, :3]
    np.testing.assert_allclose(first[:, 0], pixels[:, HEAD], rtol=1e-6)
    np.testing.assert_allclose(first[:, 2], pixels[:, LEFT_SHOULDER], rtol=1e-6)  # BODY_25 2 is the right shoulder
    np.testing.assert_allclose(first[:, 5], pixels[:, RIGHT_SHOULDER], rtol=1e-6)
    np.testing.assert_allclose(first[:, 4], pixels[:, LEFT_WRIST], rtol=1e-6)
    np.testing.assert_allclose(first[:, 9:15][:, [0, 3, 1, 4, 2, 5]], pixels[:, 7:], rtol=1e-6)
    np.testing.assert_allclose(first[:, 1], pixels[:, [LEFT_SHOULDER, RIGHT_SHOULDER]].mean(1), rtol=1e-6)
    np.testing.assert_array_equal(data.clips.frame_mask, [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    np.testing.assert_array_equal(data.clips.image_size, [[480, 360]] * 2)
    np.testing.assert_array_equal(data.clips.fps, [30, 30])
    assert np.isnan(data.clips.focal_length).all()
    assert not data.clips.init_mask.any()
    np.testing.assert_allclose(data.box_size[0], [50, 50, 50, 0, 0])


def test_only_annotated_joints_have_confidence(tmp_path):
    visibility = np.ones((4, 13), np.uint8)
    visibility[1, LEFT_SHOULDER] = 0
    data = penn_action.load(_write(tmp_path, v0001=_label(4, visibility=visibility)), "baseball_pitch")
    confidence = data.clips.confidence[0]
    assert data.annotated == (0, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14)
    others = [k for k in range(25) if k not in data.annotated]
    assert not confidence[:, others].any()
    np.testing.assert_array_equal(confidence[:, 2], [1, 0, 1, 1])
    np.testing.assert_array_equal(data.clips.keypoints[0, 1, [1, 2]], 0.0)  # neither it nor the neck derived from it
    assert confidence[:, 3].all()


def test_the_label_folder_itself_will_do(tmp_path):
    root = _write(tmp_path, v0001=_label())
    both = [penn_action.load(folder, "baseball_pitch") for folder in (root, root / "labels")]
    np.testing.assert_array_equal(both[0].clips.keypoints, both[1].clips.keypoints)
    assert penn_action.recognises(root)
    assert penn_action.recognises(root / "labels")
    assert not penn_action.recognises(root / "nothing")


def test_small_unsigned_integers_do_not_wrap(tmp_path):
    x = np.full((3, 13), 200, np.uint8)
    x[:, RIGHT_SHOULDER] = 100
    label = _label(3, x=x, y=np.full((3, 13), 300, np.uint16), bbox=np.array([[250, 10, 10, 100]], np.uint8))
    data = penn_action.load(_write(tmp_path, v0001=label), "baseball_pitch")
    np.testing.assert_allclose(data.clips.keypoints[0, :, 1], [[150, 300]] * 3)
    np.testing.assert_allclose(data.box_size[0], 100.0)  # the box is inside out, so that of the joints is taken


def test_boxes_for_fewer_frames_than_annotated(tmp_path):
    label = _label(4, bbox=np.array([[0.0, 0.0, 30.0, 40.0], [0.0, 0.0, np.nan, 40.0]]))
    data = penn_action.load(_write(tmp_path, v0001=label), "baseball_pitch")
    extent = np.stack([np.ptp(label["x"], axis=1), np.ptp(label["y"], axis=1)], -1)
    np.testing.assert_allclose(data.box_size[0], [50.0, *np.linalg.norm(extent, axis=1)[1:]], rtol=1e-5)


def test_pictures_are_paired_with_frames(tmp_path):
    root = _write(tmp_path, v0001=_label(3), v0002=_label(3), v0003=_label(3))
    for name, count in (("0001", 3), ("0003", 2)):
        (root / "frames" / name).mkdir(parents=True)
        for i in range(count):
            (root / "frames" / name / f"{i + 1:06}.jpg").touch()
    data = penn_action.load(root, "baseball_pitch")
    assert [Path(p).name for p in data.frame_paths[0]] == ["000001.jpg", "000002.jpg", "000003.jpg"]
    assert data.frame_paths[1] is None
    assert data.frame_paths[2][2] is None
    assert len(data.notes) == 1
    assert "2 pictures for 3 annotated frames" in data.notes[0]


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((1, 2, 4, 5), (1, 2, None, 4, 5)),  # one in the middle is missing
        ((2, 3, 4, 5), (None, 2, 3, 4, 5)),  # the first is missing
        ((1, 2), (1, 2, None, None, None)),
        ((0, 1, 3, 4), (0, 1, None, 3, 4)),  # counted from 0
        ((7, 8, 9, 10, 11), (7, 8, 9, 10, 11)),  # as many as there are frames, wherever they start
        ((1, 2, 3, 5, 6, 7), (1, 2, 3, None, 5)),  # more than there are frames
        ((70, 71), (70, 71, None, None, None)),  # numbers that say nothing of these frames
    ],
)
def test_a_missing_picture_shifts_no_other(numbers, expected, tmp_path):
    root = _write(tmp_path, v0001=_label(5))
    (root / "frames" / "0001").mkdir(parents=True)
    for number in numbers:
        (root / "frames" / "0001" / f"{number:06}.jpg").touch()
    data = penn_action.load(root, "baseball_pitch")
    (paths,) = data.frame_paths
    assert [path and int(Path(path).stem) for path in paths] == list(expected)
    said = [note for note in data.notes if "pictures for 5 annotated frames" in note]
    assert len(said) == (None in expected)
    assert all(f"and {expected.count(None)} of the frames have none" in note for note in said)


def test_pictures_with_other_names_are_in_order(tmp_path):
    root = _write(tmp_path, v0001=_label(3))
    (root / "frames" / "0001").mkdir(parents=True)
    for name in ("b.jpg", "a10.jpg", "c.JPG", "d.png"):
        (root / "frames" / "0001" / name).touch()
    (paths,) = penn_action.load(root, "baseball_pitch").frame_paths
    assert [Path(path).name for path in paths] == ["a10.jpg", "b.jpg", "c.JPG"]


def test_actions_aliases_and_limits(tmp_path):
    root = _write(tmp_path, v0001=_label(), v0002=_label(action="tennis_forehand"), v0003=_label(), v0004=_label())
    assert penn_action.load(root, "tennis_swing").names == ("0002",)
    assert penn_action.load(root, "baseball_pitch").names == ("0001", "0003", "0004")
    assert penn_action.load(root, "baseball_pitch", max_instances=2).names == ("0001", "0003")


def test_one_clip_works_with_a_note(tmp_path):
    data = penn_action.load(_write(tmp_path, v0001=_label()), "baseball_pitch")
    assert len(data.names) == 1
    assert "Only one clip" in data.notes[0]


def test_not_a_number_at_a_visible_joint_is_not_seen(tmp_path):
    label = _label(4)
    label["x"][2, LEFT_WRIST] = np.nan
    label["y"][3, HEAD] = np.inf
    hidden = _label(4, seed=1)
    hidden["x"][0, HEAD] = np.nan
    hidden["visibility"][0, HEAD] = 0
    data = penn_action.load(_write(tmp_path, v0001=label, v0002=hidden), "baseball_pitch")
    assert np.isfinite(data.clips.keypoints).all()
    assert data.clips.confidence[0, 2, 4] == 0
    assert data.clips.confidence[0, 3, 0] == 0
    assert data.notes == ("0001.mat has 2 visible joints without finite coordinates; they count as not seen.",)


def _truncate(path):
    path.write_bytes(path.read_bytes()[:200])


def test_broken_files_are_left_out_and_named(tmp_path):
    root = _write(
        tmp_path,
        v0001=_label(),
        v0002=_label(),
        v0003=_label(x=np.ones((5, 13))),
        v0004=_label(visibility=np.ones((6, 12))),
        v0005=_label(visibility=np.zeros((6, 13))),
        v0006=_label(dimensions=np.zeros((1, 0))),
        v0007=_label(x=np.array(["text"])),
        v0008={"y": np.ones((6, 13)), "action": "baseball_pitch"},
        v0009={"y": np.ones((6, 13))},
        v0010=_label(),
        v0011=_label(action="golf_swing", visibility=np.zeros((6, 13))),
    )
    _truncate(root / "labels" / "0002.mat")
    (root / "labels" / "0010.mat").write_bytes(b"")
    data = penn_action.load(root, "baseball_pitch")
    assert data.names == ("0001",)
    unreadable, invisible, one = data.notes
    for part in (
        "0002.mat (not a readable .mat file: it is cut short)",
        "0003.mat (x is (5, 13) and y (6, 13)",
        "and 3 more",
    ):
        assert part in unreadable
    assert "0005" in invisible
    assert "0011" not in invisible
    assert "Only one clip" in one


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"visibility": np.full((6, 13), 1e9)}, "visibility holds 1e+09, expected 0 or 1"),
        ({"visibility": np.full((6, 13), 0.5)}, "visibility holds 0.5, expected 0 or 1"),
        ({"dimensions": np.array([[360e9, 480e9, 6e9]])}, "dimensions holds 3.6e+11, expected pixels from 8 to 100000"),
        ({"dimensions": np.array([[6, 360, 480]])}, "dimensions holds 6, expected pixels from 8 to 100000"),
        ({"x": np.full((6, 13), 1e11)}, "none of its visible joints lies in the image of width 480 and height 360"),
    ],
)
def test_what_no_label_file_holds_is_left_out(changes, expected, tmp_path):
    data = penn_action.load(_write(tmp_path, v0001=_label(), v0002=_label(**changes)), "baseball_pitch")
    assert data.names == ("0001",)
    assert any("Left out, because unreadable: 0002.mat" in note and expected in note for note in data.notes)


INSIDE_OUT = np.array([[130.0, 90.0, 100.0, 50.0]])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"dimensions": np.array([[360, 480, 7]])}, "0002.mat has 6 frames, but its dimensions tell 7."),
        ({"dimensions": np.array([[100, 480, 6]])}, "visible joints outside the image of width 480 and height 100"),
        ({"bbox": np.tile(INSIDE_OUT, (6, 1))}, "0002.mat has 6 frames whose bbox is none of the person's"),
        ({"bbox": np.tile([[1e11, 5e10, 1.3e11, 9e10]], (6, 1))}, "0002.mat has 6 frames whose bbox is none"),
        ({"bbox": np.tile([[-1e11, -1e11, 1e11, 1e11]], (6, 1))}, "0002.mat has 6 frames whose bbox is none"),
        ({"bbox": np.tile([[475.0, 352.0, 480.0, 360.0]], (6, 1))}, "0002.mat has 6 frames whose bbox is none"),
    ],
)
def test_what_does_not_fit_is_named(changes, expected, tmp_path):
    label = _label(**changes)
    data = penn_action.load(_write(tmp_path, v0001=_label(), v0002=label), "baseball_pitch")
    assert data.names == ("0001", "0002")
    assert any(expected in note for note in data.notes)
    if "bbox" in changes:
        extent = np.hypot(np.ptp(label["x"], axis=1), np.ptp(label["y"], axis=1))
        np.testing.assert_allclose(data.box_size[1], extent, rtol=1e-5)


def test_a_frame_without_joints_needs_no_box(tmp_path):
    visibility = np.ones((3, 13), np.uint8)
    visibility[1] = 0
    bbox = np.array([[100.0, 50.0, 130.0, 90.0], [0.75, 0.75, 0.0, 0.0], [100.0, 50.0, 130.0, 90.0]])
    labels = {"v0001": _label(3, visibility=visibility, bbox=bbox), "v0002": _label()}
    data = penn_action.load(_write(tmp_path, **labels), "baseball_pitch")
    assert data.notes == ()
    np.testing.assert_allclose(data.box_size[0, :3], [50, 0, 50])


def test_pictures_of_another_size_are_named(tmp_path):
    root = _write(tmp_path, v0001=_label(2), v0002=_label(2))
    for name, size in (("0001", (480, 360)), ("0002", (360, 480))):
        (root / "frames" / name).mkdir(parents=True)
        for number in (1, 2):
            Image.new("RGB", size).save(root / "frames" / name / f"{number:06}.jpg")
    (note,) = penn_action.load(root, "baseball_pitch").notes
    assert note.endswith("0002 have width 360 and height 480, but the dimensions of 0002.mat tell 480 and 360.")


@pytest.mark.parametrize("keep", [0, 1, 100, 127, 128, 130, 200, 500, 1500])
def test_a_file_cut_anywhere_never_breaks_the_set(tmp_path, keep):
    root = _write(tmp_path, v0001=_label(), v0002=_label(seed=1))
    path = root / "labels" / "0002.mat"
    path.write_bytes(path.read_bytes()[:keep])
    data = penn_action.load(root, "baseball_pitch")
    assert data.names == ("0001",)
    assert "0002.mat" in data.notes[0]


def test_nothing_usable_is_one_sentence(tmp_path):
    with pytest.raises(DatasetError, match="is nothing, not a folder"):
        penn_action.load(tmp_path / "absent", "baseball_pitch")
    with pytest.raises(DatasetError, match="holds no label files"):
        penn_action.load(tmp_path, "baseball_pitch")
    root = _write(tmp_path, v0001=_label(visibility=np.zeros((6, 13))), v0002=_label(action="golf_swing"))
    with pytest.raises(DatasetError, match=r"has no usable clip in .* holds baseball_pitch, golf_swing; name one"):
        penn_action.load(root, "kick")
    with pytest.raises(DatasetError, match=r"no joint is visible in any clip of baseball_pitch .*\(0001\)"):
        penn_action.load(root, "baseball_pitch")
    for path in (root / "labels").iterdir():
        _truncate(path)
    with pytest.raises(DatasetError, match=r"none of the label files .* can be read: 0001\.mat .*, 0002\.mat"):
        penn_action.load(root, "baseball_pitch")


def test_the_papers_clips_are_taken_of_the_papers_actions(tmp_path):
    labels = {f"v{name}": _label() for name in ("0008", "0009", "0010", "0051")}
    root = _write(tmp_path, **labels, v0003=_label(action="golf_swing"), v0004=_label(action="golf_swing"))

    def names(action="baseball_pitch", **which):
        return penn_action.load(root, action, **which).names

    assert names() == ("0008", "0010")
    (note,) = penn_action.load(root, "baseball_pitch").notes
    assert note.startswith("The 2 clips of baseball_pitch in the paper's experiment are used; the folder has 2 more")
    assert names(ids="all") == ("0008", "0009", "0010", "0051")
    assert names(ids="0051, 0009") == ("0009", "0051")
    assert names(ids="all", max_instances=2) == ("0008", "0009")
    assert names("golf_swing") == ("0003", "0004")  # none of the paper's is there
    with pytest.raises(DatasetError, match=r"--ids=0003: there is no 0003 of baseball_pitch in .*0008, 0009"):
        names(ids="0003")
    with pytest.raises(UserError, match="names 0009, which is no clip here"):
        names(person="0009=2")


@pytest.mark.parametrize(
    ("action", "count", "some", "others"),
    [
        ("baseball_pitch", 43, ("0001", "0027", "0050"), ("0009", "0026", "0051")),
        ("baseball_swing", 46, ("0168", "0183", "0217"), ("0170", "0184", "0201")),
        ("golf_swing", 49, ("0789", "0838"), ("0788", "0817")),
        ("tennis_serve", 47, ("2141", "2190"), ("2142", "2144")),
        ("tennis_forehand", 43, ("1984", "2033"), ("1985", "2015", "2027")),
        ("bowl", 0, (), ("0001",)),
    ],
)
def test_the_papers_lists(action, count, some, others):
    names = penn_ids.of_paper(action)
    assert len(names) == count
    assert names.issuperset(some)
    assert names.isdisjoint(others)
