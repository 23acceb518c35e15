"""Colours, labels and legends that all plots share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.container import Container

    from ..network import Compartment

__all__ = [
    "COUNT_LABEL",
    "TIME_LABEL",
    "Entry",
    "LineLook",
    "add_legend",
    "line_look",
    "new_axes",
    "plain_text",
    "value_label",
]

# Okabe and Ito (2008), "Color universal design": distinguishable with any colour vision. Their
# yellow is left out, because it vanishes on white.
OKABE_ITO = (
    "#0072B2",  # blue
    "#D55E00",  # vermilion
    "#009E73",  # bluish green
    "#CC79A7",  # reddish purple
    "#E69F00",  # orange
    "#56B4E9",  # sky blue
    "#000000",  # black
)
# Four styles and seven colours: 28 lines before two look alike, and neighbours differ in both.
LINE_STYLES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (1, 1.2)), (0, (6, 2, 1.2, 2)))
GREY = "#707070"

TIME_LABEL = "time (unit of the rate constants)"
COUNT_LABEL = "count (molecules)"

# A legend with more entries than this is set in two columns.
_MAX_LEGEND_ROWS = 20
# More entries than this would cover too much of the data, and stand beside the axes: in a figure
# of our own, and in the user's, where the neighbours may not leave room.
_MAX_INSIDE_OWN, _MAX_INSIDE_GIVEN = 4, 9
_OWN_FIGURE = "gillespy_lite"  # label of the figures made here


class LineLook(NamedTuple):
    """How one name is drawn."""

    colour: str
    style: Any  # a matplotlib line style


class Entry(NamedTuple):
    """One line of a legend."""

    artist: Artist | Container
    text: str  # already safe to show


def line_look(index: int) -> LineLook:
    """Return colour and line style of column number `index`."""
    return LineLook(OKABE_ITO[index % len(OKABE_ITO)], LINE_STYLES[index % len(LINE_STYLES)])


def plain_text(text: str) -> str:
    r"""Return `text` so that matplotlib shows it letter by letter.

    Without this, two ``$`` in a name would switch to mathematics, and with
    ``rcParams["text.usetex"]`` also ``_``, ``\`` and other characters would act as commands.
    """
    import matplotlib

    if not matplotlib.rcParams["text.usetex"]:
        return text.replace("$", r"\$")
    replacements = {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{character: "\\" + character for character in "$_%&#{}"},
    }
    return "".join(replacements.get(character, character) for character in text)


def value_label(
    names: Sequence[str],
    species: Sequence[str],
    variables: Sequence[str] = (),
    compartments: Sequence[Compartment] = (),
) -> str:
    """Return the label of an axis that shows `names`, with its unit.

    `species` are the names of columns of counts, of which `variables` are not in molecules, and
    those that `compartments` show as concentrations neither.
    """
    divided = {name for one in compartments for name in one.as_concentrations}
    kinds = [
        "concentration"
        if name in divided
        else "variable"
        if name in variables
        else COUNT_LABEL
        if name in species
        else "observable"
        for name in names
    ]
    if len(names) == 1:
        unit = {COUNT_LABEL: " (molecules)", "concentration": " (molecules per volume)"}
        return plain_text(names[0]) + unit.get(kinds[0], "")
    order = (COUNT_LABEL, "concentration", "variable", "observable")
    return " or ".join(kind for kind in order if kind in kinds) or COUNT_LABEL


def new_axes(ax: Axes | None, *, size: tuple[float, float] = (7.0, 4.3)) -> Axes:
    """Return `ax`, or the axes of a new figure of `size` inches."""
    if ax is not None:
        return ax
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=size, layout="constrained")
    figure.set_label(_OWN_FIGURE)
    return axes


def add_legend(ax: Axes, entries: Sequence[Entry]) -> None:
    """Show a legend of exactly these entries: inside if few, else to the right of the axes."""
    if not entries:
        return
    is_own = ax.figure.get_label() == _OWN_FIGURE
    inside = len(entries) <= (_MAX_INSIDE_OWN if is_own else _MAX_INSIDE_GIVEN)
    place: dict[str, Any] = (
        {"loc": "best"} if inside else {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0)}
    )
    # Matplotlib up to 3.9 leaves out labels that start with an underscore, which is a legal
    # start of a name; so the names come in after the legend is made.
    legend = ax.legend(
        [entry.artist for entry in entries],
        [" "] * len(entries),
        ncols=1 + (len(entries) - 1) // _MAX_LEGEND_ROWS,
        fontsize="small",
        framealpha=0.85,
        borderaxespad=0.5 if inside else 0.0,
        **place,
    )
    for label, entry in zip(legend.get_texts(), entries, strict=True):
        label.set_text(entry.text)


def tidy(ax: Axes) -> None:
    """Remove the frame's upper and right side, and draw a light grid behind the data."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(True, color="#e6e6e6", linewidth=0.6)
    ax.set_axisbelow(True)
