"""``aiopt dataset from-trades``: closed positions with the chart at their entry, as a set of tasks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aiopt.cli.options import OutFolder, json_option, typed
from aiopt.cli.output import emit, minute_text, print_table, progress

if TYPE_CHECKING:
    from rich.console import Console

    from aiopt.dataset.tasks import TaskSetInfo

_PATH = click.Path(path_type=Path)


@dataclass(frozen=True, kw_only=True)
class TradesOptions:
    """What the command line says of `from-trades`; fields as the options' help has it."""

    sources: tuple[Path, ...]
    bars_path: Path | None
    symbol: str | None
    out: Path
    sample: str
    replay_sample: str | None
    flat_r: float
    until: str | None
    window: int
    readings_path: Path | None
    judged_on: tuple[Path, ...]
    as_json: bool


@click.command(
    epilog="Example: aiopt dataset from-trades runs/eurusd-default --bars data/bars/EURUSD/5m --sample in "
    "--window 60 --out data/datasets/trades"
)
@click.argument("sources", nargs=-1, required=True, type=_PATH)
@click.option(
    "--bars",
    "bars_path",
    type=_PATH,
    help="Folder of the bars that were traded. Default: those of the sessions, where all SOURCES are such.",
)
@click.option("--instrument", "symbol", help="What runs traded that do not say it.")
@click.option("--out", required=True, type=OutFolder(), help="The set's folder.")
@click.option(
    "--sample",
    required=True,
    type=click.Choice(["in", "out"]),
    help="Trades on time their strategy was chosen on, or on time it had not seen. Never both.",
)
@click.option(
    "--replay-sample",
    type=click.Choice(["in", "out"]),
    help="Whether a session's strategies were chosen on the days it replayed. What traded in real time is "
    "out.",
)
@click.option("--flat-r", type=float, default=0.1, show_default=True, help="Smaller results, in R, are flat.")
@click.option("--until", help="Leave out positions that closed later, e.g. 2018-06-01 (UTC).")
@click.option("--window", type=int, default=120, show_default=True, help="Bars of a chart.")
@click.option(
    "--readings",
    "readings_path",
    type=_PATH,
    help="A scan, whose readings known at the entries go into the rows. Default: those of the sessions, "
    "where all SOURCES are such and an analyst read; else the rules read there.",
)
@click.option(
    "--judged-on",
    type=_PATH,
    multiple=True,
    help="Set of tasks to judge on later: a record that shows its time is refused. Repeat it for several.",
)
@json_option
@typed(TradesOptions)
def from_trades_command(options: TradesOptions) -> None:
    """Make a set of tasks of closed positions: the chart at each entry, and how the position ended.

    SOURCES are run folders, folders of sessions (`aiopt live run`), or files of closed positions
    (docs/how-to/tasks.md) that other accounts write.
    """
    from aiopt.cli.run_positions import positions_of
    from aiopt.cli.session_positions import bars_for, readings_for
    from aiopt.dataset.positions import PositionSettings, build_from_positions

    settings = PositionSettings(
        part=options.sample,  # type: ignore[arg-type]  # click has checked the choice
        flat_r=options.flat_r,
        until_ns=None if options.until is None else _day_ns(options.until),
        window=options.window,
    )
    positions = positions_of(
        options.sources,
        options.symbol,
        replayed=options.replay_sample,  # type: ignore[arg-type]  # click has checked the choice
    )
    readings = readings_for(options.sources, options.readings_path)
    keys = sorted({(one.instrument, one.timeframe) for one in positions if one.part == options.sample})
    bars = bars_for(options.sources, options.bars_path, keys)
    wanted = sum(one.part == options.sample for one in positions)
    with progress("Drawing the charts at entries", wanted) as done:
        info = build_from_positions(
            positions,
            bars,
            options.out,
            settings,
            readings=readings,
            judged_on=options.judged_on,
            progress=done,
        )
    document = {"out": str(options.out), **_plain(info)}
    emit(options.as_json, document, lambda console: _print(console, info, options))


def _day_ns(text: str) -> int:
    import numpy as np

    from aiopt.errors import ConfigError

    try:
        return int(np.datetime64(text, "ns").astype(np.int64))
    except ValueError as failure:
        msg = f"`--until` must be a day or time such as 2018-06-01, but is {text!r}. Correct it."
        raise ConfigError(msg) from failure


def _plain(value: Any) -> Any:
    import msgspec

    return msgspec.to_builtins(value)


def _print(console: Console, info: TaskSetInfo, options: TradesOptions) -> None:
    words = {"in": "in-sample: their strategies were chosen on this time", "out": "out of sample"}
    console.print(
        f"{info.charts:,} closed positions, {words[options.sample]}, in {options.out}", soft_wrap=True
    )
    rows = []
    for name, split in info.splits.items():
        counts = [f"{task} {_shares(balance)}" for task, balance in split.balance.items()]
        span = [minute_text(at or 0) for at in (split.first_decision_ns, split.last_decision_ns)]
        rows.append((name, f"{split.charts:,}", *span, "; ".join(counts)))
    print_table(console, ("split", "positions", "first entry (UTC)", "last entry (UTC)", "outcomes"), rows)
    console.print("Outcomes came after the charts: they are marked as from the future.")
    reasons = ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in info.left_out.items() if n)
    console.print(f"Positions left out: {reasons or 'none'}.")


def _shares(balance: dict[str, int]) -> str:
    total = sum(balance.values())
    return ", ".join(f"{name} {count / total:.0%}" for name, count in balance.items())
