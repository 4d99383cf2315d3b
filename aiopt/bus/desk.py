"""The desk commands come in at: each is noted before it acts, acts once, and gets an answer.

Owns the order of steps (known already? valid? noted, then carried out, then noted again) and what is said
of a refused command.  Knows no command's meaning: whoever carries them out says so by the protocol
`CommandHandler`.

A process may die between any two steps.  A command that was noted and has no outcome is taken up again by
`recover`: the handler is asked first whether the state it committed holds the command's effect, so what acted
before does not act twice.
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal, Protocol

import msgspec

from aiopt.bus.audit import AuditJournal
from aiopt.bus.codec import decode_command, encode_command, head_of
from aiopt.bus.commands import Command, Effect, Refusal
from aiopt.bus.failures import BusMessageError
from aiopt.errors import DataError

_LONGEST = 200

Status = Literal["applied", "refused", "failed"]


class CommandHandler(Protocol):
    """Who carries commands out."""

    def check(self, command: Command) -> Refusal | None:
        """Return why a command cannot be carried out now, or None.  Changes nothing."""
        ...

    async def apply(self, command: Command) -> Effect | Refusal:
        """Carry a command out and return what it changed, once that is committed; or why it was not."""
        ...

    def applied(self, command_id: str) -> Effect | None:
        """Return what a command changed, if the committed state holds its effect."""
        ...


class Outcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What became of a command.

    Attributes
    ----------
    status : str
        ``"applied"``; ``"refused"``: nothing was changed; ``"failed"``: begun and broken off.
    rule, reason : str or None
        Why it was refused or failed.
    before, after : dict
        What it changed.
    again : bool
        The answer to a command that was answered before.
    """

    command_id: str
    command: str
    status: Status
    rule: str | None = None
    reason: str | None = None
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    again: bool = False

    def __repr__(self) -> str:
        why = f": {self.reason}" if self.reason else ""
        return f"<{self.command} {self.command_id} {self.status}{' (again)' if self.again else ''}{why}>"


class _Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="asked"):
    """Noted before a command acts."""

    at_ns: int
    document: msgspec.Raw


class _Settled(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="settled"):
    """Noted when its outcome is known; `content` tells another command with the same id."""

    at_ns: int
    content: str
    outcome: Outcome


