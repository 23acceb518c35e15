"""A network as text of the language, as HTML and as LaTeX."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from .expression_display import latex_name, number_text
from .expressions import Expression
from .reactions import Reaction, ReversibleReaction, Terms, side_text

if TYPE_CHECKING:
    from .network import Network

__all__ = ["network_html", "network_latex", "network_text"]

HTML_ROWS = 200  # of each table in a notebook


def _declared(keyword: str, entries: Iterable[str]) -> Iterator[str]:
    """Put as many declarations on a line as fit in 88 characters."""
    line = ""
    for entry in entries:
        if line and len(line) + 2 + len(entry) > 88:
            yield line
            line = ""
        line = f"{line}, {entry}" if line else f"{keyword} {entry}"
    if line:
        yield line


def _is_pair(forward: Reaction, reverse: Reaction) -> bool:
    """Whether two adjacent reactions are what one line with ``<->`` is read as."""
    expected_name = f"{forward.name}_reverse" if forward.name else ""
    return (
        forward.kind == reverse.kind == "mass_action"
        and forward.reactants == reverse.products
        and forward.products == reverse.reactants
        and reverse.name == expected_name
    )


def _reaction_lines(reactions: Sequence[Reaction]) -> Iterator[tuple[Reaction, Reaction | None]]:
    """Give the reactions, with the reverse one where the two are written on one line."""
    index = 0
    while index < len(reactions):
        forward = reactions[index]
        reverse = reactions[index + 1] if index + 1 < len(reactions) else None
        if reverse is not None and _is_pair(forward, reverse):
            yield forward, reverse
            index += 2
        else:
            yield forward, None
            index += 1


def network_text(network: Network) -> str:
    """Return the network in the language; what `Network.text` returns."""
    declarations = [
        *_declared(
            "species",
            (
                one.name if one.initial == 0 else f"{one.name} = {one.initial}"
                for one in network.species
            ),
        ),
        *_declared(
            "variable",
            (
                one.name if one.initial == 0 else f"{one.name} = {_number_text(one.initial)}"
                for one in network.variables
            ),
        ),
        *_declared(
            "param",
            (f"{one.name} = {_number_text(one.value)}" for one in network.parameters),
        ),
        *(f"observe {one.name} = {one.expression}" for one in network.observables),
    ]
    reactions = [
        str(forward) if reverse is None else str(ReversibleReaction(forward, reverse))
        for forward, reverse in _reaction_lines(network.reactions)
    ]
    rules = [f"{one.name}' = {one.rate}" for one in network.variables]
    lines = [*declarations, *([""] if reactions or rules else []), *reactions, *rules]
    return "\n".join(lines) + "\n"


def _number_text(value: float | Expression) -> str:
    return str(value) if isinstance(value, Expression) else number_text(value)


def network_html(network: Network) -> str:
    """Return tables; what a notebook shows."""

    def cell(text: object) -> str:
        return f'<td style="text-align: left">{html.escape(str(text))}</td>'

    def table(title: str, rows: Iterable[Sequence[object]]) -> str:
        listed = list(rows)
        body = "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in listed[:HTML_ROWS])
        if len(listed) > HTML_ROWS:
            body += f"<tr>{cell(f'... and {len(listed) - HTML_ROWS} more')}</tr>"
        head = f'<caption style="text-align: left"><b>{title}</b></caption>'
        return f"<table>{head}<tbody>{body}</tbody></table>" if body else ""

    reactions = (
        (
            forward.name,
            forward.equation
            if reverse is None
            else f"{side_text(forward.reactants)} <-> {side_text(forward.products)}",
            forward.rate if reverse is None else f"{forward.rate}, {reverse.rate}",
        )
        for forward, reverse in _reaction_lines(network.reactions)
    )
    tables = (
        table("Species", ((one.name, one.initial) for one in network.species)),
        table("Variables", ((one.name, _number_text(one.initial)) for one in network.variables)),
        table("Parameters", ((one.name, _number_text(one.value)) for one in network.parameters)),
        table("Observables", ((one.name, one.expression) for one in network.observables)),
        table("Reactions", reactions),
        table("Rules", ((f"{one.name}' =", one.rate) for one in network.variables)),
    )
    return f"<div>{''.join(tables)}</div>"


def _side_latex(terms: Terms) -> str:
    parts = (
        latex_name(name) if count == 1 else rf"{count}\,{latex_name(name)}" for name, count in terms
    )
    return " + ".join(parts) or r"\emptyset"


def network_latex(network: Network) -> str:
    """Return the reactions with their rates, and the rules; what `Network.to_latex` returns."""
    lines = []
    for forward, reverse in _reaction_lines(network.reactions):
        left, right = _side_latex(forward.reactants), _side_latex(forward.products)
        rate = forward.rate.to_latex()
        if reverse is not None:
            back = reverse.rate.to_latex()
            arrow = rf"\underset{{{back}}}{{\overset{{{rate}}}{{\rightleftharpoons}}}}"
            line = f"{left} &{arrow} {right}"
        elif forward.kind == "mass_action":
            line = rf"{left} &\xrightarrow{{{rate}}} {right}"
        else:
            line = rf"{left} &\Rightarrow {right} && {rate}"
        lines.append(line)
    for variable in network.variables:
        assert variable.rate is not None
        name = latex_name(variable.name)
        left = rf"\frac{{\mathrm{{d}}{name}}}{{\mathrm{{d}}t}}"
        lines.append(f"{left} &= {variable.rate.to_latex()}")
    body = " \\\\\n".join(lines)
    return f"\\begin{{align*}}\n{body}\n\\end{{align*}}"
