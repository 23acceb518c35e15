"""The command ``gillespy-lite``: run, explain and plot networks without writing Python.

Exit codes: 0 done, 1 an error in the model or the run, 2 a mistake on the command line, 130
interrupted by Ctrl-C, after what was complete has been written.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from .errors import GillespyLiteError, Interrupted, SimulationError, StoreWriteError
from .store_commands import add_store
from .version import __version__

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .network import Network
    from .results import Distribution, Ensemble, EnsembleStatistics, Scan, Trajectory

    Result: TypeAlias = Trajectory | Ensemble | EnsembleStatistics
    Saved: TypeAlias = Result | Distribution | Scan

__all__ = ["main"]

PROGRAM = "gillespy-lite"
DONE, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130
# Enough for a mean with an error of 3 % of the standard deviation.
DEFAULT_N = 1000
_PICTURE_TYPES = (".png", ".pdf", ".svg")
_PICTURE_DOTS_PER_INCH = 150
_KINDS = (
    *("band", "fan", "histogram", "phase", "overlay", "hitting", "path", "network"),
    *("law", "heatmap", "evolution"),  # of a saved solution of the master equation
    "scan",
)

# What a user can mend; anything else is a mistake of ours and keeps its traceback.
_USER_ERRORS = (GillespyLiteError, OSError, ValueError, TypeError, KeyError)

_MAIN_HELP = """\
Stochastic reaction networks: sample trajectories of a network written in a few lines of text.

A model file looks like this:

    species S = 301, E = 120, ES, P       # initial counts; 0 where none is given
    param kf = 0.00166, kr = 1e-4, kcat = 0.1

    S + E <-> ES   @ kf, kr               # mass action, with its rate constants after @
    ES -> E + P    @ kcat
    P => S         @ 2*P/(40 + P)         # =>: the propensity is exactly the expression
"""

_MAIN_EXAMPLES = """\
examples:
  gillespy-lite run model.txt --t 200 -n 1000 --plot out.png --csv out.csv
  gillespy-lite run vilar                    a stock model, over the time span it suggests
  gillespy-lite explain model.txt            what the model means, and which methods can run it
  gillespy-lite plot model.txt network.png   a picture of the reactions
  gillespy-lite models                       the stock models
  gillespy-lite store info runs/vilar        what a store holds; also verify, merge, export
  gillespy-lite warmup                       compile ahead, once after installing
  gillespy-lite run --help                   every option of a run, with examples

exit codes: 0 done; 1 error in the model or the run; 2 mistake on the command line; 130 interrupted
"""

_RUN_HELP = """\
Run a network, print a summary and the seed, and write what is asked for.

Many trajectories give means, standard deviations and extremes at the last time; one trajectory
(-n 1) its first, last, smallest and largest counts. Ctrl-C writes the trajectories that are
finished before it stops.
"""

_RUN_EXAMPLES = """\
examples:
  gillespy-lite run model.txt --t 200
      1000 trajectories, with the means and standard deviations at t = 200
  gillespy-lite run model.txt --t 200 -n 10000 --seed 7 --csv out.csv --plot out.png
      the same numbers every time, whatever --threads is; a table and a plot
  gillespy-lite run model.txt --times 0:50:501 --outputs P,total --save run.npz
      501 times from 0 to 50, only these species and observables; gillespy_lite.load reads the file
  gillespy-lite run model.txt --t 50 --set kcat=0.2 --initial S=500
      other parameters and initial counts than in the file
  gillespy-lite run model.txt --t 1e6 --stop-when "P >= 80" --plot when.png --kind hitting
      when a condition is first met
  gillespy-lite run model.txt --t 200 --method tau_leaping --option epsilon=0.01
      an approximate method, with one of its options
  gillespy-lite run model.txt --t 200 -n 1000000 --statistics
      only means, covariances and histograms, in memory that does not grow with n
  gillespy-lite run vilar -n 100000 --store runs/vilar
      trajectories are kept on disk as they are finished; the same command goes on after a stop
  gillespy-lite run vilar --plot vilar.png --names A,R,C
      a stock model; 'gillespy-lite models' lists them
  gillespy-lite run schlogl --plot two_states.png --kind histogram --law
      a histogram at the last time, with the exact law over it

