"""StrategySpec: a strategy as data.  Owns its fields, its canonical JSON, its hash; rules are `spec_rules`'.

Knows the indicator table and the condition language; knows nothing of bars, engines or scripts, which all
read the same spec.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from aiopt.config import canonical_json, content_hash, decode, read_mapping
from aiopt.errors import InputError, SpecError, did_you_mean
from aiopt.indicators.registry import IndicatorDef, indicator_def
from aiopt.strategy.conditions import Condition, check_name, parse_condition
from aiopt.strategy.finite_numbers import check_finite, lenient_json
from aiopt.strategy.spec_exits import EXIT_FIELDS, BreakEven, TimeStop, TrailingStop
from aiopt.strategy.spec_limits import LIMIT_FIELDS, DailyLoss, EntryLimits
from aiopt.strategy.spec_parts import (
    ByContent,
    FixedSize,
    IndicatorSpec,
    PositionSize,
    PriceDistance,
    RiskSize,
    SessionFilter,
    minute_of_day,
    minutes_of,
)
from aiopt.strategy.spec_readings import ReadingGate, ReadingSize, SideReading, gate_of, reading_names
from aiopt.strategy.spec_rules import SpecRules, is_literal, names_used
from aiopt.strategy.spec_targets import Target
from aiopt.strategy.spec_yaml import dump_yaml, plain_mapping

Number = int | float

CONDITION_FIELDS = ("entry_long", "entry_short", "exit_long", "exit_short")
"""Fields of `StrategySpec` that hold a condition's text."""


