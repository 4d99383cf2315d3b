"""The folds of an entry as a picture: what each trained on, left out and tested, and what it earned.

Owns its layout alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from aiopt.report.document import Fold, Stretch
from aiopt.report.svg import Canvas, Linear, short, time_ticks

_LEFT, _RIGHT, _ROW = 62.0, 14.0, 30.0


def folds_chart(folds: Sequence[Fold], stretches: Sequence[Stretch], *, unit: str) -> str:
    """Draw one row per fold over one time axis.

    Parameters
    ----------
    folds : sequence of Fold
        In order of time.
    stretches : sequence of Stretch
        Of the run; its holdout is marked.
    unit : str
        Currency of the profits.
    """
    if not folds:
        return ""
    bottom = 10 + _ROW * len(folds)
    canvas = Canvas(1080, int(bottom + 30), label="Walk-forward folds over time", minimum=700)
    start = min(fold.train_start_ns for fold in folds)
    holdout = next((one for one in stretches if one.kind == "holdout"), None)
    stop = max(fold.test_stop_ns for fold in folds) if holdout is None else holdout.stop_ns
    x = Linear(float(start), float(stop), _LEFT, canvas.width - _RIGHT)
    if holdout is not None:
        left, right = x(holdout.start_ns), x(holdout.stop_ns)
        canvas.rect(left, 8, right - left, bottom - 8, "region holdout")
        canvas.hatch(left, 8, right - left, bottom - 8, "hatch holdout")
        canvas.text((left + right) / 2, bottom / 2 + 8, "Holdout", "regionname holdout", anchor="middle")
    for row, fold in enumerate(folds):
        _draw_fold(canvas, fold, x, y=12 + _ROW * row, unit=unit, beyond=holdout is None)
    canvas.line(_LEFT, bottom, canvas.width - _RIGHT, bottom, "axis")
    for ns, label in time_ticks(start, stop, 9):
        canvas.line(x(ns), bottom, x(ns), bottom + 5, "axis")
        fits = x(ns) + 4 * len(label) <= canvas.width
        canvas.text(x(ns), bottom + 19, label, "tick", anchor="middle" if fits else "end")
    return canvas.render()


def _draw_fold(canvas: Canvas, fold: Fold, x: Linear, *, y: float, unit: str, beyond: bool) -> None:
    tall = _ROW - 8
    canvas.text(_LEFT - 8, y + tall / 2 + 4, f"Fold {fold.number}", "tick", anchor="end")
    left, right = x(fold.train_start_ns), x(fold.train_stop_ns)
    tip = f"Fold {fold.number} chose {fold.trial_id}, Sharpe ratio {_ratio(fold.in_sample_sharpe)} in-sample"
    canvas.rect(left, y, right - left, tall, "foldtrain", tip=tip, radius=3)
    first, last = x(fold.test_start_ns), x(fold.test_stop_ns)
    if first - right > 1:
        canvas.hatch(right, y, first - right, tall, "hatch train", gap=5)
    name = fold.trial_id if right - left > 6.4 * len(fold.trial_id) + 12 else f"#{fold.trial_id[-5:]}"
    if right - left > 6.4 * len(name) + 12:
        canvas.text(left + 7, y + tall / 2 + 4, name, "foldname")
    earned = fold.pnl or 0.0
    text = f"{short(earned, signed=True)} {unit}, Sharpe {_ratio(fold.out_of_sample_sharpe)}"
    css = "bar gain" if earned >= 0 else "bar loss"
    canvas.rect(first, y, last - first, tall, css, tip=f"Fold {fold.number} tested: {text}", radius=3)
    short_text = short(earned, signed=True)
    room = last - first
    if room > 6.6 * len(text) + 10:
        canvas.text((first + last) / 2, y + tall / 2 + 4, text, "cellvalue strong", anchor="middle")
    elif room > 6.6 * len(short_text) + 6:
        canvas.text((first + last) / 2, y + tall / 2 + 4, short_text, "cellvalue strong", anchor="middle")
    elif beyond and last + 6.6 * len(short_text) + 10 < canvas.width:
        canvas.text(last + 5, y + tall / 2 + 4, short_text, "tick")


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}".replace("-", "−")
