"""Fixtures every test may use.  Knows where the optional real market data lies, nothing else."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ["tests.run.measuring"]

REPOSITORY = Path(__file__).resolve().parents[1]

# No example fails for being slow: machines that run tests are shared and busy.
settings.register_profile("aiopt", deadline=None)
settings.load_profile("aiopt")


LEDGERS = Path(tempfile.mkdtemp(prefix="aiopt-test-ledgers-"))
"""Where the trials of tests count: never in the ledger of who runs them."""

os.environ["AIOPT_LEDGER_DIR"] = str(LEDGERS / "outside-tests")
# What a run does must not depend on the Pine engine of who runs the tests; tests that need one name it.
os.environ["AIOPT_PINE_ENGINE_DIR"] = str(LEDGERS / "no-pine-engine")


@pytest.fixture(autouse=True)
def own_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a ledger of its own: what one tries must not count in another."""
    monkeypatch.setenv("AIOPT_LEDGER_DIR", str(LEDGERS / uuid.uuid4().hex))


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[object]) -> Iterator[None]:
    """Give each fixture that outlives a test a ledger of its own too."""
    if fixturedef.scope == "function":
        return (yield)
    before = os.environ["AIOPT_LEDGER_DIR"]
    os.environ["AIOPT_LEDGER_DIR"] = str(LEDGERS / uuid.uuid4().hex)
    try:
        return (yield)
    finally:
        os.environ["AIOPT_LEDGER_DIR"] = before


def pytest_unconfigure() -> None:
    """Remove what the tests counted."""
    shutil.rmtree(LEDGERS, ignore_errors=True)


@pytest.fixture(autouse=True)
def unset_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test depend on the width of who runs it: workers of pytest-xdist are given one."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real market data, or skip: it is the providers' and not in this repository."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("real market data is absent: no folder ../shared/data beside the repository")
    return folder
