"""Results: every number here was worked out by hand from small arrays."""

from __future__ import annotations

import csv
import dataclasses
import importlib
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gillespy_lite.errors import MissingExtraError
from gillespy_lite.network import Network, Species
from gillespy_lite.results import Ensemble, EnsembleStatistics, Provenance, Trajectory

NETWORK = Network.parse("""
species A = 0, B = 10
param k = 0.5
observe total = A + B
observe scaled = k*A + t
observe share = A/total
observe constant = 2*k
A -> B @ k
B -> A @ 1
""")

# Four trajectories of A at three times; B is 10 - A.
A_PATHS = np.array([[0, 1, 2], [0, 3, 4], [0, 1, 6], [0, 3, 8]])
TIMES = np.array([0.0, 1.0, 2.5])


def made_by(method: str = "direct", **options: float | str | None) -> Provenance:
    return Provenance(
        network=NETWORK,
        method=method,
        method_reason="asked for",
        options=options,
        entropy=2**100 + 7,
        stream_version=1,
        package_version="0.1.0",
        elapsed=0.25,
    )


def small_ensemble(**changes: object) -> Ensemble:
    counts = np.stack((A_PATHS, 10 - A_PATHS), axis=-1)
    whole = Ensemble(
        times=TIMES.copy(),
        counts=counts,
        species=("A", "B"),
        values=np.empty((4, 3, 0)),
        observables=(),
        network=NETWORK,
        provenance=made_by(),
        indices=np.arange(4),
        hitting_times=np.array([0.5, np.nan, 2.0, np.nan]),
        n_events=np.array([3, 5, 7, 9]),
        n_requested=4,
        stopped=None,
    )
    return replace(whole, **changes)


def ensemble_with_observable() -> Ensemble:
    """Only A and the observable `scaled` were recorded."""
    values = (0.5 * A_PATHS + TIMES)[:, :, None]
    counts = A_PATHS[:, :, None].copy()
    return small_ensemble(counts=counts, species=("A",), values=values, observables=("scaled",))


def rows_of(ensemble: Ensemble, rows: object) -> Ensemble:
    arrays = ("counts", "values", "indices", "hitting_times", "n_events")
    return replace(ensemble, **{name: getattr(ensemble, name)[rows] for name in arrays})


