"""The kill switch: no new orders, cancel, close, confirm flat, halted.

Owns the order of the steps, retries and what is reported.  Knows no venue: it acts through `KillTarget`.
Plain state, kept with the session, so that a restart in the middle goes on where it was; plain calls on a
clock of the caller's, which must be the wall clock, as a feed that is dead must not stop it.

The steps
---------
1. *blocked*: from the call of `kill` on `may_enter` is false.
2. *cancelling*: orders that could open something are cancelled.  Stops and targets stay: should closing fail,
   they are what is left to protect a position.
3. *closing*: each position is closed with a market order.
4. *confirming*: waits until nothing is open; a position that turns up late is closed, an order without a
   position cancelled.  After `confirm_s` the round is repeated, as often as `rounds` says.
5. *halted*: flat, or with a list of what is still open.  It stays watched: `advance` strikes it off the list.

A step that fails is tried `attempts` times, then noted, and the next begins: a venue that refuses to cancel
must not keep a position from being closed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, Protocol

import msgspec

from aiopt.errors import ConfigError
from aiopt.utc import SECOND_NS

KILL_STATE_VERSION = 1

KillStep = Literal["armed", "cancelling", "closing", "confirming", "halted"]


class KillTarget(Protocol):
    """What the kill switch acts through; any call may raise."""

    def entry_orders(self) -> Sequence[str]:
        """Return ids of orders at work that could open a position."""
        ...

    def exit_orders(self) -> Sequence[str]:
        """Return ids of the other orders at work."""
        ...

    def positions(self) -> Sequence[str]:
        """Return ids of open positions."""
        ...

    def cancel(self, order_id: str) -> None:
        """Ask for an order to be cancelled."""
        ...

    def close(self, position_id: str) -> None:
        """Send a market order that closes a position; asked again, it may send another."""
        ...


class KillConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How patient the kill switch is.

    Attributes
    ----------
    attempts : int
        Times that one thing is tried in a round.
    retry_s : float
        Seconds between two tries.
    confirm_s : float
        Seconds a round waits until everything is closed.
    rounds : int
        Rounds of cancelling and closing before it halts with something open.
    """

    attempts: int = 3
    retry_s: float = 1.0
    confirm_s: float = 15.0
    rounds: int = 3

    def __post_init__(self) -> None:
        for name, held, remedy in (
            ("attempts", 1 <= self.attempts <= 100, "1 <= attempts <= 100"),
            ("retry_s", 0 <= self.retry_s <= 600, "0 <= retry_s <= 600"),
            ("confirm_s", 0 <= self.confirm_s <= 3600, "0 <= confirm_s <= 3600"),
            ("rounds", 1 <= self.rounds <= 100, "1 <= rounds <= 100"),
        ):
            if not held:
                msg = f"`{remedy}` must hold, but got {name}={getattr(self, name)!r}. Choose another."
                raise ConfigError(msg)


class KillFailure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A try that failed: in which step, on what, why."""

    step: KillStep
    target: str
    text: str
    ts_ns: int


class KillState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the kill switch goes on from after a restart, and its report.

    Attributes
    ----------
    version : int
        `KILL_STATE_VERSION`.
    step : str
        Where it is.
    reason : str
        Why it was pulled; empty while armed.
    since_ns, step_ns : int
        When it was pulled, and when its present step began.
    round : int
        Rounds begun.
    tries : dict of str to (int, int)
        Of the present step: tries and the time of the last one, by order or position.
    failures : tuple of KillFailure
        The last hundred.
    still_open : tuple of str
        Positions and orders that are open, once halted.
    """

    version: int = KILL_STATE_VERSION
    step: KillStep = "armed"
    reason: str = ""
    since_ns: int = 0
    step_ns: int = 0
    round: int = 0
    tries: dict[str, tuple[int, int]] = {}
    failures: tuple[KillFailure, ...] = ()
    still_open: tuple[str, ...] = ()


_FAILURES = 100
_SENT = -1
"""In place of a number of tries: it was done, the answer comes in its own time."""
_ASKING = "(asking the venue)"


