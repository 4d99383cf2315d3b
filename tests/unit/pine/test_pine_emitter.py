from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from pynescript import ast

from aiopt import __version__
from aiopt.errors import ConfigError, PineError
from aiopt.indicators.registry import INDICATORS
from aiopt.market.instrument import instrument
from aiopt.pine import emitter
from aiopt.pine.checker import check_script
from aiopt.pine.emitter import emit, write_script
from aiopt.pine.indicators import KINDS, write_indicator
from aiopt.pine.provenance import Provenance, Verification
from aiopt.pine.text import Names
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.spec import IndicatorSpec, PriceDistance, RiskSize, StrategySpec

EURUSD = instrument("EURUSD")
BARE = StrategySpec(name="bare", entry_long="close > open")


@cache
def script(family: str, version: int = 6) -> str:
    return emit(FAMILIES[family].spec, provenance=Provenance(), instrument=EURUSD, version=version)


def bare(provenance: Provenance | None = None, **changes) -> str:
    spec = StrategySpec(**{"name": "bare", "entry_long": "close > open", **changes})
    return emit(spec, provenance=provenance or Provenance(), instrument=EURUSD)


def code_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("//")]


@pytest.mark.parametrize("version", [6, 5])
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_keeps_the_rules(family: str, version: int) -> None:
    text = script(family, version)
    assert text.startswith(f"//@version={version}\n")
    assert check_script(text) == []


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_versions_differ_in_the_first_line_only(family: str) -> None:
    assert script(family, 5).splitlines()[1:] == script(family, 6).splitlines()[1:]


def test_emitting_twice_gives_the_same_bytes() -> None:
    spec = FAMILIES["rsi_reversion"].spec
    assert emit(spec, provenance=Provenance(), instrument=EURUSD) == script("rsi_reversion")


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_parameters_survive_emitting_and_parsing(family: str) -> None:
    found = {}
    for statement in ast.parse(script(family)).body:
        value = getattr(statement, "value", None)
        if type(value).__name__ == "Call" and type(value.func).__name__ == "Attribute":
            if getattr(value.func.value, "id", "") != "input":
                continue
            default, title = (argument.value.value for argument in value.args[:2])
            found[title] = default
    params = FAMILIES[family].spec.params
    assert found == params
    assert {name: type(value) for name, value in found.items()} == {
        name: type(value) for name, value in params.items()
    }


def test_every_indicator_kind_can_be_written() -> None:
    assert set(INDICATORS) == KINDS
    for kind, definition in INDICATORS.items():
        args = {name: str(arg.default) for name, arg in definition.args.items()}
        written = write_indicator(kind, identifier="my_id", source="close", args=args, names=Names())
        assert tuple(written.outputs) == definition.outputs
        text = "\n".join(written.lines)
        for variable in written.outputs.values():
            assert variable in text


def test_unknown_indicator_kind_is_refused() -> None:
    with pytest.raises(PineError, match="'vwap' cannot be written in Pine"):
        write_indicator("vwap", identifier="x", source="close", args={}, names=Names())


def test_two_indicators_of_one_kind_and_clashing_names_stay_apart() -> None:
    text = bare(
        params={"a_value": 5, "a": 7},
        indicators={
            "aB": IndicatorSpec(kind="dmi", args={"length": "a", "smoothing": "a_value"}),
            "a_b": IndicatorSpec(kind="dmi", args={"length": 9, "smoothing": 9}),
        },
        entry_long="aB.adx > a_b.adx",
    )
    assert "aBAdx > aBAdx2" in text


@pytest.mark.parametrize(
    "hostile",
    ['"); strategy.close_all()', "a\nstrategy.close_all()", "a\r\u2028b\x00//@version=5", "\\", "*/"],
)
def test_no_text_becomes_code(hostile: str) -> None:
    provenance = Provenance(
        run_id=hostile,
        data_hash=hostile,
        costs=hostile,
        timeframe=hostile,
        in_sample={hostile: 1.0},
        verification=Verification(engine=hostile, trades=1, data_hash=hostile),
    )
    assert code_lines(bare(provenance, description=hostile)) == code_lines(bare())


def test_header_states_where_the_script_comes_from() -> None:
    text = bare(
        Provenance(
            run_id="run-7",
            rank=2,
            trials=300,
            data_hash="abc123",
            synthetic=True,
            timeframe="5m",
            first_ts_ns=1_514_764_800_000_000_000,
            last_ts_ns=1_514_851_140_000_000_000,
            costs="spread, 35 USD per million and side",
            rollover="3 of 12 trades were held over 17:00 New York, 5 nights",
            in_sample={"profit factor": 1.5, "trades": 12},
            out_of_sample={"profit factor": float("nan")},
            holdout={"net profit": None},
        )
    )
    header = " ".join(line.removeprefix("//").strip() for line in text.splitlines() if line.startswith("//"))
    for part in (
        f"aiopt {__version__}",
        "run: run-7, rank 2 of 300 trials",
        "abc123 SYNTHETIC ticks: generated, not traded",
        "EURUSD, 5m",
        "2018-01-01 00:00:00 to 2018-01-01 23:59:00 UTC",
        "costs: spread, 35 USD per million and side",
        "rollover: TradingView's emulator charges no swap, so none is in this chart's figures. In the "
        "backtest 3 of 12 trades were held over 17:00 New York, 5 nights.",
        "in sample: profit factor 1.5, trades 12",
        "out of sample: profit factor n/a",
        "holdout: net profit n/a",
        "NOT verified by a Pine engine",
        BARE.spec_hash,
    ):
        assert part in header, part