def statistics_of(ensemble: Ensemble, width: int = 1) -> EnsembleStatistics:
    """The same statistics, computed here in the plainest way."""
    table = np.concatenate((ensemble.counts, ensemble.values), axis=-1).astype(float)
    means = table.mean(axis=0)
    deviations = table - means
    n_bins = 16
    bins = np.zeros((ensemble.n_times, len(ensemble.species), n_bins), dtype=np.int64)
    for row in ensemble.counts:
        for time in range(ensemble.n_times):
            for column in range(len(ensemble.species)):
                bins[time, column, row[time, column] // width] += 1
    return EnsembleStatistics(
        times=ensemble.times,
        species=ensemble.species,
        observables=ensemble.observables,
        n_trajectories=len(ensemble),
        means=means,
        comoments=np.einsum("nti,ntj->tij", deviations, deviations),
        minima=table.min(axis=0),
        maxima=table.max(axis=0),
        bin_counts=bins,
        bin_widths=np.full(bins.shape[:2], width, dtype=np.int64),
        hitting_times=ensemble.hitting_times,
        network=ensemble.network,
        provenance=ensemble.provenance,
        n_requested=ensemble.n_requested,
        stopped=ensemble.stopped,
    )


def event_trajectory() -> Trajectory:
    """A goes 0, 1, 2, 1 at the times 0, 0.3, 0.75, 1.5, and is known up to t = 2."""
    counts = np.array([[0, 10], [1, 9], [2, 8], [1, 9]])
    return Trajectory(
        times=np.array([0.0, 0.3, 0.75, 1.5]),
        counts=counts,
        species=("A", "B"),
        values=np.empty((4, 0)),
        observables=(),
        network=NETWORK,
        provenance=made_by(),
        reactions=np.array([-1, 1, 1, 0]),
        end_time=2.0,
        hitting_time=math.nan,
        stopped=None,
        n_events=3,
    )


def rate_equation_trajectory() -> Trajectory:
    return Trajectory(
        times=np.array([0.0, 1.0, 3.0]),
        counts=np.array([[0.0, 10.0], [4.0, 6.0], [5.0, 5.0]]),
        species=("A", "B"),
        values=np.empty((3, 0)),
        observables=(),
        network=NETWORK,
        provenance=made_by("ode"),
        reactions=None,
        end_time=3.0,
        hitting_time=math.nan,
        stopped=None,
        n_events=0,
    )


def without(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """Make importing one package fail, as if it were not installed."""
    real = importlib.import_module

    def refuse(name: str, package: str | None = None) -> object:
        if name == missing:
            raise ImportError(f"No module named {name!r}")
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", refuse)


# Names and sizes ---------------------------------------------------------------------------------


def test_an_ensemble_knows_its_sizes():
    ens = small_ensemble()
    assert (ens.n_trajectories, len(ens), ens.n_times) == (4, 4, 3)
    assert ens.columns == ("A", "B")
    assert ensemble_with_observable().columns == ("A", "scaled")


def test_a_species_gives_its_paths_without_copying():
    ens = small_ensemble()
    assert np.array_equal(ens["B"], 10 - A_PATHS)
    assert ens["B"].dtype == np.int64
    assert np.shares_memory(ens["B"], ens.counts)


def test_an_unrecorded_observable_is_computed_from_counts_parameters_and_time():
    ens = small_ensemble()
    assert np.array_equal(ens["total"], np.full((4, 3), 10.0))
    assert np.array_equal(ens["scaled"], 0.5 * A_PATHS + TIMES)
    # share uses total: observables may use observables.
    assert np.array_equal(ens["share"], A_PATHS / 10.0)
    assert np.array_equal(ens["constant"], np.ones((4, 3)))


def test_a_recorded_observable_is_taken_as_recorded():
    ens = ensemble_with_observable()
    marked = replace(ens, values=ens.values + 100.0)
    assert np.array_equal(marked["scaled"], 0.5 * A_PATHS + TIMES + 100.0)


def test_new_parameter_values_reach_the_observables():
    ens = small_ensemble(network=NETWORK.with_parameters(k=2.0))
    assert np.array_equal(ens["scaled"], 2.0 * A_PATHS + TIMES)


def test_objects_of_the_python_api_serve_as_names():
    ens = small_ensemble()
    assert np.array_equal(ens[Species("A")], A_PATHS)
    assert np.array_equal(ens[NETWORK.observables[0]], ens["total"])


def test_an_unrecorded_species_is_refused_with_advice():
    with pytest.raises(KeyError, match=r"'B' was not recorded; add it to outputs="):
        ensemble_with_observable()["B"]


def test_an_observable_of_an_unrecorded_species_says_what_to_record():
    with pytest.raises(KeyError, match=r"'total' needs 'B', .* add 'total' or 'B' to outputs="):
        ensemble_with_observable()["total"]


@pytest.mark.parametrize("result", [small_ensemble(), event_trajectory()])
def test_an_unknown_name_is_refused_with_the_nearest_one(result):
    with pytest.raises(KeyError, match=r"did you mean 'total'\?"):
        result["totel"]
    with pytest.raises(KeyError, match=r"did you mean 'total'\?"):
        result.amount("totel")
    with pytest.raises(KeyError, match=r"no species or observable 't'"):
        result["t"]  # a reserved word, which is the time


def test_a_number_is_no_name():
    with pytest.raises(TypeError, match=r"trajectory i of an ensemble is ens\.trajectory\(i\)"):
        small_ensemble()[0]


def test_in_tells_whether_a_name_has_an_answer():
    assert "A" in small_ensemble()
    assert "share" in small_ensemble()
    assert "C" not in small_ensemble()
    assert "total" not in ensemble_with_observable()
    assert 3 not in small_ensemble()
    assert "B" in event_trajectory()


def test_arrays_cannot_be_changed_through_a_result():
    ens = small_ensemble()
    path = event_trajectory()
    stats = statistics_of(ens)
    handed_out = [
        ens.counts, ens.times, ens["A"], ens["total"], ens.at(1.0), ens.final(), ens.indices,
        ens.hitting_times, ens.trajectory(0).counts, path.times, path.counts, path["A"],
        path.reactions, stats.means, stats.mean(), stats.bin_counts, stats.comoments,
        ensemble_with_observable().at(1.0),
    ]  # fmt: skip
    for array in handed_out:
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_the_array_that_was_given_stays_writable():
    counts = np.stack((A_PATHS, 10 - A_PATHS), axis=-1)
    small_ensemble(counts=counts)
    counts[0, 0, 0] = 5
    assert counts[0, 0, 0] == 5


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("counts", np.zeros((4, 3, 3), dtype=np.int64)),
        ("values", np.zeros((4, 2, 0))),
        ("times", np.zeros(4)),
        ("hitting_times", np.zeros(3)),
        ("n_events", np.zeros((4, 1), dtype=np.int64)),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(field, value):
    with pytest.raises(ValueError, match="must have shape"):
        small_ensemble(**{field: value})


def test_results_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        small_ensemble().species = ("X", "Y")


# Single trajectories and times -------------------------------------------------------------------


def test_a_trajectory_of_an_ensemble_is_one_row():
    path = small_ensemble().trajectory(2)
    assert np.array_equal(path["A"], [0, 1, 6])
    assert (path.n_events, path.hitting_time, path.end_time) == (7, 2.0, 2.5)
    assert path.reactions is None
    assert np.array_equal(small_ensemble().trajectory(-1)["A"], A_PATHS[3])


@pytest.mark.parametrize("row", [4, -5])
def test_a_row_that_is_not_there_is_refused(row):
    with pytest.raises(IndexError, match=f"there is no trajectory {row}: .* from 0 to 3"):
        small_ensemble().trajectory(row)


def test_iterating_gives_every_trajectory_once():
    assert [path["A"].tolist() for path in small_ensemble()] == A_PATHS.tolist()


def test_a_trajectory_cannot_be_iterated_by_accident():
    with pytest.raises(TypeError):
        iter(event_trajectory())
    with pytest.raises(TypeError):
        iter(statistics_of(small_ensemble()))


@pytest.mark.parametrize(
    ("time", "row"),
    [(0.0, 0), (0.999, 0), (1.0, 1), (1.5, 1), (2.4999, 1), (2.5, 2)],
)
def test_a_time_between_grid_times_means_the_earlier_one(time, row):
    ens = small_ensemble()
    assert ens.time_index(time) == row
    assert np.array_equal(ens.at(time), ens.counts[:, row])
    assert np.array_equal(ens.at(time, "scaled"), 0.5 * A_PATHS[:, row] + TIMES[row])


@pytest.mark.parametrize("time", [-0.1, 2.6, math.nan, math.inf])
def test_a_time_outside_the_grid_is_refused(time):
    for result in (small_ensemble(), statistics_of(small_ensemble())):
        with pytest.raises(ValueError, match=r"outside the recorded times, from 0 to 2\.5"):
            result.cov(time)
    with pytest.raises(ValueError, match="outside"):
        small_ensemble().at(time)


@given(n_times=st.integers(2, 400), end=st.floats(1e-6, 1e9), factor=st.integers(1, 399))
def test_a_grid_time_computed_in_another_way_is_still_that_grid_time(n_times, end, factor):
    # linspace and i*step differ in the last digits; 3*0.1 is not 0.3.
    i = factor % n_times
    grid = np.linspace(0.0, end, n_times)
    ens = small_ensemble(
        times=grid,
        counts=np.zeros((4, n_times, 2), dtype=np.int64),
        values=np.zeros((4, n_times, 0)),
    )
    assert ens.time_index(i * (end / (n_times - 1))) == i
    assert ens.time_index(np.nextafter(grid[i], 0.0)) == i


def test_times_must_be_single_numbers():
    with pytest.raises(TypeError, match="t must be one time"):
        small_ensemble().at([0.0, 1.0])


def test_the_final_state_is_the_last_grid_time():
    ens = small_ensemble()
    assert np.array_equal(ens.final(), ens.counts[:, -1])
    assert ens.final().dtype == np.int64
    assert np.array_equal(ens.final("A"), [2, 4, 6, 8])
    assert np.array_equal(ens.final("scaled"), [3.5, 4.5, 5.5, 6.5])


def test_a_table_has_one_column_per_recorded_name():
    ens = ensemble_with_observable()
    assert np.array_equal(ens.final(), [[2, 3.5], [4, 4.5], [6, 5.5], [8, 6.5]])
    assert np.array_equal(ens.mean(), [[0, 0], [2, 2], [5, 5]])
    assert ens.quantile([0.1, 0.9]).shape == (2, 3, 2)


def test_an_event_path_is_right_continuous():
    path = event_trajectory()
    assert path.at(0.3, "A") == 1
    assert path.at(np.nextafter(0.3, 0.0), "A") == 0
    assert path.at(0.75).tolist() == [2, 8]
    assert path.at(1.49).tolist() == [2, 8]
    # The last state lasts until the end of the run, not only until the last event.
    assert path.at(2.0).tolist() == [1, 9]
    with pytest.raises(ValueError, match="from 0 to 2"):
        path.at(2.1)


def test_rate_equations_are_interpolated_between_grid_times():
    path = rate_equation_trajectory()
    assert path.at(0.5).tolist() == [2.0, 8.0]
    assert path.at(2.5, "A") == 4.75
    for row, time in enumerate(path.times):
        assert np.array_equal(path.at(time), path.counts[row])


def test_a_trajectory_computes_observables():
    path = event_trajectory()
    assert np.array_equal(path["scaled"], [0.0, 0.8, 1.75, 2.0])
    assert path.final("total") == 10.0
    assert path.final().tolist() == [1, 9]


# Statistics --------------------------------------------------------------------------------------


def test_mean_and_spread_are_the_hand_computed_ones():
    ens = small_ensemble()
    assert np.array_equal(ens.mean(), [[0, 10], [2, 8], [5, 5]])
    # A(1) is 1, 3, 1, 3: squares of deviations sum to 4. A(2.5) is 2, 4, 6, 8: to 20.
    assert np.allclose(ens.var("A"), [0.0, 4.0 / 3.0, 20.0 / 3.0], rtol=1e-15)
    assert np.allclose(ens.std("A"), np.sqrt([0.0, 4.0 / 3.0, 20.0 / 3.0]), rtol=1e-15)
    assert np.array_equal(ens.std(), np.sqrt(ens.var()))
    assert ens.mean("scaled").tolist() == [0.0, 2.0, 5.0]
    assert ens.minimum("A").tolist() == [0, 1, 2]
    assert ens.maximum().tolist() == [[0, 10], [3, 9], [8, 8]]


def test_covariances_are_the_hand_computed_ones():
    # B = 10 - A, so the covariance is minus the variance.
    v = 20.0 / 3.0
    assert np.allclose(small_ensemble().cov(2.5), [[v, -v], [-v, v]], rtol=1e-15)
    assert np.allclose(small_ensemble().cov(2.5, ["scaled", "A"]), [[v / 4, v / 2], [v / 2, v]])
    assert small_ensemble().cov(2.5, ["B"]).shape == (1, 1)


def test_names_of_a_covariance_must_be_a_list():
    for result in (small_ensemble(), statistics_of(small_ensemble())):
        with pytest.raises(TypeError, match=r"a list of names, like \['AB'\]"):
            result.cov(1.0, "AB")


def test_large_counts_keep_their_variance():
    # 2**52 and its successors: the textbook sum of squares would give nonsense.
    counts = (2**52 + A_PATHS)[:, :, None]
    ens = small_ensemble(counts=counts, species=("A",))
    assert np.allclose(ens.var("A"), [0.0, 4.0 / 3.0, 20.0 / 3.0], rtol=1e-12)


def test_quantiles_interpolate_between_trajectories():
    ens = small_ensemble()
    assert ens.quantile(0.5, "A").tolist() == [0.0, 2.0, 5.0]
    assert ens.quantile([0.0, 1.0 / 3.0, 1.0], "A")[:, 2].tolist() == [2.0, 4.0, 8.0]
    assert ens.quantile([0.25, 0.75]).shape == (2, 3, 2)
    assert ens.quantile(0.6, "A", method="inverted_cdf").tolist() == [0.0, 3.0, 6.0]


@pytest.mark.parametrize("q", [-0.1, 1.1, math.nan, [0.5, 2.0]])
def test_a_quantile_outside_zero_to_one_is_refused(q):
    for result in (small_ensemble(), statistics_of(small_ensemble())):
        with pytest.raises(ValueError, match="probabilities from 0 to 1"):
            result.quantile(q)


def test_a_histogram_has_one_bin_per_count():
    edges, counts = small_ensemble().histogram("A", 1.0)
    assert edges.tolist() == [1, 2, 3, 4]
    assert counts.tolist() == [2, 0, 2]
    assert edges.dtype == counts.dtype == np.int64


def test_wide_counts_share_bins_that_start_at_multiples_of_their_width():
    # From 3 to 1003: widths 1 to 8 need more than 100 bins, width 16 needs 63.
    counts = np.array([3, 100, 1000, 1003]).reshape(4, 1, 1)
    ens = small_ensemble(
        times=np.array([0.0]), counts=counts, species=("A",), values=np.empty((4, 1, 0))
    )
    edges, numbers = ens.histogram("A", 0.0)
    assert edges[0] == 0
    assert edges[-1] == 1008
    assert set(np.diff(edges)) == {16}
    assert numbers.sum() == 4
    assert (numbers[0], numbers[100 // 16], numbers[-1]) == (1, 1, 2)


def test_own_bins_follow_numpy():
    ens = small_ensemble()
    edges, counts = ens.histogram("A", 2.5, bins=[0, 4, 8])
    assert (edges.tolist(), counts.tolist()) == ([0, 4, 8], [1, 3])
    edges, counts = ens.histogram("scaled", 2.5, bins=3)
    assert counts.tolist() == [1, 1, 2]


def test_an_observable_with_fractions_has_a_histogram():
    edges, counts = small_ensemble().histogram("share", 2.5)
    assert counts.sum() == 4
    assert edges[0] == 0.2
    assert edges[-1] == 0.8


def test_a_histogram_of_something_infinite_is_refused():
    ens = ensemble_with_observable()
    values = ens.values.copy()
    values[0, 1] = np.inf
    with pytest.raises(ValueError, match="'scaled' is infinite or not a number"):
        replace(ens, values=values).histogram("scaled", 1.0)


def test_the_confidence_band_is_the_normal_one():
    lower, upper = small_ensemble().confidence_band(0.95, "A")
    # 1.959964 standard errors, sqrt(20/3)/2 = 1.290994.
    assert math.isclose(upper[2] - 5.0, 1.959963984540054 * 1.2909944487358056, rel_tol=1e-12)
    assert np.allclose(5.0 - lower[2], upper[2] - 5.0)
    assert lower.shape == (3,)
    assert small_ensemble().confidence_band()[0].shape == (3, 2)


@pytest.mark.parametrize("level", [0.0, 1.0, 95])
def test_a_level_that_is_no_probability_is_refused(level):
    with pytest.raises(ValueError, match=r"between 0 and 1, like 0\.95"):
        small_ensemble().confidence_band(level)


def test_hits_are_counted():
    assert small_ensemble().hit_fraction == 0.5
    assert small_ensemble().has_condition


def test_without_a_condition_there_is_no_share_of_hits():
    never = np.full(4, np.nan)
    assert math.isnan(small_ensemble(hitting_times=never).hit_fraction)
    asked = small_ensemble(hitting_times=never, provenance=made_by(stop_when="A >= 100"))
    assert asked.hit_fraction == 0.0


def test_one_trajectory_has_no_spread_and_none_has_no_mean():
    # Warnings are errors in this suite: nan must come silently.
    one = rows_of(small_ensemble(), slice(1))
    assert np.array_equal(one.mean("A"), A_PATHS[0])
    assert np.isnan(one.var()).all()
    assert np.isnan(one.cov(1.0)).all()
    assert np.isnan(one.confidence_band()[0]).all()
    none = rows_of(small_ensemble(stopped="timeout"), slice(0))
    for numbers in (none.mean(), none.std(), none.minimum(), none.maximum("A"), none.cov(1.0)):
        assert np.isnan(numbers).all()
    assert np.isnan(none.quantile([0.1, 0.9], "A")).all()
    assert "nan" in none.summary()
    with pytest.raises(ValueError, match="at least one trajectory"):
        none.histogram("A", 1.0)


def test_an_ensemble_without_columns_has_empty_tables():
    ens = small_ensemble(counts=np.empty((4, 3, 0), dtype=np.int64), species=())
    assert ens.mean().shape == (3, 0)
    assert ens.final().shape == (4, 0)


# Statistics without trajectories -----------------------------------------------------------------


@pytest.mark.parametrize("ens", [small_ensemble(), ensemble_with_observable()])
def test_statistics_agree_with_the_ensemble_that_they_come_from(ens):
    stats = statistics_of(ens)
    assert stats.columns == ens.columns
    assert len(stats) == 4
    for name in ("mean", "std", "var", "minimum", "maximum"):
        assert np.allclose(getattr(stats, name)(), getattr(ens, name)(), rtol=1e-14), name
        assert np.allclose(getattr(stats, name)("A"), getattr(ens, name)("A"), rtol=1e-14), name
    for time in (0.0, 1.7, 2.5):
        assert np.allclose(stats.cov(time), ens.cov(time))
    reversed_names = ens.columns[::-1]
    assert np.allclose(stats.cov(2.5, reversed_names), ens.cov(2.5, reversed_names))
    assert np.allclose(stats.confidence_band(0.9), ens.confidence_band(0.9))
    assert stats.hit_fraction == ens.hit_fraction
    for mine, theirs in zip(stats.histogram("A", 2.5), ens.histogram("A", 2.5), strict=True):
        assert np.array_equal(mine, theirs)


@given(
    paths=st.lists(st.lists(st.integers(0, 15), min_size=3, max_size=3), min_size=1, max_size=12),
    q=st.floats(0.0, 1.0),
)
def test_quantiles_from_unit_bins_are_those_of_the_trajectories(paths, q):
    counts = np.array(paths)[:, :, None]
    n = len(paths)
    ens = small_ensemble(
        counts=counts,
        species=("A",),
        values=np.empty((n, 3, 0)),
        indices=np.arange(n),
        hitting_times=np.full(n, np.nan),
        n_events=np.zeros(n, dtype=np.int64),
    )
    stats = statistics_of(ens)
    assert np.allclose(stats.quantile(q, "A"), ens.quantile(q, "A"), rtol=0, atol=1e-9)
    assert np.allclose(stats.quantile([0.0, q, 1.0]), ens.quantile([0.0, q, 1.0]), atol=1e-9)


def test_quantiles_from_wide_bins_are_refused_with_advice():
    stats = statistics_of(small_ensemble(), width=2)
    with pytest.raises(ValueError, match=r"bins up to 2 wide; run again without statistics=True"):
        stats.quantile(0.5, "A")
    edges, counts = stats.histogram("A", 2.5)
    assert (edges.tolist(), counts.tolist()) == ([2, 4, 6, 8, 10], [1, 1, 1, 1])


def test_statistics_refuse_what_they_did_not_keep():
    stats = statistics_of(ensemble_with_observable())
    with pytest.raises(ValueError, match="no histogram of observable 'scaled'"):
        stats.histogram("scaled", 1.0)
    with pytest.raises(ValueError, match="no quantile of observable 'scaled'"):
        stats.quantile(0.5)
    with pytest.raises(KeyError, match=r"'B' was not recorded, .* add it to outputs="):
        stats.mean("B")
    with pytest.raises(KeyError, match="did you mean 'share'"):
        stats.mean("shar")


def test_statistics_without_a_condition_keep_no_hitting_times():
    stats = replace(statistics_of(small_ensemble()), hitting_times=np.empty(0))
    assert len(stats) == 4
    assert not stats.has_condition
    assert math.isnan(stats.hit_fraction)


def test_statistics_of_too_few_trajectories_are_nan():
    one = statistics_of(rows_of(small_ensemble(), slice(1)))
    assert np.array_equal(one.mean("A"), A_PATHS[0])
    assert np.isnan(one.std()).all()
    none = replace(
        one,
        n_trajectories=0,
        hitting_times=np.empty(0),
        bin_counts=np.zeros_like(one.bin_counts),
    )
    assert np.isnan(none.mean()).all()
    assert np.isnan(none.minimum("A")).all()
    assert np.isnan(none.quantile(0.5, "A")).all()
    with pytest.raises(ValueError, match="at least one trajectory"):
        none.histogram("A", 1.0)


# Other forms -------------------------------------------------------------------------------------


def test_pandas_rows_are_trajectory_time_and_name():
    frame = small_ensemble(indices=np.array([0, 2, 5, 6])).to_pandas()
    assert frame.columns.tolist() == ["trajectory", "time", "species", "count"]
    assert len(frame) == 4 * 3 * 2
    assert frame["count"].dtype == np.int64
    one = frame[(frame.trajectory == 5) & (frame.time == 2.5) & (frame.species == "B")]
    assert one["count"].tolist() == [4]
    means = frame.groupby(["time", "species"], observed=True)["count"].mean()
    assert means[2.5, "A"] == 5.0


def test_pandas_wide_form_has_one_column_per_name():
    frame = ensemble_with_observable().to_pandas(wide=True)
    assert frame.columns.tolist() == ["A", "scaled"]
    assert frame.index.names == ["trajectory", "time"]
    assert frame.loc[(3, 2.5)].tolist() == [8.0, 6.5]


def test_pandas_of_a_trajectory():
    frame = event_trajectory().to_pandas()
    assert frame.columns.tolist() == ["time", "species", "count", "reaction"]
    assert frame[frame.species == "A"]["count"].tolist() == [0, 1, 2, 1]
    assert frame[frame.species == "B"]["reaction"].tolist() == [-1, 1, 1, 0]
    wide = rate_equation_trajectory().to_pandas(wide=True)
    assert wide.loc[3.0].tolist() == [5.0, 5.0]


def test_pandas_of_statistics():
    frame = statistics_of(small_ensemble()).to_pandas()
    assert frame.columns.tolist() == ["time", "species", "mean", "std", "minimum", "maximum"]
    last = frame[(frame.time == 2.5) & (frame.species == "A")].iloc[0]
    assert (last["mean"], last["minimum"], last["maximum"]) == (5.0, 2.0, 8.0)


def test_xarray_has_the_dims_trajectory_time_species():
    array = small_ensemble().to_xarray()
    assert array.dims == ("trajectory", "time", "species")
    assert array.sel(trajectory=2, time=2.5, species="B") == 4
    assert np.array_equal(array.mean("trajectory").sel(species="A"), [0.0, 2.0, 5.0])
    assert array.hitting_time.sel(trajectory=0) == 0.5
    assert array.attrs["network"] == NETWORK.text
    assert array.attrs["entropy"] == str(2**100 + 7)


def test_xarray_of_a_trajectory_and_of_statistics():
    array = event_trajectory().to_xarray()
    assert array.dims == ("time", "species")
    assert array.reaction.values.tolist() == [-1, 1, 1, 0]
    dataset = statistics_of(ensemble_with_observable()).to_xarray()
    assert dict(dataset.sizes) == {"time": 3, "species": 2}
    assert dataset["mean"].sel(time=2.5, species="scaled") == 5.0


@pytest.mark.parametrize("package", ["pandas", "xarray"])
def test_a_missing_package_is_named_with_the_extra_to_install(monkeypatch, package):
    without(monkeypatch, package)
    ens = small_ensemble()
    for result in (ens, ens.trajectory(0), statistics_of(ens)):
        with pytest.raises(MissingExtraError, match=rf"pip install gillespy_lite\[{package}\]"):
            getattr(result, f"to_{package}")()


def test_csv_numbers_read_back_exactly(tmp_path):
    times = np.array([0.0, 0.1 + 0.2, 1e-300])[[0, 2, 1]]
    ens = replace(ensemble_with_observable(), times=times)
    ens = replace(ens, values=ens.values / 3.0)
    ens.to_csv(tmp_path / "e.csv")
    with open(tmp_path / "e.csv", encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["trajectory", "time", "A", "scaled"]
    assert len(rows) == 12
    assert np.array_equal([float(row[1]) for row in rows], np.tile(times, 4))
    assert [int(row[0]) for row in rows] == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    assert np.array_equal([float(row[3]) for row in rows], ens.values.ravel())


def test_counts_are_whole_numbers_in_csv(tmp_path):
    small_ensemble().to_csv(tmp_path / "e.csv")
    text = (tmp_path / "e.csv").read_text()
    assert text.startswith("trajectory,time,A,B\n0,0.0,0,10\n0,1.0,1,9\n0,2.5,2,8\n1,0.0,0,10\n")
    assert text.endswith("3,2.5,8,2\n")


def test_csv_of_a_trajectory_and_of_statistics(tmp_path):
    event_trajectory().to_csv(tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text().splitlines()[:3] == [
        "time,A,B,reaction",
        "0.0,0,10,-1",
        "0.3,1,9,1",
    ]
    statistics_of(small_ensemble()).to_csv(tmp_path / "s.csv")
    lines = (tmp_path / "s.csv").read_text().splitlines()
    assert lines[0] == "time,species,mean,std,minimum,maximum"
    assert lines[1] == "0.0,A,0.0,0.0,0.0,0.0"
    assert len(lines) == 1 + 3 * 2


# Descriptions ------------------------------------------------------------------------------------


def test_the_summary_is_an_aligned_table_at_the_last_time():
    lines = small_ensemble().summary().splitlines()
    assert lines[0] == "Ensemble of 4 trajectories, t = 0 to 2.5 at 3 times"
    assert lines[1] == "method direct (asked for)"
    assert lines[2].startswith(f"entropy {2**100 + 7}")
    assert lines[3] == "the condition was met in 50 % of the trajectories"
    assert lines[5:] == [
        "at t = 2.5  mean      std  min  max",
        "A              5  2.58199    2    8",
        "B              5  2.58199    2    8",
    ]


def test_the_summary_of_another_time():
    assert small_ensemble().summary(1.2).splitlines()[-2:] == [
        "A            2  1.1547    1    3",
        "B            8  1.1547    7    9",
    ]


def test_statistics_have_the_same_table_as_the_ensemble():
    ens = small_ensemble()
    mine, theirs = statistics_of(ens).summary(), ens.summary()
    assert mine.splitlines()[1:] == theirs.splitlines()[1:]


def test_the_summary_of_a_trajectory():
    lines = event_trajectory().summary().splitlines()
    assert lines[0] == "Trajectory, t = 0 to 2, every event, 4 rows, 3 events"
    assert lines[-2:] == ["A      0     1    0    2", "B     10     9    8   10"]


def test_a_repr_is_one_informative_line():
    assert repr(small_ensemble()) == (
        f"<Ensemble of 4 trajectories of A, B: 3 times from 0 to 2.5, direct, entropy {2**100 + 7}>"
    )
    assert repr(event_trajectory()).startswith(
        "<Trajectory of A, B: every event, 4 rows from 0 to 2"
    )
    assert repr(statistics_of(small_ensemble())).startswith("<EnsembleStatistics of 4 trajectories")


def test_a_run_that_was_cut_short_says_so():
    ens = small_ensemble(stopped="timeout", n_requested=100)
    assert "stopped by timeout with 4 of 100 done" in repr(ens)
    assert "stopped by timeout with 4 of 100 done" in ens.summary()


def test_many_species_are_not_all_listed_in_a_repr():
    names = tuple(f"species_{i}" for i in range(50))
    ens = small_ensemble(counts=np.zeros((4, 3, 50), dtype=np.int64), species=names)
    assert "species_4 and 45 more" in repr(ens)
    assert len(repr(ens)) < 250


def test_html_escapes_every_text():
    name = "<script>alert(1)</script>"
    counts = A_PATHS[:, :, None]
    provenance = replace(made_by(), method_reason="a < b & c")
    ens = small_ensemble(counts=counts, species=(name,), provenance=provenance)
    for result in (ens, ens.trajectory(0), statistics_of(ens)):
        page = result._repr_html_()
        assert "<script" not in page
        assert "&lt;script&gt;alert(1)" in page
        assert "a &lt; b &amp; c" in page


def test_the_provenance_says_how_to_repeat_the_run():
    text = str(made_by(epsilon=0.03))
    assert f"entropy   {2**100 + 7} (give it as rng= to repeat the run)" in text
    assert "epsilon=0.03" in text
    assert "gillespy_lite 0.1.0, random streams 1" in text


def test_replay_hands_the_checked_row_to_the_runner(monkeypatch):
    asked = []

    def replay(ensemble: Ensemble, i: int) -> str:
        asked.append((ensemble, i))
        return "the path"

    monkeypatch.setattr("gillespy_lite.ensembles.replay", replay)
    ens = small_ensemble()
    assert ens.replay(-1) == "the path"
    assert asked == [(ens, 3)]
    with pytest.raises(IndexError):
        ens.replay(4)
