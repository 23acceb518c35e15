"""The event kernels: what fires, when, in which order, and what is cancelled."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.stats import binomtest

import gillespy_lite as gl
from gillespy_lite.event_compilation import (
    compile_events,
    enlarged,
    event_store,
    event_trouble,
)
from gillespy_lite.events import Event
from gillespy_lite.kernels.event_handling import (
    BAD_EVENT_VALUE,
    ENDLESS_EVENTS,
    N_EXECUTED,
    N_PENDING,
    QUEUE_FULL,
    SETTLED,
    find_next_change,
    next_due,
    settle_events,
    start_events,
)
from gillespy_lite.kernels.paths import Path, path_box, path_state
from gillespy_lite.kernels.random import seed_stream
from gillespy_lite.rate_laws import Symbol, if_, sin, t

A, B, X, Y = (Symbol(name) for name in "ABXY")


class Machine:
    """A network with events, driven by hand."""

    def __init__(self, *events, start=0.0, whole=True, capacity=64, seed=1, **initial):
        self.network = gl.Network(
            species=[gl.Species("A", initial.get("A", 0)), gl.Species("B", initial.get("B", 0))],
            variables=[gl.Variable("X", initial.get("X", 0.0), 1.0), gl.Variable("Y", 0.0, 0.0)],
            events=events,
        )
        self.compiled = compile_events(self.network, ["X"])
        self.store = event_store(self.compiled, 4, capacity)
        self.state = np.array([*(float(initial.get(one, 0.0)) for one in "ABXY"), 1.0])
        self.time, self.whole = start, whole
        self.stream = np.zeros(4, dtype=np.uint64)
        seed_stream(np.arange(4, dtype=np.uint64), seed, self.stream)
        start_events(self.compiled.events, self.store, start)

    def settle(self, time=None):
        self.time = self.time if time is None else time
        return settle_events(
            self.compiled.events, self.store, self.state, np.zeros(0), self.time,
            self.stream, self.whole, 2,
        )  # fmt: skip

    def next_change(self, end, coefficients=None, start=None):
        start = self.time if start is None else start
        x = np.zeros((0, 1)) if coefficients is None else np.array([coefficients], dtype=float)
        moving = np.array([2] if coefficients is not None else [], dtype=np.int64)
        path = Path(moving, x, np.array([start, end]), np.zeros(x.shape[1]))
        return find_next_change(
            self.compiled.events, self.store, path, self.state, np.zeros(0), start, end
        )

    def value(self, name):
        return self.state["ABXY".index(name)]


# ---- Paths --------------------------------------------------------------------------------------


def test_a_box_encloses_the_path_and_shrinks_with_its_interval():
    generator = np.random.default_rng(5)
    for _ in range(200):
        degree = int(generator.integers(1, 12))
        coefficients = generator.normal(size=(2, degree + 1))
        start = generator.normal()
        end = start + generator.exponential()
        path = Path(np.array([1, 0]), coefficients, np.array([start, end]), np.zeros(degree + 1))
        a, b = np.sort(generator.uniform(start, end, 2))
        low, high, state = np.zeros(2), np.zeros(2), np.zeros(2)
        path_box(path, a, b, low, high)
        for time in np.linspace(a, b, 17):
            path_state(path, time, state)
            assert (low - 1e-13 <= state).all()
            assert (state <= high + 1e-13).all()
        path_box(path, a, np.nextafter(a, b), low, high)
        assert (high - low < 1e-10).all()


def test_a_path_meets_its_ends_exactly_and_a_constant_stays_itself():
    path = Path(np.array([0]), np.array([[0.1, 7.0, 0.3]]), np.array([0.2, 0.9]), np.zeros(3))
    state = np.zeros(1)
    path_state(path, 0.2, state)
    assert state[0] == 0.1
    path_state(path, 0.9, state)
    assert state[0] == 0.3
    path = path._replace(coefficients=np.full((1, 3), 0.1))
    low, high = np.zeros(1), np.zeros(1)
    for time in np.linspace(0.2, 0.9, 57):
        path_state(path, time, state)
        path_box(path, 0.2, time + 1e-9, low, high)
        assert state[0] == low[0] == high[0] == 0.1


# ---- When a trigger changes ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trigger", "expected"),
    [
        (t >= 1.1, 1.1),
        (t > 1.1, np.nextafter(1.1, 2.0)),
        ((t >= 0.7) & (t <= 0.7), 0.7),  # true at one instant
        (t * t > 2.0, np.nextafter(np.sqrt(2.0), 2.0)),
        (t > 3.5, np.inf),
        (t >= 3.0, 3.0),  # the end belongs to what is searched
    ],
    ids=["at", "after", "instant", "root", "never", "end"],
)
def test_a_trigger_on_time_changes_at_the_very_double(trigger, expected):
    machine = Machine(Event(trigger, {"A": 1}))
    machine.settle()
    assert machine.next_change(3.0) == pytest.approx(expected, rel=3e-16)


def test_a_pulse_of_the_path_between_two_equal_ends_is_found():
    # 4 s (1 - s) - 0.999 is above zero for |s - 1/2| < 0.0158 alone.
    machine = Machine(Event(X > 0.999, {"A": 1}))
    machine.settle()
    found = machine.next_change(1.0, [0.0, 2.0, 0.0])
    assert found == pytest.approx(0.5 - 0.5 * np.sqrt(0.001), rel=1e-12)


def test_of_many_changes_the_first_is_found():
    machine = Machine(Event(sin(1000.0 * t) < -0.999999, {"A": 1}))
    machine.settle()
    first = (np.pi + np.arcsin(0.999999)) / 1000.0
    assert machine.next_change(100.0) == pytest.approx(first, rel=1e-12)


def test_a_path_that_only_touches_its_threshold_costs_bounded_work():
    machine = Machine(Event(X > 1.0, {"A": 1}), Event(X >= 2.5, {"B": 1}))
    machine.settle()
    # 4 s (1 - s): touches 1 at s = 1/2 and does not pass it, to rounding.
    assert machine.next_change(1.0, [0.0, 2.0, 0.0]) in (np.inf, pytest.approx(0.5, abs=1e-7))


def test_an_event_right_after_time_zero_is_found_in_a_window_from_zero():
    machine = Machine(Event(t > 0.0, {"A": 1}))
    machine.settle()
    assert 0.0 < machine.next_change(10.0) < 1e-17


def test_a_trigger_without_time_is_not_searched():
    machine = Machine(Event(A > 3, {"B": 1}))
    machine.settle()
    assert machine.compiled.events.depends_on_time.tolist() == [0]
    assert machine.next_change(1e9) == np.inf


# ---- What fires ---------------------------------------------------------------------------------


def test_an_event_fires_on_the_edge_and_not_while_the_trigger_stays_true():
    machine = Machine(Event(A > 3, {"B": B + 1}))
    for count in (5, 6, 7, 2, 9):
        machine.state[0] = count
        assert machine.settle() == SETTLED
    assert machine.value("B") == 2


@pytest.mark.parametrize(("initially", "fired"), [(False, 1), (True, 0)])
def test_the_value_before_the_start_decides_whether_a_trigger_that_holds_fires(initially, fired):
    machine = Machine(Event(A > 3, {"B": B + 1}, initially=initially), A=5)
    machine.settle()
    assert machine.value("B") == fired


def test_assignments_are_made_at_once():
    machine = Machine(Event(t >= 0, {"A": B, "B": A}), A=3, B=8)
    machine.settle()
    assert machine.state[:2].tolist() == [8, 3]


@pytest.mark.parametrize(("values", "expected"), [("trigger", 5.0), ("execution", 9.0)])
def test_values_are_those_of_the_trigger_or_of_the_execution(values, expected):
    machine = Machine(Event(A > 3, {"B": A}, delay=2.0, values=values), A=5)
    machine.settle()
    assert next_due(machine.store) == 2.0
    machine.state[0] = 9
    machine.settle(1.0)
    assert machine.value("B") == 0
    machine.settle(2.0)
    assert machine.value("B") == expected
    assert next_due(machine.store) == np.inf


def test_the_delay_is_that_of_the_trigger():
    machine = Machine(Event(A > 3, {"B": 1}, delay=A / 2), A=5)
    machine.settle()
    machine.state[0] = 4
    machine.settle(0.1)
    assert next_due(machine.store) == 2.5


def test_an_event_can_wait_twice():
    machine = Machine(Event(A > 3, {"B": B + 1}, delay=10.0))
    for time, count in [(1.0, 5), (2.0, 0), (3.0, 5), (11.0, 5)]:
        machine.state[0] = count
        machine.settle(time)
    assert machine.value("B") == 1
    assert machine.store.counter[N_PENDING] == 1
    machine.settle(13.0)
    assert machine.value("B") == 2


@pytest.mark.parametrize(("persistent", "fired"), [(True, 1), (False, 0)])
@pytest.mark.parametrize("ends", [1.0, 2.0], ids=["in the delay", "when due"])
def test_what_waits_is_cancelled_with_its_trigger_unless_it_persists(persistent, fired, ends):
    machine = Machine(Event(A > 3, {"B": B + 1}, delay=2.0, persistent=persistent), A=5)
    machine.settle()
    machine.state[0] = 0
    machine.settle(ends)
    machine.settle(2.0)
    assert machine.value("B") == fired


def test_an_event_that_ends_another_trigger_cancels_it_at_the_same_instant():
    machine = Machine(
        Event(A > 3, {"A": 0}, priority=2),
        Event(A > 3, {"B": B + 1}, priority=1, persistent=False),
        Event(A > 3, {"B": B + 10}, priority=1),
        A=5,
    )
    machine.settle()
    assert machine.state[:2].tolist() == [0, 10]


def test_what_an_execution_triggers_joins_the_queue_at_once_by_its_priority():
    machine = Machine(
        Event(t >= 0, {"A": 1}, priority=10),
        Event(t >= 0, {"B": 2 * B}, priority=1),
        Event(A > 0, {"B": 5}, priority=5),
    )
    machine.settle()
    assert machine.value("B") == 10


def test_priorities_are_looked_at_anew_after_each_execution():
    # By the priorities at the trigger, B = 1 (20) would come before B = 2 (10).
    machine = Machine(
        Event(t >= 0, {"A": 1}, priority=100),
        Event(t >= 0, {"B": 10 * B + 1}, priority=if_(A > 0, 5, 20)),
        Event(t >= 0, {"B": 10 * B + 2}, priority=10),
    )
    machine.settle()
    assert machine.value("B") == 21


def test_events_without_a_priority_come_after_those_with_one():
    machine = Machine(
        Event(t >= 0, {"B": 10 * B + 1}), Event(t >= 0, {"B": 10 * B + 2}, priority=-1e300)
    )
    machine.settle()
    assert machine.value("B") == 21


def test_an_execution_that_is_due_meets_what_is_triggered_at_that_instant():
    machine = Machine(
        Event(t >= 0, {"B": 10 * B + 1}, delay=2.0, priority=1),
        Event(t >= 2, {"B": 10 * B + 2}, priority=2),
    )
    machine.settle()
    assert machine.next_change(2.0) == 2.0 == next_due(machine.store)
    machine.settle(2.0)
    assert machine.value("B") == 21


@pytest.mark.parametrize("priority", [None, 3])
def test_equals_come_in_random_order(priority):
    # Each of three first with probability 1/3; 10,000 runs of a wrong 0.3 would give p < 1e-12.
    events = [Event(t >= 0, {"B": 10 * B + k}, priority=priority) for k in (1, 2, 3)]
    machine = Machine(*events)
    firsts, lasts = np.zeros(4, dtype=int), np.zeros(4, dtype=int)
    for _ in range(10_000):
        machine.state[:] = [0, 0, 0, 0, 1]
        start_events(machine.compiled.events, machine.store, 0.0)
        machine.settle(0.0)
        firsts[int(machine.value("B")) // 100] += 1
        lasts[int(machine.value("B")) % 10] += 1
    for count in (*firsts[1:], *lasts[1:]):
        assert binomtest(int(count), 10_000, 1 / 3).pvalue > 1e-5


# ---- Trouble ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0.5, r"event 1 'odd' \(when t >= 0\) sets A to 0.5 at t = 0; .* whole number"),
        (-1.0, "sets A to -1.0"),
        (2.0**54, "sets A to 1.8"),
        (1 / B, "sets A to inf at t = 0; it must be a finite number"),
    ],
)
def test_a_count_that_is_none_is_refused_naming_event_and_species(value, message):
    machine = Machine(Event(t >= 0, {"A": value}, name="odd"))
    status = machine.settle()
    assert status == BAD_EVENT_VALUE
    with pytest.raises(gl.SimulationError, match=message):
        raise event_trouble(machine.network, machine.compiled, machine.store, status, 0.0)


def test_a_count_is_rounded_where_rounding_alone_kept_it_from_being_whole():
    machine = Machine(Event(t >= 0, {"A": 3 * (t + 0.1) * 10}))
    assert machine.settle() == SETTLED
    assert machine.value("A") == 3.0


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (Event(t >= 0, {"A": 1}, delay=t - 1), "the delay of event 1 .* is -1 at t = 0"),
        (Event(t >= 0, {"A": 1}, priority=B / B), "the priority of event 1 .* is nan"),
        (Event(t >= 0, {"X": B / B}), "sets X to nan"),
    ],
    ids=["delay", "priority", "variable"],
)
def test_delays_and_priorities_and_variables_must_be_numbers(event, message):
    machine = Machine(event)
    status = machine.settle()
    with pytest.raises(gl.SimulationError, match=message):
        raise event_trouble(machine.network, machine.compiled, machine.store, status, 0.0)


def test_events_that_trigger_one_another_for_ever_are_an_error():
    machine = Machine(Event(A > 0, {"A": 0, "B": 1}), Event(B > 0, {"A": 1, "B": 0}), A=1)
    status = machine.settle()
    assert status == ENDLESS_EVENTS
    error = event_trouble(machine.network, machine.compiled, machine.store, status, 0.0)
    assert "without end at t = 0" in str(error)


def test_a_full_queue_loses_nothing_when_it_is_enlarged():
    machine = Machine(
        *(Event(t >= 0, {"B": B + 10**k, "Y": A}, delay=1.0, values="trigger") for k in (0, 1, 2)),
        Event(t >= 0, {"A": 7}, priority=1),
        capacity=1,
    )
    n_full = 0
    while machine.settle() == QUEUE_FULL:
        n_full += 1
        machine.store = enlarged(machine.store)
    assert n_full == 2
    assert machine.store.counter[N_EXECUTED] == 1
    machine.settle(1.0)
    # Values are of the trigger's time, when A was 0 and B was 0.
    assert machine.value("B") in (1, 10, 100)
    assert machine.value("Y") == 0


def test_relatives_share_the_compiled_events():
    machine = Machine(Event(t >= 0, {"A": 1}))
    relative = machine.network.with_initial({"A": 5})
    assert compile_events(relative, ["X"]) is machine.compiled
    assert compile_events(relative, []) is not machine.compiled
    assert dataclasses.is_dataclass(machine.compiled)
