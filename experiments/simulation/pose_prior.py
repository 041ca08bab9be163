"""Fits the open learned prior (`nemo_jax.priors.limbs`) to recorded motion, and says how well calibrated it is.

    python -m experiments.simulation.pose_prior --motion=FOLDER --sources=prior.csv --leave_out=scored.csv

The motion is AMASS's: `.npz` files with poses, trans, betas and mocap_framerate. Every pose is used with its mirror image.
One recording in ten is not fitted but measured on: the table shows, for each number of components and degree of freedom,
the mean surprise of these poses, and the mixture with the smallest is written. Recordings whose subject and trial the table
`--leave_out` lists are not used at all, so that an action can be scored that the prior has not seen.
"""

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from body_models import loaders, smpl
from experiments.base.errors import UserError
from experiments.data import neutral_file
from experiments.simulation import amass, observations, student_t
from nemo_jax import mirror, rotations
from nemo_jax.priors import limbs

Array = np.ndarray

# Standard deviation of a direction that is added to what the recordings show: 3 degrees, as markers and skeletons differ.
_FLOOR = 0.05
_ROUNDS = 60
_LEAST_SHARE = 1e-4


class Mixture(NamedTuple):
    """shares (M,), means (M, D), scales (M, D, D), freedom: a mixture of Student t distributions, float64."""

    shares: Array
    means: Array
    scales: Array
    freedom: float


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = flags(__doc__)
    parser.add_argument("--components", default="8,16,24", help="numbers of components tried")
    parser.add_argument("--freedom", default="6,12", help="degrees of freedom tried")
    parser.add_argument("--output", default=str(limbs.OPEN_LIMBS), help="file written")
    args = parser.parse_args(argv)
    try:
        recordings = read(Path(args.motion), args.sources, args.leave_out)
    except UserError as error:
        raise SystemExit(f"Error: {error}") from error
    fitted, measured = split(recordings)
    print(
        f"{len(recordings)} recordings, {sum(map(len, recordings))} poses, {len(measured)} of them (mirrored) measured"
    )
    found = []
    for count in map(int, args.components.split(",")):
        for freedom in map(float, args.freedom.split(",")):
            mixture = fit(fitted, count, freedom)
            surprise = -log_density(mixture, measured).mean()
            found.append((surprise, mixture))
            print(f"{count} components, {freedom:g} degrees of freedom: {surprise:.2f} nats a pose", flush=True)
    _, best = min(found, key=lambda pair: pair[0])
    for share, seen in calibration(best, measured):
        print(f"{share:.0%} of the poses are expected within a distance that holds {seen:.1%} of them")
    write(Path(args.output), best)


def flags(description: str | None) -> argparse.ArgumentParser:
    """A parser with the flags that say which motion is read."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--motion", required=True, help="folder of .npz files of motion")
    parser.add_argument("--sources", help="CSV of them with the columns file, subject and trial")
    parser.add_argument("--leave_out", help="CSV with the columns subject and trial of recordings that are not used")
    return parser


def read(folder: Path, sources: str | None, leave_out: str | None) -> list[Array]:
    """Directions (T, D) of the limbs of every recording that may be used. Raises UserError: see `recordings`."""
    body = loaders.load_body()
    return [directions(body, motion.pose) for _, motion in recordings(body, folder, sources, leave_out)]


def recordings(
    body: smpl.SMPL, folder: Path, sources: str | None, leave_out: str | None
) -> list[tuple[str, observations.Motion]]:
    """Every recording that may be used, with the subject that `sources` gives, or its own name.

    Raises:
      UserError: no such folder, or no recordings in it, a file is not a motion, or a table does not say what is left out.
    """
    files = neutral_file.files(folder)
    if not files:
        raise UserError(f"--motion={folder} holds no .npz files; give a folder of recorded motion")
    if leave_out is not None and sources is None:
        raise UserError(
            f"--leave_out={leave_out} needs --sources, the table that tells the subject and trial of each file"
        )
    listed = _rows("sources", sources, ("file", "subject", "trial"))
    unwanted = {(row["subject"], row["trial"]) for row in _rows("leave_out", leave_out, ("subject", "trial"))}
    left_out = {row["file"] for row in listed if (row["subject"], row["trial"]) in unwanted - {("", "")}}
    people = {row["file"]: row["subject"] for row in listed}
    found = []
    for path in files:
        if path.name not in left_out:
            try:
                found.append((people.get(path.name) or path.stem, amass.read(path, body)[0]))
            except neutral_file.FileError as error:
                raise UserError(f"{path}: {error}; mend it or take it out of --motion") from error
    if not found:
        raise UserError(f"--leave_out={leave_out} leaves none of the {len(files)} files of --motion={folder}")
    return found


def _rows(flag: str, path: str | None, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a table, none without one. Raises UserError: it cannot be read, or has not these columns."""
    if path is None:
        return []
    try:
        with Path(path).open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows, found = list(reader), reader.fieldnames or ()
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"--{flag}={path} cannot be read ({error}); give a table with commas") from error
    if not set(columns) <= set(found):
        raise UserError(f"--{flag}={path} has the columns {', '.join(found) or 'none'}, expected {', '.join(columns)}")
    return rows


