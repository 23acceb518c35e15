"""BioNetGen's .net files: what their lines mean, and what is refused."""

from __future__ import annotations

import lzma
import re
import string
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gillespy_lite as gl
from gillespy_lite.compilation import propensity_expression, rate_expression
from gillespy_lite.errors import FormatError, NetworkError
from gillespy_lite.formats.formulas import FormulaFunction, own_function, read_formula
from gillespy_lite.formats.net_reading import read_net, species_patterns
from gillespy_lite.rate_laws import TIME, Symbol

TIME_FUNCTION = {"time": FormulaFunction(0, 0, lambda: TIME)}


def net(reactions, *, species=("A() 5", "B() 7", "C() 0"), parameters=(), functions=(), groups=()):
    """Write the text of a file, lines numbered within each block."""
    blocks = {
        "parameters": ("k 3", *parameters),
        "functions": functions,
        "species": species,
        "reactions": reactions,
        "groups": groups,
    }
    lines = ["# made for a test"]
    for name, entries in blocks.items():
        lines.append(f"begin {name}")
        lines += [f"    {i} {entry}  # comment" for i, entry in enumerate(entries, start=1)]
        lines.append(f"end {name}")
    return "\n".join(lines) + "\n"


def values_of(network, **state):
    """Values of everything in a network at a state."""
    parameters = dict(zip(network.parameter_names, network.parameter_values, strict=True))
    return {**parameters, "t": 0.0, **state}


def propensities(network, **state):
    values = values_of(network, **state)
    return [propensity_expression(network, j).evaluate(values) for j in range(network.n_reactions)]


# What a line means -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reaction", "propensity", "rate"),
    [
        # The state is A = 5, B = 7, C = 2; k = 3.
        ("0 1 k", 3.0, 3.0),
        ("1 0 k", 15.0, 15.0),
        ("1,2 3 k", 105.0, 105.0),
        # What identical reactants need stands in the file: i,i at c fires at c x (x - 1).
        ("1,1 3 0.5*k", 0.5 * 3 * 5 * 4, 0.5 * 3 * 25),
        ("1,1 3 k", 3 * 5 * 4, 3 * 25),
        ("1,1,1,2,2 3 0.25*k", 0.25 * 3 * 60 * 42, 0.25 * 3 * 125 * 49),
        ("1,2 3 2.5", 2.5 * 35, 2.5 * 35),
        ("1,2 3 Sat k 2*k", 3 * 35 / (6 + 5), 3 * 35 / (6 + 5)),
        ("1 3 0.5*Sat k 4", 0.5 * 3 * 5 / (4 + 5), 0.5 * 3 * 5 / (4 + 5)),
        ("2,1 3 Sat k 4 1", 3 * 35 / ((4 + 7) * (1 + 5)), 3 * 35 / ((4 + 7) * (1 + 5))),
        ("1,2 3 f", (3 + 2 * 5) * 35, (3 + 2 * 5) * 35),
        ("2,2 3 0.5*f", 0.5 * (3 + 2 * 5) * 42, 0.5 * (3 + 2 * 5) * 49),
    ],
)
def test_a_rate_law_is_multiplied_with_the_amounts_of_its_reactants(reaction, propensity, rate):
    network = read_net(net([reaction], functions=["f() k+2*Atot"], groups=["Atot 1"]))
    values = values_of(network, A=5.0, B=7.0, C=2.0)
    assert propensity_expression(network, 0).evaluate(values) == pytest.approx(propensity)
    assert rate_expression(network, 0).evaluate(values) == pytest.approx(rate)


def test_tight_binding_uses_the_free_substrate():
    # Of 5 A and 7 B with a half-saturation of 4, x molecules of A are free:
    # x^2 - (5 - 4 - 7) x - 4*5 = 0, so x = (-6 + sqrt(36 + 80))/2.
    network = read_net(net(["1,2 3,2 MM k 4"]))
    free = (-6.0 + np.sqrt(116.0)) / 2.0
    assert propensities(network, A=5.0, B=7.0, C=0.0) == [pytest.approx(3 * 7 * free / (4 + free))]


