"""One pass over the profits gives the bits that the whole table gives, however it is read."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from aiopt.evaluation.effective import effective_trials, periods_per_unit
from aiopt.evaluation.metrics import sharpe_ratios
from aiopt.evaluation.pbo import overfitting_of_blocks, probability_of_overfitting
from aiopt.ranking import measures as module
from aiopt.ranking.groups import make_groups
from aiopt.ranking.measures import blocks_of, measure, measure_group, windows_of
from aiopt.ranking.packing import pack_row, unpack_profits, unpack_row, unpack_whole
from aiopt.ranking.trial_table import PackedTable, RowTable
from aiopt.ranking.trials import TrialRow
from aiopt.testing.sweeps import PLAN, failed, noise_sweep, trial

PERIODS = PLAN.development_periods


def sweep(trials: int) -> list[TrialRow]:
    """Return profits as a sweep has them: mostly zero, some trials flat, some of tiny size."""
    rng = np.random.default_rng(5)
    rows = []
    for number in range(trials):
        pnl = rng.normal(size=PERIODS + PLAN.holdout_periods) * (
            rng.random(PERIODS + PLAN.holdout_periods) < 0.3
        )
        scale = [1.0, 0.0, 1e-7, 1e6][number % 4]
        rows.append(trial(number, (pnl * scale).round(8)))
    return rows


def table(rows: Sequence[TrialRow]) -> PackedTable:
    packed = [pack_row(row) for row in rows]
    return PackedTable(len(rows), packed.__getitem__, PERIODS + PLAN.holdout_periods)


@pytest.mark.parametrize("trials", [1, 2, 37])
@pytest.mark.parametrize("at_once", [1, 8, 128])
def test_sharpe_ratios_have_the_bits_of_the_whole_table(
    trials: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TRIALS_AT_ONCE", at_once)
    rows = sweep(trials)
    whole = np.array([row.pnl for row in rows])
    (group,) = make_groups(table(rows))
    found = measure_group(group, PLAN)
    for segments in windows_of(PLAN):
        window = whole[:, PLAN.periods_of(segments)]
        assert np.array_equal(
            found.windows[segments].sharpe(8766.0), sharpe_ratios(window, periods_per_year=8766.0), True
        )
        assert np.array_equal(found.windows[segments].total, window.sum(axis=1))
    assert found.varies.tolist() == [number % 4 != 1 for number in range(trials)]
    assert found.trades.tolist() == [row.segment_trades for row in rows]


def test_blocks_and_effective_trials_are_those_of_the_whole_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRIALS_AT_ONCE", 5)
    monkeypatch.setattr(module, "_TRIALS_PER_PRODUCT", 7)
    rows = sweep(40)
    whole = np.array([row.pnl for row in rows])
    groups = make_groups(table(rows))
    ((plain, purged),) = blocks_of(groups, [(range(40), (0, 3))], PLAN, 6)
    for blocks, purge in ((plain, 0), (purged, 3)):
        found = overfitting_of_blocks(blocks)
        expected = probability_of_overfitting(whole.T, n_blocks=6, purge=purge)
        assert found.pbo == expected.pbo
        assert np.array_equal(found.logits, expected.logits)
    per_unit = periods_per_unit(PERIODS, 24)
    assert measure(groups, PLAN).effective_trials == effective_trials(whole, per_unit=per_unit)


def test_packed_rows_and_rows_in_memory_are_one_table() -> None:
    rows = [*noise_sweep(2, trials=3), failed(90)]
    one, other = RowTable(reversed(rows)), table(sorted(rows, key=lambda row: row.trial_id))
    assert list(one.heads) == list(other.heads)
    for place, head in enumerate(one.heads):
        assert msgspec.structs.replace(
            other.row(place), pnl=list(other.row(place).pnl), holdout_pnl=list(other.row(place).holdout_pnl)
        ) == one.row(place)
        if head.ok:
            found = [np.empty(PERIODS), np.empty(PERIODS)]
            one.read_profits(place, found[0])
            other.read_profits(place, found[1])
            assert np.array_equal(*found)


def test_progress_counts_trials() -> None:
    told: list[tuple[float, float]] = []
    measure(make_groups(noise_sweep(2, trials=3)), PLAN, lambda done, total: told.append((done, total)))
    assert told[-1] == (6, 6)


def test_compiled_and_plain_unpacking_agree() -> None:
    values = [0.0, -0.0, 1.0, -12.34, 1e-8, 123456.78901234, 1 / 3, 1e300, -5e-324, 2.0**60]
    row = msgspec.structs.replace(sweep(1)[0], pnl=values, holdout_pnl=values[::-1])
    packed = pack_row(row)
    plain, fast = unpack_row(packed), unpack_whole(packed)
    assert np.array(plain.pnl).tobytes() == np.asarray(fast.pnl).tobytes() == np.array(values).tobytes()
    both = np.empty(2 * len(values))
    assert unpack_profits(packed, both)
    assert both.tobytes() == np.array([*values, *values[::-1]]).tobytes()
    assert unpack_whole(pack_row(failed(3))) == failed(3)


def test_damaged_rows_are_refused_by_the_compiled_reader_too() -> None:
    import zlib

    plain = zlib.decompress(pack_row(sweep(1)[0]))
    for broken in (plain[:-3], plain + b"x", plain[:40], b"", b"\xff\xff\xff\xff"):
        for read in (unpack_whole, unpack_row):
            with pytest.raises(
                ValueError, match=r"cut off|follow it|decompressed|JSON|truncated|unknown code|bytes"
            ):
                read(zlib.compress(broken))
    with pytest.raises(ValueError, match="cut off"):
        unpack_profits(zlib.compress(plain[:-3]), np.empty(PERIODS + PLAN.holdout_periods))
