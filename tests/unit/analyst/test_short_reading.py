"""A reading put together from short answers: what is asked, what it becomes, and when there is none."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aiopt.analyst import AnalysisRequest, AnalysisResult, AnalystSettings, ChatReply, ChatRequest, analyse
from aiopt.analyst.calibrating import Calibrator
from aiopt.analyst.chat import SaidToken
from aiopt.analyst.checkpoint_calibration import (
    CheckpointCalibration,
    TaskCalibration,
    fitting_prompt,
    write_calibration,
)
from aiopt.analyst.generators import GENERATORS, kinds_in_turn
from aiopt.analyst.scans import ScanConfig, load_readings, run_scan
from aiopt.analyst.settings import SHORT_CHART
from aiopt.analyst.short_reading import (
    SHORT_QUESTIONS,
    answer_share,
    parse_choice,
    short_picture,
    short_question,
)
from aiopt.analyst.shown import DEFINITIONS, engulfing_bar, resistance_price, support_price
from aiopt.bars.schema import BarArrays
from aiopt.charts import ChartSpec, render_chart
from aiopt.dataset.judging import Asked, Reading
from aiopt.dataset.judging.calibrated import fit_checkpoint_calibration, short_readings
from aiopt.dataset.tasks.task_config import PictureConfig
from aiopt.dataset.tasks.task_kinds import TASKS, Chart
from aiopt.errors import AnalystError, ConfigError, DataError, EndpointError, ReplyError
from aiopt.testing.bars import random_walk_bar_set, random_walk_bars, write_bar_file
from cluster.cli.main import run
from tests.unit.analyst.endpoints import Answer, completion, serving

SHORT = AnalystSettings(prompts=("short/1",))
HALF = Calibrator(method="isotonic", confidences=(0.0, 1.0), shares=(0.0, 0.5), n=100)


def walk(seed: int, n_bars: int = 120) -> BarArrays:
    return random_walk_bars(n_bars, seed=seed, timeframe="5m")


def engulfed() -> BarArrays:
    return next(bars for seed in range(200) if engulfing_bar(bars := walk(seed)) is not None)


def truth(bars: BarArrays, bias: str = "long") -> dict[str, str]:
    return {name: bias if name == "bias" else DEFINITIONS[name].label(bars) or "" for name in SHORT_QUESTIONS}


class Eyes:
    """A model that gives the answers written down, each said in one token of probability `sure`."""

    def __init__(self, answers: dict[str, Any], sure: float = 0.8) -> None:
        self.answers, self.sure = answers, sure
        self.asked: list[ChatRequest] = []

    async def complete(self, request: ChatRequest) -> ChatReply:
        self.asked.append(request)
        answer = self.answers[request.schema_name]
        if isinstance(answer, Exception):
            raise answer
        text = (
            answer
            if answer.startswith("{")
            else json.dumps({request.schema_name: answer}, separators=(",", ":"))
        )
        first, rest = text[:5], text[5:]
        tokens = (
            SaidToken(first, 0.0),
            SaidToken(rest, math.log(self.sure), tuple(self._others(request, text))),
        )
        return ChatReply(text=text, model_id="eyes", model_revision=self.revision(request), tokens=tokens)

    def revision(self, request: ChatRequest) -> str:
        return "abc"

    def _others(self, request: ChatRequest, text: str) -> list[tuple[str, float]]:
        """The other answers, as likely together as what is left; and something the grammar does not allow."""
        name = request.schema_name
        texts = [json.dumps({name: choice}, separators=(",", ":")) for choice in SHORT_QUESTIONS[name][1]]
        others = [one[5:] for one in texts if one != text]
        return [("no answer", -0.01), *((one, math.log((1 - self.sure) / len(others))) for one in others)]


def read(eyes: Eyes, bars: BarArrays, **request: Any) -> AnalysisResult:
    return asyncio.run(analyse(AnalysisRequest(bars=bars, **request), eyes.complete, SHORT))


def test_the_questions_are_those_of_the_sets_word_by_word_and_picture_by_picture() -> None:
    bars = walk(1)
    eyes = Eyes(truth(bars))
    read(eyes, bars)
    assert [one.schema_name for one in eyes.asked] == list(SHORT_QUESTIONS)
    drawn = PictureConfig(mark_synthetic=False).draw(bars)
    for one in eyes.asked:
        task = TASKS[one.schema_name]
        system, user = task.messages(Chart(bars=bars), numbers=False)
        assert one.messages[0]["content"] == system["content"][0]["text"]
        assert one.messages[1]["content"][1]["text"] == user["content"][1]["text"]
        assert [part["type"] for part in user["content"]] == ["image", "text"]
        assert one.schema == task.schema(len(bars))
        assert (one.likely, one.temperature) == (20, 0)
    assert short_picture(AnalysisRequest(bars=bars)) == drawn
    assert PictureConfig().spec() == SHORT_CHART


def test_true_answers_give_the_true_reading() -> None:
    bars = engulfed()
    place, side = engulfing_bar(bars) or (0, "")
    known = truth(bars) | {"support": "untouched", "resistance": "touched"}
    result = read(Eyes(known, sure=0.8), bars)
    found = result.analysis
    assert (found.source, found.model_id, found.model_revision) == ("model", "eyes", "abc")
    assert (found.prompt_version, found.bias) == ("short/1", "long")
    assert (found.regime.trend, found.regime.volatility) == (known["trend"], known["volatility"])
    levels = {(one.kind, one.strength): one.price for one in found.levels}
    assert levels == {
        ("support", 0.5): pytest.approx(support_price(bars)),
        ("resistance", 1.0): pytest.approx(resistance_price(bars)),
    }
    (pattern,) = found.patterns
    assert (pattern.kind, pattern.first_bar, pattern.last_bar) == (f"{side}_engulfing", place - 1, place)
    assert (pattern.price, pattern.last_ts_ns) == (bars.close[place], bars.ts_open_ns[place])
    parts = found.confidence_parts
    assert parts.stated == pytest.approx(0.8)
    assert found.confidence == pytest.approx(parts.risk * (0.8 + parts.technical) / 2, abs=1e-6)
    assert f"in the {known['highest']} quarter" in found.rationale
    assert [one.ok for one in result.attempts] == [True] * 9


def test_a_broken_level_and_an_engulfing_bar_that_is_not_there_are_left_out() -> None:
    bars = engulfed()
    _, side = engulfing_bar(bars) or (0, "")
    other = "bearish" if side == "bullish" else "bullish"
    found = read(Eyes(truth(bars) | {"support": "broken", "engulfing": other}), bars).analysis
    assert {one.kind for one in found.levels} <= {"resistance"}
    assert found.patterns == ()


@pytest.mark.parametrize(
    ("said", "sure"),
    [
        ([("{", 0.0, []), ('"bias":"long"}', -0.5, [])], 1.0),
        ([('{"bias":"', 0.0, []), ("long", math.log(0.6), [("short", math.log(0.2)), ("!", -0.1)])], None),
        (
            [
                ('{"bias":"', math.log(0.5), [('{ "bias', math.log(0.5))]),
                ("long", math.log(0.6), [("short", math.log(0.2)), ("neutral", math.log(0.2)), ("!", -0.1)]),
                ('"}', -3.0, []),
                ("<|im_end|>", -5.0, [("long", -0.1)]),
            ],
            0.6,
        ),
        ([('{"bias":"', 0.0, []), ("l", -2000.0, [("n", 0.0)]), ('ong"}', 0.0, [])], 0.0),
        ([], None),
    ],
)
def test_how_sure_is_the_share_among_what_the_grammar_allows(said: list[Any], sure: float | None) -> None:
    tokens = [SaidToken(text, share, tuple(others)) for text, share, others in said]
    assert answer_share("bias", '{"bias":"long"}', tokens) == (sure if sure is None else pytest.approx(sure))
    assert answer_share("bias", '{"bias": "long"}', tokens) is None, "not as the grammar writes it"


def test_without_probabilities_a_half_is_stated() -> None:
    bars = walk(2)
    eyes = Eyes(truth(bars))

    async def silent(request: ChatRequest) -> ChatReply:
        return msgspec.structs.replace(await eyes.complete(request), tokens=())

    found = asyncio.run(analyse(AnalysisRequest(bars=bars), silent, SHORT)).analysis
    assert found.confidence_parts.stated == 0.5


class Swapped(Eyes):
    """Another model comes in the middle."""

    def revision(self, request: ChatRequest) -> str:
        return "abc" if request.schema_name != "bias" else "def"


@pytest.mark.parametrize(
    ("answers", "eyes", "asked", "why"),
    [
        ({"bias": '{"bias":"up"}'}, Eyes, 10, "one of long, short, neutral"),
        ({"trend": '{"bias":"long"}'}, Eyes, 10, "must be an object with the key 'trend'"),
        ({"lowest": EndpointError("nobody there")}, Eyes, 9, "nobody there"),
        ({}, Swapped, 9, "Another model was swapped in"),
    ],
)
def test_one_question_without_an_answer_and_the_rules_read(
    answers: dict[str, Any], eyes: Callable[[dict[str, Any]], Eyes], asked: int, why: str
) -> None:
    bars = walk(3)
    model = eyes(truth(bars) | answers)
    result = read(model, bars)
    assert len(model.asked) == asked
    assert result.analysis.source == "rules"
    assert why in result.analysis.fallback_reason
    retried = [one for one in model.asked if len(one.messages) > 2]
    assert all(one.likely == 20 for one in retried)


def test_a_picture_alone_few_bars_and_flat_ones_are_not_asked_about() -> None:
    eyes = Eyes({})
    picture = render_chart(walk(4), SHORT_CHART)
    with pytest.raises(AnalystError, match="the request has a picture alone"):
        asyncio.run(analyse(AnalysisRequest(chart_png=picture), eyes.complete, SHORT))
    assert "asks about 40 bars or more" in read(eyes, walk(4, 39)).analysis.fallback_reason
    assert eyes.asked == []


def test_a_picture_of_the_right_size_is_shown_and_any_other_drawn_again() -> None:
    bars = dataclasses.replace(walk(5), synthetic=False)
    other = render_chart(walk(6), SHORT_CHART)
    large = render_chart(bars, ChartSpec(width=600, height=400, volume=False))
    own = render_chart(bars, SHORT_CHART)
    assert short_picture(AnalysisRequest(bars=bars, chart_png=other)) == other
    assert short_picture(AnalysisRequest(bars=bars, chart_png=large)) == own
    badge = dataclasses.replace(bars, synthetic=True)
    marked = render_chart(badge, SHORT_CHART)
    assert marked != own
    assert short_picture(AnalysisRequest(bars=badge, chart_png=marked)) == own


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prompts": ("short/1", "read/1")}, "must be short/1 alone"),
        ({"prompts": ("short/1",), "picture": False}, "so `picture` must be true"),
        ({"prompts": ("short/1",), "chart": ChartSpec(width=800)}, "Leave `chart` out"),
        ({"prompts": ("short/2",)}, "There is no prompt 'short/2'. Did you mean 'short/1'"),
    ],
)
def test_settings_that_do_not_go_with_short_questions_are_refused(
    changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        AnalystSettings(**changes)
    assert SHORT.chart == SHORT_CHART
    assert AnalystSettings().asking("short/1") == SHORT
    assert AnalystSettings(prompts=("doubt/1",)).asking("short/1").prompts == ("doubt/1",)


def test_an_answer_of_another_form_is_refused() -> None:
    assert parse_choice("trend", '{"trend": "up"}') == "up"
    for text in ("up", "{}", '{"trend":"left"}', '{"trend":"up","more":"x"}', '{"trend":1}'):
        with pytest.raises(ReplyError):
            parse_choice("trend", text)
    assert short_question("trend") == TASKS["trend"].schema(120)


# --- calibration ------------------------------------------------------------------------------------------


def calibration(*tasks: str, revision: str = "abc") -> CheckpointCalibration:
    known = TaskCalibration(calibrator=HALF, n=100, ece_before=0.3, ece_after=0.1)
    return CheckpointCalibration(revision=revision, data="set", tasks=dict.fromkeys(tasks, known))


def answered(wrong: Callable[[int], bool], count: int = 60) -> tuple[list[Asked], list[Reading]]:
    """Planted charts with every short question, and a reader whose bias is wrong where a test says."""
    generator = GENERATORS["templates"]
    asked, readings = [], []
    for number, kind in enumerate(kinds_in_turn(generator, count)):
        case = generator.case(kind, seed=number, noise=1.0)
        for task in SHORT_QUESTIONS:
            known = TASKS[task].answer(Chart(bars=case.bars, case=case))
            assert known is not None
            said = dict(known)
            if task == "bias" and wrong(number):
                said["bias"] = next(one for one in ("long", "short") if one != case.bias)
            one = Asked(
                sample=str(number),
                task=task,
                variant="upright",
                bars=case.bars,
                truth=known,
                source="templates",
                kind=kind,
            )
            text = json.dumps(said, separators=(",", ":"))
            asked.append(one)
            readings.append(
                Reading(sample=one.sample, task=task, variant="upright", answer=text, confidence=0.97)
            )
    return asked, readings


def test_readings_put_together_are_calibrated_by_their_bias() -> None:
    asked, readings = answered(lambda number: number % 3 == 0)
    found = short_readings(asked, readings)
    assert [one.right for one in found] == [number % 3 != 0 for number in range(60)]
    assert {one.analysis.confidence_parts.stated for one in found} == {0.97}
    assert all(one.analysis.levels == one.truth.levels for one in found)
    plain = PictureConfig(mark_synthetic=False)
    fitted = fit_checkpoint_calibration(asked, readings, revision="abc", data="set", pictures=plain)
    assert set(fitted.tasks) == {*SHORT_QUESTIONS, "short/1"}
    assert fitted.tasks["short/1"].calibrator(0.97) == pytest.approx(2 / 3, abs=0.06)
    assert fitted.tasks["short/1"].ece_before == pytest.approx(0.97 - 2 / 3, abs=0.01)
    for pictures in (PictureConfig(), PictureConfig(mark_synthetic=False, width=600), None):
        other = fit_checkpoint_calibration(asked, readings, revision="abc", data="set", pictures=pictures)
        assert "short/1" not in other.tasks, "other pictures than the analyst shows"
    lacking = [one for one in readings if one.task != "highest"]
    assert short_readings(asked, lacking) == []
    unsure = [msgspec.structs.replace(one, confidence=None) for one in readings]
    with pytest.raises(DataError, match="none at all"):
        fit_checkpoint_calibration(asked, unsure, revision="abc", data="set", pictures=plain)


def test_a_map_of_short_readings_is_for_them_alone() -> None:
    bars = walk(7)
    eyes = Eyes(truth(bars))
    request = AnalysisRequest(bars=bars)

    def told(*calibrations: CheckpointCalibration) -> Any:
        work = analyse(request, eyes.complete, SHORT, calibrations=calibrations)
        return asyncio.run(work).analysis

    found = told(calibration("short/1"))
    assert found.confidence < found.confidence_parts.stated == pytest.approx(0.8)
    assert found.calibrated == pytest.approx(0.4, abs=1e-6), "of what is stated, whatever the bars say"
    assert told(calibration("analysis")).calibrated is msgspec.UNSET
    assert told(calibration("short/1", revision="def")).calibrated is msgspec.UNSET


def test_the_prompt_is_the_one_the_checkpoints_are_calibrated_for() -> None:
    assert fitting_prompt([calibration("short/1", "bias")]) == "short/1"
    assert fitting_prompt([]) == "read/1"
    assert fitting_prompt([calibration("short/1", "analysis")]) == "read/1"
    assert fitting_prompt([calibration("short/1"), calibration("analysis")]) == "read/1"


def test_the_command_asks_calibrated_eyes_short_questions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bars = walk(8)
    write_bar_file(bars, tmp_path / "bars.parquet")
    (tmp_path / "eyes").mkdir()
    write_calibration(tmp_path / "eyes", calibration("short/1"))
    known = truth(bars)

    def respond(number: int, payload: dict[str, Any]) -> Answer:
        name = payload["response_format"]["json_schema"]["name"]
        assert (payload["logprobs"], payload["top_logprobs"]) == (True, 20)
        text = json.dumps({name: known[name]}, separators=(",", ":"))
        body = completion(text)
        token = {"token": text, "logprob": -0.2, "top_logprobs": [{"token": "x", "logprob": -3.0}]}
        body["choices"][0]["logprobs"] = {"content": [token]}
        return Answer(body=body, headers={"X-Model-Revision": "abc"})

    with serving(respond) as endpoint:
        words = ["analyst", "read", "--bars", str(tmp_path / "bars.parquet"), "--endpoint", endpoint.url]
        assert run([*words, "--calibration", str(tmp_path / "eyes"), "--out", str(tmp_path / "c.png")]) == 0
        assert len(endpoint.asked) == 9
        shown = capsys.readouterr().out
    assert "Such readings were right" in shown
    assert "Put together from 9 short answers." in " ".join(shown.split())
    assert "stated 1.00" in shown
    scanned = AnalystSettings(endpoint="http://127.0.0.1:1/v1", prompts=("short/1",))
    assert ScanConfig(reader="model", analyst=scanned).draws


def test_a_scan_reads_windows_by_short_questions(tmp_path: Path) -> None:
    series = random_walk_bar_set(300, seed=5)

    def respond(number: int, payload: dict[str, Any]) -> Answer:
        name = payload["response_format"]["json_schema"]["name"]
        text = json.dumps({name: SHORT_QUESTIONS[name][1][0]}, separators=(",", ":"))
        return Answer(body=completion(text), headers={"X-Model-Revision": "abc"})

    with serving(respond) as endpoint:
        analyst = AnalystSettings(endpoint=endpoint.url, prompts=("short/1",))
        run_scan(series, ScanConfig(windows=2, reader="model", analyst=analyst), tmp_path / "scan")
    rows = load_readings(tmp_path / "scan")
    assert [(one.questions, one.prompt_version, one.bias) for one in rows] == [(9, "short/1", "long")] * 2
    assert all(one.image_sha256 for one in rows)
