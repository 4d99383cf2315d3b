"""Strategies as people write them: what is imported and what refused, without the Pine engine."""

from pathlib import Path

import pytest

from aiopt.indicators.registry import INDICATORS
from aiopt.market.instrument import instrument
from aiopt.patterns.reversals import REVERSALS
from aiopt.pine.emitter import emit
from aiopt.pine.form import ScriptForm
from aiopt.pine.importing.importing import Imported, import_script
from aiopt.pine.importing.matching import Matcher
from aiopt.pine.importing.reading import read_script
from aiopt.pine.made_from import without_made_from
from aiopt.pine.parsing.parser import parse_script
from aiopt.pine.provenance import Provenance
from aiopt.pine.reference.table import builtins
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.spec import IndicatorSpec, PriceDistance, StrategySpec, spec_from_mapping
from aiopt.strategy.spec_pyramiding import entries_of
from aiopt.testing.random_specs import random_spec

HERE = Path(__file__).parent / "strategies"
IMPORTED = sorted((HERE / "imported").glob("*.pine"))
REFUSED = sorted((HERE / "refused").glob("*.pine"))
EURUSD = instrument("EURUSD")
WITH_LOOPS = {kind for kind in INDICATORS if kind.startswith("higher_")} | set(REVERSALS)
"""Kinds whose scripts gather bars in arrays: not imported yet."""


def read(text: str, **options: object) -> Imported:
    return import_script(text, instrument=EURUSD, **options)


def script(*lines: str, version: int = 6) -> str:
    return "\n".join([f"//@version={version}", 'strategy("mine")', *lines]) + "\n"


def emitted(spec: StrategySpec, version: int = 6, **form: bool) -> str:
    """Return the script without the spec in its comments: what is read is the code."""
    options = {"alerts": False, **form}
    text = emit(spec, provenance=Provenance(), instrument=EURUSD, version=version, form=ScriptForm(**options))
    return without_made_from(text)


def orders_are_the_same(one: str, other: str) -> bool:
    """Whether two scripts order the same: each call, its conditions and its prices, node for node."""
    readings = [read_script(parse_script(text).tree, builtins(6)) for text in (one, other)]
    first, second = readings
    matcher = Matcher(first.symbols.states, second.symbols.states)
    if [o.function for o in first.orders] != [o.function for o in second.orders]:
        return False
    for left, right in zip(first.orders, second.orders, strict=True):
        if len(left.guard) != len(right.guard) or left.args.keys() != right.args.keys():
            return False
        pairs = [*zip(left.guard, right.guard, strict=True)]
        pairs += [(left.args[name], right.args[name]) for name in left.args]
        if any(matcher.match(a, b) is None for a, b in pairs):
            return False
    return True


# --- the corpus -------------------------------------------------------------------------------------------


def test_the_corpus_is_large_enough() -> None:
    assert len(IMPORTED) >= 20
    assert len(IMPORTED) + len(REFUSED) >= 30


@pytest.mark.parametrize("path", IMPORTED, ids=lambda path: path.stem)
def test_a_strategy_of_the_corpus_is_imported(path: Path) -> None:
    found = read(path.read_text())
    assert not found.refusals
    assert found.spec is not None


@pytest.mark.parametrize("path", REFUSED, ids=lambda path: path.stem)
def test_a_strategy_that_cannot_be_said_is_refused_for_its_own_reason(path: Path) -> None:
    found = read(path.read_text())
    assert found.spec is None
    wanted = path.stem.partition("__")[0].replace("_", " ")
    rules = {refusal.rule for refusal in found.refusals}
    assert rules == {wanted}
    for refusal in found.refusals:
        assert refusal.nearest
        assert 1 <= refusal.line <= len(path.read_text().splitlines())


# --- our own scripts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("version", [5, 6])
def test_a_ready_family_comes_back_with_its_hash(name: str, version: int) -> None:
    spec = FAMILIES[name].spec
    found = read(emitted(spec, version))
    assert found.spec is not None
    assert found.spec.spec_hash == spec.spec_hash == found.stated_hash
    assert found.spec.family == spec.family


