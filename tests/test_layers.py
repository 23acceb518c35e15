"""Imports point down only, kernels stand alone, and what is heavy is loaded when it is used.

The package is parsed, not imported, so an import on any line counts.
"""

from __future__ import annotations

import ast
import functools
import json
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

import gillespy_lite

PACKAGE = Path(gillespy_lite.__file__).parent

# Layers from the bottom; a module may import those of lower layers and those before it in its own.
# A package counts as one module here; within it, imports must not go in circles.
LAYERS = [
    ["version", "errors", "garbage"],
    [
        *["operations", "names", "expressions", "expression_display", "derivatives"],
        *["sympy_conversion", "rate_laws", "declarations", "events", "reactions"],
        *["mass_action", "network_checks", "network_display", "network", "conservation"],
        "complexes",
        "results",
    ],
    ["dsl_lexer", "dsl_expressions", "dsl_events", "dsl", "formats", "kernels"],
    [
        "methods",
        "step_lists",
        "compilation",
        "lane_compilation",
        "event_compilation",
        "jump_compilation",
        "tape_writing",
        "network_tapes",
        *["reaction_text", "burst_text", "lane_burst_text", "specialisation"],
    ],
    [
        *["randomness", "memory", "progress", "pace", "workers", "moment_tree"],
        "interruption",
        *["method_pilot", "method_choice", "engines", "run_plan"],
        *["gathering", "probing", "crews", "run_orders", "scan_orders", "portion_jobs"],
        "probing_jobs",
        *["portion_tasks", "own_processes", "worker_pools", "executors"],
        *["stores", "stored_deliveries", "portion_runs", "workplaces"],
        *["rate_equation_runs", "simulation", "precision", "ensembles", "ode_rnn", "moments"],
        *["master_equation", "certification", "multilevel_estimation", "scans", "warmup"],
    ],
    ["models", "plotting"],
    ["explanation", "store_commands", "cli", "__main__"],
]
PLACE = {
    name: (layer, order) for layer, names in enumerate(LAYERS) for order, name in enumerate(names)
}

# Methods that users find on an object although a higher layer does the work.
FACADES = {
    ("network", "Network.parse", "dsl"),
    ("network", "Network.read", "formats"),
    *(
        ("network", f"Network.{name}", "formats")
        for name in (
            *("from_sbml", "from_antimony", "from_net", "from_gillespy2"),
            *("to_sbml", "to_antimony", "to_net"),
        )
    ),
    ("network", "Network.explain", "explanation"),
    ("results", "Trajectory.plot", "plotting"),
    ("results", "Ensemble.plot", "plotting"),
    ("results", "EnsembleStatistics.plot", "plotting"),
    ("results", "Distribution.plot", "plotting"),
    ("results", "FirstPassage.plot", "plotting"),
    ("results", "Scan.plot", "plotting"),
    ("scans", "SobolIndices.plot", "plotting"),
    ("results", "Distribution._expression", "dsl"),
    ("results", "Distribution.sample", "randomness"),
    ("moments", "MeansOverTime.plot", "plotting"),
    ("ode_rnn", "Comparison.plot", "plotting"),
    ("ode_rnn", "FitResult.plot", "plotting"),
    ("ode_rnn", "Profile.plot", "plotting"),
    ("master_equation", "Sensitivities.plot", "plotting"),
    ("master_equation", "SnapshotFit.plot", "plotting"),
    ("results", "Ensemble.replay", "ensembles"),
    ("results", "Ensemble.certify", "certification"),
    ("certification", "Certificate.plot", "plotting"),
    ("multilevel_estimation", "MultilevelEstimate.plot", "plotting"),
}

# Loaded where they are used: each costs more than the package itself.
LATE = {
    *{"scipy", "matplotlib", "pandas", "xarray", "sympy", "tqdm", "torch", "jax"},
    *{"libsbml", "antimony", "gillespy2", "distributed", "zarr", "netCDF4", "pyarrow"},
}


class Import(NamedTuple):
    """One import: of `target` (dotted), inside function `where` ("" at module level)."""

    target: str
    where: str
    for_types_only: bool


def imports_of(source: str, module: str, is_package: bool) -> list[Import]:
    """Return every import in a source text; relative ones are made absolute."""
    found: list[Import] = []
    parts = module.split(".")

    def targets(node: ast.Import | ast.ImportFrom) -> list[str]:
        if isinstance(node, ast.Import):
            return [alias.name for alias in node.names]
        base = node.module or ""
        if node.level:
            stem = parts if is_package else parts[:-1]
            stem = stem[: len(stem) - (node.level - 1)]
            base = ".".join([*stem, base]).rstrip(".")
        # `from package import module` and `from module import name` look alike; both are kept.
        if base == "gillespy_lite":
            return [f"{base}.{alias.name}" for alias in node.names]
        return [base]

    def walk(node: ast.AST, where: str, in_function: bool, for_types: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import | ast.ImportFrom):
                found.extend(
                    Import(target, where if in_function else "", for_types)
                    for target in targets(child)
                )
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                walk(child, f"{where}.{child.name}".lstrip("."), True, for_types)
            elif isinstance(child, ast.ClassDef):
                walk(child, f"{where}.{child.name}".lstrip("."), in_function, for_types)
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                for part in child.body:
                    walk(ast.Module([part], []), where, in_function, True)
                for part in child.orelse:
                    walk(ast.Module([part], []), where, in_function, for_types)
            else:
                walk(child, where, in_function, for_types)

    walk(ast.parse(source), "", False, False)
    return found


