"""Gradients against an independent automatic differentiation: networks and cells again, in JAX.

Nothing of the package is used for the second answer. Each network is written by hand as a function,
each cell from the formulas of its source, and JAX differentiates the loop.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gillespy_lite as gl
from gillespy_lite.ode_rnn import Recurrence

jax = pytest.importorskip(
    "jax", reason="the second implementation is written in JAX: pip install gillespy_lite[jax]"
)
jnp = jax.numpy


@pytest.fixture(autouse=True)
def _double_precision():
    with jax.enable_x64(True):
        yield


# ---- Networks -----------------------------------------------------------------------------------


class Case(NamedTuple):
    """A network in the language and, by hand, its rate equations y' = slope(y, x, t, **p)."""

    text: str
    slope: Callable[..., list[Any]]
    parameters: dict[str, float]
    initial: Callable[..., list[Any]]  # the initial state from the parameters
    driver: str  # the parameter that becomes an input
    interpolation: str
    end: float


def linear_slope(y, x, t, *, make, change, decay, wave):
    (A, B), (light,) = y, x
    made = make * light * (1.0 + wave * jnp.sin(t))
    return [made - change * A, change * A - decay * B]


def dimerisation_slope(y, x, t, *, bind, unbind, total):
    # Two molecules of P become one Q at the rate bind P^2/2.
    (P, Q), (heat,) = y, x
    forth, back = bind * heat * P * P / 2.0, unbind * Q
    return [2.0 * back - 2.0 * forth, forth - back]


def michaelis_menten_slope(y, x, t, *, kf, kr, kcat, Vmax, K):
    (S, E, ES, P), (feed,) = y, x
    caught, freed, made, returned = kf * S * E, kr * ES, kcat * ES, Vmax * P / (K + P)
    return [
        feed - caught + freed + returned,
        freed + made - caught,
        caught - freed - made,
        made - returned,
    ]


def repressilator_slope(y, x, t, *, K, n, leak, strength, mrna_half_life, decay_p, per_mrna):
    mrna, protein, (light,) = y[:3], y[3:], x
    decay_m = jnp.log(2.0) / mrna_half_life
    slopes = []
    for i in range(3):
        repressor = protein[i - 1]
        share = 1.0 / (1.0 + (repressor / K) ** n)
        slopes.append(leak * light + strength * share - decay_m * mrna[i])
    return slopes + [per_mrna * decay_m * mrna[i] - decay_p * protein[i] for i in range(3)]


def competition_slope(y, x, t, *, r1, r2, a1, a2, b1, b2):
    (X, Y), (harvest,) = y, x
    return [
        r1 * X * (1.0 - b1 * X) - a1 * X * Y - harvest * X,
        r2 * Y * (1.0 - b2 * Y) - a2 * X * Y,
    ]