@pytest.mark.parametrize("seed", range(12))
def test_a_random_spec_comes_back_as_the_same_script(seed: int) -> None:
    spec = random_spec(seed, exits=seed % 2 == 0)
    text = emitted(spec, 5 + seed % 2)
    found = read(text)
    assert not found.refusals
    assert found.spec is not None
    same = found.spec.spec_hash == spec.spec_hash
    assert same or orders_are_the_same(text, emitted(found.spec, 5 + seed % 2))


def test_a_script_without_plots_comes_back_with_names_of_its_own() -> None:
    spec = FAMILIES["macd_adx_trend"].spec
    text = emitted(spec, plots=False)
    found = read(text)
    assert found.spec is not None
    assert orders_are_the_same(text, emitted(found.spec, plots=False))


@pytest.mark.parametrize(
    "kind", sorted(name for name in INDICATORS if not name.startswith("higher_") and name not in REVERSALS)
)
def test_every_indicator_of_ours_comes_back(kind: str) -> None:
    outputs = INDICATORS[kind].outputs
    value = "x" if len(outputs) == 1 else f"x.{outputs[-1]}"
    args = INDICATORS[kind].defaults()
    if kind == "session_range":
        args |= {"start": "07:00", "end": "08:00"}
    spec = StrategySpec(
        name="mine",
        indicators={"x": IndicatorSpec(kind=kind, args=args)},
        entry_long=f"{value} > 1.5 and close > open",
    )
    found = read(emitted(spec))
    assert not found.refusals
    assert found.spec is not None
    assert found.spec.spec_hash == spec.spec_hash


def test_entry_limits_of_our_own_scripts_are_refused_and_said() -> None:
    limits = {"pause_bars": 3}
    fields = {"name": "mine", "entry_long": "close > open", "exit_long": "close < open", "limits": limits}
    found = read(emitted(spec_from_mapping(fields, where="test")))
    assert found.refusals
    assert any("are not read" in note.text for note in found.notes)


def test_two_scripts_that_order_otherwise_are_told_apart() -> None:
    spec = FAMILIES["rsi_reversion"].spec
    other = spec.with_params({"exit_level": 56.0})
    assert orders_are_the_same(emitted(spec), emitted(spec))
    text = emitted(spec).replace("rsiValue > exitLevelInput", "rsiValue >= exitLevelInput")
    assert not orders_are_the_same(emitted(other), text)


# --- what is imported -------------------------------------------------------------------------------------


def test_inputs_become_parameters_and_their_limits_a_search() -> None:
    found = read(
        script(
            'fastLen = input.int(9, "Fast", minval=2, maxval=50, step=2)',
            "level = input.float(50.0, options=[40.0, 50.0, 60.0])",
            "if ta.crossover(ta.rsi(close, fastLen), level)",
            '    strategy.entry("L", strategy.long)',
        )
    )
    assert found.spec is not None
    assert found.spec.params == {"fast_len": 9, "level": 50.0}
    assert found.spec.entry_long == "crossover(rsi, level)"
    assert found.dimensions["fast_len"].low == 2
    assert found.dimensions["fast_len"].step == 2
    assert found.dimensions["level"].values == (40.0, 50.0, 60.0)


def test_an_input_within_an_expression_is_fixed_and_said() -> None:
    found = read(
        script(
            "len = input.int(10)",
            "if close > ta.sma(close, len * 2)",
            '    strategy.entry("L", strategy.long)',
        )
    )
    assert found.spec is not None
    assert [one.args for one in found.spec.indicators.values()] == [{"length": 20}]
    assert any("fixed at 10" in note.text for note in found.notes)


