"""From programs to the tapes that lanes and loops for small networks run."""

from __future__ import annotations

import itertools

import numpy as np

from .lane_programs import CHAINED, SQUARE, LaneTape
from .lane_vectors import LANES
from .programs import (
    ADD,
    CONSTANT,
    DIVIDE,
    HILL,
    HILLR,
    MULTIPLY,
    N_ARGUMENTS,
    PARAMETER,
    POWER,
    SPECIES,
    TIME,
    Programs,
)
from .special_functions import PRODUCT_EXPONENTS

__all__ = ["write_tape"]

# A step: what is done with which values, by number.
_Step = tuple[int, tuple[int, ...]]


class _Values:
    """Values by number; equal steps on equal values are one value."""

    def __init__(self) -> None:
        self.leaves: dict[tuple[int, int], int] = {}  # species and parameters
        self.fixed: dict[_Step, int] = {}  # steps that no count changes
        self.numbers: dict[int, float] = {}  # of constants
        self._constants: dict[bytes, int] = {}
        self._is_fixed: list[bool] = []

    def _new(self, *, is_fixed: bool) -> int:
        self._is_fixed.append(is_fixed)
        return len(self._is_fixed) - 1

    def leaf(self, kind: int, of: int) -> int:
        """Return a species or a parameter."""
        known = self.leaves.get((kind, of))
        if known is None:
            known = self.leaves[kind, of] = self._new(is_fixed=kind != SPECIES)
        return known

    def constant(self, number: float) -> int:
        """Return a constant."""
        key = np.float64(number).tobytes()  # 0 and -0 are not the same
        known = self._constants.get(key)
        if known is None:
            known = self._constants[key] = self._new(is_fixed=True)
            self.numbers[known] = number
        return known

    def step(self, code: int, arguments: tuple[int, ...], law: dict[_Step, int]) -> int:
        """Return what a step gives, which is one of a law's own unless nothing in it changes."""
        is_fixed = all(self._is_fixed[one] for one in arguments)
        steps = self.fixed if is_fixed else law
        known = steps.get((code, arguments))
        if known is None:
            known = steps[code, arguments] = self._new(is_fixed=is_fixed)
        return known

    def operation(self, code: int, arguments: tuple[int, ...], law: dict[_Step, int]) -> int:
        """Return what an operation gives, in the steps that lanes have for it."""
        exponent = self.numbers.get(arguments[-1], 0.0)
        if code == POWER and exponent in PRODUCT_EXPONENTS:
            return self.power(arguments[0], exponent, law)
        if code in (HILL, HILLR) and exponent in PRODUCT_EXPONENTS:
            # As `programs._hill`.
            x, threshold = arguments[:2] if code == HILL else arguments[1::-1]
            ratio = self.step(DIVIDE, (threshold, x), law)
            raised, one = self.power(ratio, exponent, law), self.constant(1.0)
            return self.step(DIVIDE, (one, self.step(ADD, (one, raised), law)), law)
        return self.step(code, arguments, law)

    def power(self, x: int, exponent: float, law: dict[_Step, int]) -> int:
        """Return a power by the products of `special_functions.product_power`."""
        raised, found = x, -1
        squares = [x]  # x, x^2, x^4, ...
        while 2 ** len(squares) <= exponent:
            squares.append(self.step(SQUARE, (squares[-1],), law))
        for k in reversed(range(len(squares))):
            if int(exponent) >> k & 1:
                raised = squares[k]
                found = raised if found < 0 else self.step(MULTIPLY, (found, raised), law)
        return found


