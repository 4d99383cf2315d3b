"""The report of a run: true to the run folder, self-contained, the same every time."""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import polars as pl
import pyarrow.parquet as pq
import pytest

from aiopt.errors import InputError
from aiopt.ranking.ranking_file import Ranking
from aiopt.ranking.trials import read_trials
from aiopt.report import write_report
from aiopt.report.build import build_report, settings
from aiopt.report.document import Report
from aiopt.report.html import MOST_TRADES, figure, moment, money, part_of, percent, plain, ratio, render_html
from aiopt.runs import RunFileError, load_run, read_json
from aiopt.testing.run_folder import RunModel, write_run_folder

VOID = {"meta", "link", "br", "wbr", "img", "input", "hr"}


class Page(HTMLParser):
    """Collects what a page refers to and checks that its tags are balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []
        self.ids: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in {"href", "src", "action", "data", "srcset", "poster"}:
                self.references.append(value)
            if name == "id":
                self.ids.append(value)
            assert not name.startswith("on"), f"inline handler {name}"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in {"script", "style"}:
            self.text.append(data)


def as_format_1(run_dir: Path) -> None:
    """Take from a run what format 1 of the ranking and of the trials did not hold."""
    new = ("refused", "capped", "ruined")

    def without(value):
        if isinstance(value, dict):
            kept = {key: without(part) for key, part in value.items()}
            return {key: part for key, part in kept.items() if key.removesuffix("_trials") not in new}
        return [without(part) for part in value] if isinstance(value, list) else value

    ranking = without(json.loads((run_dir / "ranking.json").read_text()))
    ranking["format"] = 1
    (run_dir / "ranking.json").write_text(json.dumps(ranking))
    table = pq.read_table(run_dir / "trials.parquet")
    old = [name for name in table.schema.names if name.partition("_")[2] not in new]
    assert len(old) == len(table.schema.names) - 6
    pq.write_table(table.select(old), run_dir / "trials.parquet")


def test_an_older_ranking_is_read_by_rule_and_the_report_says_so(tmp_path):
    run_dir = write_run_folder(tmp_path / "old")
    before = read_trials(run_dir / "trials.parquet")
    present = build_report(load_run(run_dir))
    as_format_1(run_dir)
    rows = read_trials(run_dir / "trials.parquet")
    assert [row.segment_refused for row in rows] == [[0] * len(row.segment_trades) for row in rows]
    assert [row.pnl for row in rows] == [row.pnl for row in before]
    report = build_report(load_run(run_dir))
    assert report.summary[0].startswith("This ranking has format 1, of an earlier version")
    assert not any("format 1" in sentence for sentence in present.summary)
    assert [entry.name for entry in report.entries] == [entry.name for entry in present.entries]


@pytest.mark.parametrize("number", [None, 0, 3, "2"])
def test_a_ranking_of_another_format_is_refused(tmp_path, number):
    run_dir = write_run_folder(tmp_path / "later")
    ranking = json.loads((run_dir / "ranking.json").read_text()) | {"format": number}
    (run_dir / "ranking.json").write_text(json.dumps(ranking))
    with pytest.raises(RunFileError, match=r"ranking.json: This ranking has format .* reads 1 and 2"):
        build_report(load_run(run_dir))


@pytest.fixture(scope="module")
def page(report):
    return render_html(report)


def figures(path: Path) -> Ranking:
    return read_json(path / "ranking.json", Ranking)


def test_the_page_is_balanced_and_needs_no_network(page, run_dir):
    parsed = Page(page)
    assert parsed.open == []
    assert len(parsed.ids) == len(set(parsed.ids))
    write_report(run_dir)
    for reference in parsed.references:
        if reference.startswith("#"):
            assert reference[1:] in parsed.ids
        else:
            assert (run_dir / reference).is_file(), reference
    style = page[page.index("<style>") : page.index("</style>")]
    assert "@import" not in style
    assert "url(" not in style
    assert "default-src 'none'" in page


def test_the_same_folder_gives_the_same_bytes(run_dir):
    names = ("report.html", "report.json", "trades.csv", "entries.csv")
    write_report(run_dir)
    first = [(run_dir / name).read_bytes() for name in names]
    write_report(run_dir)
    assert [(run_dir / name).read_bytes() for name in names] == first


def test_the_report_shows_the_figures_of_the_ranking(report, page, pristine_run):
    ranking = figures(pristine_run)
    assert [entry.name for entry in report.entries] == [entry.name for entry in ranking.entries]
    assert len(report.entries) >= 2
    assert report.headline == ranking.headline
    assert ranking.headline in page
    assert ranking.score_formula in page
    for shown, entry in zip(report.entries, ranking.entries, strict=True):
        assert shown.score == entry.score
        assert [window.kind for window in shown.windows] == ["in_sample", "out_of_sample", "holdout"]
        assert shown.window("out_of_sample").net_pnl == entry.out_of_sample.net_pnl
        assert shown.window("holdout").sharpe.value == entry.holdout.sharpe
        assert money(entry.out_of_sample.net_pnl) in page
        assert ratio(entry.in_sample.sharpe) in page
        assert [check.passed for check in shown.checks] == [check.passed for check in entry.checks]
        assert sum(part.value * part.weight for part in shown.parts) == pytest.approx(entry.score)
        assert [fold.params for fold in shown.folds] == [fold.params for fold in entry.folds]


def test_the_report_says_what_was_held_over_night(report, page, pristine_run, monkeypatch):
    for entry in report.entries:
        held = sum(trade.nights > 0 for trade in entry.trades)
        assert entry.rollover.startswith(f"{held:,} of {len(entry.trades):,} trades were held over 17:00")
        assert "swap is not charged: at 0.7 pip a night they would have cost" in entry.rollover
        assert entry.rollover in page
    run = load_run(pristine_run)
    settings_of_run = load_run(pristine_run).config
    charged = {**settings_of_run, "backtest": {**settings_of_run["backtest"], "swap": {"points": {}}}}
    monkeypatch.setattr(type(run), "config", charged)
    assert all("swap booked on them: 0.00 USD" in e.rollover for e in build_report(run).entries)


def test_the_walk_forward_path_ends_where_the_profits_lead(report, pristine_run):
    ranking = figures(pristine_run)
    for shown, entry in zip(report.entries, ranking.entries, strict=True):
        curve = shown.walk_forward
        profit = entry.out_of_sample.net_pnl + entry.holdout.net_pnl
        assert curve.equity[0] == report.initial_balance
        assert curve.equity[-1] == pytest.approx(report.initial_balance + profit, abs=0.02)
        assert curve.ts_ns[0] == ranking.plan.boundaries_ns[ranking.plan.test[0]]
        assert curve.ts_ns[-1] == ranking.plan.stop_ns
        assert curve.ts_ns == sorted(curve.ts_ns)


def test_the_regions_tile_the_span(report, pristine_run):
    plan = figures(pristine_run).plan
    assert report.stretches[0].start_ns == plan.start_ns
    assert report.stretches[-1].stop_ns == plan.stop_ns
    for before, after in zip(report.stretches[:-1], report.stretches[1:], strict=True):
        assert before.stop_ns == after.start_ns
    assert [stretch.kind for stretch in report.stretches] == ["train", *["oos"] * 4, "holdout"]


def test_every_trial_is_counted_and_every_failure_has_its_reason(report, page, pristine_run):
    rows = read_trials(pristine_run / "trials.parquet")
    failed = [row for row in rows if not row.ok]
    assert failed
    assert report.sweep.trials == len(rows)
    assert [failure.trial_id for failure in report.sweep.failures] == [row.trial_id for row in failed]
    assert all(row.error in page for row in failed)
    marked = {point.rank for point in report.sweep.points if point.rank is not None}
    assert marked == {entry.rank for entry in report.entries}


def test_parameter_maps_use_the_development_segments_of_one_group(report, pristine_run):
    rows = read_trials(pristine_run / "trials.parquet")
    for entry in report.entries:
        members = [row for row in rows if row.group == f"{entry.family}@{entry.timeframe}" and row.ok]
        assert sum(sum(row) for row in entry.heat_map.counts) == len(members)
        assert entry.heat_map.chosen is not None


def test_synthetic_data_is_labelled_everywhere(page, run_dir):
    assert page.count("SYNTHETIC DATA") >= 4
    assert "<title>SYNTHETIC DATA" in page
    manifest = run_dir / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"synthetic": true', '"synthetic": false'))
    real = render_html(build_report(load_run(run_dir)))
    assert "SYNTHETIC" not in real


def test_tables_hold_every_trade(report, run_dir):
    write_report(run_dir)
    with (run_dir / "trades.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == sum(len(entry.trades) for entry in report.entries)
    for entry in report.entries:
        mine = [row for row in rows if int(row["rank"]) == entry.rank]
        assert sum(float(row["pnl"]) for row in mine) == pytest.approx(sum(t.pnl for t in entry.trades))
        assert mine[0]["entry_time_utc"].startswith("2024-03-")
        assert {row["part"] for row in mine} <= {"development", "holdout"}
    with (run_dir / "entries.csv").open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert [json.loads(line["params"]) for line in lines] == [entry.params for entry in report.entries]
    assert [float(line["score"]) for line in lines] == [entry.score for entry in report.entries]


def test_report_json_is_the_report(report, run_dir):
    write_report(run_dir)
    assert msgspec.json.decode((run_dir / "report.json").read_bytes(), type=Report) == report


def test_trades_are_readable_without_scripts(report, page):
    for entry in report.entries:
        section = page[page.index(f'id="entry-{entry.rank}"') :]
        body = section[
            section.index('class="trade-rows"') : section.index("</tbody>", section.index("trade-rows"))
        ]
        assert body.count("<tr>") == min(len(entry.trades), MOST_TRADES)


def test_scripts_are_shown_as_emitted(report, page):
    for entry in report.entries:
        assert entry.pine is not None
        assert entry.pine.splitlines()[1] in page
    assert page.count("Copy script") >= len(report.entries)


def test_text_of_the_run_is_escaped(report):
    evil = "</script><script>alert(1)</script>"
    entry = msgspec.structs.replace(report.entries[0], pine=evil, verdict=evil, name=evil, family=evil)
    page = render_html(msgspec.structs.replace(report, run_id=evil, entries=[entry], error=evil))
    assert "<script>alert" not in page
    assert Page(page).open == []


def test_nothing_beats_chance_is_said_plainly(report):
    assert report.survivors == 0
    assert "nothing beats chance" in report.headline
    assert "None passes every check" in " ".join(report.summary)


def test_no_figure_carries_two_signs(report, page, pristine_run):
    ranking = load_run(pristine_run).ranking
    room = [entry.break_even_extra_spread_pips for entry in ranking.entries]
    assert any(pips is not None and pips < 0 for pips in room), "the case under test"
    assert not re.search(r"[+−-][−-]\d", page)


def test_real_skill_survives(tmp_path):
    model = RunModel(
        families=("rsi_reversion",), timeframes=("5m",), trials=10, days=28, skill=0.7, failures=0
    )
    found = build_report(load_run(write_run_folder(tmp_path / "skilled", model)))
    assert found.survivors >= 1
    assert "pass" in " ".join(found.summary)
    assert found.entries[0].grade == "survives"


@pytest.mark.parametrize(
    ("gone", "kept"),
    [
        (("ranking.json", "entries", "pine"), "not ranked yet"),
        (("entries", "pine"), "nothing beats chance"),
        (("trials.parquet", "ranking.json", "entries", "pine"), "recorded (2 of them failed), not"),
        (
            ("trials.parquet", "leaderboard.jsonl", "ranking.json", "entries", "pine"),
            "No trial has been recorded yet",
        ),
        (("manifest.json",), "nothing beats chance"),
    ],
)
def test_an_unfinished_run_gets_a_report_of_what_is_there(run_dir, gone, kept):
    for name in gone:
        path = run_dir / name
        if path.is_dir():
            for inside in path.iterdir():
                inside.unlink()
            path.rmdir()
        else:
            path.unlink()
    (run_dir / "state.json").write_text('{"status": "running", "stage": "sweep"}')
    text = write_report(run_dir).read_text()
    assert Page(text).open == []
    assert kept in text
    assert "Unfinished run: running, stage sweep." in text
    for name in gone:
        # The journal is no part of a finished run that could be missing: trials.parquet holds its rows.
        assert name == "leaderboard.jsonl" or f"{name} (" in text


def test_a_report_written_as_the_last_step_is_not_unfinished(run_dir):
    (run_dir / "state.json").write_text('{"status": "running", "stage": "pine"}')
    report = build_report(load_run(run_dir))
    assert report.status == "done"
    assert "Unfinished" not in render_html(report)
    max((run_dir / "entries").glob("*.json")).unlink()
    assert build_report(load_run(run_dir)).status == "running"


@pytest.mark.parametrize("name", ["ranking.json", "manifest.json", "config.json"])
def test_a_cut_off_file_is_named_and_the_old_report_stays(run_dir, name):
    old = write_report(run_dir).read_bytes()
    data = (run_dir / name).read_bytes()
    (run_dir / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(RunFileError, match=rf"{name} is not valid JSON"):
        write_report(run_dir)
    assert (run_dir / "report.html").read_bytes() == old


def test_cut_off_trials_are_named(run_dir):
    path = run_dir / "trials.parquet"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InputError, match=r"trials\.parquet.*is not a Parquet file"):
        write_report(run_dir)


def test_entries_of_another_ranking_are_refused(run_dir):
    path = sorted((run_dir / "entries").glob("*.json"))[0]
    path.write_text(re.sub(r'"trial_id":"[^"]+"', '"trial_id":"stranger"', path.read_text()))
    with pytest.raises(RunFileError, match=r"entry 1 is trial stranger in entries/"):
        write_report(run_dir)


def test_settings_name_what_was_searched():
    config = {
        "seed": 1,
        "strategies": [
            {
                "spec": {"family": "ema"},
                "dimensions": {
                    "fast": {"type": "int", "low": 5, "high": 20, "step": 5},
                    "free": {"type": "float", "low": 0.5, "high": 2.0, "step": None},
                    "mode": {"type": "choice", "values": [1, 2]},
                },
                "constraints": ["fast < slow"],
            },
            {"spec": {"name": "mine"}, "dimensions": {}, "constraints": []},
        ],
    }
    assert settings(config) == {
        "seed": 1,
        "search of ema": {
            "fast": "5 to 20 step 5",
            "free": "0.5 to 2.0",
            "mode": [1, 2],
            "constraints": ["fast < slow"],
        },
        "search of mine": "a single point",
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (money(-1234.5), "−1,234.50"),
        (money(None), "–"),
        (ratio(float("inf")), "∞"),
        (percent(-0.0123, 2), "−1.23%"),
        (figure(85.03), "85.03"),
        (figure(-0.154), "−0.154"),
        (plain([1, 2.5, True]), "1, 2.5, yes"),
        (plain(None), "–"),
        (moment("2024-04-02T08:04:41+00:00"), "2024-04-02 08:04 UTC"),
        (moment("soon"), "soon"),
    ],
)
def test_numbers_as_people_read_them(text, expected):
    assert text == expected


def test_part_of_a_trade(report):
    holdout = report.stretches[-1]
    assert part_of(holdout.start_ns, report.stretches) == "holdout"
    assert part_of(holdout.start_ns - 1, report.stretches) == "development"


def test_the_example_of_reading_the_tables_runs(run_dir, tmp_path, monkeypatch):
    page = (Path(__file__).resolve().parents[3] / "docs" / "reference" / "files.md").read_text()
    [example] = re.findall(r"```python\n(import json.*?)```", page, flags=re.DOTALL)
    write_report(run_dir)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mine").symlink_to(run_dir)
    found = {}
    exec(compile(example, "docs/reference/files.md", "exec"), found)
    assert len(found["params"]) == found["entries"].height > 0
    assert found["trades"]["entry_time"].dtype == pl.Datetime("ns", "UTC")
    assert found["trades"]["stop_price"].len() == found["trades"].height
    assert found["by_entry"].height == found["entries"].height
