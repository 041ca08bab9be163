import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nemo_jax import optim

RATES = {"cameras": 0.1, "field": 1e-4, "tiny": 1e-7}


def schedule(losses: np.ndarray, factor: float) -> np.ndarray:
    """Learning rate (steps, 3) used at each step."""

    def step(plateau, loss):
        rates = optim.reduced(RATES, plateau)
        return optim.watch(plateau, loss, factor), jnp.stack([jnp.asarray(rate) for rate in rates.values()])

    return np.asarray(jax.lax.scan(step, optim.fresh_plateau(), jnp.asarray(losses, jnp.float32))[1])


def test_rates_stay_while_the_loss_falls():
    rates = schedule(np.linspace(10, 1, 60), 0.5)
    np.testing.assert_allclose(rates, np.broadcast_to(list(RATES.values()), rates.shape))


def test_rates_fall_after_eleven_steps_without_progress():
    rates = schedule(np.ones(30), 0.5)[:, 0]
    # The first step sets the best; eleven more are not better; the next step feels it.
    np.testing.assert_allclose(rates[:12], 0.1)
    np.testing.assert_allclose(rates[12:23], 0.05)
    np.testing.assert_allclose(rates[23:], 0.025)


def test_rates_stop_at_their_floor():
    rates = schedule(np.ones(400), 0.1)
    np.testing.assert_allclose(rates[-1], [1e-6, 1e-6, 1e-7], rtol=1e-5)


@pytest.mark.oracle
def test_plateau_is_torchs():
    torch = pytest.importorskip("torch", reason="needs requirements-oracle.txt")
    rng = np.random.default_rng(0)
    losses = 1 + 5 * np.exp(-np.arange(200) / 20) + 0.3 * rng.normal(size=200)
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.Adam([parameter], lr=0.1)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.5, patience=10, min_lr=1e-6)
    expected = []
    for loss in losses:
        expected.append(optimiser.param_groups[0]["lr"])
        scheduler.step(loss)
    np.testing.assert_allclose(schedule(losses, 0.5)[:, 0], expected, rtol=1e-5)
