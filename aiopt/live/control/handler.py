"""Carries the commands of a session out: what each may, what it changes, and the commit that holds it.

A command acts between two steps.  What it changed and that it was carried out are in one commit, so after any
end it is known whether it acted.  What it refuses changes nothing.

Owns each command's meaning.  Knows neither where commands come from nor how they are noted: that is
`aiopt.bus.desk`'s.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from aiopt.bus import commands as asked
from aiopt.bus.commands import Command, Effect, Refusal
from aiopt.config import decode
from aiopt.errors import AioptError, ConfigError, EndpointError, SpecError, StorageError, did_you_mean
from aiopt.live.control.controls import Controls, ControlState
from aiopt.live.control.level_rules import level_refusal
from aiopt.live.control.ranges import read_document, with_values
from aiopt.live.control.reloading import differences, reload_refusal, settings_of
from aiopt.live.reading.analyst_config import check_asked
from aiopt.live.session.deciding import Decider
from aiopt.live.session.live_config import LiveConfig
from aiopt.live.session.stepping import Stepper
from aiopt.strategy.space import SearchSpace
from aiopt.strategy.spec import StrategySpec


class Wheel:
    """What a handler turns beside the stepper.

    Parameters
    ----------
    spec_of : callable of str
        Returns the spec a strategy goes on by at present.
    space_of : callable of str
        Returns the search of that spec, or None.
    decider_of : callable of str and StrategySpec
        Returns a decider that has seen every bar of the session.
    stop : callable
        Ends the session behind the present step.
    config : callable
        Returns the configuration the session goes by at present.
    take_config : callable of LiveConfig
        Goes on by the settings of another that may change.
    """

    def __init__(
        self,
        *,
        spec_of: Callable[[str], StrategySpec],
        space_of: Callable[[str], SearchSpace | None],
        decider_of: Callable[[str, StrategySpec], Decider],
        stop: Callable[[], None],
        config: Callable[[], LiveConfig],
        take_config: Callable[[LiveConfig], None],
    ) -> None:
        self.spec_of, self.space_of, self.decider_of, self.stop = spec_of, space_of, decider_of, stop
        self.config, self.take_config = config, take_config


class SessionCommands:
    """The `CommandHandler` of a session.

    Parameters
    ----------
    stepper : Stepper
        Of the session, restored.
    state : ControlState
        What was changed before.
    wheel : Wheel
        What else there is to turn.

    Attributes
    ----------
    failure : StorageError or None
        What a commit broke on: the session must end, it goes on from the commit before.
    """

    def __init__(self, stepper: Stepper, state: ControlState, wheel: Wheel) -> None:
        self._stepper, self._state, self._wheel = stepper, state, wheel
        self.failure: StorageError | None = None

    def __repr__(self) -> str:
        return f"<SessionCommands of {self._stepper.teller.session}>"

    @property
    def controls(self) -> Controls:
        """As commands left them."""
        return self._state.controls

    def check(self, command: Command) -> Refusal | None:
        """Return why a command cannot be carried out now, or None."""
        name = getattr(command, "strategy", None)
        names = self._stepper.node.strategies
        if name is not None and name not in names:
            reason = f"There is no strategy {name!r} in this session.{did_you_mean(name, names)}"
            return Refusal(rule="unknown_strategy", reason=reason)
        if name is not None and isinstance(command, _WHILE_IT_RUNS) and name in self._stepper.broken:
            reason = f"{name} has stopped: {self._stepper.broken[name]}. Mend it and begin a new session."
            return Refusal(rule="state", reason=reason)
        check = _CHECKS.get(type(command))
        return None if check is None else check(self, command)

    async def apply(self, command: Command) -> Effect | Refusal:
        """Carry a command out, commit it and return what it changed, or why it was not."""
        try:
            result = _ACTS[type(command)](self, command)
            if isinstance(result, Awaitable):
                result = await result  # quotes go on meanwhile
            if isinstance(result, Refusal):
                return result
            self._state.note(command.id, result)
            self._stepper.commit()
        except StorageError as error:
            self.failure = error
            self._wheel.stop()
            raise
        return result

    def applied(self, command_id: str) -> Effect | None:
        """Return what a command changed, if the committed state holds its effect."""
        return self._state.applied(command_id)

    # --- entries ----------------------------------------------------------------------------------------

    def _meant(self, strategy: str | None) -> list[str]:
        return list(self._stepper.node.strategies) if strategy is None else [strategy]

    def _states(self, names: list[str]) -> dict[str, str]:
        return {name: self._stepper.guard.strategies.of(name).name for name in names}

    def _touch(self, names: list[str], command: Command) -> None:
        for name in names:
            self.controls.touch(name, command.name)

    def _pause(self, command: asked.PauseEntries) -> Effect:
        names, now = self._meant(command.strategy), self._stepper.now_ns
        before = self._states(names)
        for name in names:
            self._stepper.guard.strategies.pause(name, f"by {command.by}", now)
        self._touch(names, command)
        return Effect(before=before, after=self._states(names))

    def _resume_refusal(self, command: asked.ResumeEntries) -> Refusal | None:
        names = self._meant(command.strategy)
        failed = [name for name, state in self._states(names).items() if state == "failed"]
        if failed and (command.strategy is not None or len(failed) == len(names)):
            reason = f"{', '.join(failed)} failed and does not go on. Mend it and begin a new session."
            return Refusal(rule="state", reason=reason)
        return None

    def _resume(self, command: asked.ResumeEntries) -> Effect:
        names, now = self._meant(command.strategy), self._stepper.now_ns
        before = self._states(names)
        for name in names:
            if before[name] == "paused":
                self._stepper.guard.strategies.resume(name, now)
        self._touch([name for name in names if before[name] == "paused"], command)
        return Effect(before=before, after=self._states(names))

    def _set_factor(self, command: asked.SetSizeFactor) -> Effect:
        names, factors = self._meant(command.strategy), self.controls.factors
        before = {name: factors.get(name, 1.0) for name in names}
        for name in names:
            factors[name] = command.factor
            self._stepper.node.strategies[name].source.size_factor = command.factor
        self._touch(names, command)
        return Effect(before=before, after={name: factors[name] for name in names})

    def _set_mode(self, command: asked.SetMode) -> Effect:
        names, modes = self._meant(command.strategy), self.controls.modes
        before = {name: modes.get(name, "trade") for name in names}
        for name in names:
            modes[name] = command.mode
        self._touch(names, command)
        return Effect(before=before, after={name: modes[name] for name in names})

    # --- what a strategy decides by ---------------------------------------------------------------------

    def _gated(self, spec: StrategySpec) -> Refusal | None:
        reader = self._stepper.reader
        try:
            check_asked(spec, None if reader is None else reader.config)
        except SpecError as error:
            return Refusal(rule="bad_spec", reason=str(error))
        return None

    def _changed_values(self, command: asked.SetParameters) -> StrategySpec | Refusal:
        name = command.strategy
        return with_values(self._wheel.spec_of(name), self._wheel.space_of(name), command.values)

    def _values_refusal(self, command: asked.SetParameters) -> Refusal | None:
        changed = self._changed_values(command)
        return changed if isinstance(changed, Refusal) else self._gated(changed)

    def _set_values(self, command: asked.SetParameters) -> Effect | Refusal:
        name, old = command.strategy, self._wheel.spec_of(command.strategy)
        changed = self._changed_values(command)
        if isinstance(changed, Refusal):
            return changed
        document = msgspec.to_builtins(changed)
        search = self.controls.specs.get(name, {}).get("search")
        refusal = self._go_on_by(name, changed, document if search is None else document | {"search": search})
        if refusal is not None:
            return refusal
        self._touch([name], command)
        before = {one: old.part(one) for one in command.values}
        return Effect(before=before, after={one: changed.part(one) for one in command.values})

    def _swap_refusal(self, command: asked.SwapSpec) -> Refusal | None:
        name = command.strategy
        try:
            spec, _ = read_document(command.spec)
        except AioptError as error:
            return Refusal(rule="bad_spec", reason=str(error))
        strategy = self._stepper.node.strategies[name]
        if not strategy.is_at_rest:
            reason = (
                f"{name} holds a position or waits for an entry, which was made by the spec it has. "
                "Flatten it (aiopt live flatten), then swap."
            )
            return Refusal(rule="state", reason=reason)
        before, after = (one.pyramiding or 1 for one in (self._wheel.spec_of(name), spec))
        if (before == 1) != (after == 1):
            reason = (
                f"{name} holds {before} entries at once at most and the other spec {after}: between one and "
                "several a session cannot swap. Begin a new session with it."
            )
            return Refusal(rule="bad_spec", reason=reason)
        return self._gated(spec)

    def _swap(self, command: asked.SwapSpec) -> Effect | Refusal:
        name, old = command.strategy, self._wheel.spec_of(command.strategy)
        spec, _ = read_document(command.spec)
        refusal = self._go_on_by(name, spec, command.spec)
        if refusal is not None:
            return refusal
        self._touch([name], command)
        names = ("name", "spec_hash")
        return Effect(
            before={one: getattr(old, one) for one in names}, after={one: getattr(spec, one) for one in names}
        )

    def _go_on_by(self, name: str, spec: StrategySpec, document: dict[str, Any]) -> Refusal | None:
        """Let a strategy decide by another spec from the next bar on; None once it does."""
        self._stepper.commit()  # the bars that another spec is warmed up on are those of the file
        try:
            decider = self._wheel.decider_of(name, spec)
        except StorageError:
            raise
        except AioptError as error:
            return Refusal(rule="bad_spec", reason=str(error))
        decider.source.size_factor = self.controls.factors.get(name, 1.0)
        self._stepper.node.strategies[name].exchange(decider.source, decider.rules)
        self.controls.specs[name] = document
        return None

    def _model_refusal(self, command: asked.SwitchModel) -> Refusal | None:
        if self._stepper.reader is not None:
            return None
        reason = "Nobody reads charts in this session, so there is no model to switch. Give it an analyst"
        return Refusal(rule="not_supported", reason=f"{reason} (`analyst` of its configuration).")

    async def _switch_model(self, command: asked.SwitchModel) -> Effect | Refusal:
        reader = self._stepper.reader
        assert reader is not None
        try:
            before, after = await reader.switch(command.model)
        except EndpointError as error:
            return Refusal(rule="state", reason=str(error))
        except ConfigError as error:
            return Refusal(rule="unknown_model", reason=str(error))
        return Effect(before={"model": before}, after={"model": after})

    # --- the configuration ------------------------------------------------------------------------------

    def _wanted(self, command: asked.ReloadConfig) -> LiveConfig | Refusal:
        try:
            return decode(command.config, LiveConfig, where="the configuration")
        except ConfigError as error:
            return Refusal(rule="bad_config", reason=str(error))

    def _reload_refusal(self, command: asked.ReloadConfig) -> Refusal | None:
        wanted = self._wanted(command)
        return wanted if isinstance(wanted, Refusal) else reload_refusal(self._wheel.config(), wanted)

    def _reload(self, command: asked.ReloadConfig) -> Effect | Refusal:
        wanted = self._wanted(command)
        if isinstance(wanted, Refusal):
            return wanted
        changed = differences(self._wheel.config(), wanted)
        self._wheel.take_config(wanted)
        self.controls.settings = settings_of(wanted)
        return Effect(
            before={name: old for name, (old, _) in changed.items()},
            after={name: new for name, (_, new) in changed.items()},
        )

    # --- what is open -----------------------------------------------------------------------------------

    def _levels_refusal(self, command: asked.SetLevels) -> Refusal | None:
        return level_refusal(self._stepper, command)

    def _set_levels(self, command: asked.SetLevels) -> Effect:
        strategy, node = self._stepper.node.strategies[command.strategy], self._stepper.node
        before = strategy.levels_of(command.position_id)
        node.orders.now_ns = self._stepper.now_ns
        with node.pump.held():
            strategy.move_levels(command.position_id, command.stop, command.target, node.orders.move)
        after = strategy.levels_of(command.position_id)
        self._touch([command.strategy], command)
        assert before is not None
        assert after is not None
        return Effect(before=before._asdict(), after=after._asdict())

    def _open(self, names: list[str]) -> dict[str, Any]:
        """Return positions and entries at work, by strategy."""
        venue = self._stepper.venue
        found: dict[str, Any] = {name: {"positions": [], "entries": []} for name in names}
        for held in venue.positions():
            if held.strategy in found:
                found[held.strategy]["positions"].append(held.position_id)
        for one in venue.orders():
            if one.order.strategy in found and one.order.position_id is None:
                found[one.order.strategy]["entries"].append(one.order.order_id)
        return {name: what for name, what in found.items() if what["positions"] or what["entries"]}

    def _flatten_all(self, names: list[str], command: Command) -> Effect:
        before = self._open(names)
        for name in before:
            self._stepper.close(name)
        self._touch(list(before), command)
        closing = {
            one.order.position_id
            for one in self._stepper.venue.orders()
            if one.order.kind == "market" and one.order.position_id is not None
        }
        return Effect(before=before, after={"closing": sorted(closing)})

    def _flatten(self, command: asked.Flatten) -> Effect:
        return self._flatten_all(self._meant(command.strategy), command)

    def _kill(self, command: asked.Kill) -> Effect:
        switch = self._stepper.guard.kill_switch
        before = switch.state.step
        switch.kill(f"{command.reason} (by {command.by})", self._stepper.now_ns)
        self._touch(self._meant(None), command)
        self._stepper.look_after()
        return Effect(before={"step": before}, after={"step": switch.state.step})

    def _stop(self, command: asked.StopSession) -> Effect:
        if not command.flatten:
            self._wheel.stop()
            return Effect(before={"state": "runs"}, after={"state": "stopping"})
        effect = self._flatten_all(self._meant(None), command)
        self.controls.stopping = True
        return Effect(before={"state": "runs", **effect.before}, after={"state": "stopping", **effect.after})

    def stop_when_flat(self) -> None:
        """End the session if it was asked to end and nothing is open any more; behind each commit."""
        self._state.committed()
        if self.controls.stopping and not self._open(self._meant(None)):
            self.controls.stopping = False
            self._wheel.stop()


_WHILE_IT_RUNS = (asked.SetParameters, asked.SetLevels, asked.SwapSpec)

_CHECKS: dict[type[Command], Callable[[SessionCommands, Any], Refusal | None]] = {
    asked.ResumeEntries: SessionCommands._resume_refusal,
    asked.SetParameters: SessionCommands._values_refusal,
    asked.SwapSpec: SessionCommands._swap_refusal,
    asked.SwitchModel: SessionCommands._model_refusal,
    asked.SetLevels: SessionCommands._levels_refusal,
    asked.ReloadConfig: SessionCommands._reload_refusal,
}
_Act = Callable[["SessionCommands", Any], Effect | Refusal | Awaitable[Effect | Refusal]]
_ACTS: dict[type[Command], _Act] = {
    asked.PauseEntries: SessionCommands._pause,
    asked.ResumeEntries: SessionCommands._resume,
    asked.SetParameters: SessionCommands._set_values,
    asked.SetLevels: SessionCommands._set_levels,
    asked.SetSizeFactor: SessionCommands._set_factor,
    asked.SwapSpec: SessionCommands._swap,
    asked.SwitchModel: SessionCommands._switch_model,
    asked.SetMode: SessionCommands._set_mode,
    asked.ReloadConfig: SessionCommands._reload,
    asked.Flatten: SessionCommands._flatten,
    asked.Kill: SessionCommands._kill,
    asked.StopSession: SessionCommands._stop,
}
