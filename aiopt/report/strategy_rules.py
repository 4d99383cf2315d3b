"""The rules of a strategy in words, from its spec as plain data.  Owns the wording; evaluates nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiopt.report.document import Fact
from aiopt.report.svg import short

_CONDITIONS = (
    ("entry_long", "Enter long"),
    ("entry_short", "Enter short"),
    ("exit_long", "Leave long"),
    ("exit_short", "Leave short"),
)
_DAYS = ("", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def rules(spec: Mapping[str, Any]) -> list[Fact]:
    """Return a strategy's rules as facts; empty where the spec is not known."""
    if not spec:
        return []
    params = spec.get("params") or {}
    facts = [Fact(name=label, value=spec[key]) for key, label in _CONDITIONS if spec.get(key)]
    for name, indicator in (spec.get("indicators") or {}).items():
        facts.append(Fact(name=f"Indicator {name}", value=_indicator(indicator, params)))
    for key, label in (("stop_loss", "Stop loss"), ("take_profit", "Take profit")):
        if spec.get(key):
            facts.append(Fact(name=label, value=_distance(spec[key], params)))
    if spec.get("session"):
        facts.append(Fact(name="Entries only", value=_session(spec["session"])))
    if spec.get("size"):
        facts.append(Fact(name="Position size", value=_size(spec["size"], params)))
    return facts


def _indicator(indicator: Mapping[str, Any], params: Mapping[str, Any]) -> str:
    args = ", ".join(f"{key} {_amount(value, params)}" for key, value in indicator.get("args", {}).items())
    source = indicator.get("source", "close")
    reads = "" if source == "close" else f" of {source}"
    return f"{indicator.get('kind', '?')}{reads}" + (f": {args}" if args else "")


def _distance(distance: Mapping[str, Any], params: Mapping[str, Any]) -> str:
    amount = _amount(distance.get("value"), params)
    if distance.get("unit") == "atr":
        return f"{amount} × {distance.get('indicator') or 'ATR'} from the close of the signal bar"
    return f"{amount} pips from the close of the signal bar"


def _session(session: Mapping[str, Any]) -> str:
    days = ", ".join(_DAYS[day] for day in session.get("weekdays", ()) if 1 <= day <= 7)
    zone = session.get("timezone", "UTC")
    return f"{session.get('start')} to {session.get('end')} {zone}" + (f" on {days}" if days else "")


def _size(size: Mapping[str, Any], params: Mapping[str, Any]) -> str:
    if "units" in size:
        units = size["units"]
        return f"{units:,.0f} units" if isinstance(units, int | float) else f"{_amount(units, params)} units"
    if "risk_pct" in size:
        return f"{_amount(size['risk_pct'], params)}% of the initial balance at risk up to the stop"
    return str(size.get("kind", ""))


def _amount(value: Any, params: Mapping[str, Any]) -> str:
    """Return a number, or a parameter's name with its value."""
    if isinstance(value, str):
        number = params.get(value)
        return f"{short(float(number))} ({value})" if isinstance(number, int | float) else value
    return short(float(value)) if isinstance(value, int | float) else "?"