@pytest.mark.parametrize("law", ["Hill k 2 2", "Arrhenius k 1", "FunctionProduct k k", "MM k"])
def test_other_kinds_of_laws_are_refused_by_name(law):
    with pytest.raises(FormatError, match=rf"line 13: the rate law '{law}'"):
        read_net(net([f"1,2 3 {law}"], groups=()))


def test_a_species_with_a_dollar_is_held_at_its_amount():
    network = read_net(
        net(
            ["1 2 k", "2 3 k", "1,2 3 k"],
            species=("$A() 5", "@c::$B() 7", "@c::C() 0"),
        )
    )
    change = network.stoichiometry_matrix
    assert change.tolist() == [[0, 0, 0], [0, 0, 0], [0, 1, 1]]
    names = network.species_names
    assert names == ("A", "c_B", "c_C")
    assert propensities(network, A=5.0, c_B=7.0, c_C=0.0) == [15.0, 21.0, 105.0]


def test_amounts_that_are_no_whole_numbers_become_variables():
    network = read_net(net(["1,2 3 k"], species=("A() k/2", "B() 2*k", "C() 0.25")))
    assert network.species_names == ("B",)
    assert network.variable_names == ("A", "C")
    assert network.initial_state.tolist() == [6]
    assert network.initial_variables.tolist() == [1.5, 0.25]


def test_formulas_have_the_functions_of_bionetgen():
    cases = {
        "2^3^2": 512.0,
        "-2^2": -4.0,
        "10^-6": 1e-6,
        "ln(_e)+log10(100)+log2(8)": 6.0,
        "if(1>2,5,if(2>=2&&!(1==2),6,7))": 6.0,
        "min(3,1,2)+max(3,1,2)+sum(1,2,3)+avg(1,2,3)": 12.0,
        "rint(2.4)+abs(-3)+sqrt(16)+exp(0)": 10.0,
        "cos(_pi)+sin(0)+tan(0)+sinh(0)+cosh(0)+tanh(0)": 0.0,
        "1.5e+1/.5-k": 27.0,
        "(1<2)+(2<=2)+(3>2)+(2!=2)": 3.0,
        "later*2": 10.0,
    }
    entries = [f"p{i} {text}" for i, text in enumerate(cases)]
    network = read_net(net(["1 2 k"], parameters=(*entries, "later 5")))
    values = dict(zip(network.parameter_names, network.parameter_values, strict=True))
    for i, expected in enumerate(cases.values()):
        assert values[f"p{i}"] == pytest.approx(expected), entries[i]


def test_functions_may_use_groups_time_and_each_other_in_any_order():
    network = read_net(
        net(
            ["0 1 f"],
            functions=["f() g()+k", "g() 2*time()+both", "twice(x) x+x", "h() twice(twice(g))"],
            groups=["both 1,3*2"],
        )
    )
    state = values_of(network, A=5.0, B=7.0, C=0.0) | {"t": 10.0}
    assert propensity_expression(network, 0).evaluate(state) == 3 + 20 + 26
    definition = {one.name: one.expression for one in network.observables}["h"]
    assert network.expanded(definition).evaluate(state) == 4 * 46


def test_a_function_of_molecules_is_listed_but_not_called():
    network = read_net(net(["1 2 k"], functions=["local(x) k*Atot(x)"], groups=["Atot 1"]))
    assert network.observable_names == ("Atot",)


def test_names_are_readable_and_patterns_can_be_looked_up():
    long = ".".join(f"Receptor(a!{i},b~P)" for i in range(9))
    text = net(
        ["1 2 k"],
        species=("A(b~P,c) 5", f"{long} 7", "@c::B() 1", "A(b~P).c 1", "Group() 0"),
        groups=["Group 1,5", "t 3", "B 3"],
    )
    network = read_net(text)
    # The fourth would have the name of the first, the fifth that of a group.
    assert network.species_names == ("A_b_P_c", "s2", "c_B", "s4", "s5")
    # t is the time, so the group is t_.
    assert network.observable_names == ("Group", "t_", "B")
    patterns = species_patterns(text)
    assert patterns["s2"] == long
    assert patterns["c_B"] == "@c::B()"
    assert list(patterns) == list(network.species_names)


