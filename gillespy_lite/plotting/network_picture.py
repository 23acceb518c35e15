"""A picture of a network: species and reactions as boxes, arrows between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gillespy_lite.network import Network, Reaction
from gillespy_lite.plotting.layout import Boxes, arrange_boxes
from gillespy_lite.plotting.style import GREY, OKABE_ITO, plain_text
from gillespy_lite.rate_laws import Expression, number_text
from gillespy_lite.reactions import Coefficient

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["MAX_PICTURE_REACTIONS", "draw_network"]

# More cannot be read on a page, and takes long to lay out.
MAX_PICTURE_REACTIONS = 100

_SPECIES_FONT, _REACTION_FONT, _COUNT_FONT = 10.0, 8.0, 8.0  # points
_SPECIES_LENGTH, _REACTION_LENGTH = 20, 22  # characters shown of a label
_PADDING = np.array([0.085, 0.065])  # inches between a label and the side of its box
_LEGEND_HEIGHT = 0.32  # inches, per line of the legend
_MARGIN = 0.12  # inches around the picture
_POINTS_PER_INCH = 72.0

_CONSUMED, _PRODUCED, _CATALYST = "#404040", OKABE_ITO[0], OKABE_ITO[1]
_SPECIES_FACE, _VARIABLE_FACE, _REACTION_FACE = "#DCEBF5", "#F2E6F0", "#FFFFFF"
_KINDS = {_SPECIES_FACE: "species", _VARIABLE_FACE: "variable", _REACTION_FACE: "reaction"}


class _ReactionBox(NamedTuple):
    """One reaction, or a reaction and its reverse."""

    number: int  # index in network.reactions, of the forward one
    reaction: Reaction
    is_reversible: bool
    label: str


class _Arrow(NamedTuple):
    """A line between a species and a reaction."""

    species: int  # index of the species' box
    reaction: int  # index of the reaction's box
    role: str  # "consumed", "produced" or "catalyst"
    molecules: str  # taken or made by one event; empty for one
    is_reversible: bool
    bend: float  # of the line; 0 is straight


def draw_network(
    network: Network,
    *,
    reactions: Sequence[int | str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw species and reactions, with arrows from reactants to products.

    A reaction's box shows its name, or its rate if it has none, and ``∅`` where it makes or
    takes from nothing. Dashed lines join a reaction to the species that it needs but does not
    change: catalysts, and species that occur in its rate. A reaction and its reverse, one after
    the other, share a box; open arrowheads point to what the reverse makes. Variables are drawn if
    reactions take or make them; rules and events are left out.

    Parameters
    ----------
    network : Network
        What to draw.
    reactions : sequence of int or str, optional
        Only these, by index or name, and the species they touch.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure, large enough. The picture is laid out for the
        present size of `ax`.

    Returns
    -------
    matplotlib Axes
        Its data coordinates are inches.

    Raises
    ------
    ValueError
        If there are more than 100 reactions to draw, or nothing at all (a network of variables
        with rules alone), or a reaction is unknown.
    """
    reaction_boxes = _reaction_boxes(network, _chosen_reactions(network, reactions))
    species = _species_to_draw(network, reaction_boxes, everything=reactions is None)
    if not species:
        raise ValueError(
            "there is nothing to draw: the network has no species"
            + ", and variables are left out of the picture if no reaction takes or makes them"
            * bool(network.variable_names)
        )
    arrows = _arrows(network, species, reaction_boxes)
    labels = [_shortened(name, _SPECIES_LENGTH) for name in species]
    labels += [box.label for box in reaction_boxes]
    fonts = [_SPECIES_FONT] * len(species) + [_REACTION_FONT] * len(reaction_boxes)
    half_sizes = np.array(
        [
            _text_size(label, font) / 2.0 + _PADDING
            for label, font in zip(labels, fonts, strict=True)
        ]
    )
    ax = _axes_of_size(ax, half_sizes)
    frame = _frame(ax)
    faces = [_face(network, name) for name in species] + [_REACTION_FACE] * len(reaction_boxes)
    legend_height = _add_legend(ax, arrows, float(frame[0]), frozenset(faces))
    lines = sorted({(arrow.species, arrow.reaction) for arrow in arrows})
    boxes = Boxes(
        half_sizes,
        np.array(lines, dtype=np.int64).reshape(-1, 2),
        frame - 2.0 * _MARGIN - np.array([0.0, legend_height]),
    )
    centres = arrange_boxes(boxes) + _MARGIN + np.array([0.0, legend_height])
    ax.set_axis_off()
    ax.set_xlim(0.0, frame[0])
    ax.set_ylim(0.0, frame[1])
    ax.set_aspect("equal")
    patches = []
    for i, label in enumerate(labels):
        name = (
            f"{_KINDS[faces[i]]} {species[i]}"
            if i < len(species)
            else (f"reaction {reaction_boxes[i - len(species)].number}")
        )
        patches.append(_draw_box(ax, centres[i], half_sizes[i], label, fonts[i], name, faces[i]))
    for arrow in arrows:
        _draw_arrow(ax, arrow, centres, half_sizes, patches)
    return ax


