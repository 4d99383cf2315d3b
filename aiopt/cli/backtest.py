"""``aiopt backtest``: run one strategy over bars and print its figures and trades."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Console

from aiopt.cli.options import (
    PATH,
    OutFile,
    OutFolder,
    bars_option,
    instrument_option,
    json_option,
    params_option,
    reading_latency_option,
    readings_option,
    timeframe_option,
    typed,
)
from aiopt.cli.output import (
    Column,
    emit,
    minute_text,
    number,
    open_log,
    print_pairs,
    print_table,
    progress,
    text,
)
from aiopt.errors import ConfigError
from aiopt.outputs import BACKTEST, PICTURE

if TYPE_CHECKING:
    from aiopt.backtest.backtest_config import BacktestConfig
    from aiopt.backtest.results import TrialResult
    from aiopt.bars.schema import BarSet
    from aiopt.market.instrument import Instrument
    from aiopt.strategy.spec import StrategySpec

_SHOWN_TRADES = 10
_QUIET_S = 1.0


@dataclass(frozen=True, kw_only=True)
class BacktestOptions:
    """What the command line says; fields as the options' help has it."""

    spec: str
    bars_path: Path
    mode: str
    timeframe: str | None
    symbol: str | None
    params: tuple[str, ...]
    spread_pips: float | None
    extra_spread_pips: float
    balance: float
    account_currency: str | None
    conversion_path: Path | None
    leverage: float
    commission: float
    slippage_ticks: int
    stop_slippage: float | None
    ticks_dir: Path | None
    swap_path: Path | None
    signals: str
    readings_path: Path | None
    reading_latency: float | None
    out: Path | None
    chart_path: Path | None
    chart_trade: int | None
    log_dir: Path | None
    as_json: bool


