"""The rules: what each finds, how each treatment acts, what a failure says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopt.errors import ConfigError, DataError
from aiopt.market.instrument import instrument
from aiopt.ticks.checks.tick_rules import THRESHOLDS
from aiopt.ticks.checks.validation import RULES, SourcedTicks, ValidationRules, Validator, parse_rules
from aiopt.ticks.schema import TickArrays

MONDAY_NS = int(np.datetime64("2024-05-06T10:00", "ns").astype(np.int64))
EURUSD = instrument("EURUSD")


def batch(
    rows: list[tuple[float, float, float]], *, start_ns: int = MONDAY_NS, size: float = 0.0
) -> SourcedTicks:
    """Return ticks of (milliseconds, bid, ask)."""
    ms, bid, ask = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    count = len(rows)
    ticks = TickArrays(
        start_ns + (ms * 1e6).astype(np.int64), bid, ask, np.full(count, size), np.full(count, size)
    )
    return SourcedTicks(ticks, np.zeros(count, dtype=np.int32), np.arange(count, dtype=np.int64))


def judge(
    rows: list[tuple[float, float, float]], *texts: str, start_ns: int = MONDAY_NS, size: float = 0.0
) -> tuple[Validator, SourcedTicks]:
    validator = Validator(EURUSD, parse_rules(texts), files=[Path("ticks.csv")])
    kept = validator.check_rows(batch(rows, start_ns=start_ns, size=size))
    order = np.argsort(kept.ticks.ts_event_ns, kind="stable")
    return validator, validator.check_day(kept.take(order))


def found(validator: Validator) -> dict[str, tuple[int, int]]:
    return {count.rule: (count.found, count.dropped) for count in validator.counts() if count.found}


GOOD = (0.0, 1.10000, 1.10010)


def test_clean_ticks_break_no_rule_and_come_back_unchanged() -> None:
    rows = [(1000.0 * i, 1.1 + i * 1e-5, 1.1001 + i * 1e-5) for i in range(50)]
    validator, kept = judge(rows)
    assert found(validator) == {}
    assert np.allclose(kept.ticks.bid, [row[1] for row in rows], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("rule", "row"),
    [
        ("non_finite", (1.0, float("nan"), 1.1)),
        ("non_finite", (1.0, 1.1, float("inf"))),
        ("non_positive", (1.0, -1.1, 1.1)),
        ("non_positive", (1.0, 0.0, 1.1)),
        ("implausible_price", (1.0, 114.457, 114.458)),
    ],
)
def test_impossible_prices_fail_by_default_with_file_and_row(
    rule: str, row: tuple[float, float, float]
) -> None:
    text = "Prices of EURUSD must lie in" if rule == "implausible_price" else f"The rule {rule} found"
    with pytest.raises(DataError, match=text) as caught:
        judge([GOOD, row])
    assert (str(caught.value.file), caught.value.row) == ("ticks.csv", 1)
    assert f"bid={row[1]!r}" in str(caught.value)
    validator, kept = judge([GOOD, row], f"{rule}=drop")
    assert found(validator) == {rule: (1, 1)}
    assert len(kept) == 1


def test_a_stamp_outside_the_centuries_of_the_market_fails() -> None:
    with pytest.raises(DataError, match="The rule implausible_time"):
        judge([GOOD], start_ns=10**15)


def test_crossed_ticks_are_dropped_and_zero_spreads_kept_by_default() -> None:
    rows = [GOOD, (1.0, 1.1001, 1.1000), (2.0, 1.1, 1.1)]
    validator, kept = judge(rows)
    assert found(validator) == {"crossed": (1, 1), "zero_spread": (1, 0)}
    assert kept.row.tolist() == [0, 2]
    validator, kept = judge(rows, "crossed=keep", "zero_spread=drop")
    assert found(validator) == {"crossed": (1, 0), "zero_spread": (1, 1)}
    assert kept.row.tolist() == [0, 1]


def test_an_equal_quote_at_an_equal_stamp_is_a_duplicate_another_price_is_not() -> None:
    rows = [GOOD, GOOD, (0.0, 1.10001, 1.1001), GOOD, (1.0, 1.1, 1.1001)]
    validator, kept = judge(rows)
    # The fourth returns to the first quote within the stamp: the last price of the stamp must survive.
    assert found(validator) == {"duplicate": (1, 1), "same_stamp": (2, 0)}
    assert kept.row.tolist() == [0, 2, 3, 4]
    validator, kept = judge(rows, "duplicate=keep", "same_stamp=drop")
    assert kept.row.tolist() == [0, 1, 4]


def test_a_backward_stamp_is_sorted_into_place_or_dropped() -> None:
    rows = [GOOD, (5.0, 1.1, 1.1002), (3.0, 1.1, 1.1003), (4.0, 1.1, 1.1004), (5.0, 1.1, 1.1005)]
    validator, kept = judge(rows)
    assert found(validator)["backward"] == (2, 0)
    assert kept.row.tolist() == [0, 2, 3, 1, 4]
    _, kept = judge(rows, "backward=drop")
    assert kept.row.tolist() == [0, 1, 4]
    with pytest.raises(DataError, match="The rule backward") as caught:
        judge(rows, "backward=fail")
    assert caught.value.row == 2


def test_backward_is_judged_across_batches() -> None:
    validator = Validator(EURUSD)
    validator.check_rows(batch([(10.0, 1.1, 1.1001)]))
    validator.check_rows(batch([(9.0, 1.1, 1.1001), (10.0, 1.1, 1.1002)]))
    assert found(validator) == {"backward": (1, 0)}


def quiet(count: int = 100) -> list[tuple[float, float, float]]:
    return [(1000.0 * i, 1.1 + (i % 3) * 1e-5, 1.1001 + (i % 3) * 1e-5) for i in range(count)]


def test_a_lone_bad_quote_is_a_spike() -> None:
    rows = quiet()
    rows[40] = (40_000.0, 1.21, 1.2101)
    validator, kept = judge(rows)
    assert found(validator) == {"spike": (1, 1)}
    assert 40 not in kept.row
    assert found(judge(rows, "spike=keep")[0]) == {"spike": (1, 0)}
    assert found(judge(rows, "spike_z=100000")[0]) == {}


def test_a_step_is_no_spike() -> None:
    rows = [(ms, bid + 0.01 * (i >= 50), ask + 0.01 * (i >= 50)) for i, (ms, bid, ask) in enumerate(quiet())]
    assert found(judge(rows)[0]) == {}


def test_gaps_count_open_time_only() -> None:
    rows = [GOOD, (301_000.0, 1.1, 1.1001)]
    validator, _ = judge(rows)
    assert found(validator) == {"gap": (1, 0)}
    assert validator.counts()[-1].hours == {"2024-05-06T10": 1}
    assert found(judge(rows, "gap_s=302")[0]) == {}
    with pytest.raises(
        DataError, match=r"No tick came from 2024-05-06T10:00:00.* more than gap_s=300 s of open market"
    ):
        judge(rows, "gap=fail")
    friday = int(np.datetime64("2024-05-03T20:58", "ns").astype(np.int64))
    weekend = [GOOD, (1000.0 * (48 * 3600 + 240), 1.1, 1.1001)]
    assert found(judge(weekend, start_ns=friday)[0]) == {}


def test_a_tick_on_saturday_is_out_of_session_but_not_for_bitcoin() -> None:
    saturday = int(np.datetime64("2024-05-04T12:00", "ns").astype(np.int64))
    assert found(judge([GOOD], start_ns=saturday)[0]) == {"out_of_session": (1, 0)}
    validator = Validator(instrument("BTCUSD"))
    validator.check_rows(batch([(0.0, 60_000.0, 60_010.0)], start_ns=saturday))
    assert found(validator) == {}


def test_prices_are_rounded_and_only_real_extra_decimals_count() -> None:
    validator, kept = judge([(0.0, 1.1 + 1e-13, 1.1001), (1.0, 1.100004, 1.10011)])
    assert found(validator) == {"off_grid": (1, 0)}
    assert kept.ticks.bid.tolist() == [1.1, 1.1]


def test_a_negative_size_fails_or_becomes_zero() -> None:
    with pytest.raises(DataError, match="The rule bad_size"):
        judge([GOOD], size=-5.0)
    _, kept = judge([GOOD], "bad_size=fix", size=-5.0)
    assert kept.ticks.bid_size.tolist() == [0.0]


def test_without_strict_failures_are_counted_to_the_end() -> None:
    validator = Validator(EURUSD, parse_rules(["crossed=fail"]), strict=False)
    kept = validator.check_rows(batch([(0.0, 1.2, 1.1), GOOD, (1.0, float("nan"), 1.1)]))
    assert found(validator) == {"non_finite": (1, 1), "crossed": (1, 1)}
    assert set(validator.failures()) == {"non_finite", "crossed"}
    assert len(kept) == 1


def test_counts_are_kept_per_hour() -> None:
    hour = 3_600_000.0
    validator, _ = judge([(0.0, 1.2, 1.1), (hour, 1.2, 1.1), (hour + 1, 1.2, 1.1)])
    count = next(count for count in validator.counts() if count.rule == "crossed")
    assert count.hours == {"2024-05-06T10": 1, "2024-05-06T11": 2}
    first = MONDAY_NS // 3_600_000_000_000
    assert [validator.dropped_in_hour(first + step) for step in range(3)] == [1, 2, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("crosed=drop", "There is no rule 'crosed'. Did you mean 'crossed'?"),
        ("crossed=ignore", "The rule crossed has no treatment 'ignore'. Choose one of keep, drop, fix, fail"),
        ("gap=drop", "The rule gap has no treatment 'drop'. Choose one of keep, fail"),
        ("non_finite=keep", "The rule non_finite has no treatment 'keep'. Choose one of drop, fail"),
        ("crossed", "given as NAME=TREATMENT, e.g. crossed=drop, but got 'crossed'"),
        ("gap_s=often", "gap_s must be a number, e.g. gap_s=30, but got 'often'"),
        ("spike_z=0", "spike_z must be above 0, but is 0"),
    ],
)
def test_a_wrong_rule_says_what_would_be_right(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_rules([text])
    assert message in str(caught.value)


def test_settings_name_every_rule() -> None:
    settings = ValidationRules(treatments={"crossed": "keep"}).settings()
    assert settings["rule.crossed"] == "keep"
    assert {f"rule.{name}" for name in RULES} < set(settings)


@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.integers(110_000, 110_020), st.integers(110_000, 110_020)),
        min_size=1,
        max_size=60,
    )
)
def test_no_tick_is_lost_or_counted_twice(rows: list[tuple[int, int, int]]) -> None:
    validator, kept = judge([(float(ms), bid / 1e5, ask / 1e5) for ms, bid, ask in rows])
    assert len(kept) == len(rows) - sum(count.dropped for count in validator.counts())
    assert (np.diff(kept.ticks.ts_event_ns) >= 0).all()
    assert (kept.ticks.ask >= kept.ticks.bid).all()
    # What is left breaks no dropping rule any more.
    again = Validator(EURUSD)
    assert len(again.check_day(again.check_rows(kept))) == len(kept)


def test_the_documentation_has_every_rule_with_its_treatments_and_fix() -> None:
    page = (Path(__file__).resolve().parents[4] / "docs" / "how-to" / "ticks.md").read_text(encoding="utf-8")
    for rule in RULES.values():
        row = f"| `{rule.name}` | {rule.text} | {rule.default} | {' '.join(rule.allowed)} | {rule.fix} |"
        assert row in page
    for name in THRESHOLDS:
        assert f"| `{name}` | {getattr(ValidationRules(), name):g} |" in page