CASES = {
    "linear": Case(
        """
        species A = 12, B = 3
        param make = 4, light = 1, change = 0.7, decay = 0.3, wave = 0.4
        0 -> A @ make*light*(1 + wave*sin(t))
        A -> B @ change
        B -> 0 @ decay
        """,
        linear_slope,
        {"make": 4.0, "change": 0.7, "decay": 0.3, "wave": 0.4},
        lambda **_: [12.0, 3.0],
        "light",
        "linear",
        5.0,
    ),
    "dimerisation": Case(
        """
        param bind = 0.01, unbind = 0.2, total = 100, heat = 1
        species P = total, Q = total/10
        2 P -> Q @ bind*heat
        Q -> 2 P @ unbind
        """,
        dimerisation_slope,
        {"bind": 0.01, "unbind": 0.2, "total": 100.0},
        lambda total, **_: [total, total / 10.0],
        "heat",
        "previous",
        4.0,
    ),
    "Michaelis-Menten": Case(
        """
        species S = 301, E = 120, ES = 10, P = 5
        param kf = 0.00166, kr = 0.05, kcat = 0.1, Vmax = 2, K = 40, feed = 3
        0 -> S @ feed
        S + E -> ES @ kf
        ES -> S + E @ kr
        ES -> E + P @ kcat
        P => S @ Vmax*P/(K + P)
        """,
        michaelis_menten_slope,
        {"kf": 0.00166, "kr": 0.05, "kcat": 0.1, "Vmax": 2.0, "K": 40.0},
        lambda **_: [301.0, 120.0, 10.0, 5.0],
        "feed",
        "linear",
        20.0,
    ),
    "repressilator": Case(
        """
        species MX = 3, MY = 20, MZ = 6, PX = 30, PY = 70, PZ = 150
        param K = 40, n = 2.3, leak = 0.03, light = 1, strength = 29.97
        param mrna_half_life = 2, decay_p = 0.07, per_mrna = 20
        param decay_m = log(2)/mrna_half_life, translation = per_mrna*decay_m
        0 => MX @ leak*light + strength*hillr(PZ, K, n)
        0 => MY @ leak*light + strength*hillr(PX, K, n)
        0 => MZ @ leak*light + strength*hillr(PY, K, n)
        MX -> 0 @ decay_m
        MY -> 0 @ decay_m
        MZ -> 0 @ decay_m
        MX -> MX + PX @ translation
        MY -> MY + PY @ translation
        MZ -> MZ + PZ @ translation
        PX -> 0 @ decay_p
        PY -> 0 @ decay_p
        PZ -> 0 @ decay_p
        """,
        repressilator_slope,
        {
            "K": 40.0,
            "n": 2.3,
            "leak": 0.03,
            "strength": 29.97,
            "mrna_half_life": 2.0,
            "decay_p": 0.07,
            "per_mrna": 20.0,
        },
        lambda **_: [3.0, 20.0, 6.0, 30.0, 70.0, 150.0],
        "light",
        "previous",
        8.0,
    ),
    "two competing species": Case(
        """
        param r1 = 0.1, r2 = 0.3, a1 = 1e-4, a2 = 2e-4, b1 = 2e-3, b2 = 3e-3, harvest = 0.02
        variable X = 100, Y = 150
        X' = r1*X*(1 - b1*X) - a1*X*Y - harvest*X
        Y' = r2*Y*(1 - b2*Y) - a2*X*Y
        """,
        competition_slope,
        {"r1": 0.1, "r2": 0.3, "a1": 1e-4, "a2": 2e-4, "b1": 2e-3, "b2": 3e-3},
        lambda **_: [100.0, 150.0],
        "harvest",
        "linear",
        30.0,
    ),
}


# ---- Cells: y(t + h) from y, for f(t, y) --------------------------------------------------------


def euler(f, t, y, h):
    return y + h * f(t, y)


def heun(f, t, y, h):
    k1 = f(t, y)
    return y + h / 2.0 * (k1 + f(t + h, y + h * k1))


def rk4(f, t, y, h):
    k1 = f(t, y)
    k2 = f(t + h / 2.0, y + h / 2.0 * k1)
    k3 = f(t + h / 2.0, y + h / 2.0 * k2)
    k4 = f(t + h, y + h * k3)
    return y + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)


def dormand_prince(f, t, y, h):
    # Dormand and Prince (1980), table 2, RK5(4)7M, without the stage of the error estimate. A scan
    # over the stages compiles in a third of the time that lines of code take.
    a = np.zeros((6, 6))
    a[1, 0] = 1 / 5
    a[2, :2] = 3 / 40, 9 / 40
    a[3, :3] = 44 / 45, -56 / 15, 32 / 9
    a[4, :4] = 19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729
    a[5, :5] = 9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656
    b = np.array([35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84])
    c = np.array([0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0])

    def stage(k, row):
        i, weights, place = row
        return k.at[i].set(f(t + place * h, y + h * weights @ k)), None

    k, _ = jax.lax.scan(stage, jnp.zeros((6, y.size)), (np.arange(6), a, c))
    return y + h * b @ k


def linearly_implicit_euler(f, t, y, h):
    # Time counts as one more state, whose slope is 1: hence the term with df/dt.
    by_time, J = jax.jacfwd(f, argnums=(0, 1))(t, y)
    return y + jnp.linalg.inv(jnp.eye(y.size) - h * J) @ (h * f(t, y) + h**2 * by_time)


