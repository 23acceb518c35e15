"""Plots: what is on the axes, not only that drawing raised nothing."""

from __future__ import annotations

import functools
import math
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import combinations, pairwise

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

mpl.use("Agg")
from matplotlib import pyplot as plt

from gillespy_lite import plotting
from gillespy_lite.master_equation import solve_master_equation
from gillespy_lite.network import Network
from gillespy_lite.plotting.layout import Boxes, arrange_boxes, boxes_overlap
from gillespy_lite.plotting.style import LINE_STYLES, OKABE_ITO, line_look, plain_text
from gillespy_lite.results import (
    Distribution,
    Ensemble,
    EnsembleStatistics,
    Provenance,
    Scan,
    Trajectory,
)
from gillespy_lite.scans import scan

NETWORK = Network.parse("""
species A = 0, B = 10
param k = 0.5
observe share = A/(A + B)
A -> B @ k
B -> A @ 1
""")
N_TRAJECTORIES = 40
TIMES = np.linspace(0.0, 5.0, 11)
STEPS = np.random.default_rng(5).poisson(0.5, (40, 11)) * (TIMES > 0.0)
A_PATHS = np.minimum(STEPS.cumsum(axis=1), 10)


def made_by(method: str = "direct", **options: str | None) -> Provenance:
    return Provenance(NETWORK, method, "asked for", options, 1, 1, "0.1.0", 0.1)


def an_ensemble(**changes: object) -> Ensemble:
    hitting_times = np.full(N_TRAJECTORIES, np.nan)
    hitting_times[:30] = np.linspace(4.0, 1.0, 30)
    whole = Ensemble(
        times=TIMES,
        counts=np.stack((A_PATHS, 10 - A_PATHS), axis=-1),
        species=("A", "B"),
        values=np.empty((N_TRAJECTORIES, 11, 0)),
        observables=(),
        network=NETWORK,
        provenance=made_by(stop_when="A >= 4"),
        indices=np.arange(N_TRAJECTORIES),
        hitting_times=hitting_times,
        n_events=np.zeros(N_TRAJECTORIES, dtype=np.int64),
        n_requested=N_TRAJECTORIES,
        stopped=None,
    )
    return replace(whole, **changes)


def renamed(*names: str) -> Ensemble:
    return an_ensemble(species=names)


def some_statistics() -> EnsembleStatistics:
    ens = an_ensemble()
    deviations = ens.counts - ens.counts.mean(axis=0)
    bins = np.zeros((11, 2, 16), dtype=np.int64)
    for row in ens.counts:
        for time in range(11):
            for column in range(2):
                bins[time, column, row[time, column]] += 1
    return EnsembleStatistics(
        times=TIMES,
        species=ens.species,
        observables=(),
        n_trajectories=N_TRAJECTORIES,
        means=ens.mean(),
        comoments=np.einsum("nti,ntj->tij", deviations, deviations),
        minima=ens.minimum(),
        maxima=ens.maximum(),
        bin_counts=bins,
        bin_widths=np.ones((11, 2), dtype=np.int64),
        hitting_times=ens.hitting_times,
        network=NETWORK,
        provenance=ens.provenance,
        n_requested=N_TRAJECTORIES,
        stopped=None,
    )


def rate_equations() -> Trajectory:
    a = 10.0 * 2.0 / 3.0 * (1.0 - np.exp(-1.5 * TIMES))
    return Trajectory(
        times=TIMES,
        counts=np.stack((a, 10.0 - a), axis=-1),
        species=("A", "B"),
        values=np.empty((11, 0)),
        observables=(),
        network=NETWORK,
        provenance=made_by("ode"),
        reactions=None,
        end_time=5.0,
        hitting_time=math.nan,
        stopped=None,
        n_events=0,
    )


def every_event() -> Trajectory:
    return replace(
        rate_equations(),
        times=np.array([0.0, 0.4, 2.0]),
        counts=np.array([[0, 10], [1, 9], [2, 8]]),
        values=np.empty((3, 0)),
        reactions=np.array([-1, 1, 1]),
        provenance=made_by(),
    )


RESULTS = {
    Trajectory: rate_equations(),
    Ensemble: an_ensemble(),
    EnsembleStatistics: some_statistics(),
    Distribution: solve_master_equation(NETWORK, TIMES),
    Scan: scan(NETWORK, {"k": [0.25, 0.5, 1.0]}, TIMES, 20, rng=1),
}
OPTIONS = {
    "histogram": {"name": "A"},
    "overlay": {"deterministic": rate_equations()},
    "law": {"name": "A"},
    "evolution": {"name": "A"},
}
EVERY_PLOT = [(cls, kind) for cls, kinds in plotting.KINDS.items() for kind in kinds]


