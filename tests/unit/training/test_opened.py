"""Questions put to a checkpoint in this process: the same prompt for every reader, the set's own picture."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from aiopt.dataset.judging import Asked, asked_of
from aiopt.dataset.tasks import GeneratorSource, PictureConfig, TaskSetConfig, build_tasks, read_task_info
from aiopt.eyes.answering import CheckpointReader
from aiopt.serving.checkpoint.tiny_minicpm import build_checkpoint
from aiopt.training.encoding import IGNORED
from aiopt.training.opened import OpenedCheckpoint
from aiopt.training.reading import FreeReader
from aiopt.training.records import Records

PICTURES = PictureConfig(mark_synthetic=False)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("opened")
    build_checkpoint(folder / "tiny", seed=1)
    config = TaskSetConfig(
        sources=(GeneratorSource(name="templates", charts=12),),
        tasks=("trend", "bias"),
        pictures=PICTURES,
    )
    build_tasks(config, folder / "set")
    return folder


def asked(place: Path, split: str = "train") -> list[Asked]:
    return list(asked_of(place / "set", read_task_info(place / "set"), split, controls=0))


def test_a_question_is_encoded_as_its_training_record_is(place: Path) -> None:
    opened = OpenedCheckpoint(place / "tiny")
    records = Records([place / "set"], "train")
    rows = {(row.sample, task): row for row, task in zip(records, records.tasks, strict=True)}
    for one in asked(place)[:6]:
        row = rows[one.sample, one.task]
        record = opened.record(one, row.answer, PICTURES)
        assert record.png == row.png, "without the badge, as the set says"
        found, trained = opened.encoder.encode(record), opened.encoder.encode(row)
        assert torch.equal(found.tokens, trained.tokens)
        assert torch.equal(found.labels, trained.labels)
        prompt = opened.encoder.prompt(record)
        assert torch.equal(prompt.tokens, trained.tokens[: prompt.tokens.numel()])
        assert int((trained.labels != IGNORED).sum()) == trained.tokens.numel() - prompt.tokens.numel()


def test_answers_do_not_depend_on_what_is_read_together(place: Path) -> None:
    reader = FreeReader(place / "tiny")
    questions = asked(place)[:8]
    done: list[int] = []
    together = reader.answers(questions, PICTURES, batch=4, progress=done.append)
    alone = [reader.answers([one], PICTURES, batch=1)[0] for one in questions]
    assert together == alone
    assert [one.sample for one in together] == [one.sample for one in questions]
    assert done[-1] == len(questions)


def test_both_readers_look_at_the_same_prompt(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[object, bytes]] = []
    record = OpenedCheckpoint.record

    def noted(self: OpenedCheckpoint, one: Asked, answer: str, *rest: object, **more: object) -> object:
        found = record(self, one, answer, *rest, **more)  # type: ignore[arg-type]
        seen.append((found.messages[:-1], found.png or b""))
        return found

    monkeypatch.setattr(OpenedCheckpoint, "record", noted)
    questions = asked(place)[:2]
    FreeReader(place / "tiny").answers(questions, PICTURES)
    CheckpointReader(place / "tiny").answers_to(questions, PICTURES)
    assert seen[:2] == seen[2:]
    assert len(seen) == 4
