"""The wording of the report's methods section.  Knows the `Report`; draws and computes nothing."""

from __future__ import annotations

from aiopt.report.document import Report

Section = tuple[str, list[str]]


def methods(report: Report) -> list[Section]:
    """Return the sections of "Methods and caveats": title and paragraphs."""
    sections = [
        _walk_forward(report),
        _backtest(report),
        _score(report),
        _luck(),
        _intervals(),
        _caveats(report),
    ]
    return [section for section in sections if section[1]]


def _walk_forward(report: Report) -> Section:
    folds = sum(stretch.kind == "oos" for stretch in report.stretches)
    shape = f" This run has {folds} such folds." if folds else ""
    return (
        "Walk-forward and holdout",
        [
            "The span is cut into segments. In each fold the parameters are chosen on the train segments "
            f"alone and then traded on the segment that follows.{shape} The profit of these test segments, "
            f"one after another, is the out-of-sample path. Positions are closed at each segment's end, so "
            f"folds do not affect one another. Each family and timeframe gives several candidates: the "
            f"first follows the best trial of every train window, the second the second best, and so on.",
            "The emitted parameters are those chosen on the last train window before the holdout. Nothing "
            "read the holdout until the ranking was fixed: it checks the ranking and never changes it.",
        ],
    )


def _backtest(report: Report) -> Section:
    backtest = report.config.get("backtest", {})
    charged = isinstance(backtest, dict) and backtest.get("swap") is not None
    swap = "Swap is charged at 17:00 New York, see the settings" if charged else "Swap is not charged"
    named = sorted({entry.stop_fills for entry in report.entries if entry.stop_fills})
    rule = f" One reached inside a bar: {'; '.join(named)}." if named else ""
    stops = (
        f"If a bar opens beyond a stop, the stop fills at the open.{rule} The Pine scripts fill stops at "
        "their own "
        "price, as TradingView does."
    )
    return (
        "Backtest",
        [
            "Signals are computed at the close of each bid bar and filled at the next bar's open: buys at "
            "the ask, sells at the bid, with commission and any slippage set below. Inside a bar the path "
            "is open, high, low, close if the high is nearer to the open, else open, low, high, close. The "
            f"engine is NautilusTrader. {swap}. Partial fills, outages and market impact are not modelled.",
            stops,
        ],
    )


def _score(report: Report) -> Section:
    text = report.score_formula
    return ("Score", [text] if text else [])


def _luck() -> Section:
    return (
        "Statistics against luck",
        [
            "Sharpe ratio: mean over standard deviation of the profit per period, scaled to a year by the "
            "square root of the number of periods in a year. On a short span this number is often large "
            "and means little: read the interval, not the value.",
            "Max-T p-value (Romano and Wolf, 2005, Econometrica 73(4), "
            "doi:10.1111/j.1468-0262.2005.00615.x): the out-of-sample paths of all candidates are "
            "resampled together, in blocks of time, each shifted to earn nothing on average. The p-value "
            "is the share of resamples in which the best of them has a t statistic (mean over standard "
            "error) as large as the candidate's. If no candidate has an edge, one sweep in twenty has a "
            "p-value of 0.05 or less. White's Reality Check (2000, Econometrica 68(5)) and Hansen's SPA "
            "test (2005, Journal of Business and Economic Statistics 23(4)) stand beside it.",
            "Deflated Sharpe ratio (Bailey and López de Prado, 2014, Journal of Portfolio Management "
            "40(5), doi:10.3905/jpm.2014.40.5.094): DSR = Φ((SR − SR0) √(T − 1) / √(1 − γ3 SR + (γ4 − 1)/4 "
            "SR²)), where SR0 = √V ((1 − γ) Φ⁻¹(1 − 1/N) + γ Φ⁻¹(1 − 1/(N e))) is the highest Sharpe "
            "ratio expected from N trials without skill whose ratios vary by V; γ is the Euler-Mascheroni "
            "constant, γ3 and γ4 are skewness and kurtosis. N counts every trial of the run, the losers "
            "too. V is what theory gives for trials without skill, 1/(T − 1); the page also shows the "
            "figure with the variance observed across all trials.",
            "Probability of backtest overfitting (Bailey, Borwein, López de Prado and Zhu, 2017, Journal "
            "of Computational Finance 20(4), doi:10.21314/JCF.2016.322): the time axis is cut into blocks; "
            "over all ways to use half of them for choosing and half for testing, PBO is the share in "
            "which the chosen trial ends in the worse half of the test. A blind choice gives 0.5.",
        ],
    )


def _intervals() -> Section:
    return (
        "Intervals",
        [
            "Confidence intervals come from the stationary block bootstrap (Politis and Romano, 1994, "
            "Journal of the American Statistical Association 89(428), doi:10.1080/01621459.1994.10476870), "
            "which keeps dependence in time. They do not account for the choice of the entry from many; "
            "the max-T p-value and the deflated Sharpe ratio do.",
        ],
    )


def _caveats(report: Report) -> Section:
    texts = [
        "The best of many look good by luck alone. Even noise gives an in-sample interval above zero; what "
        "counts is out of sample, then the holdout, then live trading.",
        "Parameter maps, breakdowns by hour and the trade list are mostly in-sample. They help you "
        "understand a strategy; they prove nothing.",
    ]
    names = ", ".join(data.instrument for data in report.all_data if data.synthetic)
    if report.synthetic:
        texts.insert(
            0,
            "The ticks of this run are synthetic: a random generator made them. A good figure here shows "
            f"that the search works, or luck. It says nothing about {names}.",
        )
    for data in report.all_data:
        if data.bars is None:
            continue
        where = "This run" if report.data is not None else f"The run on {data.instrument}"
        texts.append(
            f"{where} used bars of {data.timeframe}, not ticks, so what happened inside a bar is not "
            f"known. Where a bar reached both stop and target, the other one may have come first. "
            f"Spread: {data.spread}."
        )
    if report.markets:
        texts.append(
            "Several markets are ranked together. A trial's place depends on its own profits alone, in the "
            f"account's currency ({report.currency}); the number of trials that the deflated Sharpe ratio "
            "counts and the probability of backtest overfitting cover all markets. Trials on markets that "
            "move together (EURUSD and GBPUSD) are worth fewer independent tries than are counted."
        )
    return ("Caveats", texts)
