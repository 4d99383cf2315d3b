"""Unit tests run without Ray: starting it is an error."""

from __future__ import annotations

import sys

import pytest


@pytest.fixture(autouse=True)
def disallow_ray_init(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a unit test that starts Ray, also implicitly through `f.remote()`."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise RuntimeError("Unit tests must not depend on Ray being initialised.")

    if "ray" in sys.modules:
        monkeypatch.setattr("ray.init", refuse)
