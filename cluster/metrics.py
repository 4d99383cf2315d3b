"""The custom metrics of a run, as Ray exports them to Prometheus.  Owns their names; knows no stage.

They appear on each node's metrics endpoint (port ``MetricsExportPort`` of `ray.nodes()`) with a prefix, e.g.
``ray_aiopt_trials_per_second{run="optimize-1f2e3d4c"}``.
"""

from __future__ import annotations

from ray.util.metrics import Gauge

NAMES: dict[str, str] = {
    "aiopt_ticks_per_second": "Ticks turned into bars per second, last build.",
    "aiopt_trials_per_second": "Backtests finished per second in this sweep.",
    "aiopt_trials_done": "Backtests finished, failed ones and those of an earlier call included.",
    "aiopt_trials_total": "Backtests this run consists of.",
    "aiopt_trials_failed": "Backtests that failed, with a recorded reason.",
    "aiopt_best_score": "Best in-sample score so far.  Nothing is ranked by it.",
}


class RunMetrics:
    """The gauges of one run.

    Parameters
    ----------
    run_id : str
        Value of the label ``run``.
    """

    def __init__(self, run_id: str) -> None:
        self._gauges = {
            name: Gauge(name, description=text, tag_keys=("run",)) for name, text in NAMES.items()
        }
        for gauge in self._gauges.values():
            gauge.set_default_tags({"run": run_id})

    def set(self, name: str, value: float) -> None:
        """Set one gauge of `NAMES`."""
        self._gauges[name].set(value)
