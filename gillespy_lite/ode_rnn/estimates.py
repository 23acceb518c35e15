"""What is estimated: parameters and initial values, their free coordinates, bounds and ties.

An optimiser works in free coordinates u: the logarithm of what must stay positive, the value
itself of what may have any sign. What is tied to others follows by an expression.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..dsl import parse_expression
from ..errors import NetworkError
from ..expressions import Expression, Operand, as_expression
from ..names import did_you_mean

if TYPE_CHECKING:
    from .recurrence import Recurrence

__all__ = ["Estimate", "FreeSpace", "free_space"]

FloatArray = NDArray[np.float64]
Estimates: TypeAlias = "str | Estimate | Sequence[str | Estimate] | Mapping[str, Any]"


@dataclass(frozen=True)
class Estimate:
    """One quantity to be estimated.

    Parameters
    ----------
    name : str
        A parameter of the network, or ``"X(0)"`` for the initial value of X.
    start : float, optional
        Where the search starts; by default the network's own value.
    lower, upper : float, optional
        Bounds; by default there are none.
    scale : {"log", "linear"}, optional
        ``"log"`` keeps the quantity positive and measures its uncertainty as a factor. By default
        ``"log"`` if start and bounds are positive, else ``"linear"``.
    shared : bool, optional
        Whether all experiments share one value; False gives each its own, ``"k[experiment]"``.

    Raises
    ------
    ValueError
        If the bounds are out of order, exclude the start, or are not positive on a log scale.
    """

    name: str
    start: float | None = None
    lower: float | None = None
    upper: float | None = None
    scale: str | None = None
    shared: bool = True

    def __post_init__(self) -> None:
        """Refuse what makes no sense by itself."""
        if not isinstance(self.name, str):
            raise TypeError(f"the name of an Estimate must be a string, not {self.name!r}")
        if self.scale not in {None, "log", "linear"}:
            raise ValueError(
                f"scale of the estimate {self.name!r} must be 'log' or 'linear', not {self.scale!r}"
            )
        for what in ("start", "lower", "upper"):
            value = getattr(self, what)
            if value is None:
                continue
            is_number = isinstance(value, int | float | np.integer | np.floating)
            if not is_number or isinstance(value, bool) or math.isnan(value):
                raise TypeError(f"{what} of the estimate {self.name!r} must be a number: {value!r}")
            if what == "start" and not math.isfinite(value):
                raise ValueError(f"the start of the estimate {self.name!r} must be finite")
        low, high = self.bounds
        if not low < high:
            raise ValueError(
                f"the bounds of {self.name!r} are ({low:g}, {high:g}); the lower one must be below "
                "the upper one. To fix a parameter, leave it out of estimate"
            )

    @property
    def bounds(self) -> tuple[float, float]:
        """Lower and upper bound, infinite where there is none."""
        low = -math.inf if self.lower is None else float(self.lower)
        return low, math.inf if self.upper is None else float(self.upper)

    def resolved(self, value: float) -> Estimate:
        """Return the estimate with a start, `value` by default, and a scale, both checked."""
        low, high = self.bounds
        start = float(value if self.start is None else self.start)
        scale = self.scale
        if scale is None:
            scale = "log" if start > 0.0 and (self.lower is None or low >= 0.0) else "linear"
        if scale == "log" and not start > 0.0:
            raise ValueError(
                f"{self.name!r} starts at {start:g} and cannot be estimated on a log scale; give "
                f'a positive start, Estimate("{self.name}", start=...), or scale="linear"'
            )
        if scale == "log" and high <= 0.0:
            raise ValueError(f"the upper bound of {self.name!r} on a log scale must be positive")
        if not low <= start <= high:
            raise ValueError(
                f"the start of {self.name!r}, {start:g}, is outside its bounds ({low:g}, {high:g});"
                f' give another start, Estimate("{self.name}", start=...), or wider bounds'
            )
        return Estimate(self.name, start, self.lower, self.upper, scale, self.shared)


def read_estimates(estimate: Any) -> tuple[Estimate, ...]:
    """Return what is to be estimated as `Estimate` objects, each name once."""
    found: list[Estimate] = []
    if isinstance(estimate, str | Estimate):
        estimate = [estimate]
    if isinstance(estimate, Mapping):
        for name, bounds in estimate.items():
            if bounds is None:
                found.append(Estimate(name))
                continue
            if isinstance(bounds, Estimate):
                found.append(bounds)
                continue
            try:
                low, high = bounds
            except (TypeError, ValueError):
                raise TypeError(
                    f"estimate[{name!r}] must be the bounds (lower, upper) or None, not {bounds!r}"
                ) from None
            found.append(Estimate(name, lower=low, upper=high))
    else:
        for one in estimate:
            if not isinstance(one, str | Estimate):
                raise TypeError(f"estimate holds {one!r}; give names or Estimate(name, ...)")
            found.append(Estimate(one) if isinstance(one, str) else one)
    if not found:
        raise ValueError("nothing is to be estimated; name at least one parameter in estimate")
    names = [one.name for one in found]
    for k, name in enumerate(names):
        if name in names[:k]:
            raise ValueError(f"estimate names {name!r} twice")
    return tuple(found)


@dataclass(frozen=True)
class Tie:
    """A quantity that follows others by an expression."""

    name: str
    expression: Expression
    slopes: dict[str, Expression]  # by each name of the expression


@dataclass(frozen=True, eq=False)
class FreeSpace:
    """The free coordinates u, and how the quantities of each experiment depend on them."""

    estimates: tuple[Estimate, ...]  # with start and scale
    ties: tuple[Tie, ...]  # in an order in which each uses only those before it
    experiments: tuple[str, ...]
    fixed: tuple[dict[str, float], ...]  # for each experiment, what ties may use beside estimates
    names: tuple[str, ...]
    owner: NDArray[np.int64]  # (n_free,) which estimate a coordinate belongs to
    is_log: NDArray[np.bool_]  # (n_free,)
    start: FloatArray  # (n_free,)
    lower: FloatArray  # (n_free,)
    upper: FloatArray  # (n_free,)
    place: NDArray[np.int64]  # (n_experiments, n_estimates) the coordinate of each estimate

    @property
    def n_free(self) -> int:
        """Number of free coordinates."""
        return len(self.names)

    @property
    def moving(self) -> tuple[str, ...]:
        """The parameters and initial values that depend on u, the same in every experiment."""
        return (*(one.name for one in self.estimates), *(tie.name for tie in self.ties))

    def values_of(self, u: FloatArray) -> FloatArray:
        """Return the quantity of each coordinate, (n_free,) or any shape that ends so."""
        with np.errstate(over="ignore"):
            return np.where(self.is_log, np.exp(u), u)

    def slopes_of(self, u: FloatArray) -> FloatArray:
        """Return d quantity/d coordinate, (n_free,)."""
        with np.errstate(over="ignore"):
            return np.where(self.is_log, np.exp(u), 1.0)

    def natural(self, u: FloatArray) -> dict[str, float]:
        """Return the estimated quantities by name."""
        return dict(zip(self.names, self.values_of(u).tolist(), strict=True))

    def quantities(self, u: FloatArray, experiment: int) -> dict[str, float]:
        """Return the quantities of one experiment that depend on u, in the order of `moving`."""
        values = self.values_of(u)
        place = self.place[experiment]
        found = {one.name: float(values[k]) for one, k in zip(self.estimates, place, strict=True)}
        known = {**self.fixed[experiment], **found}
        for tie in self.ties:
            known[tie.name] = found[tie.name] = float(np.asarray(tie.expression.evaluate(known)))
        return found

    def slopes(self, u: FloatArray, experiment: int) -> FloatArray:
        """Return d quantities/d u for one experiment, (n_moving, n_free)."""
        by_coordinate = self.slopes_of(u)
        rows: dict[str, FloatArray] = {}
        for one, k in zip(self.estimates, self.place[experiment], strict=True):
            rows[one.name] = np.zeros(self.n_free)
            rows[one.name][k] = by_coordinate[k]
        if self.ties:
            known = {**self.fixed[experiment], **self.quantities(u, experiment)}
            for tie in self.ties:
                row = np.zeros(self.n_free)
                for name, slope in tie.slopes.items():
                    if name in rows:
                        row += float(np.asarray(slope.evaluate(known))) * rows[name]
                rows[tie.name] = row
        return np.array([rows[name] for name in self.moving])


def initial_name(name: str) -> str:
    """Return X for ``"X(0)"``, else nothing."""
    return name[:-3] if name.endswith("(0)") else ""


def _check_name(name: str, recurrence: Recurrence, what: str) -> None:
    """Refuse a name that is neither a parameter nor an initial value that can be moved."""
    network = recurrence.network
    if initial_name(name):
        state = initial_name(name)
        if state not in recurrence.state_names:
            hint = did_you_mean(state, recurrence.state_names)
            raise NetworkError(
                f"{what} {name!r}, but the network has no state {state!r}{hint}; its states are "
                f"{', '.join(recurrence.state_names)}"
            )
        return
    if name in recurrence.input_names:
        raise NetworkError(
            f"{what} {name!r}, which is an input: its values over time come from the experiments"
        )
    if name in recurrence.parameter_names:
        return
    if name in network.parameter_names:
        value = dict(zip(network.parameter_names, network.parameters, strict=True))[name].value
        raise NetworkError(
            f"{what} {name!r}, which is derived ({name} = {value}) and follows its own "
            "definition; estimate what it is derived from"
        )
    if name in recurrence.state_names:
        raise NetworkError(
            f"{what} {name!r}, which is a state; its initial value is written '{name}(0)'"
        )
    known = [*recurrence.parameter_names, *(f"{state}(0)" for state in recurrence.state_names)]
    raise NetworkError(
        f"{what} {name!r}, which the network does not have{did_you_mean(name, known)}; it could "
        f"be any of {', '.join(known[:20])}"
    )


def _read_ties(
    ties: Mapping[str, Any] | None, estimates: Sequence[Estimate], recurrence: Recurrence
) -> tuple[Tie, ...]:
    """Return the ties in an order in which they can be worked out."""
    given: dict[str, Expression] = {}
    for name, text in (ties or {}).items():
        _check_name(name, recurrence, "ties names")
        if any(one.name == name for one in estimates):
            raise ValueError(f"{name!r} is both estimated and tied; choose one")
        if isinstance(text, str):
            given[name] = parse_expression(text)
        elif isinstance(text, Operand | int | float):
            given[name] = as_expression(text)
        else:
            raise TypeError(f"ties[{name!r}] must be an expression such as '2*k1', not {text!r}")
    allowed = {*recurrence.network.parameter_names, *recurrence.parameter_names, "e", "pi"}
    for name, expression in given.items():
        for used in sorted(expression.symbols() - allowed):
            raise NetworkError(
                f"the tie {name} = {expression} uses {used!r}, which is no parameter of the "
                f"network{did_you_mean(used, allowed)}"
            )
    # A derived parameter stands for its definition, so that slopes see through it.
    definitions: dict[str, Expression] = {}
    for parameter in recurrence.network.parameters:
        if isinstance(parameter.value, Expression):
            definitions[parameter.name] = parameter.value.substitute(definitions)
    ordered: list[Tie] = []
    waiting = {name: one.substitute(definitions) for name, one in given.items()}
    while waiting:
        ready = [name for name in waiting if not waiting[name].symbols() & waiting.keys()]
        if not ready:
            raise ValueError(
                "ties go in a circle: "
                + "; ".join(f"{name} = {expression}" for name, expression in waiting.items())
                + "; leave one of them out, or estimate one of the names"
            )
        for name in ready:
            expression = waiting.pop(name)
            slopes = {used: expression.derivative(used) for used in sorted(expression.symbols())}
            ordered.append(Tie(name, expression, slopes))
    return tuple(ordered)


def free_space(
    recurrence: Recurrence,
    estimate: Any,
    ties: Mapping[str, Any] | None,
    experiments: Sequence[tuple[str, Mapping[str, float], Mapping[str, float]]],
) -> FreeSpace:
    """Check what is to be estimated and return the free coordinates.

    Parameters
    ----------
    recurrence : Recurrence
        Says which names there are, and their values.
    estimate, ties
        As given to `fit`.
    experiments : sequence of (name, parameters, initial)
        What each experiment fixes.
    """
    asked = read_estimates(estimate)
    own = dict(zip(recurrence.parameter_names, recurrence.parameter_values.tolist(), strict=True))
    own.update(
        (f"{name}(0)", value)
        for name, value in zip(
            recurrence.state_names, recurrence.initial_values.tolist(), strict=True
        )
    )
    resolved = []
    for one in asked:
        _check_name(one.name, recurrence, "estimate names")
        resolved.append(one.resolved(own[one.name]))
    read = _read_ties(ties, resolved, recurrence)
    moving = {*(one.name for one in resolved), *(tie.name for tie in read)}
    fixed = []
    network_values = dict(
        zip(
            recurrence.network.parameter_names,
            recurrence.network.parameter_values.tolist(),
            strict=True,
        )
    )
    for name, parameters, initial in experiments:
        for key in (*parameters, *(f"{state}(0)" for state in initial)):
            if key in moving:
                raise ValueError(
                    f"experiment {name!r} fixes {key!r}, which is also to be estimated or tied; "
                    "choose one (an Estimate has a start= of its own)"
                )
        fixed.append({**network_values, **own, **parameters})
    names: list[str] = []
    owner: list[int] = []
    place = np.empty((len(experiments), len(resolved)), dtype=np.int64)
    for k, one in enumerate(resolved):
        if one.shared:
            place[:, k] = len(names)
            names.append(one.name)
            owner.append(k)
            continue
        for e, (experiment, _, _) in enumerate(experiments):
            place[e, k] = len(names)
            names.append(f"{one.name}[{experiment}]")
            owner.append(k)
    of_each = [resolved[k] for k in owner]
    is_log = np.array([one.scale == "log" for one in of_each])

    def coordinates(values: list[float]) -> FloatArray:
        with np.errstate(all="ignore"):
            array = np.array(values)
            return np.where(is_log, np.log(np.maximum(array, 0.0)), array)

    return FreeSpace(
        estimates=tuple(resolved),
        ties=read,
        experiments=tuple(name for name, _, _ in experiments),
        fixed=tuple(fixed),
        names=tuple(names),
        owner=np.array(owner, dtype=np.int64),
        is_log=is_log,
        start=coordinates([float(one.start or 0.0) for one in of_each]),
        lower=coordinates([one.bounds[0] for one in of_each]),
        upper=coordinates([one.bounds[1] for one in of_each]),
        place=place,
    )
