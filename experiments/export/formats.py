"""The export formats by name, and the export of a run in some of them."""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from experiments.base import files
from experiments.base.errors import UserError
from experiments.export import amass_npz, animation, bvh, fbx_ready, glb, rig, table, trc
from experiments.export import foot_locks as foot_locks_lib
from experiments.export.animation import Animation
from experiments.results.reading import Run


@dataclasses.dataclass(frozen=True)
class Format:
    """An export format. suffix: suffix of its files. write(clip, path, up): writes one clip. up: default up axis.
    fixed_up: whether no other up axis is possible."""

    suffix: str
    write: Callable[[Animation, Path, str], None]
    up: str = "y"
    fixed_up: bool = False


FORMATS = {
    "amass": Format(".npz", amass_npz.write, up="z"),
    "bvh": Format(".bvh", bvh.write),
    "glb": Format(".glb", lambda motion, path, _: glb.write(motion, path), fixed_up=True),
    "fbx-ready": Format(".glb", lambda motion, path, _: fbx_ready.write(motion, path), fixed_up=True),
    "trc": Format(".trc", trc.write),
    "csv": Format(".csv", table.write),
}


def export(
    saved: Run,
    folder: Path,
    formats: Sequence[str] = tuple(FORMATS),
    instances: Sequence[str] | None = None,
    fps: float | None = None,
    up: str | None = None,
    ground: bool = True,
    foot_locks: bool = True,
    report: Callable[[str], None] = lambda line: None,
) -> list[Path]:
    """Writes `<folder>/<format>/<instance><suffix>` for each format and instance.

    Args:
      saved: the finished run.
      folder: the output folder, created if it does not exist.
      formats: names of `FORMATS`.
      instances: names of instances; None for all.
      fps: frames per second, from the field itself; None for each clip's own, and for amass the next multiple of 30.
      up: axis of the world that points up, y or z; None for the axis that readers of the format expect.
      ground: move each clip so that its lowest point is at height 0, where the fit has found no floor.
      foot_locks: make feet that the fit says are planted stand still.
      report: called with a line of text for each format written, and for each loss of information.

    Returns:
      The paths of the files.

    Raises:
      UserError: a name does not exist, a format does not support a rate or axis, or a folder cannot be written to.
    """
    check(formats, fps, up)
    chosen = _instances(saved, instances)

    @functools.cache
    def sampled(instance: int, rate: float) -> Animation:
        motion = animation.sample(saved, instance, rate, ground)
        return foot_locks_lib.locked(motion) if foot_locks else motion

    paths = []
    for name in formats:
        form, written = FORMATS[name], []
        for instance in chosen:
            own = float(saved.dataset.clips.fps[instance])
            motion = sampled(instance, fps or (amass_npz.default_fps(own) if name == "amass" else own))
            motion = amass_npz.writable(motion, ground) if name == "amass" else motion
            path = folder / name / f"{motion.name}{form.suffix}"
            try:
                with files.replacing(path) as temporary:
                    form.write(motion, temporary, up or form.up)
            except OSError as error:
                reason = (error.strerror or str(error)).lower()
                raise UserError(f"--output_dir={folder} cannot be written ({reason}); choose another folder") from error
            written.append((path, motion))
        paths += [path for path, _ in written]
        rates = ", ".join(f"{rate:g}" for rate in dict.fromkeys(motion.fps for _, motion in written))
        count = f"{len(written)} file{'s' * (len(written) != 1)}"
        report(f"{name}: {count} in {folder / name}, {rates} frames per second, {up or form.up} up")
        notes = _NOTES.get(name, lambda clips: [])
        for line in notes([motion for _, motion in written]):
            report(f"  {line}")
    return paths


def check(formats: Iterable[str], fps: float | None, up: str | None) -> None:
    """Raises UserError if a format does not exist, or does not support the frame rate or up axis."""
    for name in formats:
        if name not in FORMATS:
            near = difflib.get_close_matches(name.lower(), FORMATS, 1, 0.4)
            hint = f"did you mean {near[0]}" if near else f"give some of {','.join(FORMATS)}"
            raise UserError(f"--format has {name!r}, which is none; {hint}")
        if up and FORMATS[name].fixed_up and up != FORMATS[name].up:
            raise UserError(
                f"--up={up} is not for {name}: glTF has y up by definition, and readers such as Blender turn it; leave "
                f"--up or {name} out"
            )
        if name == "amass" and fps is not None and fps < amass_npz.LEAST_FPS:
            raise UserError(
                f"--fps={fps:g} is too low for amass, whose readers take {amass_npz.LEAST_FPS} and more; give "
                f"--fps={amass_npz.LEAST_FPS} or leave amass out"
            )


def _instances(saved: Run, names: Sequence[str] | None) -> list[int]:
    known = saved.dataset.names
    for name in names or ():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}" if near else f"it has {', '.join(known)}"
            raise UserError(f"--instances has {name!r}, which is not in {saved.folder}; {hint}")
    return [n for n, name in enumerate(known) if names is None or name in names]


def _amass_notes(clips: Sequence[Animation]) -> list[str]:
    notes = []
    if not all(amass_npz.has_smpl_shape(motion) for motion in clips):
        notes.append(
            "The people have SMPL's mean shape: the fitted one is of another body, whose coefficients mean nothing there."
        )
    odd = {motion.fps for motion in clips if motion.fps % amass_npz.LEAST_FPS}
    if odd:
        notes.append(
            f"In the add-on of Blender set the target rate to {min(odd):g}, or the motion plays at a wrong speed."
        )
    return notes


def _skin_notes(clips: Sequence[Animation]) -> list[str]:
    share = rig.dropped(np.asarray(clips[0].body.mesh.rotation_weights, float))
    if share < _NEGLIGIBLE:
        return []
    return [f"Up to {share:.0%} of the weight of a vertex is left out: files of this kind have four joints for each."]


_NEGLIGIBLE = 0.005
_NOTES = {"amass": _amass_notes, "glb": _skin_notes, "fbx-ready": _skin_notes}