def write_tape(
    programs: Programs, first_parameter: int, first_constant: int, width: int = LANES
) -> tuple[LaneTape, np.ndarray, int]:
    """Return a tape, the constants that it reads, and how many rows it needs behind these.

    Parameters
    ----------
    programs : Programs
        Empty ones have no steps. None uses the time.
    first_parameter : int
        The row of the state where the parameters begin; the first rows are the species.
    first_constant : int
        The row where the constants begin. Behind them come the rows that the tape writes.
    width : int
        Doubles in a row.
    """
    if programs.operation.size == 0:  # most conditions, for each thread of each run
        n, none = programs.start.size - 1, np.zeros(0, dtype=np.int64)
        start = np.zeros(n + 2, dtype=np.int64)
        return LaneTape(start, none, none, none, none, none, np.full(n, -1)), np.zeros(0), 0
    values = _Values()
    laws: list[dict[_Step, int]] = []
    results: list[int] = []
    for p in range(programs.start.size - 1):
        law: dict[_Step, int] = {}
        stack: list[int] = []
        for k in range(programs.start[p], programs.start[p + 1]):
            code, argument = int(programs.operation[k]), int(programs.argument[k])
            if code == TIME:
                raise ValueError("a rate that depends on the time does not run in lanes")
            if code == CONSTANT:
                stack.append(values.constant(float(programs.constant[argument])))
            elif code in (SPECIES, PARAMETER):
                stack.append(values.leaf(code, argument))
            else:
                n = int(N_ARGUMENTS[code])
                stack[-n:] = [values.operation(code, tuple(stack[-n:]), law)]
        laws.append(law)
        results.append(stack[0] if stack else -1)
    rows = {
        number: of if kind == SPECIES else first_parameter + of
        for (kind, of), number in values.leaves.items()
    }
    rows |= {number: first_constant + i for i, number in enumerate(values.numbers)}
    first_free = first_constant + len(values.numbers)
    rows |= {number: first_free + i for i, number in enumerate(values.fixed.values())}
    first_free += len(values.fixed)
    steps, starts, n_most = [], [0], 0
    for law, result in zip(laws, results, strict=True):
        n_most = max(n_most, _give_rows(law, result, rows, first_free))
        steps += [(code, rows[number], arguments) for (code, arguments), number in law.items()]
        starts.append(len(steps))
    steps += [(code, rows[number], arguments) for (code, arguments), number in values.fixed.items()]
    starts.append(len(steps))
    places = [
        [rows[arguments[min(i, len(arguments) - 1)]] for i in range(3)] for _, _, arguments in steps
    ]
    codes, targets = [code for code, _, _ in steps], [row for _, row, _ in steps]
    _chain(starts, codes, targets, places)
    columns = np.array(places, dtype=np.int64).reshape(-1, 3).T * width
    tape = LaneTape(
        start=np.array(starts),
        code=np.array(codes, dtype=np.int64),
        target=np.array(targets, dtype=np.int64) * width,
        first=np.ascontiguousarray(columns[0]),
        second=np.ascontiguousarray(columns[1]),
        third=np.ascontiguousarray(columns[2]),
        result=np.array([rows[one] * width if one >= 0 else -1 for one in results], dtype=np.int64),
    )
    constants = np.array(list(values.numbers.values()), dtype=np.float64)
    return tape, constants, len(values.fixed) + n_most


def _chain(
    starts: list[int], codes: list[int], targets: list[int], places: list[list[int]]
) -> None:
    """Let steps take from the one before what it gave."""
    for start, end in itertools.pairwise(starts):
        for k in range(start + 1, end):
            code, last = codes[k], targets[k - 1]
            for place in range(2):
                if places[k][place] == last and (code, place) in CHAINED:
                    codes[k] = CHAINED[code, place]
                    # Of a sum or a product, the other argument stands second.
                    if place == 1 and CHAINED[code, 0] == CHAINED[code, 1]:
                        places[k][1] = places[k][0]
                    break


def _give_rows(law: dict[_Step, int], result: int, rows: dict[int, int], first: int) -> int:
    """Give a row to each value of a law, from `first` on; return how many it takes.

    A value that is not needed any more gives its row to a later one: rows that are few stay in the
    processor's first cache.
    """
    last_use = {result: len(law)}
    for place, (_, arguments) in enumerate(law):
        for one in arguments:
            last_use[one] = max(place, last_use.get(one, 0))
    own, n = set(law.values()), 0
    free: list[int] = []
    for place, ((_, arguments), number) in enumerate(law.items()):
        if free:
            rows[number] = free.pop()
        else:
            rows[number] = first + n
            n += 1
        # Afterwards: a step may write before it has read all of its arguments.
        free += [rows[one] for one in set(arguments) & own if last_use[one] == place]
    return n
