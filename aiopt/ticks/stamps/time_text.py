"""Stamps as text: the layouts people write times in, recognised or stated, and reading a column by one.

Owns the syntax of ``--time-format`` and what a text can mean.  Knows nothing of files, clocks and numbers.

A layout is written with the directives of `strftime`: ``%Y %y %m %d %b %a %H %I %M %S %p %f %z`` and the
short forms ``%F`` (``%Y-%m-%d``) and ``%T`` (``%H:%M:%S``).  ``%f`` is a fraction of a second of one to nine
digits after ``.`` or ``,``, of 3, 6 or 9 after ``:`` or nothing; it may be missing in a row.  ``%z`` is
``Z``, ``UTC``, ``GMT``, ``+02``, ``+0200``, ``+02:00`` or ``GMT+0200`` and stands last.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aiopt.errors import DataError
from aiopt.utc import MINUTE_NS

_ZONE = r"(?:UTC|GMT)?\s?[+-]\d{1,2}(?::?\d{2})?|Z|UTC|GMT"
_PARTS = {
    "Y": r"(?P<Y>\d{4})",
    "y": r"(?P<y>\d{2})",
    "m": r"(?P<m>\d{1,2})",
    "d": r"(?P<d>\d{1,2})",
    "b": r"(?P<b>[A-Za-z]{3})[A-Za-z]*\.?",
    "H": r"(?P<H>\d{1,2})",
    "I": r"(?P<I>\d{1,2})",
    "M": r"(?P<M>\d{2})",
    "S": r"(?P<S>\d{2})",
    "f": r"(?P<f>\d{1,9})",
    "p": r"(?P<p>[AaPp])\.?[Mm]\.?",
    "a": r"[A-Za-z]{3,9}\.?",
    "%": "%",
}
_SHORT = {"%F": "%Y-%m-%d", "%T": "%H:%M:%S", "%B": "%b", "%A": "%a", "%e": "%d", "%:z": "%z", "%#z": "%z"}
_CLOCK = re.compile(
    r"""^(?P<clock>\d{1,2}:\d{2}(?::\d{2}(?P<mark>[.,:])?(?P<f>\d{1,9})?)?|\d{6}(?P<dot>[.,])?(?P<g>\d{1,9})?|\d{4})
        (?P<gap>\s?)(?P<noon>[AaPp]\.?[Mm]\.?)?(?P<tail>\s?)(?P<zone>"""
    + _ZONE
    + r")?$",
    re.VERBOSE,
)
_DAY = re.compile(
    r"""^(?:(?P<year>\d{4})(?P<s1>[-./])\d{1,2}(?P=s1)\d{1,2}
        | \d{1,2}(?P<s2>[-./])\d{1,2}(?P=s2)\d{4}
        | (?P<compact>\d{8})
        | (?P<dmon>\d{1,2}(?P<s3>[-/. ])[A-Za-z]{3,9}\.?(?P<s4>[-/. ])\d{4})
        | (?P<mond>[A-Za-z]{3,9}\.?(?P<s5>\ )\d{1,2}(?P<s6>,?\ )\d{4})
        )(?P<between>\s+|[T_;]|,\s?)?""",
    re.VERBOSE,
)
_SHORT_YEAR = re.compile(r"^\d{1,2}[-./]\d{1,2}[-./]\d{2}\b")
_MARK = "\x1f"
_CENTURY = "(?:19|20)"
_COLON_FRACTION = r"(?P<f>\d{3}|\d{6}|\d{9})"


@dataclass(frozen=True)
class TextLayout:
    """One way to write a time.

    Attributes
    ----------
    format : str
        In the syntax of ``--time-format``.
    direct : str
        The same for Polars, which then reads most text as it stands.
    pattern, rewrite, common : str
        A regular expression of the text, what makes a common form of it, and that form for Polars.
    century : str
        A regular expression of the beginning of a text of the years 1900 to 2099.
    zoned : bool
        The text says how far its clock is from UTC.
    daily : bool
        There is no time of day.
    """

    format: str
    direct: str
    pattern: str
    rewrite: str
    common: str
    century: str
    zoned: bool
    daily: bool

    @property
    def order(self) -> str | None:
        """``"dmy"`` or ``"mdy"`` where days and months are both numbers and the year comes last."""
        at = [self.format.find(name) for name in ("%d", "%m", "%Y")]
        if min(at) < 0 or at[2] < max(at[:2]):
            return None
        return "dmy" if at[0] < at[1] else "mdy"


def compile_format(text: str) -> TextLayout:
    """Return the layout that a ``--time-format`` describes.

    Raises
    ------
    DataError
        If a directive is unknown or stands twice, or year, month, day, hour or minute is missing.

    Examples
    --------
    >>> compile_format("%d.%m.%Y %H:%M:%S.%f").order
    'dmy'
    """
    plain = text.strip()
    for short, long in _SHORT.items():
        plain = plain.replace(short, long)
    # `%.f` and `%3f` are how other programs write the fraction.
    plain = re.sub(r"%\.(\d?)f", ".%f", plain)
    plain = re.sub(r"%[369]f", "%f", plain)
    tokens = re.findall(r"%.|[^%]|%$", plain)
    names = [token[1:] for token in tokens if token.startswith("%") and token != "%%"]
    _check_names(names, text)
    zoned = "z" in names
    if zoned and tokens[-1] != "%z":
        raise DataError(f"%z must stand at the end of --time-format, but got {text!r}. Move it.")
    body = tokens[: -1 if zoned else None]
    while zoned and body and body[-1] == " ":
        body.pop()
    regexes = [_regex_of(body, at) for at in range(len(body))]
    daily = not {"H", "I"} & set(names)
    year = next((at for at, token in enumerate(body) if token == "%Y"), None)
    century = "" if year is None else f"^{''.join(regexes[:year])}{_CENTURY}"
    pattern = f"^{''.join(regexes)}$"
    return TextLayout(plain, _direct(body), pattern, *_common(names), century, zoned, daily)


def recognise(value: str) -> list[TextLayout]:
    """Return the layouts a text may be of: none, one, or two where day and month may be exchanged.

    Dates with dots are written day first everywhere; month first comes second for them, for a file whose rows
    show that it cannot be day first.

    Raises
    ------
    DataError
        If the year has two digits: then even three readings fit.
    """
    text = value.strip()
    if _SHORT_YEAR.match(text) is not None and not re.match(r"^\d{1,2}[-./]\d{1,2}[-./]\d{4}", text):
        msg = f"The year of {value!r} has two digits, so the order of the date is not certain. "
        raise DataError(msg + "Say how it is written, e.g. --time-format '%d/%m/%y %H:%M:%S'.")
    day = _DAY.match(text)
    if day is None:
        return []
    rest = text[day.end() :]
    clock = _clock_format(rest)
    if clock is None and rest:
        return []
    between = " " if (day["between"] or "").isspace() else day["between"] or ""
    return [compile_format(date + (between + clock if clock else "")) for date in _dates(day)]


def parse(text: pl.Series, layout: TextLayout) -> pl.Series:
    """Return text as nanoseconds of the clock it was written on, UTC where it says its zone.

    Years that int64 nanoseconds cannot hold become its ends; what is not of the layout is null.

    Parameters
    ----------
    text : polars.Series of str
        Without blanks at the ends.
    layout : TextLayout
        How it is written.

    Returns
    -------
    polars.Series of int64
    """
    ahead: NDArray[np.int64] | None = None
    if layout.zoned:
        text, ahead, known = _split_zone(text)
    stamps = _wall(text, layout)
    if ahead is None:
        return stamps
    return (stamps - pl.Series(ahead)).set(~pl.Series(known), None)


def _wall(text: pl.Series, layout: TextLayout) -> pl.Series:
    stamps = _to_ns(text, layout.direct, layout.century)
    if stamps.null_count() <= text.null_count():
        return stamps
    # The marker keeps text that was of the common form already from being read as if it were of this layout.
    common = text.str.replace(layout.pattern, layout.rewrite)
    return _to_ns(common, layout.common, f"^{_MARK}{_CENTURY}" if layout.common[1:3] == "%Y" else "")


def _to_ns(text: pl.Series, pattern: str, century: str) -> pl.Series:
    stamps = text.str.to_datetime(pattern, time_unit="ns", strict=False).to_physical()
    # Polars wraps the years that nanoseconds cannot hold, without a word.
    if _in_two_centuries(text, century):
        return stamps
    micros = text.str.to_datetime(pattern, time_unit="us", strict=False).to_physical()
    most = (2**63 - 1) // 1_000 - 1
    beyond = ((micros > most) | (micros < -most)).fill_null(value=False)
    return pl.select(pl.when(beyond).then(micros.clip(-most, most) * 1_000).otherwise(stamps)).to_series()


def _in_two_centuries(text: pl.Series, century: str) -> bool:
    if text.len() == text.null_count():
        return True
    if century in {f"^{_CENTURY}", f"^{_MARK}{_CENTURY}"}:
        # The year comes first: the least and the greatest text tell.
        at = len(century) - len(_CENTURY) - 1
        return {str(edge)[at : at + 2] for edge in (text.min(), text.max())} <= {"19", "20"}
    return bool(century) and bool(text.str.contains(century).all())


def _split_zone(text: pl.Series) -> tuple[pl.Series, NDArray[np.int64], NDArray[np.bool_]]:
    """Return text without its zone, nanoseconds ahead of UTC, and where a zone was."""
    if text.str.ends_with("Z").all() and text.len():
        return text.str.strip_suffix("Z").str.strip_chars_end(), *_same(text.len(), 0)
    zones = text.str.extract(rf"\s*({_ZONE})$")
    offsets = {zone: zone_ns(zone) for zone in zones.unique().to_list() if zone is not None}
    head = text.str.replace(rf"\s*(?:{_ZONE})$", "")
    known = {zone: offset for zone, offset in offsets.items() if offset is not None}
    ahead = zones.replace_strict(known, default=None, return_dtype=pl.Int64)
    return head, ahead.fill_null(0).to_numpy(), ahead.is_not_null().to_numpy()


def _same(count: int, value: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    return np.full(count, value, dtype=np.int64), np.ones(count, dtype=np.bool_)


def zone_ns(zone: str) -> int | None:
    """Return how far ahead of UTC ``Z``, ``+02``, ``+0200`` or ``GMT+0200`` is; None if it is no offset."""
    match = re.fullmatch(r"(?:UTC|GMT)?\s?([+-])(\d{1,2}):?(\d{2})?", zone)
    if match is None:
        return 0 if zone in {"Z", "UTC", "GMT"} else None
    minutes = int(match[2]) * 60 + int(match[3] or 0)
    if minutes > 14 * 60 or int(match[3] or 0) >= 60:
        return None
    return (-1 if match[1] == "-" else 1) * minutes * MINUTE_NS


def _check_names(names: list[str], text: str) -> None:
    known = {*_PARTS, "z"} - {"%"}
    for name in names:
        if name == "s":
            msg = f"--time-format describes text, but got {text!r}. For numbers use --time-unit."
            raise DataError(msg)
        if name not in known:
            listed = " ".join(f"%{letter}" for letter in sorted(known))
            raise DataError(f"--time-format may use {listed}, but got %{name} in {text!r}. Mend it.")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"%{twice} stands twice in --time-format {text!r}. Leave one out.")
    groups = (("Y", "y"), ("m", "b"), ("d",), ("H", "I"), ("M",))
    daily = not {"H", "I", "M", "S", "f", "p"} & set(names)
    for group in groups[: 3 if daily else 5]:
        if len({*group} & set(names)) != 1:
            wanted = " or ".join(f"%{name}" for name in group)
            raise DataError(f"--time-format {text!r} lacks {wanted}. Add it.")
    if ("I" in names) != ("p" in names):
        msg = f"--time-format needs %I and %p (am/pm) together, or %H, but got {text!r}. Mend it."
        raise DataError(msg)


def _regex_of(tokens: list[str], at: int) -> str:
    token = tokens[at]
    follows = tokens[at + 1] if at + 1 < len(tokens) else ""
    if token in ".,:" and follows == "%f":
        return ""  # goes with the fraction
    if not token.startswith("%"):
        return r"\s+" if token == " " else re.escape(token)
    name = token[1:]
    if name == "f":
        mark = tokens[at - 1] if at and tokens[at - 1] in ".,:" else ""
        # After a colon a number of milliseconds could be meant, so it must have all its digits.
        digits = _COLON_FRACTION if mark in {":", ""} else _PARTS["f"]
        return rf"(?:{re.escape(mark)}{digits})?"
    # Digits that touch others have their full width.
    touching = any(
        0 <= near < len(tokens) and tokens[near][0] == "%" and tokens[near][1] in "YymdHIMSf"
        for near in (at - 1, at + 1)
    )
    if touching and name in set("mdHI"):
        return rf"(?P<{name}>\d{{2}})"
    return _PARTS[name]


def _common(names: list[str]) -> tuple[str, str]:
    """Return what rewrites a match to the common form, and that form for Polars."""
    year, month = ("Y" if "Y" in names else "y"), ("b" if "b" in names else "m")
    rewrite, common = f"{_MARK}${{{year}}}-${{{month}}}-${{d}}", f"{_MARK}%{year}-%{month}-%d"
    hour = "I" if "I" in names else "H"
    clock = f"${{{hour}}}:${{M}}" if hour in names else "00:00"
    rewrite += f" {clock}:{'${S}' if 'S' in names else '00'}"
    common += f" %{hour}:%M:%S"
    if "f" in names:
        # The zero stands for a fraction that is missing.
        rewrite, common = rewrite + ".${f}0", common + "%.f"
    if "p" in names:
        rewrite, common = rewrite + " ${p}M", common + " %p"
    return rewrite, common


def _direct(tokens: list[str]) -> str:
    """Return the pattern with which Polars reads most of such text as it stands."""
    return re.sub(r"%f", "%3f", "".join(tokens).replace(".%f", "%.f"))


def _clock_format(rest: str) -> str | None:
    match = _CLOCK.match(rest)
    if match is None:
        return None
    clock = match["clock"]
    hour = "%I" if match["noon"] else "%H"
    if ":" in clock:
        text = f"{hour}:%M" + (":%S" if clock.count(":") > 1 else "")
        if clock.count(":") > 1:
            text += f"{match['mark'] or '.'}%f"
    elif len(clock) == len("HHMM"):
        text = f"{hour}%M"
    else:
        text = f"{hour}%M%S" + (f"{match['dot'] or ''}%f" if match["g"] else "")
    if match["noon"]:
        text += match["gap"] + "%p"
    if match["zone"]:
        text += (match["tail"] if match["noon"] else match["gap"] or match["tail"]) + "%z"
    return text


def _dates(day: re.Match[str]) -> Iterator[str]:
    if day["year"]:
        yield day["s1"].join(("%Y", "%m", "%d"))
    elif day["s2"]:
        yield day["s2"].join(("%d", "%m", "%Y"))
        yield day["s2"].join(("%m", "%d", "%Y"))
    elif day["compact"]:
        yield "%Y%m%d"
    elif day["dmon"]:
        yield f"%d{day['s3']}%b{day['s4']}%Y"
    else:
        yield f"%b{day['s5']}%d{day['s6']}%Y"


__all__ = ["TextLayout", "compile_format", "parse", "recognise", "zone_ns"]
