"""Fits the open learned prior over short motions (`nemo_jax.priors.motion`), and says how well calibrated it is.

    python -m experiments.simulation.motion_prior --motion=FOLDER --sources=prior.csv --leave_out=scored.csv

The flags are those of `experiments.simulation.pose_prior`, whose prior must have been fitted before. Every window is used
with its mirror image. The people of the recordings are dealt into `--folds` groups: windows of each group are measured by
predictions that were fitted to the others, which tells the mean surprise and the calibration on people whom the prior has
not seen. What is written was fitted to all, with the degrees of freedom that surprised least.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from body_models import loaders, smpl
from experiments.base.errors import UserError
from experiments.simulation import observations, pose_prior, student_t
from nemo_jax import mirror, rotations
from nemo_jax.priors import limbs, motion

Array = np.ndarray

# Velocities that are added to what the recordings show: their poses and places are rounded, and their markers noisy.
_FLOOR = 0.3
_RIDGE = 6.0  # weight of slopes of size 1, in windows: a component that few windows belong to predicts a constant
_SHRINK = 20.0  # windows as which the floor counts beside those of a component
_ROUNDS = 8
_LEAST = 1e-4  # share of a component under which it does not see a window


class Windows(NamedTuple):
    """poses (P, D), moved (P, V), people (P,): what `motion_loss` takes of P windows, and whose they are; float64."""

    poses: Array
    moved: Array
    people: Array


class Predictions(NamedTuple):
    """slopes (M, V, D), offsets (M, V), scales (M, V, V), freedom: one for each component of the limb prior, float64."""

    slopes: Array
    offsets: Array
    scales: Array
    freedom: float


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = pose_prior.flags(__doc__)
    parser.add_argument("--freedom", default="2,4,8", help="degrees of freedom tried")
    parser.add_argument("--folds", type=int, default=4, help="groups of people")
    parser.add_argument("--output", default=str(motion.OPEN_MOTION), help="file written")
    args = parser.parse_args(argv)
    try:
        windows = read(Path(args.motion), args.sources, args.leave_out)
    except UserError as error:
        raise SystemExit(f"Error: {error}") from error
    gates = responsibilities(windows.poses)
    people = np.unique(windows.people)
    print(f"{len(windows.poses)} windows of {len(people)} people, mirror images counted")
    found = []
    for freedom in map(float, args.freedom.split(",")):
        surprise, distances = measure(windows, gates, freedom, args.folds)
        found.append((surprise, freedom, distances))
        print(f"{freedom:g} degrees of freedom: {surprise:.2f} nats a window of people left out", flush=True)
    _, freedom, distances = min(found, key=lambda each: each[0])
    for share, seen in student_t.calibration(distances, windows.moved.shape[1], freedom):
        print(f"{share:.0%} of the windows are expected within a distance that holds {seen:.1%} of them")
    write(Path(args.output), fit(windows, gates, freedom))


def read(folder: Path, sources: str | None, leave_out: str | None) -> Windows:
    """The windows of every recording that may be used, and their mirror images.

    Raises:
      UserError: see `pose_prior.recordings`, or no recording is long enough for a window.
    """
    body = loaders.load_body()
    recordings = pose_prior.recordings(body, folder, sources, leave_out)
    each = [(windows(body, found), person) for person, found in recordings]
    long = [(poses, moved, np.full(len(poses), person)) for (poses, moved), person in each if len(poses)]
    if not long:
        raise UserError(f"--motion={folder} holds no recording of {2 * motion.SPACING:.2f} s; give longer ones")
    return Windows(*(np.concatenate(part) for part in zip(*long, strict=True)))


def windows(body: smpl.SMPL, found: observations.Motion) -> tuple[Array, Array]:
    """Directions (2 P, D) in the middle of the P windows of a recording and of its mirror image, and what moves (2 P, V)."""
    apart = max(1, round(found.fps * motion.SPACING))
    count = max(len(found.pose) - 2 * apart, 0)
    at = np.arange(count)[:, None] + apart * np.arange(3)
    # Lengths are rounded up, so that few programs are compiled.
    padded = np.zeros((1 << max(len(found.pose) - 1, 1).bit_length(), 25, 3), np.float32)
    padded[: len(found.pose)] = np.concatenate([found.pose, found.translation[:, None]], 1)
    parts = []
    for mirrored in (False, True):
        directions, roots, places = (np.asarray(x, np.float64) for x in _seen(body, padded, mirrored))
        given = directions[at], roots[at], places[at]
        parts.append((directions[at[:, 1]].reshape(count, limbs.NUM_DIMENSIONS), moving(*given, apart / found.fps)))
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))  # pyright: ignore[reportReturnType]


def moving(directions: Array, roots: Array, places: Array, spacing: float) -> Array:
    """`motion.moving` of windows (P, 3, ...), in float64."""
    turn = np.swapaxes(roots[:, :-1], -1, -2) @ roots[:, 1:]
    turns = 0.5 * (turn - np.swapaxes(turn, -1, -2))[..., [2, 0, 1], [1, 2, 0]]
    steps = np.einsum("ptc,pcd->ptd", np.diff(places, axis=1), roots[:, 1])
    limb_steps = np.diff(directions, axis=1).reshape(len(directions), 2, limbs.NUM_DIMENSIONS)
    change = np.concatenate([limb_steps, turns, steps], -1) / spacing
    return np.concatenate([change.mean(1), (change[:, 1] - change[:, 0]) / spacing * motion.SPACING], -1)


@jax.jit
def _seen(body: smpl.SMPL, frames: jax.Array, mirrored: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Directions (T, 14, 3), orientations (T, 3, 3) and places (T, 3) of frames (T, 25, 3), a pose and a place each."""
    shape = jnp.zeros(body.num_betas)

    def one(frame: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        turns = rotations.axis_angle_to_matrix(frame[:24])
        turns, place = mirror.mirror_motion(turns, frame[24], jnp.asarray(mirrored, jnp.float32))
        joints = smpl.joints(body, turns, shape, place)
        return limbs.directions(joints, turns[0]), turns[0], joints[0]

    return jax.lax.map(one, frames, batch_size=256)


def responsibilities(poses: Array) -> Array:
    """Logarithms (P, M) of the share that each component of the limb prior has in poses (P, D)."""
    prior = limbs.open_limbs()
    means, whitening, heights = (np.asarray(x, np.float64) for x in (prior.means, prior.whitening, prior.log_weights))
    squares = pose_prior.distances(poses, means, whitening)
    logs = heights - student_t.fall(squares, poses.shape[1], float(prior.freedom))
    return logs - np.logaddexp.reduce(logs, 1, keepdims=True)


def measure(given: Windows, gates: Array, freedom: float, folds: int) -> tuple[float, Array]:
    """Mean surprise and squared distances (P,) of the windows of people left out, group by group; see `distances`."""
    people, whose = np.unique(given.people, return_inverse=True)
    surprise, found = np.zeros(len(whose)), np.zeros(len(whose))
    for group in range(min(folds, len(people))):
        left = whose % folds == group
        known, unknown = (Windows(*(part[rows] for part in given)) for rows in (~left, left))
        if not len(known.poses):
            continue
        predictions = fit(known, gates[~left], freedom)
        logs, squares = parts(predictions, unknown, gates[left])
        surprise[left] = -np.logaddexp.reduce(logs, 1)
        found[left] = squares[np.arange(len(squares)), logs.argmax(1)]
    return float(surprise.mean()), found


def fit(given: Windows, gates: Array, freedom: float) -> Predictions:
    """Expectation maximisation of the predictions and of which of them each window belongs to."""
    size = given.moved.shape[1]
    belongs, trust = np.exp(gates), np.ones_like(gates)
    predictions = _maximise(given, belongs, trust, freedom)
    for _ in range(_ROUNDS):
        logs, squares = parts(predictions, given, gates)
        belongs = np.exp(logs - np.logaddexp.reduce(logs, 1, keepdims=True))
        trust = (freedom + size) / (freedom + squares)
        predictions = _maximise(given, belongs, trust, freedom)
    return predictions


def _maximise(given: Windows, belongs: Array, trust: Array, freedom: float) -> Predictions:
    size, width = given.moved.shape[1], given.poses.shape[1]
    floor = _FLOOR**2 * np.eye(size)
    slopes, offsets, scales = [], [], []
    for number in range(belongs.shape[1]):
        rows = belongs[:, number] > _LEAST
        share, weight = belongs[rows, number], (belongs * trust)[rows, number, None]
        known = np.concatenate([given.poses[rows], np.ones((rows.sum(), 1))], 1)
        moments = (known * weight).T @ known + _RIDGE * np.eye(width + 1)
        line = np.linalg.solve(moments, (known * weight).T @ given.moved[rows])
        apart = given.moved[rows] - known @ line
        scale = ((apart * weight).T @ apart + _SHRINK * floor) / (share.sum() + _SHRINK)
        slopes.append(line[:width].T)
        offsets.append(line[width])
        scales.append(scale + floor)
    return Predictions(np.stack(slopes), np.stack(offsets), np.stack(scales), freedom)


def parts(predictions: Predictions, given: Windows, gates: Array) -> tuple[Array, Array]:
    """Logarithm (P, M) of each prediction's share of the density, and squared distances (P, M) from it.

    A prediction whose share in the pose is below `_LEAST` is not looked at: its distance is infinite.
    """
    size, freedom = given.moved.shape[1], predictions.freedom
    heights, whitening = student_t.heights(predictions.scales, freedom), student_t.whitening(predictions.scales)
    logs, squares = np.full(gates.shape, -np.inf), np.full(gates.shape, np.inf)
    for number, (slope, offset, white) in enumerate(
        zip(predictions.slopes, predictions.offsets, whitening, strict=True)
    ):
        rows = gates[:, number] > np.log(_LEAST)
        apart = given.moved[rows] - given.poses[rows] @ slope.T - offset
        square = ((apart @ white.T) ** 2).sum(1)
        squares[rows, number] = square
        logs[rows, number] = gates[rows, number] + heights[number] - student_t.fall(square, size, freedom)
    return logs, squares


def write(path: Path, predictions: Predictions) -> None:
    """Writes the file that `motion.open_motion` reads."""
    scales, freedom = predictions.scales, predictions.freedom
    lines = {"slopes": predictions.slopes, "offsets": predictions.offsets}
    student_t.write(path, scales, student_t.heights(scales, freedom), freedom, **lines)


if __name__ == "__main__":
    main(sys.argv[1:])
