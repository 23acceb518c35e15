"""Networks as .net files: reading what was written gives the same propensities."""

from __future__ import annotations

import numpy as np
import pytest

import gillespy_lite as gl
from gillespy_lite.compilation import propensity_expression
from gillespy_lite.errors import FormatError
from gillespy_lite.formats.net_reading import read_net
from gillespy_lite.formats.net_writing import write_net
from gillespy_lite.models import MODELS

NETWORKS = {
    "everything that fits": """
        species A = 10*n, B = 7, C
        param n = 2, k = 0.5, K = n + 1e-3
        observe total = A + 2*B
        observe half = total/2 + t
        0 -> A @ k
        A + B -> C @ k
        2 A -> B @ k
        3 A + 2 B -> C @ 0.25*k
        C -> 0 @ K*k^2
        C -> A @ k/(K + B)
        A -> A @ half
        2 B -> 0 @ 0.5*half
        A + B => C @ k*A*B/(K + A)
        0 => C @ half*n
        C <-> B @ 1.5, 2
    """,
    "functions": """
        species A = 3, B = 4
        param k = 2, b = 3
        observe f = if(A > B and not (A == 3) or k >= 2, log(b + A), log10(b))
        observe g = min(A, B, k) + max(A, b)^2 - abs(-A) + exp(-A)*sqrt(b) + hill(A, k, 2)
        observe h = hillr(A, k, 2) + sin(A) + cos(A) + tan(0.1*A) + tanh(A) + e + pi
        A -> B @ f
        B -> A @ g
        A + B -> 0 @ h
        A -> 0 @ hill(B, 2, 3)/(1 + hillr(A, 2, 3))
    """,
    "powers": """
        species A = 30, B = 4
        param k = 2
        A => 0 @ k*A^2/100
        A => B @ A^3*k/(1 + B^2)
        A => 2 A @ A^1.5
        A + B => 0 @ 0.01*B^2*A^4/k
        A => 0 @ A/k
        A => 2 A @ A
    """,
    "no reaction": "species A = 5",
}


def random_values(network, seed):
    rng = np.random.default_rng(seed)
    values = dict(zip(network.parameter_names, network.parameter_values, strict=True))
    values |= {name: float(rng.integers(3, 40)) for name in network.state_names}
    return values | {"t": 1.7}


@pytest.mark.parametrize("text", NETWORKS.values(), ids=NETWORKS)
def test_reading_what_was_written_gives_the_same_propensities(text):
    network = gl.Network.parse(text)
    again = read_net(write_net(network))
    assert again.species_names == network.species_names
    assert again.initial_state.tolist() == network.initial_state.tolist()
    assert np.array_equal(again.stoichiometry_matrix, network.stoichiometry_matrix)
    assert set(network.observable_names) <= {*again.observable_names, *again.species_names}
    for seed in range(5):
        values = random_values(network, seed) | random_values(again, seed)
        for j in range(network.n_reactions):
            expected = propensity_expression(network, j).evaluate(values)
            found = propensity_expression(again, j).evaluate(values)
            assert found == pytest.approx(expected, rel=1e-14), str(network.reactions[j])


def test_what_was_read_is_written_the_same_from_then_on():
    for text in NETWORKS.values():
        # hill(x, K, n) and e are written out the first time.
        first = read_net(write_net(gl.Network.parse(text)))
        assert read_net(write_net(first)) == first


def test_variables_that_reactions_alone_change_are_amounts():
    network = gl.Network.parse(
        "species A = 5\nvariable X = 2.5\nparam k = 2\nA -> X @ k\nX -> A @ k"
    )
    again = read_net(network.to_net())
    assert again.variable_names == ("X",)
    assert again.initial_variables.tolist() == [2.5]


def test_stock_models_are_written_or_refused_by_name():
    n_written = 0
    for name, model in MODELS.items():
        network = model.build()
        try:
            text = write_net(network)
        except FormatError:
            continue
        n_written += 1
        again = read_net(text)
        values = random_values(network, 3) | random_values(again, 3)
        for j in range(network.n_reactions):
            expected = propensity_expression(network, j).evaluate(values)
            found = propensity_expression(again, j).evaluate(values)
            assert found == pytest.approx(expected, rel=1e-14), name
    assert n_written >= len(MODELS) // 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("species A = 5\nA -> 0 @ 1\nat t >= 2: A = 3", "it has events"),
        ("species A = 5\nA -> 0 @ 1 delay 2", "has a delay"),
        ("variable X = 5\nX' = -X", "the variable 'X' follows a rule"),
        ("species A = 5\nA => 0 @ 1 + A", "does not have its reactants as factors"),
        ("species A = 5\nA => 0 @ A^0.5", "does not have its reactants as factors"),
        ("species A = 5, n = 2\nA => 0 @ A^n", "does not have its reactants as factors"),
        ("species A = 5\nA => 0 @ 2/A", "does not have its reactants as factors"),
        ("species A = 5\n2 A => 0 @ A*A", "does not have its reactants as factors"),
        ("species A = 5\nA -> 0 @ floor(A)", "no function floor"),
        ("species Ä = 5\nÄ -> 0 @ 1", "letters other than a to z"),
        ("species A = 5\nA -> 1000000000 A @ 1", "has the coefficient 1000000000"),
        ("species ln = 5\nln -> 0 @ 1", "'ln' is a function there"),
        ("species A = 5\nparam V = 2\ncompartment V: [A]\nA -> 0 @ 1", "shown as a concentration"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(text, message):
    with pytest.raises(FormatError, match=message):
        write_net(gl.Network.parse(text))


def test_values_that_are_not_known_are_refused_by_name():
    network = gl.Network.parse("species A = 1\nparam k = 1, unset = nan\nA -> 0 @ k")
    with pytest.raises(FormatError, match="'unset' is nan, and numbers are finite there"):
        network.to_net()
