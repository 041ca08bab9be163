"""Reads a finished run back from its folder: clips, parameters, body, and the motion at any time.

The files that are read: `params.npz`, `clips/` in the neutral format, and `config.json`.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from body_models import loaders, safe_npz, smpl
from body_models.posing import pose_in_chunks
from experiments.base import files
from experiments.base.errors import UserError
from experiments.base.shared_options import path_problem
from experiments.data import neutral
from experiments.data.dataset import Dataset, DatasetError
from experiments.data.exchanged import as_read
from experiments.results.fitted_motion import FittedMotion, predict
from experiments.results.truth import AlignedTruth, onto_fit
from nemo_jax import clips as clips_lib
from nemo_jax import contact, exchange, field, model, options, rotations, takes
from nemo_jax.config import FitConfig
from nemo_jax.model import Assets, Params
from nemo_jax.priors import Priors

Array = np.ndarray
PARAMS, CLIPS = "params.npz", "clips"
# Fields of a configuration that older runs do not have, and the values by which a fit is what it was without them.
_YOUNGER: dict[str, Any] = {
    "lens_starts": 0,
    "weight_lens": 0.0,
    "weight_span": 0.0,
    "warmup_tempo": 0.0,
    "weight_level": 0.0,
    "weight_depth": 0.0,
    "init_hips": 0.0,
    "init_root": 0.0,
    "depth_begin": 0.0,
    "rescue_share": 0.0,
    "sync_frames": 0,
    "apart_frames": 0,
    "apart_grown": 1e-6,
    "apart_unposed": 1.0,
    "weight_limbs": 0.0,
    "weight_motion": 0.0,
    "motion_windows": 0,
    "lr_span": 0.0,
    "lift_turned": 0,
    "rescue_steps": 0,
    "contact_centres": 0,
    "contact_hands": False,
    "path_knots": 0,
    "exchange_price": 0,
}


@dataclasses.dataclass(frozen=True)
class Run:
    """One fit and the clips that it was fitted to.

    folder: the results folder. dataset: the clips as read, including hidden keypoints. params: the learned parameters.
    config: the configuration of the fit. body: the body with the nose as keypoint 0. settings: contents of
    `config.json`; metrics: contents of `metrics.json`. answer: the value of `fitted`, if already computed; if None, it
    is computed when it is first needed. expected_mm (N, T): the expected errors, if already computed.
    """

    folder: Path
    dataset: Dataset
    params: Params
    config: FitConfig
    body: smpl.SMPL
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    metrics: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    answer: FittedMotion | None = None
    expected_mm: Array | None = None

    @functools.cached_property
    def assets(self) -> Assets:
        """The fixed inputs of the model, without priors."""
        clips = jax.tree.map(jnp.asarray, self.dataset.clips)
        return model.prepare(clips, self.body, Priors(), self.config)

    @functools.cached_property
    def fitted(self) -> FittedMotion:
        """The fitted motion on every frame."""
        if self.answer is not None:
            return self.answer
        clips = jax.tree.map(jnp.asarray, self.dataset.clips)
        return predict(self.params, self.assets, self.body, self.config, clips)

    @functools.cached_property
    def truth(self) -> AlignedTruth | None:
        """The true motion, each clip rigidly aligned as a whole with its fit; None without ground truth."""
        return onto_fit(self.dataset, self.fitted)

    @functools.cached_property
    def exchanged(self) -> Array:
        """1 where (N, T, 2) the fit read left and right of `exchange.GROUPS` the other way round than given.

        Raises:
          UserError: a file of `motion/` does not say so.
        """
        found = np.zeros((*np.shape(self.dataset.clips.frame_mask), len(exchange.GROUPS)), np.float32)
        for instance, name in enumerate(self.dataset.names if self.config.exchange_price else ()):
            frames, path = self.num_frames(instance), self.folder / "motion" / f"{name}.npz"
            try:
                flags = safe_npz.read(path, {"exchanged"}).get("exchanged")
            except safe_npz.NpzError as error:
                raise UserError(f"{path} cannot be read ({error}); run the command of this folder again") from error
            if flags is None or flags.shape != (frames, len(exchange.GROUPS)):
                shape = "nothing" if flags is None else flags.shape
                raise UserError(
                    f"{path} has {shape} as exchanged, expected {(frames, len(exchange.GROUPS))}; run the command of this "
                    "folder again"
                )
            found[instance, :frames] = flags
        return found

    @functools.cached_property
    def as_read(self) -> Dataset:
        """The dataset with left and right of its keypoints as the fit reads them. Raises UserError: see `exchanged`."""
        return as_read(self.dataset, self.exchanged)

    @property
    def threshold(self) -> float:
        """Confidence above which a keypoint counts as visible."""
        return float(np.asarray(self.config.confidence_threshold))

    def num_frames(self, instance: int) -> int:
        return int(np.asarray(self.dataset.clips.frame_mask[instance]).sum())

    def at_phase(self, phases: Array, codes: Array) -> tuple[Array, Array]:
        """The field at warped phases (P,) and codes (P, C), unmirrored: rotations (P, 24, 3, 3), translations (P, 3)."""
        return jax.device_get(_motions(self.params, self.config, jnp.asarray(phases), jnp.asarray(codes)))

    def at_raw_phase(self, instance: int, raw_phases: Array) -> tuple[Array, Array]:
        """One instance at raw phases (P,) in [0, 1], between frames too: rotations (P, 24, 3, 3), translations (P, 3)."""
        return jax.device_get(_of_instance(self.params, self.config, instance, jnp.asarray(raw_phases, jnp.float32)))

    def contact_at(self, instance: int, raw_phases: Array) -> Array | None:
        """Probabilities (P, 6), or (P, 4) of the feet alone, that `nemo_jax.contact.POINTS` stand at raw phases (P,); None
        without contacts."""
        if self.params.contact is None:
            return None
        logits = _contact(self.params, self.config, instance, jnp.asarray(raw_phases, jnp.float32))
        return 1 / (1 + np.exp(-np.asarray(logits, float)))

    def at_rate(self, instance: int, fps: float) -> tuple[Array, Array]:
        """The motion of an instance at `fps` frames per second, from its first to its last frame, from the field."""
        seconds = (self.num_frames(instance) - 1) / float(self.dataset.clips.fps[instance])
        count = int(np.floor(seconds * fps + 1e-6)) + 1
        return self.at_raw_phase(instance, self.raw_phases_at(instance, np.arange(count) / fps / max(seconds, 1e-9)))

    def raw_phases_at(self, instance: int, parts: np.ndarray) -> np.ndarray:
        """Raw phases (P,) at parts (P,), 0 to 1, of the time that an instance was filmed: the same, but within a take."""
        if self.dataset.clips.take is None:
            return parts
        raw = np.asarray(clips_lib.raw_phase(self.dataset.clips))[instance, [0, self.num_frames(instance) - 1]]
        return raw[0] + (raw[1] - raw[0]) * parts

    def vertices(self, instance: int, rotation: Array, translation: Array) -> Array:
        """Meshes (P, V, 3) in world axes, metres, of rotations and translations from `at_raw_phase`, with the
        instance's body shape."""
        return pose_in_chunks(_mesh, (self.body, self.params.betas[instance]), rotation, translation)

    def joints(self, instance: int, rotation: Array, translation: Array) -> Array:
        """The 24 joints (P, 24, 3) in world axes, metres."""
        return pose_in_chunks(_joints, (self.body, self.params.betas[instance]), rotation, translation)