@pytest.fixture(autouse=True)
def _close_figures():
    plt.close("all")
    yield
    plt.close("all")


def plot(cls, kind: str, **options: object):
    """Draw a result as users do; a scan has one kind of its own, which its `plot` need not name."""
    if cls is Scan and kind != "scan":
        return plotting.plot_result(RESULTS[cls], kind, **options)
    words = () if cls is Scan else (kind,)
    return RESULTS[cls].plot(*words, **OPTIONS.get(kind, {}), **options)


def legend_texts(ax) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def legend_handles(ax) -> list[object]:
    legend = ax.get_legend()
    return getattr(legend, "legend_handles", None) or legend.legendHandles


def line_with(ax, values: np.ndarray):
    """Return the one line that shows `values`."""
    found = [line for line in ax.lines if np.array_equal(line.get_ydata(), values)]
    assert len(found) == 1
    return found[0]


def outline(band) -> np.ndarray:
    return band.get_paths()[0].vertices


def draw(ax) -> None:
    ax.figure.canvas.draw()


# Every plot --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cls", "kind"), EVERY_PLOT)
def test_every_plot_draws_into_the_given_axes_and_returns_them(cls, kind):
    figure = Figure(figsize=(8, 6))  # a figure that pyplot does not know
    ax = figure.add_subplot()
    assert plot(cls, kind, ax=ax) is ax
    assert plt.get_fignums() == []
    assert ax.has_data() or ax.patches
    draw(ax)


@pytest.mark.parametrize(("cls", "kind"), EVERY_PLOT)
def test_every_plot_makes_its_own_figure_with_a_legend_and_shows_nothing(cls, kind, monkeypatch):
    monkeypatch.setattr(plt, "show", lambda *_: pytest.fail("show() was called"))
    ax = plot(cls, kind)
    assert len(plt.get_fignums()) == 1
    if kind == "heatmap":
        assert ax.figure.axes[1].get_ylabel() == "probability"  # a colour bar
    else:
        assert all(text.strip() for text in legend_texts(ax))
    draw(ax)


@pytest.mark.parametrize(("cls", "kind"), [(c, k) for c, k in EVERY_PLOT if k != "network"])
def test_every_axis_is_labelled(cls, kind):
    ax = plot(cls, kind)
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    if kind in {"path", "band", "fan", "overlay"}:
        assert ax.get_xlabel() == "time (unit of the rate constants)"
        assert ax.get_ylabel() == "count (molecules)"


@pytest.mark.parametrize(("cls", "kind"), EVERY_PLOT)
def test_nothing_is_cut_off_at_the_edge_of_the_figure(cls, kind):
    ax = plot(cls, kind)
    draw(ax)
    page = ax.figure.bbox
    inside = ax.get_tightbbox()
    assert inside.x0 >= page.x0 - 1
    assert inside.y0 >= page.y0 - 1
    assert inside.x1 <= page.x1 + 1
    assert inside.y1 <= page.y1 + 1


@pytest.mark.parametrize("cls", plotting.KINDS)
def test_an_unknown_kind_is_refused_with_the_list(cls):
    with pytest.raises(
        ValueError, match=rf"kind='pie' of {cls.__name__}; choose one of .*'network'"
    ):
        plotting.plot_result(RESULTS[cls], "pie")


@pytest.mark.parametrize("cls", [cls for cls in plotting.KINDS if cls is not Scan])
def test_the_kinds_are_documented_where_they_are_chosen(cls):
    for kind in plotting.KINDS[cls]:
        assert f'"{kind}"' in cls.plot.__doc__


