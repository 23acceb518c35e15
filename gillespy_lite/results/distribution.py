"""The probabilities of the states of a network over time, and what follows from them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..expressions import Expression, Symbol
from ..network import Network
from .columns import Name, _constants, name_text, stored_name, unknown_name_message
from .provenance import Provenance
from .recorded import FloatArray, IntArray, Recorded, freeze
from .summaries import Summary, cut_short, first_and_last, listed, method_lines
from .tables import labelled_states

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes

__all__ = ["Distribution"]

# A dense table of a joint law may have so many cells.
_MOST_CELLS = 50_000_000


@dataclass(frozen=True, eq=False, repr=False)
class Distribution(Recorded):
    """The law of a network's state at some times, each probability with a proven error.

    Wherever a method takes ``t``, it is one of the recorded times, by default the last; a ``name``
    is that of a species or of an observable.

    Attributes
    ----------
    times : ndarray, shape (n_times,), float64
        Recorded times, in the time unit of the rate constants.
    error_bound : ndarray, shape (n_times,), float64
        At each time, the absolute differences between the given and the true probabilities of all
        states add up to no more than this. It holds for the sum over any set of states, too.
    excess_bound : ndarray, shape (n_times,), float64
        The part of `error_bound` by which probabilities can be too large, all together: rounding,
        and what Krylov steps err. But for it, each probability is a lower bound.
    states : ndarray, shape (n_rows, n_species), int64
        The sets of states that were used, one after the other, in molecules; see `states_at`.
    set_start : ndarray, shape (n_sets + 1,), int64
        Where in `states` each set begins.
    set_at : ndarray, shape (n_times,), int64
        The set of each time.
    probabilities : ndarray, shape (n_values,), float64
        The probabilities at all times, one after the other; see `probabilities_at`.
    start : ndarray, shape (n_times + 1,), int64
        Where in `probabilities` each time begins.
    species : tuple of str
        Names of the columns of `states`.
    tolerance : float
        What `error_bound` was to be at most.
    network, provenance : Network, Provenance
        What was solved, and how.
    end_time : float
        The law is known up to here.
    stopped : str or None
        Why it is not what was asked for: "timeout", "interrupt" or "error" where times are missing;
        "max_states", "memory" or "rounding" where the error bound exceeds the tolerance; else None.
    """

    times: FloatArray
    error_bound: FloatArray
    excess_bound: FloatArray
    states: IntArray
    set_start: IntArray
    set_at: IntArray
    probabilities: FloatArray
    start: IntArray
    species: tuple[str, ...]
    observables: tuple[str, ...]
    tolerance: float
    network: Network
    provenance: Provenance
    end_time: float
    stopped: str | None

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together, and make them read-only."""
        n = self.times.size
        freeze(
            self,
            times=(n,),
            error_bound=(n,),
            excess_bound=(n,),
            set_at=(n,),
            start=(n + 1,),
            states=(int(self.set_start[-1]), len(self.species)),
            probabilities=(int(self.start[-1]),),
        )
        sizes = np.diff(self.set_start)[self.set_at]
        if not np.array_equal(np.diff(self.start), sizes):
            raise ValueError("there must be one probability for each state at each time")

    __iter__ = None

    # ---- States and probabilities ---------------------------------------------------------------

    def _row(self, t: float | None) -> int:
        if self.n_times == 0:
            raise ValueError("there is nothing here: the run was stopped before its first time")
        if t is None:
            return self.n_times - 1
        row = self._row_at(t)
        if abs(self.times[row] - float(t)) > 1e-12 * max(abs(self.times[0]), abs(self.times[-1])):
            raise ValueError(
                f"t = {float(t):g} is no recorded time; the one before is {self.times[row]:g}, and "
                "between them the law is not known; solve again with this time in t"
            )
        return row

    def states_at(self, t: float | None = None) -> IntArray:
        """Return the states at one time, (n_states, n_species) int64, in molecules."""
        one = self.set_at[self._row(t)]
        return self.states[self.set_start[one] : self.set_start[one + 1]]

    def probabilities_at(self, t: float | None = None) -> FloatArray:
        """Return their probabilities, (n_states,) float64."""
        row = self._row(t)
        return self.probabilities[self.start[row] : self.start[row + 1]]

    def n_states_at(self, t: float | None = None) -> int:
        """Return the number of states at one time."""
        row = self._row(t)
        return int(self.start[row + 1] - self.start[row])

    def error_at(self, t: float | None = None) -> float:
        """Return `error_bound` at one time."""
        return float(self.error_bound[self._row(t)])

    def values_at(self, what: Name | Expression, t: float | None = None) -> FloatArray:
        """Return what a name or an expression is worth in each state at one time.

        Parameters
        ----------
        what : str, Species, Observable or Expression
            A name, or text such as ``"A + 2*B"`` or ``"X >= 80"`` (1 where it is true).
        t : float, optional
            A recorded time, by default the last.

        Returns
        -------
        ndarray, shape (n_states,), float64
        """
        row = self._row(t)
        states = self.states_at(self.times[row])
        expression = self._expression(what)
        known: dict[str, Any] = dict(_constants(self.network))
        for column, name in enumerate(self.species):
            known[name] = states[:, column].astype(np.float64)
        known["t"] = float(self.times[row])
        values = np.asarray(expression.evaluate(known), dtype=np.float64)
        return np.broadcast_to(values, (states.shape[0],))

    def _expression(self, what: Any) -> Expression:
        if isinstance(what, Expression):
            return self.network.expanded(what)
        if isinstance(what, str) and not what.isidentifier():
            from ..dsl import parse_expression

            return self.network.expanded(parse_expression(what))
        name = stored_name(self.network, name_text(what))
        if name not in (*self.species, *self.network.observable_names):
            raise KeyError(unknown_name_message(self.network, name))
        return self.network.expanded(Symbol(name))

    def probability(
        self, what: str | Expression | Mapping[str, int], t: float | None = None
    ) -> float:
        """Return the probability of a condition or a state at one time.

        Parameters
        ----------
        what : str, Expression or mapping
            A condition such as ``"X >= 80 and Y < 3"``, or counts by name, ``{"X": 5}``.
        t : float, optional
            A recorded time, by default the last.

        Returns
        -------
        float
            The true one lies between this minus `excess_bound` and this plus `error_bound`.
        """
        p = self.probabilities_at(t)
        if isinstance(what, Mapping):
            chosen = np.ones(p.size, dtype=bool)
            for name, count in what.items():
                chosen &= self.values_at(name, t) == count
        else:
            chosen = self.values_at(what, t) != 0.0
        return float(p[chosen].sum())

    # ---- Laws -----------------------------------------------------------------------------------

    def joint(self, names: Sequence[Name], t: float | None = None) -> tuple[FloatArray, FloatArray]:
        """Return the joint law of some names.

        Parameters
        ----------
        names : sequence of str, Species or Observable
            What; the rest is summed over.
        t : float, optional
            A recorded time, by default the last.

        Returns
        -------
        values : ndarray, shape (n, n_names), float64
            The different values, in lexicographic order.
        probabilities : ndarray, shape (n,), float64
        """
        columns = np.stack([self.values_at(name, t) for name in names], axis=-1)
        values, inverse = np.unique(columns, axis=0, return_inverse=True)
        sums = np.bincount(
            inverse.ravel(), weights=self.probabilities_at(t), minlength=values.shape[0]
        )
        return values, np.asarray(sums, dtype=np.float64)

    def marginal(self, name: Name, t: float | None = None) -> FloatArray:
        """Return the probabilities of the counts 0, 1, ... of a species or a whole observable.

        Parameters
        ----------
        name : str, Species or Observable
            What; its values must be whole numbers, 0 or more (see `joint` for others).
        t : float, optional
            A recorded time, by default the last.

        Returns
        -------
        ndarray, shape (largest + 1,), float64
            Entry k is the probability of count k.
        """
        return self.table([name], t)

    def table(self, names: Sequence[Name], t: float | None = None) -> FloatArray:
        """Return the joint law of whole numbers as an array with one axis for each name.

        Parameters
        ----------
        names : sequence of str, Species or Observable
            What; the rest is summed over.
        t : float, optional
            A recorded time, by default the last.

        Returns
        -------
        ndarray, shape (largest + 1, ...), float64
            Entry [i, j, ...] is the probability of these counts.

        Raises
        ------
        ValueError
            If a value is negative or not whole, or the array would be too large.
        """
        columns = []
        for name in names:
            values = self.values_at(name, t)
            whole = values.astype(np.int64)
            if (whole != values).any() or (whole < 0).any():
                raise ValueError(
                    f"{name!r} has values that are negative or not whole; joint([{name!r}]) gives "
                    "its law as values and probabilities"
                )
            columns.append(whole)
        shape = tuple(int(column.max(initial=0)) + 1 for column in columns)
        if math.prod(shape) > _MOST_CELLS:
            raise ValueError(
                f"a table of shape {shape} would be too large; joint() gives the values that occur"
            )
        flat = np.ravel_multi_index(tuple(columns), shape)
        sums = np.bincount(flat, weights=self.probabilities_at(t), minlength=math.prod(shape))
        return np.asarray(sums, dtype=np.float64).reshape(shape)

    def given(self, condition: str | Expression | Mapping[str, int]) -> Distribution:
        """Return the conditional law at each time, given a condition at that time.

        Parameters
        ----------
        condition : str, Expression or mapping
            As for `probability`.

        Returns
        -------
        Distribution
            The states that fulfil the condition, with their probabilities divided by that of the
            condition; `error_bound` becomes twice itself divided by this.

        Raises
        ------
        ValueError
            If the condition has no probability at some time.
        """
        rows, probabilities, bounds, excess = [], [], [], []
        for k, t in enumerate(self.times):
            states, p = self.states_at(t), self.probabilities_at(t)
            if isinstance(condition, Mapping):
                chosen = np.ones(p.size, dtype=bool)
                for name, count in condition.items():
                    chosen &= self.values_at(name, t) == count
            else:
                chosen = self.values_at(condition, t) != 0.0
            total = float(p[chosen].sum())
            if not total > 0.0:
                raise ValueError(
                    f"the condition {condition!r} has no probability at t = {t:g}, at most "
                    f"{self.error_bound[k]:.3g}"
                )
            rows.append(states[chosen])
            probabilities.append(p[chosen] / total)
            # |P(x)/P(B) - p(x)/p(B)| summed, with p(B) <= P(B) <= p(B) + error.
            bounds.append(min(2.0, 2.0 * self.error_bound[k] / total))
            excess.append(min(2.0, 2.0 * self.error_bound[k] / total))
        sizes = np.cumsum([0, *(len(one) for one in rows)], dtype=np.int64)
        return replace(
            self,
            states=np.concatenate([self.states[:0], *rows]),
            set_start=sizes,
            set_at=np.arange(self.n_times, dtype=np.int64),
            probabilities=np.concatenate([np.zeros(0), *probabilities]),
            start=sizes,
            error_bound=np.array(bounds),
            excess_bound=np.array(excess),
        )

    # ---- Numbers --------------------------------------------------------------------------------

    def _averages(self, name: Name, orders: Sequence[int], centre: FloatArray | None) -> FloatArray:
        """Return means of powers at all times, (n_times, n_orders)."""
        result = np.empty((self.n_times, len(orders)))
        for row, t in enumerate(self.times):
            values, p = self.values_at(name, t), self.probabilities_at(t)
            if centre is not None:
                values = values - centre[row]
            total = float(p.sum())
            for k, order in enumerate(orders):
                result[row, k] = float(p @ values**order) / total
        return result

    def mean(self, name: Name | None = None) -> FloatArray:
        """Return the mean at each time.

        It is that of the probabilities that are known, divided by their sum, as for all numbers
        that follow. What is not known has at most the probability `error_bound`, and may lie
        anywhere.

        Returns
        -------
        ndarray, shape (n_times,), or (n_times, n_species) without a name
            Molecules for a species.
        """
        if name is None:
            return np.stack([self.mean(one) for one in self.species], axis=-1)
        return self._averages(name, [1], None)[:, 0]

    def moment(self, name: Name, order: int, *, central: bool = False) -> FloatArray:
        """Return the mean of a power at each time, about the mean if `central`; (n_times,)."""
        if isinstance(order, bool) or not isinstance(order, int | np.integer) or order < 0:
            raise ValueError(f"order must be a whole number, 0 or more, not {order!r}")
        return self._averages(name, [int(order)], self.mean(name) if central else None)[:, 0]

    def var(self, name: Name | None = None) -> FloatArray:
        """Return the variance at each time, in the form of `mean`."""
        if name is None:
            return np.stack([self.var(one) for one in self.species], axis=-1)
        return self.moment(name, 2, central=True)

    def std(self, name: Name | None = None) -> FloatArray:
        """Return the standard deviation at each time, in the form of `mean`."""
        return np.sqrt(self.var(name))

    def covariance(self, names: Sequence[Name] | None = None, t: float | None = None) -> FloatArray:
        """Return the covariance matrix at one time, (n_names, n_names), by default of all species.

        The rows and columns come in the order of `names`.
        """
        chosen = self.species if names is None else names
        values = np.stack([self.values_at(name, t) for name in chosen], axis=-1)
        p = self.probabilities_at(t) / self.probabilities_at(t).sum()
        values = values - p @ values
        return np.asarray((values * p[:, None]).T @ values)

    def quantile(self, name: Name, q: float, t: float | None = None) -> float:
        """Return the smallest value that at least the share `q`, 0 to 1, does not exceed."""
        if not 0.0 <= q <= 1.0:
            raise ValueError(f"q must lie between 0 and 1, not be {q!r}")
        values, p = self.joint([name], t)
        shares = np.cumsum(p) / p.sum()
        return float(values[min(int(np.searchsorted(shares, q)), values.shape[0] - 1), 0])

    def entropy(self, names: Sequence[Name] | None = None, t: float | None = None) -> float:
        """Return the entropy of the joint law at one time in nats, by default of all species."""
        p = self.probabilities_at(t) if names is None else self.joint(names, t)[1]
        p = p[p > 0.0] / p.sum()
        return float(-(p @ np.log(p)))

    def mutual_information(
        self, one: Name | Sequence[Name], other: Name | Sequence[Name], t: float | None = None
    ) -> float:
        """Return the mutual information of two names, or two groups of names, in nats."""
        first = [one] if isinstance(one, str) or not isinstance(one, Sequence) else list(one)
        second = [other] if isinstance(other, str) or not isinstance(other, Sequence) else [*other]
        both = self.entropy([*first, *second], t)
        return max(0.0, self.entropy(first, t) + self.entropy(second, t) - both)

    def sample(self, n: int, t: float | None = None, *, rng: Any = None) -> IntArray:
        """Draw independent states at one time.

        Parameters
        ----------
        n : int
            How many.
        t : float, optional
            A recorded time, by default the last.
        rng : None, int, SeedSequence or Generator, optional
            Source of randomness.

        Returns
        -------
        ndarray, shape (n, n_species), int64
            Molecules.
        """
        from ..randomness import generator, take_entropy

        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 0:
            raise ValueError(f"n must be a whole number, 0 or more, not {n!r}")
        cumulative = np.cumsum(self.probabilities_at(t))
        draws = generator(take_entropy(rng), _SAMPLES).random(int(n)) * cumulative[-1]
        place = np.searchsorted(cumulative, draws, side="right")
        drawn: IntArray = self.states_at(t)[np.minimum(place, cumulative.size - 1)]
        return drawn

    # ---- Other forms ----------------------------------------------------------------------------

    def to_xarray(self) -> xarray.Dataset:
        """Return the law as an xarray data set; without xarray, `MissingExtraError`.

        Returns
        -------
        xarray.Dataset
            ``probability`` with dims (time, state), 0 where a state was not kept, the counts as one
            coordinate per species along ``state``, and ``error_bound`` along ``time``. The
            attributes hold the provenance.
        """
        states, inverse = np.unique(self.states, axis=0, return_inverse=True)
        inverse = inverse.ravel()
        table = np.zeros((self.n_times, states.shape[0]))
        for row in range(self.n_times):
            one = self.set_at[row]
            places = inverse[self.set_start[one] : self.set_start[one + 1]]
            table[row, places] = self.probabilities[self.start[row] : self.start[row + 1]]
        return labelled_states(
            self.times, dict(zip(self.species, states.T, strict=True)), table,
            self.error_bound, self.provenance,
        )  # fmt: skip

    def plot(self, kind: str = "law", *, ax: Axes | None = None, **options: Any) -> Axes:
        """Draw the law on `ax`, by default on a new figure; return the Axes, for changing and
        saving (``ax.figure.savefig(...)``). Nothing is shown.

        Parameters
        ----------
        kind : {"law", "heatmap", "evolution", "network"}, optional
            The law of one name at one time, with samples over it if they are given; the joint law
            of two; the law of one name over time; the network.
        **options
            Passed on to `plotting.plot_law`, `plotting.plot_joint_law`,
            `plotting.plot_law_over_time` or `plotting.draw_network`.
        """
        from .. import plotting

        return plotting.plot_result(self, kind, ax=ax, **options)

    def summary(self) -> str:
        """Return a plain-text table of the first and last mean and standard deviation."""
        return self._summary().text()

    def __repr__(self) -> str:
        """Return one line: what, how much, and how it was made."""
        largest = int(np.diff(self.start).max(initial=0))
        bound = float(self.error_bound.max(initial=0.0))
        return (
            f"<Distribution of {listed(self.species)}: {self.n_times} times from "
            f"{first_and_last(self.times, self.end_time)}, up to {largest} states, error at most "
            f"{bound:.2g}, {self.provenance.method}{cut_short(self.stopped)}>"
        )

    def _summary(self) -> Summary:
        bound = float(self.error_bound.max(initial=0.0))
        lines = (
            f"Distribution, t = {first_and_last(self.times, self.end_time)}, {self.n_times} times, "
            f"up to {int(np.diff(self.start).max(initial=0))} states, error at most {bound:.3g}"
            f"{cut_short(self.stopped)}",
            *method_lines(self.provenance),
        )
        if self.n_times == 0:
            return Summary(lines, ("", "first mean", "last mean", "last std"), [])
        ends = replace_times(self, [0, self.n_times - 1])
        means, stds = ends.mean(), ends.std()
        rows = [
            (name, float(means[0, i]), float(means[-1, i]), float(stds[-1, i]))
            for i, name in enumerate(self.species)
        ]
        return Summary(lines, ("", "first mean", "last mean", "last std"), rows)


# The key of the stream of samples.
_SAMPLES = 61


def replace_times(law: Distribution, rows: Sequence[int]) -> Distribution:
    """Return the law at some of its times alone, by their rows."""
    pieces = [law.probabilities[law.start[row] : law.start[row + 1]] for row in rows]
    chosen = np.asarray(rows, dtype=np.int64)
    return replace(
        law,
        times=law.times[chosen],
        error_bound=law.error_bound[chosen],
        excess_bound=law.excess_bound[chosen],
        set_at=law.set_at[chosen],
        probabilities=np.concatenate([np.zeros(0), *pieces]),
        start=np.cumsum([0, *(piece.size for piece in pieces)], dtype=np.int64),
    )