@jax.jit
def _motions(params: Params, config: FitConfig, phases: jax.Array, codes: jax.Array) -> Any:
    return jax.vmap(model.motion, (None, None, 0, 0))(params, config, phases, codes)


@jax.jit
def _of_instance(params: Params, config: FitConfig, instance: int, raw_phases: jax.Array) -> Any:
    own = model.of_instance(params, jnp.asarray(instance))
    phases = model.warp_of(own, config, raw_phases)
    each = jax.vmap(model.motion_of, (None, None, None, 0, 0, None))
    return each(own, params, config, raw_phases, phases, own.codes)


@jax.jit
def _contact(params: Params, config: FitConfig, instance: int, raw_phases: jax.Array) -> jax.Array:
    own = model.of_instance(params, jnp.asarray(instance))
    phases = model.warp_of(own, config, raw_phases)
    each = jax.vmap(contact.logits, (None, None, 0, None, None))
    return each(params.contact, config.contact_centres, phases, own.codes, own.mirrored)


# Functions of ONE frame; body and shape are the same for all frames.


def _mesh(shaped: tuple[smpl.SMPL, jax.Array], rotation: jax.Array, translation: jax.Array) -> jax.Array:
    return smpl.vertices(shaped[0], rotation, shaped[1], translation)


def _joints(shaped: tuple[smpl.SMPL, jax.Array], rotation: jax.Array, translation: jax.Array) -> jax.Array:
    return smpl.joints(shaped[0], rotation, shaped[1], translation)


def axis_angles(rotation: Array) -> Array:
    """Axis-angle (..., 24, 3) of rotations (..., 24, 3, 3)."""
    return np.asarray(rotations.matrix_to_axis_angle(jnp.asarray(rotation)))


