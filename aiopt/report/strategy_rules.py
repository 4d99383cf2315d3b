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
    for number, target in enumerate(spec.get("targets") or (), start=1):
        text = f"{_amount(target.get('share'), params)}% of the entry, {_distance(target, params)}"
        facts.append(Fact(name=f"Target {number}", value=text))
    facts += _further_exits(spec, params)
    if spec.get("session"):
        facts.append(Fact(name="Entries only", value=_session(spec["session"])))
    facts += _entry_limits(spec.get("limits") or {}, params)
    if spec.get("pyramiding"):
        text = f"up to {spec['pyramiding']} of one side open at once, each with its own stop and target"
        facts.append(Fact(name="Entries", value=text))
    facts += _readings(spec.get("readings") or {}, params)
    if spec.get("size"):
        facts.append(Fact(name="Position size", value=_size(spec["size"], params)))
    return facts


def _indicator(indicator: Mapping[str, Any], params: Mapping[str, Any]) -> str:
    args = ", ".join(f"{key} {_amount(value, params)}" for key, value in indicator.get("args", {}).items())
    source = indicator.get("source", "close")
    reads = "" if source == "close" else f" of {source}"
    return f"{indicator.get('kind', '?')}{reads}" + (f": {args}" if args else "")


def _further_exits(spec: Mapping[str, Any], params: Mapping[str, Any]) -> list[Fact]:
    """Return moving stops and time stops."""
    facts = []
    trailing, even, time = (spec.get(key) for key in ("trailing_stop", "break_even", "time_stop"))
    if trailing:
        text = f"{_away(trailing['distance'], params)} from the best price since the entry"
        if trailing.get("after"):
            text += f", once that is {_away(trailing['after'], params)} from the entry"
        facts.append(Fact(name="Trailing stop", value=text))
    if even:
        text = f"stop at the entry plus {_amount(even.get('plus_pips', 0.0), params)} pips"
        text += f", once the best price is {_away(even['after'], params)} from it"
        facts.append(Fact(name="Break-even", value=text))
    if time:
        parts = [f"after {_amount(time['bars'], params)} bars"] if time.get("bars") else []
        parts += [f"at {time['at']} {time.get('timezone') or 'UTC'}"] if time.get("at") else []
        facts.append(Fact(name="Time stop", value="closed " + " or ".join(parts)))
    return facts


def _entry_limits(limits: Mapping[str, Any], params: Mapping[str, Any]) -> list[Fact]:
    """Return what holds entries back."""
    facts = []
    if limits.get("pause_bars"):
        text = f"none before the close {_amount(limits['pause_bars'], params)} bars after an exit's bar"
        facts.append(Fact(name="Re-entry pause", value=text))
    if limits.get("trades_per_day"):
        text = f"at most {_amount(limits['trades_per_day'], params)} a trading day (17:00 New York)"
        facts.append(Fact(name="Entries per day", value=text))
    loss = limits.get("daily_loss")
    if loss:
        percent = loss.get("percent")
        amount = _amount(loss.get("money") if percent is None else percent, params)
        size = f"{amount} of the account's currency"
        if percent is not None:
            size = f"{amount}% of the balance the day began with"
        text = f"no entry once a trading day's closed trades have lost {size}; open positions stay"
        facts.append(Fact(name="Daily loss stop", value=text))
    return facts


def _readings(gate: Mapping[str, Any], params: Mapping[str, Any]) -> list[Fact]:
    """Return what a model must have read for an entry, and how it sizes it."""
    if not gate:
        return []
    facts = []
    least = ""
    if gate.get("min_confidence") is not None:
        least = f"{gate.get('confidence', 'confidence')} at least {_amount(gate['min_confidence'], params)}"
    for side in ("long", "short"):
        asked = gate.get(side) or {}
        parts = [
            f"{name} {' or '.join(asked[name])}"
            for name in ("bias", "trend", "volatility")
            if asked.get(name)
        ]
        within = asked.get("within_bars")
        where = "" if within is None else f" in the last {_amount(within, params)} bars"
        for name, word in (("patterns", "with"), ("no_patterns", "without")):
            if asked.get(name):
                parts.append(f"{word} {' or '.join(asked[name]).replace('_', ' ')}{where}")
        text = ", ".join([*parts, *([least] if least else [])])
        if text:
            facts.append(Fact(name=f"Readings for a {side}", value=text))
    size = gate.get("size")
    if size:
        low, high, least_factor, most = (
            _amount(size[name], params) for name in ("low", "high", "least", "most")
        )
        text = f"× {least_factor} at a {size.get('by', 'confidence')} of {low} to × {most} at {high}"
        facts.append(Fact(name="Size by reading", value=text))
    entries = "entries are taken" if gate.get("without") == "allow" else "no entry is taken"
    text = f"{entries} where no reading is known or its chart ended over "
    text += f"{_amount(gate.get('max_age_bars'), params)} bars ago"
    return [*facts, Fact(name="Without a reading", value=text)]


def _distance(distance: Mapping[str, Any], params: Mapping[str, Any]) -> str:
    away = _away(distance, params)
    if distance.get("unit") == "percent" and distance.get("origin") != "entry":
        away = f"{_amount(distance.get('value'), params)}%"
    origin = distance.get("origin")
    if origin == "position":
        return f"{away} from the entry's price, acting from the close of the entry bar on"
    return (
        f"{away} from the entry's price" if origin == "entry" else f"{away} from the close of the signal bar"
    )


def _away(distance: Mapping[str, Any], params: Mapping[str, Any]) -> str:
    amount = _amount(distance.get("value"), params)
    if distance.get("unit") == "percent":
        return f"{amount}% of the signal's close"
    return (
        f"{amount} pips"
        if distance.get("unit") != "atr"
        else f"{amount} × {distance.get('indicator') or 'ATR'}"
    )


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
