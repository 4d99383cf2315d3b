"""Where a session stands, read from its file while it runs or afterwards.  Owns that view."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from aiopt.backtest.money import to_float
from aiopt.errors import ConfigError
from aiopt.files import file_lock
from aiopt.live.control.controls import controls_of
from aiopt.live.feeds.feed_config import with_kind
from aiopt.live.paper.market import DECIMALS_BEYOND_TICK
from aiopt.live.paper.venue_state import VenueState
from aiopt.live.session.live_config import LiveConfig
from aiopt.live.state.session_file import read_session
from aiopt.market.instrument import instrument


def status_of(folder: Path) -> dict[str, Any]:
    """Return what a session's last commit says.

    Parameters
    ----------
    folder : Path
        Of the session.

    Returns
    -------
    dict
        ``session``, ``state`` (``"runs"``, ``"left"`` or ``"ended"``), ``position`` (place in the feed),
        ``taken`` (quotes), ``last_quote``,
        ``feed`` (``kind``; of a live one ``late_s``, the lateness of its last quotes, and ``notes``),
        ``balance``, ``currency``, ``trades``, ``positions``, ``orders``, ``broken``,
        ``states`` and ``modes`` by strategy, ``kill``, ``bus``, ``analyst`` (``model``, None for rules;
        ``charts`` asked about; ``under_way``; None where nobody reads); plain data.

    Raises
    ------
    ConfigError
        If there is no session in the folder, or it has not begun.
    """
    meta, state = read_session(folder)
    if "venue" not in state:
        raise ConfigError(f"The session in {folder} has not begun yet. Ask again in a moment.")
    venue = msgspec.json.decode(state["venue"], type=VenueState)
    config = msgspec.convert(with_kind(json.loads(meta["config"])), LiveConfig)
    cursor = json.loads(state["cursor"])
    last = cursor["last"]
    ended = state.get("ended") == "true"
    return {
        "session": meta["id"],
        "state": "ended" if ended else "runs" if is_running(folder) else "left",
        "position": cursor["position"],
        "taken": cursor.get("taken", cursor["position"]),
        "dropped": cursor["dropped"],
        "last_quote": None if last is None else dict(zip(("ts_ns", "bid", "ask"), last, strict=True)),
        "feed": json.loads(state.get("feed", json.dumps({"kind": config.feed.__struct_config__.tag}))),
        "balance": to_float(int(venue.balance)),
        "currency": config.account.account_currency,
        "trades": int(meta["trades"]),
        "positions": [
            {
                "strategy": one.strategy,
                "position_id": one.position_id,
                "side": one.side,
                "units": sum(lot.units for lot in one.lots),
                "entry_price": one.lots[0].price,
                "entry_ts_ns": one.lots[0].ts_ns,
            }
            for one in venue.positions
        ],
        "orders": [
            {
                "order_id": one.order.order_id,
                "strategy": one.order.strategy,
                "kind": one.order.kind,
                "side": one.order.side,
                "units": one.left,
                "price": None if one.level is None else one.level / _scale(one.order.instrument),
                "position_id": one.order.position_id,
            }
            for one in venue.orders
        ],
        "broken": json.loads(state["broken"]),
        **_controlled(config, state),
        "analyst": _reading(state.get("analyst")),
    }


def _reading(text: str | None) -> dict[str, Any] | None:
    """Return who reads, as the reader's state says."""
    if text is None:
        return None
    found = json.loads(text)
    model = ", ".join(found["models"]) if found["reader"] == "model" else None
    return {"model": model, "charts": found["next"], "under_way": len(found["asked"])}


def _controlled(config: LiveConfig, state: dict[str, str]) -> dict[str, Any]:
    """Return what commands may have changed."""
    controls, guard = controls_of(state), json.loads(state["guard"])
    return {
        "states": {name: one["name"] for name, one in guard["strategies"]["states"].items()},
        "modes": {
            one.id: "trade" if controls is None else controls.modes.get(one.id, "trade")
            for one in config.strategies
        },
        "kill": guard["kill"]["step"],
        "bus": state.get("bus", config.bus),
    }


def _scale(symbol: str) -> int:
    return 10 ** (instrument(symbol).price_precision + DECIMALS_BEYOND_TICK)


def is_running(folder: Path) -> bool:
    """Tell whether a process has a session open."""
    busy = ConfigError("running")
    try:
        with file_lock(Path(folder) / "session.lock", exclusive=False, busy=busy):
            return False
    except ConfigError as error:
        if error is busy:
            return True
        raise