def sources() -> dict[str, Path]:
    """Return the files of the package by dotted module name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = [PACKAGE.name, *path.relative_to(PACKAGE).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


SOURCES = sources()


# Read when they are asked for: every process of a test run imports this module.
@functools.cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(SOURCES[module].read_text(encoding="utf-8"))


@functools.cache
def imports_in(module: str) -> list[Import]:
    path = SOURCES[module]
    return imports_of(path.read_text(encoding="utf-8"), module, path.name == "__init__.py")


def unit(module: str) -> str:
    """Return the module or package below gillespy_lite that a dotted name belongs to."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def problems(module: str, imports: list[Import]) -> list[str]:
    """Return what is wrong with the imports of one module."""
    found = []
    own = unit(module)
    for one in imports:
        if one.target.split(".")[0] != "gillespy_lite" or one.for_types_only:
            continue
        other = unit(one.target)
        if other == own:
            continue
        if other not in PLACE:
            found.append(f"{module} imports {one.target}, which is in no layer")
            continue
        if not one.where and PLACE[other] >= PLACE[own]:
            found.append(f"{module} imports {other}, which is not below it")
        is_upward = PLACE[other][0] > PLACE[own][0]
        if one.where and is_upward and (own, one.where, other) not in FACADES:
            found.append(f"{module}: {one.where} imports {other} from above")
    return found


# ---- Layers -------------------------------------------------------------------------------------


def test_every_module_has_its_place():
    units = {unit(name) for name in SOURCES} - {""}
    assert units == PLACE.keys()
    assert len(PLACE) == sum(map(len, LAYERS))


@pytest.mark.parametrize("module", sorted(SOURCES.keys() - {"gillespy_lite"}))
def test_imports_point_down(module):
    assert problems(module, imports_in(module)) == []


def test_facades_are_what_they_are_said_to_be():
    used = {
        (unit(module), one.where, unit(one.target))
        for module in SOURCES
        for one in imports_in(module)
        if one.where and one.target.startswith("gillespy_lite.") and unit(module)
    }
    assert used >= FACADES


def test_package_itself_imports_only_what_is_light():
    at_once = {
        unit(one.target)
        for one in imports_in("gillespy_lite")
        if not one.for_types_only and one.target.startswith("gillespy_lite.")
    }
    assert at_once <= {"errors", "version", "network", "results"}


def test_no_module_level_import_goes_in_circles():
    graph: dict[str, set[str]] = {}
    for module in SOURCES:
        graph[module] = set()
        for one in imports_in(module):
            if one.where or one.for_types_only or not one.target.startswith("gillespy_lite"):
                continue
            target = one.target
            while target not in SOURCES:
                target = target.rpartition(".")[0]
            # A package runs before its modules; that a module is imported by its package is usual.
            if target != module and not module.startswith(f"{target}."):
                graph[module].add(target)
    assert len(tuple(TopologicalSorter(graph).static_order())) >= len(SOURCES)


@pytest.mark.parametrize("module", sorted(name for name in SOURCES if ".kernels" in name))
def test_kernels_import_nothing_of_ours(module):
    ours = [
        one.target
        for one in imports_in(module)
        if one.target.startswith("gillespy_lite") and unit(one.target) != "kernels"
    ]
    assert ours == []
    others = {one.target.split(".")[0] for one in imports_in(module)} - {"gillespy_lite"}
    assert others - sys.stdlib_module_names <= {"numpy", "numba", "llvmlite"}


@pytest.mark.parametrize("module", sorted(name for name in SOURCES if ".methods" in name))
def test_methods_see_arrays_and_no_networks(module):
    ours = {
        unit(one.target)
        for one in imports_in(module)
        if one.target.startswith("gillespy_lite.") and not one.for_types_only
    }
    assert ours <= {"kernels", "methods", "errors"}


