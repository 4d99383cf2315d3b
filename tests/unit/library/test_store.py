"""Strategies in and out of the library, its versions, and what it says of itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aiopt.errors import ConfigError, InputError
from aiopt.library import (
    Filter,
    Library,
    LibraryError,
    Origin,
    init_library,
    open_library,
    schema,
)
from aiopt.library.database import Database
from aiopt.runs import load_run
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.spec import StrategySpec

OURS = Origin(licence="own", origin="a test", tags=("first",))
RSI = FAMILIES["rsi_reversion"].spec


@pytest.fixture
def library(library_url: str) -> Iterator[Library]:
    with open_library(library_url) as found:
        yield found


def named(spec: StrategySpec, name: str) -> StrategySpec:
    return msgspec.structs.replace(spec, name=name, family=name)


def test_a_strategy_comes_back_as_it_was_added(library: Library) -> None:
    added = library.add(RSI, OURS)
    assert added.new
    found = library.show(added.id)
    assert [StrategySpec.from_json(json.dumps(one.spec)) for one in found.spellings] == [RSI]
    assert (found.licence, found.origin, found.tags, found.source) == ("own", "a test", ["first"], "spec")
    for key in (added.id[:8], RSI.spec_hash, RSI.name):
        assert library.show(key).id == added.id
    assert repr(found).startswith("<Strategy rsi_reversion ")


def test_the_same_strategy_under_another_name_is_said_to_be_the_same(library: Library) -> None:
    first = library.add(RSI, OURS)
    again = library.add(RSI, OURS)
    other = library.add(named(RSI, "mine"), Origin(licence="MIT", origin="elsewhere"))
    assert (again.new, again.same_as) == (False, "")
    assert (other.id, other.new, other.same_as) == (first.id, False, "rsi_reversion")
    found = library.show("mine")
    assert found.origin == "a test", "the first who added it"
    assert [one.name for one in found.spellings] == ["rsi_reversion", "mine"]
    assert library.status().strategies == 1


def test_settings_of_one_idea_know_each_other(library: Library) -> None:
    first, second = FAMILIES["rsi_reversion"].sample(2, seed=1)
    ids = [library.add(RSI.with_params(params), OURS).id for params in (first, second)]
    assert ids[0] != ids[1]
    assert library.show(ids[0]).same_structure == [ids[1]]
    with pytest.raises(InputError, match="is that of several"):
        library.show("rsi_reversion")


@pytest.mark.parametrize("missing", ["licence", "origin"])
def test_licence_and_origin_are_required(missing: str) -> None:
    with pytest.raises(ConfigError, match=f"must come with its {missing}"):
        Origin(**{"licence": "own", "origin": "a test", missing: " "})


def test_lists_are_filtered_and_paged(library: Library) -> None:
    specs = [space.spec for space in FAMILIES.values()]
    library.add_all((spec, OURS) for spec in specs)
    pages = [library.find(order="name", limit=2, offset=place).rows for place in (0, 2, 4)]
    names = [row.name for page in pages for row in page]
    assert names == sorted(spec.name for spec in specs)[: len(names)]
    assert library.find(limit=1).total == len(specs)
    assert [row.name for row in library.find(Filter(text="RSI rev")).rows] == ["rsi_reversion"]
    assert library.find(Filter(text="'; drop table strategy; --")).total == 0
    assert library.find(Filter(tag="first", source="spec")).total == len(specs)
    assert library.find(Filter(instrument="EURUSD")).total == 0
    for wrong in ({"limit": 0}, {"offset": -1}, {"limit": 10_001}):
        with pytest.raises(InputError, match="must hold"):
            library.find(**wrong)


def test_what_is_not_there_is_named_with_the_nearest(library: Library) -> None:
    with pytest.raises(InputError, match=r"is not\. It is empty"):
        library.show("anything")
    library.add(RSI, OURS)
    with pytest.raises(InputError, match="Did you mean 'rsi_reversion'"):
        library.show("rsi_revresion")


def test_figures_come_from_a_run(library: Library, run_dir: Path) -> None:
    run = load_run(run_dir)
    assert run.ranking is not None
    entries = run.ranking.entries
    taken = library.import_run(run)
    assert (taken.new, taken.entries, taken.evaluations) == (True, len(entries), len(entries))
    again = library.import_run(run)
    assert (again.new, again.strategies, again.evaluations) == (False, 0, 0)
    best = entries[0]
    (found,) = (one for one in library.show(best.spec_hash).evaluations if one.rank == best.rank)
    assert (found.net_pnl, found.trades) == (best.out_of_sample.net_pnl, best.out_of_sample.trades)
    assert (found.deflated_sharpe, found.verdict) == (best.evidence.deflated_sharpe, best.verdict)
    assert found.trials_counted == best.evidence.trials_counted
    history = [one for one in library.show(best.spec_hash).history if one.evaluation_id == found.id]
    kinds = [one.kind for one in history]
    assert sum(one.net_pnl for one in history if one.kind == "out_of_sample") == pytest.approx(found.net_pnl)
    assert kinds.count("out_of_sample") == len(best.folds)
    assert kinds.count("holdout") == (best.holdout is not None)
    assert library.find(Filter(verdict=best.verdict, min_trades=1, survives=best.survives)).total >= 1
    assert library.find(Filter(min_trades=10**9)).total == 0
    assert library.show(best.spec_hash).origin == f"run {run.run_id}"


def test_a_run_that_is_not_finished_is_refused(library: Library, run_dir: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    half.mkdir()
    (half / "config.json").write_bytes((run_dir / "config.json").read_bytes())
    with pytest.raises(InputError, match="must be finished to be taken in"):
        library.import_run(load_run(half))
    assert library.status().runs == 0


def test_all_of_a_batch_or_nothing(library: Library) -> None:
    def batch() -> Iterator[tuple[StrategySpec, Origin]]:
        yield RSI, OURS
        raise RuntimeError("the second cannot be read")

    with pytest.raises(RuntimeError, match="cannot be read"):
        library.add_all(batch())
    assert library.status().strategies == 0


# --- versions of the tables -------------------------------------------------------------------------------


def test_up_and_down_with_rows(empty_database: Callable[[], str], run_dir: Path) -> None:
    with Database(empty_database()) as database:
        library = Library(database)
        with database.begin() as connection:
            assert schema.bring_to(connection, schema.newest())
        library.import_run(load_run(run_dir))
        before = library.status()
        kept = [one.kind for one in library.show(_some(library)).history if one.kind == "out_of_sample"]
        with database.begin() as connection:
            assert schema.bring_to(connection, "0001")
            assert connection.exec_driver_sql("select to_regclass('performance')").scalar_one() is None
        with pytest.raises(LibraryError, match=r"version 0001, but 0002 is needed.*library init"):
            open_library(_url(database))
        with database.begin() as connection:
            assert schema.bring_to(connection, schema.newest())
        assert library.status().evaluations == before.evaluations
        # The walk-forward history is made again from what the evaluations keep.
        assert [one.kind for one in library.show(_some(library)).history] == kept
        with database.begin() as connection:
            assert schema.bring_to(connection, None)
            assert schema.version_of(connection) is None
            left = connection.exec_driver_sql("select count(*) from pg_tables where schemaname = 'public'")
            assert left.scalar_one() == 1, "Alembic's own"


def _some(library: Library) -> str:
    return next(row.id for row in library.find(order="name").rows if row.evaluations)


def _url(database: Database) -> str:
    assert database._url is not None
    return database._url


def test_the_tables_are_those_the_code_knows(library_url: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from aiopt.library import tables

    with Database(library_url) as database, database.begin() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []


def test_a_newer_library_is_refused_and_left(library_url: str) -> None:
    with Database(library_url) as database, database.begin() as connection:
        connection.exec_driver_sql("update alembic_version set version_num = '9999'")
        connection.exec_driver_sql("create table of_the_future (n int)")
    for touch in (open_library, init_library):
        with pytest.raises(LibraryError, match="version 9999, and this version of aiopt knows up to 0002"):
            touch(library_url)
    with Database(library_url) as database, database.begin() as connection:
        assert connection.exec_driver_sql("select to_regclass('of_the_future')").scalar_one() is not None


def test_where_there_is_none_it_is_said(empty_database: Callable[[], str], tmp_path: Path) -> None:
    for where in ({"url": empty_database()}, {"folder": tmp_path / "nothing"}):
        with pytest.raises(
            LibraryError, match=r"There is no library in .* yet\. Make one: aiopt library init"
        ):
            open_library(**where)  # type: ignore[arg-type]
    assert not (tmp_path / "nothing").exists(), "looking starts nothing"


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("insert into lineage values ('{id}', '{id}', 'itself')", "lineage_of_two"),
        ("update strategy set licence = ''", "strategy_has_licence_and_origin"),
        ("delete from strategy", "foreign key"),
    ],
)
def test_the_database_itself_holds_the_rules(library: Library, statement: str, rule: str) -> None:
    added = library.add(RSI, OURS)
    with pytest.raises(LibraryError, match=rule), library.database.begin() as connection:
        connection.exec_driver_sql(statement.format(id=added.id))
    assert library.show(added.id).licence == "own"


def test_a_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(LibraryError, match=r"psycopg.*pip install \"aiopt\[library\]\""):
        open_library("postgresql://localhost/x")


def test_records_are_read_as_they_are_written(library: Library, run_dir: Path) -> None:
    library.import_run(load_run(run_dir))
    found: Any = msgspec.json.decode(msgspec.json.encode(library.show(_some(library))))
    assert found["evaluations"][0]["details"]["folds"]
