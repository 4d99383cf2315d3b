"""``aiopt backtest``: run one strategy over bars and print its figures and trades."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from aiopt.cli.output import emit, instrument_option, json_option, open_log, progress
from aiopt.errors import ConfigError

if TYPE_CHECKING:
    from aiopt.backtest.backtest_config import BacktestConfig
    from aiopt.backtest.results import TrialResult
    from aiopt.bars.schema import BarSet
    from aiopt.market.instrument import Instrument
    from aiopt.strategy.spec import StrategySpec

_SHOWN_TRADES = 10


@click.command(epilog="Example: aiopt backtest rsi_reversion --bars bars/EURUSD/5m --params rsi_length=10")
@click.argument("spec")
@click.option(
    "--bars",
    "bars_path",
    required=True,
    type=click.Path(path_type=Path),
    help="A folder with bid.parquet and ask.parquet, or one Parquet file of bars.",
)
@click.option(
    "--mode",
    type=click.Choice(["research", "parity"]),
    default="research",
    show_default=True,
    help="research: bid and ask, commission, margin. parity: one price, no costs, as the Pine Script.",
)
@click.option("--timeframe", help="Which bars to take, if the folder holds several, e.g. 5m.")
@instrument_option
@click.option(
    "--params", "overrides", multiple=True, metavar="NAME=VALUE", help="Set a parameter. Repeatable."
)
@click.option("--spread-pips", type=float, help="Make the ask from one price: that many pips above it.")
@click.option(
    "--extra-spread-pips",
    type=float,
    default=0.0,
    help="Widen the spread of bid and ask bars: raise every ask by that many pips.",
)
@click.option("--balance", type=float, default=100_000.0, show_default=True, help="Initial balance.")
@click.option(
    "--account-currency", help="Of balance, profit and costs, e.g. USD. Default: the quote currency."
)
@click.option(
    "--conversion",
    "conversion_path",
    type=click.Path(path_type=Path),
    help="Bars of a pair of quote and account currency, e.g. of USDJPY for GBPJPY in USD.",
)
@click.option("--leverage", type=float, default=30.0, show_default=True, help="Largest notional per balance.")
@click.option(
    "--commission",
    type=float,
    default=35.0,
    show_default=True,
    help="Quote currency per million traded, each side.",
)
@click.option("--slippage-ticks", type=int, default=0, show_default=True, help="On market and stop fills.")
@click.option(
    "--stop-slippage",
    type=float,
    help="Ticks by which a stop inside a bar fills beyond its price. Default: what ticks say, else 1.",
)
@click.option(
    "--ticks",
    "ticks_dir",
    type=click.Path(path_type=Path),
    help="Tick store on which stop slippage is measured, for bars without their ticks' stop ladder. "
    "Default: one of traded ticks in data/ticks/SYMBOL, if there is.",
)
@click.option(
    "--swap",
    "swap_path",
    type=click.Path(path_type=Path),
    help="Charge nights: a YAML or JSON file with points or rates, see docs/reference/configuration.md.",
)
@click.option(
    "--signals",
    type=click.Choice(["arrays", "streaming"]),
    default="arrays",
    show_default=True,
    help="streaming: compute signals bar by bar in the engine, as live; same trades, slower.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Also write the JSON, with equity, to this file."
)
@click.option(
    "--log",
    "log_dir",
    type=click.Path(path_type=Path),
    help="Also log features, signals and trades to this folder; see `aiopt dataset logs`.",
)
@json_option
def command(
    spec: str,
    bars_path: Path,
    mode: str,
    timeframe: str | None,
    symbol: str | None,
    overrides: tuple[str, ...],
    spread_pips: float | None,
    extra_spread_pips: float,
    balance: float,
    account_currency: str | None,
    conversion_path: Path | None,
    leverage: float,
    commission: float,
    slippage_ticks: int,
    stop_slippage: float | None,
    ticks_dir: Path | None,
    swap_path: Path | None,
    signals: str,
    out: Path | None,
    log_dir: Path | None,
    as_json: bool,
) -> None:
    """Backtest SPEC, a YAML or JSON file or the name of a ready family (see `aiopt specs list`).

    Prints metrics and trades.  Bars are numbered from 0 in the bars given.
    """
    from aiopt.backtest.backtest_config import BacktestConfig
    from aiopt.backtest.pricing import add_spread, chart_price
    from aiopt.bars.files import load_bar_set
    from aiopt.config import decode, read_mapping
    from aiopt.files import atomic_write_bytes

    strategy = _load(spec, overrides)
    config = decode(
        {
            "mode": mode,
            "account_currency": account_currency,
            "initial_balance": balance,
            "leverage": leverage,
            "commission_per_million": commission,
            "slippage_ticks": slippage_ticks,
            "extra_spread_pips": extra_spread_pips,
            "stop_slippage_ticks": stop_slippage,
            "swap": None if swap_path is None else read_mapping(swap_path),
            "signals": signals,
        },
        BacktestConfig,
        where="backtest options",
    )
    bars = load_bar_set(bars_path, timeframe=timeframe, symbol=symbol)
    if config.is_parity:
        if swap_path is not None:
            raise ConfigError("Parity mode charges no swap, but --swap was given. Leave it out.")
        if spread_pips is not None:
            raise ConfigError("Parity mode has no spread, but --spread-pips was given. Leave it out.")
        if extra_spread_pips:
            raise ConfigError("Parity mode has no spread, but --extra-spread-pips was given. Leave it out.")
        bars = chart_price(bars)
    elif spread_pips is not None:
        bars = add_spread(bars, spread_pips)
    if not config.is_parity:
        bars = _with_stops(bars, config, ticks_dir)

    from aiopt.backtest.session import BacktestSession

    if conversion_path is not None:
        from aiopt.backtest.conversion import with_conversion

        bars = with_conversion(bars, load_bar_set(conversion_path))

    with open_log(log_dir) as sink, BacktestSession(bars, config, sink=sink) as session:
        result = session.run(strategy)
    document = _document(strategy, config, bars, result)
    if out is not None:
        with_equity = {**document, "equity": result.equity.tolist()}
        atomic_write_bytes(out, msgspec.json.encode(with_equity) + b"\n")
    emit(as_json, document, lambda console: _print(console, document, result))


def _load(spec: str, overrides: tuple[str, ...]) -> StrategySpec:
    """Return the spec of a file or ready family with parameters set."""
    import yaml

    from aiopt.strategy.families import FAMILIES, family
    from aiopt.strategy.spec import load_spec
    from aiopt.yaml_text import load_yaml

    is_file = Path(spec).suffix in {".yaml", ".yml", ".json"} or Path(spec).is_file()
    strategy = load_spec(Path(spec)) if is_file and spec not in FAMILIES else family(spec).spec
    params: dict[str, Any] = {}
    for text in overrides:
        name, separator, value = text.partition("=")
        if not separator or not name:
            msg = f"A parameter must be NAME=VALUE, but got {text!r}. Write e.g. --params rsi_length=10."
            raise ConfigError(msg)
        try:
            params[name] = load_yaml(value)
        except yaml.YAMLError as failure:
            msg = f"A parameter must be NAME=NUMBER, but got {text!r}. Write e.g. --params rsi_length=10."
            raise ConfigError(msg) from failure
    return strategy.with_params(params) if params else strategy


def _with_stops(bars: BarSet, config: BacktestConfig, ticks_dir: Path | None) -> BarSet:
    """Return bars with what ticks say of their stops: their own, those named, those found."""
    from aiopt.backtest.pricing import with_stop_slippage
    from aiopt.bars.stops.stop_measuring import find_tick_store, measure_store

    if bars.stops is not None or config.stop_slippage_ticks is not None:
        if ticks_dir is not None:
            has = "their own stop ladder" if bars.stops is not None else "--stop-slippage"
            msg = f"Stop slippage is measured where nothing else says it, but there is {has}."
            raise ConfigError(msg + " Leave --ticks out.")
        return bars
    store = ticks_dir or find_tick_store(bars.instrument.symbol, Path())
    if store is None:
        return bars
    with progress(f"measuring stops on {store}", 100) as report:
        measured = measure_store(store, progress=lambda done, total: report(100.0 * done / max(total, 1)))
    return with_stop_slippage(bars, measured)


def _document(
    strategy: StrategySpec, config: BacktestConfig, bars: BarSet, result: TrialResult
) -> dict[str, Any]:
    from aiopt.evaluation.rollover import held_over, held_over_text

    pair = bars.instrument
    return {
        "spec": {"name": strategy.name, "family": strategy.family, "params": strategy.params},
        "config": config.document(),
        "bars": {
            "instrument": pair.symbol,
            "timeframe": bars.timeframe.label,
            "count": len(bars),
            "first_ts_ns": int(bars.bid.ts_open_ns[0]),
            "last_ts_ns": int(bars.bid.ts_open_ns[-1]),
            "synthetic": bars.synthetic,
        },
        "rollover": held_over_text(
            held_over(((trade.nights or 0, trade.size) for trade in result.trades), pip_size=pair.pip_size),
            currency=pair.quote,
            charged=None if config.swap is None else result.metrics.swap,
            account_currency=config.account_currency,
        ),
        **result.to_document(),
    }


def _print(console: Console, document: dict[str, Any], result: TrialResult) -> None:
    from aiopt.evaluation.statement import statement
    from aiopt.market.instrument import instrument

    bars, metrics = document["bars"], result.metrics
    currency = document["config"]["account_currency"] or instrument(bars["instrument"]).quote
    net, commission = (statement(value, currency) for value in (metrics.net_profit, metrics.commission))
    generated = ", synthetic data" if bars["synthetic"] else ""
    console.print(
        f"[bold]{document['spec']['name']}[/bold] on {bars['count']:,} {bars['timeframe']} bars of "
        f"{bars['instrument']}{generated}, {document['config']['mode']} mode"
    )
    table = Table(show_header=False, box=None)
    for name, text in (
        ("trades", f"{metrics.trades} ({metrics.wins} won)"),
        ("net profit", f"{net} {currency} after {commission} commission"),
        ("return", f"{metrics.return_fraction:.3%}"),
        ("profit factor", _figure(metrics.profit_factor)),
        ("expectancy", _figure(metrics.expectancy)),
        ("max drawdown", f"{metrics.max_drawdown:.3%} ({metrics.max_drawdown_amount:,.2f})"),
        ("Sharpe ratio", _figure(metrics.sharpe_ratio)),
        ("Sortino ratio", _figure(metrics.sortino_ratio)),
        ("exposure", f"{metrics.exposure:.1%}"),
    ):
        table.add_row(name, text)
    console.print(table)
    _print_account(console, document["config"], result)
    console.print(f"{document['rollover']}.")
    console.print(f"Stops: {result.stop_fills.text}.")
    _print_trades(console, result, instrument(bars["instrument"]))


def _print_account(console: Console, config: dict[str, Any], result: TrialResult) -> None:
    """Say loudly what margin and ruin did: the figures above are then those of another strategy."""
    limits = f"leverage {config['leverage']:g} and a balance of {config['initial_balance']:,.2f} at the start"
    for bars, text in (
        (result.refused_bars, "entries refused: their margin exceeded the account"),
        (result.capped_bars, "entries cut to the size whose margin the account carries"),
    ):
        if bars:
            console.print(
                f"[bold red]{len(bars):,} {text}[/bold red] (first at the close of bar {bars[0]}; {limits}). "
                "Trade smaller, or raise --leverage or --balance."
            )
    if result.ruined_bars:
        console.print(
            f"[bold red]The account was lost at bar {result.ruined_bars[0]}[/bold red] ({limits}); "
            "nothing was traded after it."
        )


def _print_trades(console: Console, result: TrialResult, market: Instrument) -> None:
    if result.trades:
        last = Table("entry bar", "exit bar", "side", "entry", "exit", "size", "exit reason", "profit")
        for trade in result.trades[-_SHOWN_TRADES:]:
            last.add_row(
                str(trade.entry_bar),
                str(trade.exit_bar),
                trade.side,
                market.price_text(trade.entry_price),
                market.price_text(trade.exit_price),
                f"{trade.size:,.0f}",
                trade.exit_reason,
                f"{trade.pnl:,.2f}",
            )
        console.print(f"Last {min(_SHOWN_TRADES, len(result.trades))} of {len(result.trades)} trades:")
        console.print(last)
    if result.open_trade is not None:
        held = result.open_trade
        console.print(
            f"Open behind the last bar: {held.side} since bar {held.entry_bar} at "
            f"{market.price_text(held.entry_price)}"
        )


def _figure(value: float) -> str:
    return "not defined" if value != value else f"{value:,.3f}"
