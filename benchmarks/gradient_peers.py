"""The same gradient in other frameworks: a network of ten species, unrolled by RK4.

Each peer is written by hand for this one network, in the style that is fastest there. Nothing here
imports gillespy_lite. All take the steps of `Problem.fine_times` and return the states at every
`SUBSTEPS`-th of them.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "MAKERS",
    "NETWORK",
    "PARAMETERS",
    "SPECIES",
    "SUBSTEPS",
    "Problem",
    "jax_batch_gradient",
    "make_problem",
]

SUBSTEPS = 10

# A receptor R that becomes active and forms dimers D, which switch on a gene. Its protein P1
# represses the gene of an enzyme E, which turns a substrate S into Q.
NETWORK = """
species R = 20, A = 2, D = 1, M1 = 1, P1 = 5, M2 = 3, E = 10, S = 40, C = 2, Q = 1
param make_R = 8, decay_R = 0.2, activate = 0.5, rest = 0.3, bind = 0.05, unbind = 0.4
param decay_D = 0.1, make_M1 = 6, K_D = 12, decay_M = 0.8, make_P = 2, decay_P = 0.25
param make_M2 = 5, K_P = 15, make_S = 15, catch = 0.02, release = 0.1, turn = 0.9
param take_Q = 12, K_Q = 25

