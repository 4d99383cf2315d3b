"""The parts of the recipe: answers without an engine, training by heads, first sight, and bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from aiopt.analyst.generators import generator_of
from aiopt.dataset.judging import Asked
from aiopt.dataset.tasks.task_config import BarsSource, GeneratorSource, PictureConfig
from aiopt.dataset.tasks.task_kinds import SYSTEM, TASKS
from aiopt.errors import ConfigError, DataError, InputError
from aiopt.eyes.answering import CheckpointReader, possible_answers
from aiopt.eyes.charts import UNKNOWN, Charts, Size, answers_of, class_of, load_charts
from aiopt.eyes.eyes_config import load_eyes_config
from aiopt.eyes.first_sight import SeeingTower, write_seeing_base
from aiopt.eyes.heads import HeadsConfig, HeadsReport, look, train_heads
from aiopt.eyes.recipe import Say, build_base, task_texts
from aiopt.eyes.small_cnn import SmallCnn
from aiopt.serving.checkpoint.tiny_minicpm import build_checkpoint
from aiopt.training.base import open_base
from aiopt.training.training_config import TrainingConfig
from tests.unit.eyes.made_eyes import quick

ROOT = Path(__file__).resolve().parents[3]
TASKS_ASKED = ("trend", "bias")
SIZE = Size(112, 56)
PICTURES = PictureConfig(mark_synthetic=False)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_base(quick(), tmp_path_factory.mktemp("made"), Say())


def asked(task: str, number: int) -> Asked:
    case = generator_of("templates").case("double_top", seed=number)
    return Asked(
        sample=f"chart-{number}",
        task=task,
        variant="upright",
        bars=case.bars,
        truth={"bias": case.bias},
        source="templates",
        kind=case.kind,
    )


def bright_and_dark(count: int, seed: int) -> Charts:
    """Return pictures whose first class is bright and whose second is unknown for half of them."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, size=(count, 2))
    pictures = (labels[:, :1, None, None] * 100 + random.integers(0, 40, size=(count, 56, 112, 3))).astype(
        np.uint8
    )
    labels[::2, 1] = UNKNOWN
    return Charts(torch.from_numpy(pictures), torch.from_numpy(labels))


def test_every_word_of_questions_and_answers_is_a_token_of_the_base(base: Path) -> None:
    tokenizer = open_base(str(base), TrainingConfig()).tokenizer
    for text in task_texts(("trend", "bias", "support", "regime"), 120):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids) == text
        assert len(ids) <= len(text.split()) * 3 + 4, text
    spelt = build_checkpoint(base.parent / "spelt", seed=1)
    letters = open_base(str(spelt), TrainingConfig()).tokenizer
    question = f"{SYSTEM}A chart of 120 bars. {TASKS['support'].question}"
    assert len(letters(question)["input_ids"]) > 3 * len(tokenizer(question)["input_ids"])
    # Other words are still spelt.
    assert tokenizer.decode(tokenizer("zebra 7")["input_ids"]) == "zebra 7"


def test_a_checkpoint_answers_what_its_own_logits_prefer(base: Path) -> None:
    reader = CheckpointReader(base)
    questions = [asked(task, number) for number in range(3) for task in ("bias", "trend", "regime")]
    readings = reader.answers_to([*questions, asked("pattern", 9)], PICTURES, batch=4)
    assert [one.name for one in readings] == [one.name for one in questions]
    alone = [reader.answers_to([one], PICTURES)[0] for one in questions]
    for question, found, single in zip(questions, readings, alone, strict=True):
        texts = possible_answers(question.answer_schema)
        assert texts is not None
        assert found.answer in texts
        assert found.answer == single.answer
        assert found.confidence == pytest.approx(single.confidence, rel=1e-4)
        assert found.confidence is not None
        assert 1 / len(texts) - 1e-6 <= found.confidence <= 1


def test_a_reader_without_eyes_is_refused(tmp_path: Path) -> None:
    build_checkpoint(tmp_path / "text", seed=1, kind="text")
    with pytest.raises(ConfigError, match="must read pictures"):
        CheckpointReader(tmp_path / "text")


