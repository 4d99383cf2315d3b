"""The section on searches: what it says, and that it says it is in-sample."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiopt.config import canonical_json
from aiopt.report.searches import search_pictures, searches_view
from aiopt.runs import SEARCH, RunFileError
from aiopt.search.record import Candidate, GroupSearch, RunSearches, SearchRecord


def found(best: tuple[tuple[float, ...] | None, ...], front: int) -> SearchRecord:
    return SearchRecord(
        trials=12,
        generations=len(best),
        stopped="all trials were made",
        best=best,
        front=tuple(
            Candidate(
                trial_id=f"a@5m-refit-{i:05d}", params={"length": i, "average.kind": "ema"}, values=(1.0, i)
            )
            for i in range(front)
        ),
    )


def record(*, finished: bool = True) -> RunSearches:
    searches = tuple(
        GroupSearch(
            group="a@5m",
            search=number,
            segments=(number, number + 1),
            seed=1,
            found=found((None, (0.5, 2.0), (1.5, 1.0)), front=15),
        )
        for number in range(3)
    )
    return RunSearches(
        sampler="nsga2",
        objectives=("return", "drawdown"),
        generations=3,
        finished=finished,
        searches=searches if finished else (),
    )


def test_the_view(tmp_path: Path) -> None:
    (tmp_path / SEARCH).write_bytes(canonical_json(record()))
    view = searches_view(tmp_path)
    assert view is not None
    (group,) = view.groups
    assert [line.window for line in group.lines] == ["Fold 1", "Fold 2", "Refit"]
    assert (group.lines[0].first, group.lines[0].best) == (["0.5", "2"], ["1.5", "1"])
    assert (view.trials, view.searches, group.front_total, len(group.front)) == (36, 3, 15, 12)
    assert group.front[3].params == "average.kind ema, length 3"
    (picture,) = search_pictures(view)
    assert "in-sample" in picture
    assert picture.count("<circle") == 3


@pytest.mark.parametrize("finished", [None, False])
def test_nothing_to_show(tmp_path: Path, finished: bool | None) -> None:
    if finished is not None:
        (tmp_path / SEARCH).write_bytes(canonical_json(record(finished=finished)))
    assert searches_view(tmp_path) is None


def test_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / SEARCH).write_text('{"sampler": 1}')
    with pytest.raises(RunFileError, match=r"search\.json"):
        searches_view(tmp_path)
