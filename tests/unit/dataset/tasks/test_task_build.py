"""Sets of tasks: answers engines can give, splits that share nothing, what is held out, what is counted."""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
from PIL import Image

from aiopt.analyst.answers import answer_text, why_refused
from aiopt.analyst.chat import ChatReply
from aiopt.analyst.constraints import StrategyConstraints
from aiopt.analyst.proposing import Proposal, parsed_strategy
from aiopt.analyst.replies import parse_analysis
from aiopt.analyst.shown import label_of
from aiopt.bars.schema import BarArrays
from aiopt.config import decode
from aiopt.dataset import check_answers, read_info, verify_files
from aiopt.dataset.tasks import (
    TASKS,
    BarsSource,
    GeneratorSource,
    HeldOutConfig,
    TaskSetConfig,
    build_tasks,
    read_task_info,
)
from aiopt.dataset.tasks.task_build import chart_hash
from aiopt.dataset.tasks.task_charts import plan_charts
from aiopt.dataset.tasks.task_config import ALL_TASKS, POSITION_TASKS
from aiopt.dataset.tasks.task_kinds import Chart
from aiopt.errors import ConfigError, DataError, RunExistsError, StorageError
from aiopt.testing.bars import random_walk_bar_set
from aiopt.timeframe import parse_timeframe
from tests.unit.dataset.futures import shaken

EUR = random_walk_bar_set(3_000, seed=3, timeframe="5m")
GBP = msgspec.structs.replace(EUR.instrument, symbol="GBPUSD", base="GBP")


def gbp() -> object:
    other = random_walk_bar_set(3_000, seed=4, timeframe="5m")
    bid = replace(other.bid, instrument="GBPUSD", data_hash="another")
    return replace(other, instrument=GBP, bid=bid, ask=replace(other.ask, instrument="GBPUSD"))


BARS = {"eur": EUR, "gbp": gbp()}
CONFIG = TaskSetConfig(
    tasks=ALL_TASKS,
    sources=(
        GeneratorSource(name="templates", charts=36, noise=(0.5, 1.0), warp=0.1),
        GeneratorSource(name="processes", charts=12),
        BarsSource(path="eur", stride=60),
        BarsSource(path="gbp", stride=60),
    ),
    held_out=HeldOutConfig(
        kinds=("double_top", "double_bottom"), generators=("processes",), instruments=("GBPUSD",)
    ),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tasks") / "set"
    build_tasks(CONFIG, out, bars=BARS)  # type: ignore[arg-type]
    return out


def rows(folder: Path) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(path) for path in sorted((folder / "data").iterdir())])


def bars_of(folder: Path, split: str) -> dict[str, BarArrays]:
    found = {}
    for row in pl.read_parquet(folder / "bars" / f"{split}.parquet").iter_rows(named=True):
        prices = {name: np.array(row[name]) for name in ("open", "high", "low", "close")}
        found[row["sample"]] = BarArrays(
            instrument=row["instrument"],
            timeframe=parse_timeframe(row["timeframe"]),
            price="bid",
            ts_open_ns=np.array(row["ts_open_ns"], np.int64),
            volume=np.zeros(len(row["open"])),
            data_hash="",
            **prices,
        )
    return found


def test_every_kind_of_answer_is_there_and_can_be_given_in_service(folder: Path) -> None:
    info, found = read_task_info(folder), rows(folder)
    assert set(found["task"]) == set(ALL_TASKS) == set(info.tasks) == set(TASKS) - set(POSITION_TASKS)
    assert found.height == info.rows
    for row in found.iter_rows(named=True):
        assert why_refused(row["answer"], info.tasks[row["task"]].answer_schema) == "", row
        assert row["messages"][-1] == {
            "role": "assistant",
            "content": [{"type": "text", "text": row["answer"]}],
        }
        assert row["messages"][1]["content"][-1]["text"] == row["question"]
    assert check_answers(folder) == info.rows


