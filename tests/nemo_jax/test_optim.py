import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nemo_jax import optim
from tests.nemo_jax import helpers

CONFIG = helpers.tiny_config(weight_decay=1e-2, hidden=4, num_centres=3, phase_nodes=3)
RATES = {
    "field": 1e-3,
    "translation": 1e-3,
    "phase": 1e-2,
    "codes": 3e-3,
    "cameras": 0.1,
    "betas": 2e-3,
    "log_focal": 1e-4,
}


@pytest.fixture(scope="module")
def fits():
    params = helpers.init(jax.random.key(0), 2, jnp.asarray([[100.0, 50]] * 2), 3, CONFIG)

    def stepper(names):
        rates = {name: RATES[name] for name in names}
        return jax.jit(lambda p, g, s: optim.update(p, g, s, CONFIG, rates))

    return SimpleNamespace(
        params=params,
        start=optim.initial(params, CONFIG),
        warmup=stepper(("field", "phase")),
        joint=stepper(tuple(RATES)),
    )


def gradients(params, seed):
    rng = np.random.default_rng(seed)
    # Magnitudes down to those where Adam's epsilon counts.
    return jax.tree.map(
        lambda x: jnp.asarray(rng.normal(size=x.shape) * 10.0 ** rng.uniform(-8, 2), jnp.float32), params
    )


class Adam:
    """torch.optim.Adam in float64 NumPy, weight decay coupled, one counter a parameter."""

    def __init__(self, value, rate, decay):
        self.value, self.rate, self.decay = np.float64(value), rate, decay
        self.first, self.second, self.count = np.zeros_like(self.value), np.zeros_like(self.value), 0

    def step(self, gradient):
        gradient = np.float64(gradient) + self.decay * self.value
        self.count += 1
        self.first = 0.9 * self.first + 0.1 * gradient
        self.second = 0.999 * self.second + 0.001 * gradient**2
        root = np.sqrt(self.second) / np.sqrt(1 - 0.999**self.count)
        self.value = self.value - self.rate * self.first / (1 - 0.9**self.count) / (root + 1e-8)


def leaves(tree):
    return {jax.tree_util.keystr(path): (path, leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def test_every_parameter_has_its_group(fits):
    groups = {name: optim.group_of(path) for name, (path, _) in leaves(fits.params).items()}
    # These are there only in fits that know of the ground (test_ground.py) or of takes (test_take_model.py).
    assert set(groups.values()) == set(optim.GROUPS) - {"path", "contact", "ground", "delay"}
    assert {n for n, g in groups.items() if g == "translation"} == {
        ".field['translation']['bias']",
        ".field['translation']['kernel']",
        ".field['way']",
    }
    assert groups[".field['features']['log_scales']"] == "field"


def test_adam_is_torchs_through_two_stages(fits):
    params, state = fits.params, fits.start
    oracle = {}
    for name, (path, leaf) in leaves(params).items():
        group = optim.group_of(path)
        decay = 1e-2 if group in ("field", "translation") else 0.0
        oracle[name] = (group, Adam(leaf, RATES.get(group, 0.0), decay))
    for step in range(7):
        gradient = gradients(params, step)
        active, update = (("field", "phase"), fits.warmup) if step < 4 else (tuple(RATES), fits.joint)
        params, state = update(params, gradient, state)
        for name, (_, leaf) in leaves(gradient).items():
            group, adam = oracle[name]
            if group in active:
                adam.step(leaf)
    assert oracle[".field['translation']['bias']"][1].count == 3 and oracle[".field['hidden_0']['bias']"][1].count == 7
    for name, (_, leaf) in leaves(params).items():
        np.testing.assert_allclose(leaf, oracle[name][1].value, rtol=2e-5, atol=1e-6, err_msg=name)
    # Nothing moves what is in no optimiser.
    np.testing.assert_array_equal(params.mirrored, fits.params.mirrored)


def test_held_groups_keep_their_state_bit_for_bit(fits):
    params, state = fits.joint(fits.params, gradients(fits.params, 0), fits.start)
    moved, after = fits.warmup(params, gradients(params, 1), state)
    for group, inner in after.inner_states.items():
        same = jax.tree.map(lambda a, b: bool((a == b).all()), inner, state.inner_states[group])
        assert all(jax.tree.leaves(same)) == (group not in ("field", "phase")), group
    for name, (path, leaf) in leaves(moved).items():
        equal = bool((leaf == leaves(params)[name][1]).all())
        assert equal == (optim.group_of(path) not in ("field", "phase")), name


def test_without_decay_a_zero_gradient_moves_by_momentum_only(fits):
    zero = jax.tree.map(jnp.zeros_like, fits.params)
    config = dataclasses.replace(CONFIG, weight_decay=0.0)
    still, state = jax.jit(lambda p, g, s: optim.update(p, g, s, config, RATES))(fits.params, zero, fits.start)
    jax.tree.map(np.testing.assert_array_equal, still, fits.params)
    # After one real step, an absent instance goes on.
    params, state = fits.joint(fits.params, gradients(fits.params, 0), state)
    after, _ = fits.joint(params, zero, state)
    assert np.all(np.abs(after.cameras - params.cameras) > 1e-3)