@click.command(epilog="Example: aiopt backtest rsi_reversion --bars data/bars/EURUSD/5m --chart trades.png")
@click.argument("spec")
@bars_option
@click.option(
    "--mode",
    type=click.Choice(["research", "parity"]),
    default="research",
    show_default=True,
    help="research: bid and ask, commission, margin. parity: one price, no costs, as the Pine Script.",
)
@timeframe_option
@instrument_option
@params_option
@click.option(
    "--spread-pips", type=float, help="For bars with one price: put the ask this many pips above it."
)
@click.option(
    "--extra-spread-pips",
    type=float,
    default=0.0,
    help="Widen the spread of bid and ask bars: raise every ask by that many pips.",
)
@click.option("--balance", type=float, default=100_000.0, show_default=True, help="Initial balance.")
@click.option(
    "--account-currency", help="Currency of balance, profit and costs, e.g. USD. Default: the quote currency."
)
@click.option(
    "--conversion",
    "conversion_path",
    type=PATH,
    help="Bars that convert quote to account currency, e.g. USDJPY for GBPJPY in USD.",
)
@click.option(
    "--leverage",
    type=float,
    default=30.0,
    show_default=True,
    help="Largest position value, as a multiple of the balance.",
)
@click.option(
    "--commission",
    type=float,
    default=35.0,
    show_default=True,
    help="Quote currency per million traded, each side.",
)
@click.option(
    "--slippage-ticks",
    type=int,
    default=0,
    show_default=True,
    help="Ticks lost at each market and stop fill.",
)
@click.option(
    "--stop-slippage",
    type=float,
    help="Ticks by which a stop inside a bar fills beyond its price. Default: as measured on ticks, else 1.",
)
@click.option(
    "--ticks",
    "ticks_dir",
    type=PATH,
    help="Tick store to measure stop slippage on, if the bars were not built from ticks. "
    "Default: data/ticks/SYMBOL, if it holds real ticks.",
)
@click.option(
    "--swap",
    "swap_path",
    type=PATH,
    help="Charge swap for each night: a YAML or JSON file with points or rates "
    "(docs/reference/configuration.md).",
)
@click.option(
    "--signals",
    type=click.Choice(["arrays", "streaming"]),
    default="arrays",
    show_default=True,
    help="streaming: compute signals bar by bar in the engine, as live trading does; same trades, slower.",
)
@readings_option
@reading_latency_option
@click.option(
    "--out",
    type=OutFile(BACKTEST),
    help="Also write the JSON to this file, with equity, hourly profits and their times.",
)
@click.option(
    "--chart",
    "chart_path",
    type=OutFile(PICTURE),
    help="Draw the last trade and its neighbours on the price, with stop and target, to this PNG.",
)
@click.option("--chart-trade", type=click.IntRange(1), help="Draw this trade (1 is the first), not the last.")
@click.option(
    "--log",
    "log_dir",
    type=OutFolder(),
    help="Also log features, signals and trades to this folder; see `aiopt dataset logs`.",
)
@json_option
@typed(BacktestOptions)
def command(options: BacktestOptions) -> None:
    """Backtest SPEC, a YAML or JSON file or the name of a ready family (see `aiopt specs list`).

    A position so large that every entry's margin exceeds the account is bad input (exit code 2).  Prints
    metrics and trades, with the times (UTC) at which the bars of entry and exit open.  In the JSON
    bars are also numbered, from 0 in the bars given.  It counts as one trial (see `aiopt trials ledger`).
    """
    from aiopt.backtest.document import backtest_document, curves
    from aiopt.files import atomic_write_bytes
    from aiopt.strategy.choosing import find_strategy

    strategy, _ = find_strategy(options.spec, options.params)
    config = _config(options)
    bars = _read(_bars(options, config), options, strategy)

    from aiopt.backtest.session import BacktestSession
    from aiopt.sweep.counting import record_backtest

    with (
        open_log(options.log_dir) as sink,
        progress("backtest, bars", len(bars), quiet_s=_QUIET_S) as report,
        BacktestSession(bars, config, sink=sink, progress=report) as session,
    ):
        result = session.run(strategy)
    record_backtest(strategy, config, bars)
    _refuse_oversized(result, config)
    document = backtest_document(strategy, config, bars, result)
    if options.chart_path is not None:
        document["chart"] = _draw(options.chart_path, strategy, bars, result, options.chart_trade)
    if options.out is not None:
        content = msgspec.json.encode({**document, **curves(bars, result)})
        atomic_write_bytes(options.out, content + b"\n")

    def human(console: Console) -> None:
        _print(console, document, bars, result)
        if options.out is not None:
            console.print(f"JSON: {options.out}", markup=False, soft_wrap=True)

    emit(options.as_json, document, human)


def _config(options: BacktestOptions) -> BacktestConfig:
    from aiopt.backtest.backtest_config import BacktestConfig
    from aiopt.config import decode, read_mapping

    return decode(
        {
            "mode": options.mode,
            "account_currency": options.account_currency,
            "initial_balance": options.balance,
            "leverage": options.leverage,
            "commission_per_million": options.commission,
            "slippage_ticks": options.slippage_ticks,
            "extra_spread_pips": options.extra_spread_pips,
            "stop_slippage_ticks": options.stop_slippage,
            "swap": None if options.swap_path is None else read_mapping(options.swap_path),
            "signals": options.signals,
        },
        BacktestConfig,
        where="backtest options",
    )


def _bars(options: BacktestOptions, config: BacktestConfig) -> BarSet:
    """Return the bars as the mode prices them."""
    from aiopt.backtest.pricing import add_spread, chart_price
    from aiopt.backtest.stops_of_run import with_measured_stops
    from aiopt.bars.files import load_bar_set

    bars = load_bar_set(options.bars_path, timeframe=options.timeframe, symbol=options.symbol)
    if config.is_parity:
        if options.swap_path is not None:
            raise ConfigError("Parity mode charges no swap, but --swap was given. Leave it out.")
        if options.spread_pips is not None:
            raise ConfigError("Parity mode has no spread, but --spread-pips was given. Leave it out.")
        if options.extra_spread_pips:
            raise ConfigError("Parity mode has no spread, but --extra-spread-pips was given. Leave it out.")
        bars = chart_price(bars)
    elif options.spread_pips is not None:
        bars = add_spread(bars, options.spread_pips)
    if not config.is_parity:
        bars = with_measured_stops(bars, config, options.ticks_dir, meter=progress)
    if options.conversion_path is not None:
        from aiopt.backtest.conversion import with_conversion

        bars = with_conversion(bars, load_bar_set(options.conversion_path))
    return bars


