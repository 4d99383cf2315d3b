"""The report as one self-contained HTML page: no network, readable without scripts, light, dark and print.

Owns wording of numbers and which picture stands where.  Knows nothing of run folders: it is given a `Report`.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from aiopt import __version__
from aiopt.report import charts, path_charts
from aiopt.report.document import Analyst, Curve, Data, Entry, Fact, Reading, Report, Stretch, Sweep
from aiopt.report.fold_chart import folds_chart
from aiopt.report.maps_document import SweepMaps
from aiopt.report.methods import methods
from aiopt.report.paths_view import PathsView
from aiopt.report.portfolio import portfolio_view
from aiopt.report.robustness import MONTHS, entry_views
from aiopt.report.searches import search_pictures
from aiopt.report.svg import short, utc
from aiopt.report.verification import NOT_VERIFIED
from aiopt.robustness.robustness_file import confirmed_text
from aiopt.utc import time_text

MOST_TRADES = 250
"""Trades of an entry shown on the page; all of them are in ``trades.csv``."""

_MINUS = "−"
_WINDOWS = (
    ("in_sample", "In-sample", "is"),
    ("out_of_sample", "Out-of-sample", "oos"),
    ("holdout", "Holdout", "holdout"),
)


def render_html(report: Report, images: Mapping[str, bytes] | None = None) -> str:
    """Return the page of a report.

    Parameters
    ----------
    report : Report
        What to say.
    images : mapping of str to bytes, optional
        The analyst's pictures, PNG by name; those missing are left out.

    The same report gives the same text: nothing is read from the clock, the host or the environment.
    """
    return (
        page_environment()
        .get_template("report.html.j2")
        .render(
            r=report,
            pictures={entry.rank: _entry_pictures(entry, report) for entry in report.entries},
            sweep_pictures=_sweep_pictures(report.sweep) if report.sweep else {},
            map_pictures=_map_pictures(report.maps, report.currency) if report.maps else {},
            searched=report.searches or None,
            screened=report.screened or None,
            search_pictures=search_pictures(report.searches) if report.searches else [],
            path_pictures=_path_pictures(report.paths) if report.paths else {},
            data_pictures=[_data_picture(data) for data in report.all_data],
            run_facts=_run_facts(report),
            settings=_columns(flatten(report.config)),
            methods=methods(report),
            not_verified=NOT_VERIFIED,
            robust=entry_views(report.robustness, report.currency),
            stress_run="" if report.robustness is None else confirmed_text(report.robustness),
            month_names=MONTHS,
            together=portfolio_view(
                report.portfolio or None, report.stretches, report.initial_balance, report.currency
            ),
            readings=_readings(report.analyst, images or {}) if report.analyst else [],
            most_trades=MOST_TRADES,
            version=report.versions.get("aiopt", __version__),
            style=Markup(asset("style.css")),
            script=Markup(asset("script.js")),
        )
    )


def page_environment() -> jinja2.Environment:
    """Return what renders the templates beside the reports: their filters, and values always escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(asset),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters.update(
        {
            "count": count,
            "money": money,
            "ratio": ratio,
            "percent": percent,
            "decimals": decimals,
            "stamp": stamp,
            "badge": badge,
            "breakable": breakable,
            "brief": brief,
            "year": lambda ns: utc(ns).year,
            "day": day,
            "figure": figure,
            "short": lambda value: short(value, signed=True),
            "moment": moment,
            "plain": plain,
            "words": lambda text: str(text).replace("_", " "),
            "part": part_of,
        }
    )
    return environment


def count(value: float | None) -> str:
    """Return a whole number with thousands separators; a dash for None."""
    return "–" if value is None else f"{value:,.0f}".replace("-", _MINUS)


def money(value: float | None) -> str:
    """Return an amount with sign and two decimals."""
    return "–" if value is None else f"{value:+,.2f}".replace("-", _MINUS)


