from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from aiopt.errors import DataError
from aiopt.training.order import DataOrder, answer_class
from aiopt.training.schedule import learning_rate
from aiopt.training.training_config import OptimizerConfig, StageConfig


def made(numbers: int = 10, **changes: object) -> DataOrder:
    settings = {"classes": None, "seed": 1, "stage": 0, "batch_size": 4, **changes}
    return DataOrder(np.arange(numbers), **settings)


def test_every_epoch_holds_every_record_once_in_another_order() -> None:
    order = made()
    stream = np.concatenate([order.batch(step) for step in range(10)])
    epochs = stream.reshape(4, 10)
    for epoch in epochs:
        assert sorted(epoch) == list(range(10))
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_a_step_needs_no_step_before_it_and_seeds_and_stages_differ() -> None:
    assert made().batch(7).tolist() == [made().batch(step) for step in range(8)][7].tolist()
    assert made(seed=2).batch(0).tolist() != made().batch(0).tolist()
    assert made(stage=1).batch(0).tolist() != made().batch(0).tolist()


def test_a_batch_may_be_larger_than_the_data() -> None:
    assert Counter(made(3, batch_size=7).batch(0).tolist()).most_common()[-1][1] == 2


def test_balanced_every_class_comes_equally_often_and_every_record_comes() -> None:
    classes = ["rare"] * 2 + ["common"] * 8
    order = made(classes=classes)
    assert order.epoch_size == 16
    counts = Counter(np.concatenate([order.batch(step) for step in range(4)]).tolist())
    assert [counts[number] for number in range(10)] == [4, 4] + [1] * 8


def test_the_class_of_an_answer_is_a_value_of_its_json_or_all_of_it() -> None:
    answer = '{"regime": {"trend": "up"}, "bias": "long"}'
    assert answer_class(answer, "regime.trend", where="row 1") == '"up"'
    assert answer_class(answer, "bias", where="row 1") == '"long"'
    assert answer_class("up", "answer", where="row 1") == "up"
    for key, text in (("trend", answer), ("bias", "up"), ("bias.x", answer)):
        with pytest.raises(DataError, match=r"row 1: answers are balanced by .* has no such key"):
            answer_class(text, key, where="row 1")


@pytest.mark.parametrize("decay", ["cosine", "linear", "constant"])
def test_the_rate_rises_to_its_height_and_falls_to_its_share(decay: str) -> None:
    stage = StageConfig(steps=100, learning_rate=1.0)
    settings = OptimizerConfig(warmup_steps=10, decay=decay, final_share=0.2)
    rates = [learning_rate(stage, settings, step) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 11)
    assert rates[10] == 1.0 == max(rates)
    assert rates[-1] == pytest.approx(1.0 if decay == "constant" else 0.2)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_a_stage_shorter_than_its_warm_up_has_rates() -> None:
    rates = [learning_rate(StageConfig(steps=1, learning_rate=1.0), OptimizerConfig(), 0)]
    assert 0 < rates[0] <= 1
