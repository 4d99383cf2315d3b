"""StrategySpec: a strategy as data.  Owns its fields, its rules, its canonical JSON and its hash.

Knows the indicator table and the condition language; knows nothing of bars, engines or scripts, which all
read the same spec.
"""

from __future__ import annotations

import datetime as dt
import math
import re
import zoneinfo
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from aiopt.config import canonical_json, content_hash, decode, read_mapping
from aiopt.errors import InputError, SpecError, did_you_mean
from aiopt.indicators.registry import IndicatorDef, indicator_def
from aiopt.strategy.conditions import (
    FUNCTIONS,
    MAX_HISTORY,
    SERIES,
    Call,
    Condition,
    History,
    Name,
    Output,
    check_name,
    format_condition,
    parse_condition,
    walk,
)
from aiopt.yaml_text import looks_like_number

Number = int | float

CONDITION_FIELDS = ("entry_long", "entry_short", "exit_long", "exit_short")
"""Fields of `StrategySpec` that hold a condition's text."""

PRICE_SOURCES = tuple(name for name in SERIES if name != "volume")
"""Series an indicator with a `source` may read."""

MAX_PARAMS = 32
MAX_INDICATORS = 16

_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\Z")


class _Frozen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, eq=False):
    """Base: equal and hashable by content, although fields may hold dicts."""

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return canonical_json(self) == canonical_json(other)

    def __hash__(self) -> int:
        return hash(canonical_json(self))


class IndicatorSpec(_Frozen, frozen=True, kw_only=True, forbid_unknown_fields=True, eq=False):
    """One indicator of a strategy.

    Attributes
    ----------
    kind : str
        A key of `aiopt.indicators.INDICATORS`.
    source : str
        Series it reads, one of `PRICE_SOURCES`; kinds that read high, low and close leave it at ``"close"``.
    args : dict
        Argument name to a number or the name of a parameter.
    """

    kind: str
    source: str = "close"
    args: dict[str, int | float | str] = {}


class PriceDistance(_Frozen, frozen=True, kw_only=True, forbid_unknown_fields=True, eq=False):
    """Distance of a stop or target from the close of the signal bar.

    Attributes
    ----------
    unit : {"atr", "pips"}
        `value` times the ATR at the signal bar, or times the instrument's pip.
    value : number or str
        Positive number, or the name of a parameter.
    indicator : str or None
        The ATR indicator's id if `unit` is ``"atr"``, else None.
    """

    unit: Literal["atr", "pips"]
    value: int | float | str
    indicator: str | None = None