def test_header_of_real_data_does_not_say_synthetic() -> None:
    assert "SYNTHETIC" not in bare(Provenance(data_hash="abc"))


def test_header_says_what_was_verified() -> None:
    verification = Verification(engine="PineTS 0.9.34", trades=321, data_hash="feed")
    text = bare(Provenance(verification=verification))
    assert "NOT verified" not in text
    assert "321 closed trades equal the backtest's in PineTS 0.9.34" in text


def test_spec_without_indicators_stops_or_session_is_small() -> None:
    text = bare()
    assert "bool ready = true" in text
    for absent in ("strategy.exit", "strategy.cancel", "strategy.close", "session", "Short"):
        assert absent not in "\n".join(code_lines(text)), absent


def test_pips_are_those_of_the_instrument() -> None:
    spec = StrategySpec(
        name="bare", entry_long="close > open", stop_loss=PriceDistance(unit="pips", value=15)
    )
    text = emit(spec, provenance=Provenance(), instrument=EURUSD)
    assert "longStop := math.round_to_mintick(close - 15.0 * 0.0001)" in text
    text = emit(spec, provenance=Provenance(), instrument=instrument("USDJPY"))
    assert "longStop := math.round_to_mintick(close - 15.0 * 0.01)" in text


def test_risk_size_uses_the_initial_balance() -> None:
    spec = StrategySpec(
        name="bare",
        entry_long="close > open",
        stop_loss=PriceDistance(unit="pips", value=20),
        size=RiskSize(risk_pct=0.5),
    )
    text = emit(spec, provenance=Provenance(), instrument=EURUSD, initial_balance=50_000.0, leverage=20.0)
    assert "math.min(50000.0 * 0.5 / 100.0 / (20.0 * 0.0001), 1000000000.0) / 1000.0) * 1000.0" in text
    assert "initial_capital=50000.0" in text
    assert 'leverageInput = input.float(20.0, "account leverage"' in text
    assert "math.floor(strategy.equity * leverageInput / close / 1000.0) * 1000.0" in text
    assert "qty=orderUnits" in text
    assert "entryUnits > 0.0 and close > open" in text


def test_input_limits_are_those_the_spec_enforces() -> None:
    text = script("bollinger_breakout")
    assert 'input.int(20, "length", minval=1, maxval=5000, step=1)' in text
    assert 'input.float(2.0, "multiplier", minval=0.0, maxval=100.0, step=0.1)' in text
    assert 'input.float(4.0, "stop_atr", minval=0.1, step=0.1)' in text


@pytest.mark.parametrize("version", [4, 7, 0])
def test_other_versions_are_refused(version: int) -> None:
    with pytest.raises(ConfigError, match=f"Pine version {version} is not supported"):
        emit(BARE, provenance=Provenance(), instrument=EURUSD, version=version)


@pytest.mark.parametrize("balance", [0.0, -1.0, float("nan")])
def test_a_balance_that_is_not_positive_is_refused(balance: float) -> None:
    with pytest.raises(ConfigError, match="initial_balance > 0"):
        emit(BARE, provenance=Provenance(), instrument=EURUSD, initial_balance=balance)


def test_write_script_writes_script_and_spec(tmp_path: Path) -> None:
    path = write_script(
        tmp_path / "pine", "1_bare-x", BARE, provenance=Provenance(), instrument=EURUSD, version=5
    )
    assert path == tmp_path / "pine" / "1_bare-x.pine"
    assert path.read_text() == emit(BARE, provenance=Provenance(), instrument=EURUSD, version=5)
    assert StrategySpec.from_json((tmp_path / "pine" / "1_bare-x.json").read_text()) == BARE
    assert sorted(file.name for file in path.parent.iterdir()) == ["1_bare-x.json", "1_bare-x.pine"]


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".x", "a b", "x" * 101, "a\n"])
def test_a_name_that_could_leave_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a script"):
        write_script(tmp_path, name, BARE, provenance=Provenance(), instrument=EURUSD)
    assert list(tmp_path.iterdir()) == []


def test_a_script_that_breaks_a_rule_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emitter, "header_lines", lambda *args, **kwargs: ["ta.nonsense(close)"])
    with pytest.raises(PineError, match=r"(?s)bare: .*ta\.nonsense\(\)"):
        write_script(tmp_path, "bare", BARE, provenance=Provenance(), instrument=EURUSD)
    assert list(tmp_path.iterdir()) == []
