"""From films to a dataset, with a stand-in for the detector: what is kept, what is left out, what is searched again."""

import io
import re

import films
import numpy as np
import pytest
import stick_people as sticks
from acted_films import SIZE, film, moving
from rich.console import Console

from experiments.base import films as frames
from experiments.base.errors import UserError
from experiments.data.dataset import DatasetError
from experiments.detection import detections, search, sides
from tests.fuzz import bombs


def nobody(frame: int) -> dict:
    return {}


def test_everything(tmp_path, load):
    film(tmp_path / "clip10.mp4", count=8, fps=50)
    film(tmp_path / "clip2.mkv", count=12)
    dataset = load()
    clips = dataset.clips
    assert dataset.names == ("clip2", "clip10") and dataset.action == "kick" and dataset.notes == ()
    assert clips.keypoints.shape == (2, 12, 25, 2)
    np.testing.assert_array_equal(clips.frame_mask.sum(1), [12, 8])
    np.testing.assert_allclose(clips.fps, [25, 50], rtol=1e-5)
    np.testing.assert_array_equal(clips.image_size, [SIZE, SIZE])
    assert np.isnan(clips.focal_length).all()
    # The nose is at the middle of the box, which moves by 2 pixels a frame; compression moves its edges.
    np.testing.assert_allclose(clips.keypoints[0, :, 0, 0], 20 + 15.5 + 2 * np.arange(12), atol=1.5)
    np.testing.assert_array_equal(clips.confidence[0, :, 0], 1)
    assert set(np.flatnonzero(clips.confidence[0, 3] == 0)) == {1, 8, 20, 23} == set(range(25)) - set(dataset.annotated)
    np.testing.assert_allclose(dataset.box_size[0], np.hypot(31, 79), atol=3)
    np.testing.assert_array_equal(clips.init_mask, clips.frame_mask)
    np.testing.assert_allclose(clips.init_pose[0, :, 5], np.tile([0.18, -0.544, 0], (12, 1)), atol=1e-3)
    assert [video.path for video in dataset.videos] == [str(tmp_path / "clip2.mkv"), str(tmp_path / "clip10.mp4")]
    np.testing.assert_array_equal(dataset.videos[0].frames, np.arange(12))


def test_portrait_and_landscape_mixed(tmp_path, load):
    film(tmp_path / "a.mp4")
    films.turn(film(tmp_path / "b.mp4"), (0, 1, -1, 0))
    dataset = load()
    np.testing.assert_array_equal(dataset.clips.image_size, [SIZE, SIZE[::-1]])
    # Lying in the turned film: as wide as high before.
    np.testing.assert_allclose(np.ptp(dataset.clips.keypoints[1, 0, list(dataset.annotated)], axis=0), [79, 31], atol=3)


def test_variable_rate_keeps_time(tmp_path, load):
    times = [0.0, 0.04, 0.08, 0.2, 0.24, 0.28, 0.32, 0.36]
    film(tmp_path / "a.mkv", count=8, times=times)
    dataset = load()
    shown = [0, 1, 2, 2, 3, 3, 4, 5, 6, 7]
    np.testing.assert_array_equal(dataset.videos[0].frames, shown)
    np.testing.assert_allclose(dataset.clips.keypoints[0, :, 0, 0], 35.5 + 2 * np.array(shown), atol=1.5)
    assert dataset.clips.fps[0] == pytest.approx(25)


def test_exchanged_sides_are_named_as_before_and_after(tmp_path, load, monkeypatch):
    """For three frames the detector takes the person's front for the back."""
    film(tmp_path / "a.mp4")
    right = load().clips

    def exchanged(path, *rest):
        found = whole(path, *rest)
        for array in (found.landmarks, found.world):
            array[4:7] = array[4:7][:, :, sides.MIRROR]
        return found

    whole = detections.detect
    monkeypatch.setattr(detections, "detect", exchanged)
    clips = load(cache_dir=tmp_path / "other").clips
    np.testing.assert_array_equal(clips.keypoints, right.keypoints)
    np.testing.assert_array_equal(clips.confidence, right.confidence)
    # Depths of the wrong side are not used.
    np.testing.assert_array_equal(np.flatnonzero(clips.init_mask[0] == 0), [4, 5, 6])


