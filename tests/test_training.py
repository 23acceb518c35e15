"""The trainers: update rules, mini-batches of time windows, and what they learn."""

from __future__ import annotations

import collections
import dataclasses
import math
from typing import ClassVar

import numpy as np
import pytest
from scipy.stats import chisquare

import gillespy_lite as gl
from gillespy_lite.errors import IncompleteWarning, Interrupted, SimulationError
from gillespy_lite.ode_rnn import windows
from gillespy_lite.ode_rnn.estimates import Estimate, free_space
from gillespy_lite.ode_rnn.experiments import Experiment, prepare_experiments, with_steps
from gillespy_lite.ode_rnn.fitting import fit
from gillespy_lite.ode_rnn.noise_models import Gaussian
from gillespy_lite.ode_rnn.objective import Objective
from gillespy_lite.ode_rnn.recurrence import Recurrence
from gillespy_lite.ode_rnn.trainers import (
    SCHEDULES,
    SGD,
    TRAINERS,
    Adam,
    Momentum,
    Nesterov,
    clipped,
    resolve_trainer,
)
from gillespy_lite.ode_rnn.training import train
from gillespy_lite.ode_rnn.windows import FreeWindows, TruncatedWindows, Windows

# ---- Update rules --------------------------------------------------------------------------------


def path_of(trainer, gradient, u, n_steps):
    """Return the points (n_steps + 1, n_free) that a trainer visits at its full learning rate."""
    u = np.array(u, dtype=np.float64)
    memory, points = trainer.begin(u.size), [u]
    for step in range(n_steps):
        point = trainer.look_ahead(u, memory)
        displacement, memory = trainer.move(gradient(point), memory, trainer.rate(step, n_steps))
        u = u + displacement
        points.append(u)
    return np.array(points)


# Two steps on L = u^2 (gradient 2 u) from u = 1 with learning rate 0.1, worked out by hand.
# SGD: 1 - 0.2 = 0.8, 0.8 - 0.16 = 0.64.
# Momentum 0.5: v = -0.2, u = 0.8; v = -0.1 - 0.16 = -0.26, u = 0.54.
# Nesterov 0.5: v = -0.2, u = 0.8; looks at 0.7: v = -0.1 - 0.14 = -0.24, u = 0.56.
# Nesterov's own momentum: 0 at k = 0 and 1: 0.8, 0.64; then 1/4 at k = 2.
BY_HAND = [
    (SGD(0.1), [1.0, 0.8, 0.64]),
    (Momentum(0.1, momentum=0.5), [1.0, 0.8, 0.54]),
    (Nesterov(0.1, momentum=0.5), [1.0, 0.8, 0.56]),
    # v = -0.16 / 4 = -0.04, looks at 0.60, v = -0.04 - 0.12 = -0.16, u = 0.48.
    (Nesterov(0.1, momentum=None), [1.0, 0.8, 0.64, 0.48]),
]


@pytest.mark.parametrize(("trainer", "points"), BY_HAND)
def test_a_trainer_makes_the_steps_that_were_worked_out_by_hand(trainer, points):
    found = path_of(trainer, lambda u: 2.0 * u, [1.0], len(points) - 1)[:, 0]
    np.testing.assert_allclose(found, points, rtol=1e-14)


def test_adam_makes_the_steps_that_were_worked_out_by_hand():
    # Gradients 2, then 1; beta_1 = 1/2, beta_2 = 3/4, epsilon = 1, learning rate 0.1.
    # Step 1: mean 1, squares 1; unbiased 2 and 4; step -0.1 * 2 / (2 + 1).
    # Step 2: mean 1, squares 1; unbiased 1 / (3/4) and 1 / (7/16); step -0.1 (4/3) / (4/sqrt7 + 1).
    trainer = Adam(0.1, beta_1=0.5, beta_2=0.75, epsilon=1.0)
    memory = trainer.begin(1)
    first, memory = trainer.move(np.array([2.0]), memory, 0.1)
    second, memory = trainer.move(np.array([1.0]), memory, 0.1)
    assert first[0] == pytest.approx(-0.2 / 3.0, rel=1e-14)
    assert second[0] == pytest.approx(-0.1 * (4.0 / 3.0) / (4.0 / math.sqrt(7.0) + 1.0), rel=1e-14)
    assert memory.n_steps == 2


def test_adam_does_not_see_the_scale_of_the_loss():
    u = [1.0, -2.0]
    trainer = Adam(0.1, epsilon=1e-300)
    small = path_of(trainer, lambda u: 1e-6 * u, u, 20)
    large = path_of(trainer, lambda u: 1e6 * u, u, 20)
    np.testing.assert_allclose(small, large, rtol=1e-12)
    np.testing.assert_allclose(small[1] - small[0], [-0.1, 0.1], rtol=1e-12)


