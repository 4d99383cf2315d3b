"""What the screen ran of a run, what the engine confirmed, and what was beyond it: ``screen.json``.

Owns the record and its sentences.  Screens nothing, and reads and writes no file.
"""

from __future__ import annotations

import msgspec

FORMAT = 1


class BeyondScreen(msgspec.Struct, frozen=True, kw_only=True):
    """Trials that ran in the engine, because the screen cannot treat their strategy exactly.

    Attributes
    ----------
    what : str
        Their group.
    count : int
        Trials.
    reason : str
        A sentence.
    """

    what: str
    count: int
    reason: str

    @property
    def text(self) -> str:
        """One line for people."""
        trials = f"{self.count:,} trial{'' if self.count == 1 else 's'}"
        return f"{trials} of {self.what} ran in the engine, not by the screen: {self.reason}"


class Screened(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ``screen.json``.

    Attributes
    ----------
    trials : int
        Trials that the screen ran; 0 where it was off.
    confirmed : int
        Trials that the engine ran again; every row was equal, else there is no such file.
    beyond : list of BeyondScreen
        What the screen could not treat.
    """

    trials: int = 0
    confirmed: int = 0
    beyond: list[BeyondScreen] = []
    format: int = FORMAT

    def __post_init__(self) -> None:
        if self.format != FORMAT:
            # Reading it gives an error that names the file.
            msg = f"screen.json has format {self.format}, and this version of aiopt reads {FORMAT}"
            raise ValueError(msg)

    @property
    def lines(self) -> list[str]:
        """What people must know of it: everything that was beyond the screen."""
        return [one.text for one in self.beyond]
