"""Parameter scans: every set has the numbers of an ensemble of its own, with the right labels."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from identical import assert_identical

import gillespy_lite as gl
from gillespy_lite.compilation import compile_network
from gillespy_lite.errors import (
    BadPropensityError,
    EventLimitError,
    IncompleteWarning,
    Interrupted,
    MethodError,
    NetworkError,
)
from gillespy_lite.kernels.set_statistics import fill_set_moments, scratch_size
from gillespy_lite.lane_compilation import compile_lanes
from gillespy_lite.moment_tree import block_moments
from gillespy_lite.randomness import (
    _SETS,
    entropies_of_sets,
    entropy_of_words,
    seed_sequence,
    stream_key,
    stream_keys,
    take_entropy,
)
from gillespy_lite.scans import running, sensitivity
from gillespy_lite.scans.numbers import SetNumbers
from gillespy_lite.scans.points import read_points

ENZYME = gl.models.michaelis_menten()
# Laws, derived parameters, an observable of a parameter, a count at the start that follows one, and
# an exponent that may be varied.
LAWS = gl.Network.parse("""
species A = 5, B, C = 3*c
param k = 2, c = 4, n = 2, u = 1, h = 2*k, m = h^1.3
observe z = A*k + B
0 => A @ k*hill(B, u, n) + m
A -> B @ u
B -> 0 @ h
3 A -> B @ k/100
A + C -> A @ exp(-k)/5
""")
TABLE = {"k": [1, 2, 3.5, 0.1], "n": [2, 3, 1.5, 2], "A": [5, 6, 7, 0], "c": [1, 5, 2, 0]}


def ensemble_of(scan: gl.Scan, j: int, **how: Any) -> Any:
    """Return the ordinary run, by single paths from tables, that set `j` stands for."""
    options = {name: value for name, value in scan.provenance.options.items() if value is not None}
    if scan.keep == "statistics":
        n_bins = scan.bin_counts.shape[-1] if scan.bin_counts.size else 256
        how |= {"statistics": True, "histogram_bins": n_bins}
    run = gl.ensemble(
        scan.network_of(j), scan.times, scan.n_requested, method=scan.provenance.method,
        engine="table", rng=scan.entropy(j), outputs=scan.columns, **how, **options,
    )  # fmt: skip
    if scan.keep == "statistics" and not scan.bin_counts.size:
        own = scan[j]
        run = dataclasses.replace(run, bin_counts=own.bin_counts, bin_widths=own.bin_widths)
    return run


def assert_sets_are_ensembles(scan: gl.Scan, **how: Any) -> None:
    for j in range(len(scan)):
        assert_identical(scan[j], ensemble_of(scan, j, **how))


# ---- The same bits -------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", ["statistics", "paths"])
@pytest.mark.parametrize(
    ("network", "points", "t"),
    [
        (ENZYME, {"kf": [0.001, 0.004], "S": [100, 301], "E": [120]}, [0, 3, 10]),
        (LAWS, {"k": [1, 2.5], "u": [0.5, 1, 2]}, 2.0),
        (gl.models.schlogl(), {"c1": [2.9e-7, 3e-7], "X": [100, 250]}, [0, 1]),
        (gl.Network.parse("species A = 3, B\nparam g=1\nA -> B @ g\nB -> A @ 2"), {"g": [0, 5]}, 3),
    ],
    ids=["enzyme", "laws", "schlogl", "one"],
)
def test_every_set_of_a_grid_has_the_bits_of_an_ensemble(network, points, t, keep):
    scan = gl.scan(network, points, t, 37, rng=3, keep=keep)
    assert scan.provenance.engine == "lanes"
    assert_sets_are_ensembles(scan)


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"stop_when": "A >= 3*k + 5"},
        {"outputs": ["z", "A"]},
        {"common_random_numbers": True},
        {"engine": "specialised", "stop_when": "exp(A) >= h + 1e3*n", "keep": "paths"},
        {"engine": "specialised", "outputs": ["z"]},
        {"engine": "table"},
        {"method": "tau_leaping", "epsilon": 0.1, "keep": "paths"},
        {"method": "next_reaction"},
        {"histogram_bins": 4, "stop_when": "B > 3"},
    ],
    ids=str,
)
def test_every_row_of_a_table_has_the_bits_of_an_ensemble(how):
    scan = gl.scan(LAWS, samples=TABLE, t=[0, 0.5, 2], n=40, rng=5, **{"method": "direct", **how})
    assert scan.provenance.engine == how.get("engine", scan.provenance.engine)
    if how.get("method") == "tau_leaping":
        assert scan.provenance.engine == "lanes"
    assert_sets_are_ensembles(scan)
    entropies = {scan.entropy(j) for j in range(len(scan))}
    assert len(entropies) == (1 if "common_random_numbers" in how else len(scan))


@pytest.mark.parametrize("varied", ["k", "n", "u", "A", "h", "c"])
def test_code_made_for_a_network_follows_whatever_is_varied(varied):
    values = [1, 3, 2, 3]  # also an exponent that is multiplied out for some sets only
    scan = gl.scan(LAWS, {varied: values}, 1.5, 20, rng=8, engine="specialised", method="direct")
    assert_sets_are_ensembles(scan)


@pytest.mark.parametrize(
    "text",
    [
        "species X\nparam k=3\n0 -> X @ k*(1+sin(t))\nX -> 0 @ 1",
        "species X=9, Y\nparam k=3\nX -> Y @ k delay 0.3\nY -> X @ 1",
        "species X=9\nparam k=3\nX -> 0 @ 1\nwhen t >= 0.5: X = X + floor(5*k)",
        "species X=2\nvariable V=1\nparam k=3\nV' = -k*V\n0 => X @ 5*V",
    ],
    ids=["time", "delay", "event", "variable"],
)
def test_what_has_no_lanes_has_the_bits_of_an_ensemble(text):
    network = gl.Network.parse(text)
    for keep in ("paths", "statistics"):
        points = {"k": [1, 2.5], "X": [2, 7]}
        scan = gl.scan(network, points, [0, 0.4, 1], 20, rng=1, keep=keep, stop_when="X > 4*k")
        assert scan.provenance.engine == "table"
        assert_sets_are_ensembles(scan)


@pytest.mark.parametrize("n", [1, 256, 257, 700])
def test_sets_of_several_blocks_have_the_bits_of_an_ensemble(n):
    assert_sets_are_ensembles(gl.scan(ENZYME, {"kf": [1e-3, 4e-3]}, [0, 2], n, rng=2))


def test_threads_and_pieces_change_no_bit(monkeypatch):
    def run(threads: int, keep: str) -> gl.Scan:
        points = {"k": np.geomspace(0.1, 3, 13), "A": [0, 9]}
        return gl.scan(LAWS, points, [0, 1], 30, rng=4, threads=threads, keep=keep)

    for keep in ("statistics", "paths"):
        usual = run(1, keep)
        for threads, rows in itertools.product((1, 3), (1, 95)):
            monkeypatch.setattr(running, "_FEWEST_ROWS", rows)
            monkeypatch.setattr(running, "_BUFFER", 1)
            other = run(threads, keep)
            for name in ("means", "comoments", "counts", "n_trajectories", "n_events"):
                assert np.array_equal(getattr(usual, name), getattr(other, name)), name


def test_a_set_that_is_too_large_for_a_buffer_runs_alone(monkeypatch):
    usual = gl.scan(ENZYME, {"kf": [1e-3, 4e-3]}, [0, 2], 300, rng=2, histogram_bins=8)
    monkeypatch.setattr(running, "_LARGEST_BUFFER", 100)
    alone = gl.scan(ENZYME, {"kf": [1e-3, 4e-3]}, [0, 2], 300, rng=2, histogram_bins=8, threads=2)
    for name in ("means", "comoments", "minima", "maxima", "bin_counts", "n_trajectories"):
        assert np.array_equal(getattr(usual, name), getattr(alone, name)), name


def test_rows_that_lanes_give_back_are_run_by_single_paths():
    # Counts beyond 2**52 are seen by a look every 1024 steps.
    network = gl.Network.parse("species A = 4503599627370000\nparam k = 1\n0 -> A @ k")
    scan = gl.scan(network, {"k": [1, 20.0]}, [0, 150], 20, rng=1, keep="paths")
    assert scan.counts.max() > 2**52
    assert_sets_are_ensembles(scan)
    huge = gl.scan(network, {"A": [10, 2**52 + 2]}, [0, 3], 20, rng=1, keep="paths")
    assert huge.provenance.engine == "table"
    assert_sets_are_ensembles(huge)


def test_moments_of_many_sets_have_the_bits_of_blocks():
    rng = np.random.default_rng(1)
    for n_sets, n, n_times, n_species, n_values in (
        (3, 20, 7, 2, 3),
        (4, 9, 5, 3, 0),
        (2, 5, 1, 1, 1),
    ):
        counts = rng.integers(0, 1000, (n_sets * n, n_times, n_species))
        values = rng.normal(size=(n_sets * n, n_times, n_values))
        values[rng.random(values.shape) < 0.05] = np.nan
        outcome = (rng.random(n_sets * n) < 0.8).astype(np.int64)
        outcome[:n] = 0  # a set of which nothing is finished
        k = n_species + n_values
        found = [np.full((n_sets, n_times, k, *more), 7.0) for more in ((), (k,), (), ())]
        n_complete = np.zeros(n_sets, dtype=np.int64)
        scratch = np.empty(scratch_size(n_times, k))
        fill_set_moments(counts.ravel(), values.ravel(), outcome, n, scratch, n_complete, *found)
        assert all((one[0] == 7.0).all() for one in found)
        for j in range(1, n_sets):
            rows = slice(j * n, (j + 1) * n)
            block = block_moments(counts[rows], values[rows], np.flatnonzero(outcome[rows]))
            assert n_complete[j] == block.n
            for one, name in zip(found, ("means", "comoments", "minima", "maxima"), strict=True):
                assert np.array_equal(one[j], getattr(block, name), equal_nan=True), name


# ---- Numbers and seeds of many sets --------------------------------------------------------------


def test_entropies_and_keys_are_those_of_numpy():
    for entropy in (0, 1, 2**32, 2**127 + 3, 2**200 + 17):
        words = entropies_of_sets(entropy, 3, 9)
        keys = stream_keys(words, "direct")
        for j in range(3, 9):
            own = take_entropy(seed_sequence(entropy, _SETS, j))
            assert entropy_of_words(words[j - 3]) == own
            assert np.array_equal(keys[j - 3], stream_key(own, "direct"))


@pytest.mark.parametrize(
    ("network", "points"),
    [
        (LAWS, TABLE),
        (LAWS, {"h": [1, 2.0, 1 / 3], "C": [1, 2, 3]}),
        (gl.models.schlogl(), {"c1": np.linspace(1e-7, 4e-7, 9) / 3, "N1": np.full(9, 1e5 / 7)}),
        (gl.models.toggle_switch(), None),
        (gl.Network.parse("species X = 3\nparam k = 2\n" + "0 -> X @ k\n" * 90), {"k": [1, 0.3]}),
    ],
    ids=["laws", "derived", "schlogl", "toggle", "90 reactions"],
)
def test_numbers_of_sets_are_those_of_compiled_relatives(network, points):
    points = points or {name: [0.3, 1 / 7, 2] for name in network.parameter_names}
    points = read_points(network, None, points, None)
    found = SetNumbers(network, points).arrays(0, points.n_sets)
    for j in range(points.n_sets):
        compiled = compile_network(points.relative(network, j))
        lanes = compile_lanes(compiled)
        wanted = (lanes.coefficient, lanes.factor, lanes.parameters, compiled.initial_state)
        for mine, theirs in zip(found, wanted, strict=True):
            assert np.array_equal(mine.reshape(points.n_sets, -1)[j], theirs)


# ---- What is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"grid": {"kff": [1]}}, NetworkError, "'kff'.*no parameter, species.*did you mean 'kf'"),
        ({"grid": {}}, ValueError, "names nothing to vary"),
        ({"grid": {"kf": []}}, ValueError, "no values for 'kf'"),
        ({"grid": {"kf": ["a"]}}, TypeError, "values of 'kf' must be a list of numbers"),
        ({"grid": {"kf": [1, np.inf]}}, ValueError, "value 1 of 'kf' is inf"),
        ({"grid": {"kf": [1.0, -2]}}, NetworkError, r"set 1 \(kf = -2\).*rate constant.*is -2"),
        ({"grid": {"S": [1, 2.5]}}, NetworkError, r"set 1 \(S = 2.5\).*whole number"),
        ({"grid": [1, 2]}, TypeError, "grid must be a dict.*samples="),
        ({"samples": {"kf": [1, 2], "S": [3]}}, ValueError, "kf has 2, S has 1"),
        ({"samples": [[1, 2]]}, ValueError, "2 columns; give as many names="),
        ({"grid": {"kf": [1]}, "samples": {"S": [3]}}, ValueError, "either as a grid"),
        ({}, ValueError, "either as a grid"),
        ({"grid": {"kf": [1]}, "names": ["kf"]}, ValueError, "names= belongs to samples="),
        ({"grid": {"kf": [1]}, "n": 0}, ValueError, "n must be a whole number"),
        ({"grid": {"kf": [1]}, "n": None}, TypeError, "scan needs n"),
        ({"grid": {"kf": [1]}, "keep": "all"}, ValueError, "keep must be"),
        ({"grid": {"kf": [1]}, "histogram_bins": 3}, ValueError, "must be even"),
        ({"grid": {"kf": [1]}, "histogram_bins": 4, "keep": "paths"}, ValueError, "belongs to"),
        ({"grid": {"kf": [1]}, "method": "ode"}, MethodError, "deterministic"),
        ({"grid": {"kf": [1]}, "nonsense": 1}, ValueError, "nonsense"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_by_name(given, error, message):
    with pytest.raises(error, match=message):
        gl.scan(ENZYME, **{"t": [0, 1], "n": 5, **given})


def test_an_error_names_its_set_and_keeps_what_is_finished():
    with pytest.raises(EventLimitError, match=r"set 1 \(kf = 0.5\): trajectory") as caught:
        gl.scan(ENZYME, {"kf": [0.0, 0.5]}, [0, 1], 20, rng=1, max_events=30, threads=1)
    assert caught.value.result.n_trajectories[0] == 20
    network = gl.Network.parse("species X = 5\nparam a = 1\n0 => X @ a - X/4\nX -> 0 @ 1")
    with pytest.raises(BadPropensityError, match=r"set 0 \(a = -1\).*is -2"):
        gl.scan(network, {"a": [-1.0, 9]}, [0, 1], 20, rng=1)


@pytest.mark.parametrize("text", ["0 -> X @ 1e5*k", "0 -> X @ 1e5*k*(1 + 0*t)"])
def test_a_timeout_keeps_what_is_finished(text):
    network = gl.Network.parse(f"species X\nparam k = 1\n{text}\nX -> 0 @ 1")
    with pytest.warns(IncompleteWarning, match="of 4000 trajectories are finished"):
        scan = gl.scan(network, {"k": np.linspace(1, 2, 40)}, [0, 50], 100, rng=1, timeout=0.3)
    assert scan.stopped == "timeout"
    assert scan.n_trajectories.sum() < 4000
    assert np.array_equal(np.isnan(scan.mean("X")).any(axis=1), scan.n_trajectories == 0)


def test_ctrl_c_keeps_what_is_finished():
    def press(done: float, total: float) -> None:
        if done >= 100:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted) as caught:
        gl.scan(LAWS, {"k": [1, 2, 3]}, 1, 50, rng=1, method="next_reaction", progress=press,
                threads=1)  # fmt: skip
    assert caught.value.result.n_trajectories.tolist() == [50, 50, 0]


# ---- Results -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def grid() -> gl.Scan:
    points = {"kf": np.geomspace(1e-3, 1e-2, 3), "S": [100, 200]}
    return gl.scan(ENZYME, points, [0, 5, 10], 50, rng=1, histogram_bins=512)


def test_tables_have_the_axes_of_the_grid(grid):
    assert len(grid) == 6
    assert grid.mean("P").shape == (3, 2, 3)
    assert grid.std().shape == (3, 2, 3, 4)
    assert grid.quantile([0.1, 0.9], "P").shape == (2, 3, 2, 3)
    assert list(grid.axes) == ["kf", "S"]
    assert grid.axes["S"].tolist() == [100, 200]
    assert grid.parameters["S"].tolist() == [100, 200] * 3
    for j, (a, b) in enumerate(itertools.product(range(3), range(2))):
        one = grid.at(kf=grid.axes["kf"][a], S=grid.axes["S"][b])
        assert one.provenance.entropy == grid.entropy(j)
        for what in ("mean", "var", "std", "minimum", "maximum"):
            mine = getattr(grid, what)
            assert np.array_equal(mine("P")[a, b], getattr(one, what)("P"))
            assert np.array_equal(mine()[a, b], getattr(one, what)())
        assert np.array_equal(grid.quantile(0.3, "P")[a, b], one.quantile(0.3, "P"))
    assert np.allclose(grid.standard_error("P"), grid.std("P") / np.sqrt(50))
    assert not grid.means.flags.writeable


def test_sets_are_found_by_their_values(grid):
    assert grid.index(kf=0.01, S=100) == 4
    with pytest.raises(KeyError, match=r"no set has S = 150; the nearest has"):
        grid.at(S=150)
    with pytest.raises(ValueError, match=r"3 sets have these values; give kf, too"):
        grid.at(S=100)
    with pytest.raises(KeyError, match="'kr' was not varied"):
        grid.at(kr=1)
    with pytest.raises(IndexError, match="no set 6"):
        grid[6]


def test_a_scan_is_saved_and_read_back(grid, tmp_path):
    for number, scan in enumerate(
        (grid, gl.scan(LAWS, samples=TABLE, t=1, n=5, rng=2, keep="paths", stop_when="A > 7"))
    ):
        path = tmp_path / f"{number}.npz"
        scan.save(path)
        again = gl.load(path)
        assert isinstance(again, gl.Scan)
        for field in dataclasses.fields(scan):
            one, other = getattr(scan, field.name), getattr(again, field.name)
            if isinstance(one, np.ndarray):
                assert np.array_equal(one, other, equal_nan=one.dtype.kind == "f"), field.name
            else:
                assert one == other, field.name


def test_a_scan_tells_about_itself(grid):
    assert repr(grid).startswith("<Scan of 6 sets of kf, S, 50 trajectories each of S, E, ES, P")
    assert "6 sets (3 x 2) of kf, S" in grid.summary(5)
    assert "mean P" in grid._repr_html_()


def test_conditions_have_shares_and_mean_times():
    scan = gl.scan(ENZYME, {"E": [1, 120]}, [0, 10], 50, rng=1, stop_when="P >= 5")
    assert scan.hit_fraction.tolist() == [0, 1]
    assert np.isnan(scan.mean_hitting_time[0])
    assert scan.mean_hitting_time[1] == pytest.approx(scan[1].hitting_times.mean())
    other = gl.scan(ENZYME, {"E": [1, 120]}, [0, 10], 5, rng=1)
    with pytest.raises(ValueError, match="stop_when="):
        _ = other.hit_fraction
    with pytest.raises(ValueError, match="histogram_bins="):
        other.quantile(0.5, "P")


def test_tables_go_to_pandas_and_xarray(grid):
    pandas, _ = pytest.importorskip("pandas"), pytest.importorskip("xarray")
    table = grid.to_pandas()
    row = table[(table.set == 3) & (table.time == 10) & (table.species == "P")]
    assert row["mean"].item() == grid.mean("P")[1, 1, 2]
    assert row["S"].item() == 200
    labelled = grid.to_xarray()
    assert labelled["mean"].dims == ("kf", "S", "time", "species")
    picked = labelled["mean"].sel(S=200, time=10, species="P", kf=0.01)
    assert float(picked) == grid.mean("P")[2, 1, 2]
    samples = pandas.DataFrame({"kf": [0.001, 0.002], "E": [100, 90]})
    rows = gl.scan(ENZYME, samples=samples, t=1, n=4, rng=1, stop_when="P > 3").to_xarray()
    assert rows["mean"].dims == ("set", "time", "species")
    assert rows["E"].values.tolist() == [100, 90]
    assert rows["hit_fraction"].dims == ("set",)


def test_common_random_numbers_make_differences_less_noisy():
    points = {"kf": np.linspace(0.00160, 0.00172, 13)}
    apart, common = (
        np.diff(gl.scan(ENZYME, points, [0, 5], 100, rng=1, common_random_numbers=is_common)
                .mean("S")[:, -1]).std()
        for is_common in (False, True)
    )  # fmt: skip
    assert common < 0.6 * apart


def test_plots_have_labels_with_units_and_logarithmic_axes(grid):
    pytest.importorskip("matplotlib").use("Agg")
    heat = grid.plot("P", t=5)
    assert heat.get_xscale() == "log"
    assert heat.get_xlabel() == "kf (per molecule and unit of time)"
    assert heat.get_ylabel() == "S at the start (molecules)"
    curves = grid.plot("P", x="kf", y="")
    assert curves.get_ylabel() == "mean P (molecules) at t = 10"
    assert len(curves.get_lines()) == 2
    with pytest.raises(ValueError, match="'kr' was not varied"):
        grid.plot("P", x="kr")
    rows = gl.scan(LAWS, samples=TABLE, t=1, n=5, rng=2)
    assert rows.plot("A", x="n").get_xlabel() == "n"
    three = gl.scan(LAWS, {"k": [1, 2], "n": [1, 2], "u": [1, 2]}, 1, 5, rng=2)
    with pytest.raises(ValueError, match="3 names were varied"):
        three.plot("A")


# ---- Sensitivity ---------------------------------------------------------------------------------

BIRTH_DEATH = gl.models.birth_death()


def exact_indices(k: tuple[float, float], g: tuple[float, float]) -> tuple[Any, Any, float]:
    """Return first-order and total indices and the variance of k/g, both spread evenly."""
    mean, var = sum(k) / 2, (k[1] - k[0]) ** 2 / 12
    inverse = np.log(g[1] / g[0]) / (g[1] - g[0])
    square = 1 / (g[0] * g[1])  # E[1/g^2]
    spread = square - inverse**2
    total = (var + mean**2) * square - (mean * inverse) ** 2
    own = np.array([var * inverse**2, mean**2 * spread])
    return own / total, 1 - own[::-1] / total, total


def test_sobol_indices_of_birth_and_death_are_known():
    # The stationary mean is k/g. With 4 trajectories a set, a tenth of the variance is noise.
    k, g = (5.0, 20.0), (0.5, 2.0)
    first, total, variance = exact_indices(k, g)
    result = gl.sobol(
        BIRTH_DEATH, {"k": k, "g": g}, "mean(X)", [0, 20.0], 512, n_trajectories=4, level=0.9999,
        rng=1,
    )  # fmt: skip
    for found, exact in ((result.first_interval, first), (result.total_interval, total)):
        assert (found[:, 0] < exact).all()
        assert (exact < found[:, 1]).all()
        assert (found[:, 1] - found[:, 0] < 0.6).all()
    assert result.variance == pytest.approx(variance, rel=0.25)
    assert 0.05 < result.noise_share < 0.25
    assert "sampling noise" in result.summary()
    assert "<table>" in result._repr_html_()


def test_noise_of_few_trajectories_is_no_interaction():
    # A parameter without any effect, and 2 trajectories a set: the total index is 0. Power: without
    # the correction it would be the share of noise, some 30 %, and is seen to be.
    network = gl.Network.parse("species X\nparam k = 10, idle = 1\n0 -> X @ k + 0*idle\nX -> 0 @ 1")
    result = gl.sobol(
        network, {"k": (5, 20), "idle": (1, 2)}, "mean(X) at 10", [0, 10, 12], 512,
        n_trajectories=2, level=0.999, rng=2,
    )  # fmt: skip
    low, high = result.total_interval[1]
    assert low < 0 < high < 0.1
    values = result.values.mean(axis=0)
    uncorrected = 0.5 * np.mean((values[0] - values[3]) ** 2) / values[:2].var()
    assert uncorrected > 0.15 > high


def test_ranges_may_be_logarithmic_or_of_counts_and_outputs_functions():
    result = gl.sobol(
        ENZYME, {"kcat": (0.01, 1, "log"), "S": (10, 12)}, lambda scan: scan.mean("P")[:, -1],
        [0, 5], 8, n_trajectories=2, n_resamples=100, rng=1,
    )  # fmt: skip
    points = result.scan.parameters
    assert set(points["S"]) <= {10, 11, 12}
    assert 0.01 <= points["kcat"].min() < 0.1 < points["kcat"].max() <= 1
    assert result.values.shape == (2, 4, 8)
    pytest.importorskip("matplotlib").use("Agg")
    assert "share of the variance" in result.plot().get_ylabel()


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"n": 100}, ValueError, "power of two"),
        ({"n_trajectories": 3}, ValueError, "must be even"),
        ({"output": "meen(X)"}, ValueError, "not understood.*did you mean 'mean'"),
        ({"output": "mean(X) at noon"}, ValueError, "'noon' is no time"),
        ({"output": 3}, TypeError, "output must be text"),
        ({"ranges": {"k": (2, 1)}}, ValueError, "must go up"),
        ({"ranges": {"k": (0, 1, "log")}}, ValueError, "begins above 0"),
        ({"ranges": {"k": (0, 1, "lin")}}, ValueError, "ends in 'lin'"),
        ({"ranges": {"X": (0, 1.5)}}, NetworkError, "two whole numbers"),
        ({"ranges": {}}, TypeError, "ranges must be a dict"),
        ({"common_random_numbers": True}, MethodError, "takes their noise out itself"),
        ({"output": lambda scan: 1.0}, ValueError, "one number for each of"),
        ({"output": lambda scan: np.full(len(scan), np.nan)}, ValueError, "is nan in"),
        ({"output": lambda scan: np.ones(len(scan))}, ValueError, "does not vary more"),
    ],
)  # fmt: skip
def test_sensitivities_that_make_no_sense_are_refused(given, error, message):
    usual = {"ranges": {"k": (1, 2)}, "output": "mean(X)", "t": [0, 1], "n": 4, "rng": 1}
    with pytest.raises(error, match=message):
        gl.sobol(BIRTH_DEATH, **{**usual, "n_trajectories": 2, **given})


def test_estimators_are_exact_for_a_sum_without_noise():
    # Y = 3 a + b with both even on [0, 1): variances 9/12 and 1/12, no interaction.
    points = sensitivity._even_points(4096, 4, np.random.default_rng(1))
    a, b = points[:, :2], points[:, 2:]
    rows = [a, b, np.stack([b[:, 0], a[:, 1]], 1), np.stack([a[:, 0], b[:, 1]], 1)]
    values = np.array([[3 * one[:, 0] + one[:, 1] for one in rows]] * 2)
    first, total, variance = sensitivity._indices(values)
    assert first == pytest.approx([0.9, 0.1], abs=0.005)
    assert total == pytest.approx([0.9, 0.1], abs=0.005)
    assert variance == pytest.approx(10 / 12, rel=0.005)
