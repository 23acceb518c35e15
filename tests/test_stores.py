"""Stores: what is kept on disk is what was computed, and nothing is computed twice."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from identical import assert_identical

import gillespy_lite as gl
from gillespy_lite import portion_jobs, portion_runs
from gillespy_lite.cli import main
from gillespy_lite.errors import DamagedFileError, MissingExtraError, StoreError, StoreWarning
from gillespy_lite.results.files import NARROW_DTYPES, read_archive
from gillespy_lite.run_orders import RunOrder
from gillespy_lite.run_plan import plan_run
from gillespy_lite.stores import exporting
from gillespy_lite.stores.chunks import narrowed
from gillespy_lite.stores.folder import STORE_VERSION, Folder
from gillespy_lite.stores.ranges import Range, cut, gaps, missing, union, usable
from gillespy_lite.stores.writing import StoreWriter

BIRTH_DEATH = gl.Network.parse("""
species X = 0
param k = 10, g = 0.5
observe half = X/2
0 -> X @ k
X -> 0 @ g
""")
T = [0.0, 1.0, 2.0, 5.0]
RUN: dict[str, Any] = {"rng": 71, "outputs": ["X", "half"], "stop_when": "X >= 25"}
STATISTICS: dict[str, Any] = {**RUN, "statistics": True, "histogram_bins": 64}
BOTH = [RUN, STATISTICS]
KINDS = ["paths", "statistics"]


@pytest.fixture
def many_portions(monkeypatch):
    """Store after every kernel call, so that small runs have many chunks."""
    monkeypatch.setattr(portion_runs, "_LEAST_SECONDS", 0.0)
    monkeypatch.setattr(portion_runs, "_SHARE_OF_THE_TIME", 0.0)
    monkeypatch.setattr(portion_runs, "_WORK_PER_WRITING", 0.0)
    monkeypatch.setattr(portion_runs, "_MOST_BYTES", 2**14)


def computed(monkeypatch) -> list[int]:
    """Return a list that gets the number of trajectories of every crew that is sent to work."""
    sent: list[int] = []
    usual = portion_jobs.Crew

    def crew(plan, gatherer, *how):
        sent.append(gatherer.last - gatherer.first)
        return usual(plan, gatherer, *how)

    monkeypatch.setattr(portion_jobs, "Crew", crew)
    return sent


# ---- Ranges --------------------------------------------------------------------------------------


def brute_force_missing(stored, wanted, unit):
    have = {i for one in usable(stored, wanted, unit) for i in range(*one)}
    return [i for i in range(*wanted) if i not in have]


def test_what_is_missing_is_what_nothing_usable_covers():
    rng = np.random.default_rng(72)
    for _ in range(300):
        unit = [None, 1, 4, 7][rng.integers(4)]
        stored: list[Range] = []
        for _ in range(rng.integers(0, 6)):
            first = int(rng.integers(0, 60))
            new = Range(first, first + int(rng.integers(1, 30)))
            pieces = [new] if unit is None else cut(new, unit)
            stored += [p for p in pieces if not any(p.overlap(other) for other in stored)]
        start = int(rng.integers(0, 60))
        wanted = Range(start, start + int(rng.integers(1, 50)))
        found = missing(stored, wanted, unit)
        assert [i for one in found for i in range(*one)] == brute_force_missing(
            stored, wanted, unit
        )
        for one in found:
            # Statistics can be stored: whole blocks, or part of one.
            assert unit is None or len(cut(one, unit)) == 1
        chosen = usable(stored, wanted, unit)
        for i, one in enumerate(chosen):
            assert not any(one.overlap(other) for other in chosen[:i])
            if unit is not None:
                assert one.first % unit == 0 or one.first == wanted.first
                assert one.last % unit == 0 or one.last == wanted.last


def test_ranges_join_and_leave_gaps():
    some = [Range(5, 7), Range(0, 3), Range(3, 4), Range(6, 9)]
    assert union(some) == [(0, 4), (5, 9)]
    assert gaps(Range(2, 12), some) == [(4, 5), (9, 12)]
    assert gaps(Range(0, 4), some) == []


# ---- Runs into stores ----------------------------------------------------------------------------


@pytest.mark.parametrize("how", BOTH, ids=KINDS)
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("engine", ["lanes", "table"])
@pytest.mark.usefixtures("many_portions")
def test_a_run_with_a_store_is_the_run_without_one(how, threads, engine, tmp_path):
    n, how = 3000, {**how, "threads": threads, "engine": engine}
    usual = gl.ensemble(BIRTH_DEATH, T, n, **how)
    for _ in range(2):  # computed, then read
        stored = gl.ensemble(BIRTH_DEATH, T, n, **how, store=tmp_path / "a")
        assert_identical(usual, stored)
    assert stored.provenance.entropy == 71
    store = gl.open_store(tmp_path / "a")
    assert store.ranges == [(0, n)]
    assert len(store.chunks) > 1
    assert store.verify() == []
    assert_identical(usual, store.load())
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("how", BOTH, ids=KINDS)
def test_a_store_grows_and_gives_any_part_of_what_it_has(how, tmp_path, monkeypatch):
    sent = computed(monkeypatch)
    for first, n, n_computed in [
        (0, 700, 700),
        (0, 1500, 800),  # of statistics also the 188 of the last block
        (0, 400, 0),
        (100, 900, 0),
        (2100, 500, 500),
        (0, 2700, 700),
        (0, 2700, 0),
    ]:
        usual = gl.ensemble(BIRTH_DEATH, T, n, first=first, **how)
        sent.clear()
        here = {**how, "rng": 71 if first == 0 else None}
        stored = gl.ensemble(BIRTH_DEATH, T, n, first=first, **here, store=tmp_path / "a")
        assert_identical(usual, stored)
        if how is RUN:
            assert sum(sent) == n_computed
        else:
            # What statistics of blocks cannot tell is computed again: a few blocks at most.
            assert n_computed <= sum(sent) <= n_computed + 4 * 256 or n < 1000
    store = gl.open_store(tmp_path / "a")
    assert store.ranges == [(0, 2700)]
    assert store.missing(2700) == []
    assert store.verify() == []
    for (_, last), (first, _) in zip(store.chunks, store.chunks[1:], strict=False):
        assert last == first


def test_statistics_of_a_block_that_was_cut_are_replaced_by_the_whole_one(tmp_path):
    gl.ensemble(BIRTH_DEATH, T, 300, **STATISTICS, store=tmp_path / "a")
    store = gl.open_store(tmp_path / "a")
    assert store.chunks == [(0, 256), (256, 300)]
    assert store.missing(600) == [(256, 600)]
    gl.ensemble(BIRTH_DEATH, T, 600, **STATISTICS, store=tmp_path / "a")
    assert store.chunks == [(0, 256), (256, 512), (512, 600)]
    # Fewer than stored: the last block is computed for this result, and nothing is stored.
    fewer = gl.ensemble(BIRTH_DEATH, T, 300, **STATISTICS, store=tmp_path / "a")
    assert_identical(gl.ensemble(BIRTH_DEATH, T, 300, **STATISTICS), fewer)
    assert store.chunks == [(0, 256), (256, 512), (512, 600)]


def test_histograms_of_wide_bins_add_up(tmp_path):
    # Widths grow from 1 to 512 along the run, and differ from chunk to chunk.
    network = gl.Network.parse("species A = 1, B\n A -> 2 A @ 1\n A -> A + B @ 20")
    how: dict[str, Any] = {"rng": 4, "statistics": True, "histogram_bins": 4}
    usual = gl.ensemble(network, [0, 1, 2, 3.5], 2000, **how)
    for n in (40, 300, 1100, 2000):
        stored = gl.ensemble(network, [0, 1, 2, 3.5], n, **how, store=tmp_path / "a")
    assert_identical(usual, stored)
    assert_identical(usual, gl.open_store(tmp_path / "a").load())
    assert usual.bin_widths.max() >= 256
    assert usual.bin_counts.max() > 255


def test_options_of_methods_and_networks_with_everything_come_back(tmp_path):
    network = gl.Network.parse("""
