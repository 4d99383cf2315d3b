"""The whole recipe at a small size: it learns, obeys the grammar, is judged once, and goes on."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import polars as pl
import pytest

pytest.importorskip("torch")

from click.testing import CliRunner

from aiopt.analyst.answers import why_refused
from aiopt.analyst.checkpoint_calibration import read_calibration
from aiopt.dataset.judging import asked_of, looks_at, read_readings
from aiopt.dataset.tasks import read_task_info
from aiopt.dataset.tasks.task_config import DEFAULT_TASKS
from aiopt.errors import ConfigError, RunExistsError
from aiopt.eyes.answering import CheckpointReader
from aiopt.eyes.judged import FORECAST, read_judged
from aiopt.eyes.making import make_eyes, page_of
from aiopt.eyes.recipe import Say
from aiopt.serving.checkpoint.validation import validate
from aiopt.training.watching import read_metrics
from cluster.cli.main import cli
from tests.unit.eyes.made_eyes import quick, write_real_bars

pytestmark = [pytest.mark.slow, pytest.mark.measured]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make eyes by two processes."""
    folder = tmp_path_factory.mktemp("made")
    bars = write_real_bars(folder / "bars")
    make_eyes(quick(), folder / "eyes", bars=bars, processes=2)
    return folder


def test_the_eyes_learn_and_what_they_become_may_be_served(made: Path) -> None:
    rows = read_metrics(made / "eyes/training")
    assert [row.step for row in rows] == list(range(1, 13))
    assert rows[-1].loss < rows[0].loss / 2
    checkpoint = validate(str(made / "eyes/training/checkpoint"))
    assert checkpoint.modality == "images"
    assert 500_000 < checkpoint.parameters < 5_000_000
    card = (made / "eyes/training/checkpoint/README.md").read_text()
    assert page_of(made / "eyes") in card


def test_every_split_is_looked_at_once_and_every_answer_obeys_the_grammar(made: Path) -> None:
    looked = [(one.split, one.reader) for one in looks_at(made / "eyes/data/charts")]
    assert looked == [(split, "eyes, rules, cnn") for split in ("test", "unseen_kinds", "unseen_generators")]
    assert [one.split for one in looks_at(made / "eyes/data/real")] == ["test"]
    for name, split in (("charts", "unseen_generators"), ("real", "test")):
        folder = made / "eyes/data" / name
        info = read_task_info(folder)
        schemas = {one.name: one.answer_schema for one in asked_of(folder, info, split, most=6, controls=2)}
        for who in ("eyes", "cnn"):
            readings = read_readings(made / f"eyes/judged/{name}-{split}-{who}.parquet")
            assert {one.name for one in readings} == set(schemas)
            assert [one for one in readings if why_refused(one.answer, schemas[one.name])] == []


def test_what_came_after_is_answered_by_the_side_alone_and_said_plainly(made: Path) -> None:
    folder = made / "eyes/data/real"
    reader = CheckpointReader(made / "eyes/training/checkpoint")
    asked = list(asked_of(folder, read_task_info(folder), "test", tasks=["forward"], most=6, controls=2))
    as_sides = [dataclasses.replace(one, task="bias", truth={"bias": "neutral"}) for one in asked]
    pictures = read_task_info(folder).config.pictures
    sides = [json.loads(one.answer)["bias"] for one in reader.answers_to(as_sides, pictures)]
    given = pl.read_parquet(made / "eyes/judged/real-test-eyes.parquet").filter(pl.col("task") == "forward")
    assert [json.loads(text)["forward"] for text in given["answer"]] == [FORECAST[side] for side in sides]
    assert "**What came after**" in page_of(made / "eyes")


def test_the_same_command_does_nothing_twice_and_another_recipe_is_refused(made: Path) -> None:
    notes: list[str] = []
    before = (made / "eyes/training/result.json").read_bytes()
    again = make_eyes(quick(), made / "eyes", bars=made / "bars", say=Say(note=notes.append))
    assert (made / "eyes/training/result.json").read_bytes() == before
    assert not [note for note in notes if note.startswith(("First sight", "Judging"))]
    assert [one.eyes.look for one in again] == [1, 1, 1, 1]
    assert len(looks_at(made / "eyes/data/charts")) == 3
    with pytest.raises(RunExistsError, match="eyes of another recipe"):
        make_eyes(quick(seed=9), made / "eyes", bars=made / "bars")


def test_confidence_is_calibrated_on_validation_charts_and_kept_in_the_checkpoint(made: Path) -> None:
    checkpoint = made / "eyes/training/checkpoint"
    found = read_calibration(checkpoint)
    assert found.revision == validate(str(checkpoint)).revision, "the file is no part of the revision"
    assert (found.split, found.data) == ("validation", read_task_info(made / "eyes/data/charts").key)
    assert {task: one.n for task, one in found.tasks.items()} == dict.fromkeys(
        ("trend", "close_position", "bias"), 21
    )
    assert "| confidence of | charts | map | ECE before | ECE after |" in page_of(made / "eyes")
    # Few questions, so there is no whole reading; the answers are kept and not asked for again.
    assert "whole readings" not in page_of(made / "eyes")
    kept = made / "eyes/judged/charts-validation-eyes.parquet"
    assert len(read_readings(kept)) == 63
    trend = [one.calibrated for one in read_judged(made / "eyes")[0].eyes.scores if one.task == "trend"]
    assert trend[0] is not None


def test_the_table_is_shown_by_a_command_and_unfinished_eyes_are_named(made: Path, tmp_path: Path) -> None:
    shown = CliRunner().invoke(cli, ["eyes", "show", str(made / "eyes")])
    assert shown.exit_code == 0, shown.output
    assert shown.output == page_of(made / "eyes")
    for heading in ("Kinds of patterns it never saw", "A generator it never saw", "Real charts"):
        assert heading in shown.output
    with pytest.raises(ConfigError, match="holds no finished eyes"):
        page_of(tmp_path)


def test_the_last_chart_of_bars_is_read_by_a_command(made: Path) -> None:
    words = ["eyes", "read", str(made / "eyes/training/checkpoint"), str(made / "bars/EURUSD/1h")]
    shown = CliRunner().invoke(cli, [*words, "--json"])
    assert shown.exit_code == 0, shown.output
    rows = {row["task"]: row for row in json.loads(shown.stdout)["readings"]}
    # Where a pattern lies is no answer of a few words: an engine is asked for it.
    assert set(rows) == set(DEFAULT_TASKS) - {"pattern"}
    assert rows["bias"]["answer"] in ("long", "short", "neutral")
    assert 1 / 3 <= rows["bias"]["sure"] <= 1
    wrong = CliRunner().invoke(cli, [*words, "--task", "trends"])
    assert wrong.exit_code != 0
    assert "There is no task 'trends'" in str(wrong.exception or wrong.output)
