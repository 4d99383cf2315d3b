"""What a run says at the end."""

from __future__ import annotations

from pathlib import Path

import msgspec

from aiopt.optimize.summary import COLUMNS, SYNTHETIC, ranking_table, summarise
from aiopt.ranking.ranking_file import Ranking
from aiopt.ranking.verdict import luck_line
from aiopt.runs import RANKING, read_json
from aiopt.testing.run_folder import RunModel, write_run_folder


def test_a_table_has_a_row_per_entry_and_none_without_entries(tmp_path: Path) -> None:
    ranking = read_json(write_run_folder(tmp_path / "run") / RANKING, Ranking)
    assert ranking.entries
    lines = ranking_table(ranking, synthetic=True, spread="bid and ask of the ticks")
    header = next(number for number, line in enumerate(lines) if COLUMNS[3] in line)
    rows = lines[header + 1 : header + 1 + len(ranking.entries)]
    assert [line.split()[:2] for line in rows] == [[str(one.rank), one.group] for one in ranking.entries]
    luck = luck_line(ranking)
    assert luck.startswith("Luck: the best of ")
    assert lines[-5:] == [ranking.headline, luck, "Spread: bid and ask of the ticks.", SYNTHETIC, ""]
    nothing = msgspec.structs.replace(ranking, entries=[])
    empty = "No candidate could be ranked; why, stands below."
    table = ranking_table(nothing, synthetic=False, spread="constant 0.8 pips")
    assert table == ["", empty, ranking.headline, luck_line(nothing), "Spread: constant 0.8 pips.", ""]


def test_the_end_of_a_run_says_why_candidates_were_rejected_and_trials_failed(tmp_path: Path) -> None:
    run_dir = write_run_folder(tmp_path / "run", RunModel(failures=3))
    lines: list[str] = []
    result = summarise(run_dir, lines.append, finished_before=False)
    ranking = read_json(run_dir / RANKING, Ranking)
    rejected = len(ranking.rejected)
    assert rejected
    assert result.failed == 3
    assert sum(one.count for one in result.failures) == 3
    assert sum(one.count for one in result.rejections) == rejected
    candidates = rejected + len(ranking.entries)
    assert f"{rejected} of {candidates} candidates are not among the entries:" in lines
    assert f"3 of {result.trials} trials failed:" in lines
    counts = [line for line in lines if " × " in line]
    assert counts
    assert max(map(len, counts)) <= 80