class StrategySpec(ByContent, frozen=True, kw_only=True, forbid_unknown_fields=True, eq=False, dict=True):
    """A complete strategy.

    Condition texts are canonical after construction; every name in them is resolved, every parameter and
    indicator is used.

    Attributes
    ----------
    name : str
        A letter, then at most 63 letters, digits or underscores.
    family : str
        Group it is ranked in; `name` if not given.
    description : str
        One or two sentences for people.
    params : dict of str to int or float
        Numbers that may be swept.  The type is kept: ``14`` is a whole number, ``30.0`` is not.
    indicators : dict of str to IndicatorSpec
        Id to indicator.
    entry_long, entry_short, exit_long, exit_short : str or None
        Conditions (see `aiopt.strategy.conditions`); at least one entry.
    stop_loss, take_profit : PriceDistance or None
        Fixed at the close of the signal bar.
    session : SessionFilter or None
        Restricts entries, not exits.
    size : FixedSize or RiskSize
        Position size.
    trailing_stop : TrailingStop, optional
        A stop that follows the price; beside `stop_loss` the nearer one counts.
    break_even : BreakEven, optional
        A stop moved to the entry price.
    time_stop : TimeStop, optional
        An exit by age or clock.
    limits : EntryLimits, optional
        What holds entries back: a pause, entries per day, a day's loss.
    targets : tuple of Target, optional
        Prices at which parts of the position are closed, the nearest first; `take_profit` is the rest's.
    pyramiding : int, optional
        Entries of one side that may be open at once, see `aiopt.strategy.spec_pyramiding`; 1 where it is
        left out, and 1 is left out.
    readings : ReadingGate, optional
        What a model must have read for an entry, and how it sizes it.

        These are `msgspec.UNSET` where the strategy has none, and then not in its canonical JSON: a strategy
        without them has the hash it had before they were known.

    Raises
    ------
    SpecError
        On construction, naming the rule, the value and the remedy.
    """

    name: str
    family: str = ""
    description: str = ""
    params: dict[str, int | float] = {}  # noqa: RUF012  msgspec copies it
    indicators: dict[str, IndicatorSpec] = {}  # noqa: RUF012
    entry_long: str | None = None
    entry_short: str | None = None
    exit_long: str | None = None
    exit_short: str | None = None
    stop_loss: PriceDistance | None = None
    take_profit: PriceDistance | None = None
    session: SessionFilter | None = None
    size: FixedSize | RiskSize = msgspec.field(default_factory=FixedSize)
    trailing_stop: TrailingStop | msgspec.UnsetType | None = msgspec.UNSET
    break_even: BreakEven | msgspec.UnsetType | None = msgspec.UNSET
    time_stop: TimeStop | msgspec.UnsetType | None = msgspec.UNSET
    limits: EntryLimits | msgspec.UnsetType | None = msgspec.UNSET
    targets: tuple[Target, ...] | msgspec.UnsetType | None = msgspec.UNSET
    pyramiding: int | msgspec.UnsetType | None = msgspec.UNSET
    readings: ReadingGate | msgspec.UnsetType | None = msgspec.UNSET

    def __post_init__(self) -> None:
        check_name(self.name, "A strategy's name")
        if not self.family:
            msgspec.structs.force_setattr(self, "family", self.name)
        check_name(self.family, "A strategy's family")
        for field in (*EXIT_FIELDS, *LIMIT_FIELDS, "readings"):
            if getattr(self, field) is None:
                msgspec.structs.force_setattr(self, field, msgspec.UNSET)
        if self.pyramiding in (None, 1):
            msgspec.structs.force_setattr(self, "pyramiding", msgspec.UNSET)
        texts = {field: getattr(self, field) for field in CONDITION_FIELDS}
        for field, text in SpecRules(self).canonical_conditions(texts).items():
            if text is not texts[field]:
                msgspec.structs.force_setattr(self, field, text)

    # --- reading ------------------------------------------------------------------------------------------

    @cached_property
    def trees(self) -> dict[str, Condition]:
        """The parsed conditions that are present, by field name."""
        texts = {field: getattr(self, field) for field in CONDITION_FIELDS}
        return {field: parse_condition(text) for field, text in texts.items() if text is not None}

    @cached_property
    def spec_hash(self) -> str:
        """Hex SHA-256 of the canonical JSON: equal content, equal hash, on every machine."""
        return content_hash(self)

    def __hash__(self) -> int:
        return hash(self.spec_hash)

    def definition(self, indicator: str) -> IndicatorDef:
        """Return the definition of the kind of indicator id `indicator`."""
        return indicator_def(self.indicators[indicator].kind)

    def resolved(
        self, args: Mapping[str, int | float | str], kind: IndicatorDef
    ) -> dict[str, int | float | str]:
        """Return `args` of a kind with names of parameters replaced by their values, times by minutes."""
        result: dict[str, int | float | str] = {}
        for name, value in args.items():
            if not isinstance(value, str) or not is_literal(kind, name, value):
                result[name] = self.value_of(value)
            elif kind.args[name].span:
                result[name] = minutes_of(value, where=f"{kind.kind}: {name}")
            else:
                result[name] = minute_of_day(value) if kind.args[name].clock else value
        return result

    def arg_params(self, indicator: str) -> dict[str, str]:
        """Return the arguments of indicator id `indicator` that are parameters, with their names."""
        kind, args = self.definition(indicator), self.indicators[indicator].args
        texts = {name: value for name, value in args.items() if isinstance(value, str)}
        return {name: value for name, value in texts.items() if not is_literal(kind, name, value)}

    def resolved_args(self, indicator: str) -> dict[str, Any]:
        """Return the arguments of indicator id `indicator` as numbers (a time zone as text), in order."""
        kind = self.definition(indicator)
        args = self.resolved(self.indicators[indicator].args, kind)
        return kind.check_args(args, where=f"indicator {indicator!r}")

    def value_of(self, value: int | float | str) -> Number:
        """Return a number as it is and the value of a parameter given by name."""
        return self.params[value] if isinstance(value, str) else value

    def output_names(self) -> dict[str, tuple[str, ...]]:
        """Return, per indicator id, the names conditions use: ``("rsi",)`` or ``("macd.macd", ...)``."""
        result = {}
        for indicator in self.indicators:
            outputs = self.definition(indicator).outputs
            result[indicator] = (
                (indicator,) if len(outputs) == 1 else tuple(f"{indicator}.{output}" for output in outputs)
            )
        return result

    @property
    def warmup_bars(self) -> int:
        """0-based index of the first bar on which every indicator has a value and signals can fire."""
        return max(
            (self.definition(name).warmup(self.resolved_args(name)) for name in self.indicators), default=0
        )

    def named_parts(self) -> dict[str, str]:
        """Return what may be varied beside parameters: ``ID.kind`` and ``ID.source`` of the indicators."""
        found = {}
        for name, indicator in self.indicators.items():
            found[f"{name}.kind"] = indicator.kind
            if "source" in self.definition(name).inputs:
                found[f"{name}.source"] = indicator.source
        return found

    def part(self, name: str) -> Number | str:
        """Return the value of a parameter, or of one of `named_parts`."""
        return self.params[name] if name in self.params else self.named_parts()[name]

    # --- making -------------------------------------------------------------------------------------------

    def with_params(self, params: Mapping[str, Any]) -> StrategySpec:
        """Return the spec with some parameters, or `named_parts`, changed; each parameter keeps its type.

        Parameters
        ----------
        params : mapping of str to number or str
            ``14.0`` for a whole-number parameter becomes 14, ``30`` for a float parameter becomes 30.0;
            ``{"average.kind": "sma"}`` gives the indicator `average` another kind.

        Raises
        ------
        SpecError
            If a name is unknown, a value is no number, or a whole-number parameter would get a fraction, or
            the indicator cannot be of that kind or read that series.
        """
        changed = dict(self.params)
        indicators = dict(self.indicators)
        parts = self.named_parts()
        for name, value in params.items():
            if name in parts:
                owner, _, field = name.rpartition(".")
                indicators[owner] = msgspec.structs.replace(indicators[owner], **{field: str(value)})
                continue
            if name not in self.params:
                hint = did_you_mean(name, self.params) if self.params else " It has none."
                msg = f"strategy {self.name}: there is no parameter {name!r}.{hint}"
                raise SpecError(msg)
            changed[name] = _like(self.params[name], value, where=f"strategy {self.name}: parameter {name}")
        if indicators == self.indicators:
            return msgspec.structs.replace(self, params=changed)
        return msgspec.structs.replace(self, params=changed, indicators=indicators)

    def without_readings(self) -> StrategySpec:
        """Return the strategy as it trades when it asks nothing of readings; itself if it never did.

        Parameters that only its readings name are gone with them.
        """
        if gate_of(self) is None:
            return self
        used = names_used(self, self.trees.values())
        own = set(reading_names(self)) - used
        params = {name: value for name, value in self.params.items() if name not in own}
        return msgspec.structs.replace(self, params=params, readings=msgspec.UNSET)

    def to_json(self) -> str:
        """Return the canonical JSON text: keys sorted, no white space."""
        return canonical_json(self).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> StrategySpec:
        """Read a spec from JSON text.

        Raises
        ------
        SpecError
            If it is no JSON or breaks a rule.
        """
        try:
            data = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as failure:
            check_finite(lenient_json(text), where="spec")
            msg = f"This is not a valid strategy in JSON: {failure}. Check the text."
            raise SpecError(msg) from failure
        return spec_from_mapping(data, where="spec")

    def to_yaml(self) -> str:
        """Return readable YAML that `load_spec` reads back; fields without a value are left out."""
        return dump_yaml(plain_mapping(self))


