"""The stage that runs the ranked entries of a run again: reads its files, writes ``robustness.json``.

Owns which files it is fed from.  What is measured is `aiopt.robustness`' matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from aiopt.bars.schema import BarSet
from aiopt.config import canonical_json
from aiopt.files import atomic_write_bytes
from aiopt.ranking.ranking_file import Ranking
from aiopt.robustness.measuring import Robustly, RunShares, in_this_process
from aiopt.robustness.ranks import TrialProfits
from aiopt.robustness.robustness_config import RobustnessConfig
from aiopt.robustness.robustness_file import Robustness
from aiopt.runs import RANKING, ROBUSTNESS, TRIALS, read_json
from aiopt.sweep.points import Strategy
from aiopt.sweep.trial import TrialContext


def write_robustness(
    run_dir: Path,
    bars: Mapping[str, BarSet],
    context: TrialContext,
    strategies: Sequence[Strategy],
    config: RobustnessConfig,
    run: RunShares = in_this_process,
) -> Robustness | None:
    """Measure the ranked entries of a run and write what was found; their order stays.

    Parameters
    ----------
    run_dir : Path
        With ``ranking.json`` and ``trials.parquet``.
    bars : mapping of str to BarSet
        Per series.
    context : TrialContext
        Of the sweep.
    strategies : sequence of Strategy
        What was swept.
    config : RobustnessConfig
        What the entries are put through.
    run : callable
        Runs shares of the work, anywhere.

    Returns
    -------
    Robustness or None
        None where the stage is off or nothing is ranked; no file is left then.

    Raises
    ------
    ScreenMismatchError
        As `Robustly.measure`.
    """
    (run_dir / ROBUSTNESS).unlink(missing_ok=True)
    ranking = read_json(run_dir / RANKING, Ranking)
    if not config.enabled or not ranking.entries:
        return None
    spaces = {one.family: one.space for one in strategies if one.space is not None}
    trials = TrialProfits.read(run_dir / TRIALS)
    found = Robustly(ranking, bars, context, spaces, config, trials).measure(run)
    atomic_write_bytes(run_dir / ROBUSTNESS, canonical_json(found))
    return found