def test_a_group_that_is_the_species_of_its_name_is_that_species():
    network = read_net(net(["1 2 k"], groups=["A 1", "B 1"]))
    assert network.species_names == ("A", "s2", "C")
    assert network.observable_names == ("B",)


def test_a_parameter_and_a_group_may_share_a_name_where_it_is_clear_which_is_meant():
    network = read_net(
        net(
            ["1 2 total"],
            parameters=["total 5"],
            species=("A() total", "B() 0"),
            groups=["total 1,2"],
        )
    )
    assert network.initial_state.tolist() == [5, 0]
    assert network.parameter_names == ("k", "total_")
    assert propensities(network, A=2.0, B=0.0) == [10.0]
    with pytest.raises(FormatError, match="'total' is both a parameter and a group"):
        read_net(
            net(["0 1 f"], parameters=["total 5"], functions=["f() total"], groups=["total 1"])
        )


def test_other_blocks_and_settings_are_passed_over():
    text = net(["1 2 k"]).replace(
        "begin species",
        'substanceUnits("Number");\nbegin molecule types\n  1 A()\nend molecule types\n'
        "begin reaction rules\n  R1: A() -> \\\n  B() k # rule\nend reaction rules\nbegin species",
    )
    assert read_net(text).n_reactions == 1


def test_lines_may_be_without_index_or_continued():
    text = (
        "begin parameters\n a 2\n\tb\t3*a\nend parameters\r\nbegin species\n1 A() b\nend species\n"
        "begin reactions\n1 1 0 \\\n  b\nend reactions\nbegin groups\nG 2*1\nend groups\n"
    )
    network = read_net(text)
    assert network.initial_state.tolist() == [6]
    assert network.observables[0].expression.evaluate({"A": 4.0}) == 8.0


def test_a_network_without_reactions_or_parameters_is_read():
    network = read_net("begin species\n 1 A() 3\nend species\n")
    assert network.initial_state.tolist() == [3]


# Files -------------------------------------------------------------------------------------------


def test_files_are_read_also_when_packed(tmp_path):
    text = net(["1 2 k"])
    plain, packed = tmp_path / "model.net", tmp_path / "model.net.xz"
    plain.write_text(text, "utf-8")
    packed.write_bytes(lzma.compress(text.encode()))
    expected = read_net(text)
    assert read_net(plain) == read_net(str(packed)) == expected
    assert gl.Network.from_net(plain) == gl.Network.read(packed) == expected
    with pytest.raises(FileNotFoundError):
        read_net(tmp_path / "none.net")


def test_what_is_read_can_be_simulated():
    network = read_net(net(["1 2 k", "2 1 k"], groups=["both 1,2"]))
    path = gl.simulate(network, [0.0, 1.0, 2.0], rng=1)
    assert path["both"].tolist() == [12.0, 12.0, 12.0]


def in_folder(tmp_path, data):
    path = tmp_path / "hostile.net"
    path.write_bytes(data)
    return path


