"""The function for JAX: gradients against JAX's own, under jit and vmap, types, refusals."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gillespy_lite as gl
from gillespy_lite.errors import MethodError, NetworkError
from gillespy_lite.ode_rnn import Recurrence
from gillespy_lite.ode_rnn.jax_layer import jax_function

jax = pytest.importorskip("jax", reason="needs JAX: pip install gillespy_lite[jax]")
jnp = jax.numpy

DOCS = Path(__file__).resolve().parent.parent / "docs"
sys.path.insert(0, str(DOCS))

from pages import run_page  # noqa: E402

# Parameters: bind, unbind, feed; the input light multiplies the feed.
NETWORK = gl.Network.parse("""
    param bind = 0.02, unbind = 0.3, feed = 5, light = 1
    species P = 40, Q = 5
    observe units = P + 2*Q*feed
    2 P -> Q @ bind
    Q -> 2 P @ unbind
    0 -> P   @ feed*light
""")
TIMES = np.array([0.0, 0.4, 0.5, 1.5])
RATES, START = np.array([0.02, 0.3, 5.0]), np.array([40.0, 5.0])
LIGHT = np.array([[1.0], [0.3], [2.0], [1.5]])


@pytest.fixture(autouse=True)
def _double_precision():
    with jax.enable_x64(True):
        yield


def driven(cell="rk4", **options):
    return Recurrence(NETWORK, cell, inputs=["light"], interpolation="linear", **options)


def by_hand(rates, start, light, steps):
    """Return P and units by classical RK4, in JAX alone; the driver is on straight lines."""
    bind, unbind, feed = rates

    def slope(y, drive):
        pairs, apart = bind * y[0] ** 2 / 2.0, unbind * y[1]
        return jnp.stack([feed * drive - 2.0 * pairs + 2.0 * apart, pairs - apart])

    y, found = start, [start]
    for k, length in enumerate(np.diff(TIMES)):
        h = length / steps
        for i in range(steps):
            d = [
                light[k, 0] + (light[k + 1, 0] - light[k, 0]) * (i + x) / steps for x in (0, 0.5, 1)
            ]
            k1 = slope(y, d[0])
            k2 = slope(y + h / 2 * k1, d[1])
            k3 = slope(y + h / 2 * k2, d[1])
            k4 = slope(y + h * k3, d[2])
            y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        found.append(y)
    y = jnp.stack(found)
    return jnp.stack([y[:, 0], y[:, 0] + 2.0 * y[:, 1] * feed], -1)


def loss_of(function):
    def loss(*arguments):
        return jnp.log1p(function(*arguments) ** 2).sum()

    return loss


def compiled(function):
    """Compile in a hurry: most of the time of these tests goes into compiling."""
    fast = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    return jax.jit(function, compiler_options=fast)


LAYER = jax_function(driven(), TIMES, outputs=["P", "units"], steps=1)
BOTH = (LAYER, functools.partial(by_hand, steps=1))


def test_values_and_gradients_are_those_of_the_same_loop_in_jax():
    found, expected = (compiled(f)(RATES, START, LIGHT) for f in BOTH)
    assert_allclose(found, expected, rtol=1e-13)
    found, expected = (
        compiled(jax.grad(loss_of(f), argnums=(0, 1, 2)))(RATES, START, LIGHT) for f in BOTH
    )
    for one, other in zip(found, expected, strict=True):
        assert_allclose(one, other, rtol=1e-10)


@pytest.mark.parametrize("cell", ["heun", "dopri5", "implicit_euler", "rodas4_adaptive"])
def test_every_cell_has_the_gradient_that_pull_back_gives(cell):
    recurrence = driven(cell)
    function = jax_function(recurrence, TIMES)
    path = recurrence.unroll(TIMES, parameters=RATES, initial=START, inputs=LIGHT)
    expected = path.pull_back(2.0 * path.states / (1.0 + path.states**2))
    found = jax.grad(loss_of(function), argnums=(0, 1, 2))(RATES, START, LIGHT)
    for one, other in zip(
        found, (expected.parameters, expected.initial, expected.inputs), strict=True
    ):
        assert_allclose(one, other, rtol=1e-12)


def test_vmap_runs_one_batch_and_gives_each_its_gradient():
    rates = RATES * np.linspace(0.5, 1.5, 6)[:, None]

    def over_rates(function):
        return compiled(jax.vmap(function, in_axes=(0, None, None)))(rates, START, LIGHT)

    assert_allclose(*map(over_rates, BOTH), rtol=1e-13)
    found, expected = (over_rates(jax.grad(loss_of(f), argnums=(0, 1, 2))) for f in BOTH)
    assert [one.shape for one in found] == [(6, 3), (6, 2), (6, 4, 1)]
    for one, other in zip(found, expected, strict=True):
        assert_allclose(one, other, rtol=1e-10)


def test_vmap_inside_vmap_and_gradient_of_a_sum_over_both():
    rates = RATES * np.linspace(0.5, 1.5, 3)[:, None]
    starts = START + np.arange(4.0).reshape(2, 2)

    def gradient(function):
        def loss(rates, starts, light):
            inner = jax.vmap(function, in_axes=(None, 0, None))
            return jnp.log1p(jax.vmap(inner, in_axes=(0, None, None))(rates, starts, light)).sum()

        return compiled(jax.grad(loss, argnums=(0, 1, 2)))(rates, starts, LIGHT)

    for one, other in zip(*map(gradient, BOTH), strict=True):
        assert_allclose(one, other, rtol=1e-10)


def test_leading_axes_are_batch_axes_and_broadcast():
    rates = RATES * np.linspace(0.5, 1.5, 3).reshape(3, 1, 1)
    starts = START + np.arange(4.0).reshape(2, 2)
    states = LAYER(rates, starts, LIGHT)
    assert states.shape == (3, 2, 4, 2)
    assert_allclose(states[1, 1], LAYER(RATES, starts[1], LIGHT), rtol=1e-13)
    gradient = jax.grad(lambda a, b: jnp.log1p(LAYER(a, b, LIGHT)).sum(), argnums=(0, 1))
    by_rates, by_starts = gradient(rates, starts)
    one_by_one = [[gradient(rate[0], start) for start in starts] for rate in rates]
    assert_allclose(by_rates[:, 0], [sum(by for by, _ in row) for row in one_by_one])
    assert_allclose(by_starts, np.sum([[by for _, by in row] for row in one_by_one], axis=0))


def test_values_can_be_given_by_name():
    function = jax_function(driven(), TIMES)
    expected = function(RATES * [1.0, 2.0, 1.0], np.array([40.0, 7.0]))
    assert_allclose(function({"unbind": 0.6}, {"Q": 7.0}), expected, rtol=1e-14)
    by_name = jax.grad(lambda values: function(values, {"Q": 7.0})[-1, 0])({"unbind": 0.6})
    by_place = jax.grad(lambda rates: function(rates, np.array([40.0, 7.0]))[-1, 0])(
        jnp.array(RATES * [1.0, 2.0, 1.0])
    )
    assert_allclose(by_name["unbind"], by_place[1], rtol=1e-12)
    many = jax.vmap(lambda unbind: function({"unbind": unbind}, {"Q": 7.0}))(jnp.array([0.3, 0.6]))
    assert_allclose(many[1], expected, rtol=1e-14)


def test_without_double_precision_results_are_the_doubles_rounded():
    function = jax_function(driven(), TIMES)
    with jax.enable_x64(False):
        rates = jnp.array(RATES)
        assert rates.dtype == jnp.float32
        states = jax.jit(function)(rates)
        gradient = jax.grad(lambda r: function(r).sum())(rates)
    assert states.dtype == gradient.dtype == np.float32
    exact = np.asarray(rates, dtype=np.float64)
    assert_allclose(states, np.float32(function(exact)), rtol=0)
    assert_allclose(gradient, np.float32(jax.grad(lambda r: function(r).sum())(exact)), rtol=0)


def test_a_trajectory_that_diverges_is_nan_and_leaves_the_others_alone():
    function = jax_function(driven(), TIMES, steps=1)
    rates = RATES * np.array([[1.0, 1.0, 1.0], [1e9, 1.0, 1.0], [2.0, 1.0, 1.0]])
    states = function(rates)
    assert np.isfinite(states).all(axis=(1, 2)).tolist() == [True, False, True]
    gradient = jax.grad(lambda r: function(r).sum())(jnp.array(rates))
    assert np.isnan(gradient[1]).all()
    for row in (0, 2):
        assert_allclose(gradient[row], jax.grad(lambda r: function(r).sum())(jnp.array(rates[row])))
    assert np.isnan(jax.grad(lambda r: function(r).sum())(jnp.array(rates[1]))).all()


def test_forward_mode_is_refused_by_jax():
    function = jax_function(driven(), TIMES)
    with pytest.raises(TypeError, match="custom_vjp"):
        jax.jvp(function, (RATES,), (RATES,))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((RATES[:2],), ValueError, r"parameters must have shape .* = \(\.\.\., 3\), not \(2,\)"),
        ((None, None, LIGHT[:2]), ValueError, r"inputs must have shape .*4, 1\), not \(2, 1\)"),
        (({"bin": 1.0},), NetworkError, "no parameter 'bin'"),
        ((None, {"R": 1.0}), NetworkError, "no species or variable 'R'"),
    ],
)
def test_function_refuses_what_does_not_fit_also_under_jit(arguments, error, message):
    function = jax_function(driven(), TIMES)
    with pytest.raises(error, match=message):
        function(*arguments)
    with pytest.raises(error, match=message):
        jax.jit(function)(*arguments)


def test_function_refuses_cells_with_noise_and_unknown_outputs():
    with pytest.raises(MethodError, match="'langevin' draws random numbers"):
        jax_function(Recurrence(NETWORK, "langevin"), TIMES)
    with pytest.raises(MethodError, match="'leap' has no gradient"):
        jax_function(Recurrence(NETWORK, "leap"), TIMES)
    with pytest.raises(NetworkError, match="no species, variable or observable 'R'"):
        jax_function(driven(), TIMES, outputs=["R"])
    with pytest.raises(TypeError, match="a Recurrence is wanted"):
        jax_function(NETWORK, TIMES)


def test_without_jax_the_error_says_what_to_install():
    code = (
        "import sys; sys.modules['jax'] = None\n"
        "from gillespy_lite.ode_rnn import jax_layer\n"
        "try:\n    jax_layer.jax_function(None, 1.0)\n"
        "except jax_layer.MissingExtraError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert "pip install gillespy_lite[jax]" in done.stdout


def test_the_page_about_this_layer_prints_what_it_says(tmp_path):
    # The page's own test shows these blocks and does not run them, because it needs no JAX.
    text = (DOCS / "torch_and_jax.md").read_text("utf-8")
    text = text.split("## PyTorch")[0] + text.split("## JAX")[1]
    page = tmp_path / "page.md"
    page.write_text(text.replace("```py\n", "```python\n"), "utf-8")
    assert page.read_text("utf-8").count("```python") == 2
    try:
        assert run_page(page, tmp_path) == []
    finally:
        jax.config.update("jax_enable_x64", False)