def directions(body: smpl.SMPL, poses: Array) -> Array:
    """Directions (2 T, D) of the limbs of poses (T, 24, 3) and of their mirror images."""
    every = np.concatenate([poses, np.asarray(mirror.mirror_pose(jnp.asarray(poses, jnp.float32)))])
    # Lengths are rounded up, so that few programs are compiled.
    padded = np.zeros((1 << (len(every) - 1).bit_length(), *every.shape[1:]), np.float32)
    padded[: len(every)] = every
    return np.asarray(_directions(body, padded), np.float64)[: len(every)].reshape(len(every), -1)


@jax.jit
def _directions(body: smpl.SMPL, poses: jax.Array) -> jax.Array:
    shape, still = jnp.zeros(body.num_betas), jnp.zeros(3)

    def one(pose: jax.Array) -> jax.Array:
        rotation = rotations.axis_angle_to_matrix(pose)
        return limbs.directions(smpl.joints(body, rotation, shape, still), rotation[0])

    return jax.lax.map(one, poses, batch_size=256)


def split(recordings: Sequence[Array]) -> tuple[Array, Array]:
    """Poses to fit and poses to measure on: every tenth recording is measured on."""
    measured = [each for number, each in enumerate(recordings) if number % 10 == 5]
    fitted = [each for number, each in enumerate(recordings) if number % 10 != 5]
    return np.concatenate(fitted), np.concatenate(measured or fitted)


def fit(poses: Array, count: int, freedom: float, seed: int = 0) -> Mixture:
    """Expectation maximisation of `count` components over poses (P, D), from components around poses far apart."""
    rng = np.random.default_rng(seed)
    centres = poses[_spread(poses, count, rng)]
    nearest = np.argmin(np.stack([((poses - centre) ** 2).sum(1) for centre in centres], 1), 1)
    belongs = np.eye(count)[nearest]
    mixture = _maximise(poses, belongs, np.ones_like(belongs), freedom)
    for _ in range(_ROUNDS):
        logs, squares = _parts(mixture, poses)
        belongs = np.exp(logs - np.logaddexp.reduce(logs, 1, keepdims=True))
        mixture = _maximise(poses, belongs, (freedom + poses.shape[1]) / (freedom + squares), freedom)
    return mixture


def _spread(poses: Array, count: int, rng: np.random.Generator) -> list[int]:
    """Indices of poses drawn with probability proportional to the squared distance to those drawn before (k-means++)."""
    found = [int(rng.integers(len(poses)))]
    distance = ((poses - poses[found[0]]) ** 2).sum(1)
    while len(found) < count:
        found.append(int(rng.choice(len(poses), p=distance / distance.sum())))
        distance = np.minimum(distance, ((poses - poses[found[-1]]) ** 2).sum(1))
    return found


def _maximise(poses: Array, belongs: Array, trust: Array, freedom: float) -> Mixture:
    weight, total = belongs * trust, belongs.sum(0)
    means = (weight.T @ poses) / np.maximum(weight.sum(0), 1e-9)[:, None]
    scales = []
    for number in range(len(means)):
        apart = poses - means[number]
        scale = (apart * weight[:, number : number + 1]).T @ apart / max(total[number], 1e-9)
        scales.append(scale + _FLOOR**2 * np.eye(poses.shape[1]))
    shares = np.maximum(total / total.sum(), _LEAST_SHARE)
    return Mixture(shares / shares.sum(), means, np.stack(scales), freedom)


def _parts(mixture: Mixture, poses: Array) -> tuple[Array, Array]:
    """Logarithm (P, M) of each component's share of the density, and squared distances (P, M)."""
    size, freedom = poses.shape[1], mixture.freedom
    squares = distances(poses, mixture.means, student_t.whitening(mixture.scales))
    return peak(mixture) - student_t.fall(squares, size, freedom), squares


def distances(poses: Array, means: Array, whitening: Array) -> Array:
    """Squared distances (P, M) of poses (P, D) from components: means (M, D), whitening (M, D, D)."""
    return np.stack([(((poses - mean) @ white.T) ** 2).sum(1) for mean, white in zip(means, whitening, strict=True)], 1)


def peak(mixture: Mixture) -> Array:
    """Logarithm (M,) of each component's share times its density at its mean."""
    return np.log(mixture.shares) + student_t.heights(mixture.scales, mixture.freedom)


def log_density(mixture: Mixture, poses: Array) -> Array:
    """Logarithm (P,) of the density at poses (P, D)."""
    return np.logaddexp.reduce(_parts(mixture, poses)[0], 1)


def calibration(mixture: Mixture, poses: Array) -> list[tuple[float, float]]:
    """`student_t.calibration` of poses (P, D), each by the component that most likely holds it."""
    logs, squares = _parts(mixture, poses)
    own = squares[np.arange(len(poses)), logs.argmax(1)]
    return student_t.calibration(own, poses.shape[1], mixture.freedom)


def write(path: Path, mixture: Mixture) -> None:
    """Writes the file that `limbs.open_limbs` reads."""
    student_t.write(path, mixture.scales, peak(mixture), mixture.freedom, means=mixture.means)


if __name__ == "__main__":
    main(sys.argv[1:])
