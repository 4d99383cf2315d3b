"""What a person may change of a strategy that runs: its signals and rules, the levels of what it holds.

Owns how the change is made whole: a strategy is as it was before or as it was asked for, never between.
Knows no command and no limit; what may be asked for is `aiopt.live.control`'s.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from aiopt.backtest.signals import StreamedSignals
from aiopt.backtest.trading_rules import TradingRules


class Levels(NamedTuple):
    """Where stop and target of a position lie; None for none."""

    stop: float | None
    target: float | None


class Steering:
    """What strategies of a session have beside their base: see `aiopt.live.node.guarded`."""

    _source: Any
    _rules: TradingRules

    @property
    def source(self) -> StreamedSignals:
        """The signals it decides on."""
        source: StreamedSignals = self._source
        return source

    @property
    def is_at_rest(self) -> bool:
        """Whether it holds nothing and waits for no order."""
        me: Any = self
        return me.position is None and not me._plans and not me._early

    def planned(self, order_id: str) -> Levels:
        """Return stop and target of an entry that was ordered; None where they are laid from its fill."""
        me: Any = self
        for name, plan in me._plans.items():
            if name.value == order_id:
                return Levels(_finite(plan.stop), _finite(plan.target))
        return Levels(None, None)

    def exchange(self, source: StreamedSignals, rules: TradingRules) -> None:
        """Go on with other signals and rules, which have seen every bar; what is held and ordered stays.

        Parameters
        ----------
        source : StreamedSignals
            Of the other spec.
        rules : TradingRules
            Of the other spec.

        Raises
        ------
        Exception
            Whatever the change broke on; the strategy is then as it was.
        """
        me: Any = self
        before, kept = (self._source, self._rules), me.save_state()
        told = me.closed, me.refusals
        try:
            self._take(source, rules, kept)
        except BaseException:
            self._take(*before, kept)
            raise
        finally:
            me.closed, me.refusals = told

    def _take(self, source: Any, rules: TradingRules, kept: dict[str, Any]) -> None:
        me: Any = self
        me.prepare(me._instrument, source, rules, me._bar_type, me._timeframe_ns)
        me._bar = kept["bar"]
        fresh = me.save_state()
        # What the other spec does not have needs no state; what the old one did not have begins anew.
        merged = {name: fresh[name] if kept[name] is None else kept[name] for name in fresh}
        me.restore_state(merged)

    # --- levels -----------------------------------------------------------------------------------------

    def levels_of(self, position_id: str) -> Levels | None:
        """Return where stop and target of a position lie; None if the strategy holds no such position."""
        me: Any = self
        if not self._parts_of(position_id):
            return None
        for entry in getattr(me, "_entries", ()):
            if entry.part.position_id.value == position_id:
                return Levels(_finite(entry.held.stop), _finite(entry.held.target))
        part = self._parts_of(position_id)[0]
        stop = None if part.stop_order is None else part.stop_order.trigger_price.as_double()
        rounded = None if stop is None else round(stop, self._rules.price_decimals)
        return Levels(rounded, _finite(part.target))

    @property
    def waiting_levels(self) -> bool:
        """Whether a stop or target is laid at the next close only."""
        me: Any = self
        return not (math.isnan(me.held_stop) and math.isnan(me.held_target))

    @property
    def is_leaving(self) -> bool:
        """Whether an order that closes what is held is on its way."""
        me: Any = self
        return bool(me._is_leaving)

    def move_levels(
        self,
        position_id: str,
        stop: float | None,
        target: float | None,
        move: Callable[[str, float], None],
    ) -> None:
        """Put stop, target or both of a position elsewhere; one that has none gets one.

        Parameters
        ----------
        position_id : str
            Of a position it holds.
        stop, target : float or None
            Prices; None: as it is.
        move : callable of str and float
            Gives an order at work another price.
        """
        me: Any = self
        for part in self._parts_of(position_id):
            if stop is not None:
                if part.stop_order is None:
                    me._send_stop(part, stop)
                else:
                    move(part.stop_order.client_order_id.value, stop)
            if target is not None:
                part.target = target
                resting = [one for one in part.resting if one is not part.stop_order]
                for one in resting:
                    move(one.client_order_id.value, target)
                if not resting:
                    me._send_target(part)
        self._take_down(position_id, stop, target)

    def _take_down(self, position_id: str, stop: float | None, target: float | None) -> None:
        me: Any = self
        changed = {name: value for name, value in (("stop", stop), ("target", target)) if value is not None}
        entries = getattr(me, "_entries", None)
        if entries is not None:
            for entry in entries:
                if entry.part.position_id.value == position_id:
                    entry.held = entry.held._replace(**changed)
            me.position = entries[0].held
            me._look()
            return
        me.position = me.position._replace(**changed)
        if stop is not None:
            me.stop_price = stop
            if me.moving is not None:
                me.moving.put(stop)
        if target is not None:
            me.target_price = target

    def _parts_of(self, position_id: str) -> list[Any]:
        me: Any = self
        return [part for part in me._open_parts() if part.position_id.value == position_id]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