GOOD = net(["1 2 k"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n", "line 1: no block of species"),
        (GOOD[: GOOD.index("end reactions")], "line 12: the block reactions has no end"),
        (GOOD.replace("end species", "end spices"), "'begin reactions' stands inside the block"),
        (GOOD.replace("1 A() 5", "1 A() __import__('os').system('ls')"), "there is no function"),
        (GOOD.replace("1 k 3", "1 __import__('os') 3"), r"line 3: the name .* is not a name"),
        (GOOD.replace("1 k 3", "1 k 9**9**9**9"), "line 3: "),
        (GOOD.replace("1 k 3", "1 k (0).__class__"), r"'\.' has no meaning"),
        (GOOD.replace("1 k 3", "1 k " + "(" * 50_000), "nest more than 100"),
        (GOOD.replace("1 k 3", "1 k " + "-" * 50_000 + "1"), "nest more than 100"),
        (GOOD.replace("1 k 3", "1 k " + "1+" * 150_000 + "1"), "too long"),
        (GOOD.replace("1 k 3", "1 k " + "x" * 100_000), "not declared"),
        (GOOD.replace("1 k 3", "1 " + "x" * 100_000 + " 3"), "at most 200"),
        (GOOD.replace("1 k 3", "1 k m\n2 m k"), "circular"),
        (GOOD.replace("1 k 3", "1 k k"), "circular"),
        (GOOD.replace("1 k 3", "1 k 3\n2 k 4"), "line 4: the name 'k' is declared at line 3"),
        (GOOD.replace("1 k 3", "1 k unknown+1"), "line 3: the name 'unknown' is not declared"),
        (GOOD.replace("1 k 3", "1 k log(2)"), "no function 'log'; did you mean"),
        (GOOD.replace("1 k 3", "1 k 1e999"), "too large"),
        (GOOD.replace("1 k 3", "1 k 1/0"), "line 3: .*finite"),
        (GOOD.replace("1 k 3", "1 k"), "line 3: .* is not a parameter"),
        (GOOD.replace("1 1 2 k", "1 1 4 k"), "line 13: '4' is not the number of a species"),
        (GOOD.replace("1 1 2 k", "1 1 -1 k"), "line 13: '-1' is not the number of a species"),
        (GOOD.replace("1 1 2 k", "1 1 1_0 k"), "line 13: '1_0' is not the number of a species"),
        (GOOD.replace("1 1 2 k", "1 1 " + "9" * 100_000 + " k"), "is not the number"),
        (GOOD.replace("1 1 2 k", "1 1 2"), "line 13: .* is not a reaction"),
        (GOOD.replace("1 1 2 k", "1 1 2 -k"), ""),
        (GOOD.replace("2 B() 7", "7 B() 7"), "line 9: .* is not a species: 2, pattern, amount"),
        (GOOD.replace("2 B() 7", "2 B() C"), "line 9: the name 'C' is not declared"),
        (GOOD + 'setParameter("k", 5)\n', "stands outside all blocks"),
        (GOOD.replace("begin groups", "begin groups\n1 G 2**3"), "line 16: .*weight"),
        (GOOD.replace("begin groups", "begin groups\n1 G 1,,2"), "line 16: "),
        (GOOD.replace("begin groups", "begin groups\n1 G nan*2"), "line 16: .*weight"),
        (GOOD.replace("begin groups", "begin groups\n1 G " + "1," * 40_000 + "2"), "too long"),
        (GOOD.replace("1 1 2 k", "1 " + "1," * 400_000 + "2 2 k"), "400,001 molecules react"),
        (GOOD.replace("1 1 2 k", "1 1,1 2 1.5e308"), "too large for a double"),
    ],
)
def test_what_is_no_network_is_refused_with_its_line_at_once(text, message):
    start = time.perf_counter()
    if not message:
        # A constant below 0 is found when its value is known.
        with pytest.raises(NetworkError):
            gl.simulate(read_net(text), 1.0, rng=1)
        return
    with pytest.raises(FormatError, match=message):
        read_net(text)
    assert time.perf_counter() - start < 2.0


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x00\x01\x02", "line 1: this is binary"),
        (GOOD.encode("utf-16"), "no UTF-8 text|binary"),
        (GOOD.replace("comment", "\xe9").encode("latin-1"), "line 3: this is no UTF-8 text"),
        (lzma.compress(GOOD.encode())[:-20], "cut off|cannot be unpacked"),
        (b"\xfd7zXZ\x00" + b"garbage" * 100, "cannot be unpacked"),
        (lzma.compress(b"# " + b"a" * 70 * 2**20, preset=0), "more than 64 MB"),
        (b"#" * (65 * 2**20), "more than 64 MB"),
        (b"begin species\n1 A() " + b"1" * 2_000_000 + b"\nend species\n", "line 2: a line of"),
        (b"begin species\n" + b"\\\n1" * 2_000_000, "line"),
    ],
)
def test_damaged_and_huge_files_are_refused_at_once(tmp_path, data, message):
    path = in_folder(tmp_path, data)
    start = time.perf_counter()
    with pytest.raises(FormatError, match=message):
        read_net(path)
    assert time.perf_counter() - start < 5.0


