"""What an analyst is asked and what it answers, as records.  Owns their fields and rules; asks nobody.

A request is checked when it is made, so everything after it (prompt, rules, validation) may rely on finite
prices and a real PNG.
"""

from __future__ import annotations

import base64
import binascii
import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import msgspec
import numpy as np

from aiopt.analyst.bar_times import check_bar_times
from aiopt.bars.schema import BarArrays
from aiopt.config import decode
from aiopt.errors import AioptError, AnalysisRequestError
from aiopt.patterns import PATTERN_KINDS, Direction, Prices, Trend, Volatility
from aiopt.timeframe import parse_timeframe

Bias = Literal["long", "short", "neutral"]
BIASES: tuple[Bias, ...] = ("long", "short", "neutral")
LevelKind = Literal["support", "resistance"]

MAX_BARS = 4096
"""Most bars of a request; more than a chart has columns."""

MIN_PRICE, MAX_PRICE = 1e-9, 1e12
"""Far beyond any market's prices; beyond these, sums and axes lose their digits."""
MAX_VOLUME = 1e18

MAX_PNG_BYTES = 8 * 1024 * 1024
MAX_PNG_SIDE = 4096
MAX_NOTE = 2000
MAX_INDICATORS = 32

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, eq=False, kw_only=True)
class AnalysisRequest:
    """A market to read.

    Attributes
    ----------
    bars : BarArrays or None
        The bars of the chart, oldest first; index 0 is the leftmost.  Nothing but these is ever read.
    chart_png : bytes or None
        The picture a model is shown.
    indicators : mapping of str to float
        Values at the last bar, by title, e.g. ``{"RSI 14": 61.2}``.
    instrument, timeframe : str
        Taken from `bars` where not given.
    note : str
        Free text for the model.  Treated as data, not as instruction.
    spread : float or None
        Ask minus bid, quote currency; lowers confidence, see `aiopt.analyst.confidence`.

    Raises
    ------
    AnalysisRequestError
        If there is neither chart nor bars nor indicators, the PNG is none or too large, a number is not
        finite, or bars are empty, too many or not in order.
    """

    bars: BarArrays | None = None
    chart_png: bytes | None = None
    indicators: Mapping[str, float] = field(default_factory=dict)
    instrument: str = ""
    timeframe: str = ""
    note: str = ""
    spread: float | None = None

    def __post_init__(self) -> None:
        if self.bars is None and self.chart_png is None and not self.indicators:
            msg = "A request needs bars, a chart or indicator values, but has none. Add one of them."
            raise AnalysisRequestError(msg)
        if self.bars is not None:
            self._check_bars(self.bars)
            object.__setattr__(self, "instrument", self.instrument or self.bars.instrument)
            object.__setattr__(self, "timeframe", self.timeframe or self.bars.timeframe.label)
        if self.chart_png is not None:
            png_size(self.chart_png)
        for name in ("instrument", "timeframe", "note"):
            limit = MAX_NOTE if name == "note" else 32
            check_text(getattr(self, name), name, limit, AnalysisRequestError)
        self._check_indicators()
        if self.spread is not None and not (math.isfinite(self.spread) and self.spread >= 0):
            msg = f"`spread >= 0` must hold, but got spread={self.spread}. Leave it out if unknown."
            raise AnalysisRequestError(msg)

    @staticmethod
    def _check_bars(bars: BarArrays) -> None:
        if not 1 <= len(bars) <= MAX_BARS:
            msg = f"`1 <= bars <= {MAX_BARS}` must hold, but got {len(bars)} bars."
            raise AnalysisRequestError(msg + " Give the window the chart shows.")
        try:
            prices = Prices(bars.open, bars.high, bars.low, bars.close)
        except AioptError as failure:
            raise AnalysisRequestError(str(failure)) from failure
        if prices.low.min() <= 0:
            raise AnalysisRequestError(f"Prices must be positive, but the lowest is {prices.low.min()}.")
        low, high = float(prices.low.min()), float(prices.high.max())
        if low < MIN_PRICE or high > MAX_PRICE:
            msg = f"`{MIN_PRICE:g} <= price <= {MAX_PRICE:g}` must hold, but prices go from {low:g} to "
            raise AnalysisRequestError(f"{msg}{high:g}. Correct them, or give them in another unit.")
        if not (np.isfinite(bars.volume) & (bars.volume >= 0) & (bars.volume <= MAX_VOLUME)).all():
            msg = f"`0 <= volume <= {MAX_VOLUME:g}` must hold, but bars go from {bars.volume.min():g} to "
            raise AnalysisRequestError(f"{msg}{bars.volume.max():g}. Correct them, or leave volume out.")
        if (np.diff(bars.ts_open_ns) <= 0).any():
            raise AnalysisRequestError("Bars must be in order of time, each once, but are not. Sort them.")

    def _check_indicators(self) -> None:
        if len(self.indicators) > MAX_INDICATORS:
            msg = f"A request may have {MAX_INDICATORS} indicator values, but has {len(self.indicators)}."
            raise AnalysisRequestError(msg + " Remove some.")
        for name, value in self.indicators.items():
            check_text(name, "an indicator's name", 48, AnalysisRequestError)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                msg = f"Indicator values must be finite numbers, but {name!r} is {value!r}."
                raise AnalysisRequestError(msg + " Leave out what has no value yet.")

    @property
    def n_bars(self) -> int | None:
        """Number of bars; None where only a picture or indicators were given."""
        return None if self.bars is None else len(self.bars)

    @cached_property
    def prices(self) -> Prices | None:
        """The bars as the pattern detectors take them."""
        if self.bars is None:
            return None
        return Prices(self.bars.open, self.bars.high, self.bars.low, self.bars.close)

    @property
    def price_range(self) -> tuple[float, float] | None:
        """Prices an answer may name: one chart height beyond both ends of the bars; None without bars."""
        if self.bars is None:
            return None
        low, high = float(self.bars.low.min()), float(self.bars.high.max())
        margin = max(high - low, 1e-3 * high)
        return max(low - margin, 0.0), high + margin