# What to draw ------------------------------------------------------------------------------------


def _chosen_reactions(network: Network, chosen: Sequence[int | str] | None) -> list[int]:
    if chosen is None:
        indices = list(range(network.n_reactions))
    else:
        if isinstance(chosen, str):
            raise TypeError(f"reactions= must be a list, like [{chosen!r}], not one text")
        names = [reaction.name for reaction in network.reactions]
        indices = []
        for entry in chosen:
            if isinstance(entry, str):
                if not entry or entry not in names:
                    known = ", ".join(name for name in names if name) or "none"
                    raise ValueError(f"there is no reaction named {entry!r}; named are: {known}")
                indices.append(names.index(entry))
            elif 0 <= entry < network.n_reactions:
                indices.append(int(entry))
            else:
                raise ValueError(
                    f"there is no reaction {entry}: they are numbered from 0 to "
                    f"{network.n_reactions - 1}"
                )
    if len(indices) > MAX_PICTURE_REACTIONS:
        raise ValueError(
            f"a picture of {len(indices)} reactions cannot be read; choose up to "
            f"{MAX_PICTURE_REACTIONS} of them, for example reactions=range(40)"
        )
    return sorted(set(indices))


def _reaction_boxes(network: Network, indices: Sequence[int]) -> list[_ReactionBox]:
    boxes = []
    skipped: set[int] = set()
    for index in indices:
        if index in skipped:
            continue
        reaction = network.reactions[index]
        reverse = network.reactions[index + 1] if index + 1 in indices else None
        is_reversible = reverse is not None and _is_reverse(reaction, reverse)
        if is_reversible:
            skipped.add(index + 1)
        label = _reaction_label(reaction, reverse if is_reversible else None)
        boxes.append(_ReactionBox(index, reaction, is_reversible, label))
    return boxes


def _is_reverse(reaction: Reaction, other: Reaction) -> bool:
    return (
        reaction.kind == other.kind == "mass_action"
        and dict(reaction.reactants) == dict(other.products)
        and dict(reaction.products) == dict(other.reactants)
        and dict(reaction.reactants) != dict(reaction.products)
        and reaction.delay is None
        and other.delay is None
    )


def _reaction_label(reaction: Reaction, reverse: Reaction | None) -> str:
    if reaction.name:
        text = reaction.name
    elif reverse is not None:
        text = f"{reaction.rate}, {reverse.rate}"
    else:
        text = str(reaction.rate)
    text = _shortened(text, _REACTION_LENGTH)
    if reaction.delay is not None:
        text = f"{text}, delay"
    arrow = "→" if reverse is None else "⇄"
    if not reaction.reactants:
        text = f"∅ {arrow} {text}"
    if not reaction.products:
        text = f"{text} {arrow} ∅"
    return text


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 6]}…{text[-5:]}"


def _regulators(network: Network, box: _ReactionBox) -> frozenset[str]:
    """Return all names in the rates of a box, observables replaced by what they stand for."""
    symbols = network.expanded_rate(box.number).symbols()
    if box.is_reversible:
        symbols |= network.expanded_rate(box.number + 1).symbols()
    return symbols


def _species_to_draw(
    network: Network, boxes: Sequence[_ReactionBox], *, everything: bool
) -> list[str]:
    reacting = {
        name for box in boxes for name, _ in (*box.reaction.reactants, *box.reaction.products)
    }
    variables = [name for name in network.variable_names if name in reacting]
    if everything:
        return [*network.species_names, *variables]
    touched = reacting.union(*(_regulators(network, box) for box in boxes))
    return [*(name for name in network.species_names if name in touched), *variables]


def _face(network: Network, name: str) -> str:
    return _VARIABLE_FACE if name in network.variable_names else _SPECIES_FACE


