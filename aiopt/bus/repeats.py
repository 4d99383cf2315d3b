"""Which events were seen before.  Owns the memory of that; knows nothing of where they come from."""

from __future__ import annotations

from collections import OrderedDict


class Repeats:
    """Recognises an id that comes again while it is among the last ones.

    A publisher that tries again after a cut, or after a restart, repeats what it published last; so a
    window of the last ids is enough.

    Parameters
    ----------
    window : int
        Ids to remember.
    """

    def __init__(self, window: int = 100_000) -> None:
        self._window = window
        self._ids: OrderedDict[tuple[str, str], None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._ids)

    def seen(self, session: str, message_id: str) -> bool:
        """Return whether an id was seen, and remember it."""
        key = (session, message_id)
        if key in self._ids:
            self._ids.move_to_end(key)
            return True
        self._ids[key] = None
        if len(self._ids) > self._window:
            self._ids.popitem(last=False)
        return False

    def forget(self, session: str, message_id: str) -> None:
        """Take an id as new again: what was to be done about it could not be done."""
        self._ids.pop((session, message_id), None)
