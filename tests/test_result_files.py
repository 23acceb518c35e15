"""Saved results: what was written comes back, and anything else is refused."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import pickle
import stat
import zipfile
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gillespy_lite.results.files
from gillespy_lite.errors import DamagedFileError
from gillespy_lite.network import Network
from gillespy_lite.results import Ensemble, EnsembleStatistics, Provenance, Trajectory, load
from gillespy_lite.results.files import FORMAT_VERSION, write_csv

NETWORK = Network.parse("""
# Names outside ASCII, and an observable.
species λ = 3, B_2
param k = 0.1, k2 = k*2
observe total = λ + B_2
flip: λ <-> B_2 @ k, k2
""").with_parameters(k=0.3)

PROVENANCE = Provenance(
    network=NETWORK,
    method="tau_leaping",
    method_reason='asked for, with "quotes" and ümläuts',
    options={"epsilon": 0.03, "threads": 2, "stop_when": "λ >= 3", "progress": False, "x": None},
    entropy=2**128 - 1,
    stream_version=1,
    package_version="0.1.0",
    elapsed=0.1 + 0.2,
)


def an_ensemble() -> Ensemble:
    random = np.random.default_rng(1)
    return Ensemble(
        times=np.array([0.0, 0.1, 1 / 3]),
        counts=random.integers(0, 2**53, size=(5, 3, 2)),
        species=("λ", "B_2"),
        values=random.normal(size=(5, 3, 1)),
        observables=("total",),
        network=NETWORK,
        provenance=PROVENANCE,
        indices=np.array([0, 1, 2, 3, 7]),
        hitting_times=np.array([0.25, np.nan, 0.1, np.nan, 1e-300]),
        n_events=np.array([1, 2, 3, 4, 5]),
        n_requested=8,
        stopped="interrupt",
    )


def a_path(reactions: np.ndarray | None, hitting_time: float) -> Trajectory:
    return Trajectory(
        times=np.array([0.0, 0.5]),
        counts=np.array([[3, 0], [2, 1]]) if reactions is not None else np.array([[3.0, 0.0]] * 2),
        species=("λ", "B_2"),
        values=np.empty((2, 0)),
        observables=(),
        network=NETWORK,
        provenance=PROVENANCE,
        reactions=reactions,
        end_time=2.0,
        hitting_time=hitting_time,
        stopped=None,
        n_events=1,
    )


def some_statistics() -> EnsembleStatistics:
    random = np.random.default_rng(2)
    return EnsembleStatistics(
        times=np.array([0.0, 1.0]),
        species=("B_2",),
        observables=("total",),
        n_trajectories=3,
        means=random.normal(size=(2, 2)),
        comoments=random.normal(size=(2, 2, 2)),
        minima=random.normal(size=(2, 2)),
        maxima=random.normal(size=(2, 2)),
        bin_counts=random.integers(0, 9, size=(2, 1, 4)),
        bin_widths=np.ones((2, 1), dtype=np.int64),
        hitting_times=np.array([0.1, 0.2, np.nan]),
        network=NETWORK,
        provenance=PROVENANCE,
        n_requested=3,
        stopped=None,
    )


RESULTS = {
    "ensemble": an_ensemble(),
    "empty ensemble": replace(
        an_ensemble(),
        counts=np.empty((0, 3, 2), dtype=np.int64),
        values=np.empty((0, 3, 1)),
        indices=np.empty(0, dtype=np.int64),
        hitting_times=np.empty(0),
        n_events=np.empty(0, dtype=np.int64),
    ),
    "event path": a_path(np.array([-1, 0]), 0.5),
    "rate equations": a_path(None, math.nan),
    "statistics": some_statistics(),
}


def saved_bytes(tmp_path: Path) -> bytes:
    an_ensemble().save(tmp_path / "whole.npz")
    return (tmp_path / "whole.npz").read_bytes()


def sealed(content: bytes) -> bytes:
    """Return a zip with an empty archive comment, with a right digest put at its end."""
    label = b"gillespy_lite sha256 "
    body = content[:-2] + (len(label) + 64).to_bytes(2, "little") + label
    return body + hashlib.sha256(body).hexdigest().encode()


def archive_of(header: object, arrays: dict[str, np.ndarray], pickled: bool = False) -> bytes:
    """Make a file by other means than the package, but with a right digest."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        text = header if isinstance(header, str) else json.dumps(header)
        archive.writestr("gillespy_lite.json", text)
        for name, array in arrays.items():
            member = io.BytesIO()
            np.save(member, array, allow_pickle=pickled)
            archive.writestr(f"{name}.npy", member.getvalue())
    return sealed(buffer.getvalue())