def rosenbrock(f, t, y, h):
    """Take one step of RODAS in the form that has not been transformed.

    (I - h gamma J) k_i = h f(t + alpha_i h, y + sum_j alpha_ij k_j) + h J sum_j gamma_ij k_j
                          + gamma_i h^2 df/dt,   j < i,   and the next state is y + sum_i b_i k_i.

    Hairer and Wanner (1996), eq. IV.7.4; the coefficients are those of their code RODAS, given for
    the transformed increments u = Gamma k (eq. IV.7.24), so alpha = A Gamma and b = m Gamma. That
    alpha_i and gamma_i are the sums of the rows is taken from eq. IV.7.5, not from a table.
    """
    A, C = np.zeros((6, 6)), np.zeros((6, 6))
    A[1, 0] = 1.544
    A[2, :2] = 0.9466785280815826, 0.2557011698983284
    A[3, :3] = 3.314825187068521, 2.896124015972201, 0.9986419139977817
    A[4, :4] = 1.221224509226641, 6.019134481288629, 12.53708332932087, -0.6878860361058950
    A[5] = [*A[4, :4], 1.0, 0.0]
    C[1, 0] = -5.6688
    C[2, :2] = -2.430093356833875, -0.2063599157091915
    C[3, :3] = -0.1073529058151375, -9.594562251023355, -20.47028614809616
    C[4, :4] = 7.496443313967647, -10.24680431464352, -33.99990352819905, 11.70890893206160
    C[5, :4] = 8.083246795921522, -7.981132988064893, -31.52159432874371, 16.31930543123136
    C[5, 4] = -6.058818238834054
    gamma = 0.25
    Gamma = np.linalg.inv(np.eye(6) / gamma - C)
    alpha, b = A @ Gamma, np.array([*A[5, :5], 1.0]) @ Gamma

    by_time, J = jax.jacfwd(f, argnums=(0, 1))(t, y)
    inverse = jnp.linalg.inv(jnp.eye(y.size) - h * gamma * J)

    def stage(k, row):
        i, of_state, of_slope, alpha_i, gamma_i = row
        right = h * f(t + alpha_i * h, y + of_state @ k) + h**2 * gamma_i * by_time
        return k.at[i].set(inverse @ (right + h * J @ (of_slope @ k))), None

    rows = np.arange(6), alpha, np.tril(Gamma, -1), alpha.sum(axis=1), Gamma.sum(axis=1)
    k, _ = jax.lax.scan(stage, jnp.zeros((6, y.size)), rows)
    return y + b @ k


REFERENCES = {
    "euler": euler,
    "heun": heun,
    "rk4": rk4,
    "dopri5": dormand_prince,
    "implicit_euler": linearly_implicit_euler,
    "rodas4": rosenbrock,
    "rodas4_adaptive": rosenbrock,
}


# ---- The loop -----------------------------------------------------------------------------------


N_CELLS = 128  # steps of length 0 fill up, so that one compiled loop serves a method


@functools.cache
def compiled_gradient(name: str, advance: Callable[..., Any]):
    """Return a function that gives the gradient of the loss and the states.

    The loss is sum(log(1 + weights*states^2)). `steps` holds where each step begins, its length and
    its interval of the grid; the state at time k + 1 is that after the step `last[k]`.
    """
    case = CASES[name]

    def states(p, shift, x, times, steps, last):
        p = dict(zip(case.parameters, p, strict=True))

        def take_step(y, step):
            start, size, k = step

            def f(t, y):
                driver = x[k]
                if case.interpolation == "linear":
                    share = (t - times[k]) / (times[k + 1] - times[k])
                    driver = driver + (x[k + 1] - x[k]) * share
                return jnp.stack(case.slope(list(y), list(driver), t, **p))

            y = advance(f, start, y, size)
            return y, y

        first = jnp.stack([jnp.asarray(v, float) for v in case.initial(**p)]) + shift
        _, later = jax.lax.scan(take_step, first, steps)
        return jnp.concatenate([first[None], later[last]])

    def loss(p, shift, x, weights, *grid):
        found = states(p, shift, x, *grid)
        return jnp.log1p(weights * found**2).sum(), found

    # Most of the time goes into compiling; the slow code that this makes is fast enough.
    options = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    return jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True), compiler_options=options)


