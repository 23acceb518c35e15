"""The scoring of the public suites, on tables made for it."""

from __future__ import annotations

import numpy as np
import pytest

from . import dsmts
from .cases import (
    CaseError,
    SbmlCase,
    net_cases,
    parse_settings,
    parse_table,
    semantic_cases,
    stochastic_cases,
)
from .dsmts import out_of_bounds
from .outcomes import FAILED, PASSED, REFUSED, Outcome, left_out_on_purpose
from .report import put_section, section
from .semantic import excess_of

STOCHASTIC = (
    "start:0\nduration : 50\nsteps:50\nvariables: X,  Y\namount:X , Y\nconcentration:\n"
    "absolute: \nrelative:\noutput: X-mean,X-sd\nmeanRange: (-3, 3)\nsdRange:(-5 ,5)\n"
)


def test_settings_are_read_whatever_their_spacing():
    settings = parse_settings(
        "\ufeff".strip("\ufeff") + "  start:0\r\nduration: 1.0e1 \r\nsteps :  5\n\n"
        "Variables: S1,S2 ,\n  S3 p1\namount: S1\nconcentration : S2,S3\n"
        "absolute:1.000000e-009\nrelative: 0.0001\n"
    )
    assert settings.times.tolist() == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    assert settings.variables == ("S1", "S2", "S3", "p1")
    assert [settings.unit_of(name) for name in settings.variables] == [
        "amount",
        "concentration",
        "concentration",
        "",
    ]
    assert settings.absolute == 1e-9
    assert parse_settings(STOCHASTIC).output == ("X-mean", "X-sd")
    assert parse_settings(STOCHASTIC).sd_range == (-5.0, 5.0)


def test_settings_without_a_duration_are_refused():
    with pytest.raises(CaseError, match="duration"):
        parse_settings("start: 0\nsteps: 5\n")


@pytest.mark.parametrize(
    "text", ["Time, X\n0, 1\n1, INF\n2,-Inf\n3,nan\n\n", "#  t  X\n0 1\n 1 inf\n2 -INF\n3 NaN\n"]
)
def test_tables_are_read_with_commas_or_spaces(text):
    table = parse_table(text)
    assert list(table) == ["time", "X"]
    assert table["time"].tolist() == [0.0, 1.0, 2.0, 3.0]
    np.testing.assert_array_equal(table["X"], [1.0, np.inf, -np.inf, np.nan])


def test_a_table_with_a_short_row_is_refused():
    with pytest.raises(CaseError):
        parse_table("time,X\n0,1\n1\n")


def test_a_point_is_out_beyond_absolute_plus_relative():
    expected = np.array([100.0, 100.0, 0.0, np.nan, np.inf, -np.inf, np.inf, 1.0, 0.0])
    found = np.array([100.019, 100.021, 0.011, np.nan, np.inf, -np.inf, 5.0, np.nan, 0.0])
    out = excess_of(expected, found, 0.01, 1e-4) > 1.0
    assert out.tolist() == [False, True, True, False, False, False, True, True, False]


def test_scores_are_those_of_the_suite():
    settings = parse_settings(STOCHASTIC)
    # Two runs, at 4 and 6: mean 5, standard deviation sqrt(2).
    paths = np.array([[4.0], [6.0]])
    for mean, is_out in ((5.0, False), (8.0, True)):
        out, score = out_of_bounds(paths, np.array([mean]), np.array([1.0]), "mean", settings)
        assert out[0] == is_out
        assert score[0] == pytest.approx(np.sqrt(2.0) * (5.0 - mean))
    _, score = out_of_bounds(paths, np.array([5.0]), np.array([1.0]), "sd", settings)
    assert score[0] == pytest.approx(2.0 - 1.0)


