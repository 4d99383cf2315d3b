"""Pictures: the numbers given are the numbers drawn."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET

import pytest

from aiopt.report import charts, svg
from aiopt.report.document import HeatMap

HOUR_NS = 3_600_000_000_000


def picture(text: str) -> ET.Element:
    """Parse the first SVG of a fragment; fails where markup is broken or unescaped."""
    return ET.fromstring(text[: text.index("</svg>") + 6])


@pytest.mark.parametrize(
    ("low", "high", "count", "expected"),
    [
        (0.0, 10.0, 5, [0, 2, 4, 6, 8, 10]),
        (-0.03, 0.0, 3, [-0.03, -0.02, -0.01, 0.0]),
        (99_700.0, 100_420.0, 4, [99_800, 100_000, 100_200, 100_400]),
    ],
)
def test_ticks_are_round_and_inside(low, high, count, expected):
    assert svg.nice_ticks(low, high, count) == pytest.approx(expected)


def test_ticks_of_an_empty_interval():
    assert svg.nice_ticks(3.0, 3.0, 5) == [3.0]
    assert svg.nice_ticks(float("nan"), 1.0, 5) == []


@pytest.mark.parametrize("days", [0.05, 0.4, 1, 6, 31, 200, 900, 4500])
def test_time_ticks_fit_any_span(days):
    start = 1_398_902_400_000_000_000
    stop = start + int(days * 24 * HOUR_NS)
    ticks = svg.time_ticks(start, stop, 9)
    assert 1 <= len(ticks) <= 10
    assert all(start <= ns <= stop for ns, _ in ticks)
    assert len({label for _, label in ticks}) == len(ticks)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-1234.0, "−1,234"),
        (12345.0, "12.3k"),
        (2.5e6, "2.5M"),
        (0.012345, "0.0123"),
        (float("nan"), "–"),
    ],
)
def test_short_numbers(value, text):
    assert svg.short(value) == text


def test_drawdown_counts_from_the_running_peak():
    assert charts.drawdown([100.0, 110.0, 99.0, 121.0]) == pytest.approx([0.0, 0.0, -0.1, 0.0])


def test_drawdown_continues_below_an_earlier_peak():
    assert charts.drawdown([99.0, 110.0], peak=110.0) == pytest.approx([-0.1, 0.0])


def test_thinning_keeps_both_ends_and_the_extremes():
    values = [float(index % 17) for index in range(5000)]
    values[1234], values[3777] = -50.0, 90.0
    kept = charts.thin(values, 200)
    assert kept == sorted(set(kept))
    assert {0, 1234, 3777, 4999} <= set(kept)
    assert len(kept) <= 202


def test_equity_chart_marks_every_region_and_draws_every_path():
    ts = [index * HOUR_NS for index in range(50)]
    paths = [
        charts.Path("Emitted", "emitted", ts, [100_000.0 + index for index in range(50)]),
        charts.Path("Walk-forward", "oos main", ts[20:40], [100_000.0 - index for index in range(20)]),
    ]
    regions = [
        charts.Region("train", "Train only", ts[0], ts[20]),
        charts.Region("oos", "Fold 1", ts[20], ts[40]),
        charts.Region("holdout", "Holdout", ts[40], ts[49]),
    ]
    text = charts.equity_chart(paths, regions, unit="USD")
    root = picture(text)
    shaded = [node.get("class") for node in root.iter("rect")]
    assert shaded == ["region train", "region oos", "region holdout"]
    assert [node.get("class") for node in root.iter("path") if "hatch" in node.get("class")] == [
        "hatch train",
        "hatch holdout",
    ]
    curves = [node.get("class") for node in root.iter("path") if node.get("class").startswith("curve")]
    assert curves.count("curve oos main") == 1
    assert curves.count("curve emitted") == 1
    names = {node.text for node in root.iter("text")}
    assert {"Train only", "Fold 1", "Holdout", "Equity, USD", "Drawdown, %"} <= names
    # the regions tile the axis: each begins where the one before ends
    edges = [(float(node.get("x")), float(node.get("width"))) for node in root.iter("rect")]
    for (x, width), (following, _) in itertools.pairwise(edges):
        assert x + width == pytest.approx(following, abs=0.2)


def test_equity_chart_without_a_path_is_empty():
    assert charts.equity_chart([], [], unit="USD") == ""


def test_hover_data_cannot_close_its_script():
    path = charts.Path("</script><b>", "oos", [0, HOUR_NS], [1.0, 2.0])
    text = charts.equity_chart([path], [], unit="USD")
    assert text.count("</script>") == 1


def test_labels_are_escaped():
    text = charts.bar_chart(["<a&b>"], [1.0], [2], title='x"<', unit="USD")
    root = picture(text)
    assert "<a&b>" in {node.text for node in root.iter("text")}


def test_histogram_bars_hold_every_value_once():
    values = [0.0, 0.1, 0.5, 2.0, 2.0, -3.0]
    root = picture(charts.histogram(values, [charts.Mark(9.0, "chance", "null")], x_title="Sharpe"))
    counts = [int(re.search(r": (\d+) trial", tip.text).group(1)) for tip in root.iter("title")]
    assert sum(counts) == len(values)
    mark = next(node for node in root.iter("line") if node.get("class") == "mark null")
    assert float(mark.get("x1")) < 506


def test_heat_map_outlines_the_chosen_cell_and_marks_empty_ones():
    heat = HeatMap(
        metric="Sharpe",
        x_name="length",
        y_name="stop",
        x_labels=["5", "10"],
        y_labels=["1", "2"],
        values=[[1.0, None], [-2.0, 0.5]],
        counts=[[3, 0], [1, 2]],
        chosen=(1, 1),
    )
    root = picture(charts.heat_map(heat))
    cells = [node.get("class") for node in root.iter("rect")]
    assert cells == ["cell p2", "cell none", "cell n4", "cell p1", "chosen"]
    tips = [tip.text for tip in root.iter("title")]
    assert "stop 1, length 10: no trial" in tips
    assert "stop 2, length 5: median −2 over 1 trial(s)" in tips


def test_hour_map_tells_quiet_from_missing():
    counts = [[0, None, 50, *[10] * 21]]
    root = picture(charts.hour_map(["2014-05-01"], counts))
    cells = [node.get("class") for node in root.iter("rect")]
    assert len(cells) == 24
    assert cells[:2] == ["cell h0", "cell absent"]
    assert cells[2] == "cell h7"