def png_size(data: bytes) -> tuple[int, int]:
    """Return width and height of a PNG, from its header alone.

    Raises
    ------
    AnalysisRequestError
        If it is no PNG, too large, or larger than `MAX_PNG_SIDE` on a side.
    """
    if len(data) > MAX_PNG_BYTES:
        msg = f"A chart must have at most {MAX_PNG_BYTES} bytes, but has {len(data)}. Draw it smaller."
        raise AnalysisRequestError(msg)
    if len(data) < 33 or not data.startswith(_PNG_SIGNATURE) or data[12:16] != b"IHDR":
        found = "no bytes" if not data else f"data starting with {data[:8]!r}"
        raise AnalysisRequestError(f"A chart must be a PNG file, but got {found}. Send PNG bytes.")
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if not (1 <= width <= MAX_PNG_SIDE and 1 <= height <= MAX_PNG_SIDE):
        msg = f"A chart must have at most {MAX_PNG_SIDE} pixels a side, but has {width} × {height}."
        raise AnalysisRequestError(msg + " Draw it smaller.")
    return width, height


def check_text(text: str, what: str, limit: int, error: type[AioptError]) -> None:
    """Raise `error` if `text` is too long or holds control or direction-changing characters."""
    if len(text) > limit:
        raise error(f"{what} may have {limit} characters, but has {len(text)}. Shorten it.")
    for character in text:
        # Cc: control; Cf: invisible, among them bidi overrides; Cs: halves of a surrogate pair
        if unicodedata.category(character) in {"Cc", "Cf", "Cs"} and character not in "\n\t":
            raise error(f"{what} must be plain text, but holds U+{ord(character):04X}. Remove it.")


# --- answers ----------------------------------------------------------------------------------------------


class Regime(msgspec.Struct, frozen=True):
    """State of the market over the bars shown."""

    trend: Trend
    volatility: Volatility


