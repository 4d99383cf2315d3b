"""The front door of importing: a script in, a strategy out, or what of it cannot be said and where.

Owns the order of the steps.  It reads no file and runs nothing; that both trade alike is shown by
`aiopt.verification.import_proof`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from aiopt.errors import SpecError
from aiopt.market.instrument import Instrument
from aiopt.pine.checking.check import check_script
from aiopt.pine.importing.adding import entries_at_once
from aiopt.pine.importing.conditions import Translator
from aiopt.pine.importing.exits import ExitReader
from aiopt.pine.importing.guards import Guards
from aiopt.pine.importing.indicators import Indicators
from aiopt.pine.importing.inputs import free_name, snake_case
from aiopt.pine.importing.orders import OrderReader, Rules
from aiopt.pine.importing.own_scripts import stated_hash, with_stated_hash
from aiopt.pine.importing.parameters import Parameters
from aiopt.pine.importing.reading import read_script
from aiopt.pine.importing.refusals import Findings, ImportNote, Refusal, shown
from aiopt.pine.importing.rewriting import Rewritten, rewrite
from aiopt.pine.importing.script import Reading
from aiopt.pine.importing.sessions import Sessions
from aiopt.pine.importing.settings import Settings, read_settings
from aiopt.pine.importing.symbols import NOWHERE
from aiopt.pine.parsing.parser import ParsedScript, parse_script
from aiopt.pine.reference.table import VERSIONS, builtins
from aiopt.strategy.conditions import NAME_PATTERN
from aiopt.strategy.dimensions import Dimension
from aiopt.strategy.spec import StrategySpec


@dataclass(frozen=True)
class Imported:
    """What came of a script.

    Attributes
    ----------
    spec : StrategySpec or None
        None where something was refused.
    dimensions : dict of str to Dimension
        What a search may try: limits that the inputs state.
    refusals : tuple of Refusal
        In the order of the text.
    notes : tuple of ImportNote
        What is imported otherwise than a reader of the script may think.
    version : int or None
        Of Pine.
    is_sized : bool
        Whether the strategy's size is the script's own, so that sizes can be compared.
    commission_pct, slippage_ticks
        What the script declares.
    initial_balance : float
        What a size by risk is measured by; else the script's capital.
    stated_hash : str
        Of the spec that the script says it was made from, empty where it says none.
    is_rewritten : bool
        Whether aiopt writes this very script of the strategy, but for comments and the limits of inputs.
    """

    spec: StrategySpec | None
    dimensions: dict[str, Dimension] = field(default_factory=dict)
    refusals: tuple[Refusal, ...] = ()
    notes: tuple[ImportNote, ...] = ()
    version: int | None = None
    is_sized: bool = False
    commission_pct: float = 0.0
    slippage_ticks: int = 0
    initial_balance: float = 100_000.0
    stated_hash: str = ""
    is_rewritten: bool = False


def import_script(
    text: str,
    *,
    instrument: Instrument,
    timezone: str | None = None,
    units: int | None = None,
) -> Imported:
    """Return the strategy that a script is.

    Parameters
    ----------
    text : str
        A whole script of version 5 or 6.
    instrument : Instrument
        Whose pips and ticks the script's distances are in.
    timezone : str, optional
        Of the chart, for clocks that name none.
    units : int, optional
        Size of a position, instead of the script's.
    """
    parsed = parse_script(text)
    refusals = _unreadable(text, parsed)
    if refusals:
        return Imported(None, refusals=tuple(refusals), version=parsed.version)
    assert parsed.version is not None
    findings = Findings()
    own = rewrite(text, parsed, instrument)
    if isinstance(own, Rewritten):
        return _of_own(own, text, parsed)
    if own is not None:
        findings.note(own, "changed since aiopt wrote this script, so it is read as anyone's")
    reading = read_script(parsed.tree, builtins(parsed.version))
    if reading.kind != "strategy":
        what = reading.kind or "script without a declaration"
        place = reading.declared_at or NOWHERE
        reason = "it orders nothing, so there is no strategy to import"
        findings.refuse(place, "no strategy", what, reason, "strategy() with strategy.entry")
        return Imported(None, refusals=tuple(findings.refusals.values()), version=parsed.version)
    settings = read_settings(reading, findings)
    maker = _Maker(reading, settings, findings, instrument, timezone, units)
    rules = maker.rules()
    spec = None if rules is None else maker.spec(rules, text)
    for one in reading.fixed:
        if one.default.op in ("string", "bool", "name"):
            findings.note(one.place, f"input {one.shown!r} is fixed at its default {one.default.text}")
    refused = tuple(sorted(findings.refusals.values()))
    if refused and stated_hash(text):
        told = (
            "aiopt wrote this script from a spec, the JSON beside it, but that spec is not, or no longer, "
            "in the last comments; without it entry limits, several targets, added "
        )
        findings.note(NOWHERE, told + "entries, higher timeframes and chart patterns are not read")
    return Imported(
        None if refused else spec,
        {} if refused else maker.parameters.dimensions,
        refused,
        tuple(sorted(findings.notes)),
        parsed.version,
        rules is not None and rules.is_sized,
        settings.commission_pct,
        settings.slippage_ticks,
        settings.initial_capital if rules is None or rules.balance is None else rules.balance,
        stated_hash(text),
    )


def _of_own(own: Rewritten, text: str, parsed: ParsedScript) -> Imported:
    return Imported(
        own.spec,
        own.dimensions,
        version=parsed.version,
        is_sized=True,
        commission_pct=own.form.costs.commission_pct,
        slippage_ticks=own.form.costs.slippage_ticks,
        initial_balance=own.initial_balance,
        stated_hash=stated_hash(text),
        is_rewritten=True,
    )


def _unreadable(text: str, parsed: ParsedScript) -> list[Refusal]:
    """Return why a script is not even read: no version of ours, or it has errors."""
    if parsed.version is not None and parsed.version < min(VERSIONS):
        reason = f"it is of version {parsed.version}, and 5 and 6 are imported"
        return [
            Refusal(
                1, 1, "version", f"//@version={parsed.version}", reason, "run `aiopt pine fix --write` first"
            )
        ]
    checked = check_script(text)
    return [
        Refusal(
            one.line, one.column, one.rule, "script", one.message, one.fix or "`aiopt pine check` says more"
        )
        for one in checked.errors
    ]


class _Maker:
    """Makes the strategy of one script."""

    # reason: what the front door is given
    def __init__(
        self,
        reading: Reading,
        settings: Settings,
        findings: Findings,
        instrument: Instrument,
        timezone: str | None,
        units: int | None,
    ) -> None:
        self._settings, self._findings = settings, findings
        self.parameters = Parameters(reading, findings)
        self._sessions = Sessions(reading, findings, timezone)
        roots = [symbol for order in reading.orders for symbol in (*order.args.values(), *order.guard)]
        roots += [state.final for state in reading.symbols.states.values()]
        self._indicators = Indicators(reading, self.parameters.number, roots, self.parameters.reserved)
        self._guards = Guards(reading.symbols, self._indicators, self._sessions)
        translator = Translator(reading.symbols, self._indicators, self.parameters, self._sessions, findings)
        exits = ExitReader(reading, self._indicators, self.parameters, findings, instrument)
        self._orders = OrderReader(reading, settings, findings, self._guards, translator, exits, units)
        self._reading = reading
        self._entries = 1

    def rules(self) -> Rules | None:
        """Return what the orders say."""
        rules = self._orders.rules()
        for waited in self._guards.waited.values() if rules is not None else ():
            if not self._indicators.is_used(waited):
                text = "it waits for an indicator that no condition, stop or target uses"
                self._findings.refuse(waited.place, "waiting", shown(waited), text, "leave it out")
        if rules is not None:
            self._entries = entries_at_once(self._orders.sides, self._settings.pyramiding, self._findings)
        return rules

    def spec(self, rules: Rules, text: str) -> StrategySpec | None:
        """Return the strategy; None, and a refusal, where it breaks a rule of strategies."""
        title = self._settings.title
        wanted = title if NAME_PATTERN.match(title) else snake_case(title)
        name = free_name(wanted, (), "imported")
        level = rules.level
        fields = {
            "name": name,
            "params": self.parameters.values,
            "indicators": self._indicators.ordered,
            "stop_loss": rules.stop,
            "take_profit": rules.target,
            "session": rules.session,
            "size": rules.size,
            "trailing_stop": None if level is None else level.trailing,
            "break_even": None if level is None else level.even,
            "time_stop": rules.time,
            "pyramiding": self._entries,
            **rules.conditions,
        }
        try:
            spec = StrategySpec(**fields)  # type: ignore[arg-type]
        except SpecError as failure:
            place = self._reading.declared_at or NOWHERE
            nearest = "fewer or simpler conditions"
            self._findings.refuse(place, "strategy", "the strategy as a whole", str(failure), nearest)
            return None
        return with_stated_hash(spec, text)