class CommandDesk:
    """Takes commands as they come and gives each of them one outcome.

    Parameters
    ----------
    session : str
        Whose commands these are; those for others are refused.
    journal : AuditJournal
        Open; the desk goes on where it ended.

    Raises
    ------
    DataError
        If a line of the journal is not of this format.
    """

    def __init__(self, session: str, journal: AuditJournal) -> None:
        self.session = session
        self._journal = journal
        self._settled: dict[str, _Settled] = {}
        self._open: dict[str, Command] = {}
        self._running: dict[str, tuple[Command, asyncio.Future[Outcome]]] = {}
        for row, payload in enumerate(journal.taken_up()):
            self._take_up(row, payload)

    def __repr__(self) -> str:
        return f"<CommandDesk {self.session}, {len(self._settled)} settled, {len(self._open)} open>"

    def unsettled(self) -> tuple[Command, ...]:
        """Return the commands that were noted and have no outcome, in order: see `recover`."""
        return tuple(self._open.values())

    def outcome(self, command_id: str) -> Outcome | None:
        """Return what became of a command; None where that is not known."""
        settled = self._settled.get(command_id)
        return None if settled is None else settled.outcome

    async def handle(self, document: bytes, handler: CommandHandler, now_ns: int) -> Outcome:
        """Take a command as it came, carry it out unless it was before, and return its outcome.

        Parameters
        ----------
        document : bytes
            JSON, from anyone.
        handler : CommandHandler
            Carries it out.
        now_ns : int
            The clock, nanoseconds since 1970.

        Raises
        ------
        StorageError
            If the journal cannot be written.  Noted before: nothing has acted.
        """
        try:
            command = decode_command(document)
        except BusMessageError as error:
            return self._refused_unread(document, str(error), now_ns)
        known = self._answered(command)
        if known is not None:
            return known
        running = self._running.get(command.id)
        if running is not None:
            return msgspec.structs.replace(await asyncio.shield(running[1]), again=True)
        task = asyncio.ensure_future(self._once(command, handler, now_ns))
        self._running[command.id] = (command, task)
        try:
            # Whoever waits may go; what was begun goes on, for it was noted.
            return await asyncio.shield(task)
        finally:
            if task.done():
                self._running.pop(command.id, None)
            else:
                task.add_done_callback(lambda _: self._running.pop(command.id, None))

    async def recover(self, handler: CommandHandler, now_ns: int) -> tuple[Outcome, ...]:
        """Settle the commands that a process which died had noted: by their effect, or by carrying them out.

        Raises
        ------
        StorageError
            If the journal cannot be written.
        """
        return tuple([await self._once(command, handler, now_ns) for command in self.unsettled()])

    async def _once(self, command: Command, handler: CommandHandler, now_ns: int) -> Outcome:
        if command.id in self._open:
            effect = handler.applied(command.id)
            if effect is not None:
                return self._settle(command, effect, now_ns)
        else:
            self._note(_Asked(now_ns, msgspec.Raw(encode_command(command))))
            self._open[command.id] = command
        refusal = self._refusal(command, now_ns)
        if refusal is not None:
            return self._settle(command, refusal, now_ns)
        return await self._carry_out(command, handler, now_ns)

    async def _carry_out(self, command: Command, handler: CommandHandler, now_ns: int) -> Outcome:
        try:
            result = handler.check(command) or await handler.apply(command)
        except Exception as error:  # noqa: BLE001 - answered: whoever sent it must learn that it broke off
            reason = f"{type(error).__name__}: {error}. It was begun and broke off: look at the state."
            outcome = Outcome(command_id=command.id, command=command.name, status="failed", reason=reason)
            return self._keep(command, outcome, now_ns)
        return self._settle(command, result, now_ns)

    def _refusal(self, command: Command, now_ns: int) -> Refusal | None:
        if command.session != self.session:
            reason = f"This is session {self.session!r}, but the command is for {command.session!r}."
            return Refusal(rule="session", reason=reason)
        if command.expires_ns is not None and now_ns > command.expires_ns:
            late = (now_ns - command.expires_ns) / 1e9
            return Refusal(
                rule="expired", reason=f"The command came {late:.3f} s after it expired. Send anew."
            )
        return None

    def _answered(self, command: Command) -> Outcome | None:
        """Return the outcome of a command that is known already, or the refusal of another with its id."""
        settled = self._settled.get(command.id)
        running = self._running.get(command.id)
        before = running[0] if running else self._open.get(command.id)
        same = (
            settled.content == _content(command)
            if settled
            else before is None or _content(before) == _content(command)
        )
        if not same:
            reason = f"The id {command.id!r} is that of another command. Give each command an id of its own."
            return Outcome(
                **_names(command),
                status="refused",
                rule="id_reused",
                reason=reason,
                again=settled is not None,
            )
        return None if settled is None else msgspec.structs.replace(settled.outcome, again=True)

    def _refused_unread(self, document: bytes, reason: str, now_ns: int) -> Outcome:
        name, found = head_of(document)
        outcome = Outcome(
            command_id=(found or "")[:_LONGEST],
            command=(name or "")[:_LONGEST],
            status="refused",
            rule="schema",
            reason=reason,
        )
        self._note(_Settled(now_ns, "", outcome))
        return outcome

    def _settle(self, command: Command, result: Effect | Refusal, now_ns: int) -> Outcome:
        if isinstance(result, Refusal):
            outcome = Outcome(**_names(command), status="refused", rule=result.rule, reason=result.reason)
        else:
            outcome = Outcome(**_names(command), status="applied", before=result.before, after=result.after)
        return self._keep(command, outcome, now_ns)

    def _keep(self, command: Command, outcome: Outcome, now_ns: int) -> Outcome:
        settled = _Settled(now_ns, _content(command), outcome)
        self._note(settled)
        self._settled[command.id] = settled
        self._open.pop(command.id, None)
        return outcome

    def _note(self, record: _Asked | _Settled) -> None:
        self._journal.append(msgspec.json.encode(record))

    def _take_up(self, row: int, payload: bytes) -> None:
        try:
            record = msgspec.json.decode(payload, type=_Asked | _Settled)
            if isinstance(record, _Settled):
                if record.content:
                    self._settled[record.outcome.command_id] = record
                    self._open.pop(record.outcome.command_id, None)
            else:
                command = decode_command(bytes(record.document))
                self._open[command.id] = command
        except (msgspec.MsgspecError, BusMessageError) as error:
            msg = f"The line is not of this version of aiopt: {error}. Use the version that wrote it."
            raise DataError(msg, file=self._journal.path, row=row) from error


def _names(command: Command) -> dict[str, Any]:
    return {"command_id": command.id, "command": command.name}


def _content(command: Command) -> str:
    """Return what two commands with one id must share to be one command: when it was sent does not count."""
    return encode_command(msgspec.structs.replace(command, made_ns=0, expires_ns=None)).decode()
