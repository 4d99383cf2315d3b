"""Scores of readers whose quality is known, and statistics against known values."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from click.testing import CliRunner

from aiopt.analyst import (
    Analysis,
    AnalysisRequest,
    AnalysisResult,
    ConfidenceParts,
    Regime,
    VisiblePattern,
    analyse,
)
from aiopt.analyst.eval_cases import planted_charts
from aiopt.analyst.evaluating import Answer, EvalCase, Scores, ask_all, baselines, score
from aiopt.analyst.scoring import calibration, wilson
from aiopt.analyst.settings import AnalystSettings
from aiopt.bars.files import write_bars
from aiopt.bars.schema import BarMeta
from aiopt.cli.analyst import command
from aiopt.errors import MetricInputError
from aiopt.testing.bars import random_walk_bars
from tests.unit.analyst.endpoints import Answer as HttpAnswer
from tests.unit.analyst.endpoints import completion, serving

CASES = planted_charts(45, 3, 1.0, AnalystSettings())
BY_REQUEST = {id(case.request): case for case in CASES}


def said(bias: Any, confidence: float, *, source: Any = "model", patterns: Any = ()) -> AnalysisResult:
    parts = ConfidenceParts(stated=confidence, technical=0.5, risk=1.0, agreement=1.0)
    return AnalysisResult(
        analysis=Analysis(
            regime=Regime("up", "normal"),
            patterns=patterns,
            bias=bias,
            levels=(),
            confidence=confidence,
            confidence_parts=parts,
            rationale="",
            source=source,
            model_id="x",
        )
    )


def scores_of(reader: Any, *, model: bool = True) -> Scores:
    answers, readings = asyncio.run(ask_all(CASES, reader, model=model))
    return score("x", CASES, answers, readings, seed=1)


async def perfect(request: AnalysisRequest) -> AnalysisResult:
    case = BY_REQUEST[id(request)]
    if case.variant == "shuffled":
        return said("neutral", 0.1)
    patterns = ()
    if case.kind != "none":
        patterns = (
            VisiblePattern(kind=case.kind, first_bar=case.first_bar, last_bar=case.last_bar, price=1.1),
        )
    return said(case.bias, 1.0, patterns=patterns)


async def always_long(request: AnalysisRequest) -> AnalysisResult:
    return said("long", 0.9)


async def silent(request: AnalysisRequest) -> AnalysisResult:
    return said(BY_REQUEST[id(request)].bias, 0.9, source="rules")


def test_a_perfect_reader_scores_everything() -> None:
    found = scores_of(perfect)
    for name in ("valid", "bias", "named", "mirror", "blank_neutral"):
        assert getattr(found, name).value == 1.0, name
    assert found.named_by_chance == 0.0
    assert found.shuffled.value == pytest.approx(1 / 3)
    assert found.long_share.value == 0.5
    assert (found.calibration.ece, found.calibration.brier) == (0.0, 0.0)
    assert found.confusion == {"long": {"long": 15}, "short": {"short": 15}, "neutral": {"neutral": 15}}
    assert set(found.kinds) == {case.kind for case in CASES if case.variant == "upright"} - {"none"}


def test_a_reader_that_always_says_long_is_no_better_than_chance_and_leans() -> None:
    found = scores_of(always_long)
    assert found.bias.value == pytest.approx(baselines(CASES)["majority"]) == pytest.approx(1 / 3)
    assert found.mirror.value == 0.0
    assert found.long_share.low > 0.5
    assert found.blank_neutral.value == 0.0
    assert found.calibration.ece == pytest.approx(0.9 - 1 / 3)
    assert found.calibration.brier is not None
    assert found.calibration.brier_base is not None
    assert found.calibration.brier > found.calibration.brier_base


def test_answers_of_the_rules_in_a_models_place_do_not_count_for_the_model() -> None:
    found = scores_of(silent)
    assert found.valid.successes == found.bias.successes == found.named.successes == 0
    assert found.confusion["long"] == {"invalid": 15}
    assert found.calibration.n == 0
    assert sum(found.errors.values()) == len(CASES)
    assert scores_of(silent, model=False).bias.value == 1.0


def test_the_rules_read_planted_charts_better_than_chance_and_without_a_lean() -> None:
    async def rules(request: AnalysisRequest) -> AnalysisResult:
        return await analyse(request, None)

    found = scores_of(rules, model=False)
    assert found.bias.low > 1 / 3
    assert found.named_by_chance is not None
    assert found.named.low > found.named_by_chance
    assert found.mirror.low > 0.9
    assert found.long_share.low < 0.5 < found.long_share.high


def test_wilson_against_published_values() -> None:
    # Newcombe (1998), Statistics in Medicine 17, table I, method 3
    for successes, n, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)):
        share = wilson(successes, n)
        assert (share.low, share.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))
    assert wilson(29, 29).high == 1.0
    assert wilson(0, 0) == wilson(0, 0).__class__(0, 0, None, 0.0, 1.0)
    with pytest.raises(MetricInputError, match="`0 <= successes <= n`"):
        wilson(3, 2)


def test_calibration_by_hand() -> None:
    found = calibration([0.1, 0.1, 0.9, 1.0], [False, True, True, True], bins=2)
    assert [(part.n, part.accuracy) for part in found.bins] == [(2, 0.5), (2, 1.0)]
    assert found.ece == pytest.approx(0.5 * 0.4 + 0.5 * 0.05)
    assert found.brier == pytest.approx((0.01 + 0.81 + 0.01 + 0.0) / 4)
    assert found.brier_base == pytest.approx(0.75 * 0.25)
    assert calibration([], []).ece is None
    with pytest.raises(MetricInputError, match="must pair up"):
        calibration([0.5], [])
    with pytest.raises(MetricInputError, match="confidence <= 1"):
        calibration([1.5], [True])


# --- command line -----------------------------------------------------------------------------------------


@pytest.fixture
def bar_file(tmp_path: Path) -> Path:
    bars = random_walk_bars(600, seed=1, timeframe="5m")
    names = ("ts_open_ns", "open", "high", "low", "close", "volume")
    frame = pl.DataFrame({name: getattr(bars, name) for name in names}).with_columns(
        ticks=pl.lit(1, pl.Int64)
    )
    meta = BarMeta(instrument="EURUSD", timeframe="5m", price="bid", data_hash=bars.data_hash, synthetic=True)
    path = tmp_path / "bid.parquet"
    write_bars(path, frame, meta)
    return path


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_eval_prints_one_document_and_writes_a_page(tmp_path: Path) -> None:
    page = tmp_path / "e.html"
    result = invoke("eval", "--cases", 9, "--html", page, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["scores"][0]["reader"] == "rules"
    assert document["scores"][0]["bias"]["n"] == 9
    assert document["baselines"]["majority"] == pytest.approx(1 / 3)
    assert "<svg" in page.read_text()
    assert "http" not in page.read_text().replace("http-equiv", "")
    again = json.loads(invoke("eval", "--cases", 9, "--json").stdout)
    assert again == document


def model_says(number: int, payload: dict[str, Any]) -> HttpAnswer:
    """A weak model: always long, and every fifth reply is garbage, twice in a row."""
    if "not valid" in str(payload["messages"][-1]["content"]) or number % 5 == 0:
        return HttpAnswer(body=completion("I think it goes up."))
    reply = {
        "regime": {"trend": "up", "volatility": "normal"},
        "patterns": [],
        "levels": [],
        "bias": "long",
        "confidence": 0.9,
        "rationale": "Up.",
    }
    return HttpAnswer(body=completion(msgspec.json.encode(reply).decode()))


def test_eval_of_a_weak_model_says_what_it_is(bar_file: Path) -> None:
    with serving(model_says) as endpoint:
        result = invoke("eval", "--cases", 30, "--endpoint", endpoint.url, "--model", "weak")
        assert result.exit_code == 0, result.output
        assert "leans long" in result.stdout
        assert "answers were not valid" in result.stdout
        assert "The rules read better than weak." in result.stdout
        pictures = [payload["messages"][1]["content"][0]["type"] for payload in endpoint.asked]
        assert set(pictures) == {"image_url"}
        real = invoke("eval", "--cases", 6, "--bars", bar_file, "--endpoint", endpoint.url, "--json")
    assert real.exit_code == 0, real.output
    document = json.loads(real.stdout)
    assert [(one["reader"], one["circular"]) for one in document["scores"]] == [
        ("minicpm", False),
        ("rules", True),
    ]
    assert any("would be circular" in note for note in document["notes"])


def test_eval_of_the_rules_on_real_bars_is_called_circular_and_looks_at_what_came_next(
    bar_file: Path,
) -> None:
    result = invoke("eval", "--cases", 50, "--bars", bar_file)
    assert result.exit_code == 0, result.output
    text = " ".join(result.stdout.split())
    assert text.count("circular") >= 6
    assert "next 30 bars went that way" in text
    assert "bias not judged" in text
    document = json.loads(invoke("eval", "--cases", 50, "--bars", bar_file, "--json").stdout)
    [scores] = document["scores"]
    assert scores["bias"]["n"] == (600 - 30) // (120 + 30), "windows share no bar"


def test_following_is_counted_by_side_and_move() -> None:
    case = CASES[0]
    moves = [1.0, -1.0, 0.0]
    cases = [dataclasses.replace(case, number=i, move=move) for i, move in enumerate(moves)]
    answers, readings = asyncio.run(ask_all(cases, always_long, model=True))
    assert [answer.followed for answer in answers] == [True, False, None]
    found = score("x", cases, answers, readings, seed=1)
    assert (found.followed.successes, found.followed.n) == (1, 2)


def test_eval_of_a_model_that_never_answers_says_why_and_ends_well() -> None:
    with serving(lambda n, p: HttpAnswer(401, b"no token")) as endpoint:
        result = invoke("eval", "--cases", 3, "--endpoint", endpoint.url)
    assert result.exit_code == 0, result.output
    text = " ".join(result.stdout.split())
    assert "minicpm: no valid answer, so there is nothing to score." in text
    assert "answered 401: no token" in text
    assert "worse than guessing" not in text


def test_read_by_rules_and_by_a_model(bar_file: Path, tmp_path: Path) -> None:
    chart = tmp_path / "c.png"
    result = invoke("read", "--bars", bar_file, "--out", chart, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["analysis"]["source"] == "rules"
    assert chart.read_bytes().startswith(b"\x89PNG")
    text = invoke("read", "--bars", bar_file, "--window", 60).stdout
    assert "Read by rules, revision rules/2." in text
    assert "Bias" in text
    with serving(lambda n, p: model_says(1, p)) as endpoint:
        by_model = invoke("read", "--png", chart, "--endpoint", endpoint.url, "--json")
        blind = invoke("read", "--bars", bar_file, "--endpoint", endpoint.url, "--no-picture", "--json")
    assert json.loads(by_model.stdout)["analysis"]["bias"] == "long"
    assert json.loads(blind.stdout)["analysis"]["source"] == "model"
    assert isinstance(endpoint.asked[-1]["messages"][1]["content"], str)


def test_numbers_can_be_left_out_of_the_question(bar_file: Path) -> None:
    with serving(lambda n, p: model_says(1, p)) as endpoint:
        assert invoke("read", "--bars", bar_file, "--endpoint", endpoint.url, "--no-numbers").exit_code == 0
    text = endpoint.asked[0]["messages"][1]["content"][1]["text"]
    assert "bars: 120" in text
    assert "last bars" not in text
    assert "RSI" not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("read",), "There is nothing to read"),
        (("read", "--png", "x.png"), "reads bars, not pictures"),
        (
            ("read", "--png", "x.png", "--endpoint", "http://127.0.0.1:9/v1"),
            "x.png: Cannot read the chart",
        ),
        (("read", "--bars", "nothere"), "nothere"),
        (("eval", "--model", "m"), "`--model` needs an endpoint"),
        (("eval", "--bars", "nothere"), "nothere"),
        (("eval", "--noise", "-1"), "`0 <= noise <= 10`"),
        (("eval", "--endpoint", "nonsense"), "must be a URL like"),
        (
            ("eval", "--endpoint", "http://x/v1", "--no-picture", "--no-numbers"),
            "needs the picture or the numbers",
        ),
    ],
)
def test_bad_input_is_named(arguments: tuple[str, ...], message: str) -> None:
    result = invoke(*arguments)
    assert result.exception is not None
    assert message in str(result.exception)
    assert getattr(result.exception, "exit_code", None) == 2


def test_answers_and_cases_are_plain_records() -> None:
    case: EvalCase = CASES[0]
    answers, _ = asyncio.run(ask_all([case], perfect, model=True))
    assert isinstance(answers[0], Answer)
    assert msgspec.json.decode(msgspec.json.encode(answers[0]), type=Answer) == answers[0]