def test_importing_plotting_does_not_import_matplotlib():
    code = (
        "import sys, gillespy_lite.plotting; "
        "sys.exit(any(name.split('.')[0] == 'matplotlib' for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["$a$", r"\alpha", r"\$x$", "a_b^c", "$", "_", "$$", r"$\frac{1"])
def test_names_are_shown_letter_by_letter(name):
    figure = Figure()
    text = figure.text(0.5, 0.5, plain_text(name))
    shown, is_math = text._preprocess_math(text.get_text())
    assert shown == name
    assert not is_math


def test_names_become_no_tex_commands():
    with mpl.rc_context({"text.usetex": True}):
        assert plain_text(r"\input{x}_$%") == r"\textbackslash{}input\{x\}\_\$\%"


@pytest.mark.parametrize("names", [("$x_1$", r"\beta$$"), ("_hidden", "_")])
def test_hostile_names_reach_labels_and_legends_as_they_are(names):
    ens = renamed(*names)
    for kind in ("band", "fan", "phase"):
        ax = ens.plot(kind)
        draw(ax)
        shown = [ax.get_xlabel(), ax.get_ylabel(), *legend_texts(ax)]
        for name in names:
            assert any(text.startswith(plain_text(name)) for text in shown), (kind, name)
    ax = ens.plot("histogram", name=names[0])
    draw(ax)
    assert ax.get_xlabel() == f"{plain_text(names[0])} at t = 5 (molecules)"


def test_neighbouring_lines_differ_in_colour_and_style():
    looks = [line_look(i) for i in range(28)]
    assert len({(look.colour, str(look.style)) for look in looks}) == 28
    for one, other in pairwise(looks):
        assert one.colour != other.colour
        assert one.style != other.style


def test_the_palette_is_that_of_okabe_and_ito():
    assert {"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"} < set(OKABE_ITO)
    assert len(LINE_STYLES) == 4


# Paths -------------------------------------------------------------------------------------------


def test_the_band_holds_the_quantiles_around_the_mean():
    ens = an_ensemble()
    ax = ens.plot(names="A", level=0.8, n_paths=2)
    mean = line_with(ax, ens.mean("A"))
    assert np.array_equal(mean.get_xdata(), TIMES)
    (band,) = ax.collections
    lower, upper = ens.quantile([0.1, 0.9], "A")
    # Once along the lower side and back along the upper one, each from and to its first corner.
    x, y = outline(band).T
    for side in (lower, upper):
        for time, value in zip(TIMES, side, strict=True):
            assert np.isclose(y[x == time], value).any()
    assert y.min() == pytest.approx(lower.min())
    assert y.max() == pytest.approx(upper.max())
    assert legend_texts(ax) == ["A (mean)", "central 80 %", "2 trajectories"]
    assert ax.get_ylabel() == "A (molecules)"


def test_single_trajectories_are_steps():
    ax = an_ensemble().plot(names=["A"], n_paths=3)
    for i in range(3):
        path = [line for line in ax.lines if np.array_equal(line.get_ydata(), A_PATHS[i])]
        assert path
        assert path[0].get_drawstyle() == "steps-post"
    assert len(ax.lines) == 4


def test_a_band_without_band_or_paths_is_the_mean_alone():
    ax = an_ensemble().plot(level=0.0, n_paths=0)
    assert len(ax.lines) == 2
    assert len(ax.collections) == 0
    assert legend_texts(ax) == ["A (mean)", "B (mean)"]


def test_no_more_paths_are_drawn_than_there_are():
    two = an_ensemble(
        counts=an_ensemble().counts[:1],
        values=np.empty((1, 11, 0)),
        indices=np.arange(1),
        hitting_times=np.full(1, np.nan),
        n_events=np.zeros(1, dtype=np.int64),
    )
    assert legend_texts(two.plot(names="A"))[-1] == "one trajectory"


def test_statistics_are_drawn_with_one_standard_deviation():
    stats = some_statistics()
    ax = stats.plot(names="B")
    line_with(ax, stats.mean("B"))
    (band,) = ax.collections
    corners = outline(band)
    assert corners[:, 1].min() == pytest.approx((stats.mean("B") - stats.std("B")).min())
    assert legend_texts(ax) == ["B (mean)", "mean ± 1 standard deviation"]


def test_an_observable_is_drawn_with_its_own_label():
    ens = an_ensemble()
    ax = ens.plot(names="share", n_paths=0)
    line_with(ax, ens.mean("share"))
    assert ax.get_ylabel() == "share"
    assert (
        an_ensemble().plot(names=["A", "share"]).get_ylabel() == "count (molecules) or observable"
    )


def test_an_empty_ensemble_is_refused():
    arrays = ("counts", "values", "indices", "hitting_times", "n_events")
    ens = an_ensemble()
    none = replace(ens, **{name: getattr(ens, name)[:0] for name in arrays})
    for kind in ("band", "fan", "phase", "overlay", "hitting"):
        with pytest.raises(ValueError, match="stopped before any trajectory"):
            none.plot(kind, **OPTIONS.get(kind, {}))
    assert plt.get_fignums() == []


@pytest.mark.parametrize("level", [-0.1, 1.0, 90])
def test_a_level_that_is_no_share_is_refused(level):
    with pytest.raises(ValueError, match=r"a share from 0 to below 1"):
        an_ensemble().plot(level=level)
    with pytest.raises(ValueError, match=r"a share from 0 to below 1"):
        an_ensemble().plot("fan", levels=[level])


def test_a_fan_nests_its_bands_around_the_median():
    ens = an_ensemble()
    ax = ens.plot("fan", names="A", levels=(0.5, 0.9))
    line_with(ax, ens.quantile(0.5, "A"))
    wide, narrow = ax.collections  # the widest first, below
    assert outline(wide)[:, 1].max() == pytest.approx(ens.quantile(0.95, "A").max())
    assert outline(narrow)[:, 1].max() == pytest.approx(ens.quantile(0.75, "A").max())
    assert legend_texts(ax) == ["A (median)", "central 50 %", "central 90 %"]
    # The legend's patches are as dark as the bands look where they lie over each other.
    opacities = [handle.get_alpha() for handle in legend_handles(ax)[1:]]
    a = wide.get_alpha()
    assert opacities == pytest.approx([1 - (1 - a) ** 2, a])


def test_an_event_path_is_drawn_to_the_end_of_the_run():
    ax = every_event().plot(names="A")
    (line,) = ax.lines
    assert line.get_xdata().tolist() == [0.0, 0.4, 2.0, 5.0]
    assert line.get_ydata().tolist() == [0, 1, 2, 2]
    assert line.get_drawstyle() == "steps-post"


def test_rate_equations_are_drawn_smooth():
    ax = rate_equations().plot()
    assert [line.get_drawstyle() for line in ax.lines] == ["default", "default"]
    assert legend_texts(ax) == ["A", "B"]


def test_the_overlay_shows_both_sides():
    ens, ode = an_ensemble(), rate_equations()
    ax = ens.plot("overlay", deterministic=ode, names="A")
    mean, smooth = line_with(ax, ens.mean("A")), line_with(ax, ode["A"])
    assert mean.get_linestyle() == "-"
    assert smooth.get_linestyle() == "--"
    assert smooth.get_zorder() >= mean.get_zorder()
    assert legend_texts(ax) == [
        "A",
        "mean of 40 trajectories",
        "central 90 %",
        "rate equations",
    ]


def test_the_overlay_refuses_what_is_no_trajectory():
    with pytest.raises(TypeError, match=r"like simulate\(network, t, method='ode'\)"):
        an_ensemble().plot("overlay", deterministic=np.zeros(3))
    short = replace(rate_equations(), counts=rate_equations().counts[:, :1], species=("A",))
    with pytest.raises(KeyError, match="'B' was not recorded"):
        an_ensemble().plot("overlay", deterministic=short)


def test_a_phase_portrait_shows_paths_mean_start_and_end():
    ens = an_ensemble()
    ax = ens.plot("phase", n_paths=2)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("A (molecules)", "B (molecules)")
    for i in range(2):
        line = line_with(ax, ens["B"][i])
        assert np.array_equal(line.get_xdata(), A_PATHS[i])
    line_with(ax, ens.mean("B"))
    marks = {line.get_marker(): line for line in ax.lines if len(line.get_xdata()) == 1}
    assert (marks["o"].get_xdata()[0], marks["o"].get_ydata()[0]) == (0, 10)
    assert marks["s"].get_xdata()[0] == ens.mean("A")[-1]
    assert legend_texts(ax) == [
        "mean of 40",
        "trajectory 0",
        "trajectory 1",
        "start, t = 0",
        "end, t = 5",
    ]


def test_a_phase_portrait_takes_any_two_names():
    ax = rate_equations().plot("phase", x="B", y="share")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("B (molecules)", "share")
    assert an_ensemble().plot("phase", y="A").get_xlabel() == "B (molecules)"
    alone = replace(rate_equations(), counts=rate_equations().counts[:, :1], species=("A",))
    with pytest.raises(ValueError, match=r"needs two names, x= and y=; recorded: A"):
        alone.plot("phase")


def test_many_names_get_a_legend_beside_the_data():
    names = tuple(f"species_{i}" for i in range(30))
    counts = np.zeros((N_TRAJECTORIES, 11, 30), dtype=np.int64)
    ax = an_ensemble(counts=counts, species=names).plot(n_paths=0)
    draw(ax)
    assert len(legend_texts(ax)) == 31
    legend = ax.get_legend().get_window_extent()
    assert legend.x0 >= ax.bbox.x1
    assert legend.x1 <= ax.figure.bbox.x1
    assert legend.y0 >= ax.figure.bbox.y0


# Distributions -----------------------------------------------------------------------------------


def test_bars_are_the_shares_of_the_counts():
    ens = an_ensemble()
    ax = ens.plot("histogram", name="A", t=2.5)
    shares = {round(bar.get_x() + bar.get_width() / 2, 6): bar.get_height() for bar in ax.patches}
    for count, number in Counter(A_PATHS[:, 5].tolist()).items():
        assert shares[count] == pytest.approx(number / N_TRAJECTORIES)
    assert sum(shares.values()) == pytest.approx(1.0)
    assert ax.get_xlabel() == "A at t = 2.5 (molecules)"
    assert ax.get_ylabel() == "share of trajectories"
    assert legend_texts(ax) == ["40 trajectories"]


def test_statistics_give_the_same_bars():
    bars = [
        [(bar.get_x(), bar.get_height()) for bar in result.plot("histogram", name="A").patches]
        for result in (an_ensemble(), some_statistics())
    ]
    assert bars[0] == bars[1]


def test_the_label_names_the_grid_time_that_is_shown():
    ax = an_ensemble().plot("histogram", name="A", t=2.7)
    assert ax.get_xlabel() == "A at t = 2.5 (molecules)"


def poisson(k: np.ndarray) -> np.ndarray:
    return np.array([math.exp(-4.0) * 4.0**n / math.factorial(n) for n in k.tolist()])


@pytest.mark.parametrize("law", [poisson, poisson(np.arange(50))])
def test_an_exact_law_is_drawn_at_the_counts_it_belongs_to(law):
    ax = an_ensemble().plot("histogram", name="A", law=law)
    (line,) = ax.lines
    counts = line.get_xdata()
    assert np.array_equal(counts, np.round(counts))
    assert np.allclose(line.get_ydata(), poisson(counts.astype(np.int64)), rtol=1e-12)
    # All of the law is on the plot, also where no trajectory went.
    assert line.get_ydata().sum() > 0.99
    assert counts.min() == 0
    assert legend_texts(ax) == ["40 trajectories", "exact law"]


def wide_ensemble() -> Ensemble:
    counts = 1000 + np.random.default_rng(6).poisson(4000.0, (N_TRAJECTORIES, 11, 2))
    return an_ensemble(counts=counts)


def test_over_wide_bins_a_law_is_summed():
    def uniform(k: np.ndarray) -> np.ndarray:
        return np.where((k >= 4000) & (k < 6000), 1.0 / 2000.0, 0.0)

    ax = wide_ensemble().plot("histogram", name="A", law=uniform)
    (line,) = ax.lines
    widths = {bar.get_width() for bar in ax.patches}
    assert len(widths) == 1
    (width,) = widths
    assert width > 1
    assert ax.get_ylabel() == f"share of trajectories per bin of {width:g}"
    inside = (line.get_xdata() > 4000 + width) & (line.get_xdata() < 6000 - width)
    assert np.allclose(line.get_ydata()[inside], width / 2000.0)


def test_few_trajectories_get_few_bars():
    ax = wide_ensemble().plot("histogram", name="A")
    assert len(ax.patches) <= 12
    assert sum(bar.get_height() for bar in ax.patches) == pytest.approx(1.0)


def test_own_bins_are_kept_and_a_law_follows_them():
    ax = an_ensemble().plot("histogram", name="A", bins=[0, 2, 5, 12], law=poisson)
    assert [bar.get_width() for bar in ax.patches] == [2, 3, 7]
    p = poisson(np.arange(13))
    # numpy.histogram counts the very last edge, 12, in the last bin.
    assert np.allclose(ax.lines[0].get_ydata(), [p[:2].sum(), p[2:5].sum(), p[5:13].sum()])
    assert ax.get_ylabel() == "share of trajectories per bin"


def test_a_histogram_of_an_observable_has_its_unit():
    ax = an_ensemble().plot("histogram", name="share")
    assert ax.get_xlabel() == "share at t = 5"
    assert sum(bar.get_height() for bar in ax.patches) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "a histogram needs name=, one of A, B"),
        ({"name": "A", "t": 9.0}, "outside the recorded times"),
        ({"name": "A", "law": lambda k: 0.5}, "one probability per count"),
        ({"name": "A", "law": lambda k: -1.0 * k}, "numbers from 0 to 1"),
        ({"name": "A", "law": [[0.5, 0.5]]}, "one-dimensional"),
        ({"name": "A", "law": [math.nan, 0.5]}, "numbers from 0 to 1"),
    ],
)
def test_a_histogram_that_makes_no_sense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        an_ensemble().plot("histogram", **options)
    assert plt.get_fignums() == []


