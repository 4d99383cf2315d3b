"""A recipe of the eyes that is made in a minute: few charts, one easy question, and bars to call real."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from aiopt.eyes.eyes_config import EyesConfig
from aiopt.testing.bars import random_walk_bars, write_bar_file

BARS = "EURUSD/1h"

QUICK: dict[str, Any] = {
    "charts": {
        "sources": [
            {"type": "generator", "name": "templates", "charts": 70, "noise": [0.5, 1.0]},
            {"type": "generator", "name": "processes", "charts": 6},
        ],
        "tasks": ["trend", "close_position", "bias"],
        "held_out": {"kinds": ["hammer", "shooting_star"], "generators": ["processes"]},
        "shares": {"train": 0.6, "validation": 0.3, "test": 0.1},
        "pictures": {"mark_synthetic": False},
    },
    "shapes": {
        "sources": [{"type": "generator", "name": "walks", "charts": 40}],
        "tasks": ["trend", "close_position"],
        "pictures": {"mark_synthetic": False},
        "seed": 2,
    },
    "real": {
        "sources": [{"type": "bars", "path": BARS, "stride": 60}],
        "tasks": ["trend", "forward"],
        "pictures": {"mark_synthetic": False},
        "across_gaps": "keep",
    },
    "sight": {
        "charts": 60,
        "tower": {"steps": 24, "batch_size": 16, "every_steps": 12, "warmup_steps": 4},
        "cnn": {"steps": 8, "batch_size": 16, "every_steps": 4},
    },
    "training": {
        "name": "quick eyes",
        "seed": 3,
        "stages": [{"steps": 12, "learning_rate": 2e-3}],
        "batch_size": 8,
        "micro_batch": 4,
        "optimizer": {"warmup_steps": 2},
        "image": {"scale_resolution": 224},
        "probe": {"rows": 12, "every_steps": 6},
        "save_every": 6,
    },
    "judging": {"charts": 6, "controls": 2},
}


def quick(**changes: Any) -> EyesConfig:
    """Return the recipe with other sections."""
    return msgspec.convert({**QUICK, **changes}, EyesConfig)


def write_real_bars(folder: Path) -> Path:
    """Write bars to call real; return the folder of bars."""
    path = folder / BARS / "bid.parquet"
    path.parent.mkdir(parents=True)
    write_bar_file(random_walk_bars(3_000, seed=5, timeframe="1h"), path)
    return folder
