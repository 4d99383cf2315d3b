import math

import msgspec
import pytest

from aiopt.charts import ChartSpec, IndicatorPlot, TradeMark, parse_plot
from aiopt.errors import ConfigError, SpecError
from aiopt.indicators import INDICATORS


@pytest.mark.parametrize("kind", INDICATORS)
def test_every_kind_can_be_drawn_by_its_name(kind: str) -> None:
    assert parse_plot(kind).resolved_args() == INDICATORS[kind].defaults()


def test_notation() -> None:
    plot = parse_plot(" bollinger:length=30, multiplier=2.5,source=hl2")
    assert plot == IndicatorPlot(kind="bollinger", args={"length": 30, "multiplier": 2.5}, source="hl2")
    assert plot.title() == "Bollinger 30 2.5 (hl2)"
    assert parse_plot("ema:length=50").title() == "EMA 50"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rsj", "Did you mean 'rsi'"),
        ("rsi:lenght=5", "has no argument 'lenght'"),
        ("rsi:length=0", "1 <= length <= 5000"),
        ("rsi:length=x", "as KIND:NAME=NUMBER"),
        ("rsi:length", "as KIND:NAME=NUMBER"),
        ("rsi:source=clse", "Did you mean 'close'"),
        ("atr:source=open", "Remove the source"),
        ("", "There is no indicator of kind"),
    ],
)
def test_wrong_notation_is_refused(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse_plot(text)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"width": 479}, "480 <= width <= 4096"),
        ({"height": 20_000}, "320 <= height <= 4096"),
        ({"theme": "drak"}, "Did you mean 'dark'"),
        ({"overlays": (IndicatorPlot(kind="ema"),) * 5}, "at most 4 overlays"),
        ({"panes": (IndicatorPlot(kind="rsi"),) * 5}, "at most 4 panes"),
        ({"overlays": (IndicatorPlot(kind="rsi"),)}, "units of price, but rsi is not"),
        ({"price_low": 2.0, "price_high": 1.0}, "price_low < price_high"),
        ({"price_high": math.nan}, "must be finite"),
    ],
)
def test_absurd_specs_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ChartSpec(**fields)


def test_a_spec_survives_json_and_its_hash_tells_specs_apart() -> None:
    spec = ChartSpec(theme="light", overlays=(parse_plot("ema:length=9"),), panes=(parse_plot("rsi"),))
    again = msgspec.json.decode(msgspec.json.encode(spec), type=ChartSpec)
    assert again == spec
    assert again.spec_hash == spec.spec_hash
    assert spec.spec_hash != ChartSpec().spec_hash
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.json.decode(b'{"widht": 3}', type=ChartSpec)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"side": "up"}, "must be long or short"),
        ({"entry_price": math.nan}, "entry_price=nan"),
        ({"stop_price": -1.0}, "stop_price=-1.0"),
        ({"exit_ts_ns": 20}, "both time and price"),
        ({"exit_ts_ns": 5, "exit_price": 1.1}, "entry_ts_ns <= exit_ts_ns"),
    ],
)
def test_broken_trades_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TradeMark(**{"entry_ts_ns": 10, "side": "long", "entry_price": 1.1, **fields})
