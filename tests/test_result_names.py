"""What results give for each name: concentrations, parameters, rates of reactions."""

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import gillespy_lite as gl
from gillespy_lite.kernels import rate_equations
from gillespy_lite.results.columns import FADE

TIMES = [0.0, 0.5, 1.0, 2.0]
NETWORK = gl.Network.parse(
    """
    species A = 30, B = 2, C = 4
    param k = 0.5, V = 2, W = 8
    observe total = A + B
    observe inner = W/2
    compartment V: A, [B], [total]
    compartment inner: [C]
    fwd: A -> B @ k
    pair: 2 B -> C @ 0.1
    back: 3 C => A @ 4/C unlimited
    total: A => 0 @ k*total/V
    """
)


def paths(network=NETWORK, **options):
    return gl.ensemble(network, TIMES, 6, rng=3, **options)


def solved(network=NETWORK, **options):
    # Soon after, C runs out, where an unlimited law is infinite.
    return gl.simulate(network, TIMES[:3], method="ode", **options)


@pytest.mark.parametrize("result", [paths(), paths().trajectory(2), solved()])
def test_a_concentration_is_the_amount_divided_by_the_size(result):
    recorded = dict(zip(result.species, np.moveaxis(result.counts, -1, 0), strict=True))
    assert_array_equal(result["A"], recorded["A"])
    assert_array_equal(result["B"], recorded["B"] / 2.0)
    assert_array_equal(result["C"], recorded["C"] / 4.0)
    assert_array_equal(result["total"], (recorded["A"] + recorded["B"]) / 2.0)
    for name in ("A", "B", "C"):
        assert_array_equal(result.amount(name), recorded[name])
    assert_array_equal(result.amount("total"), recorded["A"] + recorded["B"])
    assert_array_equal(result.concentration("A"), recorded["A"] / 2.0)
    assert_array_equal(result.concentration("B"), result["B"])


def test_all_forms_of_a_result_show_the_same_concentration():
    ens = paths()
    assert ens.amount("B").dtype == np.int64
    assert_array_equal(ens.at(1.0)[:, 1], ens["B"][:, 2])
    assert_array_equal(ens.at(1.0, "B"), ens["B"][:, 2])
    assert_array_equal(ens.final("B"), ens["B"][:, -1])
    assert_allclose(ens.mean()[:, 1], ens["B"].mean(axis=0))
    assert_allclose(ens.mean("B"), ens["B"].mean(axis=0))
    assert_array_equal(ens.maximum("B"), ens["B"].max(axis=0))
    table = ens.to_pandas()
    assert_array_equal(table[table["species"] == "B"]["count"], ens["B"].ravel())
    assert_array_equal(ens.to_xarray().sel(species="B"), ens["B"])
    path = ens.trajectory(1)
    assert_array_equal(path.to_pandas(wide=True)["B"], path["B"])
    assert f"{path['B'][-1]:g}" in path.summary()


def test_parameters_are_constant_paths_and_new_values_reach_them():
    ens = paths()
    assert_array_equal(ens["k"], np.full((6, 4), 0.5))
    assert_array_equal(ens.trajectory(0)[NETWORK.parameters[1]], np.full(4, 2.0))
    changed = replace(ens, network=NETWORK.with_parameters(V=4.0))
    assert_array_equal(changed["V"], np.full((6, 4), 4.0))
    assert_array_equal(changed["B"], ens.amount("B") / 4.0)
    assert "k" in ens
    assert "kk" not in ens


@pytest.mark.parametrize("result", [paths(), paths().trajectory(2)])
def test_a_reaction_gives_its_propensity(result):
    a, b, c = (result.amount(name) for name in "ABC")
    assert_array_equal(result["fwd"], 0.5 * a)
    assert_allclose(result["pair"], 0.1 * b * (b - 1) / 2, rtol=1e-15)
    # Fewer than three C: nothing happens, whatever the law says; for none of them it says inf.
    with np.errstate(divide="ignore"):
        assert_allclose(result["back"], np.where(c >= 3, 4.0 / c, 0.0), rtol=1e-15)
    assert (c < 3).any()
    assert (c >= 3).any()


