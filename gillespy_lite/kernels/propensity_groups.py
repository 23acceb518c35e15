"""Reactions in groups by powers of two of their propensities, and the choice of one of them.

A reaction whose propensity a is in [2^g, 2^(g + 1)) is a member of group g, and 2^(g + 1) is its
bound. Proposals come at the sum of all bounds as their rate, each a reaction in proportion to its
bound: a group by its share, then any of its members alike. A proposal is accepted with the
probability a / 2^(g + 1), above one half, and time passes either way. That is thinning (Lewis and
Shedler 1979): accepted proposals of a reaction are a Poisson process of rate a, so the law of
events and times is exact. No sum of propensities is needed: the only totals are numbers of members,
which cannot drift.

What an event reads stands in few places, because in a network of 100,000 reactions every one of
them is a cache miss. A cell of 32 bytes holds what the propensity of a reaction needs, its value,
group and place; a method may give a reaction more cells, for what its events change, and then all
of them as many (the stride). `member` holds the first cells of the reactions of each group one
after the other. A place that grows too small is moved to the end of `member`, and when that is used
up, all are arranged anew.

The numbers that coming proposals draw are kept in a ring, so that what they will probably hit can
be fetched into the caches ahead of time. Groups change between a guess and the draw, and with them
the place, by one or two as a rule. So eight proposals ahead the member and both its neighbours are
fetched, and three ahead what an event of the member guessed then reads. Guesses change nothing
else.

References
----------
Slepoy, Thompson and Plimpton (2008), J. Chem. Phys. 128, 205101, doi:10.1063/1.2919546. Lewis and
Shedler (1979), Nav. Res. Logist. Q. 26:403, doi:10.1002/nav.3800260304.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .bits import as_bits, as_float
from .jit import apart, inlined
from .prefetching import prefetch
from .random import exponential, uniform

__all__ = [
    "Groups",
    "arrange",
    "drawer",
    "fill_ring",
    "group_sizes",
    "groups_of",
    "is_empty",
    "n_proposals",
    "put",
    "update_levels",
]

# Biased exponents of doubles: one group each at most. 0 stands for all subnormal propensities.
N_CODES = 2048
RING = 16
_LAST = np.uint64(RING - 1)
# Proposals ahead of which the cells of a member are fetched, and then what an event of it reads.
_FIRST_AHEAD, _SECOND_AHEAD = np.uint64(8), np.uint64(3)
# Places at the end of `member` that stay unused: a guess looks one beyond its group.
_SPARE = 2
# So few reactions that can happen are in the caches as they are.
_FEWEST_FETCHED = 4000

_U52 = np.uint64(52)
_ONE, _FOUR, _EIGHT = np.uint64(1), np.uint64(4), np.uint64(8)
# Places in an `entry`, after 8 j.
_CODE, _PLACE = np.uint64(4), np.uint64(5)

# Places in `Groups.tally`: active groups; reactions in them; used places of `member`; proposals of
# the trajectory so far; cells of a reaction; for the method's own use.
N_ACTIVE, N_MEMBERS, N_USED, N_PROPOSED, STRIDE, CHOSEN = range(6)


class Groups(NamedTuple):
    """The groups, all of them views of a walker's workspace.

    Active groups are numbered in the order in which they appeared; those that ran empty go when
    all are arranged anew.
    """

    # (4 * n_cells,) float64: of the first cell of every reaction the number that decides its group,
    # a propensity or a bound of it; one for the method's own use; two that are seen as `entry`.
    cell: np.ndarray
    # (8 * n_cells,) int32, the same memory: of first cell c from 8 c + 4 on the code of the group,
    # -1 for none; the place in the group; two for the method's own use.
    entry: np.ndarray
    level: np.ndarray  # (N_CODES,) float64: sums of the bounds of groups 0 ... k, halved
    unit: np.ndarray  # (N_CODES,) float64: half the bound of an active group, 2^g
    inverse: np.ndarray  # (N_CODES,) float64: 2^-g
    waiting: np.ndarray  # (RING,) float64, exponential draws
    choice: np.ndarray  # (RING,) float64, uniform draws
    tally: np.ndarray  # (8,) int64, see above
    number: np.ndarray  # (N_CODES,) int32: which active group a code has, or -1
    start: np.ndarray  # (N_CODES,) int32: of active groups, in `member`
    room: np.ndarray  # (N_CODES,) int32
    size: np.ndarray  # (N_CODES,) int32
    member: np.ndarray  # (n_places,) int32, first cells


def _n_places(n_reactions: int) -> int:
    # Enough for groups half as large again, and for the largest of them to double after that.
    return 4 * n_reactions + 8 * min(n_reactions, N_CODES) + 64


def group_sizes(n_reactions: int, stride: int = 1) -> tuple[int, int]:
    """Return how many float64 and int64 numbers the groups need, with `stride` cells a reaction."""
    n_integers = 8 + 2 * N_CODES + (_n_places(n_reactions) + _SPARE) // 2
    return 4 * stride * n_reactions + 3 * N_CODES + 2 * RING, n_integers


@inlined
def groups_of(walker, n_cells):
    """Return the groups in a walker's workspace, which begins with so many cells."""
    reals, integers = walker.reals, walker.integers
    cell = reals[: 4 * n_cells]
    rest = reals[4 * n_cells :]
    tables = integers[8 : 8 + 2 * N_CODES].view(np.int32)
    return Groups(
        cell=cell,
        entry=cell.view(np.int32),
        unit=rest[:N_CODES],
        inverse=rest[N_CODES : 2 * N_CODES],
        level=rest[2 * N_CODES : 3 * N_CODES],
        waiting=rest[3 * N_CODES : 3 * N_CODES + RING],
        choice=rest[3 * N_CODES + RING : 3 * N_CODES + 2 * RING],
        tally=integers[:8],
        number=tables[:N_CODES],
        start=tables[N_CODES : 2 * N_CODES],
        room=tables[2 * N_CODES : 3 * N_CODES],
        size=tables[3 * N_CODES :],
        member=integers[8 + 2 * N_CODES :].view(np.int32),
    )