def test_recorded_bins_cannot_be_chosen_again():
    with pytest.raises(ValueError, match="bins= cannot be chosen for statistics"):
        some_statistics().plot("histogram", name="A", bins=5)


@pytest.mark.parametrize("result", [an_ensemble(), some_statistics()])
def test_hitting_times_are_drawn_as_a_distribution_function(result):
    ax = result.plot("hitting")
    curve = ax.lines[0]
    assert curve.get_drawstyle() == "steps-post"
    hits = np.sort(result.hitting_times[:30])
    assert np.array_equal(curve.get_xdata(), [0.0, *hits, 5.0])
    assert np.array_equal(curve.get_ydata(), np.array([*range(31), 30]) / 40.0)
    assert ax.lines[1].get_ydata()[0] == 0.75
    assert legend_texts(ax) == [
        "A >= 4 met: 75 % (30 of 40)",
        "not met by t = 5 (censored): 25 % (10 of 40)",
    ]


def test_when_all_hit_nothing_is_censored():
    ax = an_ensemble(hitting_times=np.linspace(1.0, 2.0, N_TRAJECTORIES)).plot("hitting")
    assert legend_texts(ax) == ["A >= 4 met: 100 % (40 of 40)"]
    assert ax.lines[0].get_ydata()[-1] == 1.0


