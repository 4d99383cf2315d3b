"""Serving: our endpoint against bare vLLM, same tiny checkpoint and engine settings, in turn in one run.

Both engines are up all the time and each round asks first one, then the other, the same questions: text and
images, whole and streamed, one client and eight.  Failures are counted; the answers of both must be equal, so
both did the work.  The tiny model makes a token in a few milliseconds, so what a request costs outside the
engine shows many times larger than with a real model; milliseconds per request are the figure that carries
over.  Then `/analyze`: one by one, side by side, and as a batch.  AIOPT_BENCH_WAYS names the ways of serving,
one after the other beside the same bare vLLM: `default`, `sockets` (`engine_sockets` of a profile), `haproxy`
(`serve up --haproxy`), `haproxy_sockets`.  `/analyze` is asked the last way only.
AIOPT_BENCH_IMAGES=0 and AIOPT_BENCH_READINGS=0 leave those out.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from aiopt.charts import render_chart
from aiopt.files import GIB, MIB
from aiopt.serving.endpoint import create_token
from aiopt.serving.haproxy import prepare_proxy
from aiopt.testing.bars import random_walk_bars
from aiopt.torchvision_ops import sitecustomize
from benchmarks._harness import CACHE, Figure
from benchmarks._serving_load import Measured, Mode, Target, chat_body, run_round
from cluster import lifecycle
from cluster.resources import NodeResources
from cluster.serving import deploy

ROUNDS = int(os.environ.get("AIOPT_BENCH_ROUNDS", "5"))
PER_CLIENT = 12
READINGS = int(os.environ.get("AIOPT_BENCH_READINGS", "6"))
READING_ROUNDS = 2
START_TIMEOUT_S = 300
WAYS = os.environ.get("AIOPT_BENCH_WAYS", "default").split(",")
KNOWN_WAYS = ("default", "sockets", "haproxy", "haproxy_sockets")
IMAGES = os.environ.get("AIOPT_BENCH_IMAGES", "1") == "1"

ENGINE: dict[str, Any] = {
    "max_context_tokens": 8192,  # a reading with its picture takes about 5,000
    "max_sequences": 16,
    "kv_cache_gib": 1,
    "threads": 1,
    "eager": True,
}
MODES = [
    Mode(stream=stream, image=image, clients=clients)
    for clients in (1, 8)
    for image in ((False, True) if IMAGES else (False,))
    for stream in (False, True)
]


def run() -> list[Figure]:
    """Measure and return the figures."""
    checkpoint = _checkpoint()
    picture = _bars_and_picture()[1]
    unknown = [way for way in WAYS if way not in KNOWN_WAYS]
    assert not unknown, f"AIOPT_BENCH_WAYS must be of {KNOWN_WAYS}, but got {unknown}"
    figures: list[Figure] = []
    with bare_vllm(checkpoint) as bare:
        for way in WAYS:
            with our_endpoint(checkpoint, way) as ours:
                found = _chat_figures(asyncio.run(_chats([bare, ours], picture)))
                if READINGS and way == WAYS[-1]:
                    found += asyncio.run(_readings(ours))
            figures += [msgspec.structs.replace(figure, name=f"{way}_{figure.name}") for figure in found]
            print(f"{way}: {msgspec.json.encode(figures[-len(found) :]).decode()}", file=sys.stderr)
    return figures


def _checkpoint() -> Path:
    folder = CACHE / "tiny-vision-1"
    if not folder.exists():
        # In a process of its own: building it imports torch, which this process does not need.
        code = (
            "import sys; from pathlib import Path; "
            "from aiopt.serving.checkpoint.tiny_minicpm import build_checkpoint; "
            "build_checkpoint(Path(sys.argv[1]), seed=1)"
        )
        subprocess.run([sys.executable, "-c", code, str(folder)], check=True, env=_environment())
    return folder


def _bars_and_picture() -> tuple[Any, bytes]:
    bars = random_walk_bars(120, seed=3)
    return bars, render_chart(bars)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": sitecustomize.python_path(), "HF_HUB_OFFLINE": "1"}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def bare_vllm(checkpoint: Path) -> Iterator[Target]:
    """Run vLLM's own server, as `vllm serve` does, with the engine settings of ours."""
    port, token = free_port(), "bare-vllm-benchmark-token"
    arguments = {
        "model": str(checkpoint),
        "served-model-name": "minicpm",
        "host": "127.0.0.1",
        "port": str(port),
        "api-key": token,
        "dtype": "bfloat16",
        "max-model-len": str(ENGINE["max_context_tokens"]),
        "max-num-seqs": str(ENGINE["max_sequences"]),
        "limit-mm-per-prompt": json.dumps({"image": 4, "video": 0}),
        "structured-outputs-config": json.dumps({"backend": "xgrammar", "disable_any_whitespace": True}),
        "distributed-executor-backend": "uni",
        "seed": "0",
    }
    flags = [
        "--enforce-eager",
        "--enable-prefix-caching",
        "--disable-log-stats",
        "--disable-uvicorn-access-log",
    ]
    command = [sys.executable, "-W", "ignore", "-m", "vllm.entrypoints.openai.api_server", *flags]
    for name, value in arguments.items():
        command += [f"--{name}", value]
    environment = {
        **_environment(),
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_LOGGING_LEVEL": "WARNING",
        "VLLM_CPU_KVCACHE_SPACE": str(ENGINE["kv_cache_gib"]),
        "OMP_NUM_THREADS": str(ENGINE["threads"]),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    }
    log = CACHE / "bare-vllm.log"
    with log.open("w") as stream:
        process = subprocess.Popen(command, env=environment, stdout=stream, stderr=subprocess.STDOUT)
    target = Target("bare", f"http://127.0.0.1:{port}", token)
    try:
        _wait(f"{target.url}/health", lambda: process.poll() is None, log)
        yield target
    finally:
        process.terminate()
        process.wait(60)