@inlined
def code_of(number):
    """Return the group of a number >= 0: its biased exponent; -1 for 0."""
    return np.int32(as_bits(number) >> _U52) if number > 0.0 else np.int32(-1)


@inlined
def _add_active(groups, code):
    """Give a group the next number."""
    k = groups.tally[N_ACTIVE]
    groups.tally[N_ACTIVE] = k + 1
    groups.number[code] = k
    # 2^g; all subnormal numbers are in the group of 2^-1023.
    unit = 2.0**-1023
    if code > 0:
        unit = as_float(np.uint64(code) << _U52)
    groups.unit[k] = unit
    groups.inverse[k] = 1.0 / unit
    groups.size[k] = groups.room[k] = 0
    return k


@apart
def arrange(groups):
    """Put every reaction anew into the group of its number, in order."""
    n_cells, stride = groups.cell.size // 4, groups.tally[STRIDE]
    groups.tally[N_ACTIVE] = groups.tally[N_MEMBERS] = 0
    for code in range(N_CODES):
        groups.number[code] = -1
    for j in range(0, n_cells, stride):
        code = code_of(groups.cell[4 * j])
        groups.entry[8 * j + 4] = code
        if code >= 0:
            k = np.int64(groups.number[code])
            if k < 0:
                k = _add_active(groups, code)
            groups.size[k] += 1
            groups.tally[N_MEMBERS] += 1
    used = 0
    for k in range(groups.tally[N_ACTIVE]):
        groups.start[k] = used
        groups.room[k] = groups.size[k] + groups.size[k] // 2 + 8
        used += groups.room[k]
        groups.size[k] = 0
    groups.tally[N_USED] = used
    for j in range(0, n_cells, stride):
        code = groups.entry[8 * j + 4]
        if code >= 0:
            k = groups.number[code]
            groups.entry[8 * j + 5] = groups.size[k]
            groups.member[groups.start[k] + groups.size[k]] = j
            groups.size[k] += 1


@apart
def _make_room(groups, cell):
    """Make room for one more in the group of a first cell, or arrange all anew."""
    code = groups.entry[8 * cell + 4]
    k = np.int64(groups.number[code])
    if k < 0:
        k = _add_active(groups, code)
    room = 2 * groups.room[k] + 8
    used = groups.tally[N_USED]
    if k == N_CODES - 1 or used + room > groups.member.size - _SPARE:
        arrange(groups)
        return False
    for i in range(groups.size[k]):
        groups.member[used + i] = groups.member[groups.start[k] + i]
    groups.start[k], groups.room[k] = used, room
    groups.tally[N_USED] = used + room
    return True


@inlined
def put(groups, cell, number):
    """Set the number of the reaction that begins at a cell; return whether it changed its group."""
    j = np.uint64(cell)
    groups.cell[_FOUR * j] = number
    code = code_of(number)
    before = groups.entry[_EIGHT * j + _CODE]
    if code == before:
        return False
    if before >= 0:
        # The last member takes its place.
        k = np.uint64(groups.number[np.uint64(before)])
        place = groups.entry[_EIGHT * j + _PLACE]
        size = groups.size[k] - np.int32(1)
        start = groups.start[k]
        moved = groups.member[np.uint64(start + size)]
        groups.member[np.uint64(start + place)] = moved
        groups.entry[_EIGHT * np.uint64(moved) + _PLACE] = place
        groups.size[k] = size
        groups.tally[N_MEMBERS] -= 1
        # The next to take a place: what is written to it would else wait for memory.
        last = groups.member[np.uint64(max(start + size - np.int32(1), np.int32(0)))]
        prefetch(groups.cell, _FOUR * np.uint64(last))
    groups.entry[_EIGHT * j + _CODE] = code
    if code >= 0:
        groups.tally[N_MEMBERS] += 1
        k = np.int64(groups.number[np.uint64(code)])
        if k < 0 or groups.size[k] == groups.room[k]:
            if not _make_room(groups, cell):
                return True
            k = np.int64(groups.number[np.uint64(code)])
        u = np.uint64(k)
        size = groups.size[u]
        groups.entry[_EIGHT * j + _PLACE] = size
        groups.member[np.uint64(groups.start[u] + size)] = np.int32(cell)
        groups.size[u] = size + np.int32(1)
    return True