0 -> R        @ make_R
R -> 0        @ decay_R
R -> A        @ activate
A -> R        @ rest
2 A -> D      @ bind
D -> 2 A      @ unbind
D -> 0        @ decay_D
0 => M1       @ make_M1*D^2/(K_D^2 + D^2)
M1 -> 0       @ decay_M
M1 -> M1 + P1 @ make_P
P1 -> 0       @ decay_P
0 => M2       @ make_M2*K_P^2/(K_P^2 + P1^2)
M2 -> 0       @ decay_M
M2 -> M2 + E  @ make_P
E -> 0        @ decay_P
0 -> S        @ make_S
S + E -> C    @ catch
C -> S + E    @ release
C -> E + Q    @ turn
Q => 0        @ take_Q*Q/(K_Q + Q)
"""
SPECIES = ("R", "A", "D", "M1", "P1", "M2", "E", "S", "C", "Q")
PARAMETERS = (
    *("make_R", "decay_R", "activate", "rest", "bind", "unbind", "decay_D", "make_M1", "K_D"),
    *("decay_M", "make_P", "decay_P", "make_M2", "K_P", "make_S", "catch", "release", "turn"),
    *("take_Q", "K_Q"),
)


class Problem(NamedTuple):
    """Where the gradient of sum(weights*(states - targets)^2)/2 is wanted."""

    parameters: np.ndarray  # (20,) in the order of PARAMETERS
    initial: np.ndarray  # (10,) in the order of SPECIES
    fine_times: np.ndarray  # (n_steps + 1,)
    weights: np.ndarray  # (10,)
    targets: np.ndarray  # (n_steps/SUBSTEPS + 1, 10)


def make_problem(parameters: np.ndarray, initial: np.ndarray, n_steps: int, end: float) -> Problem:
    """Return a problem whose targets are near the solution."""
    rng = np.random.default_rng(3)
    n_times = n_steps // SUBSTEPS + 1
    targets = initial * rng.uniform(0.5, 1.5, (n_times, len(SPECIES)))
    fine = np.linspace(0.0, end, n_steps + 1)
    return Problem(parameters, initial, fine, 1.0 / (1.0 + initial), targets)


# The rates as vectors. In torch every operation costs, so vectors are the only choice; in a scan of
# JAX a gradient took 6.0 ms with vectors and 10.4 with one line a species, in diffrax 13 and 8.5:
# each gets what is faster there. The 17 mass-action rates are c*z[first]*z[second] with z = (y, 1),
# the three others a*u/(K + u) or a*K/(K + u); then y' = N r.
_ORDER_OF_CONSTANTS = (
    *("make_R", "decay_R", "activate", "rest", "bind", "unbind", "decay_D", "decay_M", "make_P"),
    *("decay_P", "decay_M", "make_P", "decay_P", "make_S", "catch", "release", "turn"),
)
_ONE = 10
_FIRST = (_ONE, 0, 0, 1, 1, 2, 2, 3, 3, 4, 5, 5, 6, _ONE, 7, 8, 8)
_SECOND = (*(_ONE,) * 4, 1, *(_ONE,) * 9, 6, _ONE, _ONE)
_HALVES = (1.0, 1.0, 1.0, 1.0, 0.5, *(1.0,) * 12)
_CHANGES = (
    *({0: 1}, {0: -1}, {0: -1, 1: 1}, {1: -1, 0: 1}, {1: -2, 2: 1}, {2: -1, 1: 2}, {2: -1}),
    *({3: -1}, {4: 1}, {4: -1}, {5: -1}, {6: 1}, {6: -1}, {7: 1}, {7: -1, 6: -1, 8: 1}),
    *({8: -1, 7: 1, 6: 1}, {8: -1, 6: 1, 9: 1}, {3: 1}, {5: 1}, {9: -1}),
)


def stoichiometry() -> np.ndarray:
    """Return the net changes, (10, 20), in the order of the vectorised rates."""
    matrix = np.zeros((10, 20))
    for reaction, changes in enumerate(_CHANGES):
        for species, change in changes.items():
            matrix[species, reaction] = change
    return matrix


# Torch -------------------------------------------------------------------------------------------


def torch_rates(p: Any) -> Callable[[Any, Any], Any]:
    """Return f(t, y) in as few torch operations as we found; what needs p alone is done once."""
    import torch

    place = {name: i for i, name in enumerate(PARAMETERS)}
    constants = p[[place[name] for name in _ORDER_OF_CONSTANTS]] * torch.tensor(_HALVES).to(p)
    first, second = torch.tensor(_FIRST), torch.tensor(_SECOND)
    matrix, one = torch.tensor(stoichiometry()), torch.ones(1, dtype=torch.float64)
    tops = p[[place["make_M1"], place["make_M2"], place["take_Q"]]]
    powers, rising = torch.tensor([2.0, 2.0, 1.0]).to(p), torch.tensor([1.0, 0.0, 1.0]).to(p)
    thresholds = p[[place["K_D"], place["K_P"], place["K_Q"]]] ** powers
    repressing = thresholds * (1.0 - rising)
    # D^2, P1^2 and Q as products of two entries of z.
    chosen, again = torch.tensor([2, 4, 9]), torch.tensor([2, 4, _ONE])

    def right_hand_side(t: Any, y: Any) -> Any:
        z = torch.cat([y, one])
        u = z[chosen] * z[again]
        saturating = tops * (rising * u + repressing) / (thresholds + u)
        return matrix @ torch.cat([constants * z[first] * z[second], saturating])

    return right_hand_side


class _TorchPeer:
    """Gradient by torch; `compile_seconds` is 0, because nothing is compiled."""

    compile_seconds = 0.0

    def __init__(self, problem: Problem) -> None:
        import torch

        torch.set_num_threads(1)
        self._parameters = torch.tensor(problem.parameters)
        self._initial = torch.tensor(problem.initial)
        self._times = torch.tensor(problem.fine_times)
        self._weights = torch.tensor(problem.weights)
        self._targets = torch.tensor(problem.targets)

    def states(self, p: Any, y: Any) -> Any:
        """Return the states at the fine times."""
        raise NotImplementedError

    def gradient(self) -> np.ndarray:
        """Return the gradient by the parameters and the initial state, (30,)."""
        import torch

        p = self._parameters.clone().requires_grad_()
        y = self._initial.clone().requires_grad_()
        states = self.states(p, y)[::SUBSTEPS]
        loss = 0.5 * (self._weights * (states - self._targets) ** 2).sum()
        loss.backward()
        return torch.cat([p.grad, y.grad]).numpy()


class _TorchDiffEq(_TorchPeer):
    """odeint, back-propagated through. Its own "rk4" is the 3/8 rule, with as many stages."""

    def states(self, p: Any, y: Any) -> Any:
        """Return the states at the fine times."""
        from torchdiffeq import odeint

        return odeint(torch_rates(p), y, self._times, method="rk4")


class _TorchDiffEqAdjoint(_TorchPeer):
    """odeint_adjoint: the continuous adjoint, so its gradient is that of the loop only nearly."""

    def states(self, p: Any, y: Any) -> Any:
        """Return the states at the fine times."""
        import torch
        from torchdiffeq import odeint_adjoint

        class Rates(torch.nn.Module):
            def forward(self, t: Any, state: Any) -> Any:
                return torch_rates(p)(t, state)

        # The adjoint calls the function at every stage: the part of it that needs p alone has to be
        # inside. Only the 101 output times, each interval cut into its steps.
        coarse = self._times[::SUBSTEPS]
        step = float(self._times[1] - self._times[0])
        states = odeint_adjoint(
            Rates(),
            y,
            coarse,
            method="rk4",
            options={"grid_constructor": lambda f, y0, t: _refined(t, step)},
            adjoint_options={"grid_constructor": lambda f, y0, t: _refined(t, step)},
            adjoint_params=(p,),
        )
        return states.repeat_interleave(SUBSTEPS, 0)


def _refined(t: Any, step: float) -> Any:
    import torch

    pieces = [
        torch.linspace(float(a), float(b), round(abs(float(b - a)) / step) + 1, dtype=t.dtype)
        for a, b in itertools.pairwise(t)
    ]
    return torch.cat([pieces[0], *[piece[1:] for piece in pieces[1:]]])


class _TorchLoop(_TorchPeer):
    """Classical RK4 as a plain loop of torch operations, back-propagated through."""

    def states(self, p: Any, y: Any) -> Any:
        """Return the states at the fine times."""
        import torch

        f, found = torch_rates(p), [y]
        for h in np.diff(self._times.numpy()).tolist():
            k1 = f(0.0, y)
            k2 = f(0.0, torch.add(y, k1, alpha=h / 2))
            k3 = f(0.0, torch.add(y, k2, alpha=h / 2))
            k4 = f(0.0, torch.add(y, k3, alpha=h))
            y = torch.add(y, k1 + k4 + 2.0 * (k2 + k3), alpha=h / 6)
            found.append(y)
        return torch.stack(found)


# JAX ---------------------------------------------------------------------------------------------


class _JaxPeer:
    """Gradient by JAX, compiled before it is timed; `compile_seconds` says how long that took."""

    def __init__(self, problem: Problem) -> None:
        import jax

        jax.config.update("jax_enable_x64", True)
        self._problem = problem
        self._arguments = (jax.numpy.array(problem.parameters), jax.numpy.array(problem.initial))
        before = time.perf_counter()
        gradient = jax.jit(jax.grad(self._loss, argnums=(0, 1)))
        self._gradient = gradient.lower(*self._arguments).compile()
        self.compile_seconds = time.perf_counter() - before

    def states(self, p: Any, y: Any) -> Any:
        """Return the states at every SUBSTEPS-th of the fine times."""
        raise NotImplementedError

    def _loss(self, p: Any, y: Any) -> Any:
        problem = self._problem
        error = self.states(p, y) - problem.targets
        return 0.5 * (problem.weights * error**2).sum()

    def gradient(self) -> np.ndarray:
        """Return the gradient by the parameters and the initial state, (30,)."""
        by_p, by_y = self._gradient(*self._arguments)
        return np.concatenate([np.asarray(by_p), np.asarray(by_y)])


def jax_rates(y: Any, p: Any) -> Any:
    """Return y' = f(y, p); XLA moves what needs p alone out of the loop."""
    from jax import numpy as jnp

    place = {name: i for i, name in enumerate(PARAMETERS)}
    constants = p[np.array([place[name] for name in _ORDER_OF_CONSTANTS])] * np.array(_HALVES)
    z = jnp.concatenate([y, jnp.ones(1)])
    D, P1, Q = y[2], y[4], y[9]
    K_D, K_P = p[place["K_D"]] ** 2, p[place["K_P"]] ** 2
    saturating = jnp.stack(
        [
            p[place["make_M1"]] * D * D / (K_D + D * D),
            p[place["make_M2"]] * K_P / (K_P + P1 * P1),
            p[place["take_Q"]] * Q / (p[place["K_Q"]] + Q),
        ]
    )
    mass_action = constants * z[np.array(_FIRST)] * z[np.array(_SECOND)]
    return stoichiometry() @ jnp.concatenate([mass_action, saturating])