@pytest.mark.parametrize("momentum", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("curvature", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("kind", [Momentum, Nesterov])
def test_on_a_quadratic_momentum_follows_the_powers_of_its_eigenvalues(kind, momentum, curvature):
    # L = h u^2 / 2. The heavy ball obeys u[k+1] = (1 + m - r h) u[k] - m u[k-1], Nesterov the same
    # with (1 + m)(1 - r h) and m (1 - r h); so u[k] = a z1^k + b z2^k with the roots z1, z2.
    rate = 0.05
    share = rate * curvature
    if kind is Momentum:
        roots = np.roots([1.0, -(1.0 + momentum - share), momentum])
    else:
        roots = np.roots([1.0, -(1.0 + momentum) * (1.0 - share), momentum * (1.0 - share)])
    found = path_of(kind(rate, momentum=momentum), lambda u: curvature * u, [1.0], 60)[:, 0]
    a, b = np.linalg.solve([[1.0, 1.0], roots], [1.0, 1.0 - share])
    expected = (a * roots[0] ** np.arange(61) + b * roots[1] ** np.arange(61)).real
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


def test_nesterovs_own_momentum_is_the_two_sequences_of_su_boyd_and_candes():
    # Their eq. 1: x[k] = y[k-1] - s grad(y[k-1]), y[k] = x[k] + (k - 1)/(k + 2) (x[k] - x[k-1]).
    matrix = np.array([[3.0, 1.0], [1.0, 2.0]])
    x = y = np.array([1.0, -1.0])
    expected = [x]
    for k in range(1, 30):
        new = y - 0.1 * matrix @ y
        y = new + (k - 1) / (k + 2) * (new - x)
        x = new
        expected.append(x)
    found = path_of(Nesterov(0.1, momentum=None), lambda u: matrix @ u, [1.0, -1.0], 29)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)


def test_a_gradient_is_clipped_to_the_largest_norm_and_keeps_its_direction():
    np.testing.assert_allclose(clipped(np.array([3.0, 4.0]), 1.0), [0.6, 0.8], rtol=1e-15)
    np.testing.assert_array_equal(clipped(np.array([3.0, 4.0]), 5.0), [3.0, 4.0])
    trainer = SGD(0.5, largest_gradient=2.0)
    displacement, _ = trainer.move(np.array([0.0, -800.0]), trainer.begin(2), 0.5)
    np.testing.assert_allclose(displacement, [0.0, 1.0], rtol=1e-15)


def test_schedules_give_the_rates_that_they_promise():
    assert [SGD(0.2).rate(step, 100) for step in (0, 50, 99)] == [0.2, 0.2, 0.2]
    falling = SGD(0.2, schedule="inverse_time", decay_steps=10)
    assert falling.rate(10, 100) == pytest.approx(0.1)
    assert falling.rate(90, 100) == pytest.approx(0.02)
    cosine = Adam(0.2, schedule="cosine")
    assert cosine.rate(0, 100) == pytest.approx(0.2)
    assert cosine.rate(50, 100) == pytest.approx(0.1)
    assert cosine.rate(100, 100) == pytest.approx(0.0, abs=1e-15)
    assert set(SCHEDULES) == {"constant", "inverse_time", "cosine"}


@pytest.mark.parametrize("name", sorted(TRAINERS))
def test_a_trainer_is_found_by_its_name_and_says_where_it_comes_from(name):
    trainer = resolve_trainer(name)
    assert type(trainer) is TRAINERS[name]
    assert trainer.name == name
    assert resolve_trainer(trainer) is trainer
    assert any(character.isdigit() for character in trainer.citation)
    with pytest.raises(dataclasses.FrozenInstanceError):
        trainer.learning_rate = 1.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(0.0), "learning_rate of trainer 'sgd' must be a number above 0, not 0.0"),
        (lambda: Adam(math.nan), "learning_rate of trainer 'adam' must be a number above 0"),
        (lambda: Adam(math.inf), "learning_rate of trainer 'adam' must be a number above 0"),
        (lambda: SGD("fast"), "learning_rate of trainer 'sgd' must be a number above 0"),
        (lambda: SGD(True), "learning_rate of trainer 'sgd' must be a number above 0, not True"),
        (lambda: Momentum(momentum=1.0), "momentum of trainer 'momentum' must be a number from 0"),
        (lambda: Nesterov(momentum=-0.1), "momentum of trainer 'nesterov' must be a number from"),
        (lambda: Adam(beta_2=1.0), "beta_2 of trainer 'adam' must be a number from 0"),
        (lambda: Adam(epsilon=0.0), "epsilon of trainer 'adam' must be a number above 0"),
        (lambda: SGD(largest_gradient=0), "largest_gradient of trainer 'sgd' must be a number"),
        (lambda: SGD(decay_steps=-1), "decay_steps of trainer 'sgd' must be a number above 0"),
        (lambda: SGD(schedule="linear"), "schedule of trainer 'sgd' must be one of 'constant'"),
        (lambda: resolve_trainer("adm"), "no trainer 'adm'; did you mean 'adam'"),
    ],
)
def test_a_bad_option_is_refused_with_what_it_must_be(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_trainer_that_is_not_one_is_refused():
    with pytest.raises(TypeError, match=r"give an instance of Adam, such as Adam\(\)"):
        resolve_trainer(Adam)
    with pytest.raises(TypeError, match="trainer must be one of 'sgd', 'momentum'"):
        resolve_trainer(3)


# ---- The loop, on losses without a time axis -----------------------------------------------------


class Quadratic:
    """L = (u - best) H (u - best)/2 for ten data points, infinite beyond a wall."""

    n_data = 10

    def __init__(self, curvature=(1.0, 4.0), *, lower=-np.inf, upper=np.inf, wall=np.inf):
        self.best = np.array([0.5, -0.5])
        self.curvature = 10.0 * np.array(curvature)
        self.start = np.array([2.0, 1.0])
        self.lower, self.upper = np.full(2, lower), np.full(2, upper)
        self.wall, self.n_calls, self.interrupt_at = wall, 0, math.inf

    def value(self, u):
        assert np.isfinite(u).all()
        assert (u >= self.lower).all()
        assert (u <= self.upper).all()
        if np.abs(u).max() > self.wall:
            return math.inf
        return float(0.5 * self.curvature @ (u - self.best) ** 2)

    def value_and_gradient(self, u):
        self.n_calls += 1
        if self.n_calls == self.interrupt_at:
            raise KeyboardInterrupt
        value = self.value(u)
        gradient = self.curvature * (u - self.best)
        return value, gradient if math.isfinite(value) else 0.0 * gradient


@pytest.mark.parametrize("name", sorted(TRAINERS))
def test_every_trainer_finds_the_minimum_of_a_quadratic(name):
    result = train(Quadratic(), TRAINERS[name](0.05), epochs=600, rng=1)
    np.testing.assert_allclose(result.u, [0.5, -0.5], atol=1e-4)
    assert result.stopped == "epochs"
    assert result.loss == min(result.history.loss) == result.history.loss[result.epoch]
    assert result.history.n_epochs == 600
    assert result.history.u.shape == (601, 2)
    assert result.history.batch_loss.shape == result.history.batch_epoch.shape == (600,)


def test_the_gradient_is_per_data_point():
    # With 10 data points and L'' = 10, a rate of 1 jumps to the minimum at once.
    result = train(Quadratic((1.0, 1.0)), SGD(1.0), epochs=1)
    np.testing.assert_allclose(result.u, [0.5, -0.5], atol=1e-15)
    assert result.history.batch_loss[0] == pytest.approx(result.history.loss[0] / 10.0)


@pytest.mark.parametrize("name", sorted(TRAINERS))
def test_bounds_hold_by_projection(name):
    # The minimum (0.5, -0.5) is outside the box; the nearest corner is best. `value` asserts that
    # no point outside is ever asked for.
    loss = Quadratic(lower=0.75, upper=3.0)
    result = train(loss, TRAINERS[name](0.05), epochs=600)
    np.testing.assert_allclose(result.u, [0.75, 0.75], atol=1e-6)


def test_a_start_outside_the_box_is_moved_into_it():
    result = train(Quadratic(lower=0.75), SGD(0.01), epochs=1, start=np.array([2.0, -9.0]))
    np.testing.assert_array_equal(result.history.u[0], [2.0, 0.75])


def test_early_stopping_stops_when_nothing_is_gained_any_more():
    result = train(Quadratic(), SGD(0.2), epochs=500, patience=5, tolerance=1e-3)
    assert result.stopped == "patience"
    assert result.history.n_epochs < 30
    losses = result.history.loss
    # The last five epochs gained less than 1e-3 per data point together, the five before more.
    assert losses[-6] - losses[-1] <= 1e-2 < losses[-11] - losses[-6]


def test_patience_watches_the_validation_loss_and_the_best_epoch_is_chosen_by_it():
    held_out = Quadratic()
    held_out.best = np.array([1.0, 0.0])
    result = train(Quadratic((1.0, 1.0)), SGD(0.05), epochs=500, patience=10, validation=held_out)
    # On the straight way from (2, 1) to (0.5, -0.5), (1, 0) is 2/3 of it.
    np.testing.assert_allclose(result.u, [1.0, 0.0], atol=0.06)
    assert result.stopped == "patience"
    assert result.epoch == np.argmin(result.history.validation)
    assert result.epoch == result.history.n_epochs - 10
    assert result.history.loss[-1] < result.loss


@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov"])
def test_a_diverging_step_is_rolled_back_and_the_learning_rate_halved(name):
    # Plain descent diverges above 2/4 and the others above that as well: 7 has to be halved.
    loss = Quadratic(wall=50.0)
    result = train(loss, TRAINERS[name](7.0), epochs=600)
    history = result.history
    assert history.rolled_back.size >= 3
    np.testing.assert_allclose(result.u, [0.5, -0.5], atol=1e-6)
    # After the k-th roll-back the rate is 7 / 2^k, and the coordinates are the best before it.
    halvings = np.array([(history.rolled_back < epoch).sum() for epoch in range(600)])
    np.testing.assert_array_equal(history.learning_rate, 7.0 / 2.0**halvings)
    for epoch in history.rolled_back:
        best = np.nanargmin(history.loss[: epoch + 1])
        np.testing.assert_array_equal(history.u[epoch + 1], history.u[best])
    assert np.isfinite(history.u).all()
    assert not np.isnan(history.loss).any()


class Cliff(Quadratic):
    """Finite at the start, infinite one step in any direction."""

    def value(self, u):
        return super().value(u) if np.array_equal(u, self.start) else math.inf


def test_training_gives_up_when_halving_the_learning_rate_does_not_help():
    result = train(Cliff(), SGD(1.0), epochs=200)
    assert result.stopped == "learning_rate"
    assert result.history.rolled_back.size == result.history.n_epochs == 30
    np.testing.assert_array_equal(result.u, [2.0, 1.0])
    assert result.epoch == 0


def test_a_start_whose_loss_is_infinite_is_refused():
    with pytest.raises(SimulationError, match="the loss at the start of training is not finite"):
        train(Quadratic(wall=1.0), SGD(0.1))


def test_ctrl_c_keeps_the_best_so_far():
    loss = Quadratic()
    loss.interrupt_at = 8
    with pytest.raises(Interrupted, match="interrupted after 7 of 50 epochs") as caught:
        train(loss, SGD(0.1), epochs=50)
    result = caught.value.result
    assert result.stopped == "interrupt"
    assert result.history.n_epochs == result.epoch == 7
    whole = train(Quadratic(), SGD(0.1), epochs=7)
    np.testing.assert_array_equal(result.u, whole.u)
    np.testing.assert_array_equal(result.history.loss, whole.history.loss)


def test_a_timeout_keeps_the_best_so_far_and_warns():
    with pytest.warns(IncompleteWarning, match="timeout: 0 of 50 epochs are done"):
        result = train(Quadratic(), SGD(0.1), epochs=50, timeout=0.0)
    assert result.stopped == "timeout"
    np.testing.assert_array_equal(result.u, [2.0, 1.0])
    with pytest.warns(IncompleteWarning, match="timeout"):
        result = train(Quadratic(), SGD(1e-5), epochs=10**9, timeout=0.2)
    assert 0 < result.history.n_epochs < 10**9
    assert result.loss == result.history.loss[-1]


def test_progress_is_told_epoch_by_epoch_and_ends_at_the_total():
    told = []
    train(
        Quadratic(),
        SGD(0.2),
        epochs=100,
        patience=3,
        progress=lambda done, total: told.append((done, total)),
    )
    done = [one for one, _ in told]
    assert {total for _, total in told} == {100}
    assert done[:-1] == list(range(1, len(done)))
    assert done[-1] == 100 > len(done)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be a whole number, 1 or more, not 0"),
        ({"epochs": 2.5}, "epochs must be a whole number"),
        ({"batch": 0}, "batch must be a whole number, 1 or more"),
        ({"batch": 2}, "batch = 2 windows, but there are only 1"),
        ({"window": 3}, "no experiments that could be cut into windows"),
        ({"window": True}, "window must be a whole number"),
        ({"shooting": "multiple"}, "no experiments that could be cut into windows"),
        ({"shooting": "double"}, "shooting must be one of 'single', 'truncated', 'multiple'"),
        ({"order": "random"}, "order must be one of 'shuffled', 'independent', 'in_turn'"),
        ({"patience": -1}, "patience must be a whole number"),
        ({"tolerance": -1.0}, "tolerance must be a number, 0 or more"),
        ({"penalty": (1e4, 1.0)}, "penalty must be its first and last weight"),
        ({"penalty": 3.0}, "penalty must be its first and last weight"),
        ({"start": np.zeros(3)}, r"start must have the shape \(2,\)"),
        ({"timeout": -1.0}, "timeout must be a number of seconds"),
        ({"rng": -1}, "rng must be 0 or more"),
    ],
)
def test_a_bad_argument_of_training_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        train(Quadratic(), SGD(0.1), **options)