def test_branches_that_an_input_decides_leave_one() -> None:
    text = script(
        'kind = input.string("EMA", options=["EMA", "SMA"])',
        "average = switch kind",
        '    "EMA" => ta.ema(close, 20)',
        "    => ta.sma(close, 20)",
        "if close > average",
        '    strategy.entry("L", strategy.long)',
    )
    found = read(text)
    assert found.spec is not None
    assert [one.kind for one in found.spec.indicators.values()] == ["ema"]
    assert any("EMA" in note.text for note in found.notes)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("ta.cross(close, open)", "crossover(close, open) or crossunder(close, open)"),
        ("close[2] > high[1] and not (open < low)", "close[2] > high[1] and not open < low"),
        ("ta.change(close) > 0", "close - close[1] > 0"),
        ("(close > open)[1]", "close[1] > open[1]"),
        ("close > ta.highest(high, 5)[1]", "close > highest(high[1], 5)"),
        ("math.max(close, open, high) > hl2", "max(max(close, open), high) > hl2"),
        (
            "close > open ? close > hl2 : close > low",
            "close > open and close > hl2 or not close > open and close > low",
        ),
        ("na(close[2]) == false", "not not close[2] == close[2]"),
        ("math.avg(close, open) < ohlc4", "(close + open) / 2 < ohlc4"),
        ("close / open > 1.001", "close / open > 1.001"),
        ("ta.rising(close, 3)", "close > highest(close[1], 3)"),
        ("close[1] > -open", "close[1] > -open"),
    ],
)
def test_conditions(condition: str, expected: str) -> None:
    found = read(script(f"if {condition}", '    strategy.entry("L", strategy.long)'))
    assert not found.refusals
    assert found.spec is not None
    assert found.spec.entry_long == expected


@pytest.mark.parametrize(
    ("text", "kind", "args"),
    [
        ("ta.atr(10)", "atr", {"length": 10}),
        ("ta.rma(ta.tr(true), 10)", "atr", {"length": 10}),
        ("ta.wpr(14)", "williams_r", {"length": 14}),
        ("ta.hma(close, 16)", "hma", {"length": 16}),
        ("ta.sma(close, 20) + 2.5 * ta.stdev(close, 20)", "bollinger", {"length": 20, "multiplier": 2.5}),
        ("ta.stdev(close, 20) * 2.0 + ta.sma(close, 20)", "bollinger", {"length": 20, "multiplier": 2.0}),
        (
            "ta.sma(ta.stoch(close, high, low, 14), 3)",
            "stochastic",
            {"k_length": 14, "k_smooth": 3, "d_smooth": 1},
        ),
        ("ta.linreg(close, 20, 0)", "linreg", {"length": 20}),
        ("ta.obv", "obv", {}),
    ],
)
def test_indicators(text: str, kind: str, args: dict[str, float]) -> None:
    found = read(script(f"x = {text}", "if x > x[1]", '    strategy.entry("L", strategy.long)'))
    assert not found.refusals
    assert found.spec is not None
    assert [(one.kind, one.args) for one in found.spec.indicators.values()] == [(kind, args)]


def test_sessions_of_both_ways_of_writing() -> None:
    lines = ['inside = not na(time(timeframe.period, "0930-1600:23456", "America/New_York"))']
    found = read(script(*lines, "if inside and close > open", '    strategy.entry("L", strategy.long)'))
    assert found.spec is not None
    assert found.spec.session is not None
    assert (found.spec.session.start, found.spec.session.end) == ("09:30", "16:00")
    assert found.spec.session.weekdays == (1, 2, 3, 4, 5)
    assert found.spec.entry_long == "close > open"


def test_a_session_of_one_side_becomes_a_condition_of_it() -> None:
    found = read(
        script(
            'inside = not na(time(timeframe.period, "2200-0600", "UTC"))',
            "if inside and close > open",
            '    strategy.entry("L", strategy.long)',
            "if close < open",
            '    strategy.entry("S", strategy.short)',
        )
    )
    assert found.spec is not None
    assert found.spec.session is None
    expected = "close > open and (calendar.minute_of_day >= 1320 or calendar.minute_of_day < 360)"
    assert found.spec.entry_long == expected


def test_a_clock_without_a_zone_needs_the_charts() -> None:
    text = script("if hour >= 8 and close > open", '    strategy.entry("L", strategy.long)')
    assert [one.rule for one in read(text).refusals] == ["time zone"]
    found = read(text, timezone="UTC")
    assert found.spec is not None
    assert found.spec.entry_long == "calendar.hour >= 8 and close > open"


