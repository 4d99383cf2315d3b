"""A position in parts that leave at targets of their own, in Pine, for one side of a strategy.

Owns their text.  What parts are is `aiopt.strategy.targets`' business; the order of calls is the emitter's.

Every part has a `strategy.exit` of its own with a quantity: its target, and the stop they share.  TradingView
reserves a call's quantity for it, so that calls of one entry share the position, and lists a trade per call
that filled.  Parts leave in order, the nearest target first, so what is left of the position says which of
them are open.  A part that has left is given no prices rather than no call: a call that was left out on the
bar before would be read as a new one by the Pine engine of the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aiopt.pine.text import float_number
from aiopt.strategy.spec import PriceDistance, RiskSize, StrategySpec
from aiopt.strategy.spec_targets import MOST_TARGETS, SHARE_TOLERANCE, targets_of
from aiopt.strategy.targets import STEP_TOLERANCE

TARGET_VARIABLES = tuple(
    f"{side}{name}{number}"
    for side in ("long", "short")
    for name in ("Target", "Units", "Left", "Open")
    for number in range(1, MOST_TARGETS + 2)
)
"""Names these texts use."""


@dataclass(frozen=True)
class Bracket:
    """One `strategy.exit` of a side.

    Attributes
    ----------
    name : str
        Its id.
    units : str or None
        Expression of its quantity; None for the whole position.
    target : str or None
        Expression of its target's price.
    is_open : str or None
        Variable that says it may fill; None for always.
    target_argument : str
        The parameter of `strategy.exit` that takes the target: a price, or ticks from the fill.
    """

    name: str
    units: str | None
    target: str | None
    is_open: str | None
    target_argument: str = "limit"

    def price(self, expression: str) -> str:
        """Return a price where the part is open and none where it has left."""
        return expression if self.is_open is None else f"{self.is_open} ? {expression} : na"


@dataclass(frozen=True)
class TargetWriter:
    """Writes the targets of one side.

    Parameters
    ----------
    spec : StrategySpec
        Whose targets.
    word, title : str
        ``long`` or ``short``, and the id of its entries.
    towards : str
        Sign of a target relative to the close.
    distance, amount : callable
        As of `aiopt.pine.exits.ExitWriter`.
    """

    spec: StrategySpec
    word: str
    title: str
    towards: str
    distance: Callable[[PriceDistance], str]
    amount: Callable[[int | float | str], str]

    @property
    def _closes_all(self) -> bool:
        total = sum(float(self.spec.value_of(target.share)) for target in targets_of(self.spec))
        return total >= 100.0 - SHARE_TOLERANCE

    @property
    def brackets(self) -> list[Bracket]:
        """The exits of this side, the nearest target first; one of the whole position without parts."""
        word, whole = self.word, f"{self.title} exit"
        last_target = self.spec.take_profit
        rest = f"{word}Target" if last_target is not None else None
        count = len(targets_of(self.spec))
        if not count:
            if last_target is not None and last_target.origin == "entry":
                return [Bracket(whole, None, f"{word}TargetTicks", None, "profit")]
            return [Bracket(whole, None, rest, None)]
        found = [
            Bracket(f"{whole} {k}", f"{word}Units{k}", f"{word}Target{k}", f"{word}Open{k}")
            for k in range(1, count + 1)
        ]
        if not self._closes_all:
            last = count + 1
            found.append(Bracket(whole, f"{word}Units{last}", rest, f"{word}Open{last}"))
        return found

    @property
    def first_target(self) -> str | None:
        """The variable that holds the nearest target's price."""
        return self.brackets[0].target

    def fixed_at_signals(self, quantity: str) -> list[tuple[str, str]]:
        """Return the variables set when an entry of a quantity is ordered, with their values."""
        word, size = self.word, self.spec.size
        step = float_number(size.step if isinstance(size, RiskSize) else 1)
        targets, found = targets_of(self.spec), []
        further = "math.max" if word == "long" else "math.min"
        left = quantity
        for k, target in enumerate(targets, start=1):
            price = f"math.round_to_mintick(close {self.towards} {self.distance(target.distance)})"
            found.append(
                (f"{word}Target{k}", price if k == 1 else f"{further}({price}, {word}Target{k - 1})")
            )
            steps = (
                f"{quantity} * {self.amount(target.share)} / 100.0 / {step} + {float_number(STEP_TOLERANCE)}"
            )
            is_last = k == len(targets) and self._closes_all
            found.append((f"{word}Units{k}", left if is_last else f"math.floor({steps}) * {step}"))
            found.append((f"{word}Left{k}", f"{left} - {word}Units{k}"))
            left = f"{word}Left{k}"
        if targets and not self._closes_all:
            found.append((f"{word}Units{len(targets) + 1}", left))
            if self.spec.take_profit is not None:
                found.append((f"{word}Target", f"{further}({word}Target, {word}Target{len(targets)})"))
        return found

    def lines(self) -> list[str]:
        """Return which parts are open, or will be with the next entry."""
        word, parts = self.word, [part for part in self.brackets if part.is_open is not None]
        if not parts:
            return []
        held = "strategy.position_size" if word == "long" else "-strategy.position_size"
        lines = [f"// Parts of a {word} that are open, or will be with the next entry; they leave in order"]
        for k, part in enumerate(parts, start=1):
            still = "" if k == len(parts) else f" and ({held} <= 0.0 or {held} > {word}Left{k})"
            lines.append(f"bool {part.is_open} = {part.units} > 0.0{still}")
        return lines