# ---- Windows of time -----------------------------------------------------------------------------

OSCILLATOR = gl.Network.parse(
    """
    variable x = 1
    variable y = 0
    param w = 1
    x' = -w*y
    y' = w*x
    """
)
DIMERISATION = gl.Network.parse(
    """
    species A = 100, D
    param bind = 0.002, split = 0.05
    2 A <-> D @ bind, split
    """
)
BIRTH_DEATH = gl.Network.parse(
    """
    species X = 5
    param make = 4, decay = 0.2
    0 -> X @ make
    X -> 0 @ decay
    """
)
DECAY = gl.Network.parse("species X = 2\nparam decay = 1\nX -> 0 @ decay")


def objective_of(network, data, estimates, *, noise=None, steps=8, cell="rk4", **options):
    """Return the negative log-likelihood of `data`, for a network or with options of its cell."""
    recurrence = Recurrence(network, cell, **options)
    experiments, groups = prepare_experiments(data, recurrence, noise)
    experiments = [with_steps(one, steps) for one in experiments]
    fixed = [(one.name, one.parameters, one.initial) for one in experiments]
    space = free_space(recurrence, estimates, None, fixed)
    return Objective(recurrence, experiments, space, groups)


def table_of(network, times, names, *, noise=0.0, seed=1, **changes):
    """Return measurements of the RK4 recurrence with normal noise."""
    path = Recurrence(network, "rk4").unroll(times, steps=20, **changes)
    random = np.random.default_rng(seed)
    return {
        "time": times[1:],
        **{name: path[name][1:] + noise * random.normal(size=times.size - 1) for name in names},
    }


