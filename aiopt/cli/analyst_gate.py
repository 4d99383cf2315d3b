"""``aiopt analyst judge-gate``: what a gate of readings is worth.  Owns flags and printing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from rich.console import Console

from aiopt.cli.options import (
    PATH,
    bars_option,
    instrument_option,
    json_option,
    params_option,
    reading_latency_option,
    seed_option,
    timeframe_option,
    typed,
)
from aiopt.cli.output import emit, number, print_pairs, print_table, progress, text

if TYPE_CHECKING:
    from aiopt.backtest.backtest_config import BacktestConfig
    from aiopt.bars.schema import BarSet
    from aiopt.gates import GateJudgement

_QUIET_S = 1.0


@dataclass(frozen=True, kw_only=True)
class JudgeOptions:
    """What the command line says; fields as the options' help has it."""

    spec: str
    bars_path: Path
    readings_path: Path
    reading_latency: float | None
    timeframe: str | None
    symbol: str | None
    params: tuple[str, ...]
    spread_pips: float | None
    extra_spread_pips: float
    balance: float
    leverage: float
    commission: float
    slippage_ticks: int
    draws: int
    block: int | None
    seed: int
    as_json: bool


@click.command(
    "judge-gate",
    epilog="Example: aiopt analyst judge-gate gated.yaml --readings data/scans/eurusd-5m "
    "--bars data/bars/EURUSD/5m",
)
@click.argument("spec")
@click.option(
    "--readings",
    "readings_path",
    type=PATH,
    required=True,
    help="A scan's folder or readings.parquet (`aiopt analyst scan`).",
)
@reading_latency_option
@bars_option
@timeframe_option
@instrument_option
@params_option
@click.option(
    "--spread-pips", type=float, help="For bars with one price: put the ask this many pips above it."
)
@click.option("--extra-spread-pips", type=float, default=0.0, help="Raise every ask by that many pips.")
@click.option("--balance", type=float, default=100_000.0, show_default=True, help="Initial balance.")
@click.option("--leverage", type=float, default=30.0, show_default=True, help="Largest position value.")
@click.option(
    "--commission",
    type=float,
    default=35.0,
    show_default=True,
    help="Quote currency per million traded, each side.",
)
@click.option("--slippage-ticks", type=int, default=0, show_default=True, help="Lost at each market fill.")
@click.option(
    "--draws",
    type=int,
    default=200,
    show_default=True,
    help="Orders of time in which the readings are shuffled for the control.",
)
@click.option(
    "--block",
    type=int,
    help="Readings that stay together in a shuffle.  [default: the cube root of their number]",
)
@seed_option
@json_option
@typed(JudgeOptions)
def judge_gate_command(options: JudgeOptions) -> None:
    """Backtest SPEC with and without its `readings:` on the same bars, and with shuffled readings.

    Shows which trades the gate keeps and removes, the paired difference of profit with its interval, and how
    gates of the same readings in another order of time do: what they gain is no merit of what was read.
    Both backtests count as trials (see `aiopt trials ledger`).
    """
    from aiopt.analyst.scans import with_readings
    from aiopt.gates import judge_gate
    from aiopt.strategy.choosing import find_strategy
    from aiopt.sweep.counting import record_backtest

    strategy, _ = find_strategy(options.spec, options.params)
    config = _config(options)
    bars = with_readings(_bars(options), options.readings_path, latency_s=options.reading_latency)
    with progress("judge, backtests", options.draws + 2, quiet_s=_QUIET_S) as report:
        found = judge_gate(
            strategy,
            bars,
            config,
            seed=options.seed,
            draws=options.draws,
            block=options.block,
            progress=report,
        )
    for tried in (strategy, strategy.without_readings()):
        record_backtest(tried, config, bars)
    document = {
        "spec": {"name": strategy.name, "spec_hash": strategy.spec_hash, "params": strategy.params},
        "data_hash": bars.data_hash,
        "config": config.document(),
        **msgspec.to_builtins(found),
    }
    emit(options.as_json, document, lambda console: _print(console, strategy.name, bars, found))


def _config(options: JudgeOptions) -> BacktestConfig:
    from aiopt.backtest.backtest_config import BacktestConfig
    from aiopt.config import decode

    settings = {
        "initial_balance": options.balance,
        "leverage": options.leverage,
        "commission_per_million": options.commission,
        "slippage_ticks": options.slippage_ticks,
        "extra_spread_pips": options.extra_spread_pips,
    }
    return decode(settings, BacktestConfig, where="judge options")


def _bars(options: JudgeOptions) -> BarSet:
    from aiopt.backtest.pricing import add_spread
    from aiopt.bars.files import load_bar_set

    bars = load_bar_set(options.bars_path, timeframe=options.timeframe, symbol=options.symbol)
    return bars if options.spread_pips is None else add_spread(bars, options.spread_pips)


def _print(console: Console, name: str, bars: BarSet, found: GateJudgement) -> None:
    read, control, currency = found.readings, found.control, bars.instrument.quote
    who = read["model_id"] or read["reader"]
    revision = f" revision {read['model_revision']}" if read["model_revision"] else ""
    generated = ", synthetic data" if bars.synthetic else ""
    console.print(
        f"{name} on {len(bars):,} {bars.timeframe.label} bars of {bars.instrument.symbol}{generated}, "
        f"{read['readings']:,} readings by {who}{revision} ({read['hash'][:12]})",
        markup=False,
    )
    columns = [text(""), number("trades"), number(f"P&L {currency}"), number("per trade"), number("max DD")]
    rows = [
        [
            label,
            f"{one.trades:,}",
            f"{one.net_profit:,.2f}",
            _figure(one.profit_per_trade),
            f"{one.max_drawdown_amount:,.2f}",
        ]
        for label, one in (("without the gate", found.free), ("with the gate", found.gated))
    ]
    print_table(console, columns, rows)
    interval = f"{_figure(found.interval_low)} to {_figure(found.interval_high)}"
    shuffles = f"{control.draws} shuffles in blocks of {control.block}, seed {control.seed}"
    pairs = (
        (
            "entries",
            f"{found.kept:,} kept ({found.resized:,} resized), {found.removed:,} removed, "
            f"{found.added:,} made with the gate alone",
        ),
        (
            "without the gate",
            f"the kept made {found.kept_profit:,.2f}, the removed {found.removed_profit:,.2f} {currency}",
        ),
        ("gate open", f"{found.entries_open:.1%} of the bars"),
        ("difference", f"{found.difference:,.2f} {currency}, 95% interval {interval}"),
        (
            "shuffled readings",
            f"{control.mean:,.2f} on average, 95% from {control.low:,.2f} to "
            f"{control.high:,.2f}, {control.trades:,.1f} trades ({shuffles})",
        ),
        (
            "do as well",
            f"{control.p_value:.1%} of them; {_share(found.choice_p_value)} of random choices of as "
            "many trades",
        ),
    )
    print_pairs(console, pairs)
    console.print(found.verdict, markup=False)


def _share(value: float) -> str:
    return "none" if value != value else f"{value:.1%}"


def _figure(value: float) -> str:
    return "not defined" if value != value else f"{value:,.2f}"
