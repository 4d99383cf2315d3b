"""Instruments that a user declares: ``instruments.yaml``, its keys, and how every process finds it.

Owns the file, the environment variable `VARIABLE` and what is wrong with either.  A declared instrument goes
before one of the table of the same symbol.  Knows nothing of ticks and bars.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Literal

import msgspec

from aiopt.config import canonical_json, decode, read_mapping
from aiopt.errors import ConfigError
from aiopt.market.instrument import EARLIEST_DATE, Instrument

VARIABLE = "AIOPT_INSTRUMENTS"
"""Path of the file; or its content as JSON, which is how processes on other machines get it."""

_SYMBOL = re.compile(r"[A-Z][A-Z0-9]{2,19}")
_CURRENCY = re.compile(r"[A-Z][A-Z0-9]{1,9}")
_FINEST = 9


class DeclaredInstrument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of ``instruments.yaml``.

    Attributes
    ----------
    symbol : str
        3 to 20 upper-case letters and digits, a letter first, e.g. ``"BTCUSDT"``.
    base, quote : str
        Currency bought and currency paid, 2 to 10 upper-case letters and digits.
    tick : float
        Smallest step of a price, quote currency; a power of ten from 1e-9 to 1.
    pip : float
        Quote currency one pip is worth; a whole multiple of `tick`.
    range : tuple of two float
        Lowest and highest plausible price, over the whole life: a price outside is refused.
    contract_size : float
        Units of base of one lot.
    size_step : int
        Sizes are whole multiples of it, units of base.
    hours : str
        ``"fx_week"`` (Sunday to Friday, 17:00 New York) or ``"always"``.
    first_date : str
        First day it could be quoted, ``YYYY-MM-DD``.
    """

    symbol: str
    base: str
    quote: str
    tick: float
    pip: float
    range: tuple[float, float]
    contract_size: float = 100_000.0
    size_step: int = 1
    hours: Literal["fx_week", "always"] = "fx_week"
    first_date: str = EARLIEST_DATE

    def instrument(self) -> Instrument:
        """Return the instrument declared.

        Raises
        ------
        ConfigError
            Names the symbol, the key, the rule and the value.
        """
        self._require(
            _SYMBOL.fullmatch(self.symbol) is not None, "symbol", "3 to 20 of A-Z and 0-9", self.symbol
        )
        for key, code in (("base", self.base), ("quote", self.quote)):
            self._require(_CURRENCY.fullmatch(code) is not None, key, "2 to 10 of A-Z and 0-9", code)
        self._require(self.base != self.quote, "quote", "another currency than base", self.quote)
        precision = next((n for n in range(_FINEST + 1) if self.tick == float(f"1e-{n}")), None)
        if precision is None:
            raise self._wrong("tick", f"a power of ten from 1e-{_FINEST} to 1", self.tick)
        steps = self.pip / self.tick if math.isfinite(self.pip) else 0.0
        whole = round(steps) >= 1 and math.isclose(steps, round(steps), rel_tol=1e-9)
        self._require(whole, "pip", f"a whole multiple of tick {self.tick:g}", self.pip)
        low, high = self.range
        self._require(0 < low < high < math.inf, "range", "[LOW, HIGH] with 0 < LOW < HIGH", [low, high])
        size = self.contract_size
        self._require(0 < size < math.inf, "contract_size", "a positive number of units", size)
        self._require(self.size_step >= 1, "size_step", "1 or more", self.size_step)
        first = self._first_date()
        return Instrument(
            symbol=self.symbol,
            base=self.base,
            quote=self.quote,
            price_precision=precision,
            # The double nearest to the decimal that was meant: 0.01, not 10 * 0.001.
            pip_size=round(steps) / 10**precision,
            tick_size=self.tick,
            price_scale=10**precision,
            size_increment=self.size_step,
            plausible_low=low,
            plausible_high=high,
            always_open=self.hours == "always",
            contract_size=size,
            life_start=first,
        )

    def _first_date(self) -> str:
        rule = f"a day YYYY-MM-DD, not before {EARLIEST_DATE}"
        try:
            parsed = date.fromisoformat(self.first_date)
        except ValueError:
            raise self._wrong("first_date", rule, self.first_date) from None
        self._require(parsed.isoformat() >= EARLIEST_DATE, "first_date", rule, self.first_date)
        return parsed.isoformat()

    def _require(self, holds: bool, key: str, rule: str, value: object) -> None:
        if not holds:
            raise self._wrong(key, rule, value)

    def _wrong(self, key: str, rule: str, value: object) -> ConfigError:
        return ConfigError(f"instrument {self.symbol}: `{key}` must be {rule}, but is {value!r}. Mend it.")


class InstrumentFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``instruments.yaml``: a list of `DeclaredInstrument` under the key ``instruments``."""

    instruments: list[DeclaredInstrument]


def read_instruments(path: Path) -> dict[str, Instrument]:
    """Read ``instruments.yaml``.

    Raises
    ------
    ConfigError
        If the file is missing, has an unknown key, declares a symbol twice or none, or a value breaks a rule.
    """
    return _instruments(_plain_dates(read_mapping(Path(path))), str(path))


def use_instruments(path: Path) -> dict[str, Instrument]:
    """Declare the instruments of a file for this process and all it starts, on other machines too.

    Raises
    ------
    ConfigError
        See `read_instruments`.
    """
    data = _plain_dates(read_mapping(Path(path)))
    found = _instruments(data, str(path))
    os.environ[VARIABLE] = canonical_json(data).decode()
    return found


def worker_environment() -> dict[str, str]:
    """Return the variables a process elsewhere needs to know the instruments declared here; mostly none.

    Raises
    ------
    ConfigError
        See `read_instruments`.
    """
    value = os.environ.get(VARIABLE, "")
    if not value:
        return {}
    if not _is_content(value):
        value = canonical_json(_plain_dates(read_mapping(Path(value)))).decode()
    return {VARIABLE: value}


def declared_instruments() -> Mapping[str, Instrument]:
    """Return the instruments declared for this process, by symbol; empty where none are.

    Raises
    ------
    ConfigError
        If `VARIABLE` names a file that is missing or wrong.
    """
    value = os.environ.get(VARIABLE, "")
    return _declared(value) if value else {}


@lru_cache(maxsize=8)
def _declared(value: str) -> Mapping[str, Instrument]:
    if not _is_content(value):
        return read_instruments(Path(value))
    try:
        return _instruments(msgspec.json.decode(value), VARIABLE)
    except msgspec.DecodeError as failure:
        msg = f"{VARIABLE} must be the path of a file or its content as JSON, but: {failure}. Mend it."
        raise ConfigError(msg) from failure


def _is_content(value: str) -> bool:
    return value.lstrip().startswith("{")


def _instruments(data: object, where: str) -> dict[str, Instrument]:
    entries = decode(data, InstrumentFile, where=where).instruments
    if not entries:
        raise ConfigError(f"{where}: `instruments` lists no instrument. Add one.")
    result: dict[str, Instrument] = {}
    for entry in entries:
        try:
            item = entry.instrument()
        except ConfigError as failure:
            raise ConfigError(f"{where}: {failure}") from failure
        if item.symbol in result:
            msg = f"{where}: {item.symbol} is declared twice. Remove one of them."
            raise ConfigError(msg)
        result[item.symbol] = item
    return result


def _plain_dates(data: dict[str, object]) -> dict[str, object]:
    """Return the data with YAML's dates as text, which JSON and the types have."""
    entries = data.get("instruments")
    if not isinstance(entries, list):
        return data
    return {**data, "instruments": [_plain_entry(entry) for entry in entries]}


def _plain_entry(entry: object) -> object:
    if not isinstance(entry, dict):
        return entry
    return {key: value.isoformat() if isinstance(value, date) else value for key, value in entry.items()}