def test_when_none_hits_all_are_censored():
    ax = an_ensemble(hitting_times=np.full(N_TRAJECTORIES, np.nan)).plot("hitting")
    assert legend_texts(ax)[1] == "not met by t = 5 (censored): 100 % (40 of 40)"


def test_without_a_condition_there_are_no_hitting_times():
    ens = an_ensemble(
        hitting_times=np.full(N_TRAJECTORIES, np.nan), provenance=made_by(stop_when=None)
    )
    with pytest.raises(ValueError, match="the run had no stop_when, like stop_when='X >= 80'"):
        ens.plot("hitting")


# The network -------------------------------------------------------------------------------------

ENZYME = Network.parse("""
species S = 301, E = 120, ES, P, I = 5
param kf = 0.00166, kr = 1e-4, kcat = 0.1, Vmax = 2, K = 40
observe load = I + 1
bind: S + E <-> ES @ kf, kr
ES -> E + P @ kcat
0 -> S @ 10
2 P -> 0 @ 1e-3
P + E -> S + E @ 1
P => S @ Vmax*P/(K + P)/load
S -> 2 S @ 0.1
""")

CASCADE = Network.parse("""
species Ras = 9, RasGTP, Raf = 9, Raf_p, MEK = 9, MEK_p, MEK_pp, ERK = 9, ERK_p, ERK_pp
species Phosphatase = 3, SOS = 3, EGFR
param k = 0.01
0 -> EGFR @ k
EGFR -> 0 @ k
EGFR + Ras -> EGFR + RasGTP @ k
SOS + Ras -> SOS + RasGTP @ k
RasGTP -> Ras @ k
RasGTP + Raf -> RasGTP + Raf_p @ k
Phosphatase + Raf_p -> Phosphatase + Raf @ k
Raf_p + MEK -> Raf_p + MEK_p @ k
Raf_p + MEK_p -> Raf_p + MEK_pp @ k
Phosphatase + MEK_p -> Phosphatase + MEK @ k
Phosphatase + MEK_pp -> Phosphatase + MEK_p @ k
MEK_pp + ERK -> MEK_pp + ERK_p @ k
MEK_pp + ERK_p -> MEK_pp + ERK_pp @ k
Phosphatase + ERK_p -> Phosphatase + ERK @ k
Phosphatase + ERK_pp -> Phosphatase + ERK_p @ k
SOS -> 0 @ k
0 -> SOS @ k
0 -> Phosphatase @ k
Phosphatase -> 0 @ k
feedback: ERK_pp + SOS -> ERK_pp @ k
""")