def test_the_answers_are_those_of_definitions_and_plans(folder: Path) -> None:
    found = rows(folder)
    for split in ("test", "unseen_kinds", "unseen_instruments"):
        shown = bars_of(folder, split)
        part = found.filter(pl.col("split") == split)
        for row in part.filter(pl.col("origin") == "definition").iter_rows(named=True):
            if row["task"] in ("regime", "levels"):
                continue
            label = label_of(shown[row["sample"]], row["task"])
            assert json.loads(row["answer"]) == {row["task"]: label}
            assert row["choice"] == label
    planted = found.filter(pl.col("task") == "pattern")
    assert (planted["choice"] == planted["kind"]).all()
    assert set(found.filter(pl.col("task") == "state")["source"]) == {"processes"}


def test_full_answers_are_valid_replies(folder: Path) -> None:
    shown = {**bars_of(folder, "train"), **bars_of(folder, "unseen_generators")}
    for row in rows(folder).filter(pl.col("task") == "analysis").iter_rows(named=True):
        if row["sample"] in shown:
            analysis = parse_analysis(row["answer"], Chart(bars=shown[row["sample"]]).request())
            assert analysis.bias == row["choice"]
    seen = set()
    for row in rows(folder).filter(pl.col("task") == "strategy").iter_rows(named=True):
        proposal = parsed_strategy(ChatReply(text=row["answer"]), StrategyConstraints(), "5m", None)
        assert isinstance(proposal, Proposal)
        assert proposal.spec.name == f"{row['choice']}_proposed"
        assert row["image_file"] is None
        seen.add(row["choice"])
    assert len(seen) > 1


def test_no_two_splits_share_a_bar_shown_or_looked_ahead_to(folder: Path) -> None:
    info, found = read_task_info(folder), rows(folder).filter(pl.col("kind") == "")
    order = ("train", "validation", "test")
    for before, after in itertools.pairwise(order):
        ends = found.filter(pl.col("split") == before)["ts_label_end_ns"].max()
        begins = found.filter(pl.col("split").is_in([after, "unseen_instruments"]))["ts_open_ns"].min()
        assert ends <= begins  # type: ignore[operator]
        assert info.splits[before].spans["EURUSD-5m"].last_ns == ends
    assert set(found.filter(pl.col("split") == "unseen_instruments")["instrument"]) == {"GBPUSD"}
    assert set(found.filter(pl.col("split") != "unseen_instruments")["instrument"]) == {"EURUSD"}
    charts = rows(folder).group_by("chart_sha256").agg(pl.col("split").n_unique())
    assert charts["split"].max() == 1


def test_what_is_held_out_is_in_its_own_split_alone(folder: Path) -> None:
    info = read_task_info(folder)
    held = {"double_top", "double_bottom"}
    for name in ("train", "validation", "test"):
        assert not held & set(info.splits[name].kinds)
        assert "drift_up" not in info.splits[name].kinds
    assert set(info.splits["unseen_kinds"].kinds) == held
    assert set(info.splits["unseen_generators"].kinds) == {
        "drift_up",
        "drift_down",
        "jump_up",
        "jump_down",
        "reverting",
        "wandering",
    }
    assert info.splits["unseen_generators"].charts == 12


