"""Specs drawn at random: whatever the condition language can say.

Owns a writer of conditions for tests that hold two evaluations of a spec equal; knows neither of them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import msgspec

from aiopt.strategy.spec import StrategySpec

INDICATORS = {
    "r": {"kind": "rsi", "args": {"length": 9}},
    "m": {"kind": "macd", "args": {"fast": 5, "slow": 13, "signal": 4}},
    "b": {"kind": "bollinger", "args": {"length": 15, "multiplier": 1.7}},
    "s": {"kind": "sma", "source": "hl2", "args": {"length": 10}},
    "e": {"kind": "ema", "source": "ohlc4", "args": {"length": 7}},
    "w": {"kind": "rma", "source": "hlc3", "args": {"length": 6}},
    "k": {"kind": "stochastic", "args": {"k_length": 5, "k_smooth": 2, "d_smooth": 3}},
    "a": {"kind": "atr", "args": {"length": 8}},
    "d": {"kind": "dmi", "args": {"length": 6, "smoothing": 5}},
    "t": {"kind": "supertrend", "args": {"length": 5, "multiplier": 1.3}},
    "c": {"kind": "cci", "source": "ha_close", "args": {"length": 9}},
    "v": {"kind": "vwma", "source": "ha_high", "args": {"length": 6}},
    "f": {"kind": "wma", "source": "volume", "args": {"length": 4}},
    "i": {"kind": "inside_bar"},
    "j": {"kind": "doji"},
    "u": {"kind": "bullish_engulfing"},
    "x": {"kind": "shooting_star"},
}
HIGHER = {
    "l": {"kind": "higher_ema", "args": {"timeframe": "2h", "length": 2}},
    "q": {"kind": "higher_donchian", "args": {"timeframe": "2h", "length": 2}},
}
WIDE = {
    "p1": {"kind": "double_top"},
    "p2": {"kind": "double_bottom"},
    "p3": {"kind": "head_and_shoulders"},
    "p4": {"kind": "inverse_head_and_shoulders"},
    "p5": {"kind": "breakout_up"},
    "p6": {"kind": "breakout_down"},
    "p7": {"kind": "morning_star"},
    "p8": {"kind": "three_black_crows"},
    "d1": {"kind": "donchian", "args": {"length": 12}},
    "i1": {"kind": "ichimoku", "args": {"conversion": 4, "base": 9, "span": 17, "displacement": 5}},
    "k1": {"kind": "keltner", "args": {"length": 8, "multiplier": 1.2}},
    "l1": {"kind": "linreg", "args": {"length": 11}},
    "h1": {"kind": "hma", "source": "ohlc4", "args": {"length": 9}},
    "h2": {"kind": "heikin_ashi"},
    "y1": {"kind": "previous_day"},
    "y2": {"kind": "today"},
    "s1": {"kind": "session_range", "args": {"start": 60, "end": 180, "timezone": "Europe/London"}},
    "v1": {"kind": "vwap", "source": "hlc3"},
    "o1": {"kind": "williams_r", "args": {"length": 6}},
    "o2": {"kind": "cmo", "args": {"length": 5}},
    "o3": {"kind": "mfi", "source": "hlc3", "args": {"length": 5}},
    "o4": {"kind": "stoch_rsi", "args": {"rsi_length": 6, "k_length": 5, "k_smooth": 2, "d_smooth": 2}},
    "o5": {"kind": "roc", "args": {"length": 4}},
    "o6": {"kind": "tsi", "args": {"short": 4, "long": 9}},
    "o7": {"kind": "obv"},
    "c1": {"kind": "calendar", "args": {"timezone": "America/New_York"}},
}
PARAMS = {"n": 3, "g": 1.7}
PRICES = (
    *("open", "high", "low", "close", "hl2", "hlc3", "ohlc4"),
    *("b.upper", "b.lower", "b.middle", "s", "e", "w", "v", "t.line"),
)
HIGHER_PRICES = ("l", "q.upper", "q.lower")
WIDE_PRICES = (
    *("d1.upper", "d1.lower", "d1.middle", "i1.conversion", "i1.base", "i1.span_a", "i1.span_b", "k1.upper"),
    *(
        "k1.lower",
        "l1",
        "h1",
        "h2.open",
        "h2.close",
        "y1.high",
        "y2.low",
        "y2.open",
        "s1.high",
        "s1.low",
        "v1",
    ),
)
PATTERNS = ("i", "j", "u", "x")
CHART_PATTERNS = ("p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8")
OSCILLATORS = ("r", "k.k", "k.d", "d.plus", "d.minus", "d.adx")


class _Writer:
    """Writes conditions at random.

    Levels of averages that never forget and of ratios of them are odd numbers: where noise exceeds the
    tolerance of comparisons, every engine has its own.
    """

    def __init__(self, seed: int, *, higher: bool, wide: bool = False) -> None:
        self.random = random.Random(seed)
        self.prices: tuple[str, ...] = PRICES + HIGHER_PRICES * 3 if higher else PRICES
        self.wide = wide
        if wide:
            self.prices += WIDE_PRICES

    def one(self, *options: str) -> str:
        return self.random.choice(options)

    def past(self, name: str) -> str:
        return f"{name}[{self.random.randint(1, 5)}]" if self.random.random() < 0.3 else name

    def price(self, depth: int = 2) -> str:
        draw = self.random.random() if depth else 1.0
        if draw < 0.15:
            return f"highest({self.price(depth - 1)}, {self.one('3', '7', 'n')})"
        if draw < 0.3:
            return f"lowest({self.price(depth - 1)}, {self.one('4', '9')})"
        if draw < 0.4:
            return f"{self.one('min', 'max')}({self.price(depth - 1)}, {self.price(depth - 1)})"
        if draw < 0.5:
            offset = self.one("a", "abs(m.macd)", "0.00013", "g * 0.0001")
            return f"{self.past(self.one(*self.prices))} {self.one('+', '-')} {offset}"
        return self.past(self.one(*self.prices))

    def oscillator(self) -> str:
        return self.past(self.one(*OSCILLATORS))

    def atom(self) -> str:
        operator = self.one("<", "<=", ">", ">=")
        atoms: list[Callable[[], str]] = [
            lambda: f"{self.price()} {operator} {self.price()}",
            lambda: f"{self.oscillator()} {operator} {self.one('30.3', '55.5', '70 - g', '-(-40.7)')}",
            lambda: f"crossover({self.oscillator()}, {self.one('50.1', '35.2', self.oscillator())})",
            lambda: f"crossunder({self.price(1)}, {self.price(1)})",
            lambda: f"{self.one('rising', 'falling')}({self.price(1)}, {self.one('1', '2', 'n')})",
            lambda: f"m.macd / a {operator} {self.one('0.37', '-0.2', 'm.signal / a')}",
            lambda: f"(high - low) / (close - open) {operator} {self.one('2.3177', '-1.377')}",
            lambda: f"{self.one('close', 'open')} {self.one('==', '!=')} {self.one('high', 'close[1]')}",
            lambda: f"{self.one('volume', 'f')} {operator} 250.3",
            lambda: f"t.direction {self.one('<', '>')} 0",
            lambda: f"{self.past(self.one(*PATTERNS))} {self.one('>', '<=')} 0",
            lambda: f"{self.past('c')} {operator} {self.one('75.3', '-90.1', 'c[1]')}",
        ]
        return self.random.choice(atoms + self.wide_atoms(operator) if self.wide else atoms)()

    def wide_atoms(self, operator: str) -> list[Callable[[], str]]:
        """Return atoms of the rarer kinds; levels are round where whole units make a tie a tie."""
        return [
            lambda: f"highest({self.one(*CHART_PATTERNS)}, {self.one('9', '30')}) {self.one('>', '<=')} 0",
            lambda: f"{self.past(self.one(*CHART_PATTERNS[4:]))} > 0",
            lambda: f"{self.past('o1')} {operator} {self.one('-25', '-80', 'o1[1]')}",
            lambda: f"{self.past('o2')} {operator} {self.one('0', '-20', '50', 'o2[1]')}",
            lambda: f"k.k {operator} {self.one('20', '75', 'k.d', 'k.k[1]')}",
            lambda: f"o3 {operator} {self.one('30.3', '70.1')}",
            lambda: f"{self.one('o4.k', 'o4.d')} {operator} {self.one('20.3', '80.3')}",
            lambda: f"o5 {operator} {self.one('0.0123', '-0.0077')}",
            lambda: f"crossover(o6, {self.one('0.1003', '-0.2001')})",
            lambda: f"o7 {operator} o7[{self.one('1', '3')}]",
            lambda: f"c1.hour {operator} {self.one('8', '14')} or c1.minute {operator} 30",
            lambda: f"{self.price(1)} {operator} {self.past(self.one(*WIDE_PRICES))}",
        ]

    def condition(self, depth: int = 2) -> str:
        draw = self.random.random() if depth else 1.0
        if draw < 0.35:
            return f"({self.condition(depth - 1)}) and ({self.condition(depth - 1)})"
        if draw < 0.55:
            return f"({self.condition(depth - 1)}) or ({self.condition(depth - 1)})"
        if draw < 0.7:
            return f"not ({self.condition(depth - 1)})"
        return self.atom()


def _random_exits(draw: random.Random) -> dict[str, dict]:
    """Return some of the exits beside stop, target and signals."""

    def distance(pips: float, times: float) -> dict:
        if draw.random() < 0.5:
            return {"unit": "pips", "value": draw.choice([pips, round(pips * 1.37, 2)])}
        return {"unit": "atr", "value": draw.choice([times, "g"]), "indicator": "a"}

    exits: dict[str, dict] = {}
    if draw.random() < 0.6:
        exits["trailing_stop"] = {"distance": distance(3.0, 1.1)}
        if draw.random() < 0.4:
            exits["trailing_stop"]["after"] = distance(2.0, 0.8)
    if draw.random() < 0.5:
        exits["break_even"] = {"after": distance(2.5, 0.9), "plus_pips": draw.choice([0.0, 0.4, 1.0])}
    if draw.random() < 0.5 or not exits:
        time: dict = {"bars": draw.choice([1, 2, 7, 20, "n"])}
        clock = {"at": draw.choice(["16:00", "23:50", "00:00"]), "timezone": "America/New_York"}
        exits["time_stop"] = draw.choice([time, clock, time | clock])
    return exits


def _random_levels(
    draw: random.Random, stop: dict | None, target: dict | None, *, adds: bool
) -> tuple[dict | None, ...]:
    """Return stop and target in per cent, or laid from the entry's own price, or both.

    Beside entries that are added every level lies from its signal's close.
    """

    def drawn(kept: dict | None, percents: list[float], pips: list[float]) -> dict | None:
        found = kept
        if draw.random() < 0.75:
            # Half ticks cannot be ruled out, as a share of a price is any number; they are rare.
            percent = {"unit": "percent", "value": draw.choice(percents)}
            found = draw.choice([percent, {"unit": "pips", "value": draw.choice(pips)}])
        origin = draw.choice([None, "entry", "entry", "position"])
        if found is not None and draw.random() < 0.4:
            found = {**found, "rounding": "away"}
        return found if found is None or origin is None or adds else {**found, "origin": origin}

    return (
        drawn(stop, [0.03, 0.0417, 0.081], [3.0, 4.6]),
        drawn(target, [0.0293, 0.066, 0.12], [3.8, 9.0]),
    )


def _fitting(stop: dict | None, size: dict, further: dict) -> tuple[dict | None, dict]:
    """Return a stop that lies from where the other exits allow it, and a size that allows the stop."""
    origin = None if stop is None else stop.get("origin")
    if origin == "entry" and further.keys() & {"trailing_stop", "break_even"}:
        origin = "position"
    if origin is None or stop is None:
        return stop, size
    return {**stop, "origin": origin}, {"kind": "fixed"} if origin == "position" else size


def _random_limits(draw: random.Random) -> dict[str, object]:
    """Return some of what holds entries back, tight enough to do so on a thousand bars."""
    limits: dict[str, object] = {}
    if draw.random() < 0.6:
        limits["pause_bars"] = draw.choice([1, 2, 5, 24, "n"])
    if draw.random() < 0.5:
        limits["trades_per_day"] = draw.choice([1, 2, 6, "n"])
    if draw.random() < 0.5 or not limits:
        percent = {"percent": draw.choice([0.003, 0.02, 0.3])}
        money = {"money": draw.choice([1.5, 10, 60.0, "g"])}
        limits["daily_loss"] = draw.choice([percent, money])
    return limits


def _random_targets(draw: random.Random, target: dict | None, *, levels: bool) -> list[dict]:
    """Return targets of parts; beside a target of the rest some share is left for it."""
    count = draw.choice([1, 2, 2, 3, 4])
    options = [10, 25, 12.5, 100 / 3 / count, 80 / count]
    shares: list[float | str] = [draw.choice(options) for _ in range(count)]
    if target is None and draw.random() < 0.4:
        shares[-1] = 100 - sum(float(share) for share in shares[:-1])
    elif draw.random() < 0.3:
        shares[0] = "g"  # a parameter; 1.7 per cent
    pips, times, found = 0.4, 0.15, []
    for share in shares:
        # Whole ticks: half of one is a tie that float noise decides, in every engine its own way.
        pips = round(pips + draw.choice([0.7, 1.3, 2.1]), 2)
        times = round(times + draw.choice([0.2, 0.35]), 2)
        away: dict = {"unit": "pips", "value": pips}
        if draw.random() < 0.4:
            away = {"unit": "atr", "value": times, "indicator": "a"}
        elif levels and draw.random() < 0.4:
            away = {"unit": "percent", "value": round(pips * 0.0091, 5)}
        found.append({"share": share, **away})
    return found


def _random_readings(draw: random.Random, *, short: bool) -> dict[str, object]:
    """Return what is asked of readings, loose enough that some entries are left."""
    found: dict[str, object] = {
        "without": draw.choice(["allow", "refuse"]),
        "max_age_bars": draw.choice([1, 3, 9, 40, "n"]),
    }
    options: list[dict[str, object]] = [
        {"bias": draw.choice([["long"], ["long", "neutral"], ["short", "neutral"]])},
        {"trend": draw.choice([["up", "sideways"], ["down"]])},
        {"volatility": ["low", "normal"]},
        {"patterns": ["hammer", "double_top"], "within_bars": draw.choice([5, 20, "n"])},
        {"no_patterns": ["doji"]},
    ]
    for side in ("long", "short") if short else ("long",):
        if draw.random() < 0.7:
            found[side] = draw.choice(options) | (draw.choice(options) if draw.random() < 0.3 else {})
    if draw.random() < 0.4:
        found["min_confidence"] = draw.choice([0.2, 0.45])
        found["confidence"] = draw.choice(["confidence", "calibrated", "technical"])
    if draw.random() < 0.5 or len(found) == 2:
        by = draw.choice(["confidence", "risk", "calibrated"])
        least, most = draw.choice([(0.25, 1.5), (2.0, 0.3), (0.001, 1.0), (0.5, "g")])
        found["size"] = {"by": by, "low": 0.2, "high": 0.83, "least": least, "most": most}
    return found


SESSIONS = (
    None,
    {"start": "09:30", "end": "16:15", "timezone": "America/New_York"},
    {"start": "22:00", "end": "07:00", "timezone": "Europe/London", "weekdays": [1, 3, 5, 7]},
)


# reason: each part of the language can be drawn or not
def random_spec(  # noqa: PLR0913
    seed: int,
    *,
    exits: bool = False,
    limits: bool = False,
    targets: bool = False,
    higher: bool = False,
    levels: bool = False,
    adds: bool = False,
    wide: bool = False,
    readings: bool = False,
) -> StrategySpec:
    """Return a spec drawn at random; same arguments, same spec.

    Parameters
    ----------
    seed : int
        Of conditions, stops, session and size.
    exits : bool
        Whether moving stops and time stops are drawn too; then most specs have no exit signals.
    limits : bool
        Whether what holds entries back is drawn too.
    targets : bool
        Whether targets of parts are drawn too.
    higher : bool
        Whether conditions read a higher timeframe too, of two hours: for bars of at most one.
    levels : bool
        Whether stop and target are drawn in per cent and from the entry's own price too.
    adds : bool
        Whether several entries may be open at once; then half of the specs have no exit signals.
    wide : bool
        Whether conditions read the rarer kinds too: chart patterns, channels, sessions, the clock.
    readings : bool
        Whether readings hold entries back and size them too.
    """
    writer = _Writer(seed, higher=higher, wide=wide)
    texts = {name: writer.condition() for name in ("entry_long", "entry_short", "exit_long", "exit_short")}
    draw = writer.random.random()
    if draw < 0.1:
        del texts["exit_long"]
    elif draw > 0.9:
        del texts["entry_short"], texts["exit_short"]
    stop = writer.random.choice(
        [None, {"unit": "atr", "value": 1.5, "indicator": "a"}, {"unit": "pips", "value": 4}]
    )
    target = writer.random.choice([None, {"unit": "atr", "value": "g", "indicator": "a"}])
    if levels:
        stop, level = _random_levels(random.Random(f"levels {seed}"), stop, target, adds=adds)
        target = target if targets else level  # targets of parts lie from the signal's close, all of them
    session = writer.random.choice(SESSIONS)
    size = {"kind": "risk", "risk_pct": 0.8} if stop and writer.random.random() < 0.5 else {"kind": "fixed"}
    further: dict = {}
    if exits:
        further = _random_exits(random.Random(f"exits {seed}"))
        if seed % 3:  # exit signals come so often that little else would end a position
            texts = _entries(texts)
    if limits:
        further["limits"] = _random_limits(random.Random(f"limits {seed}"))
    if targets:
        further["targets"] = _random_targets(random.Random(f"targets {seed}"), target, levels=levels)
    if adds:
        further["pyramiding"] = random.Random(f"pyramiding {seed}").choice([2, 2, 3, 4, 10])
    if readings:
        drawn = random.Random(f"readings {seed}")
        further["readings"] = _random_readings(drawn, short="entry_short" in texts)
    if (adds or levels) and seed % 2:  # exit signals come so often that little else would happen
        texts = _entries(texts)
    stop, size = _fitting(stop, size, further)
    fields = {"stop_loss": stop, "take_profit": target, "session": session, "size": size, **further, **texts}
    return _spec_of(f"random_{seed}", fields)


def _entries(texts: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in texts.items() if name.startswith("entry")}


def _spec_of(name: str, fields: dict) -> StrategySpec:
    """Return the spec of drawn fields, with the parameters and indicators that they name."""
    drawn = [value for field, value in fields.items() if field not in ("session", "size")]
    text = " ".join(str(value) for value in drawn).replace("'", " ")
    used = set(re.findall(r"(?<![.\w])[a-z]\d?\b", text))
    known = INDICATORS | HIGHER | WIDE
    return StrategySpec.from_json(
        msgspec.json.encode(
            {
                "name": name,
                "params": {name: value for name, value in PARAMS.items() if name in used},
                "indicators": {name: value for name, value in known.items() if name in used},
                **fields,
            }
        )
    )
