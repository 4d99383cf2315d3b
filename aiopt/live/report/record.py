"""A session as its folder has it: one commit of its file, the proof and the commands beside it.

Owns reading them into plain values.  Draws and prints nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from aiopt.backtest.growing_bars import BarRow
from aiopt.bus.audit import read_chain
from aiopt.errors import ConfigError
from aiopt.live.control.controls import controls_of
from aiopt.live.control.reloading import with_settings
from aiopt.live.guard.guard import GuardState
from aiopt.live.paper.seam import PaperAccount, PaperPosition, WorkingOrder
from aiopt.live.paper.venue import PaperVenue
from aiopt.live.paper.venue_state import VenueState
from aiopt.live.session.live_config import LiveConfig
from aiopt.live.session.live_trades import LiveTrade
from aiopt.live.session.proof import Proof
from aiopt.live.session.run_folder import SUMMARY, refusing_rule
from aiopt.live.session.status import is_running
from aiopt.live.state.session_reader import SessionReader
from aiopt.market.instrument import instrument
from aiopt.timeframe import Timeframe, parse_timeframe
from aiopt.utc import time_text

VENUE_EVENTS = frozenset(
    {"accepted", "rejected", "filled", "cancelled", "cancel_rejected", "modified", "modify_rejected"}
)


@dataclass(frozen=True, kw_only=True)
class Happening:
    """One row of a session's events: number, time (0: before the first quote) and record."""

    number: int
    ts_ns: int
    record: dict[str, Any]

    @property
    def kind(self) -> str:
        """Type of the record, e.g. ``"filled"`` or ``"feed"``."""
        return str(self.record.get("type", ""))


@dataclass(frozen=True, kw_only=True)
class CommandRow:
    """One command of the audit journal: when and by whom it was asked, its outcome or ``"open"``, and why."""

    asked_ns: int
    command: str
    command_id: str
    by: str
    status: str
    text: str


@dataclass(frozen=True, kw_only=True)
class SessionRecord:
    """A session at one of its commits.

    Attributes
    ----------
    folder : Path
    session : str
        Its id.
    standing : str
        ``"runs"``, ``"left"`` or ``"ended"``.
    config : LiveConfig
    feed : dict
        Identity of its feed.
    position, dropped : int
        Quotes taken so far, and how many of them reached neither bars nor venue.
    last : (int, float, float) or None
        Time, bid and ask of the last quote taken.
    account : PaperAccount
        At the last quote committed.
    positions, orders
        Open and working.
    guard : GuardState
    broken : dict of str to str
        Strategies that raised, and what.
    trades : list of LiveTrade
    happenings : list of Happening
        All events, or the newest.
    series : dict of str to list of BarRow
        Bars since the feed began, without the warm-up; empty where they were not asked for.
    """

    folder: Path
    session: str
    standing: str
    config: LiveConfig
    feed: dict[str, Any]
    position: int
    dropped: int
    last: tuple[int, float, float] | None
    account: PaperAccount
    positions: tuple[PaperPosition, ...]
    orders: tuple[WorkingOrder, ...]
    guard: GuardState
    broken: dict[str, str]
    trades: list[LiveTrade]
    happenings: list[Happening]
    series: dict[str, list[BarRow]]

    def __repr__(self) -> str:
        return f"SessionRecord({self.session}, {self.standing}, {len(self.trades)} trades)"

    @property
    def currency(self) -> str:
        """Of the account."""
        return self.account.currency

    @property
    def feed_quote(self) -> str:
        """Quote currency of what is traded, if that is one instrument; else empty."""
        names = {name.rpartition("-")[0] for name in self.series}
        return instrument(names.pop()).quote if len(names) == 1 else ""

    def of_kind(self, *kinds: str) -> list[Happening]:
        """Return the events of some types, in order."""
        return [one for one in self.happenings if one.kind in kinds]

    def refused(self) -> Counter[str]:
        """Return how many orders were refused, by rule."""
        return Counter(refusing_rule(str(one.record["text"])) for one in self.of_kind("refused"))


