"""Building: counts that add up, equal bytes, going on after a kill, and questions that know no future."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aiopt.analyst import AnalysisRequest, analysis_messages, parse_analysis, read_by_rules
from aiopt.analyst.analysis import PriceLevel, VisiblePattern
from aiopt.analyst.answers import why_refused
from aiopt.analyst.schema import ANALYSIS_SCHEMA
from aiopt.charts import PreparedChart, render_windows
from aiopt.charts.windows import Window
from aiopt.dataset import (
    DatasetConfig,
    FeatureConfig,
    ImageConfig,
    LabelConfig,
    SplitConfig,
    build_dataset,
    check_answers,
    plan_rows,
    read_info,
    split_files,
    verify_files,
)
from aiopt.errors import ConfigError, DataError, RunExistsError, StorageError
from aiopt.testing.bars import random_walk_bar_set
from tests.unit.dataset.futures import shaken

BARS = random_walk_bar_set(1_400, seed=31, timeframe="5m")
FEATURES = FeatureConfig(regime_window=100)
IMAGES = ImageConfig(window=60, width=480, height=320, panes=("rsi",))
PICTURED = DatasetConfig(features=FEATURES, images=IMAGES, messages_horizon=6, stride=25, rows_per_shard=10)


def files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file that is not hidden."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in found}


def table(folder: Path, split: str) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(path) for path in split_files(folder, split)])


@pytest.fixture(scope="module")
def pictured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictured") / "set"
    build_dataset(BARS, folder, PICTURED)
    return folder


def test_every_bar_is_a_row_or_left_out_for_one_reason(tmp_path: Path) -> None:
    config = DatasetConfig(
        features=FEATURES, images=IMAGES, labels=LabelConfig(across_gaps="drop"), stride=3, rows_per_shard=50
    )
    bars = random_walk_bar_set(2_500, seed=31, timeframe="5m")
    plan = plan_rows(bars, config)
    assert plan.rows + sum(plan.left_out.values()) == len(bars)
    assert plan.left_out["label_incomplete"] == 24
    assert plan.left_out["warm_up"] == 112
    assert plan.left_out["label_across_gap"] > 0
    assert plan.left_out["purge_and_embargo"] > 0
    assert not plan.labels.breaks[plan.bars].any()


def test_the_files_hold_what_was_computed(pictured: Path) -> None:
    info = read_info(pictured)
    plan = plan_rows(BARS, PICTURED)
    assert verify_files(pictured, info) == []
    assert info.rows == plan.rows == sum(split.rows for split in info.splits.values())
    for split, rows in plan.splits.items():
        found = table(pictured, split)
        bars = plan.bars[rows]
        np.testing.assert_array_equal(found["bar"].to_numpy(), bars)
        assert set(found["split"]) == {split}
        for name, values in plan.features.columns.items():
            np.testing.assert_array_equal(found[f"feature_{name}"].to_numpy(), values[bars], err_msg=name)
        for name, values in plan.labels.columns.items():
            np.testing.assert_array_equal(found[f"label_{name}"].to_numpy(), values[bars], err_msg=name)
        counts = info.splits[split].balance["label_class_6"]
        assert [counts[side] for side in ("SELL", "HOLD", "BUY")] == [
            int((found["label_class_6"] == code).sum()) for code in (-1, 0, 1)
        ]
        assert (found["ts_decision_ns"] - found["ts_open_ns"]).unique().to_list() == [BARS.timeframe.ns]
        ends = BARS.bid.ts_open_ns[bars + 24] + BARS.timeframe.ns
        np.testing.assert_array_equal(found["ts_label_end_ns"].to_numpy(), ends)
    train, validation = table(pictured, "train"), table(pictured, "validation")
    assert train["ts_label_end_ns"].max() < validation["ts_decision_ns"].min()  # type: ignore[operator]
    scale = info.scale["feature_rsi_14"]
    assert scale.mean == pytest.approx(train["feature_rsi_14"].mean())
    assert set(info.feature_columns + info.label_columns) <= set(train.columns)


def test_equal_input_gives_equal_bytes_in_several_files(pictured: Path, tmp_path: Path) -> None:
    build_dataset(BARS, tmp_path / "again", PICTURED)
    assert files(tmp_path / "again") == files(pictured)
    assert len(read_info(pictured).files) > 4


def test_charts_end_with_the_decision_bar_and_are_those_of_the_renderer(pictured: Path) -> None:
    chart = PreparedChart(BARS.bid, IMAGES.spec())
    found = table(pictured, "train")
    for row in found.head(3).iter_rows(named=True):
        (png,) = render_windows(chart, [(row["bar"] - 59, row["bar"] + 1)])
        assert row["image"]["bytes"] == png
        assert row["image_sha256"] == hashlib.sha256(png).hexdigest()


def test_nothing_a_model_is_asked_knows_the_future(pictured: Path, tmp_path: Path) -> None:
    found = table(pictured, "train")
    last = int(found["bar"][-1])
    build_dataset(shaken(BARS, last + 1, seed=2), tmp_path / "other", PICTURED)
    other = table(tmp_path / "other", "train")
    asked = [name for name in found.columns if name.startswith(("feature_", "image"))]
    assert other.select("bar", *asked).equals(found.select("bar", *asked))
    asked_before, asked_after = (
        [(row[:2], {**json.loads(row[2]["content"][0]["text"]), "bias": "", "confidence": 0}) for row in rows]
        for rows in (found["messages"].to_list(), other["messages"].to_list())
    )
    assert asked_before == asked_after, "questions, and all of the answers but bias and its confidence"
    # Labels do move: the check above could fail.
    assert not other["label_return_24"].equals(found["label_return_24"])


def test_conversations_are_the_analysts_and_answer_what_the_label_says(pictured: Path) -> None:
    words = {-1: "short", 0: "neutral", 1: "long"}
    found = table(pictured, "train")
    seen = set()
    for row in found.iter_rows(named=True):
        bar = row["bar"]
        lines = {
            "EMA 20": row["feature_ema_20"],
            "EMA 50": row["feature_ema_50"],
            "RSI 14": row["feature_rsi_14"],
        }
        request = AnalysisRequest(
            bars=BARS.bid.slice(bar - 59, bar + 1),
            indicators=lines,
            spread=float(BARS.ask.close[bar] - BARS.bid.close[bar]),
        )
        system, user, assistant = row["messages"]
        expected = analysis_messages(request)
        assert system["content"] == [{"type": "text", "text": expected[0]["content"]}]
        assert [part["type"] for part in user["content"]] == ["image", "text"]
        assert user["content"][1]["text"] == expected[1]["content"]
        analysis = parse_analysis(assistant["content"][0]["text"], request)
        by_rules = read_by_rules(request)
        assert analysis.bias == words[row["label_class_6"]]
        assert analysis.regime == by_rules.regime
        # Prices as the grammar writes them: six decimals.
        assert [rounded(one) for one in analysis.patterns] == [rounded(one) for one in by_rules.patterns]
        assert [rounded(one) for one in analysis.levels] == [rounded(one) for one in by_rules.levels]
        assert why_refused(assistant["content"][0]["text"], ANALYSIS_SCHEMA) == ""
        assert "Bias" not in analysis.rationale
        share = (found["label_class_6"] == row["label_class_6"]).mean()
        assert analysis.confidence == pytest.approx(share, abs=0.0051)
        seen.add(analysis.bias)
    assert len(seen) > 1
    assert read_info(pictured).messages == {
        "prompt": "read/1",
        "schema": "analysis/1",
        "rules": "rules/2",
        "answers": "grammar/1",
    }


def rounded(found: VisiblePattern | PriceLevel) -> VisiblePattern | PriceLevel:
    changes = {"price": round(found.price, 6)}
    if isinstance(found, PriceLevel):
        changes["strength"] = round(found.strength, 6)
    return msgspec.structs.replace(found, **changes)


def test_a_row_whose_answer_the_grammar_cannot_write_ends_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoken(*arguments: object) -> str:
        return 'The trend "rose".'

    monkeypatch.setattr("aiopt.analyst.rule_reader._rationale", spoken)
    with pytest.raises(
        DataError, match=r"train-00000-of-00001\.parquet: Row 0, of bar \d+: answer\.rationale must be text"
    ):
        build_dataset(BARS, tmp_path / "set", DatasetConfig(features=FEATURES, messages_horizon=6, stride=60))
    assert not list((tmp_path / "set").rglob("*.parquet"))


def test_check_finds_the_row_of_an_answer_no_engine_could_give(pictured: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    shutil.copytree(pictured, folder)
    info = read_info(folder)
    assert check_answers(folder) == info.rows
    first = folder / info.files[1].path
    rows = pq.read_table(first)
    messages = rows["messages"].to_pylist()
    answer = messages[2][-1]["content"][0]
    answer["text"] = json.dumps(json.loads(answer["text"]))
    changed = rows.set_column(
        rows.schema.get_field_index("messages"),
        "messages",
        pa.array(messages, rows.schema.field("messages").type),
    )
    pq.write_table(changed, first)
    with pytest.raises(DataError, match=rf"{first.name}, row 2: .*must go on with .* but has"):
        check_answers(folder)
    messages[2] = messages[2][:-1]
    changed = rows.set_column(
        rows.schema.get_field_index("messages"),
        "messages",
        pa.array(messages, rows.schema.field("messages").type),
    )
    pq.write_table(changed, first)
    with pytest.raises(DataError, match=rf"{first.name}, row 2: .*has no answer"):
        check_answers(folder)


def test_check_says_so_where_there_is_no_answer(tmp_path: Path) -> None:
    build_dataset(BARS, tmp_path / "set", DatasetConfig(features=FEATURES, stride=60))
    with pytest.raises(DataError, match="holds no conversations"):
        check_answers(tmp_path / "set")


def test_conversations_without_charts_have_no_image(tmp_path: Path) -> None:
    config = DatasetConfig(features=FEATURES, messages_horizon=6, stride=60)
    build_dataset(BARS, tmp_path / "set", config)
    rows = table(tmp_path / "set", "train")["messages"].to_list()
    assert [[part["type"] for part in message["content"]] for message in rows[0]] == [["text"]] * 3
    assert "bars: 200, numbered 0 to 199" in rows[0][1]["content"][0]["text"]


def test_images_as_files_are_the_embedded_ones(pictured: Path, tmp_path: Path) -> None:
    config = DatasetConfig(
        features=FEATURES,
        images=ImageConfig(store="files", window=60, width=480, height=320, panes=("rsi",)),
        stride=25,
    )
    info = build_dataset(BARS, tmp_path / "files", config)
    found, embedded = table(tmp_path / "files", "test"), table(pictured, "test")
    assert found["image_sha256"].equals(embedded["image_sha256"])
    for row in found.iter_rows(named=True):
        png = (tmp_path / "files" / row["image_file"]).read_bytes()
        assert hashlib.sha256(png).hexdigest() == row["image_sha256"]
    assert len(list((tmp_path / "files" / "charts").iterdir())) == info.rows
    assert "messages" not in found.columns


class Stopped(Exception):
    """Raised in the middle of a build."""


def test_an_interrupted_build_goes_on_where_it_stopped(pictured: Path, tmp_path: Path) -> None:
    drawn: list[int] = []

    def render(stop_at: int | None) -> object:
        def draw(chart: PreparedChart, windows: Sequence[Window]) -> Iterator[bytes]:
            drawn.append(len(windows))
            for number, png in enumerate(render_windows(chart, windows)):
                if number == stop_at:
                    raise Stopped
                yield png

        return draw

    folder = tmp_path / "set"
    with pytest.raises(Stopped):
        build_dataset(BARS, folder, PICTURED, render=render(25))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="its build was not finished"):
        read_info(folder)
    finished = files(folder)
    assert sum(name.startswith("data/") for name in finished) == 2
    info = build_dataset(BARS, folder, PICTURED, render=render(None))  # type: ignore[arg-type]
    done = sum(file.rows for file in info.files[:2])
    assert drawn == [info.rows, info.rows - done]
    assert files(folder) == files(pictured)
    build_dataset(BARS, folder, PICTURED, render=render(0))  # type: ignore[arg-type]
    assert len(drawn) == 2, "a finished dataset draws nothing"


def _build_and_die(folder: Path, after: int) -> None:
    def render(chart: PreparedChart, windows: Sequence[Window]) -> Iterator[bytes]:
        for number, png in enumerate(render_windows(chart, windows)):
            if number == after:
                os.kill(os.getpid(), 9)
            yield png

    build_dataset(BARS, folder, PICTURED, render=render)


@pytest.mark.parametrize("after", [0, 17, 40])
@pytest.mark.slow
def test_a_killed_build_is_finished_by_the_next(pictured: Path, tmp_path: Path, after: int) -> None:
    folder = tmp_path / "set"
    process = multiprocessing.get_context("spawn").Process(target=_build_and_die, args=(folder, after))
    process.start()
    process.join(60)
    assert process.exitcode == -9
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data" / ".train-00000-of-00004.parquet.1234abcd.tmp").write_bytes(b"half")
    build_dataset(BARS, folder, PICTURED)
    assert files(folder) == files(pictured)
    assert not list(folder.rglob("*.tmp"))


def test_a_damaged_file_is_found_and_built_again(pictured: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    info = build_dataset(BARS, folder, PICTURED)
    path = folder / info.files[1].path
    path.write_bytes(path.read_bytes()[:-100])
    (folder / info.files[2].path).unlink()
    problems = verify_files(folder, info)
    assert [problem.split(" ", 1)[1] for problem in problems] == [
        "has another SHA-256 than recorded",
        "is missing",
    ]
    build_dataset(BARS, folder, PICTURED)
    assert files(folder) == files(pictured)


def test_another_dataset_is_not_overwritten(pictured: Path, tmp_path: Path) -> None:
    before = files(pictured)
    with pytest.raises(RunExistsError, match="a dataset of another configuration"):
        build_dataset(BARS, pictured, DatasetConfig(features=FEATURES))
    with pytest.raises(RunExistsError, match="a dataset of other bars"):
        build_dataset(BARS.slice(0, 1_300), pictured, PICTURED)
    assert files(pictured) == before
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunExistsError, match="holds other files"):
        build_dataset(BARS, tmp_path, DatasetConfig(features=FEATURES))
    with pytest.raises(ConfigError, match="a dataset needs a folder"):
        build_dataset(BARS, tmp_path / "notes.txt", DatasetConfig(features=FEATURES))
    with pytest.raises(
        StorageError, match=r"cannot be written: .*notes.txt is a file, not a folder. Choose another"
    ):
        build_dataset(BARS, tmp_path / "notes.txt" / "set", DatasetConfig(features=FEATURES))


def test_two_builds_in_one_folder_do_not_mix(tmp_path: Path) -> None:
    def render(chart: PreparedChart, windows: Sequence[Window]) -> Iterator[bytes]:
        with pytest.raises(DataError, match="Another build is running"):
            build_dataset(BARS, tmp_path / "set", PICTURED)
        return render_windows(chart, windows)

    build_dataset(BARS, tmp_path / "set", PICTURED, render=render)


def test_too_few_bars_say_what_took_them() -> None:
    with pytest.raises(ConfigError, match=r"of 300 bars none is left \(warm_up 300\)"):
        plan_rows(BARS.slice(0, 300), DatasetConfig())
    with pytest.raises(ConfigError, match="validation has none of 164 left after a purge of 24"):
        plan_rows(BARS.slice(0, 300), DatasetConfig(features=FEATURES))


def test_a_purge_shorter_than_the_labels_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match=r"splits\.purge_bars >= 24"):
        DatasetConfig(splits=SplitConfig(purge_bars=5))
    with pytest.raises(ConfigError, match="must be one of the label horizons 6, 12, 24"):
        DatasetConfig(messages_horizon=7)
    with pytest.raises(ConfigError, match=r"'rsi' belongs in `images\.panes`"):
        ImageConfig(overlays=("rsi",))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("{", "is not valid JSON"),
        ('{"schema_version": 99}', "schema_version = 1"),
        ("[]", "schema_version = 1"),
    ],
)
def test_a_document_that_cannot_be_read(tmp_path: Path, change: str, message: str) -> None:
    (tmp_path / "dataset.json").write_text(change)
    with pytest.raises(DataError, match=message):
        read_info(tmp_path)


def test_an_unknown_split_and_an_absent_dataset(pictured: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no split 'dev'"):
        split_files(pictured, "dev")
    with pytest.raises(DataError, match="there is none"):
        read_info(tmp_path)


# Libraries of others look for more than they need and say so.
@pytest.mark.filterwarnings("ignore")
def test_hugging_face_datasets_reads_splits_and_images(
    pictured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets", reason="Hugging Face datasets is not installed")
    datasets.disable_progress_bars()
    loaded = datasets.load_dataset(str(pictured), cache_dir=str(tmp_path))
    info = read_info(pictured)
    assert {name: split.num_rows for name, split in loaded.items()} == {
        name: split.rows for name, split in info.splits.items()
    }
    row = loaded["validation"][0]
    assert row["image"].size == (480, 320)
    assert row["messages"][0]["role"] == "system"
    assert row["label_class_6"] in (-1, 0, 1)