def test_frames_before_and_after_are_kept(tmp_path, load):
    film(tmp_path / "a.mp4", lambda frame: moving(frame) if 4 <= frame < 9 else {})
    clips = load().clips
    seen = [0] * 4 + [1] * 5 + [0] * 3
    np.testing.assert_array_equal(clips.frame_mask[0], np.ones(12))
    np.testing.assert_array_equal(clips.confidence[0, :, 0], seen)
    np.testing.assert_array_equal(clips.init_mask[0], seen)
    assert not clips.keypoints[0, :4].any()


def test_second_run_searches_nothing(tmp_path, load, monkeypatch):
    film(tmp_path / "a.mp4")
    film(tmp_path / "b.mp4", count=9)
    first = load()
    (tmp_path / "a.mp4").rename(tmp_path / "c.mp4")  # the content counts, not the name
    (tmp_path / "out" / "detections" / ".unfinished.x.npz").write_bytes(b"PK")

    def fail(path):
        raise AssertionError(f"{path} was decoded")

    monkeypatch.setattr(frames, "walk", fail)
    second = load()
    assert load.starter.starts == 1
    assert second.names == ("b", "c")
    np.testing.assert_array_equal(second.clips.keypoints[1], first.clips.keypoints[0])
    np.testing.assert_array_equal(second.clips.init_pose[1], first.clips.init_pose[0])