def ratio(value: float | None) -> str:
    """Return a ratio with two decimals and a true minus sign; infinity as a sign."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else _MINUS + "∞"
    return f"{value:.2f}".replace("-", _MINUS)


def decimals(value: float | None, places: int = 2) -> str:
    """Return a number with a fixed number of decimals; a dash for None."""
    return "–" if value is None or math.isnan(value) else f"{value:.{places}f}".replace("-", _MINUS)


def percent(value: float | None, places: int = 1) -> str:
    """Return a fraction in per cent."""
    return "–" if value is None or math.isnan(value) else f"{100 * value:.{places}f}%".replace("-", _MINUS)


def stamp(ns: int) -> str:
    """Return a UTC time to the minute."""
    return time_text(ns, "m")


def breakable(name: str) -> Markup:
    """Return a name that may be broken into lines after each underscore."""
    return Markup("_<wbr>").join(str(name).split("_"))


def badge(grade: str) -> str:
    """Return a verdict as short as a badge needs it."""
    return "no evidence" if grade.startswith("no evidence") else grade


def figure(value: float | None) -> str:
    """Return a figure of unknown unit: two decimals, or three where it is below 1 in size."""
    if value is None or math.isnan(value):
        return "–"
    return decimals(value, 2 if abs(value) >= 1 else 3)


def brief(ns: int, with_year: bool = False) -> str:
    """Return a UTC time to the minute without its year, ``2 May 06:30``, or its day with the year."""
    if with_year:
        return day(ns)
    at = utc(ns)
    return f"{at.day} {at.strftime('%b %H:%M')}"


def day(ns: int) -> str:
    """Return a UTC day, e.g. ``1 May 2014``."""
    at = utc(ns)
    return f"{at.day} {at.strftime('%b %Y')}"


def moment(text: str) -> str:
    """Return an ISO 8601 time in UTC to the minute; other text as it is."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC") if at.tzinfo else text


def plain(value: Any) -> str:
    """Return a setting or parameter as people write it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}".replace("-", _MINUS)
    if isinstance(value, list | tuple):
        return ", ".join(plain(item) for item in value) or "none"
    return str(value)


def part_of(ns: int, stretches: Sequence[Stretch]) -> str:
    """Return ``"holdout"`` for a time inside the holdout, else ``"development"``."""
    inside = any(stretch.kind == "holdout" and stretch.start_ns <= ns for stretch in stretches)
    return "holdout" if inside else "development"


def flatten(settings: dict[str, Any], prefix: str = "") -> list[Fact]:
    """Return nested settings as flat facts, ``a.b`` for nesting, in the order given."""
    facts: list[Fact] = []
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            facts += flatten(value, f"{name}.")
        elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
            for index, item in enumerate(value):
                nested = item if isinstance(item, dict) else {"": item}
                facts += flatten(nested, f"{name}[{index}].")
        else:
            facts.append(Fact(name=name, value=plain(value if value != {} else None)))
    return facts


def _readings(analyst: Analyst, images: Mapping[str, bytes]) -> list[tuple[Reading, str]]:
    """Return each reading with its picture as a data URL, empty where there is none."""
    return [
        (
            reading,
            f"data:image/png;base64,{base64.b64encode(images[reading.picture]).decode()}"
            if reading.picture in images
            else "",
        )
        for reading in analyst.readings
    ]


def asset(name: str) -> str:
    """Return the text of a file in the ``assets`` folder."""
    return files("aiopt.report").joinpath("assets", name).read_text(encoding="utf-8")


def _columns(facts: list[Fact]) -> list[list[Fact]]:
    middle = (len(facts) + 1) // 2
    return [column for column in (facts[:middle], facts[middle:]) if column]


def _run_facts(report: Report) -> list[Fact]:
    facts = [
        Fact(name="Run", value=report.run_id),
        Fact(name="Status", value=report.status + (f", stage {report.stage}" if report.stage else "")),
        Fact(name="Seed", value=plain(report.seed)),
        Fact(name="Configuration hash", value=report.config_hash or "–"),
    ]
    for data in report.all_data:
        name = "Data hash" if report.data else f"Data hash, {data.instrument}"
        facts.append(Fact(name=name, value=data.data_hash))
    facts += [
        Fact(name=f"Spec hash, entry {entry.rank}", value=entry.spec_hash)
        for entry in report.entries
        if entry.spec_hash
    ]
    if report.started_at:
        facts.append(Fact(name="Started", value=moment(report.started_at)))
    if report.finished_at:
        facts.append(Fact(name="Finished", value=moment(report.finished_at)))
    facts += [Fact(name=f"Version of {name}", value=value) for name, value in report.versions.items()]
    return facts


def _entry_pictures(entry: Entry, report: Report) -> dict[str, Any]:
    holdout = next((stretch for stretch in report.stretches if stretch.kind == "holdout"), None)
    paths = []
    if entry.emitted is not None:
        emitted = entry.emitted
        paths.append(charts.Path("Emitted parameters", "emitted", emitted.ts_ns, emitted.equity))
    has_holdout = False
    if entry.walk_forward is not None:
        before, after = _split(entry.walk_forward, holdout)
        paths.append(charts.Path("Walk-forward", "oos main", before.ts_ns, before.equity))
        if len(after.ts_ns) > 1:
            has_holdout = True
            peak = max(before.equity, default=-math.inf)
            paths.append(charts.Path("Holdout", "holdout main", after.ts_ns, after.equity, peak))
    regions = [
        charts.Region(stretch.kind, stretch.label, stretch.start_ns, stretch.stop_ns)
        for stretch in report.stretches
    ]
    heat = entry.heat_map
    hours, weekdays = entry.by_hour, entry.by_weekday
    return {
        "equity": Markup(charts.equity_chart(paths, regions, unit=report.currency)),
        "has_holdout": has_holdout,
        "folds": Markup(folds_chart(entry.folds, report.stretches, unit=report.currency)),
        "forest": Markup(_forest(entry)),
        "heat": Markup(charts.heat_map(heat)) if heat else "",
        "hours": Markup(_breakdown(hours, "hour", report.currency)) if hours else "",
        "weekdays": Markup(_breakdown(weekdays, "weekday", report.currency)) if weekdays else "",
    }


def _split(curve: Curve, holdout: Stretch | None) -> tuple[Curve, Curve]:
    """Cut a curve at the holdout's start; the second part begins with the last point of the first."""
    edge = len(curve.ts_ns)
    if holdout is not None:
        edge = sum(ns <= holdout.start_ns for ns in curve.ts_ns)
    first = Curve(ts_ns=curve.ts_ns[:edge], equity=curve.equity[:edge])
    second = Curve(ts_ns=curve.ts_ns[max(edge - 1, 0) :], equity=curve.equity[max(edge - 1, 0) :])
    return first, second


