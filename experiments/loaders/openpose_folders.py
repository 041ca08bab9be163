"""OpenPose's JSON files by themselves: a folder for each clip, with the film or the pictures beside it where there are any.

    <data_dir>/<action>/ or <data_dir>/
      pitch 1/  pitch 1_000000000000_keypoints.json ...   also named pitch 1_openpose, pitch 1.op, pitch 1_json
      pitch 1.mp4                                         or the pictures, in `pitch 1.frames` or among the JSON files

The files of all clips may also lie in one folder, told apart by what stands before their numbers. Of a project of
Pose2Sim they lie in `pose/`, such as `pose/cam01_json/cam01.0000.json`, and the films in `videos/`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from experiments.base.frame_rates import ASSUMED_FPS
from experiments.base.text import listed, natural
from experiments.data import footage
from experiments.data.dataset import Dataset, DatasetError, Instance
from experiments.data.footage import BrokenClipError, Footage
from experiments.data.ids import choose_ids
from experiments.detection import tracking
from experiments.loaders import film_paths, layouts, openpose, openpose_files, openpose_layouts

_PICTURES = (".frames", "_frames", "")  # behind a clip's name: the folder of its pictures
_POSE_2_SIM = "pose"  # where Pose2Sim puts the folders of JSON files, beside `videos`


def recognises(data_dir: str | Path) -> bool:
    """Whether there are such files in the folder, in folders of it, or in folders of these."""
    root = Path(data_dir)
    depths = ("*", "*/*", f"*/{_POSE_2_SIM}/*")
    places = (root, *(p for depth in depths for p in root.glob(depth) if p.is_dir()))
    return any(openpose_files.holds_frames(place) for place in places)


def actions(data_dir: str | Path) -> list[str]:
    """The folders that hold folders of such files: one for each action."""
    folders = [folder for folder in sorted(Path(data_dir).iterdir()) if folder.is_dir()]
    return [
        folder.name
        for folder in folders
        if folder.name != _POSE_2_SIM
        and not openpose_files.holds_frames(folder)
        and (_places(folder) or _places(folder / _POSE_2_SIM))
    ]


def load(
    data_dir: str | Path,
    action: str,
    max_instances: int | None = None,
    *,
    image_size: tuple[int, int] | None = None,
    fps: float | None = None,
    person: str = tracking.LARGEST,
    ids: str | None = None,
    openpose_layout: str = openpose_layouts.AUTO,
) -> Dataset:
    """Reads all clips of the folder `<data_dir>/<action>` or, where there is none, of the folder itself.

    Args:
      data_dir: the folder.
      action: what the clips show.
      max_instances: the first so many clips, by name; None = all.
      image_size: width and height in pixels of clips without film and pictures.
      fps: frames per second of clips without film; None = 30.
      person: who is followed where several are seen, as `--person`.
      ids: names of clips, separated by commas; None = all.
      openpose_layout: how the keypoints stand in the files, see `openpose_layouts`.

    Raises:
      DatasetError: no such files or clips, or none that can be used. UserError: `person` is nonsense or fits nobody.
    """
    root = Path(data_dir)
    base = root / action if (root / action).is_dir() else root
    places = _places(base) or _places(base / _POSE_2_SIM)
    if not places:
        raise DatasetError(
            f"--data_dir={data_dir} has no JSON files of OpenPose in {base}; expected a folder for each clip with "
            "clip_000000000000_keypoints.json and so on in it"
        )
    names = choose_ids([name for name, _, _ in places], action, ids, base)
    tracking.check_names(person, names)
    places = [place for place in places if place[0] in names]

    def read(place: tuple[str, Path, str | None]) -> layouts.Recording:
        try:
            who = tracking.PERSON.of(person, place[0])
            return _clip(*place, _footage(base, *place[:2]), image_size, fps, who, openpose_layout)
        except DatasetError as error:
            raise BrokenClipError(str(error)) from error

    clips, failed = layouts.usable(places, read, max_instances)
    unusable: dict[str, list[str]] = {}  # names by what is wrong with them
    for (name, _, _), reason in failed:
        unusable.setdefault(str(reason), []).append(name)
    broken = [f"{listed(names)} ({reason})" for reason, names in unusable.items()]
    if not clips:
        raise DatasetError(f"no clip in {base} can be used: {listed(broken)}")
    notes = []
    guessed = [clip.name for clip in clips if not (fps or clip.footage.fps)]
    if guessed:
        notes.append(
            f"Nothing tells the frame rate of {listed(guessed)}; {ASSUMED_FPS:g} frames per second are taken, --fps gives "
            "another."
        )
    return layouts.assemble(clips, action, broken, notes)


def _places(base: Path) -> list[tuple[str, Path, str | None]]:
    """Name, folder and prefix of every clip, in natural order; none where there is no such folder."""
    if not base.is_dir():
        return []
    folders = [path for path in base.iterdir() if path.is_dir() and openpose_files.holds_frames(path)]
    times = Counter(openpose.clip_name(path.name) for path in folders)
    found: list[tuple[str, Path, str | None]] = []
    for path in folders:
        short = openpose.clip_name(path.name)
        found.append((short if times[short] == 1 else path.name, path, None))
    found += [(prefix.rstrip("_-. ") or base.name, base, prefix) for prefix in openpose_files.prefixes(base)]
    return sorted(found, key=lambda place: natural(place[0]))


def _footage(base: Path, name: str, place: Path) -> Footage | None:
    """The clip's film or pictures, None where there are none. Raises BrokenClipError: they cannot be read."""
    found = next(_candidates(base, name, place), None)
    return None if found is None else footage.read(found)


def _candidates(base: Path, name: str, place: Path) -> Iterator[Path]:
    for folder in (base, base / "videos"):
        if folder.is_dir():
            yield from (
                p for p in sorted(folder.iterdir()) if p.stem == name and p.suffix.lower() in film_paths.SUFFIXES
            )
    for folder in (place, *(base / f"{name}{ending}" for ending in _PICTURES), base / "frames" / name):
        if folder.is_dir() and any(path.suffix.lower() in footage.PICTURES for path in folder.iterdir()):
            yield folder


def _clip(
    name: str,
    place: Path,
    prefix: str | None,
    shown: Footage | None,
    image_size: tuple[int, int] | None,
    fps: float | None,
    person: str,
    layout: str,
) -> layouts.Recording:
    size = shown.image_size if shown else image_size
    if size is None:
        raise BrokenClipError("no film or pictures beside it tell the size of its image; give --image_size=1920x1080")
    names = footage.stems(shown.paths) if shown else None
    count = shown.num_frames if shown else None
    keypoints, confidence, notes = openpose.read_folder(
        place, count, person, image_size=size, frame_names=names, prefix=prefix, layout=layout
    )
    rate = (shown.fps if shown else None) or fps or ASSUMED_FPS
    instance = Instance(keypoints=keypoints, confidence=confidence, image_size=size, fps=rate)
    return layouts.Recording(name, instance, shown or Footage(len(keypoints), size), tuple(notes))
