"""The ledger: counts each distinct trial once, whatever is repeated, and refuses what it cannot read."""

from __future__ import annotations

import multiprocessing
import os
import zlib
from pathlib import Path

import msgspec
import numpy as np
import pytest

from aiopt.errors import DataError, StorageError
from aiopt.ledger import Author, Ledger, Look, Span, ledger_folder
from aiopt.ledger.chained_file import END_NAME, NAME
from aiopt.ledger.overview import overview
from aiopt.ledger.records import Keys, TrialTerms, trial_keys
from aiopt.utc import DAY_NS

ALICE = Author(kind="run", identity="a", name="alice-1")
BOB = Author(kind="run", identity="b", name="bob-1")
CAROL = Author(kind="sweep", identity="c", name="sweep-c")


def span(start: int, holdout: int, stop: int, **changes: object) -> Span:
    """Return a span of EURUSD in days."""
    found = Span(
        instrument="EURUSD",
        data_hash="d",
        synthetic=False,
        start_ns=start * DAY_NS,
        holdout_start_ns=holdout * DAY_NS,
        stop_ns=stop * DAY_NS,
    )
    return msgspec.structs.replace(found, **changes)


def keys(on: Span, *numbers: int) -> Keys:
    return trial_keys(on, [TrialTerms(f"spec-{number}", "5m", "costs") for number in numbers])


def look(on: Span, test_start: int, test_stop: int) -> Look:
    return Look(span=on, test_start_ns=test_start * DAY_NS, test_stop_ns=test_stop * DAY_NS)


WHOLE = span(0, 80, 100)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger")


def reopened(ledger: Ledger) -> Ledger:
    return Ledger(ledger.path.parent)


def count(ledger: Ledger, author: Author, asked: Look, own: Keys | None = None) -> int:
    return ledger.earlier(author, [asked], own).count


def test_a_fresh_ledger_knows_nothing_and_makes_no_folder(ledger: Ledger) -> None:
    found = ledger.earlier(BOB, [look(WHOLE, 40, 80)], keys(WHOLE, 1))
    assert (found.count, found.holdout) == (0, ())
    assert not found.trials
    assert not ledger.path.parent.exists()


def test_each_distinct_trial_counts_once(ledger: Ledger) -> None:
    assert ledger.record(ALICE, WHOLE, keys(WHOLE, 1, 2, 3), failed=1) == 3
    assert ledger.record(ALICE, WHOLE, keys(WHOLE, 1, 2, 3), failed=1) == 0
    assert len(ledger.lines()) == 1
    assert ledger.record(CAROL, WHOLE, keys(WHOLE, 3, 4)) == 1
    assert len(ledger.lines()) == 2
    asked = look(WHOLE, 40, 80)
    assert count(reopened(ledger), BOB, asked) == 4
    assert count(ledger, BOB, asked, keys(WHOLE, 2, 4)) == 2
    # The sweep itself, repeated: only what the other one alone had tried.
    assert count(ledger, ALICE, asked, keys(WHOLE, 1, 2, 3)) == 1
    # Before its rows are known: all that it recorded is its own.
    assert count(ledger, ALICE, asked) == 1
    named = ledger.earlier(BOB, [asked], keys(WHOLE, 4)).trials
    assert (named.runs, named.sweeps, named.backtests) == (1, 0, 0)


def test_a_continued_run_adds_what_is_new(ledger: Ledger) -> None:
    ledger.record(ALICE, WHOLE, keys(WHOLE, 1, 2))
    assert ledger.record(ALICE, WHOLE, keys(WHOLE, 1, 2, 3)) == 1
    (row,) = overview(reopened(ledger)).authors
    assert (row.trials, row.fresh, row.name) == (3, 3, "alice-1")


@pytest.mark.parametrize(
    ("other", "test", "counted"),
    [
        (span(0, 80, 100), (40, 80), 2),
        (span(79, 90, 95), (40, 80), 2),  # one day in common counts fully
        (span(80, 90, 95), (40, 80), 0),  # after the out-of-sample stretch
        (span(0, 30, 40), (40, 80), 0),  # before it: the train windows alone
        (span(0, 30, 41), (40, 80), 2),  # its holdout reaches in
        (span(0, 80, 100, instrument="GBPUSD"), (40, 80), 0),
        (span(0, 80, 100, data_hash="another provider"), (40, 80), 2),
        (span(0, 80, 100, synthetic=True), (40, 80), 0),
    ],
)
def test_what_overlaps(ledger: Ledger, other: Span, test: tuple[int, int], counted: int) -> None:
    ledger.record(ALICE, other, keys(other, 1, 2))
    assert count(ledger, BOB, look(WHOLE, *test)) == counted