class VisiblePattern(msgspec.Struct, frozen=True, kw_only=True):
    """A pattern and where it is.

    Attributes
    ----------
    kind : str
        A key of `aiopt.patterns.PATTERN_KINDS`.
    first_bar, last_bar : int
        0-based bars of the request, both included.
    price : float
        Reference price, quote currency.
    first_ts_ns, last_ts_ns : int or None
        Opening times of those bars, UTC; None where the request had no bars.
    """

    kind: str
    first_bar: int
    last_bar: int
    price: float
    first_ts_ns: int | None = None
    last_ts_ns: int | None = None

    @property
    def direction(self) -> Direction:
        """What tradition reads from it."""
        return PATTERN_KINDS[self.kind].direction


class PriceLevel(msgspec.Struct, frozen=True):
    """A support or resistance; strength in [0, 1]."""

    price: float
    kind: LevelKind
    strength: float


class ConfidenceParts(msgspec.Struct, frozen=True, kw_only=True):
    """What `Analysis.confidence` is made of; each in [0, 1].  Formula: `aiopt.analyst.confidence`.

    Attributes
    ----------
    stated : float
        What the model (or the rules) said of itself.
    technical : float
        Agreement of the bias with trend, averages and oscillators; 0.5 where there are no bars.
    risk : float
        1 in a calm market with good data; lower with high volatility, wide spread, gaps.
    agreement : float
        Share of the ensemble with this bias; 1 for a single reader.
    """

    stated: float
    technical: float
    risk: float
    agreement: float


class Analysis(msgspec.Struct, frozen=True, kw_only=True):
    """A reading of a market.

    Attributes
    ----------
    regime : Regime
        Trend and volatility.
    patterns : tuple of VisiblePattern
        In order of `last_bar`.
    bias : {"long", "short", "neutral"}
        Side the reading favours.
    levels : tuple of PriceLevel
        In order of price.
    confidence : float
        In [0, 1], combined; not a probability of profit.
    confidence_parts : ConfidenceParts
        What it was combined from.
    rationale : str
        Why, in a few sentences.
    source : {"model", "rules"}
        Who read.
    model_id, model_revision : str
        Of the answering model; for rules ``"rules"`` and the rules' version.  Of several models, joined
        by commas.
    prompt_version : str
        Key of `aiopt.analyst.prompts.PROMPTS`; empty for rules.
    schema_version : str
        `aiopt.analyst.schema.SCHEMA_VERSION`.
    fallback_reason : str
        Why the rules answered although a model was asked; empty otherwise.
    calibrated : float or unset
        How often such readings are right, where that was measured for who answered and asked for: see
        `aiopt.analyst.checkpoint_calibration`.
    """

    regime: Regime
    patterns: tuple[VisiblePattern, ...]
    bias: Bias
    levels: tuple[PriceLevel, ...]
    confidence: float
    confidence_parts: ConfidenceParts
    rationale: str
    source: Literal["model", "rules"]
    model_id: str
    model_revision: str = ""
    prompt_version: str = ""
    schema_version: str = ""
    fallback_reason: str = ""
    calibrated: float | msgspec.UnsetType = msgspec.UNSET


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One question to one model.

    Attributes
    ----------
    model, prompt_version : str
        Who was asked and how.
    ok : bool
        Whether the reply was valid.
    error : str
        Why not.
    model_id, model_revision : str
        Who said it answered.
    prompt_tokens, completion_tokens : int
        As the endpoint counts them; 0 where it does not say.
    """

    model: str
    prompt_version: str
    ok: bool
    error: str = ""
    model_id: str = ""
    model_revision: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Vote(msgspec.Struct, frozen=True, kw_only=True):
    """What one member of the ensemble said."""

    model: str
    prompt_version: str
    bias: Bias
    trend: Trend
    confidence: float


class AnalysisResult(msgspec.Struct, frozen=True, kw_only=True):
    """An analysis and how it came about.

    Attributes
    ----------
    analysis : Analysis
        The answer.
    attempts : tuple of Attempt
        Every question asked, in order of model, prompt and attempt; empty without a model.
    votes : tuple of Vote
        One per member of the ensemble that gave a valid reply.
    """

    analysis: Analysis
    attempts: tuple[Attempt, ...] = ()
    votes: tuple[Vote, ...] = ()


# --- from plain data --------------------------------------------------------------------------------------


class BarColumns(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bars as columns of equal length, as JSON carries them.

    Attributes
    ----------
    ts_open_ns : tuple of int
        Opening times, UTC, strictly increasing.
    open, high, low, close : tuple of float
        Quote currency.
    volume : tuple of float
        Empty where unknown.
    """

    ts_open_ns: tuple[int, ...]
    open: tuple[float, ...]
    high: tuple[float, ...]
    low: tuple[float, ...]
    close: tuple[float, ...]
    volume: tuple[float, ...] = ()

    def arrays(self, instrument: str, timeframe: str) -> BarArrays:
        """Return the bars as arrays.

        Raises
        ------
        AnalysisRequestError
            If the columns differ in length, or the times cannot be those of `timeframe`, see
            `aiopt.analyst.bar_times`.
        """
        n_bars = len(self.ts_open_ns)
        columns: dict[str, Any] = {}
        for name in ("open", "high", "low", "close", "volume"):
            values = getattr(self, name)
            if name == "volume" and not values:
                values = (0.0,) * n_bars
            if len(values) != n_bars:
                msg = f"Columns of bars must have one length: {n_bars} ts_open_ns, but {len(values)} {name}."
                raise AnalysisRequestError(msg)
            columns[name] = np.array(values, dtype=np.float64)
        if any(not -(2**63) <= stamp < 2**63 for stamp in self.ts_open_ns):
            raise AnalysisRequestError("Opening times must be nanoseconds of 64 bits, but one is larger.")
        length, times = parse_timeframe(timeframe), np.array(self.ts_open_ns, dtype=np.int64)
        if (np.diff(times) > 0).all():  # times out of order have an error of their own
            check_bar_times(times, length)
        return BarArrays(
            instrument=instrument,
            timeframe=length,
            price="mid",
            ts_open_ns=times,
            data_hash="",
            **columns,
        )


class RequestDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An `AnalysisRequest` as JSON carries it; `chart_png` is base64, with or without ``data:`` prefix."""

    bars: BarColumns | None = None
    chart_png: str | None = None
    indicators: dict[str, float] = {}
    instrument: str = "EURUSD"
    timeframe: str = "5m"
    note: str = ""
    spread: float | None = None


def request_from_document(document: RequestDocument, *, chart_png: bytes | None = None) -> AnalysisRequest:
    """Return the request a document describes.

    Parameters
    ----------
    document : RequestDocument
        The request as plain data.
    chart_png : bytes, optional
        Stands for the document's chart.

    Raises
    ------
    AnalysisRequestError
        If it breaks a rule of `AnalysisRequest` or the chart is no base64.
    """
    try:
        parse_timeframe(document.timeframe)
    except AioptError as failure:
        raise AnalysisRequestError(str(failure)) from failure
    png = chart_png
    if png is None and document.chart_png is not None:
        text = document.chart_png.removeprefix("data:image/png;base64,")
        if len(text) > MAX_PNG_BYTES * 4 // 3 + 4:
            msg = f"A chart must have at most {MAX_PNG_BYTES} bytes, but is larger. Draw it smaller."
            raise AnalysisRequestError(msg)
        try:
            png = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as failure:
            raise AnalysisRequestError(f"`chart_png` must be base64 of a PNG, but: {failure}.") from failure
    bars = None
    if document.bars is not None:
        if len(document.bars.ts_open_ns) > MAX_BARS:
            msg = f"`1 <= bars <= {MAX_BARS}` must hold, but got {len(document.bars.ts_open_ns)} bars."
            raise AnalysisRequestError(msg + " Give the window the chart shows.")
        bars = document.bars.arrays(document.instrument, document.timeframe)
    return AnalysisRequest(
        bars=bars,
        chart_png=png,
        indicators=document.indicators,
        instrument=document.instrument,
        timeframe=document.timeframe,
        note=document.note,
        spread=document.spread,
    )


def request_from_mapping(data: object, *, where: str = "request") -> AnalysisRequest:
    """Return the request that plain data (as parsed from JSON) describes; see `RequestDocument`.

    Raises
    ------
    AnalysisRequestError
        Front of the message is `where` where a key is at fault.
    """
    return request_from_document(decode(data, RequestDocument, where=where, error=AnalysisRequestError))
