"""Declared instruments: every key, what is refused, and how other processes get them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from aiopt.errors import ConfigError, DataError
from aiopt.market.instrument import INSTRUMENTS, find_instrument, instrument, known_instruments
from aiopt.market.instrument_file import VARIABLE, read_instruments, use_instruments, worker_environment

ENTRY: dict[str, Any] = {
    "symbol": "DOGEUSDT",
    "base": "DOGE",
    "quote": "USDT",
    "tick": 0.00001,
    "pip": 0.0001,
    "range": [0.0001, 10],
    "contract_size": 1000,
    "hours": "always",
    "first_date": "2013-12-08",
}


@pytest.fixture(autouse=True)
def _no_declared_instruments(monkeypatch: pytest.MonkeyPatch) -> None:
    # Set, then deleted: what a test declares is undone with it.
    monkeypatch.setenv(VARIABLE, "")


def _write(folder: Path, *entries: dict[str, Any]) -> Path:
    path = folder / "instruments.yaml"
    path.write_text(yaml.safe_dump({"instruments": list(entries)}))
    return path


def test_a_declared_instrument_has_all_it_says(tmp_path: Path) -> None:
    item = read_instruments(_write(tmp_path, ENTRY))["DOGEUSDT"]
    assert (item.base, item.quote, item.price_precision, item.price_scale) == ("DOGE", "USDT", 5, 100_000)
    assert (item.tick_size, item.pip_size, item.contract_size) == (0.00001, 0.0001, 1000.0)
    assert (item.plausible_low, item.plausible_high, item.always_open) == (0.0001, 10.0, True)
    assert item.life_start == "2013-12-08"
    assert item.life_start_ns == 1_386_460_800_000_000_000


def test_yaml_dates_and_defaults_are_read(tmp_path: Path) -> None:
    path = tmp_path / "instruments.yaml"
    path.write_text(
        "instruments:\n"
        "  - {symbol: USDMXN, base: USD, quote: MXN, tick: 0.00001, pip: 0.0001, range: [3, 40],\n"
        "     first_date: 1993-01-01}\n"
    )
    item = read_instruments(path)["USDMXN"]
    assert (item.life_start, item.contract_size, item.always_open) == ("1993-01-01", 100_000.0, False)


def test_a_declared_instrument_is_found_in_any_notation_and_goes_before_the_table(tmp_path: Path) -> None:
    gold = ENTRY | {"symbol": "XAUUSD", "base": "XAU", "quote": "USD", "tick": 0.01, "pip": 0.1}
    use_instruments(_write(tmp_path, ENTRY, gold))
    assert instrument("doge/usdt").symbol == "DOGEUSDT"
    assert instrument("XAUUSD").price_precision == 2
    assert INSTRUMENTS["XAUUSD"].price_precision == 3
    assert len(known_instruments()) == len(INSTRUMENTS) + 1


def test_the_variable_holds_a_path_or_the_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _write(tmp_path, ENTRY)
    monkeypatch.setenv(VARIABLE, str(path))
    found = instrument("DOGEUSDT")
    content = worker_environment()
    path.unlink()
    monkeypatch.setenv(VARIABLE, content[VARIABLE])
    assert instrument("DOGEUSDT") == found
    monkeypatch.setenv(VARIABLE, "")
    assert worker_environment() == {}
    assert find_instrument("DOGEUSDT") is None


def test_an_unknown_symbol_says_how_to_declare_it() -> None:
    with pytest.raises(DataError, match=r"no instrument 'DOGEUSDT'.*--instruments FILE"):
        instrument("DOGEUSDT")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tick": 0.25}, r"DOGEUSDT: `tick` must be a power of ten from 1e-9 to 1, but is 0\.25"),
        ({"pip": 0.000015}, r"`pip` must be a whole multiple of tick 1e-05, but is 1\.5e-05"),
        ({"pip": float("inf")}, "`pip` must be a whole multiple"),
        ({"range": [10, 1]}, r"`range` must be \[LOW, HIGH\] with 0 < LOW < HIGH"),
        ({"range": [0, 1]}, "`range` must be"),
        ({"contract_size": 0}, "`contract_size` must be a positive number"),
        ({"size_step": 0}, "`size_step` must be 1 or more"),
        ({"symbol": "doge"}, "`symbol` must be 3 to 20 of A-Z and 0-9"),
        ({"quote": "DOGE"}, "`quote` must be another currency than base"),
        ({"first_date": "1989-12-31"}, "`first_date` must be a day YYYY-MM-DD, not before 1990-01-01"),
        ({"first_date": "soon"}, "`first_date` must be a day"),
        ({"hours": "weekdays"}, "Invalid enum value 'weekdays'"),
        ({"tik": 1}, r"Unknown key 'tik' at .*Did you mean 'tick'"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_instruments(_write(tmp_path, ENTRY | change))


def test_a_symbol_twice_none_and_no_file_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="DOGEUSDT is declared twice"):
        read_instruments(_write(tmp_path, ENTRY, ENTRY))
    with pytest.raises(ConfigError, match="lists no instrument"):
        read_instruments(_write(tmp_path))
    with pytest.raises(ConfigError, match="There is no file"):
        use_instruments(tmp_path / "absent.yaml")
    assert not os.environ[VARIABLE]
    monkeypatch.setenv(VARIABLE, '{"instruments"')
    with pytest.raises(ConfigError, match="path of a file or its content as JSON"):
        instrument("EURUSD")
