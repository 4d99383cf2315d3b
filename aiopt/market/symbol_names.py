"""Symbols in names: what a file name, a folder, a column or a value says about the instrument.

Owns recognising a pair among prefixes, suffixes and separators of brokers (``GBPUSDm``, ``EURUSD.a``,
``#EURUSD``, ``GBP/USD``, ``FX:EURUSD``), also of pairs the table has not.  Knows nothing of files.
"""

from __future__ import annotations

import re
from functools import lru_cache

from aiopt.market.instrument import INSTRUMENTS, known_instruments

# Codes of currencies, metals and coins that name one half of a pair.
_CODES = frozenset(
    (
        *("AED", "ARS", "AUD", "BRL", "CAD", "CHF", "CLP", "CNH", "CNY", "COP", "CZK", "DKK", "EUR", "GBP"),
        *("HKD", "HUF", "IDR", "ILS", "INR", "ISK", "JPY", "KRW", "MXN", "MYR", "NOK", "NZD", "PHP", "PLN"),
        *("RON", "RUB", "SAR", "SEK", "SGD", "THB", "TRY", "TWD", "USD", "ZAR", "XAG", "XAU", "XPD", "XPT"),
        *("ADA", "BCH", "BNB", "BTC", "DOT", "EOS", "ETH", "LTC", "SOL", "XBT", "XLM", "XMR", "XRP", "ZEC"),
    )
)
_STABLE = {"USDT": "T", "USDC": "C"}
"""Coins worth a dollar: ``EURUSDT`` may be the euro in one of them, or EURUSD with a broker's suffix."""


def symbols_in(text: str) -> list[frozenset[str]]:
    """Return the instruments a text mentions, one set of possible symbols for each mention.

    Parameters
    ----------
    text : str
        Name of a file, folder or column, or a value of a column.

    Returns
    -------
    list of frozenset of str
        Symbols in the notation of the table, in no particular order.  A set of several is a mention that can
        be read in several ways.  Pairs the table does not know are mentioned too.

    Examples
    --------
    >>> [sorted(found) for found in symbols_in("20140501_eurusd_tick_quote.csv")]
    [['EURUSD']]
    >>> [sorted(found) for found in symbols_in("GBP/USDm")], symbols_in("ticks.csv")
    ([['GBPUSD']], [])
    >>> [sorted(found) for found in symbols_in("BTCUSDT-2024")]
    [['BTCUSD', 'BTCUSDT']]
    """
    found: list[frozenset[str]] = []
    declared, joined, separated = _patterns(tuple(sorted(known_instruments())))
    for pattern in (declared, joined, separated):
        if pattern is None:
            continue
        rest = ""
        last = 0
        for match in pattern.finditer(text):
            if pattern is declared:
                found.append(frozenset({match[1].upper()}))
            elif match[1].upper() != match[2].upper():
                found.append(_readings(match, text))
            else:
                continue
            # A mention is looked at once: what is left of the text keeps its word borders.
            rest += text[last : match.start()] + "\n"
            last = match.end()
        text = rest + text[last:]
    return found


def mention_pattern() -> str:
    """Return a regular expression, also for engines without look-around, that finds texts with a mention."""
    own = [symbol for symbol in known_instruments() if symbol not in INSTRUMENTS]
    codes = "|".join(sorted(_CODES))
    return "(?i)" + "|".join([*sorted(own), f"(?:{codes})[-_/. ]?(?:{codes})"])


def _readings(match: re.Match[str], text: str) -> frozenset[str]:
    """Return the pair of a match, and the other pair its next letters would make of it."""
    base, quote = match[1].upper(), match[2].upper()
    readings = {base + quote}
    letters = re.match(r"[A-Za-z]*", text[match.end() :])
    after = "" if letters is None else letters[0]
    one_case = (match[1] + match[2] + after).isupper() or (match[1] + match[2] + after).islower()
    for coin, suffix in _STABLE.items():
        if quote == "USD" and after.upper() == suffix and one_case:
            readings.add(base + coin)
    third = after[:3].upper()
    if len(after) == 3 and third in _CODES and third != quote and one_case:
        readings.add(quote + third)
    return frozenset(readings)


@lru_cache(maxsize=8)
def _patterns(symbols: tuple[str, ...]) -> tuple[re.Pattern[str] | None, re.Pattern[str], re.Pattern[str]]:
    """Return what finds declared symbols, pairs written as one word, and pairs in two words."""
    codes = "|".join(sorted(_CODES))
    own = sorted(
        (symbol for symbol in symbols if symbol not in INSTRUMENTS), key=lambda one: (-len(one), one)
    )
    # A declared symbol stands alone, or before the suffix of a broker, which is in small letters.
    names = "|".join(own)
    declared = (
        re.compile(rf"(?<![A-Za-z0-9])((?i:{names}))(?:(?=[a-z]{{0,5}}(?![A-Za-z0-9])))") if own else None
    )
    joined = re.compile(rf"({codes})({codes})", re.IGNORECASE)
    separated = re.compile(rf"(?<![A-Za-z])[A-Za-z]?({codes})[-_/. ]({codes})", re.IGNORECASE)
    return declared, joined, separated