def rotation(*, noise=0.05, start=2.0, n=30, sigma=0.05):
    """Return the objective of a rotation whose frequency, 1, is to be found from `start`."""
    times = np.linspace(0.0, 0.5 * n, n + 1)
    data = table_of(OSCILLATOR, times, ["x", "y"], noise=noise)
    return objective_of(OSCILLATOR, data, [Estimate("w", start=start)], noise=Gaussian(sigma))


def birth_death(*, sigma=1.0, noise=1.0, n=24, start=(1.0, 1.0)):
    times = np.linspace(0.0, 12.0, n + 1)
    data = table_of(BIRTH_DEATH, times, ["X"], noise=noise)
    estimates = [Estimate("make", start=start[0]), Estimate("decay", start=start[1])]
    return objective_of(BIRTH_DEATH, data, estimates, noise=Gaussian(sigma))


def two_driven_experiments():
    """Return an objective with inputs, an initial value, two experiments and gaps in the data."""
    network = gl.Network.parse(
        """
        species X = 5, Y
        param make = 4, decay = 0.2, light = 1
        0 -> X @ make*light
        X -> Y @ decay
        Y -> 0 @ 0.5
        """
    )
    experiments = []
    for k in range(2):
        times = np.linspace(0.0, 6.0 + k, 13)[1:]
        x, y = 10.0 + 3.0 * np.sin(times + k), 3.0 + np.cos(2.0 * times)
        x[3 + k] = np.nan
        experiments.append(
            Experiment(
                {"time": times, "X": x, "Y": y},
                name=f"e{k}",
                inputs={"light": lambda t: 1.0 + 0.5 * np.cos(t)},
            )
        )
    estimates = [Estimate("make"), Estimate("decay", shared=False), Estimate("X(0)", start=7.0)]
    return objective_of(
        network,
        experiments,
        estimates,
        noise={"X": Gaussian(), "Y": Gaussian(0.3)},
        inputs=("light",),
    )


