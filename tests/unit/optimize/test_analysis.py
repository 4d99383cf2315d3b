"""The analysis stage on a made-up run folder: what is read, what is kept, what the report says."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from aiopt.analyst import Analysis, AnalysisResult, AnalystSettings, ConfidenceParts, Regime
from aiopt.analyst.record import ReadChart, RunAnalyses, opinions
from aiopt.analyst.windows import window_before
from aiopt.bars.schema import BarSet
from aiopt.errors import ConfigError
from aiopt.evaluation.folds import WalkForwardConfig, plan_walk_forward
from aiopt.market.instrument import instrument
from aiopt.optimize.analysis import analyse_run, proposed_strategies
from aiopt.optimize.configuration import (
    AnalysisConfig,
    OptimizeConfig,
    default_run_id,
    load_strategies,
    run_identity,
)
from aiopt.report import write_report
from aiopt.runs import ANALYSES, PROPOSALS, load_run
from aiopt.sweep.points import plan_points
from aiopt.testing.bars import random_walk_bars
from aiopt.testing.run_folder import FIRST_DAY, RunModel, write_run_folder
from tests.unit.analyst.endpoints import Answer, completion, serving

DAY_NS = 86_400_000_000_000
VALID = msgspec.json.encode(
    {
        "regime": {"trend": "down", "volatility": "low"},
        "patterns": [],
        "levels": [],
        "bias": "short",
        "confidence": 0.5,
        "rationale": "Falling <b>fast</b>.",
    }
).decode()


def bar_set(timeframe: str = "5m", n_bars: int = 5700) -> BarSet:
    bid = random_walk_bars(n_bars, seed=4, timeframe=timeframe)
    first_ns = (FIRST_DAY.toordinal() - 719_163) * DAY_NS
    bid = dataclasses.replace(bid, ts_open_ns=bid.ts_open_ns - bid.ts_open_ns[0] + first_ns)
    higher = {name: getattr(bid, name) + 0.00005 for name in ("open", "high", "low", "close")}
    ask = dataclasses.replace(bid, price="ask", **higher)
    return BarSet(
        instrument=instrument("EURUSD"),
        timeframe=bid.timeframe,
        bid=bid,
        ask=ask,
        single_price=False,
        data_hash=bid.data_hash,
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run_folder(
        tmp_path_factory.mktemp("run") / "run", RunModel(timeframes=("5m",), trials=12, skill=0.5)
    )


@pytest.fixture
def run_dir(source: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(source, tmp_path / "run"))


BARS = {"5m": bar_set()}


def analyses_of(run_dir: Path) -> RunAnalyses:
    found = load_run(run_dir).analyses
    assert found is not None
    return found


def test_markets_and_evenly_spaced_trades_are_read_without_the_bars_after_entry(run_dir: Path) -> None:
    found = analyse_run(run_dir, AnalysisConfig(trades=3), BARS)
    entries = load_run(run_dir).entries
    assert entries
    kinds = [chart.kind for chart in found.charts]
    assert kinds[0] == "market"
    assert kinds.count("trade") == 3 * len(entries)
    for chart in found.charts[1:]:
        assert chart.entry_ts_ns is not None
        closed = chart.last_ts_ns + BARS["5m"].timeframe.ns
        assert closed <= chart.entry_ts_ns < closed + 3 * DAY_NS
        assert (run_dir / chart.picture).read_bytes().startswith(b"\x89PNG")
        assert chart.result.analysis.source == "rules"
    assert [opinion.rank for opinion in found.opinions] == [entry.rank for entry in entries]
    assert sorted(opinion.analyst_rank for opinion in found.opinions) == [entry.rank for entry in entries]
    assert analyses_of(run_dir) == found


def test_the_same_run_gives_the_same_bytes_also_when_interrupted(run_dir: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(run_dir, tmp_path / "other"))
    analyse_run(run_dir, AnalysisConfig(), BARS)

    def interrupt(done: float, total: float) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        analyse_run(other, AnalysisConfig(), BARS, progress=interrupt)
    assert len(analyses_of(other).charts) == 3
    seen: list[float] = []
    analyse_run(other, AnalysisConfig(), BARS, progress=lambda done, total: seen.append(done))
    assert min(seen) == 4, "what was read is not read again"
    assert (run_dir / ANALYSES).read_bytes() == (other / ANALYSES).read_bytes()
    charts = sorted(path.name for path in (run_dir / "charts").iterdir())
    assert charts == sorted(path.name for path in (other / "charts").iterdir())
    for name in charts:
        assert (run_dir / "charts" / name).read_bytes() == (other / "charts" / name).read_bytes()
    pages = [write_report(folder).read_text() for folder in (run_dir, other)]
    assert pages[0] == pages[1]


def test_the_report_shows_pictures_and_both_orders_and_no_score_changes(run_dir: Path) -> None:
    without = write_report(run_dir).read_text()
    before = json.loads((run_dir / "report.json").read_bytes())
    analyse_run(run_dir, AnalysisConfig(trades=2), BARS)
    page = write_report(run_dir).read_text()
    after = json.loads((run_dir / "report.json").read_bytes())
    assert 'id="analyst"' not in without
    assert page.count("data:image/png;base64,iVBOR") == len(analyses_of(run_dir).charts)
    assert "not out-of-sample evidence" in page
    assert after.pop("analyst")["opinions"]
    assert before.pop("analyst") is None
    assert after == before


def test_a_model_reads_the_pictures_and_a_second_call_asks_nothing(run_dir: Path) -> None:
    with serving(lambda n, p: Answer(body=completion(VALID))) as endpoint:
        config = AnalysisConfig(trades=1, reader=AnalystSettings(endpoint=endpoint.url))
        found = analyse_run(run_dir, config, BARS)
        asked = len(endpoint.asked)
        analyse_run(run_dir, config, BARS)
    assert asked == len(endpoint.asked) == len(found.charts)
    assert {chart.result.analysis.source for chart in found.charts} == {"model"}
    content = endpoint.asked[0]["messages"][1]["content"]
    assert content[0]["type"] == "image_url"
    assert (run_dir / found.charts[0].seen).is_file()
    page = write_report(run_dir).read_text()
    assert "Falling &lt;b&gt;fast&lt;/b&gt;." in page, "what a model says is text, never markup"


def test_without_an_answer_the_rules_read_and_the_report_says_so(run_dir: Path) -> None:
    with serving(lambda n, p: Answer(500, b"out of memory")) as endpoint:
        config = AnalysisConfig(trades=1, reader=AnalystSettings(endpoint=endpoint.url, retries=0))
        found = analyse_run(run_dir, config, BARS)
    assert {chart.result.analysis.source for chart in found.charts} == {"rules"}
    assert "out of memory" in write_report(run_dir).read_text()


def test_nothing_to_read_is_no_error(run_dir: Path) -> None:
    short = {"5m": bar_set(n_bars=30)}
    found = analyse_run(run_dir, AnalysisConfig(), short)
    assert found.charts == ()
    assert all(opinion.agreement is None for opinion in found.opinions)


def plan_of(bars: dict[str, BarSet]) -> Any:
    return plan_walk_forward(WalkForwardConfig(), bars["5m"].bid.ts_open_ns)


def test_proposals_read_the_first_train_window_alone_and_become_trials(tmp_path: Path) -> None:
    config = OptimizeConfig(timeframes=("5m",), strategies=("rsi_reversion", "ema_cross_atr"), trials=7)
    strategies = load_strategies(config)
    analysis = AnalysisConfig(proposals=True, proposal_trials=5)
    plan = plan_of(BARS)
    proposed = proposed_strategies(tmp_path, analysis, strategies, BARS, plan)
    assert [strategy.family for strategy in proposed] == [
        "proposed_5m",
        "rsi_reversion_near_5m",
        "ema_cross_atr_near_5m",
    ]
    document = json.loads((tmp_path / PROPOSALS).read_bytes())
    assert document["read_until_ns"] == plan.boundaries_ns[plan.config.train_segments]
    points = plan_points([*strategies, *proposed], config)
    counts = {family: sum(point.family == family for point in points) for family in ("rsi_reversion",)}
    assert counts == {"rsi_reversion": 7}
    assert len(points) == 2 * 7 + 3 * 5
    assert len({point.trial_id for point in points}) == len(points)

    # Whatever comes after the first train window cannot change a proposal.
    changed = np.flatnonzero(BARS["5m"].bid.ts_open_ns >= document["read_until_ns"])[0]
    other = bar_set()
    sides = {}
    for side in ("bid", "ask"):
        arrays = getattr(other, side)
        parts = {name: getattr(arrays, name).copy() for name in ("open", "high", "low", "close")}
        for values in parts.values():
            values[changed:] *= 1.5
        sides[side] = dataclasses.replace(arrays, **parts)
    later = {"5m": dataclasses.replace(other, **sides)}
    (tmp_path / "other").mkdir()
    proposed_strategies(tmp_path / "other", analysis, strategies, later, plan)
    assert (tmp_path / PROPOSALS).read_bytes() == (tmp_path / "other" / PROPOSALS).read_bytes()


def test_a_resumed_run_sweeps_what_it_proposed_first(tmp_path: Path) -> None:
    config = OptimizeConfig(timeframes=("5m",), strategies=("rsi_reversion",))
    strategies = load_strategies(config)
    analysis = AnalysisConfig(proposals=True)
    first = proposed_strategies(tmp_path, analysis, strategies, BARS, plan_of(BARS))
    again = proposed_strategies(tmp_path, analysis, strategies, {}, plan_of(BARS))
    assert again == first


def test_a_strategy_tried_on_one_timeframe_only_and_with_its_own_number_of_points() -> None:
    config = OptimizeConfig(timeframes=("1m", "5m"), strategies=("rsi_reversion",), trials=3)
    [strategy] = load_strategies(config)
    own = msgspec.structs.replace(strategy, timeframes=("5m",), trials=2)
    assert [point.timeframe for point in plan_points([own], config)] == ["5m", "5m"]


def test_the_address_of_a_model_is_not_part_of_a_runs_identity_but_what_it_is_asked_is() -> None:
    def name(**reader: Any) -> str:
        config = OptimizeConfig(analysis=AnalysisConfig(reader=AnalystSettings(**reader)))
        return default_run_id(run_identity(config, load_strategies(config), "data"))

    assert name(endpoint="http://a/v1") == name(endpoint="http://b/v1", timeout_s=5.0, concurrency=9)
    assert len({name(), name(endpoint="http://a/v1"), name(models=("other",)), name(bars=50)}) == 4


def test_bad_settings_are_named() -> None:
    with pytest.raises(ConfigError, match=r"`0 <= analysis\.trades <= 100` must hold, but got -1"):
        AnalysisConfig(trades=-1)


def test_a_window_holds_closed_bars_only() -> None:
    bars = BARS["5m"].bid
    open_ns = int(bars.ts_open_ns[300])
    assert window_before(bars, open_ns, 100) == (200, 300)
    assert window_before(bars, open_ns + 1, 100) == (200, 300)
    assert window_before(bars, open_ns + bars.timeframe.ns, 100) == (201, 301)
    assert window_before(bars, int(bars.ts_open_ns[19]), 100) is None


def chart(entry: str, side: str, bias: Any, confidence: float) -> ReadChart:
    parts = ConfidenceParts(stated=confidence, technical=0.5, risk=1.0, agreement=1.0)
    analysis = Analysis(
        regime=Regime("up", "normal"),
        patterns=(),
        bias=bias,
        levels=(),
        confidence=confidence,
        confidence_parts=parts,
        rationale="",
        source="rules",
        model_id="rules",
    )
    return ReadChart(
        name=f"{entry}-{side}-{bias}",
        kind="trade",
        timeframe="5m",
        first_ts_ns=0,
        last_ts_ns=1,
        picture="",
        request_hash="",
        result=AnalysisResult(analysis=analysis),
        entry=entry,
        side=side,
    )


def test_agreement_is_the_mean_signed_confidence_and_orders_entries() -> None:
    charts = [
        chart("a", "long", "short", 0.8),
        chart("a", "long", "neutral", 0.9),
        chart("b", "short", "short", 0.6),
    ]
    found = opinions(charts, [(1, "a"), (2, "b"), (3, "c")])
    assert [(o.entry, o.agreement, o.trades, o.analyst_rank) for o in found] == [
        ("a", -0.4, 2, 2),
        ("b", 0.6, 1, 1),
        ("c", None, 0, 3),
    ]
