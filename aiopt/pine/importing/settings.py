"""The declaration ``strategy(...)``: what its settings mean for a run of ours, stated or refused."""

from __future__ import annotations

from dataclasses import dataclass

from aiopt.pine.importing.refusals import Findings
from aiopt.pine.importing.script import Reading
from aiopt.pine.importing.symbols import NOWHERE, Symbol, constant
from aiopt.pine.parsing.nodes import Node
from aiopt.strategy.spec_pyramiding import MOST_ENTRIES

_FOREX = "a fill is at the open of the next bar"


@dataclass(frozen=True)
class Settings:
    """What the declaration says of a run.

    Attributes
    ----------
    title : str
        Of the script.
    units : int or None
        Size of a position, where it is a fixed number of whole units.
    initial_capital : float
        Quote currency.
    commission_pct : float
        Per order.
    slippage_ticks : int
        On market and stop orders.
    pyramiding : int
        Entries of one side that may be open at once; 0 is 1.
    """

    title: str
    units: int | None
    initial_capital: float
    commission_pct: float
    slippage_ticks: int
    pyramiding: int = 0


def read_settings(reading: Reading, findings: Findings) -> Settings:
    """Return the settings; refuse those that change fills in a way a run cannot."""
    args, place = reading.declaration, reading.declared_at or NOWHERE

    def number(name: str, default: float) -> float:
        value = constant(args[name]) if name in args else default
        return default if value is None else value

    def is_true(name: str) -> bool:
        return name in args and args[name].op == "bool" and args[name].args[0] is True

    _refuse_fills(findings, place, number, is_true)
    if is_true("calc_on_every_tick"):
        findings.note(
            place, "calc_on_every_tick acts on live bars alone; a run has closed bars, as history has"
        )
    if is_true("use_bar_magnifier"):
        findings.note(place, "use_bar_magnifier looks inside bars; a run fills by the bars that it is given")
    kind = args["commission_type"].text if "commission_type" in args else "strategy.commission.percent"
    commission, slippage = number("commission_value", 0.0), int(number("slippage", 0))
    if commission and not kind.endswith("percent"):
        findings.note(
            place, f"commission_value={commission:g} ({kind}) is no part of a strategy: see --help of runs"
        )
    elif commission:
        findings.note(
            place,
            f"a commission of {commission:g} % is no part of a strategy: state it in the run's backtest",
        )
    if slippage:
        findings.note(
            place,
            f"slippage of {slippage} ticks is no part of a strategy: state it in the run's backtest; "
            "the proof declares the same",
        )
    title = args["title"].text if "title" in args and args["title"].op == "string" else "imported"
    percent = commission if kind.endswith("percent") else 0.0
    return Settings(
        title,
        _units(args, findings, place),
        number("initial_capital", 1e6),
        percent,
        slippage,
        int(number("pyramiding", 0)),
    )


# reason: the two readers of settings are made once, by the caller
def _refuse_fills(findings: Findings, place: Node, number: object, is_true: object) -> None:
    assert callable(number)
    assert callable(is_true)
    if number("pyramiding", 0) > MOST_ENTRIES:
        findings.refuse(
            place,
            "pyramiding",
            f"pyramiding={number('pyramiding', 0):g}",
            f"a strategy holds at most {MOST_ENTRIES} entries of one side at once",
            f"pyramiding={MOST_ENTRIES}",
        )
    if is_true("process_orders_on_close"):
        findings.refuse(
            place,
            "fills",
            "process_orders_on_close=true",
            "it fills at the close that made the signal; here " + _FOREX,
            "process_orders_on_close=false",
        )
    if is_true("calc_on_order_fills"):
        text = "it calculates again inside a bar, after a fill; here a bar counts once, at its close"
        findings.refuse(place, "fills", "calc_on_order_fills=true", text, "calc_on_order_fills=false")
    if number("backtest_fill_limits_assumption", 0) > 0:
        text = "a target fills where the price touches it"
        findings.refuse(place, "fills", "backtest_fill_limits_assumption", text, "leave it out")


def _units(args: dict[str, Symbol], findings: Findings, place: Node) -> int | None:
    kind = args["default_qty_type"].text if "default_qty_type" in args else "strategy.fixed"
    value = constant(args["default_qty_value"]) if "default_qty_value" in args else 1.0
    if kind != "strategy.fixed":
        findings.note(
            place,
            f"{kind} is no size of a strategy: positions are of a fixed size; that decides money, not trades",
        )
        return None
    if value is None or value != int(value) or not 1 <= value <= 1e9:
        findings.note(
            place, "default_qty_value is no whole number of units: positions are of a fixed size instead"
        )
        return None
    return int(value)