def test_functions_that_call_one_another_neither_loop_nor_explode():
    chain = ["f0(x) x", *(f"f{i}(x) f{i - 1}(f{i - 1}(x))" for i in range(1, 40))]
    assert read_net(net(["0 1 g"], functions=[*chain, "g() f39(k)"])).n_reactions == 1
    doubling = ["f0(x) x+x", *(f"f{i}(x) f{i - 1}(x)+f{i - 1}(x)" for i in range(1, 40))]
    with pytest.raises(FormatError, match="more than 100,000"):
        read_net(net(["0 1 g"], functions=[*doubling, "g() f39(k)"]))
    with pytest.raises(FormatError, match="calls itself"):
        read_net(net(["0 1 g"], functions=["f(x) f2(x)", "f2(x) f(x)", "g() f(k)"]))


@given(
    place=st.integers(0, len(GOOD)),
    length=st.integers(0, 30),
    put_in=st.text(string.printable + "é∅\x00", max_size=30),
)
@settings(max_examples=300, deadline=None)
def test_any_damage_gives_a_network_or_a_format_error(place, length, put_in):
    text = GOOD[:place] + put_in + GOOD[place + length :]
    if "\n" not in text and "\r" not in text:
        text += "\n"
    try:
        network = read_net(text)
    except FormatError:
        return
    assert network.n_species + network.n_variables > 0


@given(
    st.recursive(
        st.sampled_from(["k", "2", "Atot", "0.5", "time()"]),
        lambda part: st.one_of(
            st.tuples(part, st.sampled_from("+-*/^"), part).map(lambda p: f"({p[0]}{p[1]}{p[2]})"),
            part.map(lambda p: f"-{p}"),
            part.map(lambda p: f"exp({p})"),
            st.tuples(part, part, part).map(lambda p: f"if({p[0]}>{p[1]},{p[1]},{p[2]})"),
        ),
        max_leaves=12,
    )
)
@settings(max_examples=200, deadline=None)
def test_formulas_have_the_value_that_python_gives_them(formula):
    functions = {"exp": own_function("exp"), "if": own_function("if"), **TIME_FUNCTION}
    tree = read_formula(formula, Symbol, functions, pytest.fail)
    found = tree.evaluate({"k": 3.0, "Atot": 5.0, "t": 2.0})
    names = {
        "k": np.float64(3.0),
        "Atot": np.float64(5.0),
        "time": lambda: np.float64(2.0),
        "exp": np.exp,
        "choice": lambda condition, a, b: a if condition else b,
    }
    python = formula.replace("^", "**").replace("if(", "choice(")
    # NumPy's numbers divide by zero as ours do.
    python = re.sub(r"[0-9.]+", r"number(\g<0>)", python)
    names["number"] = np.float64
    with np.errstate(all="ignore"):
        expected = eval(python, names)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("formula", ["if((0>0),Obs,0)", "2*Obs", "time()"])
def test_a_parameter_that_uses_what_changes_is_refused_with_its_line(formula):
    text = (
        f"begin parameters\n 1 k 1\n 2 x {formula}\nend parameters\nbegin species\n 1 A() 10\n"
        "end species\nbegin reactions\n 1 1 0 k\nend reactions\n"
        "begin groups\n 1 Obs 1\nend groups\n"
    )
    with pytest.raises(FormatError, match=r"line 3: the parameter 'x' uses .* write it as a func"):
        gl.Network.from_net(text)


def test_a_group_that_names_no_species_is_refused_with_its_line():
    text = (
        "begin species\n 1 A() 10\nend species\nbegin reactions\nend reactions\n"
        "begin groups\n 1 Obs 0\nend groups\n"
    )
    with pytest.raises(FormatError, match=r"line 7: '0' is not the number of a species"):
        gl.Network.from_net(text)