def parts_of(path: Path) -> tuple[dict[str, object], dict[str, np.ndarray]]:
    with np.load(path, allow_pickle=False) as archive:
        header = json.loads(archive["gillespy_lite.json"])
        return header, {name: archive[name] for name in archive.files if ".json" not in name}


# Round trips -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RESULTS)
def test_a_saved_result_comes_back_bit_for_bit(tmp_path, name):
    result = RESULTS[name]
    result.save(tmp_path / "result.npz")
    back = load(tmp_path / "result.npz")
    assert type(back) is type(result)
    for field in fields(result):
        before, after = getattr(result, field.name), getattr(back, field.name)
        if isinstance(before, np.ndarray):
            assert before.dtype == after.dtype, field.name
            assert before.shape == after.shape, field.name
            assert before.tobytes() == after.tobytes(), field.name
            assert not after.flags.writeable, field.name
        elif isinstance(before, float) and math.isnan(before):
            assert math.isnan(after), field.name
        else:
            assert before == after, field.name
            assert type(before) is type(after), field.name


def test_changed_parameters_come_back(tmp_path):
    an_ensemble().save(tmp_path / "e.npz")
    back = load(tmp_path / "e.npz")
    assert np.array_equal(back.network.parameter_values, [0.3, 0.6])
    assert back.network.digest == back.provenance.network_digest


def test_what_was_loaded_can_be_saved_again_to_the_same_bytes(tmp_path):
    an_ensemble().save(tmp_path / "first.npz")
    load(tmp_path / "first.npz").save(tmp_path / "second.npz")
    assert (tmp_path / "first.npz").read_bytes() == (tmp_path / "second.npz").read_bytes()


def test_arrays_of_any_memory_layout_are_saved_as_they_read(tmp_path):
    ens = an_ensemble()
    turned = replace(ens, counts=np.asfortranarray(ens.counts), times=ens.times[::-1][::-1])
    turned.save(tmp_path / "e.npz")
    assert np.array_equal(load(tmp_path / "e.npz").counts, ens.counts)


def test_numpy_numbers_in_options_are_saved_as_numbers(tmp_path):
    provenance = replace(PROVENANCE, options={"epsilon": np.float64(0.03), "n": np.int64(4)})
    replace(an_ensemble(), provenance=provenance, n_requested=np.int64(8)).save(tmp_path / "e.npz")
    back = load(tmp_path / "e.npz")
    assert back.provenance.options == {"epsilon": 0.03, "n": 4}
    assert back.n_requested == 8


def test_numpy_alone_reads_the_file_without_pickle(tmp_path):
    an_ensemble().save(tmp_path / "e.npz")
    header, arrays = parts_of(tmp_path / "e.npz")
    assert np.array_equal(arrays["counts"], an_ensemble().counts)
    assert header["format_version"] == FORMAT_VERSION
    assert header["fields"]["network"] == NETWORK.text
    assert header["fields"]["provenance"]["entropy"] == 2**128 - 1


def test_paths_are_used_as_they_are(tmp_path):
    an_ensemble().save(str(tmp_path / "no ending"))
    assert [entry.name for entry in tmp_path.iterdir()] == ["no ending"]
    assert len(load(str(tmp_path / "no ending"))) == 5


# Refusals ----------------------------------------------------------------------------------------


def test_every_kind_of_flipped_byte_is_refused(tmp_path):
    content = saved_bytes(tmp_path)
    random = np.random.default_rng(3)
    # Every byte at both ends, where headers and digest are, and a sample of the others.
    n_ends = 200
    places = {*range(n_ends), *range(len(content) - n_ends, len(content))}
    places |= set(random.integers(0, len(content), size=400).tolist())
    for place in sorted(places):
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(random.integers(8))
        (tmp_path / "damaged.npz").write_bytes(damaged)
        with pytest.raises(DamagedFileError, match=r"damaged\.npz"):
            load(tmp_path / "damaged.npz")


