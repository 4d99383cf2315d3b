"""Which strategies run, are paused or have failed: an exception stops the one it came from, not the process.

Owns the states and what follows from them.  Knows no venue and no engine.

========  =============  ==========================================  =======================================
state     may it enter   its open position                           it leaves the state by
========  =============  ==========================================  =======================================
running   yes            is its own business                         pause, failure
paused    no             is its own business: exits still happen     resume, failure
failed    no             keeps stop and target, or is flattened      reset: a person has looked at it
========  =============  ==========================================  =======================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from aiopt.errors import ConfigError, did_you_mean
from aiopt.utc import stamp_text

STATES_VERSION = 1

StateName = Literal["running", "paused", "failed"]
OnFailure = Literal["keep_stop", "flatten"]


class StrategyState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The state of one strategy.

    Attributes
    ----------
    name : str
        ``"running"``, ``"paused"`` or ``"failed"``.
    reason : str
        Why; empty while it runs.
    since_ns : int
        UTC.
    """

    name: StateName = "running"
    reason: str = ""
    since_ns: int = 0


class StatesRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The states of all strategies as they are kept."""

    version: int
    states: dict[str, StrategyState]


class StrategyStates:
    """The states of a session's strategies.

    Parameters
    ----------
    strategies : list of str
        Their names.
    on_failure : str
        ``"keep_stop"``: a failed strategy's position stays with stop and target; ``"flatten"``: it is closed.
    record : StatesRecord, optional
        To go on from; strategies it does not know begin to run.

    Raises
    ------
    ConfigError
        If the record is of another version, or `on_failure` is neither.
    """

    def __init__(
        self, strategies: list[str], *, on_failure: OnFailure, record: StatesRecord | None = None
    ) -> None:
        if on_failure not in ("keep_stop", "flatten"):
            msg = f"`on_failure` must be keep_stop or flatten, but got {on_failure!r}. Choose one."
            raise ConfigError(msg)
        if record is not None and record.version != STATES_VERSION:
            msg = f"The states of strategies are of version {record.version}, but this aiopt reads "
            msg += f"{STATES_VERSION}. Go on with the aiopt that wrote them, or begin a new session."
            raise ConfigError(msg)
        known = {} if record is None else record.states
        self.on_failure = on_failure
        self._states = {name: known.get(name, StrategyState()) for name in strategies}

    def __repr__(self) -> str:
        return f"StrategyStates({ {name: state.name for name, state in self._states.items()} })"

    def record(self) -> StatesRecord:
        """Return the states as they are kept."""
        return StatesRecord(version=STATES_VERSION, states=dict(self._states))

    def of(self, strategy: str) -> StrategyState:
        """Return the state of a strategy.

        Raises
        ------
        ConfigError
            If there is none of that name; names the nearest.
        """
        state = self._states.get(strategy)
        if state is None:
            msg = f"There is no strategy {strategy!r} in this session.{did_you_mean(strategy, self._states)}"
            raise ConfigError(msg)
        return state

    def may_enter(self, strategy: str) -> bool:
        """Return whether a strategy may open positions."""
        return self.of(strategy).name == "running"

    def may_decide(self, strategy: str) -> bool:
        """Return whether a strategy's code may be called: not after it failed."""
        return self.of(strategy).name != "failed"

    @property
    def to_flatten(self) -> tuple[str, ...]:
        """Failed strategies whose positions are to be closed."""
        if self.on_failure == "keep_stop":
            return ()
        return tuple(name for name, state in self._states.items() if state.name == "failed")

    def pause(self, strategy: str, reason: str, ts_ns: int) -> StrategyState:
        """Let a strategy open nothing more; a failed one stays failed."""
        if self.of(strategy).name != "failed":
            self._states[strategy] = StrategyState(name="paused", reason=reason, since_ns=ts_ns)
        return self.of(strategy)

    def resume(self, strategy: str, ts_ns: int) -> StrategyState:
        """Let a paused strategy go on.

        Raises
        ------
        ConfigError
            If it has failed: that takes `reset`.
        """
        state = self.of(strategy)
        if state.name == "failed":
            msg = (
                f"A strategy that failed does not go on by itself, but {strategy} failed at "
                f"{stamp_text(state.since_ns, 's')}: {state.reason}. Mend it, then reset it."
            )
            raise ConfigError(msg)
        if state.name == "paused":
            self._states[strategy] = StrategyState(since_ns=ts_ns)
        return self.of(strategy)

    def reset(self, strategy: str, ts_ns: int) -> StrategyState:
        """Let a strategy run, whatever its state was: a person has looked at it."""
        self.of(strategy)
        self._states[strategy] = StrategyState(since_ns=ts_ns)
        return self._states[strategy]

    def guard(self, strategy: str, call: Callable[[], None], ts_ns: int) -> StrategyState:
        """Call a strategy's code; whatever it raises puts this strategy alone into ``failed``.

        Parameters
        ----------
        strategy : str
            Whose code it is; one that has failed is not called.
        call : callable
            The code.
        ts_ns : int
            UTC.

        Returns
        -------
        StrategyState
            After the call.
        """
        if not self.may_decide(strategy):
            return self.of(strategy)
        try:
            call()
        except Exception as error:  # noqa: BLE001 - a strategy may raise anything; the others trade on
            self.fail(strategy, error, ts_ns)
        return self.of(strategy)

    def fail(self, strategy: str, error: BaseException, ts_ns: int) -> StrategyState:
        """Take note that a strategy has failed; the first reason stays."""
        if self.of(strategy).name != "failed":
            text = f"{type(error).__name__}: {error}"
            self._states[strategy] = StrategyState(name="failed", reason=text, since_ns=ts_ns)
        return self.of(strategy)