@contextlib.contextmanager
def our_endpoint(checkpoint: Path, way: str) -> Iterator[Target]:
    """Serve the checkpoint through `cluster.serving.app` on a Ray head of its own."""
    folder = CACHE / f"serving-state-{os.getpid()}"
    port = free_port()
    node = NodeResources(num_cpus=4, num_gpus=0, memory_bytes=8 * GIB, object_store_bytes=300 * MIB)
    environment = dict(os.environ)
    os.environ["PYTHONPATH"] = sitecustomize.python_path()
    if way.startswith("haproxy"):
        ports = {name: free_port() for name in ("stats_port", "metrics_port", "fallback_port")}
        os.environ.update(prepare_proxy(folder, **ports))
    state, _ = lifecycle.up(folder, node)
    try:
        slot = {"name": "minicpm", "model": str(checkpoint), "engine": ENGINE}
        args = {
            "device": "cpu",
            "models": [slot],
            "state_dir": str(folder),
            "load_timeout_s": START_TIMEOUT_S,
            "engine_sockets": way.endswith("sockets"),
        }
        application = {
            "name": deploy.APPLICATION,
            "route_prefix": "/",
            "import_path": "cluster.serving.app:build_app",
            "args": args,
        }
        document = {"http_options": {"host": "127.0.0.1", "port": port}, "applications": [application]}
        token = create_token(folder, "api")
        deploy.submit(state, lifecycle.read_token(folder), document)
        target = Target("ours", f"http://127.0.0.1:{port}", token)
        _wait(f"{target.url}/healthz", lambda: True, folder)
        yield target
    finally:
        lifecycle.down(folder)
        os.environ.clear()
        os.environ.update(environment)


def _wait(url: str, alive: Any, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and alive():
        with (
            contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError),
            urllib.request.urlopen(url, timeout=5) as answer,
        ):
            if answer.status == 200:
                return
        time.sleep(0.5)
    msg = f"{url} must answer within {START_TIMEOUT_S} s, but did not: see {log}"
    raise RuntimeError(msg)