def _read(bars: BarSet, options: BacktestOptions, strategy: StrategySpec) -> BarSet:
    """Return the bars with the readings that were given, if the strategy asks for any."""
    from aiopt.strategy.spec_readings import gate_of

    if options.readings_path is None:
        if options.reading_latency is not None:
            raise ConfigError(
                "--reading-latency says when readings count, but none are given. Add --readings."
            )
        return bars
    if gate_of(strategy) is None:
        msg = f"--readings was given, but {strategy.name} asks for no readings. Leave it out, or add a "
        raise ConfigError(f"{msg}`readings:` to the strategy.")
    from aiopt.analyst.scans import with_readings

    return with_readings(bars, options.readings_path, latency_s=options.reading_latency)


def _refuse_oversized(result: TrialResult, config: BacktestConfig) -> None:
    """Refuse a size that no entry's margin allows: it is a mistake of the input, not a result."""
    refused = len(result.refused_bars)
    if refused and not result.trades and result.open_trade is None:
        msg = (
            f"The position is too large: each of its {refused:,} entries was refused, as its margin "
            f"exceeds the account (leverage {config.leverage:g}, balance {config.initial_balance:,.2f}). "
            "Trade smaller, or raise --leverage or --balance."
        )
        raise ConfigError(msg)


def _draw(
    path: Path, strategy: StrategySpec, bars: BarSet, result: TrialResult, chosen: int | None
) -> dict[str, Any]:
    """Draw a window of trades; return what the picture shows."""
    from aiopt.backtest.stop_paths import follow_stops
    from aiopt.charts import ChartSpec, PreparedChart
    from aiopt.charts.trade_marks import shown_trades, window_of_trade
    from aiopt.files import atomic_write_bytes

    trades = follow_stops([*result.trades, *result.open_trades], strategy, bars)
    if chosen is not None and chosen > len(trades):
        known = f"Give --chart-trade a number from 1 to {len(trades)}" if trades else "The backtest made none"
        raise ConfigError(f"There is no trade {chosen}. {known}.")
    trade = trades[-1 if chosen is None else chosen - 1] if trades else None
    window = window_of_trade(bars.bid, trade)
    atomic_write_bytes(path, PreparedChart(bars.bid, ChartSpec()).render(*window, trades=trades))
    return {
        "file": str(path),
        "start": window[0],
        "stop": window[1],
        "first_ts_ns": int(bars.bid.ts_open_ns[window[0]]),
        "last_ts_ns": int(bars.bid.ts_open_ns[window[1] - 1]),
        "trades_shown": len(shown_trades(bars.bid, [window], trades)),
        "trades": len(trades),
    }


