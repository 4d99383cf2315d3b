"""Where a checkpoint comes from: the hub's cache, a folder, or generated."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiopt.serving.checkpoint.sources import check_present, resolve
from aiopt.serving.checkpoint.validation import CheckpointError


def test_missing_weights_are_named_with_the_command_that_fetches_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"(hf|huggingface-cli) download openbmb/MiniCPM-V-4.6"):
        check_present("openbmb/MiniCPM-V-4.6", tmp_path)


def test_a_generated_checkpoint_is_made_once_where_it_is_named(tmp_path: Path) -> None:
    first = resolve("tiny:text:3", tmp_path)
    stamp = Path(first, "model.safetensors").stat().st_mtime_ns
    assert resolve("tiny:text:3", tmp_path) == first
    assert Path(first, "model.safetensors").stat().st_mtime_ns == stamp
    check_present("tiny:text:3", tmp_path)
    with pytest.raises(CheckpointError, match="must be named tiny:vision:SEED"):
        resolve("tiny:audio:1", tmp_path)