methods: auto (exact), direct, first_reaction, next_reaction, partial_propensity,
composition_rejection, rejection, exact_leaping (exact), tau_leaping (approximate), ode (the rate
equations);
'gillespy-lite explain model.txt' says which can run a model
"""

_PLOT_HELP = """\
Draw a saved result, or the network of a model.

A result is a file that 'gillespy-lite run ... --save' wrote. The picture's type follows from its
name: .png, .pdf or .svg.
"""

_PLOT_EXAMPLES = """\
examples:
  gillespy-lite plot run.npz mean.png                              mean, spread, a few trajectories
  gillespy-lite plot run.npz fan.png --kind fan --names P          median and quantile bands
  gillespy-lite plot run.npz end.png --kind histogram --names P --at 50
  gillespy-lite plot run.npz phase.png --kind phase --names S,P    one species against another
  gillespy-lite plot run.npz both.png --kind overlay               with the rate equations
  gillespy-lite plot model.txt network.png                         the reactions themselves
"""


class _UsageError(Exception):
    """A mistake on the command line that only shows when its parts are put together."""


class _Parser(argparse.ArgumentParser):
    """Reports a mistake in one line, and leaves the usage to --help."""

    def error(self, message: str) -> NoReturn:
        self.exit(MISUSED, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what a command line says.

    Parameters
    ----------
    arguments : sequence of str, optional
        The words after the program's name; by default those of this process.

    Returns
    -------
    int
        The exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        # A console without ∅ or ± should show a question mark, not stop the program.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    parser = _parser()
    try:
        given = parser.parse_args(arguments)
    except SystemExit as stop:
        return int(stop.code or DONE)
    if given.command is None:
        sys.stderr.write(parser.format_help())
        return MISUSED
    try:
        exit_code: int = given.command(given)
        sys.stdout.flush()
    except _UsageError as error:
        _complain(f"{error} (see {PROGRAM} {given.command_name} --help)", given.command_name)
        return MISUSED
    except KeyboardInterrupt:
        _complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output, like head, has had enough; Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except _USER_ERRORS as error:
        if given.traceback:
            raise
        _complain(_message(error))
        return FAILED
    return exit_code


# The command line --------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=PROGRAM,
        description=_MAIN_HELP,
        epilog=_MAIN_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_run(commands)
    _add_explain(commands)
    _add_plot(commands)
    _add_models(commands)
    add_store(commands, _add_command, PROGRAM)
    _add_warmup(commands)
    return parser


def _add_command(
    commands: Any, name: str, command: Callable[[argparse.Namespace], int], **texts: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        **texts,
    )
    parser.set_defaults(command=command, command_name=name)
    parser.add_argument(
        "--traceback", action="store_true", help="show where in the program an error was raised"
    )
    return parser


def _add_run(commands: Any) -> None:
    parser = _add_command(
        commands,
        "run",
        _run,
        help="sample trajectories of a model",
        description=_RUN_HELP,
        epilog=_RUN_EXAMPLES,
    )
    _add_model(parser)
    what = parser.add_argument_group("what to run")
    span = what.add_mutually_exclusive_group()
    span.add_argument(
        "--t", type=_positive, metavar="END", help="end time; counts are recorded at 101 times"
    )
    span.add_argument(
        "--times",
        type=_times,
        metavar="GRID",
        help="sampling times: START:END:COUNT, like 0:50:501, or a list, like 0,1,10,100",
    )
    what.add_argument(
        "-n", type=_whole, metavar="N", help=f"number of trajectories (default {DEFAULT_N})"
    )
    what.add_argument("--method", default="auto", help="see below (default auto)")
    what.add_argument(
        "--engine",
        default="auto",
        help="auto, table, lanes or specialised: how fast, never what (default auto)",
    )
    what.add_argument(
        "--option",
        type=_assignment,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of the method, like epsilon=0.01; may be repeated",
    )
    what.add_argument(
        "--stop-when",
        metavar="CONDITION",
        help="end a trajectory at the event that makes this true, like 'X >= 80'",
    )
    what.add_argument(
        "--seed", type=_seed, help="whole number; the same one gives the same trajectories"
    )
    what.add_argument(
        "--every-event", action="store_true", help="record every event of one trajectory"
    )
    what.add_argument(
        "--outputs",
        type=_names,
        metavar="A,B",
        help="species, variables and observables to record (default: all but observables)",
    )
    what.add_argument(
        "--statistics",
        action="store_true",
        help="keep only means, covariances, extremes and histograms",
    )
    how = parser.add_argument_group("how to run it")
    how.add_argument("--threads", type=_whole, metavar="K", help="threads (default: every core)")
    how.add_argument(
        "--timeout", type=_positive, metavar="SECONDS", help="stop then, with what is finished"
    )
    how.add_argument(
        "--max-events", type=_whole, metavar="N", help="most events allowed for one trajectory"
    )
    how.add_argument("--progress", action="store_true", help="show a progress bar")
    files = parser.add_argument_group("what to write")
    files.add_argument("--csv", metavar="FILE", help="a table of the counts (or statistics)")
    files.add_argument("--save", metavar="FILE", help="everything, for 'plot' and for Python")
    files.add_argument("--plot", type=_picture, metavar="FILE", help="a plot: .png, .pdf or .svg")
    files.add_argument(
        "--store",
        metavar="FOLDER",
        help="keep finished trajectories there, and take from it what is there already",
    )
    _add_plot_options(files)
    files.add_argument(
        "--law",
        action="store_true",
        help="draw the exact law over a histogram (stock models that have one)",
    )


def _add_explain(commands: Any) -> None:
    parser = _add_command(
        commands,
        "explain",
        _explain,
        help="say what a model means",
        description="Print what a model means: the propensity of each reaction and its counterpart "
        "in the rate\nequations, the stoichiometry matrix, conservation laws, and what each method "
        "can do with it.",
    )
    _add_model(parser)


def _add_plot(commands: Any) -> None:
    parser = _add_command(
        commands,
        "plot",
        _plot,
        help="draw a saved result, or a network",
        description=_PLOT_HELP,
        epilog=_PLOT_EXAMPLES,
    )
    parser.add_argument("source", metavar="SOURCE", help="saved result, model file or stock model")
    parser.add_argument("picture", type=_picture, metavar="FILE", help="the picture to write")
    _add_plot_options(parser)


def _add_models(commands: Any) -> None:
    parser = _add_command(
        commands,
        "models",
        _models,
        help="list the stock models, or print one",
        description="List the stock models, or print one of them as a model file to start from.",
        epilog="example:\n  gillespy-lite models vilar > my_model.txt",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="the model to print")


def _add_warmup(commands: Any) -> None:
    parser = _add_command(
        commands,
        "warmup",
        _warmup,
        help="compile ahead what first runs need",
        description="Compile the kernels of the default method, and keep them in the user's cache "
        "folder, so that\nno first run has to wait for it. Once after installing or updating.",
    )
    parser.add_argument(
        "--all", action="store_true", help="those of every method (some minutes, not seconds)"
    )


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="MODEL", help="model file, name of a stock model, or - for standard input"
    )
    for option, kind, example in (
        ("--set", "value of a parameter", "k=3"),
        ("--initial", "initial count, or initial value of a variable", "X=5"),
    ):
        parser.add_argument(
            option,
            type=_number_assignment,
            action="append",
            default=[],
            metavar="NAME=NUMBER",
            help=f"another {kind}, like {example}; may be repeated",
        )


def _add_plot_options(parser: Any) -> None:
    parser.add_argument(
        "--kind",
        choices=_KINDS,
        metavar="KIND",
        help="many trajectories: band (default), fan, histogram, phase, overlay (with the rate "
        "equations), hitting (of --stop-when); one: path (default), phase; either: network; a "
        "saved solution of the master equation: law (default), heatmap, evolution; a saved scan: "
        "scan",
    )
    parser.add_argument(
        "--names", type=_names, metavar="A,B", help="species, variables and observables to draw"
    )
    parser.add_argument(
        "--at", type=float, metavar="TIME", help="time of a histogram or a law (default: the last)"
    )


# Words of the command line -----------------------------------------------------------------------


def _positive(text: str) -> float:
    value = _float(text)
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, not {text}")
    return value


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, not {text!r}") from None


def _whole(text: str) -> int:
    """Read a number of things, also written like 1e6."""
    value = _float(text)
    if value < 1 or value != value // 1 or value > 1e18:
        raise argparse.ArgumentTypeError(f"must be a whole number, 1 or more, not {text}")
    return int(value)


def _seed(text: str) -> int:
    # Not through a float: seeds may have more digits than it holds.
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"must be a whole number, 0 or more, not {text!r}")
    return int(text)


def _times(text: str) -> list[float]:
    """Read START:END:COUNT or a list of times."""
    import numpy as np

    if ":" not in text:
        return [_float(part) for part in text.split(",")]
    parts = text.split(":")
    if len(parts) != 3:
        raise argparse.ArgumentTypeError(
            f"must be START:END:COUNT, like 0:50:501, or times with commas between, not {text!r}"
        )
    start, end, count = _float(parts[0]), _float(parts[1]), _whole(parts[2])
    if not start < end or count < 2:
        raise argparse.ArgumentTypeError(
            f"START:END:COUNT needs an end after the start and 2 or more times, unlike {text!r}"
        )
    grid: list[float] = np.linspace(start, end, count).tolist()
    return grid


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"must be names with commas between, not {text!r}")
    return names


def _assignment(text: str) -> tuple[str, int | float | bool | str]:
    """Read NAME=VALUE, with a number, true or false, or any word as the value."""
    name, equals, word = (part.strip() for part in text.partition("="))
    if not (name and equals and word):
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE, not {text!r}")
    for read in (int, float):
        try:
            return name, read(word)
        except ValueError:
            pass
    return name, {"true": True, "false": False}.get(word.lower(), word)


def _number_assignment(text: str) -> tuple[str, float]:
    name, equals, word = (part.strip() for part in text.partition("="))
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"must be NAME=NUMBER, like k=3, not {text!r}")
    return name, _float(word)


def _picture(text: str) -> str:
    if Path(text).suffix.lower() not in _PICTURE_TYPES:
        raise argparse.ArgumentTypeError(
            f"must be a file name that ends in {', '.join(_PICTURE_TYPES)}, not {text!r}"
        )
    return text


# Commands ----------------------------------------------------------------------------------------


def _run(given: argparse.Namespace) -> int:
    from .models import MODELS

    network = _network(given.model, given.set, given.initial)
    stock = MODELS.get(given.model) if _is_stock(given.model) else None
    times = given.times or given.t or (stock.t_end if stock else None)
    if times is None:
        raise _UsageError("say how long to run: --t END, or --times START:END:COUNT")
    n = given.n or (1 if given.method == "ode" or given.every_event else DEFAULT_N)
    is_one = n == 1 and not given.statistics and not given.store
    _check_run(given, network, n, is_one=is_one)
    for path in (given.csv, given.save, given.plot):
        _check_writable(path)
    failure: Interrupted | SimulationError | StoreWriteError | None = None
    result: Result | None = None
    with _warnings_in_one_line():
        try:
            result = _simulate(given, network, times, n, is_one=is_one)
        except (Interrupted, SimulationError, StoreWriteError) as error:
            failure, result = error, error.result
    if result is not None and _length(result):
        _write_result(given, result)
    elif failure is None:
        _complain("no trajectory was finished, so there is nothing to show or write")
        return FAILED
    if failure is None:
        return DONE
    if not isinstance(failure, Interrupted):
        _complain(_message(failure))
        return FAILED
    _complain(_interrupted_text(result, n))
    if given.store:
        _complain(f"what is finished is in {given.store}; the same command goes on from there")
    return INTERRUPTED


def _simulate(
    given: argparse.Namespace, network: Network, times: Any, n: int, *, is_one: bool
) -> Result:
    options: dict[str, Any] = {
        "method": given.method,
        "engine": given.engine,
        "seed": given.seed,
        "outputs": given.outputs,
        "stop_when": given.stop_when,
        "max_events": given.max_events,
        "timeout": given.timeout,
        "progress": given.progress,
    }
    taken = {
        *options,
        "threads",
        "store",
        "first",
        "chunk_size",
        "statistics",
        "every_event",
        "rng",
        "network",
        "t",
        "n",
    }
    for name, value in given.option:
        if name in taken:
            raise _UsageError(f"--option is for options of the method, and {name} is none")
        options[name] = value
    if is_one:
        from .simulation import simulate

        return simulate(network, times, every_event=given.every_event, **options)
    from .ensembles import ensemble

    return ensemble(
        network,
        times,
        n,
        threads=given.threads,
        statistics=given.statistics,
        store=given.store,
        **options,
    )


def _write_result(given: argparse.Namespace, result: Result) -> None:
    """Print the summary and write the files, the surest first."""
    _say(result.summary())
    _say("")
    if result.provenance.method != "ode":
        _say(f"seed {result.provenance.entropy} (give it as --seed to repeat this run)")
    if given.save:
        result.save(given.save)
        _say(f"wrote {given.save}")
    if given.csv:
        result.to_csv(given.csv)
        _say(f"wrote {given.csv}")
    if given.plot:
        law = _law(given, result) if given.law else None
        _save_picture(_draw(result, given.kind, given.names, given.at, law), given.plot)
        _say(f"wrote {given.plot}")


def _explain(given: argparse.Namespace) -> int:
    _say(str(_network(given.model, given.set, given.initial).explain()))
    return DONE


def _plot(given: argparse.Namespace) -> int:
    _check_writable(given.picture)
    if _is_saved_result(given.source):
        from .results import load

        result = load(given.source)
        kind = given.kind or _default_kind(result)
        _check_plot(kind, given.names, given.at, type(result), len(result.columns))
        axes = _draw(result, kind, given.names, given.at)
    else:
        network = _network(given.source, [], [])
        if given.kind not in (None, "network"):
            raise _UsageError(
                f"{given.source} is a model, of which only --kind network can be drawn; save a "
                "result with 'gillespy-lite run ... --save result.npz', and plot that"
            )
        _check_plot("network", given.names, given.at, None, 0)
        _use_files_only()
        from .plotting import draw_network

        axes = draw_network(network)
    _save_picture(axes, given.picture)
    _say(f"wrote {given.picture}")
    return DONE


def _models(given: argparse.Namespace) -> int:
    from .models import MODELS
    from .rate_laws import did_you_mean

    if given.name is None:
        width = max(map(len, MODELS))
        _say(f"{'name':<{width}}  {'t_end':>5}  {'exact law':<9}  what it is")
        for name, model in MODELS.items():
            law = "yes" if model.law else "-"
            _say(f"{name:<{width}}  {model.t_end:>5g}  {law:<9}  {model.description}")
        _say(f"\n'{PROGRAM} models NAME' prints one of them with its source.")
        return DONE
    if given.name not in MODELS:
        raise _UsageError(
            f"there is no stock model {given.name!r}{did_you_mean(given.name, MODELS)}"
        )
    model = MODELS[given.name]
    unit = "" if model.time_unit == "arbitrary" else f", time unit: {model.time_unit}"
    _say(f"# {given.name}: {model.description}")
    _say(f"# Source: {model.source}")
    _say(f"# A sensible time span is {model.t_end:g}{unit}.")
    _say(str(model.build()).rstrip("\n"))
    return DONE


# Models and results ------------------------------------------------------------------------------


def _warmup(given: argparse.Namespace) -> int:
    from .kernels.jit import cache_folder
    from .warmup import Warmed, warm_up

    def report(warmed: Warmed) -> None:
        how = "compiled" if warmed.n_compiled else "there already"
        _say(f"{warmed.what}: {how}, {warmed.seconds:.1f} s")
        sys.stdout.flush()

    done = warm_up(given.all, report)
    total = sum(warmed.seconds for warmed in done)
    _say(f"kernels are in {cache_folder()}; {total:.1f} s in all")
    return DONE


def _is_stock(model: str) -> bool:
    """Whether a word names a stock model; a file of that name comes first."""
    from .models import MODELS

    return model in MODELS and not Path(model).is_file()


def _network(
    model: str, parameters: Sequence[tuple[str, float]], counts: Sequence[tuple[str, float]]
) -> Network:
    from .models import MODELS
    from .network import Network
    from .rate_laws import did_you_mean

    if model == "-":
        network = Network.parse(sys.stdin.read())
    elif _is_stock(model):
        network = MODELS[model].build()
    elif _is_saved_result(model):
        raise _UsageError(f"{model} is a saved result, not a model")
    elif Path(model).exists():
        network = Network.read(model)
    else:
        raise ValueError(
            f"there is no file {model!r}, and no stock model of that name"
            f"{did_you_mean(model, MODELS)} ('{PROGRAM} models' lists the stock models)"
        )
    return network.with_parameters(dict(parameters)).with_initial(dict(counts))


def _is_saved_result(path: str) -> bool:
    """Whether a file is a zip archive, which no text is, or says that it is a result."""
    if path.endswith(".npz"):
        return True
    if not Path(path).is_file():
        return False
    with open(path, "rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _length(result: Result) -> int:
    from .results import Trajectory

    return result.n_times if isinstance(result, Trajectory) else result.n_trajectories


def _interrupted_text(result: Result | None, n: int) -> str:
    from .results import Trajectory

    if result is None or not _length(result):
        return "interrupted before a trajectory was finished"
    if isinstance(result, Trajectory):
        return f"interrupted; the trajectory is known up to t = {result.end_time:g}"
    return f"interrupted; {result.n_trajectories} of {n} trajectories were finished and kept"


# Checks before anything runs ---------------------------------------------------------------------


def _check_run(given: argparse.Namespace, network: Network, n: int, *, is_one: bool) -> None:
    """Refuse combinations that make no sense before time is spent on them."""
    from .results import Ensemble, EnsembleStatistics, Trajectory

    if given.method == "ode" and not is_one:
        raise _UsageError("method ode is deterministic, one solution says it all: use -n 1")
    if given.every_event and given.store:
        raise _UsageError("--every-event is for one trajectory, which no --store keeps")
    if given.every_event and not is_one:
        raise _UsageError("--every-event is for one trajectory: use -n 1, without --statistics")
    if given.law and not (given.plot and given.kind == "histogram" and _is_stock(given.model)):
        raise _UsageError("--law needs a stock model, --plot FILE and --kind histogram")
    if given.law and given.stop_when:
        raise _UsageError("--law does not know about --stop-when: leave out one of them")
    if not given.plot:
        for option in ("kind", "names", "at"):
            if getattr(given, option) is not None:
                raise _UsageError(f"--{option} is for a plot: add --plot FILE")
        return
    kind_of_result = Trajectory if is_one else EnsembleStatistics if given.statistics else Ensemble
    kind = given.kind or ("path" if is_one else "band")
    if kind == "hitting" and not given.stop_when:
        raise _UsageError("--kind hitting shows when a condition is met: add --stop-when CONDITION")
    n_columns = len(given.outputs) if given.outputs else len(network.state_names)
    _check_plot(kind, given.names, given.at, kind_of_result, n_columns)
    known = (*network.state_names, *network.observable_names)
    for name in given.names or ():
        if name not in known:
            from .rate_laws import did_you_mean

            raise _UsageError(
                f"--names has {name!r}, which the model does not declare{did_you_mean(name, known)}"
            )


def _check_plot(
    kind: str,
    names: Sequence[str] | None,
    at: float | None,
    kind_of_result: type | None,
    n_columns: int,
) -> None:
    """Refuse a plot that cannot be drawn; `kind_of_result` None stands for a model."""
    if kind_of_result is not None:
        from .plotting import KINDS

        possible = KINDS[kind_of_result]
        if kind not in possible:
            raise _UsageError(
                f"--kind {kind} cannot show this {kind_of_result.__name__}; choose one of "
                f"{', '.join(possible)}"
            )
    if kind in ("hitting", "network") and names:
        raise _UsageError(f"--names means nothing to --kind {kind}")
    if at is not None and kind not in ("histogram", "law", "heatmap", "scan"):
        raise _UsageError("--at is for --kind histogram, law, heatmap or scan")
    if kind == "scan" and names and len(names) != 1:
        raise _UsageError("--kind scan shows one species or observable: use --names NAME")
    if kind in ("law", "evolution") and len(names or range(n_columns)) != 1:
        raise _UsageError(f"--kind {kind} shows one species or observable: use --names NAME")
    if kind == "heatmap" and len(names or range(n_columns)) != 2:
        raise _UsageError("--kind heatmap shows two species or observables: use --names X,Y")
    if kind == "histogram" and len(names or range(n_columns)) != 1:
        raise _UsageError("--kind histogram shows one species or observable: use --names NAME")
    if kind == "phase" and len(names or range(min(n_columns, 2))) != 2:
        raise _UsageError("--kind phase shows one species against another: use --names X,Y")


def _check_writable(path: str | None) -> None:
    """Say before a long run, not after it, that a file cannot be written."""
    if path is None:
        return
    folder = Path(path).parent
    if not folder.is_dir():
        raise OSError(f"cannot write {path}: there is no folder {folder}")
    if Path(path).is_dir():
        raise OSError(f"cannot write {path}: it is a folder")
    if not os.access(folder, os.W_OK):
        raise OSError(f"cannot write {path}: the folder is not writable")


# Pictures ----------------------------------------------------------------------------------------


def _default_kind(result: Saved) -> str:
    from .results import Distribution, Scan, Trajectory

    if isinstance(result, Distribution):
        return "law"
    if isinstance(result, Scan):
        return "scan"
    return "path" if isinstance(result, Trajectory) else "band"


def _draw(
    result: Saved,
    kind: str | None,
    names: Sequence[str] | None,
    at: float | None,
    law: Any = None,
) -> Axes:
    _use_files_only()
    from .plotting import plot_result

    kind = kind or _default_kind(result)
    options: dict[str, Any] = {}
    if kind == "scan":
        options = {"name": names[0] if names else None, "t": at}
    elif kind == "histogram":
        options = {"name": names[0] if names else None, "t": at, "law": law}
    elif kind in ("law", "evolution"):
        options = {"name": names[0] if names else None} | ({"t": at} if kind == "law" else {})
    elif kind == "heatmap":
        options = {"names": names, "t": at}
    elif kind == "phase" and names:
        options = {"x": names[0], "y": names[1]}
    elif names:
        options = {"names": names}
    if kind == "overlay":
        from .simulation import simulate

        options["deterministic"] = simulate(result.network, result.times, method="ode")
    return plot_result(result, kind, **options)


def _law(given: argparse.Namespace, result: Any) -> Any:
    """Return the exact law of what a histogram of a stock model shows."""
    from .models import exact_law

    name = given.names[0] if given.names else result.columns[0]
    row = -1 if given.at is None else result.time_index(given.at)
    changed = dict([*given.set, *given.initial])
    return exact_law(given.model, name, float(result.times[row] - result.times[0]), **changed)


def _use_files_only() -> None:
    """Keep matplotlib from looking for a screen."""
    import matplotlib

    matplotlib.use("Agg")


def _save_picture(axes: Axes, path: str) -> None:
    from matplotlib import pyplot
    from matplotlib.figure import Figure

    figure = axes.figure
    assert isinstance(figure, Figure)
    figure.savefig(path, dpi=_PICTURE_DOTS_PER_INCH)
    pyplot.close(figure)


# Words for people --------------------------------------------------------------------------------


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _complain(text: str, command: str = "") -> None:
    sys.stdout.flush()
    program = f"{PROGRAM} {command}" if command else PROGRAM
    sys.stderr.write(f"{program}: {text}\n")


def _message(error: BaseException) -> str:
    """Return an error in one line; a mistake in a model keeps the lines that point to it."""
    from .errors import ParseError

    if isinstance(error, ParseError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    # The text of a KeyError comes in quotes.
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return " ".join(text.split()) or type(error).__name__


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Show warnings without the source line that raised them, once the run is over."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            for warning in caught:
                _complain(f"warning: {' '.join(str(warning.message).split())}")
