"""The learning rate of a step.  Owns warm-up and decay; knows no optimizer."""

from __future__ import annotations

import math

from aiopt.training.training_config import OptimizerConfig, StageConfig


def learning_rate(stage: StageConfig, settings: OptimizerConfig, step: int) -> float:
    """Return the rate of a step of a stage.

    Parameters
    ----------
    stage : StageConfig
        Steps and highest rate.
    settings : OptimizerConfig
        Warm-up, decay and what is left at the end.
    step : int
        From 0.
    """
    warmup = min(settings.warmup_steps, max(stage.steps - 1, 0))
    if step < warmup:
        return stage.learning_rate * (step + 1) / (warmup + 1)
    if settings.decay == "constant":
        return stage.learning_rate
    done = (step - warmup) / max(stage.steps - warmup - 1, 1)
    left = 0.5 * (1 + math.cos(math.pi * done)) if settings.decay == "cosine" else 1 - done
    return stage.learning_rate * (settings.final_share + (1 - settings.final_share) * left)
