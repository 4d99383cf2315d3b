"""A stage of preferences: which pairs there are, the loss by its formula, and that a kill changes no bit."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

pytest.importorskip("torch")

import torch

from aiopt.dataset.positions import ClosedPosition
from aiopt.dataset.positions.preferences import implied_outcome, rejected_answer
from aiopt.errors import ConfigError, DataError
from aiopt.serving.checkpoint.tiny_minicpm import build_checkpoint
from aiopt.training import TrainingConfig
from aiopt.training.base import open_base
from aiopt.training.encoding import IGNORED, Encoder, collate
from aiopt.training.loop import StepReport, probe_records, stage_records
from aiopt.training.loss import answer_logits
from aiopt.training.preference import Pairs, rejected_of
from aiopt.training.records import Records
from aiopt.training.training import run_training
from aiopt.training.training_config import PreferenceConfig, StageConfig
from aiopt.training.workers import Alone
from tests.unit.dataset.positions.test_position_build import build, closed
from tests.unit.training.made_training import configured, dataset, job

PAIRS = StageConfig(name="prefer", steps=6, learning_rate=1e-3, preference=PreferenceConfig(beta=0.5))
N_PAIRS = 10
CONFIG: dict[str, Any] = {
    "stages": [
        {"name": "answers", "steps": 2, "learning_rate": 1e-3},
        {"name": "prefer", "steps": 6, "learning_rate": 5e-4, "preference": {"beta": 0.3}},
    ],
    # Every pair in every step, so that its loss is of all of them.
    "batch_size": N_PAIRS,
    "micro_batch": N_PAIRS,
    "probe": {"rows": 4, "every_steps": 4},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    build_checkpoint(folder / "tiny", seed=1)
    build(folder / "set", [won(bar) for bar in range(150, 3_900, 250)])
    return folder


def won(bar: int) -> ClosedPosition:
    """A position that earned 20 pips, so that the better answer of every pair is the same."""
    position = closed(bar)
    gain = 0.0020 if position.side == "long" else -0.0020
    return msgspec.structs.replace(position, exit_price=position.entry_price + gain)


@pytest.fixture(scope="module")
def whole(made: Path) -> tuple[str, list[StepReport]]:
    """A training that nothing interrupts."""
    rows: list[StepReport] = []
    result = run_training(job(preferring(), made / "set", made / "tiny", made / "whole"), report=rows.append)
    return result.weights_hash, rows


def preferring(**changes: Any) -> TrainingConfig:
    return configured(**{**CONFIG, **changes})


def said(outcome: str) -> str:
    return json.dumps({"outcome": outcome}, separators=(",", ":"))


def test_a_pair_is_what_came_of_it_and_what_the_reading_implied() -> None:
    assert implied_outcome("outcome_long", "long") == implied_outcome("outcome_short", "short") == "win"
    assert implied_outcome("outcome_long", "short") == "loss"
    assert implied_outcome("outcome_short", "neutral") == "flat"
    for task, bias, proved, rejected in (
        ("outcome_long", "long", "loss", "win"),  # wrong: what it gave
        ("outcome_long", "long", "flat", "win"),
        ("outcome_short", "long", "win", "loss"),
        ("outcome_long", "neutral", "win", "flat"),
        ("outcome_long", "long", "win", "loss"),  # right: the contrary
        ("outcome_short", "long", "loss", "win"),
    ):
        assert rejected_answer(task, said(proved), bias) == said(rejected), (task, bias, proved)
    assert rejected_answer("outcome_long", said("flat"), "neutral") is None
    assert rejected_answer("outcome_long", said("win"), None) is None
    assert rejected_answer("bias", '{"bias": "long"}', "short") is None


def test_the_pairs_of_a_set_are_those_of_its_readings(made: Path) -> None:
    records = Records([made / "set"], "train")
    rows = pl.read_parquet(made / "set" / "data" / "train-00000-of-00001.parquet")
    assert records.reading_biases == rows["reading_bias"].to_list()
    numbers = stage_records(records, PAIRS).tolist()
    assert len(numbers) == N_PAIRS <= len(records)
    for number in range(len(records)):
        rejected = rejected_of(records, number)
        assert (rejected is not None) == (number in numbers)
        assert rejected != records.answers[number]
    # The probe judges answers, of all rows: nothing is chosen by how a reading turned out.
    validation = Records([made / "set"], "validation")
    assert len(probe_records(validation, [PAIRS], 1_000)) == len(validation)


def test_the_loss_is_that_of_the_formula(made: Path) -> None:
    config = configured()
    base = open_base(str(made / "tiny"), config)
    model, encoder = base.load_model(torch.float32).eval(), Encoder(base, config)
    records = Records([made / "set"], "train")
    numbers = stage_records(records, PAIRS)[:3]
    pairs = Pairs(
        records,
        numbers,
        0.5,
        encoder=encoder,
        collated=lambda rows: collate(rows, padding=0),
        logits=lambda batch: answer_logits(model, batch),
        device=torch.device("cpu"),
    )
    place = made / "formula" / "reference.json"
    pairs.refer(place, "me", 0, begun=False, workers=Alone(), size=2)
    loss, counts = pairs.loss_sum(numbers.tolist())
    assert float(loss.detach()) == pytest.approx(3 * math.log(2), abs=1e-4), "the model is its own reference"
    assert counts.pairs == 3
    reference = [margin(model, encoder, records, number) for number in numbers.tolist()]
    assert json.loads(place.read_bytes())["margins"] == pytest.approx(reference, abs=1e-3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.05)
    now = [margin(model, encoder, records, number) for number in numbers.tolist()]
    wanted = sum(math.log1p(math.exp(-0.5 * (new - old))) for new, old in zip(now, reference, strict=True))
    assert abs(wanted - 3 * math.log(2)) > 1e-3, "the weights moved it"
    assert float(pairs.loss_sum(numbers.tolist())[0].detach()) == pytest.approx(wanted, abs=2e-3)


def margin(model: Any, encoder: Encoder, records: Records, number: int) -> float:
    """Return log p of the record's answer less that of the rejected one, each by its own forward pass."""
    found = []
    for answer in (records.answers[number], rejected_of(records, number)):
        record = records[number]
        record.messages[-1]["content"][0]["text"] = answer
        batch = collate([encoder.encode(record)], padding=0)
        with torch.no_grad():
            logits = model(**batch.inputs, use_cache=False).logits[0, :-1]
        targets = batch.labels[0, 1:]
        kept = targets != IGNORED
        found.append(float(logits.log_softmax(-1)[kept].gather(1, targets[kept][:, None]).sum()))
    return found[0] - found[1]