class SessionFilter(_Frozen, frozen=True, kw_only=True, forbid_unknown_fields=True, eq=False):
    """When entries are allowed, tested on a bar's opening time in `timezone`.

    Attributes
    ----------
    start, end : str
        ``"HH:MM"``; ``start <= time < end``, over midnight if start > end.
    timezone : str
        IANA name, e.g. ``"Europe/London"``; daylight saving is followed.
    weekdays : tuple of int
        Monday 1 to Sunday 7, of the bar's own local day.
    """

    start: str
    end: str
    timezone: str = "UTC"
    weekdays: tuple[int, ...] = (1, 2, 3, 4, 5)

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            text = getattr(self, name)
            if _TIME.match(text) is None:
                msg = f"session: {name} must be a time HH:MM from 00:00 to 23:59, but got {text!r}."
                raise SpecError(msg)
        if self.start == self.end:
            msg = f"session: start and end must differ, but both are {self.start}. For all day drop it."
            raise SpecError(msg)
        if not self.weekdays or any(not 1 <= day <= 7 for day in self.weekdays):
            msg = f"session: weekdays must be some of 1 (Monday) to 7, but got {list(self.weekdays)}."
            raise SpecError(msg)
        msgspec.structs.force_setattr(self, "weekdays", tuple(sorted(set(self.weekdays))))
        try:
            zoneinfo.ZoneInfo(self.timezone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as failure:
            hint = did_you_mean(self.timezone, zoneinfo.available_timezones())
            hint = hint if hint.startswith(" Did") else " Use e.g. UTC, Europe/London, America/New_York."
            msg = f"session: timezone must be an IANA name, but got {self.timezone!r}.{hint}"
            raise SpecError(msg) from failure

    @property
    def start_minute(self) -> int:
        """Minute of the day at which the session starts."""
        return _minute_of_day(self.start)

    @property
    def end_minute(self) -> int:
        """Minute of the day at which the session ends (excluded)."""
        return _minute_of_day(self.end)

    def contains(self, local: dt.datetime) -> bool:
        """Return whether a local wall-clock time lies in the session."""
        if local.isoweekday() not in self.weekdays:
            return False
        minute = local.hour * 60 + local.minute
        start, end = self.start_minute, self.end_minute
        return start <= minute < end if start < end else minute >= start or minute < end


def _minute_of_day(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


class FixedSize(
    _Frozen, frozen=True, kw_only=True, forbid_unknown_fields=True, eq=False, tag_field="kind", tag="fixed"
):
    """The same position every time.

    Attributes
    ----------
    units : int
        Units of the base currency, positive.
    """

    units: int = 10_000

    def __post_init__(self) -> None:
        if not 1 <= self.units <= 10**9:
            msg = f"size: `1 <= units <= 1e9` must hold, but got units={self.units}. Choose e.g. 10000."
            raise SpecError(msg)


class RiskSize(
    _Frozen, frozen=True, kw_only=True, forbid_unknown_fields=True, eq=False, tag_field="kind", tag="risk"
):
    """A position that loses `risk_pct` per cent of the *initial* balance at its stop.

    ``units = floor(initial_balance * risk_pct / 100 / stop_distance / step) * step``; an entry whose size
    would be less than one step is not taken.  The account cuts it to what margin allows.

    Attributes
    ----------
    risk_pct : float
        In (0, 100].
    step : int
        Units of the base currency sizes are rounded down to.
    """

    risk_pct: float
    step: int = 1000

    def __post_init__(self) -> None:
        if not 0 < self.risk_pct <= 100:
            msg = f"size: `0 < risk_pct <= 100` must hold, but got risk_pct={self.risk_pct}. Choose e.g. 0.5."
            raise SpecError(msg)
        if not 1 <= self.step <= 10**7:
            msg = f"size: `1 <= step <= 1e7` must hold, but got step={self.step}. Choose e.g. 1000."
            raise SpecError(msg)


PositionSize = FixedSize | RiskSize


class StrategySpec(_Frozen, frozen=True, kw_only=True, forbid_unknown_fields=True, eq=False, dict=True):
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

    Raises
    ------
    SpecError
        On construction, naming the rule, the value and the remedy.
    """

    name: str
    family: str = ""
    description: str = ""
    params: dict[str, int | float] = {}
    indicators: dict[str, IndicatorSpec] = {}
    entry_long: str | None = None
    entry_short: str | None = None
    exit_long: str | None = None
    exit_short: str | None = None
    stop_loss: PriceDistance | None = None
    take_profit: PriceDistance | None = None
    session: SessionFilter | None = None
    size: FixedSize | RiskSize = msgspec.field(default_factory=FixedSize)

    def __post_init__(self) -> None:
        check_name(self.name, "A strategy's name")
        if not self.family:
            msgspec.structs.force_setattr(self, "family", self.name)
        check_name(self.family, "A strategy's family")
        self._check_counts()
        self._check_names()
        self._check_indicators()
        self._check_sides()
        for field in CONDITION_FIELDS:
            text = getattr(self, field)
            if text is not None:
                msgspec.structs.force_setattr(self, field, self._checked_condition(field, text))
        self._check_distance("stop_loss", self.stop_loss)
        self._check_distance("take_profit", self.take_profit)
        if isinstance(self.size, RiskSize) and self.stop_loss is None:
            msg = "size: kind risk needs a stop_loss to measure the risk by, but there is none. Use fixed."
            raise SpecError(msg)
        self._check_all_used()

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

    def resolved(self, args: Mapping[str, int | float | str]) -> dict[str, Number]:
        """Return `args` with names of parameters replaced by their values."""
        return {key: self.value_of(value) for key, value in args.items()}

    def resolved_args(self, indicator: str) -> dict[str, Number]:
        """Return the arguments of indicator id `indicator` as numbers, in the order of its kind."""
        kind = self.definition(indicator)
        return kind.check_args(
            self.resolved(self.indicators[indicator].args), where=f"indicator {indicator!r}"
        )

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

    # --- making -------------------------------------------------------------------------------------------

    def with_params(self, params: Mapping[str, Any]) -> StrategySpec:
        """Return the spec with some parameters changed; each keeps its type.

        Parameters
        ----------
        params : mapping of str to number
            ``14.0`` for a whole-number parameter becomes 14, ``30`` for a float parameter becomes 30.0.

        Raises
        ------
        SpecError
            If a name is unknown, a value is no number, or a whole-number parameter would get a fraction.
        """
        changed = dict(self.params)
        for name, value in params.items():
            if name not in self.params:
                hint = did_you_mean(name, self.params) if self.params else " It has none."
                msg = f"strategy {self.name}: there is no parameter {name!r}.{hint}"
                raise SpecError(msg)
            changed[name] = _like(self.params[name], value, where=f"strategy {self.name}: parameter {name}")
        return msgspec.structs.replace(self, params=changed)

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
        except (msgspec.DecodeError, UnicodeDecodeError) as failure:
            msg = f"A spec must be valid JSON, but: {failure}. Check the text."
            raise SpecError(msg) from failure
        return spec_from_mapping(data, where="spec")

    def to_yaml(self) -> str:
        """Return readable YAML that `load_spec` reads back; fields without a value are left out."""
        return dump_yaml(plain_mapping(self))

    # --- rules --------------------------------------------------------------------------------------------

    def _fail(self, where: str, message: str) -> SpecError:
        return SpecError(f"strategy {self.name}: {where}: {message}")

    def _check_counts(self) -> None:
        for what, found, limit in (
            ("params", self.params, MAX_PARAMS),
            ("indicators", self.indicators, MAX_INDICATORS),
        ):
            if len(found) > limit:
                raise self._fail(what, f"there may be at most {limit}, but got {len(found)}. Remove some.")

    def _check_names(self) -> None:
        for name, value in self.params.items():
            check_name(name, f"strategy {self.name}: a parameter's name")
            if not math.isfinite(value) or abs(value) > 2**53:
                raise self._fail(
                    f"parameter {name}", f"the value must be finite, but got {value}. Correct it."
                )
        for name in self.indicators:
            check_name(name, f"strategy {self.name}: an indicator's id")
            if name in self.params:
                raise self._fail(f"indicator {name}", "a parameter has the same name. Rename one of the two.")

    def _check_indicators(self) -> None:
        for name, indicator in self.indicators.items():
            where = f"indicator {name}"
            try:
                kind = indicator_def(indicator.kind)
            except SpecError as failure:
                raise self._fail(where, str(failure)) from failure
            check_source(kind, indicator.source, where=f"strategy {self.name}: {where}")
            for arg, value in indicator.args.items():
                if isinstance(value, str):
                    self._check_param(where, arg, value)
            kind.check_args(self.resolved(indicator.args), where=f"strategy {self.name}: {where}")

    def _check_param(self, where: str, key: str, name: str) -> None:
        if name not in self.params:
            hint = did_you_mean(name, self.params) if self.params else " Add it to params."
            raise self._fail(where, f"{key} names the parameter {name!r}, which does not exist.{hint}")

    def _check_sides(self) -> None:
        if self.entry_long is None and self.entry_short is None:
            raise self._fail("entry", "entry_long or entry_short must be given. Add one.")
        for side in ("long", "short"):
            if getattr(self, f"exit_{side}") is not None and getattr(self, f"entry_{side}") is None:
                raise self._fail(
                    f"exit_{side}", f"there is no entry_{side} to leave. Add one or remove the exit."
                )

    def _checked_condition(self, field: str, text: str) -> str:
        try:
            tree = parse_condition(text)
        except SpecError as failure:
            raise self._fail(field, str(failure)) from failure
        for node in walk(tree):
            if isinstance(node, Name):
                self._check_condition_name(field, node.name)
            elif isinstance(node, Output):
                self._check_output(field, node)
            elif isinstance(node, Call) and FUNCTIONS[node.function].bars:
                self._check_bars(field, node)
            elif (
                isinstance(node, History)
                and isinstance(node.operand, Name)
                and node.operand.name in self.params
            ):
                raise self._fail(
                    field, f"the parameter {node.operand.name!r} has no history. Remove the [n]."
                )
        return format_condition(tree)

    def _check_condition_name(self, field: str, name: str) -> None:
        if name in self.params:
            return
        if name not in self.indicators:
            hint = did_you_mean(name, [*self.params, *self.indicators, *SERIES])
            raise self._fail(field, f"unknown name {name!r}.{hint}")
        outputs = self.definition(name).outputs
        if len(outputs) > 1:
            options = ", ".join(f"{name}.{output}" for output in outputs)
            raise self._fail(field, f"the indicator {name!r} has several outputs. Choose one of {options}.")

    def _check_output(self, field: str, node: Output) -> None:
        if node.indicator not in self.indicators:
            hint = did_you_mean(node.indicator, self.indicators) if self.indicators else " There is none."
            raise self._fail(
                field, f"unknown indicator {node.indicator!r} in {format_condition(node)}.{hint}"
            )
        outputs = self.definition(node.indicator).outputs
        if len(outputs) == 1:
            raise self._fail(
                field, f"the indicator {node.indicator!r} has one output. Write {node.indicator}."
            )
        if node.output not in outputs:
            hint = did_you_mean(node.output, outputs)
            raise self._fail(field, f"{node.indicator!r} has no output {node.output!r}.{hint}")

    def _check_bars(self, field: str, node: Call) -> None:
        last = node.arguments[-1]
        if not isinstance(last, Name):
            return  # the parser has checked literals
        value = self.params.get(last.name)
        if not isinstance(value, int) or not 1 <= value <= MAX_HISTORY:
            found = "is no parameter" if value is None else f"is {value}"
            raise self._fail(
                field,
                f"{node.function} needs a whole number of bars from 1 to {MAX_HISTORY}, "
                f"but {last.name!r} {found}. Use a whole-number parameter.",
            )

    def _check_distance(self, field: str, distance: PriceDistance | None) -> None:
        if distance is None:
            return
        if isinstance(distance.value, str):
            self._check_param(field, "value", distance.value)
        value = self.value_of(distance.value)
        if not 0 < value <= 1e6:
            raise self._fail(field, f"`0 < value <= 1e6` must hold, but got {value}. Choose a positive one.")
        if distance.unit == "pips":
            if distance.indicator is not None:
                raise self._fail(field, "unit pips needs no indicator. Remove it.")
            return
        kinds = {name for name, indicator in self.indicators.items() if indicator.kind == "atr"}
        if distance.indicator not in kinds:
            known = f"one of {', '.join(sorted(kinds))}" if kinds else "an indicator of kind atr"
            raise self._fail(
                field, f"unit atr must name an ATR indicator, but got {distance.indicator!r}. Use {known}."
            )

    def _check_all_used(self) -> None:
        names: set[str] = set()
        outputs: set[str] = set()
        for tree in self.trees.values():
            for node in walk(tree):
                if isinstance(node, Name):
                    names.add(node.name)
                elif isinstance(node, Output):
                    outputs.add(node.indicator)
        for distance in (self.stop_loss, self.take_profit):
            if distance is not None:
                names.update(
                    value for value in (distance.value, distance.indicator) if isinstance(value, str)
                )
        for indicator in self.indicators.values():
            names.update(value for value in indicator.args.values() if isinstance(value, str))
        self._check_used("indicator", self.indicators, names | outputs)
        self._check_used("parameter", self.params, names)

    def _check_used(self, what: str, defined: Iterable[str], used: set[str]) -> None:
        idle = sorted(set(defined) - used)
        if idle:
            raise self._fail(what, f"every {what} must be used, but {', '.join(idle)} is not. Remove it.")


def _like(old: Number, value: Any, *, where: str) -> Number:
    """Return `value` as the type of `old`."""
    if hasattr(value, "item"):  # a NumPy scalar
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float):
        msg = f"{where} must be a number, but got {value!r}."
        raise SpecError(msg)
    if isinstance(old, float):
        return float(value)
    if not math.isfinite(value) or value != int(value):
        msg = f"{where} must be a whole number, but got {value!r}. Round it."
        raise SpecError(msg)
    return int(value)


def check_source(kind: IndicatorDef, source: str, *, where: str) -> None:
    """Raise unless an indicator kind can read the series `source`.

    Raises
    ------
    SpecError
        If `source` is no price series, or the kind reads high, low and close and cannot be given one.
    """
    if source not in PRICE_SOURCES:
        hint = did_you_mean(source, PRICE_SOURCES)
        msg = f"{where}: source must be a price series, but got {source!r}.{hint}"
        raise SpecError(msg)
    if kind.inputs != ("source",) and source != "close":
        msg = f"{where}: {kind.kind} reads {', '.join(kind.inputs)}, not {source!r}. Remove source."
        raise SpecError(msg)


def spec_from_mapping(data: object, *, where: str) -> StrategySpec:
    """Build a spec from plain data, as parsed from YAML or JSON.

    Raises
    ------
    SpecError
        Front of the message is `where`.
    """
    try:
        return decode(data, StrategySpec, where=where, error=SpecError)
    except SpecError as failure:
        text = str(failure)
        raise SpecError(text if text.startswith(where) else f"{where}: {text}") from failure


def plain_mapping(spec: StrategySpec) -> dict[str, Any]:
    """Return a spec as plain data for a file, without the fields that have no value."""
    data = msgspec.to_builtins(spec)
    if isinstance(data["session"], dict):
        data["session"]["weekdays"] = list(data["session"]["weekdays"])
    for name in ("stop_loss", "take_profit"):
        if isinstance(data[name], dict):
            data[name] = {key: value for key, value in data[name].items() if value is not None}
    return {key: value for key, value in data.items() if value not in (None, "", {})}


class _Dumper(yaml.SafeDumper):
    """Writes in quotes what some reader of YAML takes for a number, and short lists on one line."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if _TIME.match(text) or looks_like_number(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _represent_list(dumper: yaml.SafeDumper, values: list[Any]) -> yaml.SequenceNode:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=True)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(list, _represent_list)


def dump_yaml(data: Mapping[str, Any]) -> str:
    """Return plain data as YAML for people, keys in their order."""
    return yaml.dump(dict(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


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
    search = data.pop(SEARCH_KEY, None)
    return spec_from_mapping(data, where=str(path)), search