def test_a_reaction_of_the_rate_equations_gives_the_rate_there():
    result = solved()
    a, b, c = (result.amount(name) for name in "ABC")
    assert_array_equal(result["fwd"], 0.5 * a)
    assert_allclose(result["pair"], 0.1 * b**2 / 2, rtol=1e-15)
    assert_allclose(result["back"], 4.0 / c, rtol=1e-15)


def test_an_observable_goes_before_a_reaction_of_its_name():
    result = paths().trajectory(0)
    assert_array_equal(result.amount("total"), result["A"] + result.amount("B"))


def test_a_limited_law_fades_out_in_results_as_it_does_in_the_rate_equations():
    assert FADE == rate_equations.FADE
    network = gl.Network.parse(
        "species A = 1, B = 1\nout: A + B => 0 @ 3\nfree: A => 0 @ 3 unlimited"
    )
    result = replace(
        gl.simulate(network, [0.0, 1.0, 2.0, 3.0], method="ode"),
        counts=np.array([[1.0, 1.0], [0.25e-6, 1.0], [1.0, -1e-9], [1.0, 0.5e-6]]),
    )
    assert_allclose(result["out"], [3.0, 0.75, 0.0, 1.5])
    assert_array_equal(result["free"], [3.0] * 4)


def test_what_is_missing_is_named_and_what_to_record():
    result = paths(outputs=["A"])
    with pytest.raises(KeyError, match=r"reaction 'pair' needs 'B', .* add 'B' to outputs="):
        result["pair"]
    with pytest.raises(KeyError, match=r"reaction 'back' needs 'C'"):
        result["back"]
    with pytest.raises(KeyError, match=r"'total' needs 'B', .* add 'total' or 'B' to outputs="):
        result["total"]
    assert "fwd" in result
    assert "pair" not in result
    with pytest.raises(KeyError, match=r"'k' is in no compartment, .*in one: A, B, total, C"):
        result.concentration("k")
    with pytest.raises(KeyError, match=r"did you mean 'fwd'\?"):
        result["fwdd"]
    plain = gl.simulate(gl.Network.parse("species A = 3\nA -> 0 @ 1"), 1.0, rng=1)
    with pytest.raises(KeyError, match="the network has none"):
        plain.concentration("A")
    with pytest.raises(KeyError, match="there is no species"):
        plain.concentration("B")


def test_a_reserved_word_of_an_imported_model_finds_the_name_it_was_stored_under():
    network = gl.Network.parse("species t_ = 5, and_ = 1, and__ = 2\nt_ -> and_ @ 1")
    path = gl.simulate(network, [0.0, 1.0], rng=1)
    assert_array_equal(path["t"], path["t_"])
    # Where and_ was taken by another name, `and` became and__.
    assert_array_equal(path["and"], path["and__"])
    assert "t" in path
    assert "or" not in path
    stats = gl.ensemble(network, [0.0, 1.0], 3, rng=1, statistics=True)
    assert_array_equal(stats.mean("t"), stats.mean("t_"))


GROWING = gl.Network.parse(
    """
    species A = 30
    variable V = 2, U = 5
    V' = 0.5
    U' = 0
    observe dense = A/V
    compartment V: [A]
    decay: A => 0 @ 0.1*A/V + 0*U
    """
)


def recorded_beside_observables(**columns):
    """A sampled path of GROWING with its variables among the observables."""
    base = gl.simulate(GROWING, [0.0, 1.0, 2.0], method="ode")
    return replace(
        base,
        counts=np.array([[30], [20], [10]]),
        species=("A",),
        values=np.array(list(columns.values())).reshape(len(columns), 3).T,
        observables=tuple(columns),
    )


