"""How a session, or a stretch of it, ended.  Owns the record alone."""

from __future__ import annotations

import msgspec

from aiopt.live.paper.seam import PaperAccount


class SessionEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How a session, or a stretch of it, ended.

    Attributes
    ----------
    session : str
        Its id.
    ended : bool
        True: the feed is at its end.  False: it was stopped and goes on from there when it is run again.
    resumed : bool
        Whether it went on from an earlier stretch.
    quotes, dropped, commits, messages : int
        Of this stretch; `messages` are those between the parts of the node.
    seconds : float
        Of this stretch, the start of the node not counted.
    trades : int
        Of the whole session.
    account : PaperAccount
        At the end.
    broken : dict of str to str
        Strategies that raised, and what.
    warnings : list of str
        What was found on the way.
    """

    session: str
    ended: bool
    resumed: bool
    quotes: int
    dropped: int
    commits: int
    messages: int
    seconds: float
    trades: int
    account: PaperAccount
    broken: dict[str, str]
    warnings: list[str]
