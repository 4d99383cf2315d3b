"""The kill switch's way to a paper venue.  Owns ids and shape of the orders it closes with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aiopt.live.paper.seam import VenueOrder
from aiopt.live.paper.venue import PaperVenue


class PaperTarget:
    """What `aiopt.live.limits.kill_switch.KillTarget` asks for.

    Parameters
    ----------
    venue : PaperVenue
        Asked what is open.
    submit : callable
        Sends an order the way all orders go, so that whoever keeps the node's books hears of it.
    cancel : callable
        Takes an order back, likewise.
    """

    def __init__(
        self,
        venue: PaperVenue,
        submit: Callable[[VenueOrder], object],
        cancel: Callable[[str], object],
    ) -> None:
        self._venue, self._submit, self._cancel = venue, submit, cancel
        self.ts_ns = 0
        """Stamp of the orders it sends, UTC: the time of the step, or of the timer."""

    def entry_orders(self) -> Sequence[str]:
        """Return ids of orders at work that could open a position."""
        return [one.order.order_id for one in self._venue.orders() if one.order.position_id is None]

    def exit_orders(self) -> Sequence[str]:
        """Return ids of the other orders at work."""
        return [one.order.order_id for one in self._venue.orders() if one.order.position_id is not None]

    def positions(self) -> Sequence[str]:
        """Return ids of open positions."""
        return [one.position_id for one in self._venue.positions()]

    def cancel(self, order_id: str) -> None:
        """Take an order back."""
        self._cancel(order_id)

    def close(self, position_id: str) -> None:
        """Send a market order over all that is left of a position, unless one is at work already.

        Its id is made of the position's and of how many events the venue has had, so that it is the same when
        a step is replayed and another when it is tried again.
        """
        for one in self._venue.orders():
            if one.order.position_id == position_id and one.order.kind == "market":
                return
        held = next(one for one in self._venue.positions() if one.position_id == position_id)
        order = VenueOrder(
            order_id=f"kill-{position_id}-{self._venue.seq}",
            strategy=held.strategy,
            instrument=held.instrument,
            series=held.series,
            side=-held.side,
            units=held.units,
            kind="market",
            position_id=position_id,
            ts_ns=self.ts_ns,
        )
        self._submit(order)