LOTKA_VOLTERRA = Network.parse("""
species prey = 100, predator = 100
prey -> 2 prey @ 1
prey + predator -> 2 predator @ 0.005
predator -> 0 @ 0.6
""")

PICTURES = {"3 reactions": LOTKA_VOLTERRA, "8 reactions": ENZYME, "20 reactions": CASCADE}


@functools.cache
def picture(name: str):
    """Return a drawn picture; laying one out takes a second."""
    ax = plotting.draw_network(PICTURES[name])
    draw(ax)
    return ax


def boxes_by_name(ax) -> dict[str, object]:
    named = {patch.get_gid(): patch for patch in ax.patches}
    return {
        gid: patch
        for gid, patch in named.items()
        if gid is not None and gid.split()[0] in {"species", "reaction"}
    }


def arrows(ax) -> Counter[str]:
    gids = [patch.get_gid() for patch in ax.patches]
    return Counter(gid for gid in gids if gid is not None and ", " in gid)


def labels(ax) -> dict[str, str]:
    prefix = "label of "
    return {
        text.get_gid().removeprefix(prefix): text.get_text()
        for text in ax.texts
        if text.get_gid() is not None
    }


def test_every_species_and_reaction_has_a_box_with_its_name():
    ax = picture("8 reactions")
    assert labels(ax) == {
        "species S": "S",
        "species E": "E",
        "species ES": "ES",
        "species P": "P",
        "species I": "I",
        "reaction 0": "bind",
        "reaction 2": "kcat",
        "reaction 3": "∅ → 10",
        "reaction 4": "0.001 → ∅",
        "reaction 5": "1",
        "reaction 6": "Vmax*P/(K + P)/load",
        "reaction 7": "0.1",
    }
    assert boxes_by_name(ax).keys() == labels(ax).keys()