def jax_rates_by_species(y: Any, p: Any) -> Any:
    """Return y' = f(y, p), written one species a line."""
    from jax import numpy as jnp

    R, A, D, M1, P1, M2, E, S, C, Q = (y[i] for i in range(10))
    make_R, decay_R, activate, rest, bind, unbind, decay_D, make_M1, K_D, decay_M = (
        p[i] for i in range(10)
    )
    make_P, decay_P, make_M2, K_P, make_S, catch, release, turn, take_Q, K_Q = (
        p[i] for i in range(10, 20)
    )
    # Two dimerising molecules are taken at a time: each pair is made at bind*A^2/2.
    pairing = 0.5 * bind * A * A
    caught = catch * S * E
    return jnp.stack(
        [
            make_R - decay_R * R - activate * R + rest * A,
            activate * R - rest * A - 2.0 * pairing + 2.0 * unbind * D,
            pairing - unbind * D - decay_D * D,
            make_M1 * D * D / (K_D * K_D + D * D) - decay_M * M1,
            make_P * M1 - decay_P * P1,
            make_M2 * K_P * K_P / (K_P * K_P + P1 * P1) - decay_M * M2,
            make_P * M2 - decay_P * E - caught + release * C + turn * C,
            make_S - caught + release * C,
            caught - release * C - turn * C,
            turn * C - take_Q * Q / (K_Q + Q),
        ]
    )


