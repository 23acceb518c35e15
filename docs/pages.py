"""Run the code of the pages, and compare what it prints and what the tables say with the pages.

    python docs/pages.py            compare; exit code 1 if a page is out of date
    python docs/pages.py --update   rewrite what is out of date
    python docs/pages.py running    only pages of this name

What a fenced block means is in its language tag:

``python``
    Runs, in one namespace per page, in a folder of its own.
``network``
    A text in the language, which must be read without an error; or, if an ``output`` block
    follows, must be refused with exactly that message.
``mistakes``
    Messages, each with a line that is wrong where it stands: behind the last ``network`` block that
    was read without an error.
``console``
    Shell commands after ``$``, each followed by what it prints. They run in the page's folder.
``output``
    What the block directly before it prints.

Other tags (``py``, ``sh``, ``julia``, ...) are shown and not run. Durations, sizes
of memory, digests of files and the version are not compared.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

DOCS = Path(__file__).resolve().parent
PAGES = [DOCS.parent / "README.md", *sorted(DOCS.glob("*.md"))]

_FENCE = re.compile(
    r"^(?P<fence>`{3,})(?P<tag>[^`\n]*)\n(?P<body>.*?)^(?P=fence)[ ]*$", re.M | re.S
)
_TABLE = re.compile(r"(?<=<!-- table: )([\w-]+)( -->\n)(.*?)(?=<!-- end of table -->)", re.S)
# Seconds, memory sizes and digests of files that hold seconds differ from run to run, the version
# from release to release.
_VARYING = re.compile(
    r"[\d.]+(e-?\d+)?(?= (s|[KMGT]iB of memory)\b)"
    r"|[0-9a-f]{12}(?=\.\.\.)|(?<=gillespy_lite )\d+\.\d+[\w.]*"
)

# How the notice of a compilation begins.
_COMPILING = "gillespy_lite: compiling "


class Block(NamedTuple):
    """A fenced block of a page."""

    tag: str
    body: str
    start: int  # where the body begins and ends in the text of the page
    end: int
    line: int  # of the first line of the body, from 1
    output: Block | None  # the ``output`` block directly behind it


class Difference(NamedTuple):
    """A place where a page does not say what the code says."""

    page: str
    line: int
    expected: str  # what the page says
    found: str
    start: int  # what to replace in the text of the page
    end: int

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: the page says\n{self.expected}\nbut it is\n{self.found}"


def blocks_of(text: str) -> list[Block]:
    """Return the fenced blocks of a page, each with the output that follows it."""
    found: list[Block] = []
    following: re.Match[str] | None = None
    for match in reversed(list(_FENCE.finditer(text))):
        output = None
        is_before_output = following is not None and following["tag"] == "output"
        if is_before_output and not text[match.end() : following.start()].strip():
            output = _block(text, following, None)
        found.append(_block(text, match, output))
        following = match
    return found[::-1]


def _block(text: str, match: re.Match[str], output: Block | None) -> Block:
    start, end = match.span("body")
    return Block(match["tag"], match["body"], start, end, text.count("\n", 0, start) + 1, output)


def run_page(page: Path, folder: Path) -> list[Difference]:
    """Run the blocks of a page in `folder`; return what the page says wrongly.

    An error that the page does not catch itself is raised.
    """
    text = page.read_text(encoding="utf-8")
    differences: list[Difference] = []

    def compare(block: Block, expected: str, found: str) -> None:
        if _comparable(expected) != _comparable(found):
            place = block.line, expected, found, block.start, block.end
            differences.append(Difference(page.name, *place))

    runner = _Runner(page)
    with contextlib.chdir(folder):
        for block in blocks_of(text):
            if block.tag in ("console", "mistakes"):
                compare(block, block.body, getattr(runner, block.tag)(block))
            elif block.tag in ("network", "python"):
                printed = getattr(runner, block.tag)(block)
                if block.output is not None:
                    compare(block.output, block.output.body, printed)
    for match in _TABLE.finditer(text):
        start, end = match.span(3)
        line = text.count("\n", 0, start) + 1
        found = TABLES[match[1]]()
        if found != match[3]:
            differences.append(Difference(page.name, line, match[3], found, start, end))
    return differences


def _comparable(text: str) -> str:
    return "\n".join(line.rstrip() for line in _VARYING.sub("#", text).strip("\n").splitlines())


# Running -----------------------------------------------------------------------------------------


class _Runner:
    """What the blocks of one page share. Each method returns what a block should say."""

    def __init__(self, page: Path) -> None:
        self._page = page
        self._namespace: dict[str, Any] = {"__name__": "__main__"}
        self._network = ""

    def python(self, block: Block) -> str:
        # Line numbers of tracebacks are those of the page.
        code = compile("\n" * (block.line - 1) + block.body, str(self._page), "exec")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, self._namespace)  # noqa: S102
        if "matplotlib.pyplot" in sys.modules:
            sys.modules["matplotlib.pyplot"].close("all")
        return printed.getvalue()

    def network(self, block: Block) -> str:
        message = _mistake_in(block.body)
        if message and block.output is None:
            raise ValueError(f"{self._page.name}:{block.line}: {message}")
        if not message:
            self._network = block.body
        return message

    def mistakes(self, block: Block) -> str:
        messages = []
        for line in re.findall(r"^    (.*\S.*)$", block.body, re.M):
            if line.strip() == "^":
                continue
            message = _mistake_in(self._network + line)
            if not message:
                raise ValueError(f"{self._page.name}:{block.line}: no mistake in {line!r}")
            messages.append(message)
        return "\n".join(messages)

    def console(self, block: Block) -> str:
        # The command of the package that is being documented, whether or not it is on the path.
        command = f'{shlex.quote(sys.executable)} -m gillespy_lite "$@"'
        lines = []
        for line in block.body.splitlines():
            if line.startswith("$ "):
                done = subprocess.run(
                    ["bash", "-c", f"gillespy-lite() {{ {command}; }}\n{line[2:]}"],  # noqa: S607
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    check=False,
                    env={**os.environ, "COLUMNS": "80", "PYTHONWARNINGS": "error"},
                )
                # What a first run says of compiling depends on what ran before, and where.
                said = [x for x in done.stdout.splitlines() if not x.startswith(_COMPILING)]
                lines += [line, *said]
        return "\n".join(lines) + "\n"


def _mistake_in(text: str) -> str:
    """Return the message about a network in text, or nothing if it is one."""
    from gillespy_lite.dsl import parse_network
    from gillespy_lite.errors import ParseError

    try:
        parse_network(text, "model.txt")
    except ParseError as error:
        return f"{error}\n"
    return ""


# Tables ------------------------------------------------------------------------------------------


def _table(header: list[str], rows: Iterator[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _code(text: object) -> str:
    return f"`{text}`"


def _linked(citation: str) -> str:
    return re.sub(
        r"doi:(10\.[^\s;,]+)",
        lambda match: f"[doi:{match[1]}](https://doi.org/{match[1]})",
        citation,
    )


def _methods_table() -> str:
    from gillespy_lite import METHODS

    return _table(
        ["method", "what it is", "exact", "rates with `t`", "variables", "source"],
        (
            [
                _code(name),
                method.summary,
                "yes" if method.is_exact else "no",
                "yes" if method.supports_time_dependence else "refused",
                "yes" if method.supports_variables else "refused",
                _linked(method.citation),
            ]
            for name, method in METHODS.items()
        ),
    )


def _cells_table() -> str:
    from gillespy_lite.ode_rnn import CELLS

    rows = (
        [
            f"`{name}`",
            cell.summary,
            f"{cell.order:g}{' (weak)' if cell.is_stochastic else ''}",
            "chosen and recorded" if cell.is_adaptive else "`steps=`",
            "yes" if cell.has_gradient else "none",
            _linked(cell.citation),
        ]
        for name, cell in CELLS.items()
    )
    return _table(["cell", "what it is", "order", "steps", "gradient", "source"], rows)


def _options_table() -> str:
    from gillespy_lite import METHODS

    return _table(
        ["method", "option", "default"],
        (
            [_code(name), _code(option), _code(repr(default))]
            for name, method in METHODS.items()
            for option, default in method().options().items()
        ),
    )


# What each function gives, beside the signature that the language itself states.
_FUNCTION_MEANINGS = {
    "exp": "e to the power x",
    "log": "natural logarithm",
    "log10": "decimal logarithm",
    "sqrt": "square root",
    "abs": "absolute value",
    "sin": "sine of x radians",
    "cos": "cosine of x radians",
    "tan": "tangent of x radians",
    "tanh": "hyperbolic tangent",
    "floor": "largest whole number not above x",
    "ceil": "smallest whole number not below x",
    "asin": "inverse sine, from -pi/2 to pi/2",
    "acos": "inverse cosine, from 0 to pi",
    "atan": "inverse tangent, from -pi/2 to pi/2",
    "sinh": "hyperbolic sine",
    "cosh": "hyperbolic cosine",
    "asinh": "inverse hyperbolic sine",
    "acosh": "inverse hyperbolic cosine, at least 0",
    "atanh": "inverse hyperbolic tangent",
    "factorial": "factorial; of any number x, Gamma(x + 1)",
    "min": "smallest of two or more values",
    "max": "largest of two or more values",
    "pow": "x to the power y, the same as `x^y`",
    "hill": "rising Hill function `x^n/(K^n + x^n)`, without overflow",
    "hillr": "falling Hill function `K^n/(K^n + x^n)`, without overflow",
    "mratio": "`M(a + 1, b + 1, z)/M(a, b, z)` of Kummer's function M = 1F1",
    "if": "a where the condition is not 0, else b",
    "piecewise": "the first value whose condition holds, else the last",
}
_PYTHON_NAMES = {
    "abs": "abs",
    "min": "minimum",
    "max": "maximum",
    "if": "if_",
    "pow": "x**y",
}


def _functions_table() -> str:
    from gillespy_lite.rate_laws import FUNCTIONS

    return _table(
        ["in text", "value", "in Python"],
        (
            [
                _code(function.signature),
                _FUNCTION_MEANINGS[name],
                _code(_PYTHON_NAMES.get(name, name)),
            ]
            for name, function in FUNCTIONS.items()
        ),
    )


def _reserved_table() -> str:
    from gillespy_lite.rate_laws import RESERVED

    groups: dict[str, list[str]] = {}
    for word, what in RESERVED.items():
        groups.setdefault(what.removeprefix("a ").removeprefix("the "), []).append(word)
    return _table(
        ["what", "words"],
        ([what, ", ".join(map(_code, words))] for what, words in groups.items()),
    )


def _limits_table() -> str:
    from gillespy_lite import dsl, network, rate_laws

    limits = [
        ("characters of a text", dsl.MAX_TEXT),
        ("characters of a line", dsl.MAX_LINE),
        ("characters of a name", rate_laws.MAX_NAME_LENGTH),
        ("brackets, signs and exponents inside one another", rate_laws.MAX_NESTING),
        (
            "numbers, names and operations of an expression, with its observables put in",
            rate_laws.MAX_NODES,
        ),
        ("molecules of one species on one side of a reaction", network.MAX_COEFFICIENT),
        ("molecules that one mass-action reaction takes", network.MAX_MASS_ACTION),
        ("words, numbers and signs on one side of a reaction", dsl.MAX_SIDE),
        ("an initial count", network.MAX_COUNT),
    ]
    return _table(["limit", "at most"], ([what, f"{limit:,}"] for what, limit in limits))


def _models_table() -> str:
    from gillespy_lite.models import MODELS

    return _table(
        ["model", "what it is", "species", "reactions", "`t_end`", "unit of time", "exact law"],
        (
            [
                _code(name),
                model.description,
                str(network.n_species),
                str(network.n_reactions),
                f"{model.t_end:g}",
                model.time_unit,
                "yes" if model.law is not None else "",
            ]
            for name, model in MODELS.items()
            for network in [model.build()]
        ),
    )


def _model_sources_table() -> str:
    from gillespy_lite.models import MODELS

    return _table(
        ["model", "source"],
        ([_code(name), _linked(model.source)] for name, model in MODELS.items()),
    )


def _closures_table() -> str:
    from gillespy_lite.moments import CLOSURES

    rows = ([_code(name), one.summary, _linked(one.citation)] for name, one in CLOSURES.items())
    return _table(["closure", "what it supposes", "source"], rows)


def _errors_table() -> str:
    from gillespy_lite import errors

    return _table(
        ["error", "also a", "when"],
        (
            [
                _code(name),
                ", ".join(_code(base.__name__) for base in kind.__bases__),
                re.sub(r"(?<!\.)\.$", "", kind.__doc__.splitlines()[0]).replace("``", "`"),
            ]
            for name in errors.__all__
            for kind in [getattr(errors, name)]
        ),
    )


def _plot_kinds_table() -> str:
    from gillespy_lite.plotting import KINDS

    kinds = dict.fromkeys(kind for one in KINDS.values() for kind in one)
    return _table(
        ["kind", *(_code(result.__name__) for result in KINDS), "function"],
        (
            [
                _code(kind),
                *("yes" if kind in one else "" for one in KINDS.values()),
                _code(
                    next(
                        one[kind].__name__.replace("_draw_network_of", "draw_network")
                        for one in KINDS.values()
                        if kind in one
                    )
                ),
            ]
            for kind in kinds
        ),
    )


def _run_options_table() -> str:
    from gillespy_lite import cli

    commands = next(
        action
        for action in cli._parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )

    def shown(action: argparse.Action) -> str:
        value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
        return f"{action.option_strings[-1]}{value}"

    return _table(
        ["option", "meaning"],
        (
            [_code(shown(action)), (action.help or "").replace("see below", "see Methods")]
            for action in commands.choices["run"]._actions
            if action.option_strings and action.dest != "help"
        ),
    )


TABLES: dict[str, Callable[[], str]] = {
    "cells": _cells_table,
    "closures": _closures_table,
    "errors": _errors_table,
    "functions": _functions_table,
    "limits": _limits_table,
    "methods": _methods_table,
    "model-sources": _model_sources_table,
    "models": _models_table,
    "options": _options_table,
    "plot-kinds": _plot_kinds_table,
    "reserved": _reserved_table,
    "run-options": _run_options_table,
}


# The command -------------------------------------------------------------------------------------


def _updated(text: str, differences: list[Difference]) -> str:
    for difference in sorted(differences, key=lambda one: one.start, reverse=True):
        text = text[: difference.start] + difference.found + text[difference.end :]
    return text


def main() -> int:
    """Compare or update the pages; return 1 if one is out of date or fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="names of pages, such as running; all by default")
    parser.add_argument("--update", action="store_true", help="rewrite what is out of date")
    options = parser.parse_args()
    os.environ["MPLBACKEND"] = "Agg"
    failed = False
    for page in PAGES:
        if options.names and page.stem not in options.names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                differences = run_page(page, Path(folder))
            except Exception:
                failed = True
                sys.stderr.write(f"{page.name}:\n{traceback.format_exc(limit=-3)}\n")
                continue
        if differences and options.update:
            text = _updated(page.read_text(encoding="utf-8"), differences)
            page.write_text(text, encoding="utf-8")
            sys.stdout.write(f"{page.name}: {len(differences)} places rewritten\n")
        elif differences:
            failed = True
            sys.stdout.write("\n".join(map(str, differences)) + "\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
