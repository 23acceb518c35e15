"""Networks from Antimony, and to it."""

import time

import numpy as np
import pytest

from gillespy_lite import Network, models, simulate
from gillespy_lite.errors import FormatError

pytest.importorskip("antimony", reason="the extra antimony is not installed")

DECAY = "A -> B; k*A\nk = 0.5\nA = 10\n"
STOCK = sorted(models.MODELS)


def test_a_reaction_is_read_as_it_stands():
    network = Network.from_antimony(DECAY)
    assert network == Network.parse("species A = 10, B = 0\nparam k = 0.5\n_J0: A -> B @ k")


def test_a_compartment_that_nobody_named_is_left_out():
    network = Network.from_antimony(DECAY)
    assert network.compartments == ()
    assert network.parameter_names == ("k",)
    named = Network.from_antimony("compartment v = 2; species A in v; " + DECAY)
    assert named.compartments[0].as_concentrations == ("A",)


def test_a_reversible_law_is_split_and_an_irreversible_one_stays():
    network = Network.from_antimony("R: A -> B; k*A - h*B\nk = 0.5; h = 0.1\nA = 10; B = 0\n")
    assert [one.name for one in network.reactions] == ["R", "R_reverse"]
    network = Network.from_antimony("R: A => ; k*(200 - A)\nk = 0.5\nA = 10\n")
    assert [one.name for one in network.reactions] == ["R"]


def test_events_rules_and_functions_are_read():
    network = Network.from_antimony(
        "function f(x)\n  2*x\nend\nmodel m()\n  A -> ; f(k)*A\n  k = 0.5; A = 10\n"
        "  y' = -y; y = 1\n"
        "  z := A + y\n  at 2 after A < 4, priority = 3, t0 = false, persistent = false: A = 10\n"
        "end\n"
    )
    (event,) = network.events
    assert (
        str(event)
        == "_E0: when A < 4, after 2, priority 3, not persistent, values at trigger: A = 10"
    )
    assert str(network.reactions[0].rate) == "2*k"
    assert [one.name for one in network.observables] == ["z"]


def test_modules_are_flattened():
    network = Network.from_antimony(
        "model part()\n  A -> ; k*A\n  A = 5; k = 1\nend\n"
        "model whole()\n  a: part(); b: part();\nend\n"
    )
    assert network.species_names == ("a_A", "b_A")


@pytest.mark.parametrize("name", STOCK)
def test_stock_models_give_the_same_paths_after_a_round_trip(name):
    network = models.MODELS[name].build()
    back = Network.from_antimony(network.to_antimony())
    # Words of Antimony get an underscore appended by libantimony: DNA is DNA_.
    assert [name.rstrip("_") for name in back.state_names] == list(network.state_names)
    times = np.linspace(0.0, 1.0, 11)
    ours, theirs = (simulate(one, times, rng=8, method="direct") for one in (network, back))
    assert np.array_equal(ours.counts, theirs.counts)


def test_numbers_of_17_digits_survive_a_library_that_writes_15():
    network = Network.parse(
        "species A = 9\nparam k = 0.30000000000000004\nR: A -> 0 @ k*1.0000000000000002e-7"
    )
    back = Network.from_antimony(network.to_antimony())
    assert back.parameter_values.tolist() == [0.30000000000000004]
    assert back.reactions[0].rate.evaluate({"k": 1.0}) == 1.0000000000000002e-7


def test_a_model_with_events_and_volumes_comes_back():
    network = Network.parse(
        "species A = 50, B = 3\nparam V = 2, k = 0.3\nvariable X = 1\nobserve total = A + B\n"
        "compartment V: [A], B\nR: A -> B @ k\nX' = -k*X + total/100\n"
        "one: when B > 20, after 0.5, priority 2, initially true, values at trigger: A = 50\n"
        "two: at t >= 1.5: X = 0, B = B - 1"
    )
    back = Network.from_antimony(network.to_antimony())
    assert back.events == network.events
    assert back.reactions == network.reactions
    assert back.species == network.species
    assert back.compartments[0].as_concentrations == ("A",)