def test_what_comes_from_the_future_is_marked_and_nothing_else_knows_it(folder: Path) -> None:
    found = rows(folder)
    future = found.filter(pl.col("from_future"))
    marked = {name for name, task in TASKS.items() if task.from_future}
    assert marked == {"forward", *POSITION_TASKS}
    assert set(future["task"]) == {"forward"}
    assert (future["ts_label_end_ns"] - future["ts_decision_ns"]).min() == 12 * EUR.timeframe.ns
    assert (
        found.filter(~pl.col("from_future"))["ts_label_end_ns"]
        == found.filter(~pl.col("from_future"))["ts_decision_ns"]
    ).all()
    # Bars after the last chart are others: questions, pictures and every other answer stay what they were.
    tested = found.filter(pl.col("split") == "test", pl.col("kind") == "")
    last = int(tested["ts_decision_ns"].max())  # type: ignore[arg-type]
    border = int(np.searchsorted(EUR.bid.ts_open_ns, last))
    forwards = set()
    for seed in range(6):
        plan = plan_charts(CONFIG, {**BARS, "eur": shaken(EUR, border, seed=seed)})  # type: ignore[dict-item]
        *_, changed = (one for one in plan.charts("test") if not one.kind)
        row = tested.filter(pl.col("sample") == changed.sample)
        assert chart_hash(changed) == row["chart_sha256"][0]
        for name, answer in row.filter(~pl.col("from_future")).select("task", "answer").iter_rows():
            task = TASKS[name]
            assert answer_text(task.answer(changed.chart), task.schema(120)) == answer
            asked = task.messages(changed.chart, numbers=False)
            assert asked == task.messages(replace(changed.chart, later_close=None), numbers=False)
        forwards.add(str(TASKS["forward"].answer(changed.chart)))
    assert len(forwards) > 1, "the class of what came after does move"


def test_balance_and_majority_are_counted(folder: Path) -> None:
    info, found = read_task_info(folder), rows(folder)
    train = found.filter(pl.col("split") == "train")
    for name, split in info.splits.items():
        part = found.filter(pl.col("split") == name)
        assert split.rows == part.height
        for task, counts in split.balance.items():
            choices = part.filter(pl.col("task") == task)["choice"]
            assert counts == dict(sorted(choices.value_counts().iter_rows()))
            if task in split.majority:
                common = (
                    train.filter(pl.col("task") == task)["choice"].value_counts().sort("count")["count"][-1]
                )
                choice = split.majority[task].choice
                assert info.splits["train"].balance[task][choice] == common
                assert split.majority[task].share == pytest.approx((choices == choice).mean())
    bias = info.splits["train"].balance["bias"]
    assert max(bias.values()) - min(bias.values()) <= 1


def test_pictures_are_files_drawn_once_and_named_in_the_rows(folder: Path) -> None:
    found = rows(folder).filter(pl.col("image_file").is_not_null())
    for name, sha in found.select("image_file", "image_sha256").unique().iter_rows():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == sha
    assert len(list((folder / "charts").iterdir())) == found["sample"].n_unique()


def test_equal_input_gives_equal_bytes_and_a_finished_set_is_read(folder: Path, tmp_path: Path) -> None:
    small = TaskSetConfig(sources=(GeneratorSource(name="processes", charts=20),), numbers=True)
    one, two = (build_tasks(small, tmp_path / name) for name in ("one", "two"))
    assert one == two
    (tmp_path / "one" / "mark").write_text("kept")
    assert build_tasks(small, tmp_path / "one") == one
    assert (tmp_path / "one" / "mark").exists()
    with pytest.raises(RunExistsError, match="another configuration or other bars"):
        build_tasks(msgspec.structs.replace(small, seed=2), tmp_path / "one")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    with pytest.raises(RunExistsError, match="holds something else"):
        build_tasks(small, tmp_path / "notes")
    with pytest.raises(StorageError, match=r"a\.txt"):
        build_tasks(small, tmp_path / "notes" / "a.txt" / "set")
    assert "last bars (number" in rows(tmp_path / "one")["question"][0]
    assert one.synthetic
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".building")]


def test_a_build_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiopt.dataset.tasks.task_kinds.support_price", lambda bars: float("nan"))
    config = TaskSetConfig(sources=(GeneratorSource(name="processes", charts=20),), tasks=("trend", "levels"))
    with pytest.raises(DataError, match=r"train-00000-of-00001\.parquet, row 1: answer\.support must be a"):
        build_tasks(config, tmp_path / "set")
    assert not (tmp_path / "set").exists()
    with pytest.raises(DataError, match="no finished set of tasks"):
        read_task_info(tmp_path / "set")


