"""Sending commands over a bus, and obeying them: both ends of the channel `commands`.

Owns the way of a command from its sender to a desk and of its outcome back.  Knows no command's meaning.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from aiopt.bus.codec import encode_command
from aiopt.bus.commands import Command
from aiopt.bus.desk import CommandDesk, CommandHandler, Outcome
from aiopt.bus.events import CommandOutcome
from aiopt.bus.failures import BusDownError
from aiopt.bus.reader import EventReader
from aiopt.bus.transport import Channel, Delivery, Message, Reader, Subscription, Transport

_LOG = logging.getLogger(__name__)

_LIMIT = 100
_SLICE_S = 5.0


async def send_command(
    transport: Transport, command: Command, *, wait_s: float | None = 30.0
) -> CommandOutcome | None:
    """Send a command and wait for what becomes of it.

    Sent again with the same id it is the same command: the session acts once and answers again.

    Parameters
    ----------
    transport : Transport
        Open.
    command : Command
        For the session it names, which need not run yet.
    wait_s : float, optional
        For the outcome; None: do not wait.

    Returns
    -------
    CommandOutcome or None
        None if none came in time: the command waits, and the session will take it.

    Raises
    ------
    BusDownError
        If the server cannot be reached.
    BusMessageError
        If a field of the command breaks its rule.
    """
    message = Message(command.id, encode_command(command))
    channel = Channel(command.session, "commands")
    if wait_s is None:
        await transport.publish(channel, [message])
        return None
    async with EventReader(
        transport, command.session, Reader(start="new"), kinds=["command_outcome"]
    ) as reader:
        await transport.publish(channel, [message])
        due = time.monotonic() + wait_s
        while (left := due - time.monotonic()) > 0:
            for received in await reader.read(timeout_s=left):
                event = received.event
                if isinstance(event, CommandOutcome) and event.command_id == command.id:
                    return event
    return None


async def obey_waiting(
    transport: Transport,
    desk: CommandDesk,
    handler: CommandHandler,
    answer: Callable[[Outcome], Awaitable[None]],
    *,
    patience_s: float = 0.1,
) -> None:
    """Take the commands that wait for a desk's session, one after the other, before it begins.

    Parameters
    ----------
    transport, desk, handler, answer
        As `obey` has them, which goes on behind them.
    patience_s : float
        With none for so long there are no more.

    Raises
    ------
    BusError
        If they cannot be read.
    StorageError
        If the audit journal cannot be written: then nothing acts.
    """
    subscription = await transport.subscribe(Channel(desk.session, "commands"), Reader(group="desk"))
    try:
        while deliveries := await subscription.read(_LIMIT, patience_s):
            for delivery in deliveries:
                await answer(await desk.handle(delivery.message.payload, handler, time.time_ns()))
            await subscription.ack(deliveries)
    finally:
        await subscription.close()


async def obey(
    transport: Transport,
    desk: CommandDesk,
    handler: CommandHandler,
    answer: Callable[[Outcome], Awaitable[None]],
    *,
    clock_ns: Callable[[], int] = time.time_ns,
    retry_s: tuple[float, float] = (0.05, 2.0),
) -> None:
    """Take the commands for a desk's session until cancelled, also those sent before it ran.

    Each command runs beside the others, so that one that takes long does not hold up the next.  It is
    acknowledged after its outcome was handed to `answer`: if the process dies in between it comes again,
    and the desk knows it.

    Parameters
    ----------
    transport : Transport
        Open.
    desk : CommandDesk
        Of the session.
    handler : CommandHandler
        Carries commands out.
    answer : callable
        Publishes an outcome as an event of the session.
    clock_ns : callable
        The clock, nanoseconds since 1970.
    retry_s : tuple of float
        Wait between two tries after a cut: at first, and at most.

    Raises
    ------
    BusError
        If trying again does not help.
    StorageError
        If the audit journal cannot be written: then nothing acts.
    """
    for outcome in await desk.recover(handler, clock_ns()):
        await answer(outcome)
    channel = Channel(desk.session, "commands")
    subscription: Subscription | None = None
    wait, longest = retry_s

    async def one(delivery: Delivery) -> Delivery:
        outcome = await desk.handle(delivery.message.payload, handler, clock_ns())
        await answer(outcome)
        return delivery

    owed: list[Delivery] = []
    running: set[asyncio.Task[Delivery]] = set()
    try:
        while True:
            try:
                if subscription is None:
                    subscription = await transport.subscribe(channel, Reader(group="desk"))
                if owed:
                    await subscription.ack(owed)
                    owed = []
                deliveries = await subscription.read(_LIMIT, 0.02 if running else _SLICE_S)
                wait = retry_s[0]
            except BusDownError as error:
                _LOG.error("commands for %s cannot be read: %s", desk.session, error)
                await asyncio.sleep(wait)
                wait = min(2 * wait, longest)
                continue
            running |= {asyncio.create_task(one(delivery)) for delivery in deliveries}
            await asyncio.sleep(0)
            done = {task for task in running if task.done()}
            running -= done
            owed += [task.result() for task in done]
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        if subscription is not None:
            await subscription.close()
