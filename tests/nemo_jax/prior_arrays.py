"""A random mixture, a small random VPoser under the published names, and that network in plain NumPy, float64."""

import numpy as np

DIMENSIONS = 69
HIDDEN, LATENT = 24, 6
_DENSE = {
    "encoder_net.2": (HIDDEN, 63),
    "encoder_net.6": (HIDDEN, HIDDEN),
    "encoder_net.7": (HIDDEN, HIDDEN),
    "encoder_net.8.mu": (LATENT, HIDDEN),
    "encoder_net.8.logvar": (LATENT, HIDDEN),
    "decoder_net.0": (HIDDEN, LATENT),
    "decoder_net.3": (HIDDEN, HIDDEN),
    "decoder_net.5": (126, HIDDEN),
}


def mixture(scale=0.1, spread=1.5, components=3, seed=0):
    """Means (exact in float32), covariances with eigenvalues scale * e^(+-spread), weights."""
    rng = np.random.default_rng(seed)
    bases = [np.linalg.qr(rng.normal(size=(DIMENSIONS, DIMENSIONS)))[0] for _ in range(components)]
    eigenvalues = scale * np.exp(rng.uniform(-spread, spread, (components, DIMENSIONS)))
    covariances = np.stack([(q * e) @ q.T for q, e in zip(bases, eigenvalues, strict=True)])
    weights = rng.uniform(0.5, 1.5, components)
    means = np.float64(np.float32(0.2 * rng.normal(size=(components, DIMENSIONS))))
    return means, (covariances + covariances.swapaxes(1, 2)) / 2, weights / weights.sum()


def vposer_state(seed=0):
    """Arrays of a network, float32, and the counters that batch norm leaves."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for name, size in (("encoder_net.1", 63), ("encoder_net.4", HIDDEN)):
        arrays[f"{name}.weight"] = rng.uniform(0.5, 1.5, size)
        arrays[f"{name}.bias"] = rng.normal(size=size)
        arrays[f"{name}.running_mean"] = 0.3 * rng.normal(size=size)
        arrays[f"{name}.running_var"] = rng.uniform(0.05, 1, size)
    for name, (outputs, inputs) in _DENSE.items():
        arrays[f"{name}.weight"] = 1.5 * rng.normal(size=(outputs, inputs)) / np.sqrt(inputs)
        arrays[f"{name}.bias"] = 0.3 * rng.normal(size=outputs)
    arrays = {name: np.float32(array) for name, array in arrays.items()}
    counters = {f"encoder_net.{i}.num_batches_tracked": np.array(7) for i in (1, 4)}
    return {**arrays, **counters}


class NumpyVPoser:
    """The published network as its names tell it."""

    def __init__(self, arrays):
        self._arrays = {name: np.asarray(array, np.float64) for name, array in arrays.items()}

    def encode(self, pose):
        """Mean and scale of a pose (63,)."""
        x = self._norm(pose, "encoder_net.1")
        x = self._norm(_leaky(self._dense(x, "encoder_net.2")), "encoder_net.4")
        x = self._dense(self._dense(x, "encoder_net.6"), "encoder_net.7")
        return self._dense(x, "encoder_net.8.mu"), np.log1p(np.exp(self._dense(x, "encoder_net.8.logvar")))

    def decode(self, code):
        """Rotations (21, 3, 3): each the two columns of (3, 2) made orthonormal."""
        x = _leaky(self._dense(_leaky(self._dense(code, "decoder_net.0")), "decoder_net.3"))
        first, second = np.moveaxis(self._dense(x, "decoder_net.5").reshape(21, 3, 2), -1, 0)
        first = first / np.linalg.norm(first, axis=-1, keepdims=True)
        second = second - (first * second).sum(-1, keepdims=True) * first
        second = second / np.linalg.norm(second, axis=-1, keepdims=True)
        return np.stack([first, second, np.cross(first, second)], -1)

    def _dense(self, x, name):
        return self._arrays[f"{name}.weight"] @ x + self._arrays[f"{name}.bias"]

    def _norm(self, x, name):
        get = {part: self._arrays[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")}
        return (x - get["running_mean"]) / np.sqrt(get["running_var"] + 1e-5) * get["weight"] + get["bias"]


def _leaky(x):
    return np.where(x > 0, x, 0.01 * x)
