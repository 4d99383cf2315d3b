"""The analyst's section: well-formed, self-contained, and nothing a model says becomes markup or a path."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from aiopt.analyst import (
    Analysis,
    AnalysisResult,
    ConfidenceParts,
    Regime,
    VisiblePattern,
)
from aiopt.analyst.record import ReadChart, RunAnalyses, opinions
from aiopt.config import canonical_json
from aiopt.report import write_report
from aiopt.runs import ANALYSES, PROPOSALS, RunFileError, load_run

PNG = b"\x89PNG\r\n\x1a\nsmall"
HOSTILE = '</figcaption><script>alert(1)</script><img src="http://evil/x">'
VOID = {"meta", "link", "br", "wbr", "img", "input", "hr"}


class Page(HTMLParser):
    """Collects tags and sources, and checks that tags are balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.scripts = 0
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.sources += [value or "" for name, value in attrs if name == "src"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def chart(name: str, entry: str, picture: str, **changes: Any) -> ReadChart:
    analysis = Analysis(
        regime=Regime("up", "high"),
        patterns=(VisiblePattern(kind="double_top", first_bar=1, last_bar=2, price=1.1),),
        bias="long",
        levels=(),
        confidence=0.5,
        confidence_parts=ConfidenceParts(stated=0.5, technical=0.5, risk=1.0, agreement=1.0),
        rationale=HOSTILE,
        source="model",
        model_id=HOSTILE,
        fallback_reason=HOSTILE,
    )
    return ReadChart(
        name=name,
        kind="trade" if entry else "market",
        timeframe="5m",
        first_ts_ns=0,
        last_ts_ns=1_709_500_000_000_000_000,
        picture=picture,
        request_hash="",
        result=AnalysisResult(analysis=analysis),
        entry=entry,
        side="short" if entry else "",
        pnl=-1.5 if entry else None,
        **changes,
    )


def write_analyses(run_dir: Path, *charts: ReadChart) -> None:
    entries = [(entry.rank, entry.name) for entry in load_run(run_dir).entries]
    document = RunAnalyses(reader=HOSTILE, charts=charts, opinions=opinions(charts, entries))
    (run_dir / ANALYSES).write_bytes(canonical_json(document))


def test_what_a_model_says_is_text_and_pictures_come_from_the_run_folder_alone(run_dir: Path) -> None:
    entry = load_run(run_dir).entries[0].name
    (run_dir / "charts").mkdir()
    (run_dir / "charts" / "a.png").write_bytes(PNG)
    (run_dir.parent / "secret.png").write_bytes(PNG + b"secret")
    write_analyses(
        run_dir,
        chart("market", "", "charts/a.png"),
        chart("t1", entry, "../secret.png"),
        chart("t2", entry, "charts/gone.png"),
    )
    without = Page(write_report(run_dir, out=run_dir.parent / "plain" / "r.html").read_text())
    page = write_report(run_dir).read_text()
    parsed = Page(page)
    assert parsed.open == []
    assert parsed.scripts == without.scripts
    assert len(parsed.sources) == 1
    assert parsed.sources[0].startswith("data:image/png;base64,")
    assert HOSTILE not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "3 of 3 by the rules" in page
    assert "−0.50" in page, "a reading against the trade's side counts against it"


def test_proposals_are_listed_also_where_nothing_was_read(run_dir: Path) -> None:
    proposals = {
        "strategies": [{"spec": {"name": "proposed_5m"}, "rationale": HOSTILE, "model_id": "m"}],
        "refusals": ["1m: too few bars"],
    }
    (run_dir / PROPOSALS).write_bytes(canonical_json(proposals))
    page = write_report(run_dir).read_text()
    assert Page(page).open == []
    assert "proposed_5m" in page
    assert "1m: too few bars" in page
    assert "Readings</h3>" not in page


def test_a_damaged_file_is_named(run_dir: Path) -> None:
    (run_dir / ANALYSES).write_text('{"reader": "rules", "charts": [')
    with pytest.raises(RunFileError, match=r"analyses\.json is not valid JSON"):
        write_report(run_dir)