species S = 301, E = 120, ES, P, G = 1
param kf = 0.00166, kr = 1e-4, kcat = 0.1
observe total = S + ES + P
S + E <-> ES @ kf, kr
ES -> E + P @ kcat
G -> 0 @ 0.05*(1 + P)
""")
    how: dict[str, Any] = {"method": "tau_leaping", "epsilon": 0.02, "rng": 3, "max_events": 10**6}
    usual = gl.ensemble(network, 5, 60, **how)
    gl.ensemble(network, 5, 60, **how, store=tmp_path / "a")
    store = gl.open_store(tmp_path / "a")
    assert_identical(usual, store.load())
    assert store.network == network
    store.extend(90)
    assert_identical(gl.ensemble(network, 5, 90, **how), store.load())
    assert store.load().replay(80).n_events == store.load().n_events[80]


def test_without_rng_a_new_store_takes_fresh_entropy_and_keeps_it(tmp_path):
    one = gl.ensemble(BIRTH_DEATH, T, 30, store=tmp_path / "a")
    two = gl.ensemble(BIRTH_DEATH, T, 50, store=str(tmp_path / "a"))
    assert one.provenance.entropy == two.provenance.entropy
    assert_identical(gl.ensemble(BIRTH_DEATH, T, 50, rng=one.provenance.entropy), two)
    other = gl.ensemble(BIRTH_DEATH, T, 30, store=tmp_path / "b")
    assert other.provenance.entropy != one.provenance.entropy


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rng": 72}, "rng is 71 there and 72 here"),
        ({"t": [0.0, 1.0, 2.5, 5.0]}, r"t\[2\] is 2.0 there and 2.5 here"),
        ({"t": [0.0, 1.0]}, "t has 4 times there and 2 here"),
        (
            {"network": BIRTH_DEATH.with_parameters(k=11)},
            "the network has .*k = 10.* there and .*k = 11.* here",
        ),
        ({"method": "next_reaction"}, "method is 'direct' there and 'next_reaction' here"),
        ({"outputs": ["X"]}, "outputs are X, half there and X here"),
        ({"stop_when": "X >= 26"}, "stop_when is 'X >= 25' there and 'X >= 26' here"),
        ({"stop_when": None}, "stop_when is 'X >= 25' there and None here"),
        ({"max_events": 999}, "max_events is None there and 999 here"),
        ({"statistics": True}, "trajectories are kept there and statistics .* here"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_another_run_is_refused_by_what_differs(change, message, tmp_path):
    given = {"network": BIRTH_DEATH, "t": T, "n": 40, **RUN, "store": tmp_path / "a"}
    gl.ensemble(**given)
    before = sorted(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    with pytest.raises(StoreError, match=message):
        gl.ensemble(**{**given, **change})
    assert before == sorted(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_another_option_of_a_method_is_refused_by_name(tmp_path):
    how: dict[str, Any] = {"method": "tau_leaping", "rng": 1, "store": tmp_path / "a"}
    gl.ensemble(BIRTH_DEATH, T, 20, epsilon=0.02, **how)
    with pytest.raises(StoreError, match=r"epsilon is 0.02 there and 0.03 here"):
        gl.ensemble(BIRTH_DEATH, T, 20, epsilon=0.03, **how)


def test_trajectories_longer_than_others_do_not_keep_these_from_the_store(tmp_path, monkeypatch):
    # One in a hundred has a thousand times the events of the others.
    network = gl.Network.parse("""