def test_an_interrupted_run_goes_on_with_the_next_film(tmp_path, load, monkeypatch):
    for name in ("a", "b", "c"):
        film(tmp_path / f"{name}.mp4", count=8 + ord(name) % 5)
    whole = detections.detect

    def interrupted(path, *rest):
        if path.stem == "b":
            raise KeyboardInterrupt
        return whole(path, *rest)

    monkeypatch.setattr(detections, "detect", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load()
    searched = []
    monkeypatch.setattr(detections, "detect", lambda path, *rest: searched.append(path.stem) or whole(path, *rest))
    assert load().names == ("a", "b", "c")
    assert searched == ["b", "c"]


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 cut", "half", "other", "no numbers", "nowhere", "bomb"])
def test_a_damaged_find_is_searched_again(tmp_path, load, damage):
    film(tmp_path / "a.mp4")
    first = load()
    (kept,) = (tmp_path / "out" / "detections").glob("*.npz")
    content = kept.read_bytes()
    if damage == "other":
        np.savez(kept, **{**np.load(kept), "world": np.zeros((3, 3))})
    elif damage == "no numbers":
        np.savez(kept, **{**np.load(kept), "times": np.full(len(np.load(kept)["times"]), "now")})
    elif damage == "nowhere":
        np.savez(kept, **{**np.load(kept), "landmarks": np.load(kept)["landmarks"] * np.nan})
    elif damage == "bomb":
        kept.write_bytes(bombs.npz("landmarks"))
    else:
        kept.write_bytes(content[: len(content) // 2] if damage == "half" else damage)
    second = load()
    assert load.starter.starts == 2
    np.testing.assert_array_equal(second.clips.keypoints, first.clips.keypoints)
    (note,) = [note for note in second.notes if "earlier run" in note]
    assert (
        note.startswith(f"What an earlier run found in {tmp_path / 'a.mp4'} is damaged (") and "searched anew" in note
    )
    third = load()
    assert third.names == ("a",) and load.starter.starts == 2
    assert not any("earlier run" in note for note in third.notes)


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path, load):
    film(tmp_path / "a.mp4", count=3)
    (tmp_path / "out").write_text("a file in its place")
    with pytest.raises(UserError, match=r"out/detections cannot be written \(.+\); choose another --output_dir$"):
        load()


def test_another_model_searches_again(tmp_path, load):
    film(tmp_path / "a.mp4")
    load()
    other = sticks.Model(b"boxes", b"better sticks")
    starter = sticks.Starter(model=other)
    load(detector=search.Detector(other, starter))
    assert starter.starts == 1 and len(list((tmp_path / "out" / "detections").glob("*.npz"))) == 2


def test_broken_films_are_left_out(tmp_path, load):
    film(tmp_path / "good ä.mp4")
    film(tmp_path / "empty room.mp4", nobody)
    (tmp_path / "text.mp4").write_text("not a film")
    data = film(tmp_path / "no frames.mp4", movflags="faststart").read_bytes()
    (tmp_path / "no frames.mp4").write_bytes(data[: data.index(b"mdat") + 4])
    film(tmp_path / "zwei.mp4", count=60)
    dataset = load()
    assert dataset.names == ("good ä", "zwei")
    at = str(tmp_path)
    assert dataset.notes == (
        f"Left out: nobody is in view in {at}/empty room.mp4.",
        f"Left out: {at}/no frames.mp4 has no frame that can be decoded.",
        f"Left out: {at}/text.mp4 cannot be read as a video (invalid data found when processing input).",
    )


def test_a_film_that_is_cut_short_is_used(tmp_path, load):
    path = film(tmp_path / "a.mkv", count=60)
    path.write_bytes(path.read_bytes()[: int(0.6 * path.stat().st_size)])
    dataset = load()
    count = int(dataset.clips.frame_mask.sum())
    assert 10 < count < 55
    assert dataset.notes[0].startswith(f"{path} should have ") and dataset.notes[0].endswith("; these are used.")
    # And again from what was kept.
    assert load().notes == dataset.notes and load.starter.starts == 1


def test_a_film_of_two_sizes_is_used_up_to_the_second(tmp_path, load):
    parts = [film(tmp_path / "1.mp4", count=9), films.write(tmp_path / "2.mp4", films.numbered(7))]
    path = tmp_path / "a.ts"
    path.write_bytes(b"".join(films.retime(part, part.with_suffix(".ts")).read_bytes() for part in parts))
    dataset = load(path)
    assert dataset.clips.frame_mask.sum() == 9 and dataset.clips.fps[0] == pytest.approx(25)
    assert dataset.notes[0] == (
        f"the pictures of {path} change from 240x120 to 64x48 pixels at frame 9; what follows is not used; these are used."
    )


def test_all_bad(tmp_path, load):
    for index in range(7):
        (tmp_path / f"{index}.mp4").write_text("no film")
    with pytest.raises(DatasetError, match=r"^no video of --videos=.* can be used: .*/0\.mp4 cannot .*; and 2 more$"):
        load()


def test_max_instances_counts_usable_films(tmp_path, load):
    film(tmp_path / "a.mp4", nobody)
    for name in ("b", "c", "d"):
        film(tmp_path / f"{name}.mp4")
    assert load(max_instances=2).names == ("b", "c")


def test_without_detection(tmp_path, load):
    """Keypoints come from elsewhere; neither the model nor a landmarker is needed."""
    times = [0.0, 0.04, 0.08, 0.2, 0.24]
    film(tmp_path / "a.mkv", count=5, times=times)
    films.turn(film(tmp_path / "b.mp4"), (0, 1, -1, 0))
    (tmp_path / "c.mp4").write_text("no film")
    dataset = load(detect=False, detector=None)
    assert dataset.names == ("a", "b") and len(dataset.notes) == 1
    np.testing.assert_array_equal(dataset.clips.frame_mask.sum(1), [7, 12])
    np.testing.assert_array_equal(dataset.clips.image_size, [SIZE, SIZE[::-1]])
    assert not dataset.clips.confidence.any() and not dataset.clips.init_mask.any()
    np.testing.assert_array_equal(dataset.videos[0].frames, [0, 1, 2, 2, 3, 3, 4])
    assert not (tmp_path / "out").exists()


def test_a_model_without_depth_gives_no_first_poses(tmp_path, load, monkeypatch):
    """They are lifted later, as where keypoints come from elsewhere."""
    film(tmp_path / "a.mp4")
    whole = detections.detect

    def flat(path, *rest):
        found = whole(path, *rest)
        found.world[:] = np.nan
        return found

    monkeypatch.setattr(detections, "detect", flat)
    clips = load().clips
    assert not clips.init_mask.any() and np.isfinite(clips.init_pose).all()
    np.testing.assert_array_equal(clips.confidence[0, :, 0], 1)


def test_a_line_for_each_film(tmp_path, load):
    film(tmp_path / "a [b].mp4")
    plain, again = Console(file=io.StringIO(), width=200), Console(file=io.StringIO(), width=200)
    load(console=plain)
    assert re.fullmatch(r"a \[b\]\.mp4: people in 12 of 12 frames, in \d+ s\n", plain.file.getvalue())
    load(console=again)
    assert again.file.getvalue() == "a [b].mp4: people in 12 of 12 frames, as an earlier run found\n"


def test_the_live_line(tmp_path, load):
    film(tmp_path / "a.mp4")
    terminal = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    load(console=terminal)
    assert "frame 12/12" in terminal.file.getvalue()