def read_record(folder: Path, *, newest: int | None = None) -> SessionRecord:
    """Read a session.

    Parameters
    ----------
    folder : Path
        Of the session, which may be running.
    newest : int, optional
        Only so many of its newest events, and no bars: for a view that is redrawn all the time.

    Raises
    ------
    ConfigError
        If there is no session in the folder, or it has not begun.
    StorageError
        If its file cannot be read.
    """
    with SessionReader(folder) as reader:
        meta, state = reader.meta(), reader.state()
        if "venue" not in state:
            raise ConfigError(f"The session in {folder} has not begun yet. Ask again in a moment.")
        rows = reader.events() if newest is None else reader.last_events(newest)
        trades = [msgspec.json.decode(text, type=LiveTrade) for text in reader.trades()]
        feed = json.loads(meta["feed"])
        series = {}
        if newest is None:
            first_ns = next(
                (ts_ns for _, ts_ns, _ in rows if ts_ns), 0
            )  # a live feed has no start of its own
            start_ns = int(feed.get("start_ns") or first_ns)
            series = {name: reader.bars(name, start_ns) for name in reader.series()}
    controls = controls_of(state)
    config = msgspec.json.decode(meta["config"], type=LiveConfig)
    if controls is not None:  # it may go by other limits than it began with
        config = with_settings(config, controls.settings)
    venue = PaperVenue.restore(config.account, msgspec.json.decode(state["venue"], type=VenueState))
    cursor = json.loads(state["cursor"])
    last = cursor["last"]
    ended = state.get("ended") == "true"
    return SessionRecord(
        folder=Path(folder),
        session=meta["id"],
        standing="ended" if ended else "runs" if is_running(folder) else "left",
        config=config,
        feed=feed,
        position=cursor.get("taken", cursor["position"]),
        dropped=cursor["dropped"],
        last=None if last is None else (int(last[0]), float(last[1]), float(last[2])),
        account=venue.account(0 if last is None else last[0]),
        positions=venue.positions(),
        orders=venue.orders(),
        guard=msgspec.json.decode(state["guard"], type=GuardState),
        broken=json.loads(state["broken"]),
        trades=trades,
        happenings=[Happening(number=row[0], ts_ns=row[1], record=json.loads(row[2])) for row in rows],
        series=series,
    )


def timeframe_of(series: str) -> Timeframe:
    """Return the timeframe of ``EURUSD-5m``."""
    return parse_timeframe(series.rpartition("-")[2])


def read_proofs(folder: Path) -> list[Proof] | None:
    """Return what ``session.json`` beside a session says of its proof; None: it was not compared."""
    path = Path(folder) / SUMMARY
    if not path.is_file():
        return None
    found = msgspec.json.decode(path.read_bytes()).get("proof")
    return None if found is None else msgspec.convert(found, list[Proof])


def read_commands(folder: Path) -> list[CommandRow]:
    """Return the commands of a session's audit journals, in the order in which they were asked.

    Raises
    ------
    DataError
        If a journal was changed or cut off.
    """
    rows: dict[str, CommandRow] = {}
    for end in sorted(Path(folder).rglob("*.end")):  # see `aiopt.bus.audit`: it lies beside every journal
        for payload in read_chain(end.with_suffix(""))[0]:
            line = msgspec.json.decode(payload)
            if line.get("type") == "asked":
                document = line["document"]
                name = str(document["id"])
                rows[name] = CommandRow(
                    asked_ns=line["at_ns"],
                    command=str(document["command"]),
                    command_id=name,
                    by=str(document["by"]),
                    status="open",
                    text="",
                )
            elif line.get("type") == "settled":
                outcome = line["outcome"]
                name = outcome["command_id"]
                asked = rows.get(name)
                rows[name] = CommandRow(
                    asked_ns=line["at_ns"] if asked is None else asked.asked_ns,
                    command=outcome["command"],
                    command_id=name,
                    by="" if asked is None else asked.by,
                    status=outcome["status"],
                    text=_outcome_text(outcome),
                )
    return sorted(rows.values(), key=lambda row: row.asked_ns)


def _outcome_text(outcome: dict[str, Any]) -> str:
    if outcome.get("reason"):
        return str(outcome["reason"])
    before, after = outcome.get("before", {}), outcome.get("after", {})
    return ", ".join(f"{name}: {before.get(name, '–')} → {value}" for name, value in after.items())


def sentence(one: Happening) -> str:
    """Return an event as a line of text for people."""
    record = one.record
    kind = one.kind
    if kind == "filled":
        what = f"{record['order_id']}: {record['units']:,g} at {record['price']}"
        settled = record.get("settled")
        return what if settled is None else f"{what}, net {settled['net']:+,.2f}"
    if kind in VENUE_EVENTS:
        why = record.get("reason") or ""
        return f"{record['order_id']}{': ' if why else ''}{why}"
    if kind == "feed":
        return str(record["change"]["text"])
    if kind == "breach":
        breach = record["breach"]
        return f"{breach['rule']} reached: {breach['value']:g} of {breach['limit']:g}"
    if kind == "began":
        return f"{'gone on' if record.get('resumed') else 'begun'} at quote {record.get('position', 0):,}"
    return ", ".join(_parts(record))


def _parts(record: dict[str, Any]) -> Iterator[str]:
    for name, value in record.items():
        if name != "type" and not isinstance(value, dict):
            yield f"{name} {value}" if name != "text" else str(value)


def when(ts_ns: int) -> str:
    """Return the time of an event, to the second."""
    return time_text(ts_ns, "s") if ts_ns else "before the first quote"