@inlined
def update_levels(groups):
    """Add up the bounds of the groups, halved; return their sum."""
    total = 0.0
    for k in range(np.uint64(groups.tally[N_ACTIVE])):
        total += np.float64(groups.size[k]) * groups.unit[k]
        groups.level[k] = total
    return total


@inlined
def fill_ring(groups, stream):
    """Draw for the first proposals of a trajectory."""
    groups.tally[N_PROPOSED] = 0
    for place in range(RING):
        groups.waiting[place] = exponential(stream)
        groups.choice[place] = uniform(stream)


@inlined
def _find(groups, target, n_active):
    """Return the group in whose share of the halved bounds `target` lies."""
    # Counting takes as long for every group: there is no jump to mispredict.
    k = np.uint64(0)
    for i in range(n_active - _ONE):
        k += np.uint64(groups.level[i] <= target)
    # Only where the sum of the bounds is subnormal.
    while groups.size[k] == 0:
        k -= _ONE
    return k


@inlined
def _position(groups, k, target):
    below = groups.level[k - _ONE] if k > np.uint64(0) else 0.0
    return (target - below) * groups.inverse[k]


@inlined
def _place_of(groups, proposed, half, n_active):
    """Return where in `member` a coming proposal would look if it came now."""
    target = groups.choice[proposed & _LAST] * half
    k = _find(groups, target, n_active)
    return np.uint64(groups.start[k]) + np.uint64(_position(groups, k, target))


def drawer(fetch_cells: Callable[..., Any], fetch_event: Callable[..., Any]) -> Any:
    """Return a compiled function that draws the next proposal.

    It takes (network, walker, groups, time), at least one group not being empty, and returns the
    time of the proposal, the first cell of its reaction, and its height: uniform from 0 to the
    bound of the group.

    Parameters
    ----------
    fetch_cells : compiled function (network, groups, cell)
        Prefetches the cells of a reaction, and what else stands at its number.
    fetch_event : compiled function (network, walker, groups, cell)
        Prefetches what an event of the reaction will read; its cells have probably arrived.
    """

    @inlined
    def draw(network, walker, groups, time):
        n_active = np.uint64(groups.tally[N_ACTIVE])
        half = groups.level[n_active - _ONE]
        proposed = np.uint64(groups.tally[N_PROPOSED])
        groups.tally[N_PROPOSED] += 1
        place = proposed & _LAST
        time += 0.5 * (groups.waiting[place] / half)
        target = groups.choice[place] * half
        groups.waiting[place] = exponential(walker.stream)
        groups.choice[place] = uniform(walker.stream)
        if groups.tally[N_MEMBERS] >= _FEWEST_FETCHED:
            ahead = _place_of(groups, proposed + _FIRST_AHEAD, half, n_active)
            fetch_cells(network, groups, np.uint64(groups.member[ahead]))
            fetch_cells(network, groups, np.uint64(groups.member[ahead + _ONE]))
            fetch_cells(network, groups, np.uint64(groups.member[max(ahead, _ONE) - _ONE]))
            ahead = _place_of(groups, proposed + _SECOND_AHEAD, half, n_active)
            fetch_event(network, walker, groups, np.uint64(groups.member[ahead]))
        k = _find(groups, target, n_active)
        position = _position(groups, k, target)
        i = min(np.uint64(position), np.uint64(groups.size[k]) - _ONE)
        height = (position - np.float64(i)) * (2.0 * groups.unit[k])
        cell = np.int64(groups.member[np.uint64(groups.start[k]) + i])
        return time, cell, height

    return draw


def n_proposals(integers: np.ndarray) -> int:
    """Return how many proposals a trajectory had, from the integers of its walker."""
    return int(integers[N_PROPOSED])


@inlined
def is_empty(groups):
    """Return whether no reaction is proposed any more."""
    n_active = np.uint64(groups.tally[N_ACTIVE])
    return n_active == np.uint64(0) or groups.level[n_active - _ONE] <= 0.0