def numerical_gradient(function, w, step=1e-4):
    """Return a gradient by central differences of order 4."""
    found = []
    for direction in np.eye(w.size):
        values = [function(w + k * step * direction) for k in (-2, -1, 1, 2)]
        found.append((values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step))
    return np.array(found)


def cut(kind, objective, length):
    return kind(objective, objective.start, objective.windows(length))


@pytest.mark.parametrize("make", [rotation, birth_death, two_driven_experiments])
def test_all_windows_together_have_the_loss_and_gradient_of_the_whole(make):
    objective = make()
    value, gradient = objective.value_and_gradient(objective.start)
    pieces = cut(Windows, objective, 5)
    loss, found = pieces.sample(objective.start, np.arange(pieces.n_pieces), 0.0)
    assert loss * objective.n_data == pytest.approx(value, rel=1e-9)
    np.testing.assert_allclose(found * objective.n_data, gradient, rtol=1e-8)


@pytest.mark.parametrize("make", [rotation, birth_death, two_driven_experiments])
def test_the_mean_over_all_mini_batches_is_the_whole_gradient(make):
    objective = make()
    value, gradient = objective.value_and_gradient(objective.start)
    pieces = cut(Windows, objective, 4)
    samples = [pieces.sample(objective.start, np.array([k]), 0.0) for k in range(pieces.n_pieces)]
    mean_loss = np.mean([loss for loss, _ in samples])
    mean_gradient = np.mean([gradient for _, gradient in samples], axis=0)
    assert mean_loss * objective.n_data == pytest.approx(value, rel=1e-9)
    np.testing.assert_allclose(mean_gradient * objective.n_data, gradient, rtol=1e-8)


@pytest.mark.parametrize("kind", [Windows, TruncatedWindows, FreeWindows])
@pytest.mark.parametrize("make", [rotation, birth_death])
def test_one_window_over_the_whole_axis_has_the_whole_gradient(make, kind):
    objective = make()
    value, gradient = objective.value_and_gradient(objective.start)
    loss, found = cut(kind, objective, 1000).sample(objective.start, np.array([0]), 1.0)
    assert loss * objective.n_data == pytest.approx(value, rel=1e-9)
    np.testing.assert_allclose(found * objective.n_data, gradient, rtol=1e-8)


