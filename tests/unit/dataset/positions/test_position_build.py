"""Sets of tasks from closed positions: labels, splits, weights, readings, and no span that is judged on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

from aiopt.analyst import AnalysisRequest, read_by_rules
from aiopt.analyst.scans import ScanConfig, load_readings, run_scan
from aiopt.cli.dataset_trades import _day_ns
from aiopt.dataset import check_answers, verify_files
from aiopt.dataset.judging import asked_of, judge, refuse_overlap, rules_readings
from aiopt.dataset.positions import ClosedPosition, PositionSettings, add_positions, build_from_positions
from aiopt.dataset.tasks import BarsSource, TaskSetConfig, TaskSetInfo, build_tasks, read_task_info
from aiopt.dataset.tasks.task_charts import plan_charts
from aiopt.dataset.tasks.task_config import GeneratorSource, PositionsSource
from aiopt.errors import ConfigError, DataError, RunExistsError
from aiopt.testing.bars import random_walk_bar_set, write_bar_file
from aiopt.training.order import DataOrder
from aiopt.training.records import Records
from aiopt.utc import MINUTE_NS
from cluster.cli.main import run
from tests.unit.dataset.positions.test_positions import position

BARS = random_walk_bar_set(4_000, seed=11)
KEY = ("EURUSD", "5m")
STEP = 5 * MINUTE_NS
OPENS = BARS.bid.ts_open_ns
SETTINGS = PositionSettings(part="out")


def closed(bar: int, held: int = 12, **fields: Any) -> ClosedPosition:
    """A position entered at the open of a bar and left at that of a later one."""
    side = fields.pop("side", "long" if bar % 2 else "short")
    entry, out = float(BARS.bid.open[bar]), float(BARS.bid.open[bar + held])
    stop = entry - 0.0010 if side == "long" else entry + 0.0010
    known: dict[str, Any] = {
        "side": side,
        "entry_ts_ns": int(OPENS[bar]),
        "exit_ts_ns": int(OPENS[bar + held]),
        "entry_price": entry,
        "exit_price": out,
        "stop_price": stop,
    }
    return position(**{**known, **fields})


POSITIONS = [closed(bar) for bar in range(150, 3_900, 15)]


def build(out: Path, positions: list[ClosedPosition] = POSITIONS, **more: Any) -> TaskSetInfo:
    settings = more.pop("settings", SETTINGS)
    return build_from_positions(positions, {KEY: BARS}, out, settings, **more)


def rows(folder: Path, info: TaskSetInfo) -> dict[str, pl.DataFrame]:
    files = {file.split: folder / file.path for file in info.files if file.path.startswith("data")}
    return {split: pl.read_parquet(path) for split, path in files.items()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TaskSetInfo]:
    folder = tmp_path_factory.mktemp("sets") / "trades"
    return folder, build(folder)


def test_each_row_has_the_chart_before_its_entry_and_what_became_of_it(
    built: tuple[Path, TaskSetInfo],
) -> None:
    folder, info = built
    by_entry = {one.entry_ts_ns: one for one in POSITIONS}
    tables = rows(folder, info)
    assert sum(table.height for table in tables.values()) == info.rows > 150
    seen = set()
    for table in tables.values():
        for row in table.iter_rows(named=True):
            one = by_entry[row["ts_decision_ns"]]
            assert row["task"] == f"outcome_{one.side}"
            sign = 1 if one.side == "long" else -1
            r = sign * (one.exit_price - one.entry_price) / 0.0010
            assert row["r"] == pytest.approx(r)
            outcome = "flat" if abs(row["r"]) < 0.1 else "win" if r > 0 else "loss"
            assert json.loads(row["answer"]) == {"outcome": outcome}
            assert (row["from_future"], row["origin"], row["position_part"]) == (True, "future", "out")
            assert row["ts_label_end_ns"] == one.exit_ts_ns + STEP
            start = int(np.searchsorted(OPENS, row["ts_open_ns"]))
            assert int(OPENS[start + 120]) == one.entry_ts_ns, "the bar of the entry is not shown"
            reading = read_by_rules(AnalysisRequest(bars=BARS.bid.slice(start, start + 120)))
            assert row["reading_bias"] == reading.bias
            assert (folder / row["image_file"]).is_file()
            seen.add(outcome)
    assert seen == {"win", "loss", "flat"}
    assert info.left_out["purge"] > 0


def test_it_is_a_set_of_tasks_like_any_other(built: tuple[Path, TaskSetInfo]) -> None:
    folder, info = built
    assert read_task_info(folder) == info
    assert verify_files(folder, info) == []
    assert check_answers(folder) == info.rows
    records = Records([folder], "train")
    assert set(records.tasks) == {"outcome_long", "outcome_short"}
    asked = list(asked_of(folder, info, "test", controls=5))
    found = judge("rules", info, "test", asked, rules_readings(asked))
    assert {score.task for score in found.scores} == {"outcome_long", "outcome_short"}
    assert all(score.from_future for score in found.scores)
    assert build(folder) == info, "built again it is read"
    with pytest.raises(RunExistsError, match="another configuration"):
        build(folder, POSITIONS[:-1])


def test_no_two_splits_share_a_bar_shown_or_looked_ahead_to(built: tuple[Path, TaskSetInfo]) -> None:
    folder, info = built
    spans = {}
    for name, table in rows(folder, info).items():
        spans[name] = (table["ts_open_ns"].min(), table["ts_label_end_ns"].max())
    assert spans["train"][1] <= spans["validation"][0]
    assert spans["validation"][1] <= spans["test"][0]
    for name, split in info.splits.items():
        assert (split.spans["EURUSD-5m"].first_ns, split.spans["EURUSD-5m"].last_ns) == spans[name]


def test_prices_after_the_exit_change_nothing(built: tuple[Path, TaskSetInfo], tmp_path: Path) -> None:
    folder, info = built
    last = max(one.exit_ts_ns for one in POSITIONS)
    cut = BARS.slice(0, int(np.searchsorted(OPENS, last)) + 1)
    again = build_from_positions(POSITIONS, {KEY: cut}, tmp_path / "cut", SETTINGS)
    for name, table in rows(folder, info).items():
        assert table.equals(rows(tmp_path / "cut", again)[name])


# --- what is left out, refused, judged ------------------------------------------------------------------


def test_one_part_alone_is_taken_and_the_other_counted(tmp_path: Path) -> None:
    mixed = [msgspec.structs.replace(one, part="in" if i % 3 else "out") for i, one in enumerate(POSITIONS)]
    info = build(tmp_path / "in", mixed, settings=PositionSettings(part="in"))
    assert info.left_out["other_part"] == sum(one.part == "out" for one in mixed)
    for table in rows(tmp_path / "in", info).values():
        assert set(table["position_part"]) == {"in"}
    with pytest.raises(DataError, match=r"none of 250 is left \(other_part 250\)"):
        build(tmp_path / "none", [msgspec.structs.replace(one, part="in") for one in POSITIONS])


def test_positions_without_their_chart_or_end_are_counted(tmp_path: Path) -> None:
    late = closed(3_950, exit_ts_ns=int(OPENS[-1]) + 2 * STEP)
    info = build(tmp_path / "set", [closed(60), *POSITIONS, late])
    assert (info.left_out["too_few_bars_before"], info.left_out["exit_behind_the_bars"]) == (1, 1)
    until = int(OPENS[3_000])
    info = build(tmp_path / "until", settings=PositionSettings(part="out", until_ns=until))
    assert info.left_out["after_until"] == sum(one.exit_ts_ns + STEP > until for one in POSITIONS)
    assert max(table["ts_label_end_ns"].max() for table in rows(tmp_path / "until", info).values()) <= until
    with pytest.raises(DataError, match="there are none of GBPUSD-5m"):
        build(tmp_path / "other", [closed(150, instrument="GBPUSD")])


def judged_set(folder: Path, first: int, last: int) -> Path:
    """A set of tasks on some of the bars, whose test split is their last part."""
    config = TaskSetConfig(sources=(BarsSource(path="bars", stride=30),), tasks=("trend",))
    build_tasks(config, folder, bars={"bars": BARS.slice(first, last)})
    return folder


def test_a_record_of_a_span_that_is_judged_on_is_refused_before_and_after(
    built: tuple[Path, TaskSetInfo], tmp_path: Path
) -> None:
    """The attempt is planted: positions whose time a later judgement uses."""
    judged = judged_set(tmp_path / "judged", 1_000, 3_000)
    with pytest.raises(DataError, match=r"No record may show time that a reader is judged on, but \d+ of"):
        build(tmp_path / "refused", judged_on=[judged])
    assert not (tmp_path / "refused").exists()
    # Whoever trains on it all the same is refused when judged.
    with pytest.raises(DataError, match="No reader may be judged on time it was trained on"):
        refuse_overlap([built[0]], judged, "test")
    # One bar of the chart, or of the way to the exit, is enough.
    test_span = read_task_info(judged).splits["test"].spans["EURUSD-5m"]
    first = int(np.searchsorted(OPENS, test_span.first_ns))
    ends_inside = closed(first - 12, held=12)
    ends_before = closed(first - 13, held=12)
    early = [closed(bar) for bar in range(150, first - 200, 15)]
    with pytest.raises(DataError, match="but 1 of"):
        build(tmp_path / "inside", [*early, ends_inside], judged_on=[judged])
    info = build(tmp_path / "before", [*early, ends_before], judged_on=[judged])
    refuse_overlap([tmp_path / "before"], judged, "test")
    assert info.charts > 50


def test_a_configuration_cannot_name_positions() -> None:
    source = PositionsSource(part="in")
    with pytest.raises(ConfigError, match=r"Use `aiopt dataset from-trades`"):
        plan_charts(TaskSetConfig(sources=(source,), tasks=("outcome_long",)))
    with pytest.raises(ConfigError, match="are asked of closed positions, and of nothing else"):
        TaskSetConfig(sources=(source,), tasks=("trend",))
    with pytest.raises(ConfigError, match="are asked of closed positions, and of nothing else"):
        TaskSetConfig(sources=(GeneratorSource(name="templates", charts=3),), tasks=("outcome_long",))


# --- weights and readings --------------------------------------------------------------------------------


def test_copies_of_a_position_share_its_weight_in_the_rows_and_in_training(tmp_path: Path) -> None:
    copies = [
        msgspec.structs.replace(one, strategy=f"copy {number}")
        for one in POSITIONS
        for number in range(3 if one.side == "long" else 1)
    ]
    info = build(tmp_path / "set", copies)
    table = rows(tmp_path / "set", info)["train"]
    assert set(table.filter(pl.col("task") == "outcome_long")["weight"].round(6)) == {0.333333}
    assert set(table.filter(pl.col("task") == "outcome_short")["weight"]) == {1.0}
    assert table["sample"].n_unique() == table.height
    records = Records([tmp_path / "set"], "train")
    assert records.weights == table["weight"].to_list()
    numbers = np.arange(len(records))
    order = DataOrder(
        numbers, classes=None, weights=records.weights, seed=1, stage=0, batch_size=order_size(numbers)
    )
    drawn = np.concatenate([order.batch(step) for step in range(30)])
    share = np.mean([records.tasks[number] == "outcome_long" for number in drawn])
    assert 0.47 < share < 0.53, "three copies count as one"


def order_size(numbers: np.ndarray) -> int:
    return int(numbers.size)


def test_equal_weights_draw_as_none_do() -> None:
    numbers = np.arange(50)
    plain, equal = (
        DataOrder(numbers, classes=None, weights=weights, seed=1, stage=0, batch_size=16)
        for weights in (None, [0.5] * 50)
    )
    for step in range(9):
        assert (plain.batch(step) == equal.batch(step)).all()


def test_a_weight_that_is_none_is_refused_with_its_row(
    built: tuple[Path, TaskSetInfo], tmp_path: Path
) -> None:
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(built[0], folder)
    path = next((folder / "data").glob("train-*"))
    table = pl.read_parquet(path)
    table = table.with_columns(weight=pl.when(pl.int_range(table.height) == 3).then(0.0).otherwise("weight"))
    table.write_parquet(path)
    with pytest.raises(DataError, match=r"row 3: `weight > 0` must hold for every row, but is 0.0"):
        Records([folder], "train")


def test_readings_of_a_scan_are_those_known_at_the_entry(tmp_path: Path) -> None:
    run_scan(BARS, ScanConfig(windows=300, every=7), tmp_path / "scan")
    readings = load_readings(tmp_path / "scan")
    info = build(tmp_path / "set", readings=readings)
    none = some = 0
    for table in rows(tmp_path / "set", info).values():
        for row in table.iter_rows(named=True):
            known = [one for one in readings if one.available_ns < row["ts_decision_ns"]]
            if not known:
                none += row["reading_bias"] is None
                continue
            some += 1
            assert row["reading_bias"] == known[-1].bias
            assert row["reading_confidence"] == known[-1].confidence
    assert some > 50
    assert none > 10


# --- the command ------------------------------------------------------------------------------------------


def test_the_command_says_what_was_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for side in ("bid", "ask"):
        write_bar_file(getattr(BARS, side), tmp_path / "bars" / f"{side}.parquet")
    add_positions(tmp_path / "paper.jsonl", POSITIONS)
    arguments = ["dataset", "from-trades", str(tmp_path / "paper.jsonl"), "--bars", str(tmp_path / "bars")]
    assert run([*arguments, "--sample", "out", "--out", str(tmp_path / "set")]) == 0
    said = capsys.readouterr().out
    assert "closed positions, out of sample, in" in said
    assert "marked as from the future" in said
    assert run([*arguments, "--sample", "in", "--out", str(tmp_path / "other")]) == 2
    assert "none of 250 is left (other_part 250)" in capsys.readouterr().err
    assert run([*arguments, "--sample", "out", "--until", "soon", "--out", str(tmp_path / "other")]) == 2
    assert "`--until` must be a day or time" in capsys.readouterr().err
    assert run(["dataset", "show", str(tmp_path / "set"), "--verify"]) == 0
    assert "outcome_long" in capsys.readouterr().out
    assert _day_ns("2018-06-01") == 1_527_811_200_000_000_000