def _amount(count: Coefficient) -> str:
    """Return what stands beside an arrow: how many molecules, or how much of a variable."""
    if isinstance(count, Expression):
        return _shortened(str(count), _SPECIES_LENGTH)
    return "" if count == 1 else number_text(float(count))


def _arrows(
    network: Network, species: Sequence[str], boxes: Sequence[_ReactionBox]
) -> list[_Arrow]:
    arrows = []
    place = {name: i for i, name in enumerate(species)}
    for number, box in enumerate(boxes, start=len(species)):
        reactants, products = dict(box.reaction.reactants), dict(box.reaction.products)
        for name in {**reactants, **products}:
            taken, made = reactants.get(name), products.get(name)
            if taken is not None and taken == made:
                arrows.append(_Arrow(place[name], number, "catalyst", _amount(taken), False, 0.0))
                continue
            bend = 0.22 if taken is not None and made is not None else 0.0
            for role, count in (("consumed", taken), ("produced", made)):
                if count is not None:
                    amount = _amount(count)
                    arrows.append(
                        _Arrow(place[name], number, role, amount, box.is_reversible, bend)
                    )
        regulators = _regulators(network, box) - reactants.keys() - products.keys()
        arrows += [
            _Arrow(place[name], number, "catalyst", "", False, 0.0)
            for name in species
            if name in regulators
        ]
    return arrows


# Drawing -----------------------------------------------------------------------------------------