@pytest.mark.parametrize("make", [rotation, birth_death, two_driven_experiments])
def test_a_truncated_gradient_is_that_of_the_window_from_a_start_that_is_held(make):
    objective = make()
    pieces = cut(TruncatedWindows, objective, 5)
    u, chosen = objective.start, np.array([0, 2, 4])
    loss, found = pieces.sample(u, chosen, 0.0)

    held = {}
    for k in chosen:
        e, first = pieces.windows[k][:2]
        held[k] = pieces.unroll(e, u, 0, first).states[-1] if first else None

    def loss_with_held_starts(v):
        total = sum(pieces.of_window(v, k, held[k])[0] for k in chosen)
        return total * pieces.n_pieces / (3 * objective.n_data)

    assert loss == pytest.approx(loss_with_held_starts(u) + pieces.constant / objective.n_data)
    expected = numerical_gradient(loss_with_held_starts, u)
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9)
    # The gradient through all of the past is another one.
    _, whole = cut(Windows, objective, 5).sample(u, chosen, 0.0)
    assert np.abs(found / whole - 1.0).max() > 0.01


@pytest.mark.parametrize("make", [rotation, birth_death, two_driven_experiments])
def test_the_gradient_with_free_states_is_that_of_windows_and_gaps(make):
    objective = make()
    pieces = cut(FreeWindows, objective, 5)
    random = np.random.default_rng(3)
    w = pieces.start * (1.0 + 0.1 * random.uniform(size=pieces.start.size))
    for chosen in (np.arange(pieces.n_pieces), np.array([1, 2]), np.array([0])):
        _, found = pieces.sample(w, chosen, 3.0)
        expected = numerical_gradient(lambda v, c=chosen: pieces.sample(v, c, 3.0)[0], w)
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7 * np.abs(found).max())


@pytest.mark.parametrize(("cell", "steps"), [("dopri5", None), ("rodas4", 3), ("euler", 5)])
def test_windows_take_any_cell(cell, steps):
    times = np.linspace(0.0, 6.0, 13)
    data = table_of(BIRTH_DEATH, times, ["X"], noise=1.0)
    objective = objective_of(
        BIRTH_DEATH, data, ["make", "decay"], noise=Gaussian(1.0), steps=steps, cell=cell
    )
    _, gradient = objective.value_and_gradient(objective.start)
    _, found = cut(Windows, objective, 4).sample(objective.start, np.arange(3), 0.0)
    np.testing.assert_allclose(found * objective.n_data, gradient, rtol=1e-8)
    result = train(objective, Adam(0.1), epochs=60, window=4, batch=2, shooting="multiple", rng=1)
    assert result.loss < objective.value(objective.start)


def test_free_states_on_the_trajectory_have_no_gap_and_the_loss_of_the_whole():
    objective = birth_death(sigma=None)
    pieces = cut(FreeWindows, objective, 5)
    path = pieces.unroll(0, objective.start, 0, 24)
    starts = [path.states[window.first] for window in pieces.windows if window.first]
    scale = pieces.start[2:] / [pieces.start_state(k)[0] for k in range(1, pieces.n_pieces)]
    w = np.concatenate([objective.start, np.ravel(starts) * scale])
    merit = pieces.merit(w, math.nan)
    assert merit.gap < 1e-28
    assert merit.loss == pytest.approx(objective.value(objective.start), rel=1e-12)


def test_free_states_start_from_the_data_where_they_are_measured():
    objective = birth_death()
    pieces = cut(FreeWindows, objective, 6)
    (column,) = objective.experiments[0].columns
    found = [pieces.start_state(k)[0] for k in range(1, pieces.n_pieces)]
    assert [window.first for window in pieces.windows] == [0, 6, 12, 18]
    np.testing.assert_allclose(found, column.values[[5, 11, 17]], rtol=1e-14)
    assert pieces.start_state(0) is None


def test_free_states_of_species_are_never_negative_and_those_of_variables_may_be():
    species = cut(FreeWindows, birth_death(), 6)
    variables = cut(FreeWindows, rotation(), 6)
    assert (species.lower[2:] == 0.0).all()
    assert (variables.lower == -np.inf).all()
    assert (variables.start < 0.0).any()
    # Also where noise made a measured count negative.
    data = {"time": np.arange(1.0, 7.0), "X": np.array([1.0, -0.5, 0.2, -0.1, 0.3, 0.1])}
    objective = objective_of(DECAY, data, ["decay"], noise=Gaussian(0.5))
    found = [cut(FreeWindows, objective, 2).start_state(k)[0] for k in (1, 2)]
    assert found == [0.0, 0.0]


# ---- What training learns ------------------------------------------------------------------------


@pytest.mark.parametrize("shooting", ["single", "truncated", "multiple"])
@pytest.mark.parametrize(
    "trainer", [Adam(0.05, schedule="cosine"), Nesterov(0.02)], ids=lambda one: one.name
)
def test_exact_data_of_a_linear_network_give_the_rate_constants_back(trainer, shooting):
    # Without noise all windows fit at once, so that also truncated gradients vanish there.
    objective = birth_death(noise=0.0)
    result = train(objective, trainer, epochs=400, window=6, batch=2, shooting=shooting, rng=1)
    found = objective.natural(result.u)
    assert found["make"] == pytest.approx(4.0, rel=0.02)
    assert found["decay"] == pytest.approx(0.2, rel=0.02)