def test_possible_answers_are_a_class_each() -> None:
    assert [class_of("bias", text) for text in answers_of("bias")] == ["long", "short", "neutral"]
    assert len(answers_of("regime")) == 9
    assert possible_answers(TASKS["levels"].schema(120)) is None
    with pytest.raises(ConfigError, match=r"'pattern' asks for bars or prices"):
        answers_of("pattern")
    with pytest.raises(ConfigError, match=r"'levels' asks for 'support'"):
        list(task_texts(("levels",), 120))


def test_heads_learn_and_a_stopped_training_goes_on_bit_for_bit(tmp_path: Path) -> None:
    config = HeadsConfig(steps=30, batch_size=16, every_steps=10, warmup_steps=2, patience=9)
    train, held = bright_and_dark(64, 1), bright_and_dark(32, 2)

    def net() -> SmallCnn:
        return SmallCnn(TASKS_ASKED, SIZE, seed=3)

    whole = net()
    before, _ = look(whole, held)
    train_heads(whole, train, held, config, state=tmp_path / "whole.pt")
    after, right = look(whole, held)
    assert after < before
    assert right > 0.5

    class Stopped(Exception):
        pass

    def stop(row: HeadsReport) -> None:
        if row.step == 20:
            raise Stopped

    with pytest.raises(Stopped):
        train_heads(net(), train, held, config, state=tmp_path / "cut.pt", report=stop)
    again = net()
    train_heads(again, train, held, config, state=tmp_path / "cut.pt")
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    with pytest.raises(ConfigError, match="another network, other charts or other settings"):
        train_heads(net(), held, held, config, state=tmp_path / "cut.pt")


def test_first_sight_changes_the_tower_and_nothing_else(base: Path, tmp_path: Path) -> None:
    config = HeadsConfig(steps=4, batch_size=8, every_steps=2, warmup_steps=1)
    tower = SeeingTower(base, TASKS_ASKED, SIZE, seed=1)
    train_heads(tower, bright_and_dark(16, 1), bright_and_dark(8, 2), config, state=tmp_path / "tower.pt")
    out = write_seeing_base(tower, base, tmp_path / "seeing")
    plain, seeing = (open_base(str(folder), TrainingConfig()) for folder in (base, out))
    before = dict(plain.load_model(torch.float32).named_parameters())
    changed = {
        name
        for name, tensor in seeing.load_model(torch.float32).named_parameters()
        if not torch.equal(tensor, before[name])
    }
    assert changed
    assert {name.split(".")[1] for name in changed} == {"vision_tower", "merger"}
    with pytest.raises(InputError, match="must not exist"):
        write_seeing_base(tower, base, out)


def test_bad_recipes_are_refused_by_rule_and_value(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"multiple of 56 .*but got 100"):
        quick(sight={"width": 100})
    with pytest.raises(ConfigError, match=r"`steps >= 1` must hold, but got 0"):
        HeadsConfig(steps=0)
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError, match="split train of the sets has none"):
        load_charts([tmp_path], "train", TASKS_ASKED, SIZE)


def test_the_shipped_recipe_holds_the_same_things_out_of_everything_it_learns_from() -> None:
    recipe = load_eyes_config(ROOT / "jobs/eyes.yaml")
    assert recipe.charts.held_out.kinds == recipe.shapes.held_out.kinds
    learnt = {source.name for source in recipe.shapes.sources if isinstance(source, GeneratorSource)}
    assert not learnt & set(recipe.charts.held_out.generators)
    assert recipe.real is not None
    assert not any(one.pictures.mark_synthetic for one in (recipe.charts, recipe.shapes, recipe.real))
    assert recipe.training.stages[-1].tasks == ()
    real = recipe.real_set(Path("bars"))
    assert real is not None
    paths = [one.path for one in real.sources if isinstance(one, BarsSource)]
    assert paths == ["bars/EURUSD/1h", "bars/EURUSD/1m"]