def test_every_cut_is_refused(tmp_path):
    content = saved_bytes(tmp_path)
    for length in (*range(120), *range(120, len(content), 37), len(content) - 1):
        (tmp_path / "cut.npz").write_bytes(content[:length])
        with pytest.raises(DamagedFileError):
            load(tmp_path / "cut.npz")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_replaced_stretch_is_refused(tmp_path, data):
    content = saved_bytes(tmp_path)
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(len(content), start + 64)))
    other = content[:start] + data.draw(st.binary(max_size=64)) + content[end:]
    (tmp_path / "other.npz").write_bytes(other)
    if other == content:
        load(tmp_path / "other.npz")
    else:
        with pytest.raises(DamagedFileError):
            load(tmp_path / "other.npz")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: b"", "is empty"),
        (lambda content: content[:-1], "its end, which holds the digest, is missing"),
        (lambda content: content[: len(content) // 2], "probably cut short"),
        (lambda content: content + b"\n", "its end, which holds the digest"),
        (lambda content: b"X" + content[1:], "its first bytes have changed"),
        (lambda content: content.replace(b"counts", b"c0unts"), "its content has changed"),
        (lambda content: b"A,B\n1,2\n", "not a result saved by gillespy_lite"),
        (lambda content: pickle.dumps({"a": 1}), "not a result saved by gillespy_lite"),
    ],
)
def test_the_message_names_what_is_wrong(tmp_path, damage, message):
    (tmp_path / "it.npz").write_bytes(damage(saved_bytes(tmp_path)))
    with pytest.raises(DamagedFileError, match=message):
        load(tmp_path / "it.npz")


def test_a_foreign_npz_is_refused(tmp_path):
    np.savez(tmp_path / "foreign.npz", counts=np.zeros(3))
    with pytest.raises(DamagedFileError, match="not a result saved by gillespy_lite"):
        load(tmp_path / "foreign.npz")


def test_a_newer_format_is_refused_with_the_version_that_wrote_it(tmp_path):
    an_ensemble().save(tmp_path / "e.npz")
    header, arrays = parts_of(tmp_path / "e.npz")
    header |= {"format_version": FORMAT_VERSION + 1, "written_by": "gillespy_lite 9.9"}
    (tmp_path / "new.npz").write_bytes(archive_of(header, arrays))
    with pytest.raises(
        DamagedFileError, match=r"written by gillespy_lite 9\.9; .* install a newer"
    ):
        load(tmp_path / "new.npz")


def test_the_file_made_here_is_accepted_when_nothing_is_wrong_with_it(tmp_path):
    # Otherwise the tests around this one would prove nothing.
    an_ensemble().save(tmp_path / "e.npz")
    (tmp_path / "same.npz").write_bytes(archive_of(*parts_of(tmp_path / "e.npz")))
    assert np.array_equal(load(tmp_path / "same.npz").counts, an_ensemble().counts)


class _Trap:
    """Unpickling this would create a file."""

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("unpickled"),))


def test_pickled_objects_are_never_loaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    an_ensemble().save("e.npz")
    header, arrays = parts_of(tmp_path / "e.npz")
    arrays["counts"] = np.array([_Trap()], dtype=object)
    Path("trap.npz").write_bytes(archive_of(header, arrays, pickled=True))
    with pytest.raises(DamagedFileError, match="holds object, not int64 or float64"):
        load("trap.npz")
    assert not Path("unpickled").exists()


def change(header: dict, arrays: dict, what: str) -> tuple[object, dict]:
    inner = header["fields"]
    if what == "header is a list":
        return [1, 2], arrays
    if what == "header is no JSON":
        return "{", arrays
    if what == "header nested too deep":
        return "[" * 200_000, arrays
    if what == "no version":
        del header["format_version"]
    elif what == "unknown kind":
        header["kind"] = ["Ensemble"]
    elif what == "no fields":
        header["fields"] = 3
    elif what == "array missing":
        del arrays["counts"]
    elif what == "array of another shape":
        arrays["counts"] = arrays["counts"][:, :2]
    elif what == "array too many":
        arrays["surprise"] = np.zeros(3)
    elif what == "array of text":
        arrays["times"] = np.array(["a", "b", "c"])
    elif what == "array as a number":
        del arrays["times"]
        inner["times"] = 3
    elif what == "network that does not parse":
        inner["network"] = "A -> B @ 1"
    elif what == "hostile network":
        inner["network"] = "species A\nA -> 0 @ __import__('os').getcwd()"
    elif what == "network is a number":
        inner["network"] = 3
    elif what == "provenance incomplete":
        del inner["provenance"]["entropy"]
    return header, arrays


