"""A PostgreSQL server of one's own: started by its first user, stopped after its last, killed or not."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aiopt.errors import AioptError, ConfigError, StorageError
from aiopt.library import keeper
from aiopt.library.database import Database, library_folder, without_password
from aiopt.library.failures import LibraryDownError, LibraryError
from aiopt.library.server import EmbeddedServer

ROOT = Path(__file__).resolve().parents[3]
USES = """
import sys
from pathlib import Path
from aiopt.library import init_library
library, changed = init_library(folder=Path(sys.argv[1]))
print(changed, library.status().strategies, flush=True)
sys.stdin.read()
"""


def until(happens: Callable[[], bool], what: str) -> None:
    due = time.monotonic() + 120
    while not happens():
        assert time.monotonic() < due, what
        time.sleep(0.02)


def user(folder: Path) -> subprocess.Popen[str]:
    """Start a process that uses the server of a folder until its input ends."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", USES, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


@pytest.fixture(scope="module")
def users(server: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[str]]]:
    """Return the folder of a server that two processes made at once, and what they said; both are gone."""
    folder = tmp_path_factory.mktemp("own") / "library"
    both = [user(folder), user(folder)]
    words = [one.stdout.readline() for one in both if one.stdout]
    both[0].kill()
    both[0].communicate()
    assert keeper.server_pid(folder) is not None, "one user is left"
    both[1].communicate("")
    assert [one.returncode for one in both] == [-signal.SIGKILL, 0]
    yield folder, words
    until(lambda: keeper.server_pid(folder) is None, "the server stops after its last user")


def test_two_who_begin_at_once_make_it_once(users: tuple[Path, list[str]]) -> None:
    assert sorted(users[1]) == ["False 0\n", "True 0\n"]


def test_it_stops_after_its_last_user_killed_or_not(users: tuple[Path, list[str]]) -> None:
    folder, _ = users
    until(lambda: keeper.server_pid(folder) is None, "nobody uses it")
    with EmbeddedServer(folder) as server:
        assert server.in_use
        assert server.pid is not None
        assert "in use" in repr(server)
    until(lambda: server.pid is None, "nobody uses it")


def test_a_killed_server_is_started_again_by_the_next_call(users: tuple[Path, list[str]]) -> None:
    folder, _ = users
    with Database(folder=folder) as database:
        with database.begin() as connection:
            connection.exec_driver_sql("create table kept (n int)")
            connection.exec_driver_sql("insert into kept values (1)")
        with pytest.raises(LibraryDownError, match="cannot be reached"), database.begin() as connection:
            connection.exec_driver_sql("insert into kept values (2)")
            # The one process that serves us, too: it would live on for a moment.
            mine = connection.exec_driver_sql("select pg_backend_pid()").scalar_one()
            for pid in (database.server.pid, mine):  # type: ignore[union-attr]
                os.kill(pid, signal.SIGKILL)
            connection.exec_driver_sql("insert into kept values (3)")
        with database.begin() as connection:
            assert connection.exec_driver_sql("select n from kept").scalars().all() == [1]
            connection.exec_driver_sql("drop table kept")


def test_a_server_whose_keeper_was_killed_gets_another(users: tuple[Path, list[str]]) -> None:
    folder, _ = users
    with EmbeddedServer(folder) as first:
        found = first.pid
        os.kill(int((folder / keeper.KEEPER).read_text()), signal.SIGKILL)
        with EmbeddedServer(folder) as second:
            assert second.pid == found
    until(lambda: keeper.server_pid(folder) is None, "the new keeper stops it")


def test_damaged_data_is_named_and_left(users: tuple[Path, list[str]]) -> None:
    folder, _ = users
    until(lambda: keeper.server_pid(folder) is None, "nobody uses it")
    control = folder / "data" / "global" / "pg_control"
    whole = control.read_bytes()
    control.write_bytes(b"\0" * len(whole))
    try:
        with pytest.raises(LibraryDownError, match=r"(?s)must come up.*restore FILE"):
            EmbeddedServer(folder).start(timeout_s=1.0)
    finally:
        control.write_bytes(whole)
    with EmbeddedServer(folder) as server:
        assert server.answers() == ""


def test_a_folder_that_cannot_be_made_is_named(server: object, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        EmbeddedServer(tmp_path / "file" / "library").start()


def test_a_long_path_has_its_socket_elsewhere(tmp_path: Path) -> None:
    long = EmbeddedServer(tmp_path / ("x" * 100))
    assert len(str(long.socket_folder)) < 100
    assert EmbeddedServer(Path("/short")).socket_folder == Path("/short/socket")


def test_it_lies_in_the_state_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIOPT_STATE_DIR", str(tmp_path))
    assert library_folder() == tmp_path / "library"
    monkeypatch.delenv("AIOPT_STATE_DIR")
    assert library_folder() == Path("~/.aiopt/library").expanduser()


def test_a_server_that_is_not_there_is_told_without_the_password(server: object) -> None:
    url = "postgresql://somebody:secret@127.0.0.1:1/library"
    with pytest.raises(LibraryDownError) as told, Database(url).begin():
        pass
    assert "postgresql://somebody@127.0.0.1:1/library" in str(told.value)
    assert "secret" not in str(told.value) + repr(Database(url)) + without_password(url)


@pytest.mark.parametrize("url", ["mysql://a:b@c/d", "library.db"])
def test_another_kind_of_database_is_refused(server: object, url: str) -> None:
    with pytest.raises(ConfigError, match=r"must be postgresql://") as told:
        Database(url)
    assert "b@c" not in str(told.value)


def test_a_wrong_password_and_a_missing_database_are_told(server: EmbeddedServer, library_url: str) -> None:
    hba = server.folder / "data" / "pg_hba.conf"
    rules = hba.read_text()
    with Database(library_url) as database, database.begin() as connection:
        connection.exec_driver_sql("create role guest login password 'right'")
        try:
            hba.write_text("local all guest scram-sha-256\n" + rules)
            connection.exec_driver_sql("commit")
            connection.exec_driver_sql("select pg_reload_conf()")
            wrong = re.sub("//[^@]*@", "//guest:wrong@", library_url)
            told: list[AioptError] = []

            def refused() -> bool:
                with pytest.raises(AioptError) as found, Database(wrong).begin():
                    pytest.skip("the new rules are not read yet")
                told.append(found.value)
                return "password" in str(found.value)

            until(refused, "the wrong password is refused")
            assert isinstance(told[-1], LibraryError)
            assert "must accept user and password" in str(told[-1])
            assert "wrong" not in str(told[-1])
        finally:
            hba.write_text(rules)
            connection.exec_driver_sql("select pg_reload_conf()")
    missing = re.sub("/test_[a-z0-9]+", "/nowhere", library_url)
    with pytest.raises(LibraryError, match="must exist"), Database(missing).begin():
        pass
