"""What a run says at the end."""

from __future__ import annotations

from pathlib import Path

import msgspec

from aiopt.optimize.summary import COLUMNS, SYNTHETIC, ranking_table
from aiopt.ranking.ranking_file import Ranking
from aiopt.runs import RANKING, read_json
from aiopt.testing.run_folder import write_run_folder


def test_a_table_has_a_row_per_entry_and_none_without_entries(tmp_path: Path) -> None:
    ranking = read_json(write_run_folder(tmp_path / "run") / RANKING, Ranking)
    assert ranking.entries
    lines = ranking_table(ranking, synthetic=True, spread="bid and ask of the ticks")
    header = next(number for number, line in enumerate(lines) if COLUMNS[3] in line)
    rows = lines[header + 1 : header + 1 + len(ranking.entries)]
    assert [line.split()[:2] for line in rows] == [[str(one.rank), one.group] for one in ranking.entries]
    assert lines[-4:] == [ranking.headline, "Spread: bid and ask of the ticks.", SYNTHETIC, ""]
    nothing = msgspec.structs.replace(ranking, entries=[])
    empty = "No candidate could be ranked; the report gives the reason for each."
    table = ranking_table(nothing, synthetic=False, spread="constant 0.8 pips")
    assert table == ["", empty, ranking.headline, "Spread: constant 0.8 pips.", ""]