def reference(name: str, cell: str, times, starts, sizes, inputs, weights):
    """Return the states at `times`, and the gradient by parameters, initial state and inputs."""
    case = CASES[name]
    interval = np.searchsorted(times, starts + sizes / 2.0) - 1
    last = np.flatnonzero(np.append(np.diff(interval) > 0, True))
    empty = N_CELLS - sizes.size
    assert empty >= 0
    steps = (
        np.append(starts, np.full(empty, times[-1])),
        np.append(sizes, np.zeros(empty)),
        np.append(interval, np.full(empty, interval[-1])),
    )
    p, shift = np.array(list(case.parameters.values())), np.zeros(weights.shape[1])
    gradient, states = compiled_gradient(name, REFERENCES[cell])(
        p, shift, inputs, weights, times, steps, last
    )
    return states, *gradient


def assert_close(found, expected, tolerance=1e-10):
    """Compare relative to each number, however small it is beside the others; 0 is 0."""
    assert_allclose(found, expected, rtol=tolerance, atol=0.0)


@pytest.mark.parametrize("cell", REFERENCES)
@pytest.mark.parametrize("name", CASES)
def test_gradient_is_that_of_an_independent_automatic_differentiation(name, cell):
    case = CASES[name]
    recurrence = Recurrence(
        gl.Network.parse(case.text),
        cell,
        inputs=(case.driver,),
        interpolation=case.interpolation,
    )
    # Times that are not evenly spaced, a driver that is never at rest.
    times = case.end * np.array([0.0, 0.1, 0.25, 0.3, 0.55, 0.7, 1.0])
    inputs = 1.0 + 0.5 * np.cos(np.arange(7.0))[:, None]
    counts = np.array([3, 5, 2, 8, 4, 9])
    adaptive = cell in ("dopri5", "rodas4_adaptive")
    path = recurrence.unroll(times, inputs=inputs, **({} if adaptive else {"steps": counts}))
    if adaptive:
        starts, sizes = path.steps.time, path.steps.size
        assert sizes.size > 6
        assert np.ptp(sizes) > 1e-3 * case.end
    else:
        sizes = np.repeat(np.diff(times) / counts, counts)
        starts = np.concatenate(
            [
                t + np.arange(n) * h
                for t, n, h in zip(times, counts, np.diff(times) / counts, strict=False)
            ]
        )
    weights = 1.0 / (1.0 + path.states.max(axis=0) ** 2) * np.linspace(0.5, 2.0, 7)[:, None]

    states, by_parameter, by_initial, by_input = reference(
        name, cell, times, starts, sizes, inputs, weights
    )
    assert_close(path.states, states)
    squares = weights * path.states**2
    gradient = path.pull_back(2.0 * weights * path.states / (1.0 + squares))
    assert set(recurrence.parameter_names) == set(case.parameters)
    assert_close([gradient[one] for one in case.parameters], by_parameter)
    assert_close(gradient.initial, by_initial)
    assert_close(gradient.inputs, by_input)
    # No gradient is 0 by accident: each name has a part in the loss.
    assert (abs(np.asarray(by_parameter)) > 0.0).all()
    held = slice(None, -1) if case.interpolation == "previous" else slice(None)
    assert (abs(np.asarray(by_input)[held]) > 0.0).all()


@pytest.mark.parametrize(
    ("cell", "order"),
    [("euler", 1), ("heun", 2), ("rk4", 4), ("dopri5", 5), ("implicit_euler", 1), ("rodas4", 4)],
)
def test_second_implementation_of_a_cell_has_the_order_of_its_source(cell, order):
    # Two equations that depend on time and are not linear. A digit that was copied wrongly takes
    # an order away; halving the steps must divide the error by 2^order.
    def f(t, y):
        return jnp.stack([jnp.cos(t) - y[0] * y[1], y[0] - 0.5 * y[1] ** 2])

    @functools.partial(jax.jit, static_argnums=(0, 1))
    def end(step_of, n):
        def take_step(y, t):
            return step_of(f, t, y, 2.0 / n), None

        return jax.lax.scan(take_step, jnp.array([1.0, 0.3]), jnp.arange(n) * 2.0 / n)[0]

    exact = end(dormand_prince, 400)
    few, many = (abs(end(REFERENCES[cell], n) - exact).max() for n in (20, 40))
    assert np.log2(few / many) == pytest.approx(order, abs=0.3)
