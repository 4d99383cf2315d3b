"""Write a StrategySpec as a Pine Script strategy whose trades equal the backtest's.

Owns the layout of a script and the order of its calls.  What the signals mean is `aiopt.strategy.signals`'
business; the text says the same in Pine.  Knows nothing of backtests and runs.

Why the order section looks as it does
--------------------------------------
* `strategy.exit` is called on **every** bar with prices kept in `var` variables.  An exit placed once, beside
  a reversing entry, is dropped by some engines.
* On a bar that closes or reverses the position its stop and target are cancelled: the market order fills at
  the next open, and nothing may come in between.  Without it TradingView could fill the stop at a gapped open
  first and then open twice the size.
* Stops and targets are rounded by `math.round_to_mintick` at the bar of the signal, as in the backtest.
* Margin is 0, so that the emulator neither refuses entries nor liquidates.  A size by risk is cut to what the
  equity carries at the leverage, an input, as in the backtest; a reversal that is cut to nothing just closes.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from aiopt.errors import ConfigError, SpecError
from aiopt.files import atomic_write_text
from aiopt.outputs import SCRIPT, SPEC, check_file
from aiopt.pine import alerts
from aiopt.pine.candle_text import candle_sources
from aiopt.pine.checking.check import SUPPORTED_VERSIONS, require_valid
from aiopt.pine.conditions import ConditionWriter
from aiopt.pine.draft import Draft
from aiopt.pine.entry_limits import write_limits
from aiopt.pine.form import ScriptForm
from aiopt.pine.indicators import write_indicator
from aiopt.pine.inputs import ACCOUNT, LEVERAGE_TITLE, input_lines
from aiopt.pine.layout import without_repeats, wrapped
from aiopt.pine.made_from import MadeFrom, made_from_lines
from aiopt.pine.orders import write_orders
from aiopt.pine.plots import write_plots, write_signal_alerts
from aiopt.pine.provenance import Provenance, header_lines
from aiopt.pine.pyramid import free_to_add, write_added_orders
from aiopt.pine.text import comment, float_number, number, string_literal
from aiopt.strategy.sizes import MAX_UNITS
from aiopt.strategy.spec import FixedSize, SessionFilter, StrategySpec
from aiopt.strategy.spec_pyramiding import entries_of
from aiopt.strategy.spec_readings import gate_of

if TYPE_CHECKING:
    from aiopt.market.instrument import Instrument

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}\Z")

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def emit(
    spec: StrategySpec,
    *,
    provenance: Provenance,
    instrument: Instrument,
    version: int = 6,
    initial_balance: float = 100_000.0,
    leverage: float = 30.0,
    form: ScriptForm | None = None,
) -> str:
    """Return a strategy as Pine Script.

    Parameters
    ----------
    spec : StrategySpec
        The strategy.
    provenance : Provenance
        What the header states; ``Provenance()`` if nothing is known.
    instrument : Instrument
        Whose pips the distances are in.
    version : int
        6 or 5.
    initial_balance : float
        Account at the start, quote currency; risk-based sizes are measured by it.
    leverage : float
        Largest value of a position per equity: risk-based sizes are cut to it.
    form : ScriptForm, optional
        How it is written; the default is a strategy with alerts and plots and without costs.

    Returns
    -------
    str
        The script; the same arguments give the same text, to the byte.

    Raises
    ------
    ConfigError
        If the version is neither 5 nor 6, or the balance or leverage is not positive.
    SpecError
        If the strategy asks for readings, which no script can know.
    PineError
        If the text breaks a rule of the checker; then aiopt is at fault.
    """
    if version not in SUPPORTED_VERSIONS:
        msg = f"Pine version {version} is not supported. Use 5 or 6, or leave it out for 6."
        raise ConfigError(msg)
    if not 0 < initial_balance < math.inf:
        msg = f"`initial_balance > 0` must hold, but got {initial_balance}. Give the account at the start."
        raise ConfigError(msg)
    if not 0 < leverage < math.inf:
        msg = f"`leverage > 0` must hold, but got {leverage}. Give what the broker allows, e.g. 30."
        raise ConfigError(msg)
    refuse_readings(spec)
    script = Draft(spec, instrument, initial_balance, leverage, form or ScriptForm())
    header = header_lines(provenance, name=spec.name, spec_hash=spec.spec_hash, symbol=instrument.symbol)
    script.lines = [f"//@version={version}", *header, *comment(spec.description or "No description.")]
    _declaration(script)
    _inputs(script)
    _indicators(script)
    _signals(script)
    if script.form.alerts:
        head = alerts.head_line(strategy=spec.name, spec_hash=spec.spec_hash)
        script.section(f"Alerts: JSON; set {alerts.PLACEHOLDER} as the message of an alert", [head])
    if script.trades:
        write_added_orders(script) if entries_of(spec) > 1 else write_orders(script)
    else:
        write_signal_alerts(script)
    if script.form.plots:
        write_plots(script)
    script.lines += made_from_lines(
        MadeFrom(
            spec=msgspec.to_builtins(spec),
            symbol=instrument.symbol,
            initial_balance=initial_balance,
            leverage=leverage,
            form=script.form,
        )
    )
    text = "\n".join(part for line in without_repeats(script.lines) for part in wrapped(line)) + "\n"
    require_valid(text, name=spec.name)
    return text


def refuse_readings(spec: StrategySpec) -> None:
    """Raise `SpecError` for a strategy that asks for readings: a script cannot trade as it does."""
    if gate_of(spec) is not None:
        msg = f"strategy {spec.name}: readings: a Pine Script cannot know what a model read, so it could not "
        remedy = "Emit the strategy without its gate: `aiopt pine emit --without-readings`"
        raise SpecError(f"{msg}trade as the backtest does. {remedy}, or remove `readings` from it.")


def _declaration(script: Draft) -> None:
    size, costs = script.spec.size, script.form.costs
    if not script.trades:
        script.lines += ["", f"indicator({string_literal(script.spec.name)}, overlay=true)"]
        return
    quantity = size.units if isinstance(size, FixedSize) else 1
    settings = {
        "overlay": "true",
        "pyramiding": "0",
        "calc_on_order_fills": "false",
        "calc_on_every_tick": "false",
        "process_orders_on_close": "false",
        "default_qty_type": "strategy.fixed",
        "default_qty_value": number(quantity),
        "initial_capital": number(script.initial_balance),
        "commission_type": "strategy.commission.percent",
        "commission_value": float_number(costs.commission_pct),
        "slippage": number(costs.slippage_ticks),
        "margin_long": "0.0",
        "margin_short": "0.0",
        "use_bar_magnifier": "false",
    }
    entries = entries_of(script.spec)
    if entries > 1:
        settings |= {"pyramiding": str(entries), "close_entries_rule": '"ANY"'}
    call = ", ".join(f"{key}={value}" for key, value in settings.items())
    script.lines += [
        "",
        *comment(
            "Costs are zero here, as in the parity backtest; set commission and slippage in the strategy's "
            "Properties. Margin is zero so that no order is refused or liquidated."
            if costs.is_free
            else "Costs as declared here; the parity backtest has none, so with slippage fills lie beside "
            "its prices. Margin is zero so that no order is refused or liquidated."
        ),
        f"strategy({string_literal(script.spec.name)}, {call})",
    ]


def _inputs(script: Draft) -> None:
    lines, variables = input_lines(script.spec, script.names, script.form.ranges)
    script.variables |= variables
    if script.trades and not isinstance(script.spec.size, FixedSize):
        value = float_number(script.leverage)
        lines.append(
            f'float leverageInput = input.float({value}, "{LEVERAGE_TITLE}", minval=0.1, step=1.0, '
            f'tooltip="Sizes by risk are cut to this multiple of the equity.", group="{ACCOUNT}")'
        )
    script.section("Parameters", lines)


def _indicators(script: Draft) -> None:
    spec = script.spec
    read = {indicator.source for indicator in spec.indicators.values()}
    lines, candles = candle_sources(read, script.names)
    for identifier, indicator in spec.indicators.items():
        definition = spec.definition(identifier)
        args = {
            name: string_literal(value) if isinstance(value, str) else number(value)
            for name, value in spec.resolved_args(identifier).items()
        }
        args |= {name: script.variables[value] for name, value in spec.arg_params(identifier).items()}
        source = candles.get(indicator.source, indicator.source)
        written = write_indicator(
            indicator.kind, identifier=identifier, source=source, args=args, names=script.names
        )
        lines += written.lines
        if written.exact is not None:
            script.exact[identifier] = written.exact
        script.variables |= {
            name: written.outputs[output]
            for name, output in zip(spec.output_names()[identifier], definition.outputs, strict=True)
        }
    outputs = [script.variables[name] for names in spec.output_names().values() for name in names]
    ready = " and ".join(f"not na({output})" for output in outputs) or "true"
    script.section(
        "Indicators; nothing is traded before all of them have a value", [*lines, f"bool ready = {ready}"]
    )


def _signals(script: Draft) -> None:
    spec = script.spec
    writer = ConditionWriter(script.variables, script.names, constants=spec.params)
    texts = {name: writer.operand(tree) for name, tree in spec.trees.items()}
    lines = list(writer.lines)
    gates = ["ready"]
    if spec.session is not None:
        lines += _session_lines(spec.session)
        gates.append("inSession")
    lines += _size_lines(script)
    if not isinstance(spec.size, FixedSize):
        gates.append("entryUnits > 0.0")
    for side in script.sides:
        gate = " and ".join(gates)
        lines.append(f"bool {side.word}Signal = {gate} and {texts[f'entry_{side.word}']}")
    for side in script.sides:
        if f"exit_{side.word}" in texts:
            lines.append(f"bool exit{side.title}Signal = ready and {texts[f'exit_{side.word}']}")
    held_back = write_limits(script)
    for side in script.sides:
        other = f" and not {side.opposite.lower()}Signal" if len(script.sides) == 2 else ""
        adds = entries_of(spec) > 1
        free = free_to_add(script, side) if adds else f"strategy.position_size {side.free}"
        free = f" and {free}" if script.trades else ""
        free += "" if held_back is None else f" and not {held_back}"
        taken = f"{side.word}Signal{other}{free}"
        lines.append(f"bool enter{side.title} = {taken}")
    script.section("Signals, at the close of the bar; if both sides ask for an entry, neither gets it", lines)


def _session_lines(session: SessionFilter) -> list[str]:
    zone = string_literal(session.timezone)
    start, end = session.start_minute, session.end_minute
    word = "and" if start < end else "or"
    days = " or ".join(f"sessionDay == dayofweek.{_WEEKDAYS[day - 1]}" for day in session.weekdays)
    return [
        f"// Entries from {session.start} to {session.end} {session.timezone}, by the bar's opening time",
        f"int sessionMinute = hour(time, {zone}) * 60 + minute(time, {zone})",
        f"int sessionDay = dayofweek(time, {zone})",
        f"bool inSession = (sessionMinute >= {start} {word} sessionMinute < {end}) and ({days})",
    ]


def _size_lines(script: Draft) -> list[str]:
    size, stop = script.spec.size, script.spec.stop_loss
    if isinstance(size, FixedSize):
        return []
    assert stop is not None  # StrategySpec demands it
    distance, step = script.distance(stop), float_number(size.step)
    risked = f"{float_number(script.initial_balance)} * {float_number(size.risk_pct)} / 100.0"
    units = f"math.floor(math.min({risked} / ({distance}), {float_number(MAX_UNITS)}) / {step}) * {step}"
    lines = [
        f"// Size: {number(size.risk_pct)} % of the initial balance is lost at the stop, if margin allows",
        f"float entryUnits = {distance} > 0.0 ? {units} : 0.0",
    ]
    if not script.trades:
        return lines
    return [
        *lines,
        f"float carriedUnits = math.floor(strategy.equity * leverageInput / close / {step}) * {step}",
        *(["float orderUnits = math.min(entryUnits, carriedUnits)"] if entries_of(script.spec) == 1 else []),
    ]


# reason: what `emit` takes, and where to write it
def write_script(  # noqa: PLR0913
    folder: Path,
    name: str,
    spec: StrategySpec,
    *,
    provenance: Provenance,
    instrument: Instrument,
    version: int = 6,
    initial_balance: float = 100_000.0,
    leverage: float = 30.0,
    form: ScriptForm | None = None,
) -> Path:
    """Write ``NAME.pine`` and beside it ``NAME.json``, the spec it was made from.

    Parameters
    ----------
    folder : Path
        Created if missing.
    name : str
        File name without suffix: a letter or digit, then at most 99 letters, digits, hyphens, underscores.
    spec, provenance, instrument, version, initial_balance, leverage, form
        As in `emit`.

    Returns
    -------
    Path
        Of the script.

    Raises
    ------
    ConfigError, SpecError, PineError
        If the name could leave the folder, a file of another kind is in the way, or as in `emit`.  Nothing is
        written then.
    StorageError
        If the disk is full or the folder not writable.
    """
    if _FILE_NAME.match(name) is None:
        msg = (
            f"{name!r} cannot name a script. Use a letter or digit, then at most 99 letters, "
            "digits, hyphens or underscores."
        )
        raise ConfigError(msg)
    path, beside = Path(folder) / f"{name}.pine", Path(folder) / f"{name}.json"
    check_file(path, SCRIPT, name="The script")
    check_file(beside, SPEC, name="The spec beside the script")
    text = emit(
        spec,
        provenance=provenance,
        instrument=instrument,
        version=version,
        initial_balance=initial_balance,
        leverage=leverage,
        form=form,
    )
    # The spec first: a script without its spec could not be traced.
    atomic_write_text(beside, spec.to_json() + "\n")
    atomic_write_text(path, text)
    return path