def _jax_rk4_states(problem: Problem, p: Any, y: Any) -> Any:
    """Return the states at every SUBSTEPS-th step of a loop of classical RK4 steps."""
    import jax

    # Storing the state alone and computing a step again was faster than storing all it computed.
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def step(y: Any, h: Any) -> tuple[Any, Any]:
        k1 = jax_rates(y, p)
        k2 = jax_rates(y + 0.5 * h * k1, p)
        k3 = jax_rates(y + 0.5 * h * k2, p)
        k4 = jax_rates(y + h * k3, p)
        y = y + h / 6.0 * (k1 + 2.0 * (k2 + k3) + k4)
        return y, y

    _, later = jax.lax.scan(step, y, np.diff(problem.fine_times))
    return jax.numpy.concatenate([y[None], later[SUBSTEPS - 1 :: SUBSTEPS]])


class _JaxScan(_JaxPeer):
    """Classical RK4 as a jitted lax.scan: what a careful user writes without a library."""

    def states(self, p: Any, y: Any) -> Any:
        """Return the states at every SUBSTEPS-th of the fine times."""
        return _jax_rk4_states(self._problem, p, y)


def jax_batch_gradient(problem: Problem) -> Callable[[], np.ndarray]:
    """Return a compiled function that gives the gradient for each row of `problem.parameters`."""
    import jax

    jax.config.update("jax_enable_x64", True)

    def loss(p: Any, y: Any) -> Any:
        error = _jax_rk4_states(problem, p, y) - problem.targets
        return 0.5 * (problem.weights * error**2).sum()

    gradient = jax.jit(jax.vmap(jax.grad(loss, argnums=(0, 1)), in_axes=(0, None)))
    p, y = jax.numpy.array(problem.parameters), jax.numpy.array(problem.initial)
    compiled = gradient.lower(p, y).compile()
    return lambda: np.concatenate([np.asarray(one) for one in compiled(p, y)], axis=1)


class _Diffrax(_JaxPeer):
    """diffeqsolve with classical RK4 as its own Butcher tableau, and the default adjoint."""

    def states(self, p: Any, y: Any) -> Any:
        """Return the states at every SUBSTEPS-th of the fine times."""
        import diffrax
        import jax

        fine = self._problem.fine_times
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, y, p: jax_rates_by_species(y, p)),
            _diffrax_rk4(),
            fine[0],
            fine[-1],
            None,
            y,
            args=p,
            stepsize_controller=diffrax.StepTo(ts=jax.numpy.array(fine)),
            saveat=diffrax.SaveAt(t0=True, steps=True),
            max_steps=fine.size - 1,
            adjoint=self.adjoint(),
        )
        return solution.ys[::SUBSTEPS]

    def adjoint(self) -> Any:
        """Return diffrax's default way of differentiating."""
        import diffrax

        return diffrax.RecursiveCheckpointAdjoint()


class _DiffraxAllStored(_Diffrax):
    """The same with a checkpoint for each step: more memory, nothing computed twice."""

    def adjoint(self) -> Any:
        """Return the default adjoint with as many checkpoints as steps."""
        import diffrax

        return diffrax.RecursiveCheckpointAdjoint(checkpoints=self._problem.fine_times.size - 1)


def _diffrax_rk4() -> Any:
    """Return the classical Runge-Kutta solver, which diffrax does not come with."""
    import diffrax

    classical = diffrax.ButcherTableau(
        c=np.array([0.5, 0.5, 1.0]),
        b_sol=np.array([1.0, 2.0, 2.0, 1.0]) / 6.0,
        b_error=np.zeros(4),
        a_lower=(np.array([0.5]), np.array([0.0, 0.5]), np.array([0.0, 0.0, 1.0])),
    )

    class ClassicalRungeKutta(diffrax.AbstractERK):
        tableau = classical
        interpolation_cls = diffrax.ThirdOrderHermitePolynomialInterpolation.from_k

        def order(self, terms: Any) -> int:
            return 4

    return ClassicalRungeKutta()


MAKERS: dict[str, Callable[[Problem], Any]] = {
    "torchdiffeq odeint": _TorchDiffEq,
    "torchdiffeq odeint_adjoint": _TorchDiffEqAdjoint,
    "torch loop": _TorchLoop,
    "diffrax": _Diffrax,
    "diffrax, all steps stored": _DiffraxAllStored,
    "jax lax.scan": _JaxScan,
}
