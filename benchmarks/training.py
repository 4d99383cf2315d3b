"""Training a tiny model: tokens/s, step time, answer-only logits on and off, Ray Train over the bare loop.

    python -m benchmarks training

Generated charts of 480×320 read at 168×280 and one short question, from a generated checkpoint of the true
architecture, on the CPU with one thread.  ``AIOPT_BENCH_STEPS`` sets the steps.  Ways are run in turn, so
that a busy neighbour slows all of them.  Each run is checked: every step done, the tokens and the losses of
all ways the same, and the weights of the bare loop's repeats equal by hash.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from aiopt.files import GIB
from benchmarks._harness import Figure, median

STEPS = int(os.environ.get("AIOPT_BENCH_STEPS", "30"))
REPEATS = 3
BATCH = 16
CONFIG: dict[str, Any] = {
    "name": "benchmark",
    "seed": 1,
    "stages": [{"name": "trend", "steps": STEPS, "learning_rate": 1e-3}],
    "batch_size": BATCH,
    "micro_batch": 4,
    "image": {"scale_resolution": 224},
    "probe": {"rows": 0},
    "save_every": 10_000,
}


def run() -> list[Figure]:
    """Measure and return the figures."""
    os.environ["OMP_NUM_THREADS"] = "1"  # Ray's workers take it over
    folder = Path(tempfile.mkdtemp(prefix="aiopt-bench-training-"))
    try:
        return _measure(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measure(folder: Path) -> list[Figure]:
    import torch

    from aiopt.dataset.tasks import GeneratorSource, TaskSetConfig, build_tasks
    from aiopt.serving.checkpoint.tiny_minicpm import build_checkpoint

    torch.set_num_threads(1)
    build_checkpoint(folder / "tiny", seed=1)
    charts = GeneratorSource(name="templates", charts=240)
    build_tasks(TaskSetConfig(sources=(charts,), tasks=("trend",), seed=1), folder / "set")
    answer_only = [_alone(folder, "answer-0", answer_logits=True)]
    everywhere = [_alone(folder, "everywhere-0", answer_logits=False)]
    for number in range(1, REPEATS):
        answer_only.append(_alone(folder, f"answer-{number}", answer_logits=True))
        everywhere.append(_alone(folder, f"everywhere-{number}", answer_logits=False))
    on_ray = _on_ray(folder)
    first = answer_only[0]
    assert len({one["weights"] for one in answer_only}) == 1, "repeats of a training are not equal by hash"
    for other in (*answer_only, *everywhere, on_ray):
        assert other["steps"] == STEPS
        assert other["tokens"] == first["tokens"] > 0
        assert abs(other["loss"] - first["loss"]) < 1e-3, (other["loss"], first["loss"])
    rate, rate_off = (median([one["rate"] for one in ways]) for ways in (answer_only, everywhere))
    tokens = first["tokens"] / STEPS
    wall = median([one["wall"] for one in answer_only])
    return [
        Figure(name="steps", value=STEPS, unit="steps"),
        Figure(name="tokens_per_step", value=round(tokens, 1), unit="tokens"),
        Figure(name="tokens_per_s", value=round(rate, 1), unit="tokens/s"),
        Figure(name="step_time", value=round(tokens / rate, 4), unit="s"),
        Figure(name="tokens_per_s_logits_everywhere", value=round(rate_off, 1), unit="tokens/s"),
        Figure(name="answer_logits_speedup", value=round(rate / rate_off, 3), unit="x"),
        Figure(name="memory", value=round(first["memory"] / GIB, 2), unit="GiB"),
        Figure(name="wall_bare_loop", value=round(wall, 2), unit="s"),
        Figure(name="wall_ray_train", value=round(on_ray["wall"], 2), unit="s"),
        Figure(name="ray_train_overhead", value=round(on_ray["wall"] - wall, 2), unit="s"),
        Figure(name="ray_train_step_time", value=round(tokens / on_ray["rate"], 4), unit="s"),
    ]


def _job(folder: Path, name: str, *, answer_logits: bool) -> Any:
    from aiopt.training import TrainingConfig
    from aiopt.training.training import TrainingJob

    config = msgspec.convert({**CONFIG, "answer_logits": answer_logits}, TrainingConfig)
    return TrainingJob(
        config=config,
        data=(folder / "set",),
        base=str(folder / "tiny"),
        out=folder / name,
        device="cpu",
        device_bytes=64 * GIB,
    )


def _alone(folder: Path, name: str, *, answer_logits: bool) -> dict[str, Any]:
    from aiopt.training.training import run_training

    print(f"  {name} …", file=sys.stderr)
    rows: list[Any] = []
    started = time.perf_counter()
    result = run_training(_job(folder, name, answer_logits=answer_logits), report=rows.append)
    return _summary(result, rows, time.perf_counter() - started)


def _on_ray(folder: Path) -> dict[str, Any]:
    import ray

    from aiopt.torchvision_ops import sitecustomize
    from cluster.training.distributed import train_on_ray

    print("  ray train …", file=sys.stderr)
    environment = {"env_vars": {"PYTHONPATH": sitecustomize.python_path(), "OMP_NUM_THREADS": "1"}}
    ray.init(
        num_cpus=2,
        object_store_memory=200_000_000,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env=environment,
    )
    try:
        rows: list[Any] = []
        started = time.perf_counter()
        result = train_on_ray(_job(folder, "ray", answer_logits=True), workers=1, report=rows.append)
        return _summary(result, rows, time.perf_counter() - started)
    finally:
        ray.shutdown()


def _summary(result: Any, rows: list[Any], wall: float) -> dict[str, Any]:
    return {
        "steps": result.steps_done,
        "tokens": result.tokens,
        "weights": result.weights_hash,
        "loss": rows[-1].loss,
        "rate": rows[-1].tokens_per_s,
        "memory": rows[-1].memory_bytes,
        "wall": wall,
    }