def _forest(entry: Entry) -> str:
    rows = []
    for kind, label, css in _WINDOWS:
        window = entry.window(kind)
        if window is not None and window.sharpe.value is not None:
            estimate = window.sharpe
            rows.append(charts.Interval(label, css, window.sharpe.value, estimate.low, estimate.high))
    return charts.forest_plot(rows, title="Sharpe ratio with 95% interval")


def _breakdown(parts: Any, name: str, currency: str) -> str:
    return charts.bar_chart(
        parts.labels, parts.pnl, parts.trades, title=f"Profit and trades by {name}", unit=currency
    )


def _sweep_pictures(sweep: Sweep) -> dict[str, Markup]:
    points = sorted(sweep.points, key=lambda point: point.rank is not None)
    dots = []
    for point in points:
        name = f"{point.trial_id}, fold {point.fold}"
        if point.rank is not None:
            name = f"Entry {point.rank}: {name}"
        tip = f"{name}: in-sample {ratio(point.in_sample)}, out-of-sample {ratio(point.out_of_sample)}"
        css = "entry" if point.rank is not None else "trial"
        dots.append(charts.Dot(point.in_sample, point.out_of_sample, css, tip))
    marks = []
    if sweep.best_sharpe is not None:
        marks.append(charts.Mark(sweep.best_sharpe, "best of all, in hindsight", "best"))
    if sweep.expected_maximum_sharpe is not None:
        marks.append(charts.Mark(sweep.expected_maximum_sharpe, "expected from chance", "null"))
    scatter = charts.scatter_plot(
        dots,
        x_title="Sharpe ratio, train window",
        y_title="Sharpe ratio, next test segment",
        density=sweep.density or None,
    )
    bars = charts.histogram(sweep.sharpe, marks, x_title="Sharpe ratio, out-of-sample")
    return {"scatter": Markup(scatter), "histogram": Markup(bars)}


def _map_pictures(maps: SweepMaps, currency: str) -> dict[str, Any]:
    return {
        "drawdown": Markup(path_charts.trade_off_chart(maps.trade_offs, turnover=False, unit=currency)),
        "turnover": Markup(path_charts.trade_off_chart(maps.trade_offs, turnover=True, unit=currency)),
        "parameters": [Markup(path_charts.parameters_chart(one)) for one in maps.parameters],
    }


def _path_pictures(paths: PathsView) -> dict[str, Any]:
    return {
        "paths": Markup(path_charts.paths_chart([(row.name, row.lane) for row in paths.rows])),
        "matrices": [Markup(path_charts.matrix_chart(one.cells, own=one.own)) for one in paths.matrices],
    }


def _data_picture(data: Data) -> Markup:
    if not data.hours:
        return Markup("")
    what = "ticks" if data.bars is None else "bars missing"
    picture = charts.hour_map([row.day for row in data.hours], [row.ticks for row in data.hours], what=what)
    return Markup(picture)