def _print(console: Console, document: dict[str, Any], bars: BarSet, result: TrialResult) -> None:
    from aiopt.evaluation.statement import statement

    metrics, currency = result.metrics, document["currency"]
    net, commission = (statement(value, currency) for value in (metrics.net_profit, metrics.commission))
    generated = ", synthetic data" if bars.synthetic else ""
    first, last = (minute_text(document["bars"][name]) for name in ("first_ts_ns", "last_ts_ns"))
    console.print(
        f"[bold]{document['spec']['name']}[/bold] on {len(bars):,} {bars.timeframe.label} bars of "
        f"{bars.instrument.symbol}{generated}, {document['config']['mode']} mode"
    )
    pairs = (
        ("from, to (UTC)", f"{first}, {last}"),
        ("trades", f"{metrics.trades} ({metrics.wins} won)"),
        ("P&L", f"{net} {currency} after {commission} commission"),
        ("return", f"{metrics.return_fraction:.3%}"),
        ("profit factor", _figure(metrics.profit_factor)),
        ("expectancy", _figure(metrics.expectancy)),
        ("max drawdown", f"{metrics.max_drawdown:.3%} ({metrics.max_drawdown_amount:,.2f})"),
        ("Sharpe ratio", _figure(metrics.sharpe_ratio)),
        ("Sortino ratio", _figure(metrics.sortino_ratio)),
        ("exposure", f"{metrics.exposure:.1%}"),
    )
    print_pairs(console, pairs)
    _print_account(console, document["config"], bars, result)
    console.print(f"{document['rollover']}.")
    console.print(f"Stops: {result.stop_fills.text}.")
    if bars.readings is not None:
        found, late = bars.readings, bars.readings.latency_s
        since = "as it took in the scan" if late is None else f"{late:g} s"
        console.print(
            f"Readings: {len(found):,} by {found.origin.text}, latency {since}, {found.log_hash[:12]}.",
            markup=False,
        )
    _print_trades(console, result, bars.instrument)
    chart = document.get("chart")
    if chart is not None:
        outside = chart["trades"] - chart["trades_shown"]
        rest = f"; {outside:,} lie outside its window (--chart-trade N draws another)" if outside else ""
        console.print(f"Chart: {chart['file']}, {chart['trades_shown']} trades{rest}.", soft_wrap=True)


def _print_account(console: Console, config: dict[str, Any], bars: BarSet, result: TrialResult) -> None:
    """Say loudly what margin and ruin did: the figures above are then those of another strategy."""
    limits = f"leverage {config['leverage']:g} and a balance of {config['initial_balance']:,.2f} at the start"
    opens = bars.bid.ts_open_ns
    for found, said in (
        (result.refused_bars, "entries refused: their margin exceeded the account"),
        (result.capped_bars, "entries cut to the size whose margin the account carries"),
    ):
        if found:
            first = minute_text(int(opens[found[0]]))
            console.print(
                f"[bold red]{len(found):,} {said}[/bold red] (first at the close of the bar of {first} UTC; "
                f"{limits}). Trade smaller, or raise --leverage or --balance."
            )
    if result.ruined_bars:
        lost = minute_text(int(opens[result.ruined_bars[0]]))
        console.print(
            f"[bold red]The account was lost at the bar of {lost} UTC[/bold red] ({limits}); "
            "nothing was traded after it."
        )


def _print_trades(console: Console, result: TrialResult, market: Instrument) -> None:
    shown = result.trades[-_SHOWN_TRADES:]
    if shown:
        sizes = {trade.size for trade in shown}
        each = f", {shown[0].size:,.0f} units each" if len(sizes) == 1 else ""
        console.print(f"Last {len(shown)} of {len(result.trades)} trades, times in UTC{each}:")
        columns: list[Column | str] = ["entry time", "exit time", "side", number("entry"), number("exit")]
        columns += [text("exit reason"), number("P&L"), *([] if each else [number("size")])]
        rows = []
        for trade in shown:
            row = [minute_text(trade.entry_ts_ns), minute_text(trade.exit_ts_ns), trade.side]
            row += [market.price_text(price) for price in (trade.entry_price, trade.exit_price)]
            row += [trade.exit_reason.replace("_", " "), f"{trade.pnl:,.2f}"]
            rows.append([*row, *([] if each else [f"{trade.size:,.0f}"])])
        print_table(console, columns, rows)
    for held in result.open_trades:
        console.print(
            f"Still open after the last bar: {held.side} since {minute_text(held.entry_ts_ns)} UTC at "
            f"{market.price_text(held.entry_price)}"
        )


def _figure(value: float) -> str:
    return "not defined" if value != value else f"{value:,.3f}"
