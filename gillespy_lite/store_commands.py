"""The command ``gillespy-lite store``: look at stores, check, merge and export them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["add_store"]

DONE, FAILED = 0, 1

_HELP = """\
Look at stores, which 'gillespy-lite run ... --store FOLDER' and ensemble(..., store=) fill with
trajectories, and scan(..., store=) with parameter sets.
"""

_EXAMPLES = """\
examples:
  gillespy-lite run vilar -n 10000 --seed 7 --store runs/vilar    again after whatever stopped it
  gillespy-lite store info runs/vilar                             whose trajectories, and which
  gillespy-lite store verify runs/vilar                           reads and checks every file
  gillespy-lite store merge runs/all runs/one runs/two            the parts of several machines
  gillespy-lite store export runs/vilar vilar.parquet             or .zarr, .nc, .csv
"""


def add_store(
    commands: Any, add_command: Callable[..., argparse.ArgumentParser], program: str
) -> None:
    """Add the command to the others; `add_command` makes the parser of one."""

    def help_only(given: argparse.Namespace) -> int:
        sys.stderr.write(parser.format_help())
        return 2

    parser = add_command(
        commands,
        "store",
        help_only,
        help="look at stores, check, merge and export them",
        description=_HELP,
        epilog=_EXAMPLES,
    )
    actions = parser.add_subparsers(
        title="actions", metavar="ACTION", parser_class=type(parser), prog=f"{program} store"
    )
    info = add_command(actions, "info", _info, help="whose trajectories or sets, and which")
    verify = add_command(actions, "verify", _verify, help="read and check every file")
    for one in (info, verify):
        one.add_argument("store", metavar="STORE", help="folder of a store")
    merge = add_command(actions, "merge", _merge, help="put stores of one run or scan together")
    merge.add_argument("into", metavar="INTO", help="new folder, or store to add the others to")
    merge.add_argument("stores", metavar="STORE", nargs="+", help="folder of a store")
    export = add_command(actions, "export", _export, help="write a file of another format")
    export.add_argument("store", metavar="STORE", help="folder of a store")
    export.add_argument("file", metavar="FILE", help="ends in .zarr, .nc, .parquet or .csv")
    for name, action in {"info": info, "verify": verify, "merge": merge, "export": export}.items():
        action.set_defaults(command_name=f"store {name}")


def _info(given: argparse.Namespace) -> int:
    from .stores import open_store

    store = open_store(given.store)
    sys.stdout.write(f"{store.summary()}\n\n{store.order.network_text.rstrip()}\n")
    return DONE


def _verify(given: argparse.Namespace) -> int:
    from .stores import open_store

    store = open_store(given.store)
    wrong = store.verify()
    for line in wrong:
        sys.stderr.write(f"{line}\n")
    n_files = len(store.chunks)
    if wrong:
        sys.stderr.write(
            f"{len(wrong)} of {n_files} files are damaged; the next run into this store removes "
            f"them and computes their {store.order.things} again\n"
        )
        return FAILED
    sys.stdout.write(
        f"{n_files} files with {store.n} {store.order.things}: all as they were written\n"
    )
    return DONE


def _merge(given: argparse.Namespace) -> int:
    from .stores import merge_stores

    sys.stdout.write(f"{merge_stores(given.stores, given.into).summary()}\n")
    return DONE


def _export(given: argparse.Namespace) -> int:
    from .stores import open_store

    open_store(given.store).export(given.file)
    sys.stdout.write(f"wrote {given.file}\n")
    return DONE
