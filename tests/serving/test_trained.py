"""What our loop trained, served by real vLLM: transformers' answers, swaps under load, rest meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from aiopt.serving.checkpoint.tiny_minicpm import build_checkpoint
from aiopt.testing.chat_load import MAX_TOKENS, ChatLoad, ask
from aiopt.training.records import Record, Records
from aiopt.training.served_equality import GreedyTokens, wire_messages
from aiopt.training.training import run_training
from cluster.cli.main import run
from tests.serving.conftest import ROOT, Served, aiopt
from tests.unit.training.made_training import configured, dataset, job

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(find_spec("vllm") is None, reason="no vLLM here: requirements/install.sh cpu"),
]

PATIENCE_S = 400

TRAINING = """\
name: rest
stages: [{name: rest, steps: 400, learning_rate: 1e-3}]
batch_size: 4
micro_batch: 2
image: {scale_resolution: 56}
probe: {rows: 2, every_steps: 400}
save_every: 1000
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training from the checkpoint that serves, long enough to read its pictures."""
    folder = tmp_path_factory.mktemp("trained")
    build_checkpoint(folder / "tiny", seed=1)
    dataset(folder / "set")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    # Fewer steps teach the form of an answer, but not to look at the picture.
    config = configured(
        stages=[{"steps": 260, "learning_rate": 2e-3}],
        batch_size=8,
        micro_batch=8,
        probe={"rows": 0},
        save_every=1000,
    )
    run_training(job(config, folder / "set", folder / "tiny", folder / "first"))
    torch.set_num_threads(threads)
    return folder


@pytest.fixture(scope="module")
def records(trained: Path) -> list[Record]:
    rows = Records([trained / "set"], "validation")
    return [rows[number] for number in range(len(rows))]


@pytest.fixture(autouse=True)
def first_serves(served: Served) -> Iterator[None]:
    """Other files of this folder start from the first checkpoint."""
    yield
    done = served.swap("tiny:vision:1")
    assert done.state == "done", done.message


def swapped(served: Served, source: Path) -> subprocess.CompletedProcess[str]:
    words = ("--url", served.url, "--state-dir", str(served.folder), "--json")
    return aiopt("model", "swap", str(source), *words)


def test_a_training_is_swapped_in_under_load_and_answers_as_transformers_does(
    served: Served,
    trained: Path,
    records: list[Record],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    prompts = [wire_messages(record) for record in records]
    first = {number: ask(served.client, "minicpm", prompts, number).content for number in range(len(prompts))}
    known = {served.revision(): first}
    reader = GreedyTokens(trained / "first" / "checkpoint")
    expected = [reader.text(reader.said(record, most=MAX_TOKENS)) for record in records]
    with ChatLoad(served.url, served.token, "minicpm", prompts, clients=3) as load:
        done = swapped(served, trained / "first")
        assert done.returncode == 0, done.stdout + done.stderr
        end = time.monotonic() + PATIENCE_S
        while len({answer.revision for answer in load.answers}) < 2:
            assert time.monotonic() < end, "the new model answered nothing"
            time.sleep(0.2)
    result = json.loads((trained / "first" / "result.json").read_text())
    known[result["revision"]] = dict(enumerate(expected))
    assert served.revision() == result["revision"]
    assert [answer for answer in load.answers if answer.status != 200] == []
    foreign = [answer for answer in load.answers if answer.content != known[answer.revision][answer.prompt]]
    assert foreign == [], f"{len(foreign)} of {len(load.answers)}, first: {foreign[0]}"
    assert {answer.revision for answer in load.answers} == set(known)
    reply = served.client.post("/v1/chat/completions", json={"model": "minicpm", "messages": prompts[0]})
    assert reply.headers["x-model-id"] == "first"
    monkeypatch.setenv("AIOPT_ANALYST_TOKEN", served.token)
    words = ["--data", str(trained / "set"), "--endpoint", f"{served.url}/v1", "--json"]
    assert run(["model", "verify-served", str(trained / "first"), *words]) == 0
    found = json.loads(capsys.readouterr().out)["compared"]
    assert found["tasks"] == {
        "trend": {"asked": 12, "equal": 12, "near": 0, "different": 0, "unanswered": 0}
    }, found["differences"]
    said = {reader.text(reader.said(record, most=32)) for record in records}
    assert said == {'{"trend":"up"}', '{"trend":"down"}'}, "the training taught nothing"


def test_a_training_that_is_not_finished_or_damaged_changes_nothing(
    served: Served, trained: Path, tmp_path: Path
) -> None:
    before = served.revision()
    open_one = shutil.copytree(trained / "first", tmp_path / "open")
    (open_one / "result.json").unlink()
    damaged = shutil.copytree(trained / "first", tmp_path / "damaged")
    with (damaged / "checkpoint" / "model.safetensors").open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        last = stream.read(1)[0]
        stream.seek(-1, os.SEEK_END)
        stream.write(bytes([last ^ 1]))
    for source, reason in ((open_one, "must be finished"), (damaged, "must be the one the training wrote")):
        refused = swapped(served, source)
        assert refused.returncode == 1
        operation = json.loads(refused.stdout)
        assert (operation["state"], operation["phase"]) == ("refused", "validate")
        assert reason in operation["message"]
    assert served.revision() == before


@pytest.mark.parametrize("killed", [False, True])
def test_serving_rests_while_a_training_runs_and_comes_back_also_when_that_is_killed(
    served: Served, trained: Path, records: list[Record], tmp_path: Path, killed: bool
) -> None:
    prompts = [wire_messages(record) for record in records]
    before = [ask(served.client, "minicpm", prompts, number).content for number in range(4)]
    revision = served.revision()
    (tmp_path / "training.yaml").write_text(TRAINING if killed else TRAINING.replace("400", "4"))
    words = [str(tmp_path / "training.yaml"), "--data", str(trained / "set"), "--base", str(trained / "tiny")]
    words += ["--out", str(tmp_path / "out"), "--while-serving", "drain", "--device", "cpu"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "AIOPT_STATE_DIR": str(served.folder)}
    with ChatLoad(served.url, served.token, "minicpm", prompts, clients=2) as load:
        training = subprocess.Popen(
            [sys.executable, "-m", "cluster.cli", "model", "train", *words],
            cwd=ROOT,
            env={**environment, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            end = time.monotonic() + PATIENCE_S
            while not (tmp_path / "out" / "metrics.jsonl").is_file():
                assert training.poll() is None, training.stdout and training.stdout.read()
                assert time.monotonic() < end, "the training did not begin"
                time.sleep(0.2)
            status = served.admin.status()
            if killed:
                assert status.cards == ()
                assert {engine.role for engine in status.engines} == {"asleep"}
                assert served.processes("VLLM::EngineCore") == [], "the memory is not free"
                training.send_signal(signal.SIGKILL)
            said, _ = training.communicate(timeout=PATIENCE_S)
        finally:
            if training.poll() is None:
                training.kill()
            training.wait()
        end = time.monotonic() + PATIENCE_S
        while not served.admin.status().cards:
            assert time.monotonic() < end, "serving did not come back"
            time.sleep(0.5)
        resumed = time.monotonic()
        while not any(answer.status == 200 and answer.begun_s > resumed for answer in load.answers):
            assert time.monotonic() < end, "nothing was answered"
            time.sleep(0.2)
    assert training.returncode == (-signal.SIGKILL if killed else 0), said
    statuses = {answer.status for answer in load.answers}
    assert statuses <= {200, 503}, statuses
    lent = [answer for answer in load.answers if answer.status == 503]
    assert all(float(answer.retry_after) > 0 for answer in lent)
    assert all("memory is lent to training out" in answer.content for answer in lent[:1]), lent[:1]
    kinds = [(one.kind, one.state) for one in served.admin.status().operations[-2:]]
    assert kinds == [("park", "done"), ("wake", "done")]
    assert served.revision() == revision
    assert [ask(served.client, "minicpm", prompts, number).content for number in range(4)] == before