@pytest.mark.parametrize(
    ("source", "module", "complaint"),
    [
        ("from .ensembles import ensemble", "network", "not below"),
        ("from . import plotting", "results", "not below"),
        ("import gillespy_lite.dsl", "network", "not below"),
        ("from gillespy_lite.network import Network", "rate_laws", "not below"),
        ("from .rate_laws import hill\nfrom .nowhere import x", "network", "in no layer"),
        ("def f():\n    from .dsl import x", "network", "f imports dsl from above"),
        ("class Network:\n    def read(self):\n        from .ensembles import x", "network", "Net"),
        ("try:\n    from .simulation import x\nexcept ImportError:\n    pass", "dsl", "not below"),
        ("if 1:\n    from .simulation import x", "compilation", "not below"),
    ],
)
def test_checker_sees_an_import_that_points_up(source, module, complaint):
    (found,) = problems(
        f"gillespy_lite.{module}", imports_of(source, f"gillespy_lite.{module}", False)
    )
    assert complaint in found


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .cli import x", "errors"),
        ("class Network:\n    def parse(self):\n        from .dsl import x", "network"),
        ("from .errors import x\nimport numpy as np", "version_of_nothing"),
    ],
)
def test_checker_lets_pass_what_is_allowed(source, module, monkeypatch):
    monkeypatch.setitem(PLACE, "version_of_nothing", (9, 0))
    module = f"gillespy_lite.{module}"
    assert problems(module, imports_of(source, module, False)) == []


# ---- Heavy imports ------------------------------------------------------------------------------


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_heavy_and_optional_packages_are_imported_where_they_are_used(module):
    early = {
        one.target.split(".")[0]
        for one in imports_in(module)
        if not one.where and not one.for_types_only
    }
    assert not early & LATE
    if unit(module) != "kernels":
        assert "numba" not in early
    allowed = {"gillespy_lite", "numpy", "numba", "llvmlite"}  # which Numba is made of
    assert early - allowed <= sys.stdlib_module_names | {"__future__"}


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        ("import gillespy_lite", {"numba", "llvmlite", *LATE}),
        ("import gillespy_lite.cli", {"numba", "llvmlite", *LATE}),
        (
            "import gillespy_lite as gl\nn = gl.Network.parse('species X\\n0 -> X @ 1')\n"
            "n = n.with_parameters()\nstr(n), n._repr_html_(), hash(n), n.to_latex()",
            {"numba", "llvmlite", *LATE},
        ),
        (
            "import gillespy_lite as gl\nn = gl.Network.parse('species X\\n0 -> X @ 1')\n"
            "runs = gl.ensemble(n, 1, 3)\nruns.mean()\ngl.ensemble(n, 1, 3, statistics=True)",
            # Numba itself looks for SciPy's linear algebra when the first kernel is called.
            {"scipy.integrate", "scipy.stats", "scipy.optimize", *LATE} - {"scipy"},
        ),
    ],
    ids=["import", "command line", "network", "ensemble"],
)
def test_nothing_heavy_is_loaded_before_it_is_used(code, unwanted):
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert "gillespy_lite" in loaded
    assert not loaded & unwanted


def test_everything_that_is_offered_can_be_had():
    for name in gillespy_lite.__all__:
        assert getattr(gillespy_lite, name) is not None
    assert set(dir(gillespy_lite)) == set(gillespy_lite.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing_like_it'"):
        _ = gillespy_lite.nothing_like_it


# ---- What is not done anywhere ------------------------------------------------------------------

UNSAFE_MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "subprocess"}
UNSAFE_CALLS = {"eval", "exec", "compile", "__import__"}


def called(tree: ast.AST) -> list[tuple[str, ast.Call]]:
    """Return the calls in a tree with the text of what is called."""
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_nothing_that_could_run_text_is_called(module):
    calls = called(tree_of(module))
    assert not UNSAFE_CALLS & {name.removeprefix("builtins.") for name, _ in calls}
    assert not {name for name, _ in calls if name.startswith(("os.system", "os.popen", "os.exec"))}
    if module != "gillespy_lite.kernels.jit":
        assert not UNSAFE_MODULES & {one.target.split(".")[0] for one in imports_in(module)}
        assert not {name for name, _ in calls if "pickle" in name}
    for _, call in calls:
        for keyword in call.keywords:
            if keyword.arg == "allow_pickle":
                assert ast.unparse(keyword.value) == "False"


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_modules_are_not_imported_by_a_name_that_is_computed(module):
    names = [
        ast.unparse(call.args[0])
        for name, call in called(tree_of(module))
        if "import_module" in name
    ]
    # The package's own table of names, and optional packages by the name of their extra.
    allowed = {
        "gillespy_lite": {"f'.{name}'", "f'.{_HOMES[name]}'"},
        "gillespy_lite.results.tables": {"module"},
        "gillespy_lite.sympy_conversion": {"'sympy'"},
    }
    assert set(names) <= allowed.get(module, set())


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_random_numbers_come_from_one_place(module):
    assert "random" not in {one.target for one in imports_in(module)}
    used = {
        ast.unparse(node)
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "np.random"
    }
    if unit(module) not in {"randomness", "plotting"}:
        assert used <= {"np.random.Generator"}  # the type of an argument
    # No global state anywhere.
    assert used <= {"np.random.SeedSequence", "np.random.Generator", "np.random.default_rng"}


def test_names_of_modules_say_what_is_inside():
    empty_words = {"utils", "util", "helpers", "helper", "common", "misc", "tools", "shared"}
    parts = {part.strip("_") for name in SOURCES for part in name.split(".")}
    assert not parts & empty_words