_LARGEST_WHOLE = 2**53
"""Up to here every whole number is a float too, as which scripts and files may read it."""


def _like(old: Number, value: Any, *, where: str) -> Number:
    """Return `value` as the type of `old`."""
    if hasattr(value, "item"):  # a NumPy scalar
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float):
        msg = f"{where} must be a number, but got {value!r}."
        raise SpecError(msg)
    if isinstance(value, int) and abs(value) > _LARGEST_WHOLE:
        msg = f"{where} must lie within ±{_LARGEST_WHOLE:,}, but is a number of {value.bit_length():,} bits."
        raise SpecError(msg)
    if isinstance(old, float):
        return float(value)
    if not math.isfinite(value) or value != int(value):
        msg = f"{where} must be a whole number, but got {value!r}. Round it."
        raise SpecError(msg)
    return int(value)


def spec_from_mapping(data: object, *, where: str) -> StrategySpec:
    """Build a spec from plain data, as parsed from YAML or JSON.

    Raises
    ------
    SpecError
        Front of the message is `where`.
    """
    check_finite(data, where=where)
    try:
        return decode(data, StrategySpec, where=where, error=SpecError)
    except SpecError as failure:
        text = str(failure)
        raise SpecError(text if text.startswith(where) else f"{where}: {text}") from failure


SEARCH_KEY = "search"
"""Key of a strategy file that holds the search space; not part of the spec."""


def load_spec(path: Path | str) -> StrategySpec:
    """Read a strategy from a YAML or JSON file; a ``search:`` key beside it is left to `load_search_space`.

    Raises
    ------
    SpecError
        Names the file, the key and the rule.
    """
    spec, _search = read_spec_file(Path(path))
    return spec


def read_spec_file(path: Path) -> tuple[StrategySpec, Any]:
    """Return the spec of a file and the plain data under its ``search:`` key (None if absent)."""
    try:
        data = read_mapping(path)
    except InputError as failure:
        raise SpecError(str(failure)) from failure
    if path.suffix == ".json":
        # The file was read as YAML, in which the NaN and Infinity of JSON's writers are texts.
        check_finite(lenient_json(path.read_bytes()), where=str(path))
    search = data.pop(SEARCH_KEY, None)
    return spec_from_mapping(data, where=str(path)), search


__all__ = [
    "CONDITION_FIELDS",
    "SEARCH_KEY",
    "StrategySpec",
    "IndicatorSpec",
    "PriceDistance",
    "SessionFilter",
    "TrailingStop",
    "BreakEven",
    "TimeStop",
    "EntryLimits",
    "DailyLoss",
    "Target",
    "ReadingGate",
    "SideReading",
    "ReadingSize",
    "PositionSize",
    "FixedSize",
    "RiskSize",
    "load_spec",
    "read_spec_file",
    "spec_from_mapping",
]
