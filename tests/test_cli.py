"""The command line: what it prints and writes, its exit codes, and Ctrl-C."""

from __future__ import annotations

import io
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import gillespy_lite as gl
from gillespy_lite import cli
from gillespy_lite.models import MODELS

TEXT = """\
species A = 40, B
param k = 0.5, back = 0.1
observe total = A + B
A <-> B @ k, back
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Run every test in a folder of its own, which holds model.txt."""
    monkeypatch.chdir(tmp_path)
    Path("model.txt").write_text(TEXT)
    return tmp_path


@pytest.fixture
def command(capsys):
    """Run a command line; return its exit code, standard output and standard error."""

    def run(line: str) -> tuple[int, str, str]:
        code = cli.main(shlex.split(line))
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def saved(command):
    assert command("run model.txt --t 4 -n 30 --seed 3 --save a.npz")[0] == 0
    return "a.npz"


def is_picture(path: str) -> bool:
    return Path(path).read_bytes().startswith(b"\x89PNG")


# Help --------------------------------------------------------------------------------------------


def test_help_names_every_command_and_teaches_the_language(command):
    code, out, _ = command("--help")
    assert code == 0
    for word in ("run", "explain", "plot", "models", "species", "param", "exit codes", "examples"):
        assert word in out


def test_help_of_a_run_names_every_method_and_has_examples(command):
    code, out, _ = command("run --help")
    assert code == 0
    assert out.count("gillespy-lite run") >= 8
    for name in ("auto", *gl.METHODS):
        assert name in out
    # What fits on a terminal is read.
    assert max(map(len, out.splitlines())) <= 100


def commands_of(help_text: str) -> list[str]:
    lines = help_text.splitlines()
    return [line.split("  ", 2)[1] for line in lines if line.startswith("  gillespy-lite run")]


def test_every_example_of_the_help_is_accepted_by_the_parser(command):
    _, out, _ = command("run --help")
    for line in commands_of(out):
        words = re.sub(r"'|\"", "", re.sub(r"\"[^\"]*\"", "CONDITION", line)).split()
        assert cli._parser().parse_args(words[1:]).command is not None, line


def test_no_command_shows_the_help_and_counts_as_misuse(command):
    code, out, err = command("")
    assert (code, out) == (2, "")
    assert "examples:" in err


def test_version(command):
    assert command("--version")[:2] == (0, f"gillespy-lite {gl.__version__}\n")


