"""Strategies in and out of the tables: adding, finding, listing.  Owns the statements; knows no server."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from sqlalchemy import Connection, Select, and_, func, select
from sqlalchemy.dialects.postgresql import insert

from aiopt.errors import InputError, did_you_mean
from aiopt.library.normal_form import strategy_id, structure_id
from aiopt.library.records import (
    Added,
    Evaluation,
    Filter,
    Order,
    Origin,
    Page,
    Performance,
    Source,
    Spelling,
    Strategy,
    StrategyRow,
)
from aiopt.library.tables import evaluation, lineage, performance, run, spelling, strategy
from aiopt.strategy.spec import StrategySpec

_SHORTEST_ID = 6
_LISTED = 8


def add_strategy(connection: Connection, spec: StrategySpec, origin: Origin, source: Source) -> Added:
    """Add a strategy unless it is there, and this writing of it; several at once add it once.

    Parameters
    ----------
    connection : Connection
        In a transaction.
    spec : StrategySpec
        The strategy.
    origin : Origin
        Kept where the strategy is new.
    source : str
        By which way it came.
    """
    identity = strategy_id(spec)
    row = {
        "id": identity,
        "structure": structure_id(spec),
        "name": spec.name,
        "family": spec.family,
        "description": spec.description,
        "source": source,
        "licence": origin.licence.strip(),
        "origin": origin.origin.strip(),
        "authors": list(origin.authors),
        "citation": origin.citation,
        "tags": sorted(set(origin.tags)),
    }
    made = insert(strategy).values(row).on_conflict_do_nothing().returning(strategy.c.id)
    new = connection.execute(made).scalar_one_or_none() is not None
    written = {
        "spec_hash": spec.spec_hash,
        "strategy_id": identity,
        "name": spec.name,
        "spec": spec.to_json(),
    }
    spelled = insert(spelling).values(written).on_conflict_do_nothing().returning(spelling.c.spec_hash)
    other = connection.execute(spelled).scalar_one_or_none() is not None
    if new or not other:
        return Added(id=identity, new=new)
    known = connection.execute(select(strategy.c.name).where(strategy.c.id == identity)).scalar_one()
    return Added(id=identity, new=False, same_as=known)


def add_parent(connection: Connection, child: str, parent: str, how: str) -> None:
    """Record that a strategy was made of another."""
    row = {"child": child, "parent": parent, "how": how}
    connection.execute(insert(lineage).values(row).on_conflict_do_nothing())


def list_strategies(connection: Connection, wanted: Filter, order: Order, limit: int, offset: int) -> Page:
    """Return a page of the strategies that match, in an order that is the same at every call."""
    conditions = _conditions(wanted)
    total = connection.execute(select(func.count()).select_from(strategy).where(*conditions)).scalar_one()
    newest = (
        select(evaluation)
        .where(evaluation.c.strategy_id == strategy.c.id)
        .order_by(evaluation.c.id.desc())
        .limit(1)
        .lateral("newest")
    )
    count = (
        select(func.count())
        .where(evaluation.c.strategy_id == strategy.c.id)
        .scalar_subquery()
        .label("evaluations")
    )
    figures = ("instrument", "timeframe", "net_pnl", "trades", "sharpe", "deflated_sharpe", "trials_counted")
    own = ("id", "name", "family", "source", "origin", "licence", "tags", "added_at")
    keys: dict[Order, Any] = {
        "added": strategy.c.added_at.desc(),
        "name": strategy.c.name,
        "sharpe": newest.c.sharpe.desc().nulls_last(),
        "deflated": newest.c.deflated_sharpe.desc().nulls_last(),
    }
    query = (
        select(
            *(strategy.c[name] for name in own),
            count,
            *(newest.c[name] for name in (*figures, "verdict")),
        )
        .select_from(strategy)
        .outerjoin(newest, newest.c.strategy_id == strategy.c.id)
        .where(*conditions)
        .order_by(keys[order], strategy.c.id)
        .limit(limit)
        .offset(offset)
    )
    rows = [StrategyRow(**row) for row in connection.execute(query).mappings()]
    return Page(total=total, offset=offset, rows=rows)


def _conditions(wanted: Filter) -> list[Any]:
    found: list[Any] = []
    words = re.findall(r"\w+", wanted.text.casefold().replace("_", " "))
    if words:
        # Beginnings of words, all of them.
        query = " & ".join(f"{word}:*" for word in words)
        found.append(strategy.c.words.op("@@")(func.to_tsquery("simple", query)))
    found += [
        strategy.c[name] == value
        for name in ("family", "source")
        if (value := getattr(wanted, name)) is not None
    ]
    if wanted.tag is not None:
        found.append(strategy.c.tags.contains([wanted.tag]))
    of_some = [
        evaluation.c[name] == value
        for name in ("instrument", "timeframe", "verdict", "survives")
        if (value := getattr(wanted, name)) is not None
    ]
    if wanted.min_trades is not None:
        of_some.append(evaluation.c.trades >= wanted.min_trades)
    if of_some:
        one = select(evaluation.c.id).where(and_(evaluation.c.strategy_id == strategy.c.id, *of_some))
        found.append(one.exists())
    return found


def find_id(connection: Connection, key: str) -> str:
    """Return the whole id of a strategy named by an id, its beginning, a spec's hash, or its name.

    Raises
    ------
    InputError
        If there is none, or more than one.
    """
    known = select(strategy.c.id)
    for query in (
        known.where(strategy.c.id == key),
        select(spelling.c.strategy_id).where(spelling.c.spec_hash == key),
        select(spelling.c.strategy_id).where(spelling.c.name == key).distinct(),
        known.where(strategy.c.id.startswith(key, autoescape=True)) if len(key) >= _SHORTEST_ID else None,
    ):
        found = [] if query is None else list(connection.execute(query.limit(_LISTED)).scalars())
        if len(found) == 1:
            return str(found[0])
        if found:
            ids = ", ".join(sorted(one[:12] for one in found))
            raise InputError(f"A strategy must be named by one id, but {key!r} is that of several: {ids}.")
    names = [*connection.execute(select(strategy.c.name).distinct().limit(500)).scalars()]
    hint = did_you_mean(key, names) if names else " It is empty."
    raise InputError(f"A strategy must be in the library, but {key!r} is not.{hint}")


def read_strategy(connection: Connection, identity: str) -> Strategy:
    """Return all that is known of a strategy, see `find_id`."""
    row = connection.execute(select(strategy).where(strategy.c.id == identity)).mappings().one()
    own = {name: value for name, value in row.items() if name != "words"}
    spelled = select(spelling).where(spelling.c.strategy_id == identity).order_by(spelling.c.added_at)
    past = select(performance).where(performance.c.strategy_id == identity)
    past = past.order_by(performance.c.start_ns, performance.c.id)
    parents = select(lineage.c.parent).where(lineage.c.child == identity).order_by(lineage.c.parent)
    children = select(lineage.c.child).where(lineage.c.parent == identity).order_by(lineage.c.child)
    alike = select(strategy.c.id).where(strategy.c.structure == row["structure"], strategy.c.id != identity)
    return Strategy(
        **own,
        spellings=[
            Spelling(spec_hash=one["spec_hash"], name=one["name"], spec=msgspec.json.decode(one["spec"]))
            for one in connection.execute(spelled).mappings()
        ],
        evaluations=read_evaluations(
            connection, evaluations_of().where(evaluation.c.strategy_id == identity)
        ),
        history=[
            Performance(**{name: one[name] for name in Performance.__struct_fields__})
            for one in connection.execute(past).mappings()
        ],
        parents=[*connection.execute(parents).scalars()],
        children=[*connection.execute(children).scalars()],
        same_structure=[*connection.execute(alike.order_by(strategy.c.id)).scalars()],
    )


def evaluations_of() -> Select[Any]:
    """Return the query of all evaluations with the names of their runs, in order."""
    query = select(evaluation, run.c.name.label("run")).join(run, run.c.id == evaluation.c.run_id)
    return query.order_by(evaluation.c.id)


def read_evaluations(connection: Connection, query: Select[Any]) -> list[Evaluation]:
    """Return the evaluations of a query made of `evaluations_of`."""
    rows = connection.execute(query).mappings()
    return [Evaluation(**{name: row[name] for name in Evaluation.__struct_fields__}) for row in rows]
