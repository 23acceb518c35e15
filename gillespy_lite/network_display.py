"""A network as text of the language, as HTML and as LaTeX."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from .expression_display import latex_name, number_text
from .expressions import Expression, Number
from .reactions import Coefficient, Delay, Reaction, ReversibleReaction, Terms, side_text

if TYPE_CHECKING:
    from .declarations import Compartment
    from .events import Event
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
        and forward.delay is None
        and reverse.delay is None
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
        *(line for one in network.compartments for line in _compartment_lines(one)),
    ]
    reactions = [
        str(forward) if reverse is None else str(ReversibleReaction(forward, reverse))
        for forward, reverse in _reaction_lines(network.reactions)
    ]
    rules = [f"{one.name}' = {one.rate}" for one in network.variables if one.rate is not None]
    happenings = [*reactions, *rules, *map(str, network.events)]
    lines = [*declarations, *([""] if happenings else []), *happenings]
    return "\n".join(lines) + "\n"


def _compartment_lines(compartment: Compartment) -> Iterator[str]:
    # A line names its compartment, so that long ones may go on behind one another.
    start = f"compartment {compartment.size}"
    if not compartment.contents:
        yield start
    yield from _declared(f"{start}:", _content_texts(compartment))


def _content_texts(compartment: Compartment) -> Iterator[str]:
    concentrations = frozenset(compartment.as_concentrations)
    return (f"[{name}]" if name in concentrations else name for name in compartment.contents)


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
            _rate_text(forward) if reverse is None else f"{forward.rate}, {reverse.rate}",
        )
        for forward, reverse in _reaction_lines(network.reactions)
    )
    tables = (
        table("Species", ((one.name, one.initial) for one in network.species)),
        table("Variables", ((one.name, _number_text(one.initial)) for one in network.variables)),
        table("Parameters", ((one.name, _number_text(one.value)) for one in network.parameters)),
        table("Observables", ((one.name, one.expression) for one in network.observables)),
        table("Reactions", reactions),
        table("Rules", ((f"{v.name}' =", v.rate) for v in network.variables if v.rate is not None)),
        table("Events", map(_event_cells, network.events)),
        table(
            "Compartments",
            ((one.size, ", ".join(_content_texts(one))) for one in network.compartments),
        ),
    )
    return f"<div>{''.join(tables)}</div>"


def _rate_text(reaction: Reaction) -> str:
    """Return all that follows the @ of a reaction."""
    late = "" if reaction.delay is None else f" delay {reaction.delay}"
    return f"{reaction.rate}{late}{'' if reaction.limited else ' unlimited'}"


def _event_cells(event: Event) -> tuple[str, str, str]:
    """Return name, condition with clauses, and assignments of an event."""
    text = str(event).removeprefix(f"{event.name}: " if event.name else "")
    assignments = _assignment_text(event)
    return event.name, text.removesuffix(f": {assignments}"), assignments


def _assignment_text(event: Event) -> str:
    return ", ".join(f"{target} = {value}" for target, value in event.written_assignments())


def _side_latex(terms: Terms) -> str:
    return " + ".join(_term_latex(*term) for term in terms) or r"\emptyset"


def _term_latex(name: str, count: Coefficient) -> str:
    if isinstance(count, Expression):
        return rf"\left({count.to_latex()}\right)\,{latex_name(name)}"
    if count == 1:
        return latex_name(name)
    return rf"{Number(count).to_latex()}\,{latex_name(name)}"


def _delay_latex(delay: Delay) -> str:
    arguments = ", ".join(argument.to_latex() for argument in delay.arguments)
    text = arguments
    if delay.law != "fixed":
        text = rf"\mathrm{{{delay.law}}}\left({arguments}\right)"
    late = r"\text{, consuming on completion}" if delay.consuming == "completion" else ""
    return rf"\text{{ delay }} {text}{late}"


def _event_latex(event: Event) -> str:
    clauses = [
        rf"\text{{when }} {event.trigger.to_latex()}",
        *([rf"\text{{after }} {event.delay.to_latex()}"] if event.delay is not None else []),
        *(
            [rf"\text{{priority }} {event.priority.to_latex()}"]
            if event.priority is not None
            else []
        ),
        *([] if event.persistent else [r"\text{not persistent}"]),
        *([r"\text{initially true}"] if event.initially else []),
        *([r"\text{values at trigger}"] if event.values == "trigger" else []),
    ]
    names = (
        rf"\left[{latex_name(target)}\right]"
        if target in event.as_concentrations
        else latex_name(target)
        for target, _ in event.assignments
    )
    assignments = (
        rf"{name} \leftarrow {value.to_latex()}"
        for name, (_, value) in zip(names, event.assignments, strict=True)
    )
    comma = r",\ "
    return f"{comma.join(clauses)} &: {comma.join(assignments)}"


def network_latex(network: Network) -> str:
    """Return reactions with their rates, rules and events; what `Network.to_latex` returns."""
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
        if forward.delay is not None:
            line += (
                rf"{' &&' if forward.kind == 'mass_action' else ''} {_delay_latex(forward.delay)}"
            )
        lines.append(line)
    for variable in network.variables:
        if variable.rate is None:
            continue
        name = latex_name(variable.name)
        left = rf"\frac{{\mathrm{{d}}{name}}}{{\mathrm{{d}}t}}"
        lines.append(f"{left} &= {variable.rate.to_latex()}")
    lines += map(_event_latex, network.events)
    body = " \\\\\n".join(lines)
    return f"\\begin{{align*}}\n{body}\n\\end{{align*}}"