def test_where_nothing_may_vary_one_run_that_differs_is_out():
    settings = parse_settings(STOCHASTIC)
    paths = np.full((1_000, 1), 7.0)
    fixed, zero = np.array([7.0]), np.array([0.0])
    assert not out_of_bounds(paths, fixed, zero, "mean", settings)[0].any()
    assert not out_of_bounds(paths, fixed, zero, "sd", settings)[0].any()
    paths[3] = 8.0
    assert out_of_bounds(paths, fixed, zero, "mean", settings)[0].all()
    assert out_of_bounds(paths, fixed, zero, "sd", settings)[0].all()
    assert out_of_bounds(paths * np.nan, fixed, zero, "mean", settings)[0].all()


@pytest.mark.parametrize(
    ("points_out", "status"),
    [
        ([1], PASSED),
        ([4], FAILED),
        ([2, 0], PASSED),
        ([3, 2, 1], PASSED),
        ([2, 4], FAILED),
        ([2, 2, 2], FAILED),
    ],
)
def test_two_or_three_points_out_call_for_another_run_and_the_third_decides(
    monkeypatch, tmp_path, points_out, status
):
    def scored(case, method, n, seed):
        n_out = points_out[seed - 5]
        return Outcome(case.name, method, PASSED if n_out <= 1 else FAILED, 102, n_out, "", (seed,))

    monkeypatch.setattr(dsmts, "_scored", scored)
    case = SbmlCase("00001", *(tmp_path / name for name in ("model", "settings", "results")))
    outcome = dsmts.run_dsmts(case, "direct", 10, seed=5)
    assert outcome.status == status
    assert outcome.seeds == tuple(range(5, 5 + len(points_out)))


def test_cases_are_found_by_what_they_are_not_by_where_they_lie(tmp_path):
    for name, text in (("00001", STOCHASTIC), ("odd", "duration: 1\nsteps: 1\n")):
        folder = tmp_path / "some" / name
        folder.mkdir(parents=True)
        (folder / f"{name}-settings.txt").write_text(text)
        (folder / f"{name}-results.csv").write_text("time,X\n0,1\n1,1\n")
        (folder / f"{name}-sbml-l3v1.xml").write_text("<sbml/>")
        (folder / f"{name}-sbml-l2v4.xml").write_text("<sbml/>")
    (tmp_path / "small.net").write_text("")
    (tmp_path / "small-ode.csv").write_text("")
    assert [case.name for case in stochastic_cases(tmp_path)] == ["00001"]
    (odd,) = semantic_cases(tmp_path)
    assert odd.model.name == "odd-sbml-l3v1.xml"
    (net,) = net_cases(tmp_path)
    assert net.reference.name == "small-ode.csv"
    assert net_cases(None) == []


@pytest.mark.parametrize(
    ("text", "construct"),
    [
        ("<listOfRules><algebraicRule/></listOfRules>", "algebraic rule"),
        ('<csymbol definitionURL="http://www.sbml.org/sbml/symbols/delay">', "delay function"),
        ('<reaction id="J" fast="true">', "fast reaction"),
        ('<sbml xmlns:comp="x" comp:required="true">', "package"),
        ('<event><delay/></event><reaction fast="false"/>', ""),
    ],
)
def test_only_what_is_left_out_on_purpose_counts_as_refused(tmp_path, text, construct):
    model = tmp_path / "model.xml"
    model.write_text(text)
    assert left_out_on_purpose(model) == construct


def test_a_report_replaces_its_own_section_alone(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Title\n\nProse.\n")
    first = [Outcome("a", "direct", PASSED, 10), Outcome("b", "direct", FAILED, 10, 4, "worst")]
    put_section(page, "one", section("", first, grid=True))
    put_section(page, "two", section("", [Outcome("c", "ode", REFUSED, detail="delay function")]))
    put_section(page, "one", section("", first[:1], grid=True))
    text = page.read_text()
    assert text.startswith("# Title\n\nProse.\n")
    assert "worst" not in text
    assert "1 runs: 1 passed" in text
    assert "delay function" in text