def _text_size(label: str, font: float) -> NDArray[np.float64]:
    """Return width and height of a label in inches, without needing a canvas."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    width = TextPath((0.0, 0.0), plain_text(label), font, FontProperties()).get_extents().width
    # Heights differ from letter to letter; boxes of one height look calmer.
    return np.array([max(width, 0.6 * font), 1.15 * font]) / _POINTS_PER_INCH


def _axes_of_size(ax: Axes | None, half_sizes: NDArray[np.float64]) -> Axes:
    """Return `ax`, or axes that fill a new figure with room for boxes of these sizes."""
    if ax is not None:
        return ax
    from matplotlib import pyplot

    # Boxes should cover about a twelfth of the page, the arrows need the rest.
    roomy = half_sizes + np.array([0.12, 0.06])
    area = 12.0 * float((4.0 * roomy.prod(axis=1)).sum())
    width = float(np.clip(np.sqrt(1.5 * area), 5.0, 16.0))
    height = float(np.clip(width / 1.5, 3.2, 12.0))
    figure = pyplot.figure(figsize=(width, height))
    return figure.add_axes((0.0, 0.0, 1.0, 1.0))


def _frame(ax: Axes) -> NDArray[np.float64]:
    """Return width and height of the axes in inches."""
    figure = ax.figure.figure  # also where the axes are in a part of the figure
    assert figure is not None
    # A constrained layout settles the size of the axes only when the figure is drawn.
    figure.draw_without_rendering()
    extent = ax.get_window_extent()
    return np.array([extent.width, extent.height]) / figure.dpi


def _draw_box(
    ax: Axes,
    centre: NDArray[np.float64],
    half_size: NDArray[np.float64],
    label: str,
    font: float,
    name: str,
    face: str,
) -> Any:
    from matplotlib.patches import FancyBboxPatch

    corner, size = centre - half_size, 2.0 * half_size
    is_species = face != _REACTION_FACE  # or a variable
    # boxstyle adds its pad outside, so it is 0 and the box is exactly what the layout knows.
    style = f"round,pad=0,rounding_size={0.8 * half_size[1]:.4f}" if is_species else "square,pad=0"
    patch = FancyBboxPatch(
        (float(corner[0]), float(corner[1])),
        float(size[0]),
        float(size[1]),
        boxstyle=style,
        facecolor=face,
        edgecolor=OKABE_ITO[0] if is_species else GREY,
        linewidth=1.2 if is_species else 0.8,
        zorder=3.0,
        gid=name,
    )
    ax.add_patch(patch)
    ax.text(
        float(centre[0]),
        float(centre[1]),
        plain_text(label),
        fontsize=font,
        ha="center",
        va="center_baseline",
        zorder=4.0,
        gid=f"label of {name}",
    )
    return patch


def _draw_arrow(
    ax: Axes,
    arrow: _Arrow,
    centres: NDArray[np.float64],
    half_sizes: NDArray[np.float64],
    patches: Sequence[Any],
) -> None:
    from matplotlib.patches import FancyArrowPatch

    # Every line runs from where the molecules come to where they go.
    ends = (arrow.species, arrow.reaction)
    if arrow.role == "produced":
        ends = (arrow.reaction, arrow.species)
    start, end = centres[ends[0]], centres[ends[1]]
    looks = {
        "consumed": ("<-" if arrow.is_reversible else "-", _CONSUMED, "-"),
        "produced": ("-|>", _PRODUCED, "-"),
        "catalyst": ("-", _CATALYST, (0, (3.5, 2.2))),
    }
    style, colour, dashes = looks[arrow.role]
    line = FancyArrowPatch(
        (float(start[0]), float(start[1])),
        (float(end[0]), float(end[1])),
        arrowstyle=style,
        connectionstyle=f"arc3,rad={arrow.bend}",
        patchA=patches[ends[0]],
        patchB=patches[ends[1]],
        shrinkA=1.0,
        shrinkB=1.0,
        mutation_scale=10.0,
        color=colour,
        linewidth=1.1,
        linestyle=dashes,
        zorder=2.0,
        gid=f"{arrow.role} {patches[arrow.species].get_gid()}, {patches[arrow.reaction].get_gid()}",
    )
    ax.add_patch(line)
    if not arrow.molecules:
        return
    # The visible part of the line lies between the two boxes; the number stands in its middle.
    direction = end - start
    length = float(np.hypot(*direction))
    near, far = (_reach(direction / length, half_sizes[i]) / length for i in ends)
    middle = start + 0.5 * (near + 1.0 - far) * direction
    # The middle of a curve lies aside of the straight line by half the bend times its length.
    middle = middle + 0.5 * arrow.bend * np.array([direction[1], -direction[0]])
    ax.text(
        float(middle[0]),
        float(middle[1]),
        arrow.molecules,
        fontsize=_COUNT_FONT,
        color=colour,
        ha="center",
        va="center",
        zorder=2.5,
        bbox={"boxstyle": "round,pad=0.12", "facecolor": "white", "edgecolor": "none"},
    )


def _reach(direction: NDArray[np.float64], half_size: NDArray[np.float64]) -> float:
    """Return how far a box reaches from its centre in a direction of length 1."""
    with np.errstate(divide="ignore"):
        return float(np.min(half_size / np.abs(direction)))


def _add_legend(ax: Axes, arrows: Sequence[_Arrow], width: float, faces: frozenset[str]) -> float:
    """Explain boxes and lines below the picture, and return the height this takes in inches."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Patch(facecolor=face, edgecolor=OKABE_ITO[0], linewidth=1.2, label=_KINDS[face])
        for face in (_SPECIES_FACE, _VARIABLE_FACE)
        if face in faces
    ]
    if _REACTION_FACE in faces:
        handles.append(
            Patch(facecolor=_REACTION_FACE, edgecolor=GREY, linewidth=0.8, label="reaction")
        )
    roles = {arrow.role for arrow in arrows}
    if "consumed" in roles:
        handles.append(Line2D([], [], color=_CONSUMED, linewidth=1.1, label="consumed"))
    if "produced" in roles:
        handles.append(
            Line2D([], [], color=_PRODUCED, linewidth=1.1, marker=">", markersize=6, label="made")
        )
    if any(arrow.is_reversible and arrow.role == "consumed" for arrow in arrows):
        handles.append(
            Line2D(
                [],
                [],
                color=_CONSUMED,
                linewidth=1.1,
                marker="$>$",
                markersize=6,
                label="made by the reverse",
            )
        )
    if "catalyst" in roles:
        handles.append(
            Line2D(
                [],
                [],
                color=_CATALYST,
                linewidth=1.1,
                linestyle=(0, (3.5, 2.2)),
                label="catalyst or in the rate",
            )
        )
    # Handle, gaps and text of every entry, in inches.
    total_width = sum(
        0.55 + float(_text_size(str(handle.get_label()), _REACTION_FONT)[0]) for handle in handles
    )
    n_rows = int(np.ceil(total_width / (width - 0.2)))
    n_columns = -(-len(handles) // n_rows)
    ax.legend(
        handles=handles,
        loc="lower center",
        ncols=n_columns,
        frameon=False,
        fontsize=_REACTION_FONT,
        borderaxespad=0.2,
        columnspacing=1.4,
    )
    return _LEGEND_HEIGHT * n_rows
