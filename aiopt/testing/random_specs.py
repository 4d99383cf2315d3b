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
}
PARAMS = {"n": 3, "g": 1.7}
PRICES = (
    *("open", "high", "low", "close", "hl2", "hlc3", "ohlc4"),
    *("b.upper", "b.lower", "b.middle", "s", "e", "w"),
)
OSCILLATORS = ("r", "k.k", "k.d", "d.plus", "d.minus", "d.adx")


class _Writer:
    """Writes conditions at random.

    Levels of oscillators and ratios are odd numbers: a stochastic of exactly 40 carries more float noise than
    the tolerance of comparisons, in every engine its own.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

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
            return f"{self.past(self.one(*PRICES))} {self.one('+', '-')} {offset}"
        return self.past(self.one(*PRICES))

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
            lambda: f"volume {operator} 250",
        ]
        return self.random.choice(atoms)()

    def condition(self, depth: int = 2) -> str:
        draw = self.random.random() if depth else 1.0
        if draw < 0.35:
            return f"({self.condition(depth - 1)}) and ({self.condition(depth - 1)})"
        if draw < 0.55:
            return f"({self.condition(depth - 1)}) or ({self.condition(depth - 1)})"
        if draw < 0.7:
            return f"not ({self.condition(depth - 1)})"
        return self.atom()


def random_spec(seed: int) -> StrategySpec:
    """Return a spec whose conditions, stops, session and size are drawn; same seed, same spec."""
    writer = _Writer(seed)
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
    session = writer.random.choice(
        [
            None,
            {"start": "09:30", "end": "16:15", "timezone": "America/New_York"},
            {"start": "22:00", "end": "07:00", "timezone": "Europe/London", "weekdays": [1, 3, 5, 7]},
        ]
    )
    size = {"kind": "risk", "risk_pct": 0.8} if stop and writer.random.random() < 0.5 else {"kind": "fixed"}
    text = " ".join([*texts.values(), str(stop), str(target)])
    used = set(re.findall(r"(?<![.\w])[a-z]\b", text.replace("'", " ")))
    return StrategySpec.from_json(
        msgspec.json.encode(
            {
                "name": f"random_{seed}",
                "params": {name: value for name, value in PARAMS.items() if name in used},
                "indicators": {name: value for name, value in INDICATORS.items() if name in used},
                "stop_loss": stop,
                "take_profit": target,
                "session": session,
                "size": size,
                **texts,
            }
        )
    )
