"""The entries together: pictures and words of ``portfolio.json`` for the page.  Computes no figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from aiopt.portfolio.portfolio_file import (
    EQUAL_RISK,
    EQUAL_WEIGHT,
    INVERSE_VOLATILITY,
    LACKING,
    SIZINGS,
    Combination,
    LeftOut,
    PathFigures,
    RunPortfolio,
)
from aiopt.report import charts
from aiopt.report.document import Stretch
from aiopt.report.svg import Canvas

_STYLES = {EQUAL_RISK: "oos main", INVERSE_VOLATILITY: "holdout", EQUAL_WEIGHT: "emitted"}

_CELL = 62.0
_STRONG = 3
"""Levels of colour from which on a cell's text is light."""


@dataclass(frozen=True)
class PortfolioView:
    """What the page shows of a portfolio.

    Attributes
    ----------
    found : RunPortfolio
        The figures.
    equity, forest, periods, days : Markup
        Pictures: the combinations over time, Sharpe ratios with intervals, correlations per period and day.
    risk : Combination
        By equal risk.
    sentence : str
        What it comes to.
    sizings : dict of str to str
        Ways to size positions, in words.
    lacking : str
        What the strategy language cannot size by.
    """

    found: RunPortfolio
    equity: Markup
    forest: Markup
    periods: Markup
    days: Markup
    risk: Combination
    sentence: str
    sizings: dict[str, str]
    lacking: str


def portfolio_view(
    found: RunPortfolio | None, stretches: Sequence[Stretch], balance: float, currency: str
) -> PortfolioView | None:
    """Return what the page shows; None where a run has no portfolio."""
    if found is None:
        return None
    names = [str(entry.rank) for entry in found.entries]
    return PortfolioView(
        found=found,
        equity=Markup(_equity(found, stretches, balance, currency)),
        forest=Markup(_forest(found)),
        periods=Markup(correlation_map(names, found.correlation, title="Correlation per period")),
        days=Markup(correlation_map(names, found.daily_correlation, title="Correlation per day")),
        risk=found.best_known,
        sentence=sentence(found),
        sizings=SIZINGS,
        lacking=LACKING,
    )


def sentence(found: RunPortfolio) -> str:
    """Return what combining the entries comes to, in words."""
    whole = found.best_known.figures
    best = max((_ratio(entry.figures) for entry in found.entries), default=-math.inf)
    if whole.sharpe is None or math.isinf(best):
        return "The combination has no Sharpe ratio out of sample: its profit does not vary."
    text = (
        f"By equal risk the {len(found.entries)} entries together have a Sharpe ratio of "
        f"{_text(whole.sharpe)} out of sample; the best of them alone has {_text(best)}"
    )
    text += ", known only in hindsight." if best > whole.sharpe else "."
    helping = [one for one in found.left_out if one.sharpe_added is not None and one.sharpe_added > 0]
    sure = len([one for one in found.left_out if _sure(one)])
    return (
        f"{text} {len(helping)} of {len(found.left_out)} entries raise the Sharpe ratio of the combination; "
        f"for {sure or 'none'} of them the profit added is more than chance gives."
    )


def _text(ratio: float) -> str:
    return f"{ratio:.2f}".replace("-", "−")


def _sure(one: LeftOut) -> bool:
    return one.pnl_added_low is not None and one.pnl_added_low > 0


def _ratio(figures: PathFigures) -> float:
    return -math.inf if figures.sharpe is None else figures.sharpe


def _equity(found: RunPortfolio, stretches: Sequence[Stretch], balance: float, currency: str) -> str:
    step = found.ts_ns[1] - found.ts_ns[0] if len(found.ts_ns) > 1 else 0
    times = [*found.ts_ns[:1], *(ts + step for ts in found.ts_ns)]
    paths = []
    for one in sorted(found.combinations, key=lambda one: one.method == EQUAL_RISK):
        equity, value = [balance], balance
        for profit in one.pnl:
            value += profit
            equity.append(value)
        paths.append(charts.Path(one.method.capitalize(), _STYLES[one.method], times, equity))
    tested = [stretch for stretch in stretches if stretch.kind == "oos"]
    regions = [charts.Region(one.kind, one.label, one.start_ns, one.stop_ns) for one in tested]
    return charts.equity_chart(paths, regions, unit=currency)


def _forest(found: RunPortfolio) -> str:
    rows = [_interval(f"Entry {entry.rank}", "is", entry.figures) for entry in found.entries]
    rows += [_interval(one.method.capitalize(), "oos", one.figures) for one in found.combinations]
    return charts.forest_plot(
        [row for row in rows if row is not None], title="Sharpe ratio with its interval"
    )


def _interval(label: str, css: str, figures: PathFigures) -> charts.Interval | None:
    if figures.sharpe is None:
        return None
    return charts.Interval(label, css, figures.sharpe, figures.sharpe_low, figures.sharpe_high)


def correlation_map(names: Sequence[str], values: Sequence[Sequence[float | None]], *, title: str) -> str:
    """Draw a matrix of correlations from -1 to 1, each cell with its number."""
    size = min(_CELL, 430.0 / max(len(names), 1))
    left, top = 64.0, 26.0
    canvas = Canvas(520, int(top + size * len(names) + 12), label=title, minimum=320)
    for column, name in enumerate(names):
        canvas.text(left + size * (column + 0.5), 16, f"Entry {name}", "tick", anchor="middle")
    for row, name in enumerate(names):
        y = top + size * row
        canvas.text(left - 8, y + size / 2 + 4, f"Entry {name}", "tick", anchor="end")
        for column, value in enumerate(values[row]):
            x = left + size * column
            if value is None:
                canvas.rect(x, y, size - 2, size - 2, "cell none", tip="does not vary", radius=3)
                continue
            level = round(4 * value)
            css = f"cell {'n' if level < 0 else 'p'}{abs(level)}"
            tip = f"Entry {name} and entry {names[column]}: {value:.3f}"
            canvas.rect(x, y, size - 2, size - 2, css, tip=tip, radius=3)
            strong = " strong" if abs(level) >= _STRONG else ""
            text = f"{value:.2f}".replace("-", "−")
            canvas.text(x + size / 2 - 1, y + size / 2 + 3, text, f"cellvalue{strong}", anchor="middle")
    return canvas.render()
