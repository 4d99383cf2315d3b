"""`aiopt model train` and the job: what they print, and how they fail."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")

from aiopt.serving.endpoint import Endpoint, write_endpoint
from cluster.cli.main import run
from jobs.train import main
from tests.unit.serving.conftest import ADMIN
from tests.unit.serving.live import live_gateway
from tests.unit.training.made_training import dataset

CONFIG = """\
name: quick
stages: [{name: quick, steps: 2, learning_rate: 1e-3}]
batch_size: 2
micro_batch: 2
image: {scale_resolution: 56}
probe: {rows: 2, every_steps: 2}
"""


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The options of a training that works."""
    import torch

    monkeypatch.setenv("AIOPT_STATE_DIR", str(tmp_path / "state"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    (tmp_path / "training.yaml").write_text(CONFIG)
    dataset(tmp_path / "set", rows=4)
    yield ["--data", str(tmp_path / "set"), "--base", "tiny:vision:1", "--out", str(tmp_path / "out")]
    torch.set_num_threads(threads)


def test_a_training_is_planned_and_done(
    tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(tmp_path / "training.yaml")
    assert run(["model", "train", config, *words, "--plan", "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert planned["plan"]["parameters"] == 578818
    assert planned["total_bytes"] < planned["device_bytes"]
    assert not (tmp_path / "out").exists(), "a plan writes nothing"
    assert run(["model", "train", config, *words]) == 0
    printed = capsys.readouterr()
    assert "2 steps" in printed.out
    assert "rows of the probe answered right" in printed.out
    assert "step 2/2 quick: loss" in printed.err
    assert (tmp_path / "out" / "checkpoint" / "model.safetensors").is_file()


def test_what_cannot_start_ends_with_two_and_says_why(
    tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for more, message in (
        (["--base", "nobody/nothing"], "hf download nobody/nothing"),
        (["--workers", "2", "--engine", "local"], "`--engine local` is one worker"),
        (["--base", "tiny:huge:1"], "tiny:vision:SEED"),
    ):
        assert run(["model", "train", *words, *more]) == 2
        assert message in capsys.readouterr().err


def test_the_job_prints_its_error_and_returns_its_code(
    tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "training.yaml").write_text("batchsize: 3\n")
    assert main(["--config", str(tmp_path / "training.yaml"), *words]) == 2
    assert "error: " in (printed := capsys.readouterr().out)
    assert "Did you mean 'batch_size'" in printed
    monkeypatch.setattr(sys, "argv", ["jobs/train.py"])
    with pytest.raises(SystemExit):
        main([])


def test_command_and_job_mind_what_is_served_alike(
    tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The endpoint is real HTTP; the job gets no further than to it, so it needs no cluster."""
    monkeypatch.setenv("AIOPT_SERVE_ADMIN_TOKEN", ADMIN)
    monkeypatch.setattr("cluster.optimize.connect", lambda: None)
    monkeypatch.setattr("cluster.training.beside_serving.available_bytes", lambda: 1)
    words = [*words, "--config", str(tmp_path / "training.yaml")]
    with live_gateway() as live:
        state = tmp_path / "state"
        write_endpoint(state, Endpoint(url=live.url, profile="test", started_cluster=False))
        for mode, reason in (
            ("refuse", "Nothing may serve beside this training, but"),
            ("auto", "Let it rest meanwhile: --while-serving drain"),
        ):
            assert main([*words, "--while-serving", mode]) == 2
            assert reason in capsys.readouterr().out
            command = ["model", "train", *words[-1:], *words[:-2], "--while-serving", mode]
            assert run(command) == 2
            assert reason in " ".join(capsys.readouterr().err.split())
        assert not live.backend.operations
    with pytest.raises(SystemExit):
        main([*words, "--while-serving", "sometimes"])
    assert "invalid choice: 'sometimes'" in capsys.readouterr().err
