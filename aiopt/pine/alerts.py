"""The messages of alerts: JSON for a webhook.  Owns their keys and the Pine text that builds them.

An order carries its message; an alert sends it with ``{{strategy.order.alert_message}}`` as its text.  Every
message is one JSON object on one line with the same first keys, so that a receiver needs one parser.
"""

from __future__ import annotations

import re

from aiopt.pine.text import one_line

_NUMBER = re.compile(r"\d+(\.\d+)?")

PLACEHOLDER = "{{strategy.order.alert_message}}"
"""What an alert's own message has to be, so that it sends an order's."""

HEAD = "alertHead"
"""Variable that holds the beginning of every message."""


def head_line(*, strategy: str, spec_hash: str) -> str:
    """Return the statement that builds what all messages begin with.

    Keys: ``strategy``, ``spec`` (the spec's hash), ``symbol``, ``timeframe`` as on the chart, ``time``: close
    of the signal bar in milliseconds since 1970, UTC.
    """
    text = _quoted(f'{{"strategy":"{one_line(strategy)}","spec":"{spec_hash}","symbol":"')
    parts = [
        text,
        "syminfo.ticker",
        _quoted('","timeframe":"'),
        "timeframe.period",
        _quoted('","time":'),
        "str.tostring(time_close)",
    ]
    return f"string {HEAD} = {' + '.join(parts)}"


# reason: the keys of one message
def entry_message(
    side: str,
    *,
    quantity: str | None,
    stop: str | None,
    target: str | None,
    stop_distance: str | None = None,
    target_distance: str | None = None,
    entry: str | None = None,
) -> str:
    """Return the expression of an entry's message.

    Parameters
    ----------
    side : str
        ``long`` or ``short``.
    quantity, stop, target : str or None
        Expressions in Pine, prices on the tick grid; None gives ``null``.
    stop_distance, target_distance : str or None
        How far from the fill they will lie, where they are laid from it; None gives no key.
    entry : str, optional
        The order's id, where several entries may be open: key ``entry``.
    """
    parts = [HEAD, _quoted(f',"action":"entry","side":"{side}"{_entry_key(entry)}')]
    keys = [("quantity", quantity, False), ("stop", stop, True), ("target", target, True)]
    laid = (("stop_distance", stop_distance), ("target_distance", target_distance))
    keys += [(key, expression, True) for key, expression in laid if expression is not None]
    for key, expression, as_price in keys:
        if expression is None or _NUMBER.fullmatch(expression):
            parts.append(_quoted(f',"{key}":{expression or "null"}'))
            continue
        shown = f"str.tostring({expression}, format.mintick)" if as_price else f"str.tostring({expression})"
        parts += [_quoted(f',"{key}":'), shown]
    parts.append(_quoted("}"))
    return _joined(parts)


def exit_message(side: str, reason: str, *, quantity: str | None = None, entry: str | None = None) -> str:
    """Return the expression of an exit's message; `reason` is ``stop``, ``target``, ``signal``, ``time``, ….

    Keys: ``action``, ``side`` of the position that ends, ``reason``; where only a part leaves, `quantity`, an
    expression in Pine, as ``quantity``; where one of several entries ends, the id of its order as ``entry``.
    """
    if quantity is not None:
        head = _quoted(f',"action":"exit","side":"{side}"{_entry_key(entry)},"reason":"{reason}","quantity":')
        return _joined([HEAD, head, f"str.tostring({quantity})", _quoted("}")])
    return _joined([HEAD, _quoted(f',"action":"exit","side":"{side}","reason":"{reason}"}}')])


def moved_stop_message(side: str, comment: str, *, quantity: str | None = None) -> str:
    """Return the expression of the message of an exit at a stop that moves.

    Its ``reason`` is ``stop``, ``trailing`` or ``break_even``, whichever rule had put the stop there.

    Parameters
    ----------
    side : str
        ``long`` or ``short``.
    comment : str
        Variable that holds what the list of trades calls that exit: ``Stop``, ``Trailing``, ``Break-even``.
    quantity : str, optional
        Expression of what leaves, where it is a part.
    """
    begun = _quoted(f',"action":"exit","side":"{side}","reason":"')
    reason = f'str.replace(str.lower({comment}), "-", "_")'
    if quantity is not None:
        return _joined(
            [HEAD, begun, reason, _quoted('","quantity":'), f"str.tostring({quantity})", _quoted("}")]
        )
    return _joined([HEAD, begun, reason, _quoted('"}')])


def _entry_key(entry: str | None) -> str:
    return "" if entry is None else f',"entry":"{entry}"'


def _quoted(text: str) -> str:
    """Return JSON text as a Pine string in single quotes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _joined(parts: list[str]) -> str:
    """Join by ``+``; neighbouring literals become one."""
    joined: list[str] = []
    for part in parts:
        if joined and part.startswith("'") and joined[-1].startswith("'"):
            joined[-1] = joined[-1][:-1] + part[1:]
        else:
            joined.append(part)
    return " + ".join(joined)
