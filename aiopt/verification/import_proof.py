"""Show on bars that an imported strategy trades as the script it was read from, in the user's Pine engine.

Both texts run over the same bars: the original as it is, and what the emitter writes of the strategy, with
the costs that the original declares.  Knows nothing of how the script was read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from aiopt.bars.schema import BarArrays
from aiopt.market.instrument import instrument
from aiopt.pine.emitter import emit
from aiopt.pine.fixing.fixing import fix_script
from aiopt.pine.form import MAX_COMMISSION_PCT, MAX_SLIPPAGE_TICKS, ScriptCosts, ScriptForm
from aiopt.pine.importing.importing import Imported
from aiopt.pine.parsing.nodes import Argument
from aiopt.pine.parsing.parser import parse_script
from aiopt.pine.parsing.walk import walk
from aiopt.pine.provenance import Provenance
from aiopt.verification.pine_runs import PineJob, PineRun, PineRunError, PineRunner, PineTrade


class ImportProof(msgspec.Struct, frozen=True, kw_only=True):
    """What both runs showed.

    Attributes
    ----------
    engine : str
        Name and version.
    instrument, timeframe : str
        Of the bars.
    bars : int
        How many.
    synthetic : bool
        Whether they were generated.
    trades : int
        Closed trades of the original.
    sizes_compared : bool
        Whether sizes were compared; not where the script's size is none a strategy can have.
    difference : str or None
        The first difference; None where there is none.
    """

    engine: str
    instrument: str
    timeframe: str
    bars: int
    synthetic: bool
    trades: int
    sizes_compared: bool
    difference: str | None

    @property
    def is_equal(self) -> bool:
        """Whether all trades are the same, and there is at least one."""
        return self.difference is None and self.trades > 0

    @property
    def text(self) -> str:
        """What was shown, in one sentence."""
        kind = "generated " if self.synthetic else ""
        where = f"{self.bars:,} {kind}{self.timeframe} bars of {self.instrument} in {self.engine}"
        if self.difference is not None:
            return f"DIFFERENT on {where}: {self.difference}"
        if not self.trades:
            return f"no trade was made on {where}, so nothing is proved. Give other or more bars."
        what = "entry and exit bar, side, prices to the tick" + (", size" if self.sizes_compared else "")
        return f"{self.trades} closed trades are the same on {where} ({what})."


@dataclass(frozen=True)
class ImportTask:
    """A script and what was read of it."""

    script: str
    imported: Imported


def prove_imports(
    tasks: Sequence[ImportTask], runner: PineRunner, bars: BarArrays
) -> list[ImportProof | PineRunError]:
    """Run scripts and the strategies read from them; return what was shown of each.

    Parameters
    ----------
    tasks : sequence of ImportTask
        Of which each has a strategy.
    runner : PineRunner
        The user's engine.
    bars : BarArrays
        One price side.

    Returns
    -------
    list of ImportProof or PineRunError
        In the order of `tasks`; the error where the engine could not run one of the two texts.
    """
    texts = [text for task in tasks for text in (runnable(task.script), rewritten(task.imported, bars))]
    jobs = [PineJob(text, bars) for text in texts]
    answers = runner.run_many(jobs)
    found: list[ImportProof | PineRunError] = []
    for task, original, ours in zip(tasks, answers[::2], answers[1::2], strict=True):
        if isinstance(original, PineRunError):
            found.append(original)
        elif isinstance(ours, PineRunError):
            found.append(ours)
        else:
            found.append(_proof(task.imported, original, ours, runner, bars))
    return found


def runnable(script: str) -> str:
    """Return a script with ``when=`` of version 5 as an ``if``, the rest as it is.

    The engine does not know ``when``; `aiopt pine fix` writes the same by its rule.
    """
    parsed = parse_script(script)
    uses_when = parsed.version == 5 and any(
        isinstance(node, Argument) and node.name == "when" for node in walk(parsed.tree)
    )
    return fix_script(script).after if uses_when else script


def rewritten(imported: Imported, bars: BarArrays) -> str:
    """Return the strategy as our emitter writes it, with the costs that the original declares."""
    assert imported.spec is not None
    costs = ScriptCosts(
        commission_pct=min(imported.commission_pct, MAX_COMMISSION_PCT),
        slippage_ticks=min(imported.slippage_ticks, MAX_SLIPPAGE_TICKS),
    )
    return emit(
        imported.spec,
        provenance=Provenance(),
        instrument=instrument(bars.instrument),
        initial_balance=imported.initial_balance,
        form=ScriptForm(costs=costs, alerts=False, plots=False),
    )


def _proof(
    imported: Imported, original: PineRun, ours: PineRun, runner: PineRunner, bars: BarArrays
) -> ImportProof:
    tick = instrument(bars.instrument).tick_size
    return ImportProof(
        engine=runner.engine.title,
        instrument=bars.instrument,
        timeframe=bars.timeframe.label,
        bars=len(bars),
        synthetic=bars.synthetic,
        trades=len(original.closed),
        sizes_compared=imported.is_sized,
        difference=_difference(original, ours, tick, sizes=imported.is_sized),
    )


def _difference(original: PineRun, ours: PineRun, tick: float, *, sizes: bool) -> str | None:
    for what, left, right in (
        ("closed trade", original.closed, ours.closed),
        ("open trade", original.open, ours.open),
    ):
        for number, (one, other) in enumerate(zip(left, right, strict=False), start=1):
            if _told(one, tick, sizes=sizes) != _told(other, tick, sizes=sizes):
                return f"{what} {number}: the script {_text(one)}, the strategy {_text(other)}"
        if len(left) != len(right):
            number = min(len(left), len(right)) + 1
            more, rest = ("script", left) if len(left) > len(right) else ("strategy", right)
            return f"{what} {number} is in the {more} alone: {_text(rest[number - 1])}"
    return None


def _told(trade: PineTrade, tick: float, *, sizes: bool) -> tuple[object, ...]:
    prices = (trade.entry_price, trade.exit_price)
    ticks = tuple(None if price is None else round(price / tick) for price in prices)
    return (trade.side, trade.entry_bar, trade.exit_bar, *ticks, trade.size if sizes else None)


def _text(trade: PineTrade) -> str:
    end = "still open" if trade.exit_bar is None else f"to bar {trade.exit_bar} at {trade.exit_price:.10g}"
    return f"{trade.side} from bar {trade.entry_bar} at {trade.entry_price:.10g} {end}"