def test_arrows_follow_the_stoichiometry():
    assert arrows(picture("8 reactions")) == Counter(
        [
            "consumed species S, reaction 0",
            "consumed species E, reaction 0",
            "produced species ES, reaction 0",
            "consumed species ES, reaction 2",
            "produced species E, reaction 2",
            "produced species P, reaction 2",
            "produced species S, reaction 3",
            "consumed species P, reaction 4",
            "consumed species P, reaction 5",
            "produced species S, reaction 5",
            "catalyst species E, reaction 5",
            "consumed species P, reaction 6",
            "produced species S, reaction 6",
            # Through the observable `load`.
            "catalyst species I, reaction 6",
            "consumed species S, reaction 7",
            "produced species S, reaction 7",
        ]
    )


def test_catalysts_are_dashed_and_nothing_else_is():
    ax = picture("8 reactions")
    for patch in ax.patches:
        gid = patch.get_gid() or ""
        if ", " in gid:
            assert (patch.get_linestyle() not in {"-", "solid"}) == gid.startswith("catalyst"), gid
    assert "catalyst or in the rate" in legend_texts(ax)
    assert "catalyst or in the rate" not in legend_texts(picture("3 reactions"))


def test_numbers_of_molecules_stand_at_the_lines():
    numbers = [text.get_text() for text in picture("8 reactions").texts if not text.get_gid()]
    assert sorted(numbers) == ["2", "2"]  # 2 P -> 0 and S -> 2 S


def test_the_legend_explains_the_lines_that_there_are():
    assert legend_texts(picture("3 reactions")) == [
        "species",
        "reaction",
        "consumed",
        "made",
    ]
    assert "made by the reverse" in legend_texts(picture("8 reactions"))


@pytest.mark.parametrize("name", PICTURES)
def test_no_two_boxes_overlap_and_all_are_on_the_page(name):
    ax = picture(name)
    extents = [patch.get_window_extent() for patch in boxes_by_name(ax).values()]
    extents.append(ax.get_legend().get_window_extent())
    for one, other in combinations(extents, 2):
        assert not one.overlaps(other)
    for extent in extents:
        assert ax.figure.bbox.x0 <= extent.x0 <= extent.x1 <= ax.figure.bbox.x1
        assert ax.figure.bbox.y0 <= extent.y0 <= extent.y1 <= ax.figure.bbox.y1


@pytest.mark.parametrize("name", PICTURES)
def test_every_label_fits_into_its_box(name):
    ax = picture(name)
    boxes = boxes_by_name(ax)
    for text in ax.texts:
        if text.get_gid() is None:
            continue
        box = boxes[text.get_gid().removeprefix("label of ")].get_window_extent()
        label = text.get_window_extent()
        assert box.x0 <= label.x0 <= label.x1 <= box.x1, text.get_text()
        assert box.y0 - 1 <= label.y0 <= label.y1 <= box.y1 + 1, text.get_text()


@pytest.mark.parametrize("name", PICTURES)
def test_no_line_runs_behind_a_foreign_box(name):
    ax = picture(name)
    centres = {
        gid: np.array([p.get_x() + p.get_width() / 2, p.get_y() + p.get_height() / 2])
        for gid, p in boxes_by_name(ax).items()
    }
    hidden = 0
    for gid in arrows(ax):
        species, reaction = gid.split(" ", 1)[1].split(", ")
        along = np.linspace(centres[species], centres[reaction], 200)
        for other, patch in boxes_by_name(ax).items():
            if other in {species, reaction}:
                continue
            half = np.array([patch.get_width() / 2, patch.get_height() / 2])
            hidden += bool((np.abs(along - centres[other]) < half).all(axis=1).any())
    assert hidden == 0


def test_the_same_network_has_the_same_picture():
    one, other = picture("20 reactions"), plotting.draw_network(CASCADE)
    for gid, patch in boxes_by_name(one).items():
        assert patch.get_x() == boxes_by_name(other)[gid].get_x()


