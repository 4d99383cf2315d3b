"""Pictures of many paths and many trials: paths, the walk-forward matrix, trade-offs, parameters.

Owns how they are laid out.  Knows nothing of run folders.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from aiopt.paths.paths_file import Cell, LanePaths
from aiopt.report.maps_document import LEVELS, Parameters, TradeOff
from aiopt.report.svg import Canvas, Linear, padded, short

_LEFT = 62.0
_STRONG = 3


def paths_chart(rows: Sequence[tuple[str, LanePaths]]) -> str:
    """Draw the Sharpe ratio of every path, one row per candidate, the walk-forward path beside them."""
    rows = [row for row in rows if row[1].median is not None]
    if not rows:
        return ""
    bottom = 12 + 30 * len(rows)
    canvas = Canvas(1080, bottom + 46, label="Sharpe ratio of every combinatorial path", minimum=700)
    values = [
        value for _, lane in rows for value in (*lane.sharpe, lane.walk_forward_sharpe) if value is not None
    ]
    x = Linear(*padded(values, include=(0.0,)), 260, canvas.width - 70)
    for tick in x.ticks(9):
        canvas.line(x(tick), 8, x(tick), bottom, "grid")
        canvas.text(x(tick), bottom + 17, short(tick), "tick", anchor="middle")
    canvas.line(x(0.0), 4, x(0.0), bottom, "zero")
    for place, (name, lane) in enumerate(rows):
        y = 26.0 + 30 * place
        canvas.text(250, y + 4, name, "label", anchor="end")
        if lane.low is not None and lane.high is not None:
            canvas.line(x(lane.low), y, x(lane.high), y, "whisker oos")
        for number, value in enumerate(lane.sharpe):
            if value is not None:
                canvas.circle(x(value), y, 4, "dot pathdot", tip=f"{name}, path {number + 1}: {short(value)}")
        if lane.median is not None:
            canvas.line(x(lane.median), y - 9, x(lane.median), y + 9, "median")
        own = lane.walk_forward_sharpe
        if own is not None:
            at = x(own)
            diamond = [(at, y - 7), (at + 7, y), (at, y + 7), (at - 7, y)]
            canvas.path(diamond, "diamond", close=True)
        canvas.text(canvas.width - 8, y + 4, short(lane.median or 0.0, signed=True), "value", anchor="end")
    canvas.text(
        (260 + canvas.width - 70) / 2, bottom + 38, "Sharpe ratio, out-of-sample", "label", anchor="middle"
    )
    return canvas.render()


def matrix_chart(cells: Sequence[Cell], *, own: tuple[int, int, bool]) -> str:
    """Draw the matrix: train lengths across, tests and kind of window down; `own` is outlined."""
    if not cells:
        return ""
    trains = sorted({cell.train for cell in cells})
    kinds = sorted({(cell.anchored, cell.test) for cell in cells})
    left, wide, tall = 210.0, min(110.0, 840.0 / len(trains)), 40.0
    canvas = Canvas(1080, int(26 + tall * len(kinds) + 30), label="Walk-forward matrix", minimum=560)
    found = {(cell.train, cell.test, cell.anchored): cell for cell in cells}
    size = max((abs(cell.sharpe) for cell in cells if cell.sharpe is not None), default=1.0) or 1.0
    canvas.text(left, 14, "train window, in segments →", "label")
    for row, (anchored, test) in enumerate(kinds):
        y = 22 + tall * row
        kind = "anchored" if anchored else "rolling"
        name = f"{kind}, test of {test} segment{'' if test == 1 else 's'}"
        canvas.text(left - 10, y + tall / 2 + 4, name, "tick", anchor="end")
        for column, train in enumerate(trains):
            at = left + wide * column
            cell = found.get((train, test, anchored))
            if cell is None or cell.sharpe is None:
                canvas.rect(at, y, wide - 2, tall - 2, "cell none", tip="no such walk-forward", radius=3)
                continue
            level = round(LEVELS * cell.sharpe / size)
            tip = (
                f"train {train}, test {test}, {kind}: Sharpe ratio {cell.sharpe:.2f}, "
                f"{short(cell.net_pnl, signed=True)} in {cell.trades} trades of {cell.folds} fold(s); "
                f"deflated {cell.deflated_sharpe or 0.0:.2f}"
            )
            css = f"cell {'n' if level < 0 else 'p'}{abs(level)}"
            canvas.rect(at, y, wide - 2, tall - 2, css, tip=tip, radius=3)
            strong = " strong" if abs(level) >= _STRONG else ""
            text = short(float(f"{cell.sharpe:.2g}"))
            canvas.text(at + wide / 2 - 1, y + tall / 2 + 3, text, f"cellvalue{strong}", anchor="middle")
    if own in found:
        row, column = kinds.index((own[2], own[1])), trains.index(own[0])
        canvas.rect(left + wide * column - 1, 21 + tall * row, wide, tall, "chosen", radius=4)
    for column, train in enumerate(trains):
        y = 22 + tall * len(kinds) + 14
        canvas.text(left + wide * column + wide / 2 - 1, y, str(train), "tick", anchor="middle")
    return canvas.render()


def trade_off_chart(points: Sequence[TradeOff], *, turnover: bool, unit: str) -> str:
    """Draw profit against drawdown, or against turnover; the front and the entries stand out."""
    if not points:
        return ""
    title = "Turnover, million units" if turnover else f"Deepest drawdown, {unit}"
    canvas = Canvas(520, 380, label=f"Profit against {title.lower()}")
    across = [point.units / 1e6 if turnover else point.drawdown for point in points]
    x = Linear(0.0, max(across) * 1.05 or 1.0, _LEFT, 506)
    y = Linear(*padded([point.net_pnl for point in points], include=(0.0,)), 330, 14)
    for tick in y.ticks(6):
        canvas.line(_LEFT, y(tick), 506, y(tick), "grid")
        canvas.text(_LEFT - 8, y(tick) + 4, short(tick), "tick", anchor="end")
    for tick in x.ticks(6):
        canvas.line(x(tick), 14, x(tick), 330, "grid")
        canvas.text(x(tick), 346, short(tick), "tick", anchor="middle")
    canvas.line(_LEFT, y(0.0), 506, y(0.0), "zero")
    order = sorted(range(len(points)), key=lambda i: (points[i].rank is not None, points[i].front))
    for i in order:
        point = points[i]
        name = f"Entry {point.rank}: {point.trial_id}" if point.rank is not None else point.trial_id
        tip = (
            f"{name}: {short(point.net_pnl, signed=True)} {unit}, drawdown {short(point.drawdown)}, "
            f"{short(point.units / 1e6)} million units"
        )
        css = "entry" if point.rank is not None else "frontdot" if point.front else "trial"
        radius = 5.5 if point.rank is not None else 3.6 if point.front else 2.6
        canvas.circle(x(across[i]), y(point.net_pnl), radius, f"dot {css}", tip=tip)
    canvas.text((_LEFT + 506) / 2, 370, title, "label", anchor="middle")
    return canvas.render()


def parameters_chart(found: Parameters) -> str:
    """Draw a line per trial across its parameters, coloured by what it earned out of sample."""
    canvas = Canvas(1080, 300, label=f"Parameters of {found.group}", minimum=700)
    step = (canvas.width - 140) / max(len(found.axes) - 1, 1)
    low, high = 250.0, 40.0

    def at(axis: int, place: float) -> tuple[float, float]:
        return 70 + step * axis, low + (high - low) * place

    for line in sorted(found.lines, key=lambda line: (line.rank is not None, abs(line.level), line.trial_id)):
        css = "pc entry" if line.rank is not None else f"pc {'n' if line.level < 0 else 'p'}{abs(line.level)}"
        canvas.path([at(i, place) for i, place in enumerate(line.places)], css)
    for i, axis in enumerate(found.axes):
        x, _ = at(i, 0.0)
        canvas.line(x, high, x, low, "axis")
        anchor = "start" if i == 0 else "end" if i == len(found.axes) - 1 else "middle"
        shift = -40.0 if i == 0 else 40.0 if i == len(found.axes) - 1 else 0.0
        canvas.text(x + shift, 14, axis.name, "axisname", anchor=anchor)
        if axis.choices:
            for number, choice in enumerate(axis.choices):
                _, y = at(i, number / max(len(axis.choices) - 1, 1))
                canvas.text(x + 6, y + 4, choice, "axisname")
            continue
        canvas.text(x, low + 17, short(axis.low), "tick", anchor="middle")
        canvas.text(x, high - 5, short(axis.high), "tick", anchor="middle")
    known = [line.sharpe for line in found.lines if line.sharpe is not None and math.isfinite(line.sharpe)]
    if known:
        text = f"Sharpe ratio out-of-sample from {short(min(known))} to {short(max(known))}"
        canvas.text(canvas.width / 2, 290, text, "label", anchor="middle")
    return canvas.render()
