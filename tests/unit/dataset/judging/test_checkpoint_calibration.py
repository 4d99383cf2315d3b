"""The calibration of a checkpoint: fitted on validation, kept beside the weights, used for it alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aiopt.analyst import AnalysisRequest, AnalysisResult, AnalystSettings, analyse
from aiopt.analyst.answers import answer_text
from aiopt.analyst.chat import ChatReply, ChatRequest
from aiopt.analyst.checkpoint_calibration import (
    CALIBRATION_FILE,
    CheckpointCalibration,
    calibrated,
    read_calibration,
    write_calibration,
)
from aiopt.analyst.rules_calibration import calibrated_confidence
from aiopt.analyst.scans import ScanConfig, load_readings, run_scan
from aiopt.dataset.judging import Asked, Reading, asked_of
from aiopt.dataset.judging.calibrated import fit_checkpoint_calibration
from aiopt.dataset.tasks import GeneratorSource, TaskSetConfig, build_tasks, read_task_info
from aiopt.errors import ConfigError, DataError
from aiopt.serving.checkpoint.tiny_minicpm import build_checkpoint
from aiopt.serving.checkpoint.validation import validate
from aiopt.testing.bars import random_walk_bar_set, random_walk_bars
from cluster.cli.main import run
from tests.unit.analyst.endpoints import Answer, completion, serving
from tests.unit.analyst.test_analyst_client import VALID

REQUEST = AnalysisRequest(bars=random_walk_bars(120, seed=1, timeframe="5m"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets") / "tasks"
    sources = (GeneratorSource(name="templates", charts=400),)
    build_tasks(TaskSetConfig(sources=sources, tasks=("bias", "analysis"), seed=4), folder)
    return folder


def questions(data: Path, split: str = "validation") -> list[Asked]:
    return list(asked_of(data, read_task_info(data), split, controls=0))


def too_sure(asked: list[Asked], seed: int = 1) -> list[Reading]:
    """A reader that is right three times of five whenever it says 95 %, and nine of ten at 99 %."""
    rng = np.random.default_rng(seed)
    found = []
    for one in asked:
        if one.task != "bias":
            continue
        said = float(rng.choice([0.95, 0.99]))
        right = rng.random() < (0.6 if said == 0.95 else 0.9)
        bias = one.truth["bias"] if right else next(b for b in ("long", "short") if b != one.truth["bias"])
        found.append(
            Reading(
                sample=one.sample,
                task="bias",
                variant="upright",
                answer=f'{{"bias":"{bias}"}}',
                confidence=said,
            )
        )
    return found


def fitted(data: Path, revision: str = "abc") -> CheckpointCalibration:
    """A calibration whose readings (the task `analysis`) are right in 60 of 100 however sure they are."""
    asked = [one for one in questions(data) if one.task == "analysis"]
    readings = []
    for number, one in enumerate(asked):
        right = number % 5 < 3
        bias = one.truth["bias"] if right else next(b for b in ("long", "short") if b != one.truth["bias"])
        answer = json.loads(VALID) | {"bias": bias, "confidence": 0.9}
        text = answer_text(answer, one.answer_schema)
        readings.append(Reading(sample=one.sample, task="analysis", variant="upright", answer=text))
    return fit_checkpoint_calibration(asked, readings, revision=revision, data="set")


def test_a_reader_too_sure_of_itself_is_brought_down(data: Path) -> None:
    asked = questions(data)
    found = fit_checkpoint_calibration(asked, too_sure(asked), revision="abc", data="set")
    bias = found.tasks["bias"]
    assert (found.revision, found.data, found.split, bias.n) == ("abc", "set", "validation", 60)
    assert bias.ece_before > 0.15
    assert bias.ece_after < bias.ece_before / 1.5
    assert bias.calibrator(0.95) < bias.calibrator(0.99) < 0.97
    assert list(found.tasks) == ["bias"], "no reading was given, so none is calibrated"
    # On charts it was not fitted on it holds.
    test = questions(data, "test")
    said = {one.name: one for one in too_sure(test, seed=2)}
    told = [bias.calibrator(one.confidence or 0.0) for one in said.values()]
    assert abs(np.mean(told) - 0.75) < 0.1


def test_a_readings_confidence_is_the_one_the_analyst_gives_it(data: Path) -> None:
    found = fitted(data)
    reading = found.tasks["analysis"]
    assert reading.n == 60
    assert 0.5 < reading.calibrator(0.6) < 0.7
    # What the grammar or the facts of the chart refuse has no confidence to calibrate.
    asked = [one for one in questions(data) if one.task == "analysis"]
    wrong = [Reading(sample=o.sample, task="analysis", variant="upright", answer="{}") for o in asked]
    with pytest.raises(DataError, match=r"fitted on 20 answers that say how sure they are, but got none"):
        fit_checkpoint_calibration(asked, wrong, revision="abc", data="set")


async def _said(request: ChatRequest) -> ChatReply:
    return ChatReply(text=VALID, model_id="tiny", model_revision="abc")


async def _no_reply(request: ChatRequest) -> ChatReply:
    raise TimeoutError("too slow")


def read(complete: Any, *calibrations: CheckpointCalibration) -> AnalysisResult:
    import asyncio

    return asyncio.run(analyse(REQUEST, complete, AnalystSettings(), calibrations=calibrations))


def test_it_is_applied_where_that_revision_answers_and_nowhere_else(data: Path) -> None:
    mine, other = fitted(data, "abc"), fitted(data, "def")
    plain = read(_said)
    found = read(_said, other, mine)
    assert found.analysis.calibrated == round(mine.tasks["analysis"].calibrator(plain.analysis.confidence), 6)
    assert found.analysis.confidence == plain.analysis.confidence, "beside the reading, never in it"
    assert read(_said, other) == plain
    assert "calibrated" not in json.dumps(__import__("msgspec").to_builtins(plain.analysis))
    # Rules that stand in for the model are not the model.
    rules = read(_no_reply, mine).analysis
    assert rules.source == "rules"
    assert rules.calibrated == pytest.approx(calibrated_confidence(rules), abs=1e-6)
    assert calibrated(plain.analysis, [other]) is None


def test_a_scan_fills_its_column_and_is_another_scan_with_it(data: Path, tmp_path: Path) -> None:
    bars = random_walk_bar_set(300, seed=5)
    answer = Answer(body=completion(VALID), headers={"X-Model-Id": "tiny", "X-Model-Revision": "abc"})
    with serving(lambda n, p: answer) as endpoint:
        analyst = AnalystSettings(endpoint=endpoint.url, picture=False)
        plain = ScanConfig(windows=3, reader="model", analyst=analyst)
        run_scan(bars, plain, tmp_path / "plain")
        with_map = ScanConfig(windows=3, reader="model", analyst=analyst, calibrations=(fitted(data),))
        run_scan(bars, with_map, tmp_path / "calibrated")
        with pytest.raises(Exception, match="holds a scan with other calibrations"):
            run_scan(bars, with_map, tmp_path / "plain")
    assert [one.calibrated for one in load_readings(tmp_path / "plain")] == [None] * 3
    told = fitted(data).tasks["analysis"].calibrator
    for one in load_readings(tmp_path / "calibrated"):
        assert one.confidence is not None
        assert one.calibrated == pytest.approx(told(one.confidence))


def test_the_file_lies_in_the_checkpoint_and_changes_no_revision(data: Path, tmp_path: Path) -> None:
    folder = build_checkpoint(tmp_path / "tiny", seed=1)
    before = validate(folder).revision
    found = fitted(data, before)
    assert write_calibration(folder, found) == folder / CALIBRATION_FILE
    assert validate(folder).revision == before
    assert read_calibration(folder) == read_calibration(folder / CALIBRATION_FILE) == found
    with pytest.raises(DataError, match=r"there is no aiopt_calibration.json. Make it with `aiopt model cal"):
        read_calibration(data)
    (folder / CALIBRATION_FILE).write_text('{"revision": "x", "split": "test", "data": "", "tasks": {}}')
    with pytest.raises(DataError, match="test"):
        read_calibration(folder)
    (folder / CALIBRATION_FILE).write_text("{")
    with pytest.raises(DataError, match="not valid JSON"):
        read_calibration(folder)


def test_the_command_asks_the_served_checkpoint_and_refuses_another(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = build_checkpoint(tmp_path / "tiny", seed=1)
    revision = validate(folder).revision

    def respond(number: int, payload: dict[str, Any]) -> Answer:
        text = VALID if payload["response_format"]["json_schema"]["name"] == "analysis" else '{"bias":"long"}'
        return Answer(body=completion(text), headers={"X-Model-Revision": served})

    arguments = ["model", "calibrate", str(folder), "--data", str(data), "--endpoint"]
    served = "another"
    with serving(respond) as endpoint:
        assert run([*arguments, endpoint.url]) == 2
        assert f"revision {revision[:12]}, but another answered as minicpm" in capsys.readouterr().err
        assert not (folder / CALIBRATION_FILE).exists()
        served = revision
        assert run([*arguments, endpoint.url, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["file"] == str(folder / CALIBRATION_FILE)
    assert list(document["calibration"]["tasks"]) == ["analysis"]
    found = read_calibration(folder)
    assert (found.revision, found.data) == (revision, read_task_info(data).key)


def test_a_model_that_does_not_name_itself_cannot_be_calibrated(data: Path, tmp_path: Path) -> None:
    from cluster.cli.model_calibrate import _ask

    with serving(lambda n, p: Answer(body=completion(VALID))) as endpoint:
        asked = questions(data)[:2]
        with pytest.raises(ConfigError, match="one without a revision answered"):
            _ask(asked, read_task_info(data), endpoint.url, "minicpm", "abc")


def test_without_an_endpoint_this_process_reads(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A real checkpoint, whose confidence is the share of its answer among those the grammar allows."""
    pytest.importorskip("torch")
    folder = build_checkpoint(tmp_path / "tiny", seed=1)
    arguments = ["model", "calibrate", str(folder), "--data", str(data), "--charts", "24", "--json"]
    assert run(arguments) == 0
    found = read_calibration(folder)
    assert list(found.tasks) == ["bias"]
    assert found.tasks["bias"].n == 24
    assert json.loads(capsys.readouterr().out)["file"] == str(folder / CALIBRATION_FILE)
