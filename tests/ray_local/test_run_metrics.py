"""Figures of a run reach the endpoint that Ray serves them at."""

from __future__ import annotations

import time
import urllib.request

import pytest
import ray

from cluster.metrics import RunMetrics

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def test_metrics_reach_the_endpoint(ray_driver: object) -> None:
    metrics = RunMetrics("run-x")
    metrics.set("aiopt_trials_per_second", 12.5)
    metrics.set("aiopt_ticks_per_second", 3e6)
    metrics.set("aiopt_best_score", 1.25)
    ports = [node["MetricsExportPort"] for node in ray.nodes() if node["Alive"]]
    deadline = time.monotonic() + 60
    wanted = ["ray_aiopt_trials_per_second", "ray_aiopt_ticks_per_second", "ray_aiopt_best_score"]
    while time.monotonic() < deadline:
        text = "".join(
            urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
            for port in ports
        )
        found = [line for line in text.splitlines() if 'run="run-x"' in line]
        if all(any(line.startswith(name) for line in found) for name in wanted):
            break
        time.sleep(1)
    values = {line.split("{")[0]: float(line.rsplit(" ", 1)[1]) for line in found}
    assert values["ray_aiopt_trials_per_second"] == 12.5
    assert values["ray_aiopt_best_score"] == 1.25
