"""Entry limits in Pine: what holds entries back, from the script's own fills.

Owns their text.  What they mean is `aiopt.strategy.entry_limits`' business.  TradingView's `strategy.risk.*`
is not used: it counts exits as orders, closes positions, and knows no day that rolls at 17:00 New York.
"""

from __future__ import annotations

from aiopt.pine.draft import Draft
from aiopt.pine.text import float_number, number
from aiopt.pine.time_text import trading_day
from aiopt.strategy.entry_limits import LOSS_TOLERANCE
from aiopt.strategy.spec_limits import DailyLoss, EntryLimits
from aiopt.strategy.spec_targets import targets_of

_CLOSED, _OPEN = "strategy.closedtrades", "strategy.opentrades"


def write_limits(script: Draft) -> str | None:
    """Append what holds entries back; return the variable that says so, None without limits.

    An indicator holds no position, so it has no fills to count, and no limits.
    """
    limits = script.spec.limits
    if not isinstance(limits, EntryLimits):
        return None
    if not script.trades:
        script.lines += ["", "// The strategy's entry limits count fills, of which an indicator knows none"]
        return None
    names = script.names
    lines, causes = [], []
    if limits.pause_bars is not None:
        resting = names.take("resting")
        added, begun, since = _last_exit(script)
        lines += added
        lines.append(f"bool {resting} = {begun} and {since} < {_whole(script, limits.pause_bars)}")
        causes.append(resting)
    fresh = names.take("dayBegins")
    if limits.trades_per_day is not None or limits.daily_loss is not None:
        day, before = names.take("tradingDay"), names.take("dayBefore")
        lines += [
            "// The trading day rolls at 17:00 New York",
            f"int {day} = {trading_day()}",
            f"var int {before} = -1",
            f"bool {fresh} = {day} != {before}",
            f"{before} := {day}",
        ]
    if limits.trades_per_day is not None:
        added, causes_full = _entries(script, fresh, limits.trades_per_day)
        lines += added
        causes.append(causes_full)
    if limits.daily_loss is not None:
        added, lost = _loss(script, fresh, limits.daily_loss)
        lines += added
        causes.append(lost)
    held_back = names.take("heldBack")
    lines.append(f"bool {held_back} = {' or '.join(causes)}")
    script.section("Entry limits, by the fills up to this close; a signal held back is none", lines)
    return held_back


def _whole(script: Draft, value: int | float | str) -> str:
    return script.variables[value] if isinstance(value, str) else number(value)


def _last_exit(script: Draft) -> tuple[list[str], str, str]:
    """Return lines that look for the end of the last position, what says there was one, and bars since."""
    if not targets_of(script.spec):
        return [], f"{_CLOSED} > 0", f"bar_index - {_CLOSED}.exit_bar_index({_CLOSED} - 1)"
    names = script.names
    ended, seen, held = names.take("endedOn"), names.take("endsSeen"), names.take("heldSince")
    of = f"{_CLOSED}.entry_bar_index({seen})"
    lines = [
        "// Where the last position ended: a part that has left an open one ends none",
        f"int {held} = {_OPEN} > 0 ? {_OPEN}.entry_bar_index({_OPEN} - 1) : -1",
        f"var int {ended} = -1",
        f"var int {seen} = 0",
        f"while {seen} < {_CLOSED}",
        f"    {ended} := {of} == {held} ? {ended} : {_CLOSED}.exit_bar_index({seen})",
        f"    {seen} := {seen} + 1",
    ]
    return lines, f"{ended} >= 0", f"bar_index - {ended}"


def _entries(script: Draft, fresh: str, most: int | str) -> tuple[list[str], str]:
    """Return lines that count a day's entries, and the variable that says there are enough."""
    held, gone = script.names.take("enteredAndHeld"), script.names.take("enteredAndLeft")
    count, full = script.names.take("dayEntries"), script.names.take("dayIsFull")
    lines = [
        f"bool {held} = {_OPEN} > 0 and {_OPEN}.entry_bar_index({_OPEN} - 1) == bar_index",
        f"bool {gone} = {_CLOSED} > 0 and {_CLOSED}.entry_bar_index({_CLOSED} - 1) == bar_index",
        f"var int {count} = 0",
        f"{count} := ({fresh} ? 0 : {count}) + ({held} or {gone} ? 1 : 0)",
        f"bool {full} = {count} >= {_whole(script, most)}",
    ]
    return lines, full


def _loss(script: Draft, fresh: str, loss: DailyLoss) -> tuple[list[str], str]:
    """Return lines that sum a day's closed trades, and the variable that says they lost too much."""
    names = script.names
    seen, gained, began = names.take("tradesSeen"), names.take("dayProfit"), names.take("dayBalance")
    allowed, over = names.take("dayLossAllowed"), names.take("dayIsLost")
    if loss.money is not None:
        limit = script.amount(loss.money)
    else:
        assert loss.percent is not None  # a loss has one of the two
        limit = f"{script.amount(loss.percent)} / 100.0 * {began}"
    tolerance = f"{LOSS_TOLERANCE:.6f}"
    lines = [
        f"var int {seen} = 0",
        f"var float {gained} = 0.0",
        f"var float {began} = {float_number(script.initial_balance)}",
        f"{began} := {fresh} ? {began} + {gained} : {began}",
        f"{gained} := {fresh} ? 0.0 : {gained}",
        f"while {seen} < {_CLOSED}",
        f"    {gained} := {gained} + {_CLOSED}.profit({seen})",
        f"    {seen} := {seen} + 1",
        f"float {allowed} = {limit}",
        f"bool {over} = {gained} < -{tolerance} and -{gained} >= {allowed} - {tolerance}",
    ]
    return lines, over
