"""The report in plain sentences.  Owns the wording of what was tried, what survived and what that means."""

from __future__ import annotations

from collections.abc import Sequence

from aiopt.report.document import Data, Entry, Sweep
from aiopt.report.svg import utc
from aiopt.utc import time_text


def unranked_headline(trials: int | None, failed: int) -> str:
    """Return the headline of a run that has no ranking yet; None: its sweep has not begun."""
    if trials is None:
        return "No trial has been recorded yet."
    of_them = f" ({failed:,} of them failed)" if failed else ""
    return f"{_number(trials, 'trial')} recorded{of_them}, not ranked yet."


def sentences(
    sweep: Sweep | None,
    entries: Sequence[Entry],
    markets: Sequence[Data],
    *,
    rejected: int,
    currency: str,
    span: tuple[int, int] | None = None,
    earlier: Sequence[str] = (),
) -> list[str]:
    """Return the summary's sentences: what was tried, what the best trial is worth, what survived.

    Of several markets also what it means that they stand together; `span` is the time they share.  `earlier`
    says what was tried on the data before.
    """
    if sweep is None:
        return ["The run has no trials yet, so there is nothing to judge."]
    found = [_tried(sweep, markets), *earlier]
    if len(markets) > 1:
        found.append(_together(sweep, [data.instrument for data in markets], span))
    if sweep.share_profitable is not None:
        found.append(_typical(sweep.share_profitable, sweep.median_sharpe))
    if sweep.best_sharpe is not None and sweep.expected_maximum_sharpe is not None:
        found.append(_luck(sweep.best_sharpe, sweep.expected_maximum_sharpe, sweep.counted))
    if sweep.rank_correlation is not None:
        found.append(_agreement(sweep.rank_correlation))
    found.append(_survivors(entries, rejected, currency))
    return found


def _tried(sweep: Sweep, markets: Sequence[Data]) -> str:
    families = len({group.family for group in sweep.groups})
    frames = len({group.timeframe for group in sweep.groups})
    text = (
        f"{_number(sweep.trials, 'trial')} of {_number(families, 'strategy family', 'strategy families')} on "
        f"{_number(frames, 'timeframe')} were backtested"
    )
    spread = ""
    if markets:
        text += f" on {'; '.join(_amount(data) for data in markets)}"
        spreads = {data.instrument: data.spread for data in markets}
        if len(set(spreads.values())) == 1:
            spread = f" Spread: {markets[0].spread}."
        else:
            spread = "".join(f" Spread of {symbol}: {known}." for symbol, known in spreads.items())
    failed = f" {_number(sweep.failed, 'trial')} failed; they count as tried." if sweep.failed else ""
    return f"{text}.{spread}{failed}"


def _amount(data: Data) -> str:
    kind = "synthetic " if data.synthetic else ""
    text = f"{kind}{data.instrument} data"
    if data.ticks is not None:
        text = f"{data.ticks:,} {kind}{data.instrument} ticks"
    elif data.bars is not None:
        text = f"{data.bars:,} {kind}{data.instrument} bars of {data.timeframe}"
    if data.start_ns is not None and data.stop_ns is not None:
        text += f" from {_day(data.start_ns)} to {_day(data.stop_ns)}"
    return text


def _together(sweep: Sweep, symbols: Sequence[str], span: tuple[int, int] | None) -> str:
    names = f"{', '.join(symbols[:-1])} and {symbols[-1]}"
    when = ""
    if span is not None:
        first, last = (time_text(edge, "m") for edge in span)
        when = f"They are traded and judged from {first} to {last} UTC, the time all of them share. "
    return (
        f"{names} stand in one ranking. {when}All {sweep.trials:,} trials count "
        "as tries for every entry. Markets that move together are not independent tries and not independent "
        "proofs: the deflated Sharpe ratio counts them as if they were, which makes it stricter, never "
        "kinder, and an entry on a second, correlated market confirms little."
    )


def _luck(best: float, expected: float, trials: int) -> str:
    text = (
        f"In hindsight the best trial has an out-of-sample Sharpe ratio of {_ratio(best)}. The best of "
        f"{_number(trials, 'trial')} without any skill would have about {_ratio(expected)}"
    )
    if best <= expected:
        return f"{text}, so the best result is no evidence of skill."
    return f"{text}. The best result is above that, but this alone does not mean that it will repeat."


def _agreement(correlation: float) -> str:
    if correlation < 0.1:
        verdict = (
            "trials that did well in-sample did not do well afterwards, so choosing parameters did not help"
        )
    elif correlation < 0.4:
        verdict = "doing well in-sample says little about doing well afterwards"
    else:
        verdict = "trials that did well in-sample tended to do well afterwards too"
    value = _ratio(correlation)
    return f"The rank correlation of in-sample and out-of-sample Sharpe ratios is {value}: {verdict}."


def _survivors(entries: Sequence[Entry], rejected: int, currency: str) -> str:
    if not entries:
        why = (
            f" {_number(rejected, 'candidate')} did not qualify; the reasons are listed below."
            if rejected
            else ""
        )
        return f"No strategy was ranked.{why}"
    out = [entry.window("out_of_sample") for entry in entries]
    earning = sum(window is not None and (window.net_pnl or 0.0) > 0 for window in out)
    hold = [entry.window("holdout") for entry in entries]
    holding = sum(window is not None and (window.net_pnl or 0.0) > 0 for window in hold)
    passing = sum(entry.survives for entry in entries)
    text = (
        f"Of {_number(len(entries), 'ranked strategy', 'ranked strategies')}, {earning} made money out-of-"
        f"sample and {holding} in the holdout, after all costs in {currency}."
    )
    if not passing:
        return f"{text} None passes every check: treat them as noise until new data says otherwise."
    return f"{text} {passing} pass every check; their sections say by how much."


def _typical(share: float, median: float | None) -> str:
    text = f"{100 * share:.0f}% of the trials earned money out-of-sample"
    return f"{text}; the median Sharpe ratio is {_ratio(median)}." if median is not None else f"{text}."


def _number(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _ratio(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _day(ns: int) -> str:
    moment = utc(ns)
    return f"{moment.day} {moment.strftime('%B %Y')}"