def test_a_stage_of_preferences_lowers_its_loss_from_the_reference(
    whole: tuple[str, list[StepReport]],
) -> None:
    _, rows = whole
    losses = [row.loss for row in rows if row.stage == "prefer"]
    assert losses[0] == pytest.approx(math.log(2), abs=1e-4)
    assert losses[-1] < 0.95 * losses[0]
    assert [row.step for row in rows if row.look is not None] == [2, 4, 8]


def test_a_kill_inside_the_stage_changes_no_bit(made: Path, whole: tuple[str, list[StepReport]]) -> None:
    class Killed(Exception):
        pass

    def die(row: StepReport) -> None:
        if row.step == 5:
            raise Killed

    training = job(preferring(), made / "set", made / "tiny", made / "killed")
    with pytest.raises(Killed):
        run_training(training, report=die)
    reference = made / "killed" / "states" / "reference-01.json"
    kept = reference.read_bytes()
    assert (
        json.loads(kept)["margins"]
        == json.loads((made / "whole" / "states" / "reference-01.json").read_bytes())["margins"]
    )
    # Without its reference, or with another one, the training would go on as another: it does not.
    reference.write_bytes(kept.replace(b'"margins":[', b'"margins":[1.0,', 1))
    with pytest.raises(DataError, match="must be of this training and stage, but is of another"):
        run_training(training)
    number = json.loads(kept)["margins"][0]
    reference.write_bytes(kept.replace(str(number).encode(), str(number + 1.0).encode(), 1))
    with pytest.raises(DataError, match="was changed after it was written"):
        run_training(training)
    reference.unlink()
    with pytest.raises(DataError, match="frozen reference of a stage that was begun cannot be read"):
        run_training(training)
    reference.write_bytes(kept)
    rows: list[StepReport] = []
    result = run_training(training, report=rows.append)
    assert rows[0].step == 5, "from the state of step 4"
    assert result.weights_hash == whole[0]
    assert [row.loss for row in rows] == [row.loss for row in whole[1][4:]]


def test_what_makes_no_pairs_is_refused(made: Path, tmp_path: Path) -> None:
    dataset(tmp_path / "set")
    with pytest.raises(
        DataError, match=r"Stage 'prefer' must have readings .* none of its 24 rows .*from-trades"
    ):
        run_training(job(preferring(), tmp_path / "set", made / "tiny", tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    with pytest.raises(ConfigError, match=r"stages.preference.beta <= 100"):
        PreferenceConfig(beta=0)
