"""Model swaps under load: latency before, during and after, and swap time by phase, on generated weights.

Eight clients ask all the time, every third question with a picture.  First one model serves undisturbed, then
a second one is loaded beside it and takes over, then the two are swapped back and forth, then one serves
undisturbed again.  The figures of "during" hold the requests that were under way while an operation ran.
Every answer is checked against what the model it names answers without load.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import httpx

from aiopt.serving.backend import Operation
from aiopt.serving.endpoint import AdminClient
from aiopt.testing.chat_load import Answer, ChatLoad, ask, mixed_prompts
from benchmarks._harness import ROOT, Figure, median
from cluster.ports import free_port

CLIENTS = 8
SWAPS = 10
QUIET_S = 10.0
MODELS = ("tiny:vision:1", "tiny:vision:2")


def run() -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="aiopt-swap-") as name:
        state_dir = ["--state-dir", name]
        port = str(free_port())
        report = _aiopt("serve", "up", "--profile", "test", "--port", port, *state_dir, "--json")
        try:
            return _measure(report)
        finally:
            _aiopt("serve", "down", *state_dir, "--json")


def _measure(report: dict[str, Any]) -> list[Figure]:
    url, token = report["url"], report["token"]
    admin = AdminClient(url, Path(report["admin_token_file"]).read_text().strip())
    client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=180)
    prompts = mixed_prompts()
    known: dict[str, dict[int, str]] = {}

    def learn() -> None:
        answers = [ask(client, "minicpm", prompts, index) for index in range(len(prompts))]
        known[answers[0].revision] = {answer.prompt: answer.content for answer in answers}

    def swap(source: str) -> Operation:
        operation = admin.begin("swap", model="minicpm", checkpoint=source)
        for current in admin.follow(operation):
            operation = current
        assert operation.state == "done", operation.message
        return operation

    learn()
    with ChatLoad(url, token, "minicpm", prompts, clients=CLIENTS) as load:
        time.sleep(QUIET_S)
        marks = [time.monotonic()]
        first = swap(MODELS[1])
        marks.append(time.monotonic())
        swaps = [swap(MODELS[number % 2]) for number in range(SWAPS)]
        marks.append(time.monotonic())
        time.sleep(QUIET_S)
    learn()
    swap(MODELS[0])
    learn()
    answers = load.answers
    failed = [answer for answer in answers if answer.status != httpx.codes.OK]
    foreign = [
        answer
        for answer in answers
        if answer.status == httpx.codes.OK and answer.content != known[answer.revision][answer.prompt]
    ]
    assert {answer.revision for answer in answers} == set(known), "one of the models never answered"
    parts = {
        "before": [a for a in answers if a.begun_s + a.seconds < marks[0]],
        "during_load": [a for a in answers if a.begun_s < marks[1] and a.begun_s + a.seconds > marks[0]],
        "during_swaps": [a for a in answers if a.begun_s < marks[2] and a.begun_s + a.seconds > marks[1]],
        "after": [a for a in answers if a.begun_s > marks[2]],
    }
    figures = [
        Figure(name="requests", value=len(answers), unit="requests"),
        Figure(name="failed_requests", value=len(failed), unit="requests", target=0.0),
        Figure(name="answers_of_another_model", value=len(foreign), unit="requests", target=0.0),
    ]
    for part, found in parts.items():
        assert found, f"no request {part}"
        figures += _latency(part, found)
    figures += [
        Figure(name=f"first_swap_{phase.phase}", value=phase.seconds, unit="s") for phase in first.phases
    ]
    by_phase: dict[str, list[float]] = defaultdict(list)
    for operation in swaps:
        for phase in operation.phases:
            by_phase[phase.phase].append(phase.seconds)
    figures += [
        Figure(name=f"swap_{phase}", value=round(median(times), 4), unit="s")
        for phase, times in by_phase.items()
    ]
    whole = [sum(phase.seconds for phase in operation.phases) for operation in swaps]
    figures.append(Figure(name="swap_whole", value=round(median(whole), 4), unit="s", target=1.0))
    client.close()
    admin.close()
    return figures


def _latency(part: str, answers: list[Answer]) -> list[Figure]:
    seconds = sorted(answer.seconds for answer in answers)
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return [
        Figure(name=f"{part}_p50", value=round(cuts[49] * 1e3, 1), unit="ms"),
        Figure(name=f"{part}_p99", value=round(cuts[98] * 1e3, 1), unit="ms"),
    ]


def _aiopt(*arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "cluster.cli", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    document: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == 0, document
    return document