def write(folder: Path, dataset: Dataset, params: Params) -> None:
    """Writes the files that `load` reads, except `config.json`, into a results folder."""
    arrays = {_name(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]}
    neutral.write(dataset, folder / CLIPS, replace=True)
    with files.replacing(folder / PARAMS) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]


def load(folder: str | Path) -> Run:
    """Reads a finished run from its folder.

    Raises:
      UserError: the folder does not exist, its run did not finish, or its files are inconsistent.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(
            f"--results={folder}: there is no such folder; give the output folder of a run, such as results/kick"
        )
    missing = [name for name in ("config.json", "metrics.json", PARAMS, CLIPS) if not (folder / name).exists()]
    if missing:
        stopped = (folder / "checkpoints").exists()
        advice = "run its command again, which continues it" if stopped else "give the output folder of a finished run"
        state = "holds a run that did not finish" if stopped else "holds no run"
        raise UserError(f"--results={folder} {state} (no {missing[0]} in it); {advice}")
    settings, metrics = _json(folder / "config.json"), _json(folder / "metrics.json")
    action = _entry(folder / "config.json", settings, "action", str)
    body_model = _entry(folder / "config.json", settings, "body_model", str | None)
    if body_model and (problem := path_problem(body_model)):
        raise UserError(f"{folder / 'config.json'}: body_model={options.shown(body_model)} {problem}")
    config = _config(folder / "config.json", settings)
    try:
        dataset = neutral.load(folder / CLIPS, action)
    except DatasetError as error:
        raise UserError(f"--results={folder}: its clips cannot be read ({error}); run its command again") from error
    body = loaders.load_body(body_model)
    params = _read_params(folder / PARAMS, len(dataset.names), body.num_betas, config, dataset.clips)
    return Run(folder, dataset, params, config, body, settings, metrics)


def _read_params(
    path: Path, instances: int, num_betas: int, config: FitConfig, clips: clips_lib.Clips | None = None
) -> Params:
    """The parameters of a fit of so many instances, with delays where `clips` form takes."""
    image_size = jnp.ones((instances, 2))
    start = lambda: model.init(jax.random.key(0), instances, image_size, num_betas, config)
    like = jax.eval_shape(lambda: start() if clips is None else takes.with_delays(start(), clips))
    leaves, tree = jax.tree_util.tree_flatten_with_path(like)
    try:
        arrays = safe_npz.read(path, {_name(place) for place, _ in leaves})
    except safe_npz.NpzError as error:
        raise UserError(f"{path} cannot be read ({error}); run the command of this folder again") from error
    # In older runs every clip showed the whole action, and the layers of the field told all of the way.
    arrays.setdefault("field/way", np.zeros((field.WAY_DEGREE, 3), np.float32))
    arrays.setdefault("span", np.tile(np.array(model.WHOLE, np.float32), (instances, 1)))
    for place, leaf in leaves:
        found = arrays.get(_name(place))
        if found is None or found.shape != leaf.shape or found.dtype.kind not in "biuf":
            shape = "nothing" if found is None else found.shape
            raise UserError(
                f"{path} has {shape} as {_name(place)}, expected {leaf.shape}; clips, body or configuration beside it are "
                "of another run: run its command again"
            )
        if not np.isfinite(found).all():
            raise UserError(f"{path} has numbers that are not finite as {_name(place)}; run its command again")
    return jax.tree_util.tree_unflatten(tree, [arrays[_name(place)] for place, _ in leaves])


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _config(path: Path, settings: Mapping[str, Any]) -> FitConfig:
    """The configuration of the fit. Raises UserError: no fit could have it."""
    given = _entry(path, settings, "fit", dict)
    known = {field.name for field in dataclasses.fields(FitConfig)}
    config = FitConfig(**_YOUNGER | {key: value for key, value in given.items() if key in known})
    for name, value, found in options.problems(config, "fit."):
        raise UserError(f"{path}: {name}={options.shown(value)} {found}, or run the command of this folder again")
    return config


def _entry(path: Path, settings: Mapping[str, Any], key: str, kind: Any) -> Any:
    """An entry of `config.json`. Raises UserError: it is of another kind."""
    value = settings.get(key)
    if not isinstance(value, kind):
        raise UserError(
            f"{path} has {options.shown(value)} as {key}, expected {_KINDS[key]}; run the command of this folder again"
        )
    return value


_KINDS = {"action": "a name", "body_model": "a path or nothing", "fit": "the fields of a fit"}


def _json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises UserError: the file holds something else."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise UserError(f"{path} cannot be read ({reason}); run the command of this folder again") from error
    if not isinstance(found, dict):
        raise UserError(
            f"{path} holds {options.shown(found)}, expected the entries of a run; run the command of this folder again"
        )
    return found
