"""Strategies whose exceptions stop them in a defined state, and nothing else.

A strategy that has raised decides no more; its stop and target stay in the market until the session has
closed what it holds, as its configuration says.  Fills are still taken note of, as far as it can.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from aiopt.backtest.pyramid import PyramidStrategy
from aiopt.backtest.strategy import SpecStrategy
from aiopt.live.node.steering import Steering

_HANDLERS = (
    "on_bar",
    "on_order_filled",
    "on_order_canceled",
    "on_order_rejected",
    "on_order_denied",
    "on_order_cancel_rejected",
)


class Guard:
    """What the guarded strategies have beside their base.

    Attributes
    ----------
    broken : str
        What was raised; empty: nothing was.
    on_break : callable or None
        Told of the strategy's tag and the exception, once.
    """

    broken: str = ""
    on_break: Callable[[str, Exception], None] | None = None


def _guarded(name: str, base: type) -> Callable[[Any, Any], None]:
    handle = getattr(base, name)

    def handler(self: Any, event: Any) -> None:
        if self.broken:
            if name != "on_bar":
                with contextlib.suppress(Exception):  # it has been told of already, and state is lost
                    handle(self, event)
            return
        try:
            handle(self, event)
        except Exception as error:  # noqa: BLE001 - whatever a strategy raises stops it alone
            self.broken = f"{type(error).__name__}: {error}"
            if self.on_break is not None:
                self.on_break(self.id.get_tag(), error)

    handler.__name__ = name
    handler.__doc__ = f"As `{base.__name__}.{name}`, but an exception stops the strategy alone."
    return handler


class LiveSpecStrategy(SpecStrategy, Guard, Steering):
    """`SpecStrategy`, guarded and steered."""


class LivePyramidStrategy(PyramidStrategy, Guard, Steering):
    """`PyramidStrategy`, guarded and steered."""


for _name in _HANDLERS:
    setattr(LiveSpecStrategy, _name, _guarded(_name, SpecStrategy))
    setattr(LivePyramidStrategy, _name, _guarded(_name, PyramidStrategy))

LiveStrategy = LiveSpecStrategy | LivePyramidStrategy


def live_strategy(tag: str, entries: int) -> LiveStrategy:
    """Return a strategy for specs that hold so many entries at once.

    Parameters
    ----------
    tag : str
        Names it in the session.
    entries : int
        As `SignalSource.pyramiding`.
    """
    return LiveSpecStrategy(f"SPEC-{tag}") if entries == 1 else LivePyramidStrategy(f"PYRAMID-{tag}")