def test_the_declaration_is_stated_or_refused() -> None:
    body = ["if close > open", '    strategy.entry("L", strategy.long)']
    head = 'strategy("a", default_qty_type=strategy.percent_of_equity, slippage=3, commission_value=0.1'
    found = read("\n".join(["//@version=6", head + ")", *body]) + "\n")
    assert found.spec is not None
    assert not found.is_sized
    assert (found.slippage_ticks, found.commission_pct) == (3, 0.1)
    assert len([note for note in found.notes if note.line == 2]) == 3
    refused = read(
        "\n".join(["//@version=6", head + ", calc_on_order_fills=true, pyramiding=40)", *body]) + "\n"
    )
    assert {one.rule for one in refused.refusals} == {"pyramiding", "fills"}


def test_a_size_that_is_computed_needs_the_persons_word() -> None:
    text = script("if close > open", '    strategy.entry("L", strategy.long, qty=strategy.equity / close)')
    assert [one.rule for one in read(text).refusals] == ["size"]
    found = read(text, units=2000)
    assert found.spec is not None
    assert found.spec.size.units == 2000
    assert not found.is_sized


def test_several_faults_are_told_in_one_go_in_the_order_of_the_text() -> None:
    found = read(
        script(
            'd = request.security(syminfo.tickerid, "D", close)',
            "if close > d and ta.pivothigh(3, 3) > 0",
            '    strategy.entry("L", strategy.long, limit=close)',
            'strategy.exit("X", "L", loss=20, stop=close, trail_points=5, trail_offset=5)',
        )
    )
    assert [one.rule for one in found.refusals] == [
        "other series",
        "indicator",
        "pending entry",
        "exit",
        "trailing",
    ]
    assert "line 6, column 30" in str(found.refusals[3])


def test_a_script_with_errors_is_not_guessed_at() -> None:
    found = read(script("if close >", '    strategy.entry("L", strategy.long)'))
    assert found.spec is None
    assert found.refusals


def test_text_that_is_no_script_is_refused() -> None:
    assert read("\x00\x01").refusals
    assert read("").refusals


@pytest.mark.parametrize(
    ("lines", "rule"),
    [
        (
            ["if close > open and not na(ta.sma(close, 99))", '    strategy.entry("L", strategy.long)'],
            "waiting",
        ),
        (["if bar_index > 99 and close > open", '    strategy.entry("L", strategy.long)'], "bar number"),
        (["if close > open", '    strategy.entry("L", strategy.long, oca_name="a")'], "group"),
        (["if close % 2 > 1", '    strategy.entry("L", strategy.long)'], "value"),
        (["if nz(close[1]) > 1", '    strategy.entry("L", strategy.long)'], "na"),
        (["if close > open", '    strategy.entry("L", strategy.long)', 'strategy.cancel("L")'], "cancel"),
        (["if close > open", '    strategy.order("L", strategy.long)'], "order"),
        (['strategy.entry("L", strategy.long)'], "no condition"),
        (["if close > open", '    strategy.entry("L", strategy.long)', 'strategy.close("M")'], "entry id"),
    ],
)
def test_what_is_refused(lines: list[str], rule: str) -> None:
    found = read(script(*lines))
    assert found.spec is None
    assert rule in {one.rule for one in found.refusals}


def test_outside_of_a_session() -> None:
    found = read(
        script(
            "if close > open",
            '    strategy.entry("L", strategy.long)',
            'if na(time(timeframe.period, "0700-1500", "UTC"))',
            '    strategy.close("L")',
        )
    )
    assert found.spec is not None
    assert found.spec.exit_long == "not (calendar.minute_of_day >= 420 and calendar.minute_of_day < 900)"


def test_time_stops_by_bars() -> None:
    found = read(
        script(
            "if close > open and strategy.position_size == 0",
            '    strategy.entry("L", strategy.long)',
            "if bar_index - strategy.opentrades.entry_bar_index(0) >= 4",
            '    strategy.close("L")',
        )
    )
    assert found.spec is not None
    assert found.spec.time_stop.bars == 5


ADDS = '//@version=6\nstrategy("adds", pyramiding={})\n'


