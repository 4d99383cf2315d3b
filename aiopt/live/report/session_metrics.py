"""What a running session counts, in Prometheus' text format.

Owns the names and the buckets.  Counting costs a step well under a microsecond: plain numbers, made into
metrics when somebody asks.  What is asked over HTTP comes from another thread, so account and feed are looked
at in the session's own, now and then (`look`).
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterable
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from aiopt.live.guard.guard import Guard
from aiopt.live.paper.venue import PaperVenue

BUCKETS_S = (25e-6, 50e-6, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
KINDS = ("quiet", "bar", "order")
"""What happened in a step: nothing, a bar ended, events of the venue."""
_STATES = ("live", "stale", "halted", "closed")


class Counted(Protocol):
    """What is counted of a session: its `aiopt.live.session.stepping.Stepper`."""

    guard: Guard
    venue: PaperVenue
    last: tuple[int, float, float] | None
    quotes: int
    dropped: int
    commits: int


class SessionMetrics(Collector):
    """Counters of one stretch of a session.

    Parameters
    ----------
    session : str
        Value of the label ``session``.
    """

    def __init__(self, session: str) -> None:
        self._session = session
        self.registry = CollectorRegistry()
        self.registry.register(self)
        self._counts = {kind: [0] * (len(BUCKETS_S) + 1) for kind in KINDS}
        self._sums = dict.fromkeys(KINDS, 0.0)
        self._refused: dict[str, int] = {}
        self._trades: dict[str, tuple[int, float]] = {}
        self._seen: dict[str, float] = {}
        self._feeds: dict[str, str] = {}
        self._kill = "armed"
        self._quote_wall_s = 0.0
        self.log_failures = 0

    def __repr__(self) -> str:
        return f"SessionMetrics({self._session})"

    def stepped(self, kind: str, took_s: float) -> None:
        """Count a step."""
        self._counts[kind][bisect_left(BUCKETS_S, took_s)] += 1
        self._sums[kind] += took_s

    def refused(self, rule: str) -> None:
        """Count an order that was refused."""
        self._refused[rule] = self._refused.get(rule, 0) + 1

    def traded(self, strategy: str, net: float) -> None:
        """Count a finished trade."""
        count, total = self._trades.get(strategy, (0, 0.0))
        self._trades[strategy] = count + 1, total + net

    def look(self, counted: Counted) -> None:
        """Take down account, feed and counts as they are now."""
        last, guard = counted.last, counted.guard
        account = counted.venue.account(0 if last is None else last[0])
        seen = {
            "quotes": counted.quotes,
            "dropped": counted.dropped,
            "commits": counted.commits,
            "balance": account.balance,
            "equity": account.equity,
            "margin": account.margin,
            "positions": len(counted.venue.positions()),
            "orders": len(counted.venue.orders()),
            "day": -guard.limits.day_loss,
            "drawdown": guard.limits.drawdown,
        }
        if last is not None:
            seen |= {"quote_s": last[0] / 1e9, "bid": last[1], "ask": last[2]}
        if counted.quotes > self._seen.get("quotes", -1):
            self._quote_wall_s = time.time()
        self._seen = seen
        self._feeds = {symbol: watch.state for symbol, watch in guard.watches.items()}
        self._kill = guard.kill_switch.state.step

    def text(self) -> bytes:
        """Return everything in the text format."""
        return generate_latest(self.registry)

    def collect(self) -> Iterable[Any]:
        """Yield the metrics, for the registry."""
        seen = self._seen
        for name, text in (
            ("quotes", "Quotes taken in this stretch."),
            ("dropped", "Quotes that reached neither bars nor venue."),
            ("commits", "Commits of this stretch."),
        ):
            yield self._counter(f"aiopt_live_{name}", text, seen.get(name, 0))
        for name, metric, text in (
            ("balance", "balance", "Balance, account currency."),
            ("equity", "equity", "Equity, account currency."),
            ("margin", "margin", "Margin that open positions bind, account currency."),
            ("positions", "open_positions", "Open positions."),
            ("orders", "working_orders", "Orders at work, stops and targets included."),
            ("day", "day_result", "Result of the trading day so far, account currency."),
            ("drawdown", "drawdown", "Fall from the highest equity, a share of it."),
            ("bid", "bid", "Last bid."),
            ("ask", "ask", "Last ask."),
            ("quote_s", "quote_timestamp_seconds", "Stamp of the last quote, by its provider."),
        ):
            if name in seen:
                yield self._gauge(f"aiopt_live_{metric}", text, seen[name])
        if self._quote_wall_s:
            age = max(0.0, time.time() - self._quote_wall_s)
            yield self._gauge("aiopt_live_feed_age_seconds", "Since the last quote was taken.", age)
        yield self._gauge("aiopt_live_log_failures", "Times the log could not be written.", self.log_failures)
        yield from self._labelled()
        steps = HistogramMetricFamily(
            "aiopt_live_step_seconds",
            "From a quote to the end of all that followed, its commit included.",
            labels=("session", "kind"),
        )
        for kind in KINDS:
            total, buckets = 0, []
            for edge, count in zip((*BUCKETS_S, float("inf")), self._counts[kind], strict=True):
                total += count
                buckets.append(("+Inf" if edge == float("inf") else f"{edge:g}", total))
            steps.add_metric((self._session, kind), buckets, self._sums[kind])
        yield steps

    def _labelled(self) -> Iterable[Any]:
        refused = CounterMetricFamily(
            "aiopt_live_refused_orders", "Orders refused, by rule.", labels=("session", "rule")
        )
        for rule, count in sorted(self._refused.items()):
            refused.add_metric((self._session, rule), count)
        yield refused
        trades = CounterMetricFamily(
            "aiopt_live_trades", "Finished trades of this stretch.", labels=("session", "strategy")
        )
        net = GaugeMetricFamily(
            "aiopt_live_net", "What they left, account currency.", labels=("session", "strategy")
        )
        for name, (count, total) in sorted(self._trades.items()):
            trades.add_metric((self._session, name), count)
            net.add_metric((self._session, name), total)
        yield from (trades, net)
        feed = GaugeMetricFamily(
            "aiopt_live_feed_state", "1 for the feed's state.", labels=("session", "instrument", "state")
        )
        for symbol, state in self._feeds.items():
            for one in _STATES:
                feed.add_metric((self._session, symbol, one), float(one == state))
        yield feed
        kill = GaugeMetricFamily("aiopt_live_kill_switch", "1 for its step.", labels=("session", "step"))
        kill.add_metric((self._session, self._kill), 1)
        yield kill

    def _gauge(self, name: str, text: str, value: float) -> GaugeMetricFamily:
        found = GaugeMetricFamily(name, text, labels=("session",))
        found.add_metric((self._session,), value)
        return found

    def _counter(self, name: str, text: str, value: float) -> CounterMetricFamily:
        found = CounterMetricFamily(name, text, labels=("session",))
        found.add_metric((self._session,), value)
        return found
