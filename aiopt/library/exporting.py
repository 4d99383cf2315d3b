"""The strategies of the library as a file of JSON lines.  Owns the lines; the library stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
from sqlalchemy import select

from aiopt.files import atomic_path
from aiopt.library import schema
from aiopt.library.database import Database
from aiopt.library.records import Filter
from aiopt.library.strategies import list_strategies, read_strategy
from aiopt.library.tables import run

_AT_ONCE = 200


def export(
    database: Database,
    out: Path,
    wanted: Filter | None = None,
    progress: Callable[[float], None] = lambda done: None,
) -> int:
    """Write strategies with their specs, evaluations and history; return how many.

    The first line says of which version the tables are and which runs there are; each other line is one
    `Strategy`, by name.  All lines are of one moment.

    Parameters
    ----------
    database : Database
        With a library.
    out : Path
        Replaced as a whole, or left as it was.
    wanted : Filter, optional
        Which; by default all.
    progress : callable
        Called with the strategies written so far.
    """
    encode = msgspec.json.Encoder(order="sorted").encode
    done = 0
    with atomic_path(out) as temporary, temporary.open("wb") as stream, database.begin() as connection:
        # One snapshot for every query of the transaction.
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        schema.check_current(connection, database.place)
        total = list_strategies(connection, wanted or Filter(), "name", 1, 0).total
        columns = [
            run.c[name] for name in ("id", "name", "data_hashes", "synthetic", "engine", "seed", "trials")
        ]
        runs = [dict(row) for row in connection.execute(select(*columns).order_by(run.c.id)).mappings()]
        head = {"library": schema.newest(), "strategies": total, "runs": runs}
        stream.write(encode(head) + b"\n")
        while done < total:
            page = list_strategies(connection, wanted or Filter(), "name", _AT_ONCE, done)
            for row in page.rows:
                stream.write(encode(read_strategy(connection, row.id)) + b"\n")
                done += 1
                progress(done)
    return done
