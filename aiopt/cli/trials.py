"""``aiopt trials``: those of a run listed, one shown or backtested anew, all ever made counted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Console

from aiopt.cli.options import PATH, json_option
from aiopt.cli.output import emit, minute_text, number, print_pairs, print_table, progress
from aiopt.cli.trials_ledger import ledger_command
from aiopt.errors import EXIT_FAILED, EXIT_OK

if TYPE_CHECKING:
    from aiopt.evaluation.folds import WalkForwardPlan
    from aiopt.ranking.trial_list import ListedTrial, TrialList, TrialOrder
    from aiopt.ranking.trials import TrialRow

_TOLD_EVERY = 256

_run_option = click.option("--run", "run_dir", type=PATH, required=True, help="Run folder.")


@click.group(epilog="Example: aiopt trials show rsi_reversion@5m-00003 --run runs/eurusd-default")
def command() -> None:
    """List the trials of a run, show one, backtest it again; show all ever made."""


@command.command(
    "list", epilog="Example: aiopt trials list --run runs/eurusd-default --group rsi_reversion@5m --top 10"
)
@_run_option
@click.option("--group", help="Trials of one group alone, e.g. rsi_reversion@5m.")
@click.option(
    "--sort",
    "order",
    type=click.Choice(["sharpe", "pnl", "trades", "id"]),
    default="sharpe",
    show_default=True,
    help="What comes first.",
)
@click.option("--failed", is_flag=True, help="Trials that failed, with the reason.")
@click.option("--top", type=click.IntRange(min=0), default=20, show_default=True, help="How many; 0 for all.")
@click.option("--skip", type=click.IntRange(min=0), default=0, help="Leave out so many of the first.")
@json_option
def list_command(
    run_dir: Path, group: str | None, order: TrialOrder, failed: bool, top: int, skip: int, as_json: bool
) -> None:
    """List the trials of a run with their in-sample figures, the best first.

    In-sample figures are no evidence: `aiopt runs show` has what the ranking made of them.  Works on an
    interrupted run too.
    """
    from aiopt.optimize.rerunning import listed_trials
    from aiopt.ranking.trial_list import list_trials
    from aiopt.ranking.trials import count_trials
    from aiopt.runs import load_run

    run = load_run(run_dir)
    total = None if run.trials_path is None else count_trials(run.trials_path)
    with progress("trials read", total, quiet_s=2.0) as report:
        rows = _told(listed_trials(run), report)
        found = list_trials(rows, order=order, group=group, failed=failed, top=top, skip=skip)
    document = {"run": str(run_dir), **msgspec.to_builtins(found)}
    emit(as_json, document, lambda console: _print_list(console, found, failed=failed, skip=skip))


def _told(rows: Iterable[ListedTrial], report: Callable[[float], None]) -> Iterator[ListedTrial]:
    """Yield rows and tell, now and then, how many of them were read."""
    for done, row in enumerate(rows, start=1):
        if done % _TOLD_EVERY == 0:
            report(done)
        yield row


def _print_list(console: Console, found: TrialList, *, failed: bool, skip: int) -> None:
    if failed:
        print_table(console, ("trial", "reason"), [(one.trial_id, one.error) for one in found.trials])
    else:
        columns = ("trial", number("trades"), number("P&L"), number("Sharpe"), "parameters")
        rows = [
            (
                one.trial_id,
                f"{one.trades:,}",
                f"{one.pnl:,.2f}",
                "-" if one.sharpe is None else f"{one.sharpe:.2f}",
                ", ".join(f"{name} {value}" for name, value in one.params.items()),
            )
            for one in found.trials
        ]
        print_table(console, columns, rows)
    kind = "failed" if failed else "with a result"
    before = f", after the first {skip:,}" if skip else ""
    console.print(
        f"{len(found.trials):,} of {found.matching:,} trials {kind}{before}; the run has {found.all:,}."
    )
    if not failed and found.trials:
        console.print("In-sample: no evidence. `aiopt runs show` says what the ranking made of them.")


@command.command("show", epilog="Example: aiopt trials show rsi_reversion@5m-00003 --run runs/eurusd-default")
@click.argument("trial_id")
@_run_option
@json_option
def show_command(trial_id: str, run_dir: Path, as_json: bool) -> None:
    """Show trial TRIAL_ID of a run: parameters, hashes, and its figures in every segment.

    Works on an interrupted run too: its journal holds the trials that had finished.
    """
    from aiopt.optimize.rerunning import find_trial
    from aiopt.ranking.kept_series import lacks_series
    from aiopt.runs import load_run

    row, plan = find_trial(load_run(run_dir), trial_id)
    segments = _segments(row, plan)
    document = {"run": str(run_dir), "trial": msgspec.to_builtins(row), "segments": segments}

    def human(console: Console) -> None:
        _print(console, row, segments)
        if lacks_series(row):
            console.print(
                "Its profits per period are in the journal alone: it is one of a large sweep. "
                f"Anew: `aiopt trials rerun {trial_id} --run {run_dir} --json`.",
                markup=False,
                soft_wrap=True,
            )

    emit(as_json, document, human)


@command.command(
    "rerun", epilog="Example: aiopt trials rerun rsi_reversion@5m-00003 --run runs/eurusd-default"
)
@click.argument("trial_id")
@_run_option
@click.option(
    "--conversion",
    type=PATH,
    help="Bars that converted the account's currency, if any did: the run folder does not keep them.",
)
@json_option
def rerun_command(trial_id: str, run_dir: Path, conversion: Path | None, as_json: bool) -> int:
    """Backtest trial TRIAL_ID again, on the run's own bars, and compare the two rows bit for bit.

    Exit code 1 if they differ.  Writes nothing.
    """
    from aiopt.optimize.rerunning import as_recorded, differences, find_trial, rerun_trial
    from aiopt.runs import load_run

    run = load_run(run_dir)
    row, plan = find_trial(run, trial_id)
    with progress("backtest, bars", row.n_bars or None, quiet_s=1.0) as report:
        again = rerun_trial(run, row, plan, conversion=conversion, progress=report)
    found = differences(row, as_recorded(row, again, plan))
    document = {
        "run": str(run_dir),
        "trial_id": trial_id,
        "equal": not found,
        "differences": {name: {"recorded": one, "now": other} for name, (one, other) in found.items()},
        "trial": msgspec.to_builtins(again),
    }

    def human(console: Console) -> None:
        _print(console, again, _segments(again, plan))
        if not found:
            console.print("The row is equal to the recorded one, bit for bit.")
            return
        console.print(f"[bold red]The row differs from the recorded one[/bold red] in {', '.join(found)}.")

    emit(as_json, document, human)
    return EXIT_OK if not found else EXIT_FAILED


command.add_command(ledger_command, "ledger")


def _segments(row: TrialRow, plan: WalkForwardPlan) -> list[dict[str, Any]]:
    """Return a trial's figures per segment, the holdout's last; none of a failed trial."""
    if not row.ok:
        return []
    found = []
    tests = set(plan.test)
    for span, places in (("segment", plan.development), ("holdout", plan.holdout)):
        for place, segment in enumerate(places):
            columns = {
                name: _at(getattr(row, f"{span}_{name}"), place)
                for name in (
                    "trades",
                    "wins",
                    "gross_profit",
                    "gross_loss",
                    "commission",
                    "refused",
                    "ruined",
                )
            }
            kind = "holdout" if span == "holdout" else "train, test" if segment in tests else "train"
            found.append(
                {
                    "segment": segment,
                    "kind": kind,
                    "start_ns": int(plan.boundaries_ns[segment]),
                    "stop_ns": int(plan.boundaries_ns[segment + 1]),
                    "net_profit": round(columns["gross_profit"] - columns["gross_loss"], 8),
                    **columns,
                }
            )
    return found


def _at(values: Sequence[float], place: int) -> float:
    return values[place] if place < len(values) else math.nan


def _print(console: Console, row: TrialRow, segments: Sequence[dict[str, Any]]) -> None:
    params = msgspec.json.decode(row.params_json)
    print_pairs(
        console,
        [
            ("trial", row.trial_id),
            ("status", row.status if row.ok else f"failed: {row.error}"),
            ("parameters", ", ".join(f"{name} {value}" for name, value in params.items()) or "none"),
            ("bars", f"{row.n_bars:,} of {row.instrument or ''} {row.timeframe}".replace("  ", " ")),
            ("spec hash", row.spec_hash[:12]),
            ("settings hash", row.config_hash[:12]),
            ("data hash", row.data_hash[:12]),
        ],
    )
    if not segments:
        return
    columns = ("from (UTC)", "used for", number("trades"), number("won"), number("PF"), number("P&L"))
    rows = [
        (
            minute_text(one["start_ns"]),
            one["kind"],
            f"{one['trades']:,}",
            f"{one['wins']:,}",
            f"{one['gross_profit'] / one['gross_loss']:.2f}" if one["gross_loss"] else "-",
            f"{one['net_profit']:,.2f}",
        )
        for one in segments
    ]
    print_table(console, columns, rows)
    events = [sum(one[name] for one in segments) for name in ("refused", "ruined")]
    if any(events):
        console.print(f"Margin refused {events[0]} entries; {events[1]} segments lost the account.")