@pytest.mark.parametrize(
    "what",
    [
        "header is a list", "header is no JSON", "header nested too deep", "no version",
        "unknown kind", "no fields", "array missing", "array of another shape", "array too many",
        "array of text", "array as a number", "network that does not parse", "hostile network",
        "network is a number", "provenance incomplete",
    ],
)  # fmt: skip
def test_a_forged_file_with_a_right_digest_is_refused(tmp_path, what):
    an_ensemble().save(tmp_path / "e.npz")
    (tmp_path / "forged.npz").write_bytes(archive_of(*change(*parts_of(tmp_path / "e.npz"), what)))
    with pytest.raises(DamagedFileError, match=r"forged\.npz"):
        load(tmp_path / "forged.npz")


def test_an_array_that_promises_more_than_it_holds_reserves_no_memory(tmp_path):
    an_ensemble().save(tmp_path / "e.npz")
    header, arrays = parts_of(tmp_path / "e.npz")
    content = archive_of(header, {**arrays, "counts": np.zeros((5, 3, 2), dtype=np.int64)})
    # The shape stands in the npy header as text; the zip's checksum has to be right, too.
    buffer = io.BytesIO(content)
    rebuilt = io.BytesIO()
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(rebuilt, "w") as new:
        for info in old.infolist():
            data = old.read(info)
            if info.filename == "counts.npy":
                data = data.replace(b"(5, 3, 2), }      ", b"(5000000000, 3, 2)")
                data = data.replace(b"(5000000000, 3, 2)", b"(500000000, 3, 2)}")
            new.writestr(info.filename, data)
    (tmp_path / "greedy.npz").write_bytes(sealed(rebuilt.getvalue()))
    with pytest.raises(DamagedFileError, match="promises 24000000000 bytes"):
        load(tmp_path / "greedy.npz")


def test_a_missing_file_is_an_ordinary_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nowhere.npz")


# Writing safely ----------------------------------------------------------------------------------


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "e.npz"
    an_ensemble().save(path)
    before = path.read_bytes()

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gillespy_lite.results.files.os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        RESULTS["statistics"].save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["e.npz"]


def test_the_file_is_synced_before_it_gets_its_name(tmp_path, monkeypatch):
    steps = []
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real_fsync(descriptor)

    def renamed(source: os.PathLike, target: os.PathLike) -> None:
        assert Path(source).parent == Path(target).parent
        steps.append("rename")
        real_replace(source, target)

    monkeypatch.setattr(gillespy_lite.results.files.os, "fsync", fsync)
    monkeypatch.setattr(gillespy_lite.results.files.os, "replace", renamed)
    an_ensemble().save(tmp_path / "e.npz")
    assert steps[:2] == ["file", "rename"]


def test_saving_writes_through_a_symbolic_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link.npz").symlink_to(tmp_path / "real" / "e.npz")
    an_ensemble().save(tmp_path / "link.npz")
    assert (tmp_path / "link.npz").is_symlink()
    assert len(load(tmp_path / "real" / "e.npz")) == 5


def test_what_is_no_regular_file_is_not_replaced(tmp_path):
    for path in (tmp_path, Path(os.devnull)):
        with pytest.raises(ValueError, match="is not a regular file"):
            an_ensemble().save(path)
    assert not Path(os.devnull).is_file()


def test_a_missing_folder_is_an_ordinary_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        an_ensemble().save(tmp_path / "no folder" / "e.npz")


def test_a_new_file_has_the_usual_permissions(tmp_path):
    (tmp_path / "usual").touch()
    an_ensemble().save(tmp_path / "e.npz")
    assert (tmp_path / "e.npz").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_csv_is_complete_or_not_there(tmp_path):
    def lines():
        yield "1,2"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_csv(tmp_path / "t.csv", ["a", "b"], lines())
    assert list(tmp_path.iterdir()) == []


def test_csv_of_many_rows_is_complete(tmp_path):
    write_csv(tmp_path / "t.csv", ["λ"], map(str, range(10_001)))
    lines = (tmp_path / "t.csv").read_text(encoding="utf-8").split("\n")
    assert lines[0] == "λ"
    assert lines[1:] == [*map(str, range(10_001)), ""]


def test_csv_goes_to_a_device_without_replacing_it():
    write_csv(os.devnull, ["a"], ["1"])
    assert not Path(os.devnull).is_file()