def test_drawing_leaves_numpy_random_state_alone():
    np.random.seed(1)
    expected = np.random.random()
    np.random.seed(1)
    plotting.draw_network(LOTKA_VOLTERRA)
    assert np.random.random() == expected


def test_chosen_reactions_bring_only_the_species_they_touch():
    ax = plotting.draw_network(ENZYME, reactions=["bind", 6])
    assert set(boxes_by_name(ax)) == {
        "reaction 0", "reaction 6",
        "species S", "species E", "species ES", "species P", "species I",
    }  # fmt: skip
    # Without its reverse the reaction stands alone.
    assert "made by the reverse" not in legend_texts(ax)
    both = plotting.draw_network(ENZYME, reactions=["bind", "bind_reverse"])
    assert "made by the reverse" in legend_texts(both)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (["bond"], "no reaction named 'bond'; named are: bind"),
        ([9], "no reaction 9: .* from 0 to 7"),
    ],
)
def test_a_reaction_that_is_not_there_is_refused(chosen, message):
    with pytest.raises(ValueError, match=message):
        plotting.draw_network(ENZYME, reactions=chosen)
    with pytest.raises(TypeError, match=r"must be a list, like \['bind'\]"):
        plotting.draw_network(ENZYME, reactions="bind")


def test_a_picture_that_nobody_could_read_is_refused_with_advice():
    text = "species A\n" + "A -> 0 @ 1\n" * 101
    with pytest.raises(ValueError, match=r"101 reactions cannot be read; choose up to 100"):
        plotting.draw_network(Network.parse(text))
    assert len(boxes_by_name(plotting.draw_network(Network.parse(text), reactions=range(9)))) == 10


def test_networks_of_any_shape_can_be_drawn():
    for text in (
        "species A",
        "species A, B, C",
        "species A\n0 -> A @ 1",
        "species A\nA -> A @ 1",
        "species A, B, C, D\nA -> B @ 1\nC -> D @ 1",
        f"species {'x' * 200}\n0 <-> {'x' * 200} @ 1, 2",
    ):
        ax = plotting.draw_network(Network.parse(text))
        draw(ax)
        assert boxes_by_name(ax)


def test_long_names_are_shortened_in_the_middle():
    name = "a_very_long_name_of_a_species_indeed"
    ax = plotting.draw_network(Network.parse(f"species {name}\n{name} -> 0 @ 1"))
    shown = labels(ax)[f"species {name}"]
    assert shown == "a_very_long_na…ndeed"


def test_the_picture_is_laid_out_for_the_axes_that_were_given():
    figure = Figure(figsize=(9, 4))
    left, right = figure.subplots(1, 2)
    plotting.draw_network(LOTKA_VOLTERRA, ax=right)
    figure.canvas.draw()
    for patch in boxes_by_name(right).values():
        extent = patch.get_window_extent()
        assert right.bbox.x0 - 1 <= extent.x0 <= extent.x1 <= right.bbox.x1 + 1
    assert not left.patches


def test_colours_of_the_picture_are_colour_blind_safe():
    ax = picture("8 reactions")
    colours = {
        patch.get_gid().split()[0]: to_hex(patch.get_edgecolor()).upper()
        for patch in ax.patches
        if patch.get_gid() and ", " in patch.get_gid()
    }
    assert colours["produced"] in OKABE_ITO
    assert colours["catalyst"] in OKABE_ITO
    assert len(set(colours.values())) == 3


@pytest.mark.parametrize("n_boxes", [2, 3, 12, 40])
def test_the_layout_separates_boxes_of_any_size(n_boxes):
    random = np.random.default_rng(n_boxes)
    half_sizes = random.uniform(0.1, 0.4, (n_boxes, 2)) * [1.5, 0.5]
    lines = np.array([(random.integers(i), i) for i in range(1, n_boxes)])
    boxes = Boxes(half_sizes, lines, np.array([11.0, 7.0]))
    centres = arrange_boxes(boxes)
    assert not boxes_overlap(centres, half_sizes)
    assert (centres - half_sizes >= -1e-9).all()
    assert (centres + half_sizes <= boxes.frame + 1e-9).all()


@pytest.mark.parametrize(("n_boxes", "frame"), [(15, (5.0, 3.0)), (25, (6.0, 4.0))])
def test_the_layout_separates_boxes_that_hardly_fit(n_boxes, frame):
    # A star wants all its tips at one distance from the middle, where there is too little room.
    half_sizes = np.full((n_boxes, 2), [0.45, 0.12])
    lines = np.array([(0, i) for i in range(1, n_boxes)])
    centres = arrange_boxes(Boxes(half_sizes, lines, np.array(frame)))
    assert not boxes_overlap(centres, half_sizes)