def test_generated_data_is_a_market_of_its_own(ledger: Ledger) -> None:
    made, again = span(0, 80, 100, synthetic=True), span(0, 80, 100, synthetic=True, data_hash="seed 2")
    ledger.record(ALICE, made, keys(made, 1))
    assert count(ledger, BOB, look(made, 40, 80)) == 1
    assert count(ledger, BOB, look(again, 40, 80)) == 0


def test_the_same_strategy_on_other_data_or_assumptions_is_another_trial(ledger: Ledger) -> None:
    longer = span(0, 90, 110)
    ledger.record(ALICE, WHOLE, keys(WHOLE, 1))
    assert ledger.record(ALICE, longer, keys(longer, 1)) == 1
    dearer = trial_keys(WHOLE, [TrialTerms("spec-1", "5m", "twice the commission")])
    slower = trial_keys(WHOLE, [TrialTerms("spec-1", "15m", "costs")])
    assert ledger.record(ALICE, WHOLE, dearer) == ledger.record(ALICE, WHOLE, slower) == 1
    assert count(ledger, BOB, look(WHOLE, 40, 80)) == 4


def test_an_opened_holdout_is_said_to_all_but_who_opened_it(ledger: Ledger) -> None:
    assert ledger.open_holdout(ALICE, WHOLE)
    assert not ledger.open_holdout(ALICE, WHOLE)
    assert ledger.earlier(ALICE, [look(WHOLE, 40, 80)], keys(WHOLE)).holdout == ()
    later = span(10, 95, 120)
    (seen,) = reopened(ledger).earlier(BOB, [look(later, 50, 95)], keys(later)).holdout
    assert (seen.instrument, seen.times, seen.first, seen.trials) == ("EURUSD", 1, "alice-1", 0)
    assert seen.first_at.startswith("20")
    apart = span(10, 100, 120)
    assert ledger.earlier(BOB, [look(apart, 50, 95)], keys(apart)).holdout == ()
    ledger.open_holdout(CAROL, later)
    (twice,) = ledger.earlier(BOB, [look(later, 50, 95)], keys(later)).holdout
    assert (twice.times, twice.first) == (2, "alice-1")


def test_a_development_span_that_reaches_into_the_holdout_is_said(ledger: Ledger) -> None:
    other = span(0, 85, 90)
    ledger.record(ALICE, other, keys(other, 1, 2, 3))
    (seen,) = ledger.earlier(BOB, [look(WHOLE, 40, 80)], keys(WHOLE)).holdout
    assert (seen.times, seen.trials, seen.first) == (0, 3, "")


def write_many(folder: Path, number: int) -> None:
    ledger = Ledger(folder)
    author = Author(kind="sweep", identity=str(number), name=f"sweep-{number}")
    for first in range(0, 40, 4):
        ledger.record(author, WHOLE, keys(WHOLE, *range(first, first + 4), 1000 + 40 * number + first))


def test_several_processes_at_once_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write_many, args=(tmp_path / "l", number)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    assert count(Ledger(tmp_path / "l"), BOB, look(WHOLE, 40, 80)) == 40 + 4 * 10


def test_an_open_ledger_sees_what_others_add(ledger: Ledger) -> None:
    ledger.record(ALICE, WHOLE, keys(WHOLE, 1))
    other = reopened(ledger)
    assert len(other.lines()) == 1
    ledger.record(BOB, WHOLE, keys(WHOLE, 2))
    other.record(CAROL, WHOLE, keys(WHOLE, 3))
    assert [len(one.lines()) for one in (ledger, other, reopened(ledger))] == [3, 3, 3]


def test_a_hundred_thousand_trials_take_eight_bytes_each_and_a_third(ledger: Ledger) -> None:
    many = np.unique(np.random.default_rng(1).integers(0, 2**63, 100_000, dtype=np.uint64))
    ledger.record(ALICE, WHOLE, many)
    assert ledger.path.stat().st_size < 11 * many.size
    assert count(reopened(ledger), BOB, look(WHOLE, 40, 80)) == many.size


@pytest.fixture
def written(ledger: Ledger) -> Ledger:
    ledger.record(ALICE, WHOLE, keys(WHOLE, 1, 2))
    ledger.record(BOB, WHOLE, keys(WHOLE, 3))
    ledger.open_holdout(BOB, WHOLE)
    return ledger


def test_a_torn_last_line_counts_for_nothing_and_is_overwritten(written: Ledger) -> None:
    whole = written.path.read_bytes()
    written.path.write_bytes(whole + b"0badc0de 4 0badc0de {")
    again = reopened(written)
    assert len(again.lines()) == 3
    again.record(CAROL, WHOLE, keys(WHOLE, 9))
    assert written.path.read_bytes().startswith(whole)
    assert len(reopened(written).lines()) == 4