def test_a_set_of_tasks_and_a_dataset_are_not_taken_for_each_other(folder: Path, tmp_path: Path) -> None:
    info = read_task_info(folder)
    assert verify_files(folder, info) == []
    assert [file.path for file in info.files if file.split == "train"] == [
        "data/train-00000-of-00001.parquet"
    ]
    with pytest.raises(DataError, match="This is a set of tasks"):
        read_info(folder)
    (tmp_path / "dataset.json").write_text('{"schema_version": 1}')
    with pytest.raises(DataError, match=r"`layout = tasks/1` must hold for a set of tasks, but got None"):
        read_task_info(tmp_path)


def test_embedded_pictures(tmp_path: Path) -> None:
    config = decode(
        {
            "sources": [{"type": "generator", "name": "processes", "charts": 10}],
            "tasks": ["trend"],
            "pictures": {"store": "embed", "theme": "light"},
        },
        TaskSetConfig,
        where="config",
    )
    build_tasks(config, tmp_path / "set")
    for row in rows(tmp_path / "set").iter_rows(named=True):
        assert hashlib.sha256(row["image"]["bytes"]).hexdigest() == row["image_sha256"]


GENERATED = GeneratorSource(name="templates", charts=30)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tasks": ("trends",)}, r"`tasks` must be of .*Did you mean 'trend'"),
        ({"tasks": ()}, r"at least one"),
        ({"sources": ()}, r"`sources` must name at least one"),
        ({"window": 100}, r"`window = 120` must hold where a generator draws, but got 100"),
        ({"held_out": HeldOutConfig(kinds=("double_top",))}, r"without 'double_bottom'.*Add"),
        ({"held_out": HeldOutConfig(kinds=("drift_up",))}, r"kinds of the generators in sources"),
        ({"held_out": HeldOutConfig(generators=("processes",))}, r"'processes' is not\. Add it there"),
    ],
)
def test_settings_that_contradict_each_other(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TaskSetConfig(**{"sources": (GENERATED,), **settings})


def test_bars_that_give_no_charts(tmp_path: Path) -> None:
    source = BarsSource(path="eur")
    with pytest.raises(ConfigError, match=r"two are EURUSD-5m"):
        plan_charts(TaskSetConfig(sources=(source, source)), {"eur": EUR})
    with pytest.raises(ConfigError, match=r"none is left \(too few bars\)"):
        plan_charts(TaskSetConfig(sources=(source,)), {"eur": EUR.slice(0, 50)})
    with pytest.raises(ConfigError, match="validation has none"):
        plan_charts(TaskSetConfig(sources=(source,)), {"eur": EUR.slice(0, 500)})
    held = HeldOutConfig(instruments=("USDJPY",))
    with pytest.raises(ConfigError, match="'USDJPY' is not of EURUSD"):
        plan_charts(TaskSetConfig(sources=(source,), held_out=held), {"eur": EUR})
    with pytest.raises(ConfigError, match="train has none"):
        plan_charts(TaskSetConfig(sources=(GENERATED,), held_out=HeldOutConfig(generators=("templates",))))


def test_charts_without_the_mark_of_generated_ones_differ_from_it_in_that_alone(tmp_path: Path) -> None:
    source = {"type": "generator", "name": "walks", "charts": 9}
    pixels = []
    for marked in (True, False):
        content = {"sources": [source], "tasks": ["trend"], "pictures": {"mark_synthetic": marked}}
        info = build_tasks(msgspec.convert(content, TaskSetConfig), tmp_path / str(marked))
        first = rows(tmp_path / str(marked)).row(0, named=True)
        assert first["synthetic"]
        with Image.open(tmp_path / str(marked) / first["image_file"]) as picture:
            pixels.append(np.asarray(picture.convert("RGB")).astype(int))
        assert info.charts == 9
    changed = np.argwhere((pixels[0] != pixels[1]).any(axis=2))
    assert changed.size
    # In the title row, above the prices.
    assert changed[:, 0].max() < 40
