"""The seam to a server of streams: what every transport promises, and what goes over it.

Owns the names and the promises.  Knows no server, no event and no command: a message is bytes with an id.

The promises, held by one contract suite for all transports:

- Messages of a channel are read in the order in which they were published. - `publish` returns when the
server has the messages; before that nothing is promised, and publishing them again
  is right: numbered messages that are there already are not added twice where the server can tell, elsewhere
  they come again with the same id.
- A group's position is kept by the server: what was not acknowledged comes again, also after a restart of
reader
  or server.  Readers of one group share its messages, each goes to one of them.
- Nothing that a group has not acknowledged is trimmed away.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from aiopt.errors import ConfigError

Topic = Literal["events", "commands"]
Start = Literal["oldest", "new"]

_SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_GROUP = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


class Channel(msgspec.Struct, frozen=True):
    """One stream of messages: what a session tells, or what it is told."""

    session: str
    topic: Topic

    def __post_init__(self) -> None:
        if _SESSION.fullmatch(self.session) is None:
            msg = (
                "The id of a session must be 1 to 80 letters, digits, dots, dashes and underscores and begin "
                f"with a letter or digit, but got {self.session!r}. Choose another."
            )
            raise ConfigError(msg)

    def __str__(self) -> str:
        return f"{self.session}/{self.topic}"


class Message(msgspec.Struct, frozen=True):
    """What is published.

    Attributes
    ----------
    id : str
        The same whenever the same message is published again.
    payload : bytes
        What it says.
    number : int or None
        Counts up in its channel, which then has one publisher; None where several publish.
    """

    id: str
    payload: bytes
    number: int | None = None

    def __repr__(self) -> str:
        number = "" if self.number is None else f" #{self.number}"
        return f"<Message {self.id}{number}, {len(self.payload)} bytes>"


class Delivery(msgspec.Struct, frozen=True):
    """A message as it was read, and where; `again` if it was given out before and not acknowledged."""

    position: str
    message: Message
    again: bool = False


class Reader(msgspec.Struct, frozen=True, kw_only=True):
    """Who reads.

    Attributes
    ----------
    group : str or None
        Its position is kept by the server.  None: a look-on without a kept position, whom nothing waits for.
    consumer : str
        Which member of the group; the same name after a restart goes on with what it had not acknowledged.
    start : str
        Where a new group begins: at the oldest message there is, or with those that come from now on.
    claim_after_s : float
        What another member has held for so long without acknowledging it is taken over.
    """

    group: str | None = None
    consumer: str = "1"
    start: Start = "oldest"
    claim_after_s: float = 60.0

    def __post_init__(self) -> None:
        for name in (self.group, self.consumer):
            if name is not None and _GROUP.fullmatch(name) is None:
                msg = (
                    "The name of a group or consumer must be 1 to 40 letters, digits, dots, dashes and "
                    f"underscores and begin with a letter or digit, but got {name!r}. Choose another."
                )
                raise ConfigError(msg)


class ServerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a transport found at its other end.

    Attributes
    ----------
    program, version : str
        Which server it is.
    durable : bool or None
        Whether what was published outlives a restart of the server; None where it does not say.
    note : str
        What its user should know; empty where there is nothing.
    """

    program: str
    version: str
    durable: bool | None
    note: str = ""


class Subscription(Protocol):
    """One reader of one channel."""

    async def read(self, limit: int, timeout_s: float) -> list[Delivery]:
        """Return up to `limit` messages, as soon as there are any; none after `timeout_s`.

        Raises
        ------
        BusDownError
            If the server cannot be reached.  Reading again is right: nothing is lost.
        """
        ...

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Say that messages are dealt with: they do not come again.

        Raises
        ------
        BusDownError
            If the server cannot be reached: they may come again.
        """
        ...

    async def close(self) -> None:
        """Stop reading; the group's position stays."""
        ...


class Transport(Protocol):
    """A way to a server of streams."""

    @property
    def url(self) -> str:
        """Where it leads, without a password."""
        ...

    async def open(self, timeout_s: float = 5.0) -> ServerInfo:
        """Reach the server, check that it is one that can be used, and return what it is.

        Raises
        ------
        BusDownError
            If it does not answer within `timeout_s`.
        BusError
            If it refuses the password, is too old, or is another program.
        """
        ...

    async def publish(self, channel: Channel, messages: Sequence[Message]) -> int:
        """Add messages to the end of a channel, all or as far as it came, and return how many are new there.

        Raises
        ------
        BusDownError
            If the server cannot be reached.  Publishing all of them again is right.
        BusFullError
            If there is no room.  Publishing all of them again, later, is right.
        BusError
            If another publisher uses the numbers of this channel.
        """
        ...

    async def subscribe(self, channel: Channel, reader: Reader) -> Subscription:
        """Begin to read a channel, which need not exist yet.

        Raises
        ------
        BusDownError
            If the server cannot be reached.
        """
        ...

    async def last_number(self, channel: Channel) -> int | None:
        """Return the number of the last numbered message; None where there is none or it is not known."""
        ...

    async def trim(self, channel: Channel, keep: int) -> int:
        """Remove the oldest messages beyond `keep` that every group has acknowledged; return how many.

        Raises
        ------
        BusError
            If this server's messages can only be trimmed by its own settings.
        """
        ...

    async def drop_group(self, channel: Channel, group: str) -> None:
        """Forget a group and its position: nothing waits for it any more."""
        ...

    async def ping(self, timeout_s: float = 2.0) -> float:
        """Return the milliseconds an answer of the server takes.

        Raises
        ------
        BusDownError
            If none comes within `timeout_s`.
        BusError
            If the answer is a refusal.
        """
        ...

    async def close(self) -> None:
        """Leave the server; subscriptions end."""
        ...
