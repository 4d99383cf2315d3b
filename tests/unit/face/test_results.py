"""Strategies, scripts, runs, reports, readings and engines of the face."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import polars as pl
import pytest

import aiopt as ao
from aiopt.errors import ConfigError, SpecError
from aiopt.face import engines
from aiopt.face.html import cell_text, curve, table
from aiopt.runs import NotARunError
from aiopt.testing.robustness import write_robustness
from aiopt.testing.run_folder import write_run_folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> ao.Run:
    return ao.run(write_run_folder(tmp_path_factory.mktemp("runs") / "made"))


def test_a_strategy_is_a_name_a_file_or_an_object(tmp_path: Path) -> None:
    space = ao.families()["ema_cross_atr"]
    file = tmp_path / "mine.yaml"
    file.write_text(space.to_yaml())
    hashes = {ao.load_spec(one).spec_hash for one in ("ema_cross_atr", file, str(file), space, space.spec)}
    assert hashes == {space.spec.spec_hash}
    with pytest.raises(SpecError, match=r"ready family or a file, but got 'ema_cros_atr'. Did you mean"):
        ao.load_spec("ema_cros_atr")
    with pytest.raises(SpecError, match=r"There is no file .*other.yaml"):
        ao.load_spec(tmp_path / "other.yaml")


def test_families_are_a_mapping_and_a_table() -> None:
    found = ao.families()
    assert found.to_polars()["family"].to_list() == list(found) == list(found.keys())
    with pytest.raises(KeyError, match="Did you mean"):
        _ = found["ema_cross"]


def test_a_script_that_is_no_file() -> None:
    with pytest.raises(ConfigError, match=r"There is no file 'nothing\.pine'"):
        ao.check_pine("nothing.pine")


def test_a_run_shows_what_its_files_say(run: ao.Run) -> None:
    assert run.status == "done"
    assert run.to_polars().equals(run.ranking.to_polars())
    assert len(run.ranking) == len(run.folder.ranking.entries) > 0
    assert len(run.trials) == run.trials.to_polars().height > 0
    trades = run.trades(1).to_polars()
    assert trades.height == len(run.folder.entries[0].trades)
    assert trades.schema["exit_ts"] == pl.Datetime("ns", "UTC")
    assert run.equity(1).to_polars().schema["ts"] == pl.Datetime("ns", "UTC")
    assert run.script(1).text.startswith("//@version=")
    assert run.run_id in repr(run)
    assert "<svg" in run._repr_html_()


def test_what_a_run_has_not(run: ao.Run, tmp_path: Path) -> None:
    with pytest.raises(NotARunError, match=r"no entry 99. There are: 1, "):
        run.trades(99)
    (tmp_path / "config.json").write_text("{}")
    begun = ao.run(tmp_path)
    with pytest.raises(NotARunError, match="the run is not ranked yet"):
        _ = begun.ranking
    with pytest.raises(NotARunError, match=r"there is no trials\.parquet"):
        _ = begun.trials
    assert "Not there" in begun._repr_html_()
    with pytest.raises(NotARunError, match="There is no run folder"):
        ao.run(tmp_path / "x")


def test_a_report_lands_where_the_user_says(run: ao.Run, tmp_path: Path) -> None:
    page = ao.report(run, out=tmp_path / "here")
    assert page.path == tmp_path / "here" / "report.html"
    assert sorted(path.name for path in page.path.parent.iterdir()) == [
        *("entries.csv", "report.html", "report.json", "trades.csv")
    ]
    assert Path(page).is_file()
    assert "<iframe srcdoc=" in page._repr_html_()
    assert ao.report(run.path, out=tmp_path / "x.html").path.name == "x.html"


def test_a_reading_by_rules(bars: ao.Bars) -> None:
    reading = ao.read_chart(bars, last=100)
    assert reading.bias in {"long", "short", "neutral"}
    assert reading.chart.png.startswith(b"\x89PNG")
    frame = reading.to_polars()
    assert frame.schema["first_ts"] == pl.Datetime("ns", "UTC")
    assert frame.height == len(reading.analysis.patterns) + len(reading.analysis.levels)
    assert "data:image/png;base64," in reading._repr_html_()


def test_a_reading_inside_an_event_loop_as_in_a_notebook(bars: ao.Bars) -> None:
    import asyncio

    async def cell() -> ao.Reading:
        return ao.read_chart(bars, last=100)

    assert asyncio.run(cell()).analysis == ao.read_chart(bars, last=100).analysis


def test_a_model_that_does_not_answer_is_said(bars: ao.Bars) -> None:
    from aiopt.analyst import AnalystSettings

    settings = AnalystSettings(endpoint="http://127.0.0.1:9/v1", retries=0, timeout_s=1.0)
    reading = ao.read_chart(bars, settings=settings)
    assert reading.analysis.source == "rules"
    assert "The model gave no valid answer" in reading._repr_html_()


def test_a_chart_is_saved_under_its_name(bars: ao.Bars, tmp_path: Path) -> None:
    chart = ao.render_chart(bars, ["ema", ao.indicators.rsi(bars)], last=50, width=640, height=480)
    assert chart.save(tmp_path) == tmp_path / f"{chart.name}.png"
    assert chart.save(tmp_path / "a.png").read_bytes() == chart.png
    assert [plot.kind for plot in chart.spec.overlays] == ["ema"]
    assert [plot.kind for plot in chart.spec.panes] == ["rsi"]
    with pytest.raises(ConfigError, match="1 <= last <= "):
        ao.render_chart(bars, last=10**6)


class _Engine:
    """An engine that another package offers."""


def test_auto_takes_an_engine_that_is_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_offers", {})
    there, asked = _Engine(), []
    connected = [False]
    engines.register_engine("ray", connect=lambda: asked.append(1) or there, connected=lambda: connected[0])
    assert engines.find_engine("local") is None
    assert engines.find_engine("auto") is None
    assert asked == []
    assert engines.find_engine("ray") is there
    connected[0] = True
    assert engines.find_engine("auto") is there


def test_ray_is_found_by_the_name_of_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_offers", {})
    monkeypatch.setattr(engines, "PROVIDERS", {"ray": "no_such_package"})
    with pytest.raises(ConfigError, match="needs the package no_such_package, which is not installed"):
        engines.find_engine("ray")
    import cluster

    assert "ray" in sys.modules or not cluster._connected()


def test_html_escapes_what_it_is_given() -> None:
    page = table(("<b>", "n"), [("<script>", 1.5), (None, float("nan"))])
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert page.count("–") == 2


def test_numbers_of_a_column_have_the_same_decimals() -> None:
    assert cell_text(1.5, 3) == "1.500"
    page = table(("price",), [(1.0848,), (1.08485,)])
    assert "1.08480" in page
    assert "1.08485" in page


def test_a_long_curve_keeps_its_extremes() -> None:
    import numpy as np

    values = np.zeros(100_000)
    values[77_777] = 9.0
    page = curve(np.arange(100_000) * 10**9, values, label="spike", base=0.0)
    assert len(page) < 60_000
    # The top of the picture is the spike.
    assert min(float(point.split(",")[1]) for point in page.split('points="')[1].split('"')[0].split()) < 25


def test_a_run_shows_its_entries_under_stress(run: ao.Run, tmp_path: Path) -> None:
    with pytest.raises(ao.errors.InputError, match=r"there is no robustness\.json.*Repeat the run"):
        _ = run.robustness
    folder = Path(shutil.copytree(run.path, tmp_path / "stressed"))
    made = write_robustness(folder, skill=-3.0)
    found = ao.run(folder).robustness
    table = found.to_polars()
    assert set(table["rank"]) == {entry.rank for entry in made.entries}
    assert table.filter(scenario="markets").is_empty()
    assert found.gates.to_polars().filter(required=True)["passed"].to_list() == [False] * 4 * len(
        made.entries
    )
    html = found._repr_html_()
    assert "Entry 1 fails spread.share_profitable" in html
    assert "fail a required gate" in repr(found)
    assert "robustness" in ao.run(folder).ranking.entries[0].checks[-1].name
