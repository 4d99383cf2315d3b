"""What a training says while it runs: in the log of a job and on the terminal."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("torch")

from rich.console import Console

import cluster.cli.model_train as command
from aiopt.errors import ConfigError
from aiopt.training.loop import Look, StepReport
from aiopt.training.memory_plan import MemoryPlan
from aiopt.training.training import TrainingResult
from cluster.training.job import print_note, print_step, run_job, step_text, train_job, training_job

ROW = StepReport(
    step=7,
    steps=1_200,
    stage="trend",
    loss=0.6931,
    learning_rate=2e-3,
    gradient_norm=1.0,
    tokens=1_000,
    answer_tokens=40,
    tokens_per_s=1_234.0,
    eta_s=3_725.0,
    memory_bytes=3 * 2**30,
    look=None,
    best=False,
)
LOOK = Look(accuracy=0.75, token_accuracy=0.9, loss=0.5, rows=64)


def at(step: int, look: Look | None = None, *, best: bool = False) -> StepReport:
    return msgspec.structs.replace(ROW, step=step, look=look, best=best)


def test_a_step_is_one_line_with_rate_memory_and_time_left() -> None:
    text = step_text(ROW)
    assert text == ("step 7/1,200 trend: loss 0.6931, rate 2.00e-03, 1,234 tokens/s, 3.00 GiB, 1:02:05 left")
    assert step_text(msgspec.structs.replace(ROW, eta_s=65.4)).endswith("1:05 left")
    assert step_text(at(7, LOOK)).endswith("; probe 75.0% right, loss 0.5000")
    assert step_text(at(7, LOOK, best=True)).endswith("the best so far")


def test_a_job_logs_looks_every_tenth_step_and_the_last(capsys: pytest.CaptureFixture[str]) -> None:
    for row in (at(7), at(8, LOOK), at(10), at(11), at(1_200)):
        print_step(row)
    print_note("a worker died")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("/")[0] for line in lines[:3]] == ["step 8", "step 10", "step 1,200"]
    assert lines[3:] == ["a worker died"]


def test_the_terminal_shows_a_step_in_some_seconds_and_every_look(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(command.time, "monotonic", lambda: now[0])
    printed = io.StringIO()
    shown = command._Shown(Console(file=printed, width=40))
    for seconds, row in ((0, at(1)), (1, at(2)), (2, at(3, LOOK)), (3, at(4)), (8, at(5)), (9, at(1_200))):
        now[0] = 100.0 + seconds
        shown.report(row)
    lines = printed.getvalue().splitlines()
    assert [line.split("/")[0] for line in lines] == ["step 1", "step 3", "step 5", "step 1,200"]


def test_a_result_says_what_was_kept_and_where() -> None:
    plan = MemoryPlan(
        weights=1,
        gradients=1,
        optimizer=1,
        activations=1,
        logits=1,
        library=1,
        trained=1,
        parameters=1,
    )
    result = TrainingResult(
        identity="1" * 64,
        checkpoint="out/checkpoint",
        revision="2" * 64,
        weights_hash="3" * 64,
        step=800,
        steps_done=1_200,
        tokens=1_000_000,
        look=LOOK,
        plan=plan,
    )
    printed = io.StringIO()
    command._print(Console(file=printed, width=200), result)
    assert printed.getvalue().splitlines() == [
        "1,200 steps, 1,000,000 tokens.",
        "Kept step 800: 75.0% of 64 rows of the probe answered right, loss 0.5000.",
        f"out/checkpoint revision {'2' * 12}",
        f"weights {'3' * 12}, identity {'1' * 12}",
    ]


@dataclass(frozen=True)
class Finished:
    checkpoint: str = "out/checkpoint"
    revision: str = "abc"


def test_a_job_connects_trains_on_ray_and_returns_zero(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The way through; tests/ray_local/test_training.py goes it with a real cluster."""
    asked: dict[str, object] = {}
    monkeypatch.setattr("cluster.training.job.training_job", lambda *_, **chosen: asked.update(chosen))
    monkeypatch.setattr("cluster.optimize.connect", lambda: asked.update(connected=True))

    def trained(job: object, **chosen: object) -> Finished:
        asked.update(chosen)
        return Finished()

    monkeypatch.setattr("cluster.training.job.run_job", trained)
    assert train_job(None, data=[tmp_path], base="b", out=tmp_path, device="cpu", workers=2) == 0
    assert (asked["engine"], asked["workers"], asked["connected"]) == ("ray", 2, True)
    assert asked["while_serving"] == "auto", "as the command's"
    assert capsys.readouterr().out == "out/checkpoint revision abc\n"


def test_what_cannot_be_asked_for_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIOPT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match="`--device cuda` needs a GPU"):
        training_job(None, data=[], base=str(tmp_path), out=tmp_path, device="cuda")
    job = training_job(None, data=[tmp_path], base=str(tmp_path), out=tmp_path / "out", device="auto")
    assert job.device == "cpu"
    with pytest.raises(ConfigError, match="is one worker"):
        run_job(job, engine="local", workers=2, report=print_step, note=print_note)
