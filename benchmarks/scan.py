"""Scan: readings a second through the endpoint with 1, 8 and 32 requests in flight, beside bare vLLM.

The tiny random checkpoint, 64 tokens a reply: each reading is asked twice, since what was cut off is no
reading, so the work is the same for every window.  Bare vLLM is the engine itself, asked the scan's first
questions directly, as many at a time; both are given in questions a second.  AIOPT_BENCH_WINDOWS (default 64)
is the number of windows of each measurement but the first, which has a quarter.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from aiopt.analyst import ANALYSIS_SCHEMA, DEFAULT_PROMPT, AnalystSettings, analysis_messages
from aiopt.analyst.scans import ScanConfig, load_readings, run_scan, windows_of
from aiopt.analyst.scans.scanning import WindowReader
from aiopt.testing.bars import random_walk_bar_set
from benchmarks import serving
from benchmarks._harness import Figure

AT_ONCE = (1, 8, 32)
WINDOWS = int(os.environ.get("AIOPT_BENCH_WINDOWS", "64"))
MAX_TOKENS = 64
BARS = random_walk_bar_set(4_000, seed=9)


def run() -> list[Figure]:
    """Measure and return the figures."""
    checkpoint = serving._checkpoint()
    # As many sequences as requests at most: the engine must not be what keeps them waiting.
    serving.ENGINE["max_sequences"] = max(AT_ONCE)
    bare = _bare(checkpoint)
    with serving.our_endpoint(checkpoint, "default") as target:
        os.environ["AIOPT_ANALYST_TOKEN"] = target.token
        ours = {n: _scan(target.url, n) for n in AT_ONCE}
    figures = []
    for n in AT_ONCE:
        readings, questions, seconds = ours[n]
        rate, bare_rate = questions / seconds, bare[n]["questions"] / bare[n]["seconds"]
        figures += [
            Figure(name=f"readings_{n}_in_flight", value=round(readings / seconds, 3), unit="readings/s"),
            Figure(name=f"questions_{n}_in_flight", value=round(rate, 3), unit="questions/s"),
            Figure(name=f"bare_questions_{n}_at_once", value=round(bare_rate, 3), unit="questions/s"),
            Figure(name=f"ratio_{n}", value=round(rate / bare_rate, 3), unit="x"),
        ]
    return figures


def _count(at_once: int) -> int:
    return max(1, WINDOWS // 4) if at_once == 1 else WINDOWS


def _settings(at_once: int, endpoint: str = "http://127.0.0.1:1/v1") -> AnalystSettings:
    return AnalystSettings(
        endpoint=endpoint, concurrency=at_once, max_tokens=MAX_TOKENS, timeout_s=600.0, retries=0
    )


def _scan(url: str, at_once: int) -> tuple[int, int, float]:
    """Return windows, questions and seconds of a scan through the endpoint."""
    # Other bars for each: what was asked before lies in the engine's prefix cache.
    bars = BARS.slice(1_000 * AT_ONCE.index(at_once), 1_000 * AT_ONCE.index(at_once) + 1_000)
    config = ScanConfig(windows=_count(at_once), reader="model", analyst=_settings(at_once, f"{url}/v1"))
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        found = run_scan(bars, config, Path(folder) / "scan")
        seconds = time.perf_counter() - began
        rows = load_readings(Path(folder) / "scan")
    assert found.open == 0, found
    assert len(rows) == config.windows
    assert all(row.questions == 2 and row.image_sha256 for row in rows), "every window is asked twice"
    return len(rows), sum(row.questions for row in rows), seconds


def _questions(at_once: int) -> list[list[dict[str, Any]]]:
    start = 1_000 * AT_ONCE.index(at_once)
    bars = BARS.slice(start, start + 1_000)
    config = ScanConfig(windows=_count(at_once), reader="model", analyst=_settings(at_once))
    reader = WindowReader(bars, config)
    return [
        analysis_messages(reader.request(window), DEFAULT_PROMPT, picture=True, numbers=True)
        for window in windows_of(config, len(bars))
    ]


def _bare(checkpoint: Path) -> dict[int, dict[str, float]]:
    """Return what bare vLLM took, by questions at a time."""
    questions: list[list[dict[str, Any]]] = []
    places: dict[str, tuple[int, int]] = {}
    for n in AT_ONCE:
        mine = _questions(n)
        places[str(n)] = (len(questions), len(mine))
        questions += mine
    job = {
        "model": str(checkpoint),
        "arguments": {
            "dtype": "bfloat16",
            "max_model_len": serving.ENGINE["max_context_tokens"],
            "max_num_seqs": serving.ENGINE["max_sequences"],
            "limit_mm_per_prompt": {"image": 4, "video": 0},
            "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
            "enforce_eager": True,
            "seed": 0,
        },
        "schema": ANALYSIS_SCHEMA,
        "max_tokens": MAX_TOKENS,
        "questions": questions,
        "at_once": places,
    }
    environment = {
        **serving._environment(),
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_LOGGING_LEVEL": "WARNING",
        "VLLM_CPU_KVCACHE_SPACE": str(serving.ENGINE["kv_cache_gib"]),
        "OMP_NUM_THREADS": str(serving.ENGINE["threads"]),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    }
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder) / "job.json", Path(folder) / "found.json"
        given.write_bytes(msgspec.json.encode(job))
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks._bare_engine", str(given), str(out)]
        subprocess.run(command, check=True, env=environment, stdout=sys.stderr)
        found = json.loads(out.read_text())
    for n in AT_ONCE:
        one = found[str(n)]
        assert one["questions"] == _count(n), one
        assert one["tokens"] >= one["questions"] * MAX_TOKENS / 2, "answers are too short to be the work"
    return {n: found[str(n)] for n in AT_ONCE}