@pytest.mark.parametrize("name", sorted(TRAINERS))
def test_every_trainer_learns_dimerisation_from_mini_batches(name):
    times = np.array([0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0])
    data = table_of(DIMERISATION, times, ["A"])
    estimates = [Estimate("bind", start=0.004), Estimate("split", start=0.1)]
    objective = objective_of(DIMERISATION, data, estimates, noise=Gaussian(2.0))
    rate = {"sgd": 0.02, "momentum": 0.005, "nesterov": 0.005, "adam": 0.05}[name]
    trainer = TRAINERS[name](rate, schedule="cosine", largest_gradient=20.0)
    result = train(objective, trainer, epochs=400, window=2, batch=2, rng=3)
    found = objective.natural(result.u)
    assert found["bind"] == pytest.approx(0.002, rel=0.02)
    assert found["split"] == pytest.approx(0.05, rel=0.05)


def test_an_estimated_scale_of_noise_leads_to_the_minimum_of_the_likelihood():
    objective = birth_death(sigma=None)
    result = train(objective, Adam(0.05, schedule="cosine"), epochs=400, window=6, batch=2, rng=1)
    best = train(objective, Nesterov(0.02), epochs=600)
    assert result.loss - best.loss < 1e-3
    np.testing.assert_allclose(result.u, best.u, atol=0.04)


def test_multiple_shooting_finds_the_frequency_that_the_whole_trajectory_hides():
    # Over T = 30 the loss along the frequency has a valley about 2 pi/T wide around the truth,
    # and one local minimum after the other outside it.
    objective = rotation(n=60, start=2.0)
    single = train(objective, Adam(0.02), epochs=300)
    assert abs(objective.natural(single.u)["w"] - 1.0) > 0.3
    multiple = train(objective, Adam(0.02), epochs=300, window=5, shooting="multiple")
    assert objective.natural(multiple.u)["w"] == pytest.approx(1.0, abs=1e-3)
    assert multiple.loss < single.loss - 1000.0
    # The gaps close as their penalty grows; after three quarters the windows are joined.
    gap, penalty = multiple.history.gap, multiple.history.penalty
    assert gap[224] < 0.02 < gap[0]
    np.testing.assert_allclose(penalty[:225], np.geomspace(1.0, 1e4, 225))
    assert (penalty[225:] == 0.0).all()
    assert (gap[225:] == 0.0).all()


def test_multiple_shooting_works_where_only_one_of_two_states_is_measured():
    times = np.linspace(0.0, 20.0, 41)
    data = table_of(OSCILLATOR, times, ["x"], noise=0.05)
    objective = objective_of(OSCILLATOR, data, [Estimate("w", start=1.4)], noise=Gaussian(0.05))
    single = train(objective, Adam(0.02), epochs=300)
    assert abs(objective.natural(single.u)["w"] - 1.0) > 0.1
    multiple = train(objective, Adam(0.02), epochs=300, window=5, shooting="multiple")
    assert objective.natural(multiple.u)["w"] == pytest.approx(1.0, abs=3e-3)


def test_multiple_shooting_finds_predators_that_nobody_counted():
    # Lotka and Volterra's cycles, prey measured alone, from rates a factor of two away.
    network = gl.Network.parse(
        """
        species Prey = 200, Predator = 100
        param birth = 1, eat = 0.01, death = 1
        Prey -> 2 Prey @ birth
        Prey + Predator -> 2 Predator @ eat
        Predator -> 0 @ death
        """
    )
    data = table_of(network, np.linspace(0.0, 30.0, 61), ["Prey"], noise=5.0)
    starts = {"birth": 2.0, "eat": 0.02, "death": 0.5}
    estimates = [Estimate(name, start=start) for name, start in starts.items()]
    objective = objective_of(network, data, estimates)
    truth = objective.value(np.log([1.0, 0.01, 1.0]))
    single = train(objective, Adam(0.02), epochs=400)
    assert single.loss > truth + 100.0
    multiple = train(objective, Adam(0.02), epochs=400, window=6, shooting="multiple")
    assert multiple.loss < truth
    for name, value in {"birth": 1.0, "eat": 0.01, "death": 1.0}.items():
        assert objective.natural(multiple.u)[name] == pytest.approx(value, rel=0.02)


def test_the_same_seed_gives_the_same_history_and_another_seed_another():
    objective = birth_death()

    def run(rng, order="shuffled"):
        return train(objective, SGD(0.02), epochs=5, window=2, batch=3, order=order, rng=rng)

    for order in ("shuffled", "independent"):
        one, again, other = run(7, order), run(7, order), run(8, order)
        np.testing.assert_array_equal(one.history.u, again.history.u)
        np.testing.assert_array_equal(one.history.batch_loss, again.history.batch_loss)
        assert (one.history.u[1:] != other.history.u[1:]).any()
        assert one.entropy == 7
    fresh = run(None)
    np.testing.assert_array_equal(fresh.history.u, run(fresh.entropy).history.u)
    np.testing.assert_array_equal(run(1, "in_turn").history.u, run(2, "in_turn").history.u)