def test_a_line_whose_end_was_not_noted_counts(written: Ledger) -> None:
    end = written.path.with_name(END_NAME)
    before = end.read_bytes()
    written.record(CAROL, WHOLE, keys(WHOLE, 9))
    end.write_bytes(before)
    assert len(reopened(written).lines()) == 4


@pytest.mark.parametrize("cut", [1, 30, 200])
def test_a_file_that_was_cut_off_is_refused(written: Ledger, cut: int) -> None:
    written.path.write_bytes(written.path.read_bytes()[:-cut])
    with pytest.raises(DataError, match=r"cut off: it has .* bytes and had .*restore trials.ledger"):
        reopened(written).lines()
    with pytest.raises(DataError, match="cut off"):
        reopened(written).record(CAROL, WHOLE, keys(WHOLE, 9))


def test_a_changed_byte_anywhere_is_refused(written: Ledger) -> None:
    whole = written.path.read_bytes()
    for place in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[place] ^= 1
        written.path.write_bytes(bytes(changed))
        with pytest.raises(DataError, match=r"trials\.ledger: (line \d+ is damaged|it was cut off)"):
            reopened(written).lines()


def test_lines_removed_or_exchanged_are_refused(written: Ledger) -> None:
    header, first, second, third = written.path.read_bytes().splitlines(keepends=True)
    end = written.path.with_name(END_NAME)
    for lines in ([header, second, third], [header, second, first, third], [header, first, third]):
        content = b"".join(lines)
        written.path.write_bytes(content)
        said = msgspec.json.decode(end.read_bytes()) | {"bytes": len(content)}
        end.write_bytes(msgspec.json.encode(said))
        with pytest.raises(DataError, match="lines were removed or exchanged"):
            reopened(written).lines()


def test_a_ledger_that_is_gone_is_refused(written: Ledger) -> None:
    written.path.unlink()
    with pytest.raises(DataError, match=r"it is gone, and trials.end beside it says that it had 4 lines"):
        reopened(written).record(CAROL, WHOLE, keys(WHOLE, 9))
    assert not written.path.exists()


def test_the_end_of_another_ledger_is_refused(written: Ledger, tmp_path: Path) -> None:
    end = written.path.with_name(END_NAME)
    said = msgspec.json.decode(end.read_bytes()) | {"crc32": "00000001"}
    end.write_bytes(msgspec.json.encode(said))
    with pytest.raises(DataError, match=r"not the one that trials\.end beside it belongs to"):
        reopened(written).lines()
    end.write_bytes(b"{")
    with pytest.raises(DataError, match=r"trials\.end: it is damaged"):
        reopened(written).lines()


def test_a_ledger_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(line_of(0, "00000000", b'{"format":2,"new":true}'))
    with pytest.raises(DataError, match=r"format 2, this version knows 1.*Use that version"):
        Ledger(tmp_path).lines()


def test_a_line_of_an_unknown_kind_is_refused(written: Ledger) -> None:
    last = written.path.read_bytes().splitlines()[-1]
    with written.path.open("ab") as stream:
        stream.write(line_of(4, last[:8].decode(), b'{"type":"pardon"}'))
    ledger = reopened(written)
    for _ in range(2):
        with pytest.raises(DataError, match="holds what this version of aiopt does not know"):
            ledger.lines()


def line_of(number: int, before: str, payload: bytes) -> bytes:
    rest = f"{number} {before} ".encode() + payload
    return f"{zlib.crc32(rest):08x} ".encode() + rest + b"\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="Set AIOPT_LEDGER_DIR to a folder that can be written"):
        Ledger(tmp_path / "ledger").prepare()


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text("mine")
    with pytest.raises(StorageError, match=r"cannot be kept in .*ledger"):
        Ledger(tmp_path / "ledger").prepare()
    with pytest.raises(StorageError, match="is a file"):
        Ledger(tmp_path / "ledger").lines()


def test_where_it_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIOPT_LEDGER_DIR", str(tmp_path / "one"))
    monkeypatch.setenv("AIOPT_STATE_DIR", str(tmp_path / "state"))
    assert ledger_folder() == tmp_path / "one"
    monkeypatch.delenv("AIOPT_LEDGER_DIR")
    assert ledger_folder() == tmp_path / "state" / "ledger"
    monkeypatch.delenv("AIOPT_STATE_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert ledger_folder() == tmp_path / ".aiopt" / "ledger"


def test_no_test_counts_in_the_ledger_of_who_runs_it() -> None:
    assert "aiopt-test-ledgers-" in str(ledger_folder())
