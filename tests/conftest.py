"""Fixtures every test may use.  Knows where the optional real market data lies, nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

REPOSITORY = Path(__file__).resolve().parents[1]

# No example fails for being slow: machines that run tests are shared and busy.
settings.register_profile("aiopt", deadline=None)
settings.load_profile("aiopt")


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
