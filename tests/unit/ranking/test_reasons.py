"""Counting reasons: what differs in numbers alone is one reason."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from aiopt.errors import DataError
from aiopt.ranking import reasons
from aiopt.ranking.ranking_file import Rejection
from aiopt.ranking.reasons import (
    ReasonCount,
    failure_lines,
    failure_reasons,
    failure_reasons_of_file,
    rejection_lines,
    rejection_reasons,
)
from aiopt.ranking.trials import TrialRow, write_trials
from aiopt.testing.sweeps import failed, noise_sweep


def rejection(reason: str, group: str = "alpha@1m") -> Rejection:
    family, timeframe = group.split("@")
    return Rejection(
        name=f"{group}#1",
        group=group,
        family=family,
        timeframe=timeframe,
        lane=1,
        trial_id=None,
        reason=reason,
        trades=None,
        score=None,
    )


def test_reasons_that_differ_in_numbers_and_names_are_one() -> None:
    found = rejection_reasons(
        [
            rejection("7 trades out of sample, and 30 are needed (`min_oos_trades`)"),
            rejection("12 trades out of sample, and 30 are needed (`min_oos_trades`)", "beta@5m"),
            rejection("ranks 8, and 5 are emitted (`top`)"),
            rejection("its profits correlate 0.985 with alpha@1m#2, which scores no less"),
            rejection("its profits correlate -0.5 with beta@1m#1, which scores no less"),
            rejection("its profits correlate 0.7 with beta@1m#1, which scores no less"),
        ]
    )
    assert found == [
        ReasonCount(
            reason="its profits correlate -0.5 to 0.985 with another candidate, which scores no less",
            count=3,
            groups=("alpha@1m",),
        ),
        ReasonCount(
            reason="7 to 12 trades out of sample, and 30 are needed (`min_oos_trades`)",
            count=2,
            groups=("alpha@1m", "beta@5m"),
        ),
        ReasonCount(reason="ranks 8, and 5 are emitted (`top`)", count=1, groups=("alpha@1m",)),
    ]


def test_numbers_inside_names_and_dates_stay() -> None:
    for text in ("the file a1.csv of 2024-03-04 is cut", "spec rsi14 at 1m", "v1.2.3"):
        (one,) = rejection_reasons([rejection(text)])
        assert one.reason == text
    first, second = rejection_reasons([rejection("bar 5 of rsi14"), rejection("bar 5 of rsi21")])
    assert {first.count, second.count} == {1}


def test_large_numbers_are_compared_as_numbers() -> None:
    (one,) = rejection_reasons([rejection("lost 1,234.50 dollars"), rejection("lost 99.10 dollars")])
    assert one.reason == "lost 99.10 to 1,234.50 dollars"


def failures() -> list[TrialRow]:
    errors = ["the margin call came in bar 12"] * 2 + ["the margin call came in bar 900", "no bars"]
    rows = [msgspec.structs.replace(failed(number + 50), error=text) for number, text in enumerate(errors)]
    return [*rows, *noise_sweep(1, trials=2)]


def test_failures_are_counted_from_rows_and_from_their_file(tmp_path: Path) -> None:
    expected = [
        ReasonCount(reason="the margin call came in bar 12 to 900", count=3, groups=("alpha@5m",)),
        ReasonCount(reason="no bars", count=1, groups=("alpha@5m",)),
    ]
    assert failure_reasons(failures()) == expected
    write_trials(tmp_path / "trials.parquet", failures())
    assert failure_reasons_of_file(tmp_path / "trials.parquet") == expected
    (tmp_path / "other.parquet").write_text("no Parquet")
    with pytest.raises(DataError, match="is not a Parquet file"):
        failure_reasons_of_file(tmp_path / "other.parquet")
    with pytest.raises(DataError, match="there is no such file"):
        failure_reasons_of_file(tmp_path / "absent.parquet")


def test_lines_give_the_first_few_and_count_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = failure_reasons(failures())
    assert failure_lines(counts, 20) == [
        "4 of 20 trials failed:",
        "  3 × the margin call came in bar 12 to 900 (alpha@5m)",
        "  1 × no bars (alpha@5m)",
    ]
    monkeypatch.setattr(reasons, "SHOWN", 1)
    assert failure_lines(counts, 20)[-1] == "  1 × 1 other reason"
    assert failure_lines([], 20) == []


def test_where_most_trials_failed_the_lines_are_loud() -> None:
    counts = failure_reasons(failures())
    assert failure_lines(counts, 8)[0] == "WARNING: 4 of 8 trials failed:"
    assert failure_lines(counts, 9)[0] == "4 of 9 trials failed:"


def test_long_reasons_wrap_below_themselves() -> None:
    reason = "no trial has 10 trades (`min_train_trades`) and a varying profit in the train window of fold 1"
    lines = rejection_lines(rejection_reasons([rejection(reason)] * 12), 15)
    assert lines == [
        "12 of 15 candidates are not among the entries:",
        "  12 × no trial has 10 trades (`min_train_trades`) and a varying profit in the",
        "       train window of fold 1 (alpha@1m)",
    ]
    assert max(map(len, lines)) <= 80
