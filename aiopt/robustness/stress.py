"""The scenarios: every entry's walk-forward path, run again under each.

Owns how often each scenario is drawn, into which shares the runs are cut, and what is said of them.  A draw
depends on the seed, the scenario, the series and its number alone, so the same settings give the same figures
in any order, on any engine.  Knows no bars and no file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aiopt.robustness.distribution import fan, quantiles
from aiopt.robustness.robustness_config import COMMISSION_FACTORS, SCENARIOS, RobustnessConfig
from aiopt.robustness.robustness_file import Scenario
from aiopt.robustness.shares import PathFigures, StressOutcome, StressShare, Terms

BARS_DRAWN = 10_000_000
"""Bars that the draws of one scenario of one series may come to, together."""

FEWEST_DRAWS = 20
"""Runs of a scenario however long the series is, unless fewer are asked for."""

ENGINE_DRAWS = 5
"""Runs of a scenario where only NautilusTrader can run the entry: each takes a hundred times as long."""

RUNS_PER_SHARE = 5
"""Runs of a scenario that stay together: they share the indicators of unchanged bids."""

DRAWN = ("spread", "slippage", "missing_bars", "jitter", "bootstrap")
"""Scenarios of many draws; the others are one run, or one per market."""

_ALONE = (*(f"commission_{factor}" for factor in COMMISSION_FACTORS), "delay")


def draws_for(config: RobustnessConfig, n_bars: int, *, engine: bool = False) -> int:
    """Return how often a scenario is drawn on a series: fewer times where it is long, or in the engine."""
    if engine:
        return min(config.draws, ENGINE_DRAWS)
    return max(min(config.draws, FEWEST_DRAWS), min(config.draws, BARS_DRAWN // max(n_bars, 1)))


def extra_ticks(terms: Terms, draws: int) -> list[int]:
    """Return the extra slippage of each draw, geometric from 0 on."""
    return [
        int(terms.random("slippage", terms.name, draw).geometric(1 / (1 + terms.settings.slippage_ticks))) - 1
        for draw in range(draws)
    ]


def stress_shares(terms: Terms, draws: int) -> list[StressShare]:
    """Return the runs of all scenarios of some entries of a series, in shares.

    Of every scenario one backtest, drawn from the seed, is marked to be confirmed by NautilusTrader.

    Parameters
    ----------
    terms : Terms
        Of the series.
    draws : int
        From `draws_for`.
    """
    shares: list[StressShare] = []
    for name in SCENARIOS:
        if name == "jitter" and not any(one.moves for one in terms.entries):
            continue
        if name == "markets":
            runs: list[tuple[str, tuple[int, ...]]] = [(key, (0,)) for key, _ in terms.others.values()]
        elif name in _ALONE:
            runs = [(terms.name, (0,))]
        else:
            # Equal slippage gives equal paths: it is run once.
            numbers = sorted(set(extra_ticks(terms, draws))) if name == "slippage" else list(range(draws))
            pieces = [numbers[i : i + RUNS_PER_SHARE] for i in range(0, len(numbers), RUNS_PER_SHARE)]
            runs = [(terms.name, tuple(piece)) for piece in pieces]
        shares += _with_confirmation(terms, name, runs)
    return shares


def _with_confirmation(
    terms: Terms, name: str, runs: Sequence[tuple[str, tuple[int, ...]]]
) -> list[StressShare]:
    random = terms.random(f"confirm {name}", terms.name, 0)
    places = [place for place, one in enumerate(terms.entries) if name != "jitter" or one.moves is not None]
    chosen = -1 if terms.engine or not runs else int(random.integers(len(runs)))
    shares = []
    for number, (series, numbers) in enumerate(runs):
        confirm = None
        if number == chosen:
            place = places[int(random.integers(len(places)))]
            fold = int(random.integers(len(terms.entries[place].steps)))
            confirm = (numbers[int(random.integers(len(numbers)))], place, fold)
        shares.append(StressShare(terms, name, series, numbers, confirm))
    return shares


def scenarios_of(
    terms: Terms, draws: int, shares: Sequence[StressShare], outcomes: Sequence[StressOutcome]
) -> list[list[Scenario]]:
    """Return the scenarios of each entry, in the order of `SCENARIOS`, from what their shares gave."""
    found: list[list[Scenario]] = [[] for _ in terms.entries]
    for name in SCENARIOS:
        runs: list[list[PathFigures | None]] = []
        by_number: dict[int, list[PathFigures | None]] = {}
        for share, outcome in zip(shares, outcomes, strict=True):
            if share.scenario == name:
                runs += outcome.found
                by_number.update(zip(share.runs, outcome.found, strict=True))
        if name == "slippage":
            runs = [by_number[ticks] for ticks in extra_ticks(terms, draws)]
        for place, scenarios in enumerate(found):
            own = [figures for run in runs if (figures := run[place]) is not None]
            scenarios.append(_scenario(name, own, terms))
    return found


def _scenario(name: str, paths: Sequence[PathFigures], terms: Terms) -> Scenario:
    if not paths:
        lacking = "no parameter was searched" if name == "jitter" else "the run has no other market"
        return Scenario(name=name, text=f"does not apply: {lacking}", draws=0)
    profits = [path.net_pnl for path in paths]
    return Scenario(
        name=name,
        text=_text(name, terms.settings, terms.others),
        draws=len(paths),
        net_pnl=quantiles(profits),
        sharpe=quantiles([path.sharpe for path in paths]),
        max_drawdown_amount=quantiles([path.drawdown for path in paths]),
        share_profitable=sum(profit > 0 for profit in profits) / len(profits),
        fan=fan([path.curve for path in paths]) if name in DRAWN else [],
    )


def _text(name: str, config: RobustnessConfig, others: Mapping[str, object]) -> str:
    """Return what a scenario does, in words."""
    texts = {
        "spread": f"spread wider by {config.spread_pips:g} pips on average, drawn hour by hour",
        "slippage": f"market and stop fills worse by {config.slippage_ticks:g} ticks on average",
        "delay": f"entries {config.delay_bars} bar{'s' if config.delay_bars > 1 else ''} late",
        "missing_bars": (
            f"{100 * config.missing_share:.3g} % of the bars missing, "
            f"in gaps of {config.missing_gap_bars:g} bars"
        ),
        "jitter": f"every parameter moved by up to {100 * config.jitter:.3g} % of the range tried",
        "bootstrap": f"bars rebuilt from blocks of {config.block_hours:g} hours of the test segments",
        "markets": f"the same rules on {', '.join(others)}",
    }
    return texts.get(name) or f"commission times {name.removeprefix('commission_')}"