# ---- What is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        'import "{}"',
        'IMPORT "{}"',
        'import/* */"{}"',
        "import\t'{}'",
        'A = 1; import "{}"',
        'model m()\nimport "{}"\nend',
        'A is "x"; import "{}"',
        '/* " */ import "{}"',
        '// a comment\nimport "{}"',
    ],
)
def test_imports_are_refused_before_the_library_sees_them(tmp_path, line):
    other = tmp_path / "other.ant"
    other.write_text("model other()\n  A -> B; k\n  k = 1\nend\n")
    with pytest.raises(FormatError, match="imports a file"):
        Network.from_antimony(line.format(other) + "\n" + DECAY)


def test_the_word_import_is_free_in_comments_and_display_names():
    text = DECAY + '// import "x"\n# import "x"\n/* import "x" */\nA is "glucose import"\n'
    assert Network.from_antimony(text) == Network.from_antimony(DECAY)


HOSTILE = {
    "brackets": "A -> B; " + "(" * 30_000 + "k" + ")" * 30_000 + "\nk = 1\n",
    "functions": "A -> B; " + "sin(" * 30_000 + "k" + ")" * 30_000 + "\nk = 1\n",
    "powers": "A -> B; k" + "^k" * 30_000 + "\nk = 1\n",
    "nots": "A := " + "!" * 30_000 + "1\n",
    "a long sum": "A -> B; k" + " + k" * 30_000 + "\nk = 1\n",
    "a tower of modules": "model a0()\nA -> B; k\nk = 1\nend\n"
    + "".join(f"model a{i}()\nx: a{i - 1}(); y: a{i - 1}();\nend\n" for i in range(1, 40)),
    "a module in itself": "model a()\nx: a();\nend\n",
    "a long name": "A -> " + "B" * 50_000 + "; 1\n",
    "100 megabytes": "A" * 100_000_000 + "\n",
    "an open string": 'A = 1\nA is "x\n',
    "an open comment": "A = 1\n/* x\n",
    "attribute access": "A -> B; k*A.__class__\nk = 1\n",
    "code": "A -> B; __import__('os').system('x')\n",
    "no text": "\n",
    "binary": "A\0B\n",
    "half a character": "A = 1 \ud800\n",
    "SBML": '<?xml version="1.0"?>\n<sbml/>\n',
    "damaged": "A -> B; k*\n",
    "many statements": "A = 1; " * 20_000,
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_texts_are_refused_quickly(name):
    start = time.perf_counter()
    with pytest.raises(FormatError) as caught:
        Network.from_antimony(HOSTILE[name])
    assert time.perf_counter() - start < 5.0  # a second on an idle machine
    assert len(str(caught.value)) < 1_500


def test_an_error_names_the_line():
    with pytest.raises(FormatError, match="line 3"):
        Network.from_antimony("A -> B; k*A\nk = 1\nA = (2\n")


def test_nothing_of_an_earlier_text_is_left():
    with pytest.raises(FormatError):
        Network.from_antimony("model a()\n A -> B; k\n k = 1\nend\nmodel b()\n x: nosuch();\nend\n")
    assert Network.from_antimony(DECAY).species_names == ("A", "B")
    assert Network.from_antimony("C -> D; k*C\nk = 1\nC = 5\n").species_names == ("C", "D")


def test_a_path_is_read_and_one_that_is_none_is_said_to_be_none(tmp_path):
    path = tmp_path / "model.ant"
    path.write_text(DECAY)
    assert Network.from_antimony(path) == Network.from_antimony(str(path))
    assert Network.read(path) == Network.from_antimony(DECAY)
    with pytest.raises(FormatError, match="no model could be read"):
        Network.from_antimony(tmp_path / "none.ant")


def test_what_antimony_could_not_read_back_is_not_written():
    network = Network.parse("species after = 10\nafter -> 0 @ 1")
    with pytest.raises(FormatError, match="a name may be one of its words"):
        network.to_antimony()