def test_help_imports_neither_numba_nor_matplotlib():
    program = (
        "import sys; from gillespy_lite import cli; cli.main(['run', '--help']); "
        "cli.main(['models']); "
        "print([m for m in ('numba', 'matplotlib', 'scipy', 'tqdm') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


# Runs --------------------------------------------------------------------------------------------


def test_a_run_prints_its_summary_and_seed_and_writes_everything(command):
    code, out, err = command(
        "run model.txt --t 4 -n 50 --seed 7 --csv o.csv --save o.npz --plot o.png"
    )
    assert (code, err) == (0, "")
    loaded = gl.load("o.npz")
    assert loaded.summary() in out
    assert "seed 7" in out
    for path in ("o.csv", "o.npz", "o.png"):
        assert f"wrote {path}" in out
    assert is_picture("o.png")
    assert Path("o.csv").read_text().startswith("trajectory,time,A,B\n0,0.0,40,0\n")
    expected = gl.ensemble(gl.Network.parse(TEXT), 4, 50, rng=7)
    assert np.array_equal(loaded.counts, expected.counts)
    assert loaded.provenance.method == "direct"


def test_the_printed_seed_repeats_a_run_that_was_given_none(command):
    _, out, _ = command("run model.txt --t 4 -n 5 --save 1.npz")
    seed = re.search(r"^seed (\d+)", out, re.MULTILINE)[1]
    command(f"run model.txt --t 4 -n 5 --save 2.npz --seed {seed}")
    assert np.array_equal(gl.load("1.npz").counts, gl.load("2.npz").counts)


def test_one_trajectory_is_the_first_of_the_ensemble(command):
    code, out, _ = command("run model.txt --t 4 -n 1 --seed 7 --save 1.npz --plot 1.png")
    assert code == 0
    one = gl.load("1.npz")
    assert isinstance(one, gl.Trajectory)
    assert one.summary() in out
    expected = gl.ensemble(gl.Network.parse(TEXT), 4, 3, rng=7).counts[0]
    assert np.array_equal(one.counts, expected)
    assert is_picture("1.png")


def test_every_event_of_one_trajectory(command):
    assert command("run model.txt --t 4 --every-event --save 1.npz")[0] == 0
    one = gl.load("1.npz")
    assert one.reactions is not None
    assert one.n_times == one.n_events + 1


def test_times_are_a_grid_or_a_list(command):
    command("run model.txt --times 1:3:5 -n 2 --save 1.npz")
    assert gl.load("1.npz").times.tolist() == [1.0, 1.5, 2.0, 2.5, 3.0]
    command("run model.txt --times 0,1,10 -n 2 --save 2.npz")
    assert gl.load("2.npz").times.tolist() == [0.0, 1.0, 10.0]


def test_parameters_and_initial_counts_are_replaced(command):
    words = "--set k=0 --set back=0 --initial A=3 --initial B=2"
    assert command(f"run model.txt --t 4 -n 2 --save 1.npz {words}")[0] == 0
    result = gl.load("1.npz")
    assert (result.counts == [3, 2]).all()
    assert result.network.parameter_values.tolist() == [0.0, 0.0]


def test_outputs_options_and_conditions_reach_the_run(command):
    code, _, _ = command(
        "run model.txt --t 9 -n 20 --outputs 'B, total' --stop-when 'B >= 5' --threads 1 "
        "--method tau_leaping --option epsilon=0.02 --option critical_count=5 "
        "--max-events 1e6 --save 1.npz"
    )
    assert code == 0
    result = gl.load("1.npz")
    assert result.columns == ("B", "total")
    options = result.provenance.options
    assert (options["epsilon"], options["critical_count"]) == (0.02, 5)
    assert options["stop_when"] == "B >= 5"
    assert options["max_events"] == 1_000_000
    assert not np.isnan(result.hitting_times).any()


def test_statistics_only(command):
    code, out, _ = command(
        "run model.txt --t 4 -n 200 --statistics --csv s.csv --save s.npz --plot s.png"
    )
    assert code == 0
    assert out.startswith("EnsembleStatistics of 200 trajectories")
    assert isinstance(gl.load("s.npz"), gl.EnsembleStatistics)
    assert is_picture("s.png")


def test_the_rate_equations_need_no_n_and_have_no_seed(command):
    code, out, _ = command("run model.txt --t 4 --method ode")
    assert code == 0
    assert "method ode" in out
    assert "seed" not in out


def test_a_stock_model_runs_over_its_own_time_span(command):
    code, out, _ = command("run dimerisation -n 20 --save d.npz")
    assert code == 0
    assert "at t = 50" in out
    assert gl.load("d.npz").network == MODELS["dimerisation"].build()


def test_a_file_comes_before_a_stock_model_of_that_name(command):
    Path("vilar").write_text(TEXT)
    assert "back*B" in command("explain vilar")[1]


def test_the_default_is_a_thousand_trajectories(command):
    assert "of 1000 trajectories" in command("run model.txt --t 1")[1]


def test_a_model_is_read_from_standard_input(command, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(TEXT))
    code, out, _ = command("run - --t 1 -n 2")
    assert code == 0
    assert "Ensemble of 2" in out


def test_an_exact_law_is_drawn_for_the_values_that_were_run(command, monkeypatch):
    drawn = []
    monkeypatch.setattr(cli, "_save_picture", lambda axes, path: drawn.append(axes))
    words = "--set k=4 --plot h.png --kind histogram --law --at 1"
    assert command(f"run birth_death --t 3 -n 300 {words}")[0] == 0
    (line,) = drawn[0].get_lines()
    mean = (line.get_xdata() * line.get_ydata()).sum() / line.get_ydata().sum()
    assert mean == pytest.approx(8 * (1 - np.exp(-0.5)), rel=0.02)


def test_progress_is_shown_on_standard_error(command):
    code, out, err = command("run model.txt --t 1 -n 5 --progress")
    assert code == 0
    assert "ensemble" in err
    assert "ensemble" not in out


def test_a_timeout_keeps_what_is_finished_and_warns_in_one_line(command):
    # On a new machine this compiles the kernels, which would take longer than the timeout.
    command("run birth_death -n 2 --statistics")
    code, out, err = command("run birth_death -n 1e12 --statistics --timeout 0.3 --save t.npz")
    assert code == 0
    assert "stopped by timeout" in out
    assert err.startswith("gillespy-lite: warning: timeout: ")
    assert err.count("\n") == 1
    assert 0 < gl.load("t.npz").n_trajectories < 1e12


def test_a_timeout_without_a_finished_trajectory_is_an_error(command):
    code, out, err = command("run brusselator --t 1e6 -n 3 --timeout 0.1 --save t.npz")
    assert (code, out) == (1, "")
    assert "no trajectory was finished" in err
    assert not Path("t.npz").exists()


def test_an_error_in_one_trajectory_keeps_the_finished_ones(command):
    # About 15 events each: some trajectories need more than 20, most do not.
    words = "--seed 1 --threads 1 --max-events 20 --save e.npz"
    code, out, err = command(f"run model.txt --times 0,0.9 -n 200 {words}")
    assert code == 1
    assert "more than max_events = 20 events" in err
    assert err.count("\n") == 1
    assert "stopped by error" in out
    assert gl.load("e.npz").n_trajectories > 0


# Other commands ----------------------------------------------------------------------------------


def test_explain_prints_what_the_network_says_of_itself(command):
    network = gl.Network.parse(TEXT)
    assert command("explain model.txt") == (0, f"{network.explain()}\n", "")
    changed = network.with_parameters(k=3).with_initial(B=1)
    out = command("explain model.txt --set k=3 --initial B=1")[1]
    assert out == f"{changed.explain()}\n"


def test_models_lists_every_stock_model(command):
    code, out, _ = command("models")
    assert code == 0
    for name, model in MODELS.items():
        assert re.search(rf"^{name} .*{re.escape(model.description)}$", out, re.MULTILINE)


@pytest.mark.parametrize("name", MODELS)
def test_a_printed_stock_model_is_a_model_file(command, name):
    code, out, _ = command(f"models {name}")
    assert code == 0
    assert gl.Network.parse(out) == MODELS[name].build()
    assert MODELS[name].source in out


@pytest.mark.parametrize(
    "words",
    [
        "",
        "--kind fan --names B,total",
        "--kind histogram --names B",
        "--kind histogram --names total --at 2",
        "--kind phase",
        "--kind phase --names B,A",
        "--kind overlay --names A",
        "--kind network",
    ],
)
def test_a_saved_result_is_drawn(command, saved, words):
    code, out, err = command(f"plot {saved} p.png {words}")
    assert (code, out, err) == (0, "wrote p.png\n", "")
    assert is_picture("p.png")


def test_hitting_times_are_drawn(command):
    words = "--stop-when 'B >= 5' --plot h.png --kind hitting"
    assert command(f"run model.txt --t 9 -n 20 {words}")[0] == 0
    assert is_picture("h.png")


@pytest.mark.parametrize("model", ["model.txt", "vilar"])
def test_the_network_of_a_model_is_drawn(command, model):
    assert command(f"plot {model} network.png")[0] == 0
    assert is_picture("network.png")


@pytest.mark.parametrize("suffix", ["pdf", "svg"])
def test_pictures_may_be_drawings(command, saved, suffix):
    assert command(f"plot {saved} p.{suffix}")[0] == 0
    assert Path(f"p.{suffix}").stat().st_size > 1000


# Mistakes ----------------------------------------------------------------------------------------

MISUSE = {
    "run model.txt": "--t END",
    "run model.txt --t 1 --times 0,1": "not allowed with",
    "run model.txt --t 0": "number above 0",
    "run model.txt --t abc": "must be a number, not 'abc'",
    "run model.txt --t nan": "number above 0",
    "run model.txt --times 0:1": "START:END:COUNT",
    "run model.txt --times 1:0:5": "an end after the start",
    "run model.txt --times 0:1:1": "2 or more times",
    "run model.txt --t 1 -n 0": "1 or more",
    "run model.txt --t 1 -n 2.5": "whole number",
    "run model.txt --t 1 -n inf": "whole number",
    "run model.txt --t 1 --threads 0": "1 or more",
    "run model.txt --t 1 --seed -4": "0 or more",
    "run model.txt --t 1 --seed x": "whole number",
    "run model.txt --t 1 --set k": "NAME=NUMBER",
    "run model.txt --t 1 --set k=fast": "must be a number",
    "run model.txt --t 1 --initial =4": "NAME=NUMBER",
    "run model.txt --t 1 --option epsilon": "NAME=VALUE",
    "run model.txt --t 1 --option seed=4": "options of the method",
    "run model.txt --t 1 --outputs A,,B": "commas between",
    "run model.txt --t 1 --plot out.jpeg": ".png",
    "run model.txt --t 1 --plot a.png --kind pie": "invalid choice",
    "run model.txt --t 1 --plot a.png --kind path": "cannot show this Ensemble; choose one of band",
    "run model.txt --t 1 --plot a.png --kind fan -n 1": "cannot show this Trajectory",
    "run model.txt --t 1 --plot a.png --kind hitting": "--stop-when",
    "run model.txt --t 1 --plot a.png --kind histogram": "--names NAME",
    "run model.txt --t 1 --plot a.png --kind phase --names A": "--names X,Y",
    "run model.txt --t 1 --plot a.png --kind phase --outputs A": "--names X,Y",
    "run model.txt --t 1 --plot a.png --kind network --names A": "means nothing",
    "run model.txt --t 1 --plot a.png --names totl": "did you mean 'total'?",
    "run model.txt --t 1 --plot a.png --at 1": "--kind histogram",
    "run model.txt --t 1 --kind fan": "add --plot",
    "run model.txt --t 1 --law": "stock model",
    "run sir --law --stop-when I==0 --plot a.png --kind histogram --names R": "--stop-when",
    "run model.txt --t 1 --method ode -n 5": "-n 1",
    "run model.txt --t 1 --every-event -n 5": "-n 1",
    "run model.txt --t 1 --bogus": "unrecognized",
    "run model.txt --t 1 --thread 1": "unrecognized",
    "fly": "invalid choice",
    "plot model.txt a.png --kind fan": "only --kind network",
    "models vilarr": "did you mean 'vilar'?",
}
FAILURES = {
    "run nowhere.txt --t 1": "no file 'nowhere.txt', and no stock model",
    "run schloegl": "did you mean 'schlogl'?",
    "explain nowhere.txt": "no file",
    "run . --t 1": "directory",
    "run model.txt --t 1 --set kk=1": "no parameter 'kk'",
    "run model.txt --t 1 --set k=-1": "-1",
    "run model.txt --t 1 --initial A=1.5": "whole",
    "run model.txt --t 1 --method dirct": "did you mean 'direct'?",
    "run model.txt --t 1 --method tau_leaping --option eps=1": "has no option 'eps'",
    "run model.txt --t 1 --method tau_leaping --option epsilon=2": "between 0 and 1",
    "run model.txt --t 1 --outputs C": "neither a species nor an observable",
    "run model.txt --t 1 --stop-when C>1": "'C'",
    "run model.txt --times 0,2,1": "times must increase",
    "run model.txt --t 1 --csv nowhere/a.csv": "no folder nowhere",
    "run model.txt --t 1 --csv .": "it is a folder",
    "run model.txt --t 1 -n 1e15": "memory",
    "plot nowhere.npz a.png": "nowhere.npz",
    "plot bad.npz a.png": "not a result",
    "plot large.txt a.png": "101 reactions",
}


@pytest.mark.parametrize("line", MISUSE)
def test_misuse_is_told_in_one_line(command, line):
    code, out, err = command(line)
    assert (code, out) == (2, "")
    assert MISUSE[line] in err
    assert err.count("\n") == 1
    assert err.startswith("gillespy-lite")
    assert err.endswith("--help)\n")


@pytest.mark.parametrize("line", FAILURES)
def test_a_failure_is_told_in_one_line(command, line):
    Path("bad.npz").write_bytes(b"not a zip archive")
    Path("large.txt").write_text("species A\n" + "0 -> A @ 1\n" * 101)
    code, out, err = command(line)
    assert (code, out) == (1, "")
    assert FAILURES[line] in err
    assert err.count("\n") == 1
    assert err.startswith("gillespy-lite: ")


def test_a_saved_result_is_no_model(command, saved):
    code, _, err = command(f"run {saved} --t 1")
    assert code == 2
    assert "is a saved result, not a model" in err


def test_a_mistake_in_a_model_is_pointed_at(command):
    Path("wrong.txt").write_text("species A\nA -> B @ 1\n")
    code, _, err = command("explain wrong.txt")
    assert code == 1
    lines = err.splitlines()
    assert lines[0].startswith("gillespy-lite: wrong.txt:2:6: ")
    assert lines[1:] == ["    A -> B @ 1", "         ^"]


def test_the_traceback_is_shown_on_demand():
    with pytest.raises(ValueError, match="no file"):
        cli.main(["explain", "nowhere.txt", "--traceback"])


# Ctrl-C ------------------------------------------------------------------------------------------


def test_an_interrupted_run_writes_what_is_finished_before_exit_130(command, monkeypatch):
    finished = gl.ensemble(gl.Network.parse(TEXT), 1, 3, rng=1)

    def interrupted(*_: object, **__: object) -> None:
        raise gl.Interrupted("interrupted", finished)

    monkeypatch.setattr(cli, "_simulate", interrupted)
    code, out, err = command("run model.txt --t 1 -n 9 --csv i.csv")
    assert code == 130
    assert "wrote i.csv" in out
    assert err == "gillespy-lite: interrupted; 3 of 9 trajectories were finished and kept\n"
    assert Path("i.csv").read_text().count("\n") == 1 + 3 * 101


def test_an_interrupt_anywhere_else_ends_with_130(command, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_network", interrupted)
    assert command("run model.txt --t 1") == (130, "", "gillespy-lite: interrupted\n")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends Ctrl-C in another way")
@pytest.mark.parametrize("threads", [1, 2])
def test_sigint_ends_a_long_run_and_keeps_the_finished_trajectories(folder, threads):
    words = "run birth_death -n 1e12 --statistics --progress --csv i.csv --save i.npz --threads"
    # Started by a shell in the background, a child would ignore SIGINT.
    program = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from gillespy_lite.cli import main; sys.exit(main())"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, *words.split(), str(threads)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
    ) as child:
        try:
            seen = b""
            # Until the bar shows that some trajectories are done, like "4096/1000".
            while not re.search(rb"\D[1-9]\d*(/| of )", seen):
                seen += child.stderr.read(1)
            child.send_signal(signal.SIGINT)
            sent = time.monotonic()
            out, err = child.communicate(timeout=60)
            took = time.monotonic() - sent
        finally:
            child.kill()
    assert child.returncode == 130, err.decode()
    assert b"Traceback" not in err
    assert b"trajectories were finished and kept" in err
    assert b"stopped by interrupt" in out
    assert gl.load(folder / "i.npz").n_trajectories > 0
    assert Path("i.csv").stat().st_size > 0
    # A second on a free machine, with the writing; shared ones are slower.
    assert took < 20.0


def test_a_reader_that_stops_early_is_no_error_with_a_traceback(folder):
    with subprocess.Popen(
        [sys.executable, "-m", "gillespy_lite", "models", "vilar"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
    ) as child:
        child.stdout.close()
        err = child.stderr.read()
    assert err == b""
