from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from aiopt.report import write_report
from aiopt.report.build import build_report
from aiopt.report.robustness import gate_name, outcome, shape, year_rows
from aiopt.report.robustness_charts import Row, fan_plot, scenario_plot, spread_plot, words
from aiopt.robustness.robustness_file import Part, Quantiles
from aiopt.runs import RunFileError, load_run
from aiopt.testing.robustness import write_robustness


def test_a_run_without_it_has_no_section(run_dir: Path) -> None:
    page = write_report(run_dir).read_text(encoding="utf-8")
    assert 'id="robustness"' not in page
    assert "#robustness" not in page


def test_the_section_shows_every_entry_gate_and_picture(run_dir: Path) -> None:
    found = write_robustness(run_dir)
    page = write_report(run_dir).read_text(encoding="utf-8")
    section = page.split('<section id="robustness"')[1].split("</section>")[0]
    assert section.count('<div class="robust">') == len(found.entries) > 0
    # Scenarios, fans, parts, map and neighbourhood of each.
    assert section.count("<svg") == 5 * len(found.entries)
    for gate in found.config.gates:
        assert gate_name(gate.figure) in section
    assert section.count("required</span>") == sum(gate.required for gate in found.config.gates)
    assert "not known" in section  # other markets
    assert 'href="robustness.json"' in page
    assert 'href="#robustness"' in page


def test_a_gate_that_fails_is_a_check_of_the_entry(run_dir: Path) -> None:
    write_robustness(run_dir, skill=-3.0)
    report = build_report(load_run(run_dir))
    for entry in report.entries:
        check = entry.checks[-1]
        assert (check.name, check.passed) == ("Robustness", False)
        assert "robustness" in entry.verdict
        assert not entry.survives
    assert report.survivors == 0
    write_robustness(run_dir, skill=5.0)
    assert all(entry.checks[-1].passed for entry in build_report(load_run(run_dir)).entries)


def test_the_page_is_the_same_text_twice_and_escapes_names(run_dir: Path) -> None:
    write_robustness(run_dir, years=11)
    assert write_report(run_dir).read_bytes() == write_report(run_dir).read_bytes()
    page = (run_dir / "report.html").read_text(encoding="utf-8")
    assert all(f'<th scope="row">{year}</th>' in page for year in range(2024, 2035))


def test_a_file_that_is_damaged_or_of_other_entries_is_named(run_dir: Path) -> None:
    found = write_robustness(run_dir)
    path = run_dir / "robustness.json"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(RunFileError, match=r"robustness\.json is not valid JSON"):
        build_report(load_run(run_dir))
    other = msgspec.structs.replace(found, entries=found.entries[:-1])
    path.write_bytes(msgspec.json.encode(other))
    with pytest.raises(RunFileError, match=r"robustness\.json is of the entries"):
        build_report(load_run(run_dir))


def test_words_of_outcome_and_neighbourhood(run_dir: Path) -> None:
    good, bad = (
        write_robustness(run_dir, skill=5.0).entries[0],
        write_robustness(run_dir, skill=-3.0).entries[0],
    )
    assert outcome(good) == "Passes every required gate that this data can answer (4 are required)."
    assert outcome(bad).startswith("Fails 4 of 4 required gates: Spread: share profitable, ")
    assert re.fullmatch(
        r"A plateau: the median neighbour has a train Sharpe ratio of .*, the entry 1\.4\.", shape(good)
    )
    assert shape(bad).startswith("A spike: ")
    assert shape(msgspec.structs.replace(good, neighbourhood=None)) == ""
    assert outcome(msgspec.structs.replace(good, gates=[])) == "No gate is required."
    unknown = [msgspec.structs.replace(gate, passed=None) for gate in good.gates]
    assert "can be answered" in outcome(msgspec.structs.replace(good, gates=unknown))


def test_months_become_a_table_of_years() -> None:
    months = [
        Part(label=label, net_pnl=pnl, trades=1, periods=1)
        for label, pnl in (("2024-11", 5.0), ("2024-12", -2.0), ("2025-01", 1.5))
    ]
    first, second = year_rows(months)
    assert (first.year, first.months[10:], first.total) == ("2024", [5.0, -2.0], 3.0)
    assert first.months[:10] == [None] * 10
    assert (second.year, second.months[0], second.total) == ("2025", 1.5, 1.5)


def test_pictures_hold_their_labels_and_cut_long_ones(run_dir: Path) -> None:
    entry = write_robustness(run_dir).entries[0]
    picture = scenario_plot(entry, "USD")
    for scenario in entry.scenarios:
        assert (f">{words(scenario.name)}</text>" in picture) == (scenario.draws > 0)
    assert f"of {entry.scenarios[0].draws} earn" in picture
    assert fan_plot(entry, "USD").count('class="area oos"') == 2 * 5
    spread = Quantiles(q05=-1.0, q25=0.0, q50=1.0, q75=2.0, q95=3.0)
    long = spread_plot([Row("a name that is much longer than its room", spread, 0.5, "")], title="x")
    assert ">a name that is much longe…</text>" in long
    assert spread_plot([], title="x") == ""
    assert words("commission_2") == "Commission × 2"
    assert words("missing_bars") == "Missing bars"