async def _chats(targets: list[Target], picture: bytes) -> dict[tuple[str, str], Measured]:
    measured = {(target.name, mode.name): Measured() for target in targets for mode in MODES}
    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        number = 0
        for round_ in range(ROUNDS + 1):
            for mode in MODES:
                count = PER_CLIENT if mode.clients == 1 else 3 * mode.clients
                bodies = [chat_body(number + index, mode, picture) for index in range(count)]
                number += count
                # Turns change from round to round, so neither always runs on what the other left busy.
                for target in targets if round_ % 2 else reversed(targets):
                    into = measured[target.name, mode.name] if round_ else Measured()  # the first warms up
                    await run_round(target, mode, bodies, into, session=session)
    return measured


def _chat_figures(measured: dict[tuple[str, str], Measured]) -> list[Figure]:
    figures: list[Figure] = []
    for mode in MODES:
        bare, ours = measured["bare", mode.name], measured["ours", mode.name]
        assert bare.failed == ours.failed == 0, (
            f"{mode.name}: {bare.failed} and {ours.failed} requests failed"
        )
        assert sorted(bare.texts) == sorted(ours.texts), f"{mode.name}: the answers differ"
        bare_ms, our_ms = statistics.median(bare.request_ms), statistics.median(ours.request_ms)
        figures += [
            Figure(name=f"{mode.name}_bare", value=round(bare.rate, 2), unit="requests/s"),
            Figure(name=f"{mode.name}_ours", value=round(ours.rate, 2), unit="requests/s"),
            Figure(name=f"{mode.name}_ratio", value=round(_ratio(ours, bare), 3), unit="x", target=0.9),
            Figure(name=f"{mode.name}_added", value=round(our_ms - bare_ms, 2), unit="ms/request"),
        ]
        if mode.stream:
            for name, side in (("bare", bare), ("ours", ours)):
                value = round(statistics.median(side.first_ms), 2)
                figures.append(Figure(name=f"{mode.name}_first_token_{name}", value=value, unit="ms"))
    completed = sum(side.completed for side in measured.values())
    failed = sum(side.failed for side in measured.values())
    figures.append(Figure(name="completed", value=completed, unit="requests"))
    figures.append(Figure(name="failed", value=failed, unit="requests", target=0))
    return figures


def _ratio(ours: Measured, bare: Measured) -> float:
    """Return the median of the rounds' ratios: a busy moment hits both sides of its round."""
    return statistics.median(a / b for a, b in zip(ours.rates, bare.rates, strict=True))


async def _readings(target: Target) -> list[Figure]:
    bars = random_walk_bars(120 + READINGS, seed=5)
    items = []
    for start in range(READINGS):
        part = bars.slice(start, start + 120)
        columns = {
            name: getattr(part, name).tolist() for name in ("ts_open_ns", "open", "high", "low", "close")
        }
        items.append({"bars": columns, "timeframe": "5m"})
    rates: dict[str, list[float]] = {"one_by_one": [], "side_by_side": [], "batch": []}
    timeout = aiohttp.ClientTimeout(total=600)
    async with aiohttp.ClientSession(timeout=timeout) as session:

        async def ask(body: Any) -> Any:
            async with session.post(f"{target.url}/analyze", json=body, headers=target.headers) as answer:
                document = await answer.json()
                assert answer.status == 200, document
                return document

        for _ in range(READING_ROUNDS):
            started = time.perf_counter()
            single = [await ask(item) for item in items]
            between = time.perf_counter()
            together = await asyncio.gather(*(ask(item) for item in items))
            before_batch = time.perf_counter()
            batch = await ask({"items": items})
            ended = time.perf_counter()
            assert batch["completed"] == READINGS, batch
            for results in (single, together, [item["result"] for item in batch["items"]]):
                # A random model may answer what no chart shows; then it was asked twice and the rules read.
                for result in results:
                    assert any(attempt["completion_tokens"] for attempt in result["attempts"]), result
            rates["one_by_one"].append(READINGS / (between - started))
            rates["side_by_side"].append(READINGS / (before_batch - between))
            rates["batch"].append(READINGS / (ended - before_batch))
    rate = {name: statistics.median(values) for name, values in rates.items()}
    figures = [
        Figure(name=f"analyses_{name}", value=round(value, 2), unit="analyses/s")
        for name, value in rate.items()
    ]
    speedup = Figure(
        name="analyses_batch_speedup", value=round(rate["batch"] / rate["one_by_one"], 2), unit="x"
    )
    return [*figures, speedup]