class Recording(Windows):
    """Windows that remember which of them were asked for."""

    asked: ClassVar[list[list[int]]] = []

    def sample(self, w, chosen, penalty):
        self.asked.append(chosen.tolist())
        return super().sample(w, chosen, penalty)


def asked_windows(monkeypatch, order, batch, epochs):
    monkeypatch.setitem(windows._KINDS, "single", Recording)
    Recording.asked.clear()
    train(birth_death(), SGD(1e-6), epochs=epochs, window=4, batch=batch, order=order, rng=5)
    return list(Recording.asked)


def test_an_epoch_deals_out_every_window_once_in_a_new_order(monkeypatch):
    asked = asked_windows(monkeypatch, "shuffled", 4, 30)
    assert [len(batch) for batch in asked] == [3, 3] * 30
    epochs = [asked[i] + asked[i + 1] for i in range(0, 60, 2)]
    assert all(sorted(epoch) == list(range(6)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 25


def test_windows_in_turn_come_in_their_own_order(monkeypatch):
    assert asked_windows(monkeypatch, "in_turn", 2, 2) == [[0, 1], [2, 3], [4, 5]] * 2


@pytest.mark.statistical
def test_independent_batches_draw_every_set_of_windows_equally_often(monkeypatch):
    # 15 pairs of 6 windows, 3 draws in each of 400 epochs: 80 of each expected; chi-squared with
    # 14 degrees of freedom. Power: a pair drawn twice as often as the others gives p < 1e-6.
    asked = asked_windows(monkeypatch, "independent", 2, 400)
    assert len(asked) == 1200
    counts = collections.Counter(frozenset(batch) for batch in asked)
    assert len(counts) == 15
    assert chisquare(list(counts.values())).pvalue > 1e-3


def test_mini_batches_estimate_the_loss_of_all_data():
    objective = birth_death()
    result = train(objective, SGD(1e-9), epochs=3, window=4, batch=2, order="in_turn")
    history = result.history
    for epoch in range(3):
        mean = history.batch_loss[history.batch_epoch == epoch].mean()
        assert mean * objective.n_data == pytest.approx(history.loss[0], rel=1e-5)


def test_a_network_that_blows_up_is_stepped_back_from():
    # X' = grow*X^2 from 1 is infinite at t = 1/grow: beyond grow = 1/2 there is no trajectory.
    network = gl.Network.parse("variable X = 1\nparam grow = 0.2\nX' = grow*X^2")
    times = np.linspace(0.0, 2.0, 9)
    data = table_of(network, times, ["X"], parameters={"grow": 0.4})
    objective = objective_of(network, data, ["grow"], noise=Gaussian(0.1), steps=50)
    result = train(objective, Momentum(0.5), epochs=300)
    assert result.history.rolled_back.size >= 1
    assert math.inf in result.history.loss
    assert np.isfinite(result.history.u).all()
    assert objective.natural(result.u)["grow"] == pytest.approx(0.4, rel=1e-4)


@pytest.mark.parametrize("shooting", ["single", "truncated", "multiple"])
@pytest.mark.parametrize("name", sorted(TRAINERS))
def test_no_learning_rate_is_large_enough_to_break_training(name, shooting):
    # Steps of 1e6 and 1e12 in log k make parameters, states, losses and squares overflow; warnings
    # are errors here.
    objective = birth_death()
    for rate in (1e6, 1e12):
        result = train(
            objective, TRAINERS[name](rate), epochs=35, window=6, batch=2, shooting=shooting, rng=1
        )
        assert result.history.rolled_back.size > 5
        assert np.isfinite(result.history.u).all()
        assert not np.isnan(result.history.loss).any()
        assert result.loss <= result.history.loss[0] < math.inf


def test_a_start_whose_parameters_overflow_is_refused():
    with pytest.raises(SimulationError, match="the loss at the start of training is not finite"):
        train(birth_death(), start=np.array([1e3, 0.0]))


def test_fit_trains_with_a_trainer_and_its_options_from_several_starts():
    times = np.linspace(0.0, 12.0, 25)
    data = table_of(BIRTH_DEATH, times, ["X"], noise=1.0)
    estimate = {"make": (0.5, 20.0), "decay": (0.02, 2.0)}
    trained = fit(
        BIRTH_DEATH,
        data,
        estimate,
        noise=Gaussian(1.0),
        optimiser=Nesterov(0.02),
        training={"epochs": 150, "window": 6, "batch": 4},
        starts=2,
        rng=1,
    )
    searched = fit(BIRTH_DEATH, data, estimate, noise=Gaussian(1.0))
    np.testing.assert_allclose(trained.u, searched.u, atol=1e-3)
    assert trained.training.history.n_epochs == 150
    assert len(trained.starts) == 2


def test_windows_of_a_bad_kind_are_refused():
    objective = birth_death()
    for shooting in ("truncated", "multiple"):
        with pytest.raises(ValueError, match=rf"shooting='{shooting}' needs windows.*window=6"):
            train(objective, shooting=shooting)
    with pytest.raises(ValueError, match="batch = 7 windows, but there are only 6"):
        train(objective, window=4, batch=7)
