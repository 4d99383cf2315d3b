from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from aiopt.errors import ConfigError
from aiopt.training import TrainingConfig, load_training_config
from aiopt.training.libraries import _load


def test_a_file_is_read_and_unknown_keys_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "training.yaml"
    path.write_text("stages:\n- {name: a, steps: 3, learning_rate: 1e-4}\nlora: {rank: 8}\nmethod: lora\n")
    found = load_training_config(path)
    assert (found.stages[0].learning_rate, found.lora.rank, found.steps) == (1e-4, 8, 3)
    path.write_text("batchsize: 3\n")
    with pytest.raises(ConfigError, match=r"Unknown key 'batchsize' .*Did you mean 'batch_size'"):
        load_training_config(path)
    assert load_training_config(None) == TrainingConfig()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stages": []}, "`stages` must hold at least one"),
        ({"stages": [{"name": "a"}, {"name": "a"}]}, "must have different names"),
        ({"stages": [{"steps": 0}]}, "<= stages.steps <="),
        ({"micro_batch": 17}, "1 <= micro_batch <= 16"),
        ({"balance": "a b"}, "`balance` must be `answer` or a key"),
        ({"probe": {"split": "test"}}, "must not be the test split"),
        ({"lora": {"targets": "("}}, "`lora.targets` must be a regular expression"),
        ({"augment": {"invert": 2}}, "augment.invert <= 1"),
        ({"image": {"scale_resolution": 8}}, "image.scale_resolution"),
        ({"optimizer": {"clip_norm": 0}}, "optimizer.clip_norm"),
    ],
)
def test_values_out_of_range_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, msgspec.ValidationError), match=message):
        msgspec.convert(changes, TrainingConfig)


def test_a_library_that_is_missing_is_named_with_the_extra_that_brings_it() -> None:
    with pytest.raises(ConfigError, match=r"needs no_such_library, .* 'aiopt\[cpu,train\]'"):
        _load("no_such_library")