def test_entries_that_are_added_are_counted() -> None:
    body = 'if close > open{}\n    strategy.entry("L", strategy.long)\n'
    body += 'if close < low[1]\n    strategy.close("L")\n'
    for declared, guard, expected in ((3, "", 3), (1, "", 1), (3, " and strategy.position_size == 0", 1)):
        found = read(ADDS.format(declared) + body.format(guard))
        assert found.spec is not None
        assert entries_of(found.spec) == expected
        assert any("orders both" in note.text for note in found.notes) is (expected > 1)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            'if close > open\n    strategy.entry("L", strategy.long)\n'
            'if high > high[1]\n    strategy.entry("M", strategy.long)\n',
            "several entry orders of one side",
        ),
        (
            'if close > open\n    strategy.entry("L", strategy.long)\n'
            'if close < open and strategy.position_size >= 0\n    strategy.entry("S", strategy.short)\n',
            "one side adds to its position and the other does not",
        ),
        (
            'if close > open\n    strategy.entry("L", strategy.long)\n'
            'if bar_index - strategy.opentrades.entry_bar_index(0) >= 4\n    strategy.close("L")\n',
            "no time stop",
        ),
    ],
)
def test_entries_that_a_strategy_cannot_add_are_refused(body: str, message: str) -> None:
    found = read(ADDS.format(3) + body)
    assert found.spec is None
    assert [one.rule for one in found.refusals] == ["pyramiding"]
    assert message in found.refusals[0].message


def test_both_sides_on_one_bar_is_said() -> None:
    lines = [
        "if close > close[1]",
        '    strategy.entry("L", strategy.long)',
        "if volume > 100",
        '    strategy.entry("S", strategy.short)',
    ]
    assert any("takes neither" in note.text for note in read(script(*lines)).notes)


def test_functions_that_double_with_each_call_are_refused_not_followed() -> None:
    doubling = [f"f{n}(x) => f{n - 1}(x) + f{n - 1}(x)" for n in range(1, 26)]
    orders = ["if ta.crossover(close, f25(close))", '    strategy.entry("L", strategy.long)']
    found = read(script("f0(x) => ta.ema(x, 5)", *doubling, *orders))
    assert found.spec is None
    assert any("called more than 1,000 times" in str(one) for one in found.refusals)


def test_where_levels_lie_from_is_read_with_its_parameters() -> None:
    texts = {path.stem: path.read_text() for path in IMPORTED}

    def levels(name: str) -> tuple[PriceDistance | None, PriceDistance | None]:
        spec = read(texts[name]).spec
        assert spec is not None
        return spec.stop_loss, spec.take_profit

    ticks = {"unit": "pips", "origin": "entry"}
    assert levels("ticks_from_entry") == (
        PriceDistance(value=6.0, **ticks),
        PriceDistance(value=12.0, **ticks),
    )
    stop, target = levels("per_cent_of_entry")
    share = {"unit": "percent", "origin": "position", "rounding": "away"}
    assert stop == PriceDistance(value="stop_percent", **share)
    assert target == PriceDistance(value="target_percent", **share)
    assert levels("per_cent_of_signal") == (
        PriceDistance(unit="percent", value=0.05, rounding="away"),
        PriceDistance(unit="percent", value=0.08, rounding="away"),
    )
    stop, target = levels("atr_in_ticks_from_entry")
    assert stop == PriceDistance(unit="atr", value=2.0, indicator="atr", origin="entry")
    assert target == PriceDistance(value=12.0, **ticks)
    stop, target = levels("ticks_while_open")
    assert stop == PriceDistance(unit="pips", value=6.0, origin="position")
    assert target == PriceDistance(unit="pips", value=9.0, origin="position")


@pytest.mark.parametrize("seed", range(0, 24, 2))
def test_our_own_levels_come_back(seed: int) -> None:
    spec = random_spec(seed, levels=True, exits=seed % 3 == 0)
    text = emitted(spec, 5 + seed // 2 % 2)
    found = read(text)
    assert not found.refusals
    assert found.spec is not None
    assert (found.spec.stop_loss is None) == (spec.stop_loss is None)
    for field in ("stop_loss", "take_profit"):
        mine, theirs = getattr(spec, field), getattr(found.spec, field)
        if mine is not None:
            assert (mine.origin, mine.rounding, mine.unit) == (theirs.origin, theirs.rounding, theirs.unit)
    same = found.spec.spec_hash == spec.spec_hash
    assert same or orders_are_the_same(text, emitted(found.spec, 5 + seed // 2 % 2))
