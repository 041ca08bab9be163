"""Which files `--videos=` means, and their names."""

import unicodedata
from pathlib import Path

import pytest

from experiments.base.errors import UserError
from experiments.loaders import film_paths


@pytest.fixture
def folder(tmp_path):
    for name in ("clip10.mp4", "clip2.mp4", "Clip1.MP4", "notes.txt", ".hidden.mp4", "a,b.mp4", "wurf [1].mov"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "sub.mp4").mkdir()
    return tmp_path


def found(pattern) -> list[str]:
    return [path.name for path in film_paths.files(str(pattern))]


def test_folder_in_natural_order(folder):
    assert found(folder) == ["a,b.mp4", "Clip1.MP4", "clip2.mp4", "clip10.mp4", "wurf [1].mov"]


def test_patterns(folder):
    assert found(folder / "clip*.mp4") == ["clip2.mp4", "clip10.mp4"]
    assert found(f"{folder}/clip10.mp4, {folder}/clip*.mp4") == ["clip10.mp4", "clip2.mp4"]
    assert found(f"'{folder}/clip2.mp4'") == ["clip2.mp4"]
    assert found(f'"{folder}/clip2.mp4","{folder}/clip10.mp4"') == ["clip2.mp4", "clip10.mp4"]
    assert found(folder / "a,b.mp4") == ["a,b.mp4"]
    assert found(folder / "wurf [1].mov") == ["wurf [1].mov"]
    assert found(folder / "**" / "clip2.mp4") == ["clip2.mp4"]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_accents_in_either_form(tmp_path, form):
    (tmp_path / unicodedata.normalize(form, "würfe à deux.mp4")).write_bytes(b"")
    for asked in ("NFC", "NFD"):
        assert len(found(tmp_path / unicodedata.normalize(asked, "würfe*.mp4"))) == 1
        assert len(found(tmp_path / unicodedata.normalize(asked, "würfe à deux.mp4"))) == 1


@pytest.mark.parametrize("pattern", ["nothing/*.mp4", "nothing.mp4"])
def test_no_match_is_one_sentence(pattern):
    with pytest.raises(
        UserError, match=rf"^--videos={pattern.replace('*', '.')} matches no file; give a pattern .*path$"
    ):
        film_paths.files(pattern)


def test_one_part_without_match(folder):
    with pytest.raises(UserError, match=r"--videos=other\.mp4 matches no file"):
        film_paths.files(f"{folder}/clip2.mp4,other.mp4")


def test_folder_without_videos(tmp_path):
    (tmp_path / "notes.txt").write_bytes(b"")
    with pytest.raises(UserError, match=r"is a folder without videos \(\.mp4 .*\); give another one or a pattern"):
        film_paths.files(str(tmp_path))


@pytest.mark.parametrize("pattern", ["", " , "])
def test_empty(pattern):
    with pytest.raises(UserError, match="--videos is empty"):
        film_paths.files(pattern)


def test_names_are_unique_and_usable():
    paths = [
        Path(text) for text in ("a/x.mp4", "b/x.mov", "c/X.mp4", "a/x-2.mp4", "a/was?.mp4", "a/ü 1.mp4", "a/...mp4")
    ]
    assert film_paths.names(paths) == ["x", "x-2", "X-3", "x-2-2", "was_", "ü 1", "clip"]


def test_takes_in_folders(tmp_path):
    for name in (
        "take_1/b.mp4",
        "take_1/a.mp4",
        "Take 2/a.mp4",
        "Take 2/b.mp4",
        "take_3/a.mp4",
        "takes/a.mp4",
        "takes/b.mp4",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    paths = film_paths.files(str(tmp_path))
    assert paths == film_paths.files(f"{tmp_path}/*/*.mp4")
    folders = [folder and folder.name for folder in film_paths.take_folders(paths)]
    # One film is no take, and `takes` is a folder of anything.
    assert folders == ["Take 2", "Take 2", "take_1", "take_1", None, None, None]
    assert film_paths.names(paths) == ["Take 2 a", "Take 2 b", "take_1 a", "take_1 b", "a", "a-2", "b"]
    # Films beside folders are all that a folder means.
    (tmp_path / "c.mp4").write_bytes(b"")
    assert found(tmp_path) == ["c.mp4"]