species S = 1, A, B, X
start: S -> A @ 0.001
       S -> B @ 0.099
       0 -> X @ 4000*A + B
""")
    monkeypatch.setattr(portion_runs, "_LEAST_SECONDS", 0.0)
    monkeypatch.setattr(portion_runs, "_SHARE_OF_THE_TIME", 0.0)
    monkeypatch.setattr(portion_runs, "_PATIENCE", 0.05)
    how: dict[str, Any] = {"rng": 5, "engine": "table", "threads": 2}
    stored = gl.ensemble(network, 100, 600, **how, store=tmp_path / "a")
    assert_identical(gl.ensemble(network, 100, 600, **how), stored)
    assert gl.open_store(tmp_path / "a").ranges == [(0, 600)]


@pytest.mark.parametrize("how", BOTH, ids=KINDS)
def test_a_timeout_leaves_what_is_finished_in_the_store(how, tmp_path, monkeypatch):
    n = 200_000
    monkeypatch.setattr(portion_runs, "_LEAST_SECONDS", 0.0)

    def dawdle(now: float, of: float) -> None:
        # However fast the machine is, the time is up before all is done.
        if now > 10_000:
            time.sleep(0.2)

    with pytest.warns(gl.IncompleteWarning, match=r"has \d+ of them; the same call goes on"):
        part = gl.ensemble(
            BIRTH_DEATH, T, n, **how, threads=1, timeout=0.2, progress=dawdle, store=tmp_path / "a"
        )
    store = gl.open_store(tmp_path / "a")
    assert part.stopped == "timeout"
    assert 0 < store.n <= len(part) < n
    if how is RUN:
        assert store.n == len(part)
    rest = store.missing(n)
    done = []
    whole = gl.ensemble(
        BIRTH_DEATH, T, n, **how, store=tmp_path / "a", progress=lambda now, of: done.append(now)
    )
    assert done[-1] == n
    assert done[0] >= store.n - sum(last - first for first, last in rest) > 0
    assert_identical(gl.ensemble(BIRTH_DEATH, T, n, **how), whole)


@pytest.mark.parametrize("how", BOTH, ids=KINDS)
def test_time_that_is_up_when_all_is_done_cuts_nothing_short(how, tmp_path):
    def dawdle(now: float, of: float) -> None:
        if now >= of:
            time.sleep(0.5)

    options = {"threads": 1, "timeout": 0.5, "progress": dawdle}
    for other in ({}, {"store": tmp_path / "a"}, {"executor": ThreadPoolExecutor(1)}):
        runs = gl.ensemble(BIRTH_DEATH, T, 40, **how, **options, **other)
        assert runs.stopped is None
        assert runs.n_trajectories == 40


def test_an_error_of_a_trajectory_keeps_the_others_in_the_store(tmp_path):
    how: dict[str, Any] = {"rng": 6, "max_events": 100, "threads": 1, "engine": "table"}
    with pytest.raises(gl.errors.EventLimitError) as usual:
        gl.ensemble(BIRTH_DEATH, T, 5000, **how)
    with pytest.raises(gl.errors.EventLimitError) as caught:
        gl.ensemble(BIRTH_DEATH, T, 5000, **how, store=tmp_path / "a")
    assert str(caught.value) == str(usual.value)
    assert_identical(usual.value.result, caught.value.result)
    assert_identical(caught.value.result, gl.open_store(tmp_path / "a").load())


# ---- Files ---------------------------------------------------------------------------------------


def test_chunks_are_narrow_archives_that_numpy_reads(tmp_path):
    runs = gl.ensemble(BIRTH_DEATH, T, 50, **RUN, store=tmp_path / "a")
    (path,) = (tmp_path / "a" / "chunks").iterdir()
    assert path.name == "0000000000-0000000049.npz"
    with np.load(path, allow_pickle=False) as arrays:
        assert arrays["counts"].dtype == np.uint8
        assert np.array_equal(arrays["counts"], runs.counts)
        assert arrays["values"].tobytes() == runs.values.tobytes()
        assert arrays["hitting_times"].tobytes() == runs.hitting_times.tobytes()
    header, _ = read_archive(path, NARROW_DTYPES)
    assert (header["kind"], header["first"], header["last"]) == ("portion", 0, 50)


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [
        *[(0, 255, "u1"), (0, 256, "u2"), (0, 65536, "u4"), (0, 2**32, "i8"), (-1, 127, "i1")],
        *[(-129, 0, "i2"), (-1, 2**31 - 1, "i4"), (-1, 2**31, "i8"), (-(2**63), 0, "i8")],
    ],
)
def test_whole_numbers_are_as_narrow_as_they_can_be(low, high, dtype):
    array = np.array([low, high, 0])
    narrow = narrowed(array)
    assert narrow.dtype == np.dtype(dtype)
    assert np.array_equal(narrow, array)
    assert narrowed(np.array([0.5])).dtype == np.float64
    assert narrowed(np.zeros((0, 3), dtype=np.int64)).size == 0


def test_a_portion_that_is_not_what_it_should_be_is_refused(tmp_path):
    runs = gl.ensemble(BIRTH_DEATH, T, 600, **STATISTICS, store=tmp_path / "a")
    assert runs.n_trajectories == 600
    order = gl.open_store(tmp_path / "a").order
    plan = order.plan()
    empty = order.gatherer(plan, 512, 700, 1).portion()
    with StoreWriter(tmp_path / "a", order) as store:
        with pytest.raises(ValueError, match="the portion of 188 trajectories from 512 on holds 0"):
            store.put(512, 700, empty)
        whole = order.gatherer(plan, 0, 700, 1)
        for one in [(0, 256), (256, 512), (512, 600)]:
            path = Folder(tmp_path / "a").chunk_path(Range(*one))
            whole.add(read_archive(path, NARROW_DTYPES)[1] | {"indices": np.arange(*one)})
        with pytest.raises(ValueError, match="neither whole blocks of 256 nor part of one"):
            store.put(0, 600, whole.portion())


# ---- Reading -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", BOTH, ids=KINDS)
@pytest.mark.usefixtures("many_portions")
def test_a_store_is_read_whole_in_part_or_by_pieces(how, tmp_path):
    usual = gl.ensemble(BIRTH_DEATH, T, 2560, **how, store=tmp_path / "a")
    store = gl.open_store(tmp_path / "a")
    assert len(store) == store.n == 2560
    pieces = list(store)
    assert len(pieces) == len(store.chunks) > 2
    assert sum(len(piece) for piece in pieces) == 2560
    if how is RUN:
        counts = np.concatenate([piece.counts for piece in pieces])
        assert counts.tobytes() == usual.counts.tobytes()
        some = store.load(50, first=20)
        assert_identical(gl.ensemble(BIRTH_DEATH, T, 50, first=20, **how), some)
    else:
        mean = sum(piece.mean("X") * len(piece) for piece in pieces) / 2560
        np.testing.assert_allclose(mean, usual.mean("X"), rtol=1e-12)
    for text in (store.summary(), store._repr_html_()):
        for words in ("0 to 2559", "direct", "71", "X &gt;= 25|X >= 25", "half"):
            assert any(word in text for word in words.split("|"))
    assert repr(store).startswith("<Store '")
    assert "0 to 2559" in repr(store)
    loaded = store.load()
    assert loaded.provenance.package_version == gl.__version__
    assert loaded.network == BIRTH_DEATH


def test_gaps_are_named_and_left_out(tmp_path):
    gl.ensemble(BIRTH_DEATH, T, 100, **RUN, store=tmp_path / "a")
    gl.ensemble(BIRTH_DEATH, T, 50, first=1000, **RUN, store=tmp_path / "a")
    store = gl.open_store(tmp_path / "a")
    assert store.ranges == [(0, 100), (1000, 1050)]
    assert store.missing(1010) == [(100, 1000)]
    loaded = store.load()
    assert loaded.indices.tolist() == [*range(100), *range(1000, 1050)]
    assert loaded.n_requested == 150
    assert loaded.replay(149).n_events == loaded.n_events[149]
    with pytest.raises(StoreError, match=r"does not have all of .* 100 to 999 are missing"):
        store.load(1010)
    gl.ensemble(BIRTH_DEATH, T, 100, **STATISTICS, store=tmp_path / "b")
    gl.ensemble(BIRTH_DEATH, T, 50, first=1000, **STATISTICS, store=tmp_path / "b")
    apart = gl.open_store(tmp_path / "b").load()
    assert len(apart) == apart.n_requested == 150
    np.testing.assert_allclose(apart.mean("X"), loaded.mean("X"), rtol=1e-12)
    assert apart.hitting_times.tobytes() == loaded.hitting_times.tobytes()


def test_what_does_not_fit_into_memory_is_refused_with_what_to_do(tmp_path, monkeypatch):
    gl.ensemble(BIRTH_DEATH, T, 100, **RUN, store=tmp_path / "a")
    store = gl.open_store(tmp_path / "a")
    monkeypatch.setattr("gillespy_lite.memory.available_memory", lambda: 1000)
    monkeypatch.setattr("gillespy_lite.memory._ALWAYS_THERE", 0)
    with pytest.raises(gl.errors.NotEnoughMemoryError, match="for piece in store"):
        store.load()
    with pytest.raises(gl.errors.NotEnoughMemoryError, match=r"statistics=True.*extend"):
        gl.ensemble(BIRTH_DEATH, T, 10**5, **RUN, store=tmp_path / "a")


@pytest.mark.parametrize("how", BOTH, ids=KINDS)
def test_a_store_is_extended_piece_by_piece(how, tmp_path, monkeypatch):
    gl.ensemble(BIRTH_DEATH, T, 10, **how, store=tmp_path / "a")
    store = gl.open_store(tmp_path / "a")
    monkeypatch.setattr("gillespy_lite.stores.store._MOST_BYTES_OF_A_PIECE", 300 * 8 * 11)
    sent, done = computed(monkeypatch), []
    store.extend(1000, threads=1, progress=lambda now, total: done.append((now, total)))
    assert store.ranges == [(0, 1000)]
    assert done[-1] == (1000, 1000)
    assert sent == ([300, 300, 300, 90] if how is RUN else [768, 232])
    assert_identical(gl.ensemble(BIRTH_DEATH, T, 1000, **how), store.load(1000))
    sent.clear()
    store.extend(1000)
    store.extend(10**9, timeout=0)
    assert sent == []


# ---- Versions and damage -------------------------------------------------------------------------


def rewritten(path: Path, **change: Any) -> None:
    folder = Folder(path)
    contents = json.loads(folder.manifest_path.read_text())
    contents.pop("seal")
    contents.update(change)
    from gillespy_lite.stores.folder import _seal

    contents["seal"] = _seal(contents)
    folder.manifest_path.write_text(json.dumps(contents))


def test_a_newer_store_is_refused_by_its_version(tmp_path):
    gl.ensemble(BIRTH_DEATH, T, 10, **RUN, store=tmp_path / "a")
    rewritten(tmp_path / "a", format_version=STORE_VERSION + 1, written_by="gillespy_lite 9.9")
    for use in (
        lambda: gl.open_store(tmp_path / "a"),
        lambda: gl.ensemble(BIRTH_DEATH, T, 10, **RUN, store=tmp_path / "a"),
    ):
        with pytest.raises(StoreError, match=r"version 3, written by gillespy_lite 9\.9; .* newer"):
            use()


def test_older_random_streams_are_read_and_not_mixed_with_newer_ones(tmp_path):
    order = dataclasses.replace(
        RunOrder.of(
            plan_run(
                BIRTH_DEATH,
                T,
                method="direct",
                rng=71,
                seed=None,
                outputs=None,
                stop_when=None,
                max_events=None,
                every_event=False,
                method_options={},
            ),
            None,
        ),
        stream_version=1,
    )
    runs = gl.ensemble(BIRTH_DEATH, T, 30, rng=71)
    with StoreWriter(tmp_path / "a", order) as store:
        arrays = {name: getattr(runs, name) for name in ("counts", "values", "hitting_times")}
        store.put(0, 30, {**arrays, "indices": runs.indices, "n_events": runs.n_events})
    old = gl.open_store(tmp_path / "a")
    assert_identical(runs, old.load())
    assert old.load().provenance.stream_version == 1
    with pytest.raises(StoreError, match="random streams is 1 there and 3 here"):
        gl.ensemble(BIRTH_DEATH, T, 30, rng=71, store=tmp_path / "a")
    with pytest.raises(StoreError, match="random streams of version 1"):
        old.extend(40)


def damage(path: Path, place: int) -> None:
    contents = bytearray(path.read_bytes())
    contents[place] ^= 1 << (place % 8)
    path.write_bytes(contents)


def test_a_lost_or_damaged_manifest_is_made_good_by_the_chunks(tmp_path):
    usual = gl.ensemble(BIRTH_DEATH, T, 40, **RUN, store=tmp_path / "a")
    n = 40
    manifest = tmp_path / "a" / "manifest.json"
    good = json.loads(manifest.read_text())["order"]
    for harm in (manifest.unlink, lambda: damage(manifest, 200), lambda: manifest.write_text("")):
        harm()
        with pytest.warns(StoreWarning, match=r"manifest\.json.*read from a chunk"):
            assert_identical(usual, gl.open_store(tmp_path / "a").load())
        n += 1
        with pytest.warns(StoreWarning, match="written again"):
            usual = gl.ensemble(BIRTH_DEATH, T, n, **{**RUN, "rng": None}, store=tmp_path / "a")
        assert json.loads(manifest.read_text())["order"] == good
    manifest.write_text("{}")
    for path in (tmp_path / "a" / "chunks").iterdir():
        path.write_bytes(b"nothing")
    with pytest.raises(DamagedFileError, match="nothing is left"):
        gl.open_store(tmp_path / "a")


def test_folders_that_are_no_stores_are_refused(tmp_path):
    with pytest.raises(StoreError, match="no such folder"):
        gl.open_store(tmp_path / "a")
    (tmp_path / "b").mkdir()
    with pytest.raises(StoreError, match="neither a manifest nor chunks"):
        gl.open_store(tmp_path / "b")
    (tmp_path / "b" / "thesis.tex").write_text("years of work")
    with pytest.raises(StoreError, match=r"not empty: it holds 'thesis\.tex'"):
        gl.ensemble(BIRTH_DEATH, T, 10, store=tmp_path / "b")
    (tmp_path / "c").write_text("")
    with pytest.raises(StoreError, match="is a file"):
        gl.ensemble(BIRTH_DEATH, T, 10, store=tmp_path / "c")
    assert sorted(one.name for one in tmp_path.rglob("*")) == ["b", "c", "thesis.tex"]


def test_a_chunk_of_another_run_is_refused_and_kept(tmp_path):
    gl.ensemble(BIRTH_DEATH, T, 10, **RUN, store=tmp_path / "a")
    gl.ensemble(BIRTH_DEATH, T, 10, **{**RUN, "rng": 2}, store=tmp_path / "b")
    name = Path("chunks") / "0000000000-0000000009.npz"
    shutil.copy(tmp_path / "b" / name, tmp_path / "a" / name)
    with pytest.raises(StoreError, match=r"0000000009\.npz' belongs to another run"):
        gl.ensemble(BIRTH_DEATH, T, 10, **RUN, store=tmp_path / "a")
    assert (tmp_path / "a" / name).exists()
    (problem,) = gl.open_store(tmp_path / "a").verify()
    assert "belongs to another run" in problem


def test_the_clock_of_the_day_may_jump(tmp_path, monkeypatch):
    usual, hours = time.time, iter([0.0, -8.64e4, 8.64e4, 1e9, -1e9] * 10_000)
    monkeypatch.setattr(time, "time", lambda: usual() + next(hours))
    gl.ensemble(BIRTH_DEATH, T, 500, **RUN, store=tmp_path / "a")
    import os

    for i, path in enumerate((tmp_path / "a").rglob("*")):
        os.utime(path, (0, 0) if i % 2 else (4e9, 4e9))
    stored = gl.ensemble(BIRTH_DEATH, T, 900, **RUN, store=tmp_path / "a")
    assert_identical(gl.ensemble(BIRTH_DEATH, T, 900, **RUN), stored)


# ---- Merging -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", BOTH, ids=KINDS)
def test_stores_of_several_machines_are_one_run(how, tmp_path):
    for name, first, n in [("a", 0, 1000), ("b", 1000, 1100), ("c", 2560, 200)]:
        gl.ensemble(BIRTH_DEATH, T, n, first=first, **how, store=tmp_path / name)
    paths = [tmp_path / name for name in "cab"]
    for _ in range(2):  # an interrupted merge goes on
        merged = gl.merge_stores(paths, tmp_path / "all")
        assert merged.ranges == [(0, 2100), (2560, 2760)]
        assert merged.verify() == []
    whole = gl.ensemble(BIRTH_DEATH, T, 2760, **how, store=tmp_path / "all")
    assert_identical(gl.ensemble(BIRTH_DEATH, T, 2760, **how), whole)
    assert merged.ranges == [(0, 2760)]
    assert merged.verify() == []


def test_stores_that_share_trajectories_or_differ_are_not_merged(tmp_path):
    make = {"a": (0, 100, {}), "b": (60, 80, {}), "c": (200, 10, {"rng": 5})}
    make["d"] = (300, 10, {"stop_when": "X >= 3"})
    for name, (first, n, change) in make.items():
        how = {**RUN, **change}
        gl.ensemble(BIRTH_DEATH, T, n, first=first, **how, store=tmp_path / name)
    a, b, c, d = (tmp_path / name for name in "abcd")
    with pytest.raises(StoreError, match=r"a' and '.*b' have the same trajectories, 60 to 99"):
        gl.merge_stores([a, b], tmp_path / "all")
    with pytest.raises(StoreError, match=r"rng is 71 in one and 5 in the other.* same rng="):
        gl.merge_stores([a, c], tmp_path / "all2")
    with pytest.raises(StoreError, match=r"stop_when is 'X >= 25' there and 'X >= 3' in '.*d'"):
        gl.merge_stores([a, d], tmp_path / "all2")
    with pytest.raises(StoreError, match="named twice"):
        gl.merge_stores([a, a], tmp_path / "all2")
    with pytest.raises(StoreError, match="into itself"):
        gl.merge_stores([a], a)
    with pytest.raises(StoreError, match="same trajectories"):
        gl.merge_stores([a], b)
    with pytest.raises(StoreError, match="rng is 5 in one and 71"):
        gl.merge_stores([a], c)
    with pytest.raises(TypeError, match="a list of stores"):
        gl.merge_stores(str(a), tmp_path / "all2")
    assert not (tmp_path / "all2").exists()
    damage(next((a / "chunks").iterdir()), 300)
    with pytest.raises(DamagedFileError, match="0000000099"):
        gl.merge_stores([a], tmp_path / "all3")


# ---- Exports -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", BOTH, ids=KINDS)
@pytest.mark.usefixtures("many_portions")
def test_csv_has_what_the_result_writes(how, tmp_path):
    runs = gl.ensemble(BIRTH_DEATH, T, 600, **how, store=tmp_path / "a")
    runs.to_csv(tmp_path / "usual.csv")
    gl.open_store(tmp_path / "a").export(tmp_path / "stored.csv")
    assert (tmp_path / "usual.csv").read_bytes() == (tmp_path / "stored.csv").read_bytes()


@pytest.mark.parametrize("how", BOTH, ids=KINDS)
@pytest.mark.parametrize(
    ("ending", "needs"), [("zarr", "zarr"), ("nc", "netCDF4"), ("parquet", "pyarrow")]
)
@pytest.mark.usefixtures("many_portions")
def test_other_formats_hold_the_same_numbers(how, ending, needs, tmp_path):
    pytest.importorskip(needs)
    runs = gl.ensemble(BIRTH_DEATH, T, 600, **how, store=tmp_path / "a")
    store, path = gl.open_store(tmp_path / "a"), tmp_path / f"out.{ending}"
    assert len(store.chunks) > 1
    with warnings.catch_warnings():
        # zarr-python on its own format for text, and on what others could read.
        warnings.simplefilter("ignore")
        store.export(path)
        if ending == "parquet":
            import pandas

            table = pandas.read_parquet(path)
            if how is RUN:
                wide = runs.to_pandas(wide=True).reset_index()
                pandas.testing.assert_frame_equal(table, wide)
            else:
                usual = runs.to_pandas()
                assert table["mean"].tolist() == usual["mean"].tolist()
        else:
            import xarray

            opened = xarray.open_zarr(path, chunks=None) if ending == "zarr" else None
            data = opened if opened is not None else xarray.open_dataset(path)
            name, usual = ("count", runs.to_xarray()) if how is RUN else ("mean", None)
            expected = usual if usual is not None else runs.to_xarray()["mean"]
            assert data[name].dims == expected.dims
            np.testing.assert_array_equal(data[name].values, expected.values)
            assert data["species"].values.tolist() == ["X", "half"]
            data.close()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a", path.name]


def test_exports_say_what_is_wrong(tmp_path, monkeypatch):
    gl.ensemble(BIRTH_DEATH, T, 10, **RUN, store=tmp_path / "a")
    store = gl.open_store(tmp_path / "a")
    with pytest.raises(ValueError, match=r"must end in \.zarr, \.nc, \.parquet, \.csv"):
        store.export(tmp_path / "out.mat")
    (tmp_path / "out.zarr").mkdir()
    with pytest.raises(ValueError, match="is there already"):
        store.export(tmp_path / "out.zarr")
    for ending, (extra, module) in {
        "zarr": ("zarr", "zarr"),
        "nc": ("netcdf", "netCDF4"),
        "parquet": ("parquet", "pyarrow"),
    }.items():
        with monkeypatch.context() as patch:
            patch.setitem(__import__("sys").modules, module, None)
            with pytest.raises(MissingExtraError, match=rf"gillespy_lite\[{extra}\]"):
                store.export(tmp_path / f"new.{ending}")
    assert set(exporting.EXPORTS) == {".zarr", ".nc", ".parquet", ".csv"}


# ---- The command line ----------------------------------------------------------------------------


def test_the_command_line_runs_into_stores_and_looks_at_them(tmp_path, capsys):
    model = tmp_path / "model.txt"
    model.write_text(BIRTH_DEATH.text)
    one, two, both = (str(tmp_path / name) for name in ("one", "two", "both"))
    run = ["run", str(model), "--times", "0,1,2,5"]
    assert main([*run, "-n", "300", "--seed", "7", "--store", one]) == 0
    assert main([*run, "-n", "400", "--store", one]) == 0
    assert "seed 7" in capsys.readouterr().out
    assert main([*run, "-n", "1", "--store", one]) == 0
    capsys.readouterr()
    gl.ensemble(BIRTH_DEATH, T, 100, first=400, rng=7, store=two)
    assert main(["store", "merge", both, one, two]) == 0
    assert "500 in" in capsys.readouterr().out
    assert_identical(gl.ensemble(BIRTH_DEATH, T, 500, rng=7), gl.open_store(both).load())
    assert main(["store", "info", both]) == 0
    shown = capsys.readouterr().out
    assert "numbers 0 to 499" in shown
    assert "0 <-> X @ k, g" in shown
    assert main(["store", "verify", both]) == 0
    assert "500 trajectories: all as they were written" in capsys.readouterr().out
    assert main(["store", "export", both, str(tmp_path / "out.csv")]) == 0
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 2001
    damage(next((tmp_path / "both" / "chunks").iterdir()), 300)
    capsys.readouterr()
    assert main(["store", "verify", both]) == 1
    assert "files are damaged; the next run into this store" in capsys.readouterr().err


def test_mistakes_on_the_command_line_of_stores_are_named(tmp_path, capsys):
    assert main(["store"]) == 2
    assert "info" in capsys.readouterr().err
    assert main(["store", "info", str(tmp_path / "none")]) == 1
    assert "no such folder" in capsys.readouterr().err
    assert main(["store", "merge", str(tmp_path / "none")]) == 2
    assert main(["run", "vilar", "--every-event", "--store", str(tmp_path / "a")]) == 2
    assert "--store" in capsys.readouterr().err