class KillSwitch:
    """The kill switch of a session.

    Parameters
    ----------
    config : KillConfig
        Its patience.
    state : KillState, optional
        To go on from.

    Raises
    ------
    ConfigError
        If the state is of another version.
    """

    def __init__(self, config: KillConfig, state: KillState | None = None) -> None:
        if state is not None and state.version != KILL_STATE_VERSION:
            msg = f"The kill switch's state is of version {state.version}, but this aiopt reads "
            msg += f"{KILL_STATE_VERSION}. Go on with the aiopt that wrote it, or begin a new session."
            raise ConfigError(msg)
        self.config = config
        self.state = KillState() if state is None else state

    def __repr__(self) -> str:
        return f"KillSwitch({self.state.step}, still_open={len(self.state.still_open)})"

    @property
    def may_enter(self) -> bool:
        """Whether orders that open something may be sent."""
        return self.state.step == "armed"

    @property
    def is_halted(self) -> bool:
        """Whether it has ended."""
        return self.state.step == "halted"

    def kill(self, reason: str, ts_ns: int) -> None:
        """Pull it; pulled again, it goes on as it was, but one that halted with something open tries again.

        Parameters
        ----------
        reason : str
            Who and why, for the report.
        ts_ns : int
            Wall clock, UTC.
        """
        if self.state.step == "armed" or (self.is_halted and self.state.still_open):
            self.state = KillState(
                step="cancelling",
                reason=reason,
                since_ns=ts_ns,
                step_ns=ts_ns,
                round=1,
                failures=self.state.failures,
            )

    def advance(self, target: KillTarget, ts_ns: int) -> KillState:
        """Do what is due and return where it is; call it on every step and by a timer until it has halted.

        Parameters
        ----------
        target : KillTarget
            Orders and positions.
        ts_ns : int
            Wall clock, UTC, not going back.
        """
        if self.state.step == "cancelling" and self._done(target.entry_orders, target.cancel, ts_ns):
            self._go("closing", ts_ns)
        if self.state.step == "closing" and self._done(target.positions, target.close, ts_ns):
            self._go("confirming", ts_ns)
        if self.state.step == "confirming":
            self._confirm(target, ts_ns)
        elif self.is_halted and self.state.still_open:
            left = self._open(target, ts_ns)
            if left is not None:
                self._change(still_open=left)
        return self.state

    def _done(self, ask: Callable[[], Sequence[str]], act: Callable[[str], None], ts_ns: int) -> bool:
        """Try what is due on each thing; return whether each was done or tried often enough."""
        if self._rests(_ASKING, ts_ns):
            return False
        names = self._ask(ask, ts_ns)
        if names is None:
            return self._exhausted(_ASKING)
        waits = False
        for name in names:
            tried, _ = self.state.tries.get(name, (0, 0))
            if tried == _SENT or tried >= self.config.attempts:
                continue
            if self._rests(name, ts_ns):
                waits = True
            elif self._try(name, partial(act, name), ts_ns):
                self._change(tries={**self.state.tries, name: (_SENT, ts_ns)})
            elif not self._exhausted(name):
                waits = True
        return not waits

    def _confirm(self, target: KillTarget, ts_ns: int) -> None:
        self._done(target.positions, target.close, ts_ns)
        left = self._open(target, ts_ns)
        if left == ():
            self._go("halted", ts_ns)
            return
        if left is not None and not self._ask(target.positions, ts_ns):
            # Flat, but something rests: it has no position any more, so it may not stay.
            for order_id in left:
                self._try(order_id, partial(target.cancel, order_id), ts_ns)
            if self._open(target, ts_ns) == ():
                self._go("halted", ts_ns)
                return
        if ts_ns < self.state.step_ns + round(self.config.confirm_s * SECOND_NS):
            return
        if self.state.round < self.config.rounds:
            self._change(round=self.state.round + 1)
            self._go("cancelling", ts_ns)
            return
        self._go("halted", ts_ns)
        self._change(still_open=("unknown: the venue does not answer",) if left is None else left)

    def _open(self, target: KillTarget, ts_ns: int) -> tuple[str, ...] | None:
        """Return what is open, None if that cannot be asked."""
        found: list[str] = []
        for ask in (target.positions, target.entry_orders, target.exit_orders):
            names = self._ask(ask, ts_ns)
            if names is None:
                return None
            found += names
        return tuple(found)

    def _ask(self, ask: Callable[[], Sequence[str]], ts_ns: int) -> Sequence[str] | None:
        answers: list[Sequence[str]] = []
        return answers[0] if self._try(_ASKING, lambda: answers.append(ask()), ts_ns) else None

    def _try(self, name: str, act: Callable[[], None], ts_ns: int) -> bool:
        """Do it; a failure is noted and counted."""
        try:
            act()
        except Exception as error:  # noqa: BLE001 - whatever a venue raises, the next step must come
            tried, _ = self.state.tries.get(name, (0, 0))
            text = f"{type(error).__name__}: {error}"
            failure = KillFailure(step=self.state.step, target=name, text=text, ts_ns=ts_ns)
            self._change(
                tries={**self.state.tries, name: (max(tried, 0) + 1, ts_ns)},
                failures=(*self.state.failures, failure)[-_FAILURES:],
            )
            return False
        return True

    def _rests(self, name: str, ts_ns: int) -> bool:
        """Return whether a try that failed is too fresh for the next one."""
        tried, last_ns = self.state.tries.get(name, (0, 0))
        fresh = ts_ns < last_ns + round(self.config.retry_s * SECOND_NS)
        return 0 < tried < self.config.attempts and fresh

    def _exhausted(self, name: str) -> bool:
        return self.state.tries.get(name, (0, 0))[0] >= self.config.attempts

    def _go(self, step: KillStep, ts_ns: int) -> None:
        # While it is confirmed it must be known which positions were closed.
        self._change(step=step, step_ns=ts_ns, tries=self.state.tries if step == "confirming" else {})

    def _change(self, **fields: object) -> None:
        self.state = msgspec.structs.replace(self.state, **fields)