def test_a_variable_is_found_among_the_observables_of_a_sampled_path():
    path = recorded_beside_observables(V=[2.0, 2.5, 4.0])
    assert_array_equal(path["V"], [2.0, 2.5, 4.0])
    assert_array_equal(path["A"], [15.0, 8.0, 2.5])
    assert_array_equal(path["dense"], [15.0, 8.0, 2.5])
    assert_allclose(path["decay"], [1.5, 0.8, 0.25])
    assert_array_equal(path.final(), [2.5, 4.0])
    # U was not recorded, but nothing changes it.
    assert_array_equal(path["U"], [5.0] * 3)


def test_a_concentration_without_its_size_says_what_to_record():
    path = recorded_beside_observables()
    assert_array_equal(path.amount("A"), [30, 20, 10])
    with pytest.raises(KeyError, match=r"concentration of 'A' needs 'V', .* add 'V' to outputs="):
        path["A"]
    with pytest.raises(KeyError, match=r"'dense' needs 'V'"):
        path["dense"]
    with pytest.raises(KeyError, match="variable 'V' was not recorded"):
        path["V"]


def test_a_size_of_zero_gives_infinite_concentrations_and_no_warning():
    path = recorded_beside_observables(V=[0.0, 2.5, 4.0])
    assert_array_equal(path["A"], [math.inf, 8.0, 2.5])


def test_statistics_of_concentrations_are_those_of_the_paths():
    ens, stats = paths(), paths(statistics=True)
    for which in ("mean", "std", "minimum", "maximum"):
        assert_allclose(getattr(stats, which)(), getattr(ens, which)(), rtol=1e-13, atol=1e-14)
        assert_allclose(
            getattr(stats, which)("B"), getattr(ens, which)("B"), rtol=1e-13, atol=1e-14
        )
    assert_allclose(stats.cov(1.0), ens.cov(1.0), rtol=1e-12, atol=1e-13)
    assert_allclose(stats.cov(1.0, ["C", "B"]), ens.cov(1.0, ["C", "B"]), rtol=1e-12, atol=1e-13)
    assert_allclose(stats.quantile(0.3), ens.quantile(0.3))
    edges, found = stats.histogram("B", 1.0)
    for low, high, count in zip(edges, edges[1:], found, strict=False):
        assert count == ((ens["B"][:, 2] >= low) & (ens["B"][:, 2] < high)).sum()
    assert found.sum() == 6
    for name in ("A", "B", "C"):
        mean, std = stats.amount(name)
        assert_allclose(mean, ens.amount(name).mean(axis=0))
        assert_allclose(std, ens.amount(name).std(axis=0, ddof=1), atol=1e-13)
        mean, std = stats.concentration(name)
        assert_allclose(mean, ens.concentration(name).mean(axis=0))
        assert_allclose(std, ens.concentration(name).std(axis=0, ddof=1), atol=1e-13)


def test_statistics_of_a_concentration_in_a_changing_volume_are_refused():
    stats = replace(paths(statistics=True), network=GROWING)
    with pytest.raises(ValueError, match=r"'A' is a concentration in 'V', which may change"):
        stats.mean("A")
    with pytest.raises(ValueError, match="which may change"):
        stats.cov(1.0, ["A"])
    # Side by side with others it is nan, which costs the others nothing.
    assert np.isnan(stats.mean()[:, 0]).all()
    assert np.isfinite(stats.mean()[:, 1]).all()
    assert stats.amount("A")[0][0] == 30.0
    with pytest.raises(KeyError, match="'k' is a parameter"):
        paths(statistics=True).mean("k")


@pytest.mark.parametrize("result", [paths(), solved(), paths(statistics=True)])
def test_a_saved_result_shows_the_same_names(result, tmp_path):
    result.save(tmp_path / "result.npz")
    loaded = gl.load(tmp_path / "result.npz")
    assert loaded.network == NETWORK
    assert loaded.network.compartments == NETWORK.compartments
    if hasattr(result, "counts"):
        for name in ("A", "B", "C", "k", "fwd", "back", "total"):
            assert_array_equal(loaded[name], result[name])
    else:
        assert_array_equal(loaded.mean(), result.mean())
