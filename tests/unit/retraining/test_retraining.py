"""Rounds of a retraining: new data or nothing, later data, the last good checkpoint, what a kill leaves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from aiopt.analyst.answers import answer_text
from aiopt.analyst.checkpoint_calibration import read_calibration
from aiopt.dataset.judging import Asked, Reading, looks_at
from aiopt.dataset.judging.seen import SEEN_FILE, Seen, read_seen, seen_by, seen_text
from aiopt.dataset.tasks import BarsSource, ShareConfig, TaskSetConfig, build_tasks
from aiopt.dataset.tasks.task_config import PictureConfig
from aiopt.errors import ConfigError, DataError, InputError
from aiopt.promotion import Candidate, PromotionConfig
from aiopt.retraining import Outcome, RetrainConfig, Rounds, accept, load_retrain_config, retrain
from aiopt.serving.checkpoint.geometry import read_geometry, write_geometry
from aiopt.serving.checkpoint.sources import resolve
from aiopt.serving.checkpoint.tiny_minicpm import build_checkpoint
from aiopt.testing.bars import random_walk_bar_set
from cluster.cli.main import run

BARS = random_walk_bar_set(16_000, seed=11)
RULE = PromotionConfig(least_questions=30, controls=20, tasks=("trend",))


def tasks_of(folder: Path, first: int, last: int, shares: ShareConfig | None = None) -> Path:
    """A set of tasks of some of the bars."""
    config = TaskSetConfig(
        sources=(BarsSource(path="bars", stride=60),), tasks=("trend",), shares=shares or ShareConfig()
    )
    build_tasks(config, folder, bars={"bars": BARS.slice(first, last)})
    return folder


@pytest.fixture
def place(tmp_path: Path) -> Path:
    tasks_of(tmp_path / "sets" / "week-1", 0, 3_000, ShareConfig(train=0.2, validation=0.7, test=0.1))
    tasks_of(tmp_path / "judge", 9_000, 16_000, ShareConfig(train=0.1, validation=0.1, test=0.8))
    return tmp_path


def config(place: Path, **changes: Any) -> RetrainConfig:
    known: dict[str, Any] = {
        "out": str(place / "retraining"),
        "base": "tiny:vision:1",
        "data": (str(place / "sets" / "week-*"),),
        "judge": str(place / "judge"),
        "rule": RULE,
    }
    return RetrainConfig(**{**known, **changes})


class Trainer:
    """Stands for a training: writes a checkpoint of another seed that says what it saw."""

    def __init__(self) -> None:
        self.rounds: list[tuple[str, list[str]]] = []
        self.fail = False

    def __call__(self, base: str, data: Sequence[Path], out: Path) -> str:
        self.rounds.append((base, [path.name for path in data]))
        if self.fail:
            raise DataError("The machine went away.")
        path = out / "checkpoint"
        if not path.exists():
            build_checkpoint(path, seed=10 + len(self.rounds))
            write_geometry(path, read_geometry(path))
            before = read_seen(Path(base)) if Path(base).is_dir() else None
            (path / SEEN_FILE).write_text(seen_text(seen_by(data, before or Seen())))
        return str(path)


class Reader:
    """Right as often as it is told, by revision; the first checkpoint is right in half of the questions."""

    def __init__(self, place: Path) -> None:
        self._folder = place
        self.shares: dict[str, float] = {}
        self.default = 0.95

    def __call__(
        self, candidate: Candidate, asked: Sequence[Asked], pictures: PictureConfig
    ) -> list[Reading]:
        first = candidate.seen is None
        share = self.shares.setdefault(candidate.checkpoint.revision, 0.5 if first else self.default)
        rng = np.random.default_rng(3)
        found = []
        for one in asked:
            # Where there is nothing to see nobody is right more often than by guessing.
            right = rng.random() < (0.3 if one.variant in ("shuffled", "blank") else share)
            wrong = next(name for name in ("up", "down") if name != one.truth["trend"])
            text = answer_text({"trend": one.truth["trend"] if right else wrong}, one.answer_schema)
            found.append(
                Reading(sample=one.sample, task="trend", variant=one.variant, answer=text, confidence=share)
            )
        return found


def go(place: Path, trainer: Trainer, reader: Reader, **changes: Any) -> Outcome:
    return retrain(config(place, **changes), trainer, reader, state=place / "state")


def test_a_round_trains_on_new_data_judges_and_proposes_and_then_there_is_nothing(place: Path) -> None:
    trainer, reader = Trainer(), Reader(place)
    found = go(place, trainer, reader)
    assert found.done
    assert found.round is not None
    assert found.round.promote == "yes", found.message
    assert "Round 1 is better by the rule: it is better: +" in found.message
    proposal = json.loads(Path(found.round.proposal).read_text())
    assert proposal["revision"] == found.round.revision
    assert Path(resolve(found.round.proposal, place)).is_dir(), "what a swap takes"
    assert Path(found.round.report).is_file()
    assert trainer.rounds == [("tiny:vision:1", ["week-1"])]
    assert [look.split for look in looks_at(place / "judge")] == ["test"]
    assert found.calibration is not None
    assert read_calibration(place / "retraining/rounds/0001/training") == found.calibration
    again = go(place, trainer, reader)
    assert not again.done
    assert again.message == "Nothing to do: all data was trained on before (1 datasets)."
    assert len(trainer.rounds) == 1
    assert len(looks_at(place / "judge")) == 1, "nothing was looked at"


def test_the_next_round_starts_from_the_last_good_checkpoint_with_what_it_lacks(place: Path) -> None:
    trainer, reader = Trainer(), Reader(place)
    first = go(place, trainer, reader).round
    assert first is not None
    tasks_of(place / "sets" / "week-2", 3_000, 5_000)
    reader.default = 0.2
    second = go(place, trainer, reader).round
    assert second is not None
    assert (second.promote, second.proposal) == ("no", "")
    assert trainer.rounds[1] == (first.checkpoint, ["week-2"])
    assert not go(place, trainer, reader).done, "a refused round is not tried again without new data"
    tasks_of(place / "sets" / "week-3", 5_000, 7_000)
    reader.default = 0.96
    third = go(place, trainer, reader).round
    assert third is not None
    # What the refused round learnt from is learnt from again, from where the good one stands.
    assert trainer.rounds[2] == (first.checkpoint, ["week-2", "week-3"])
    assert third.promote == "proposal", "the judging charts were looked at before"
    assert any("this is look 3 at test" in reason for reason in third.reasons)
    taken = accept(config(place), 3)
    assert Rounds(place / "retraining").last_good == taken == third
    with pytest.raises(InputError, match="The rule refused round 2"):
        accept(config(place), 2)
    with pytest.raises(InputError, match=r"There is no finished round 9 in .*, but 1, 2, 3"):
        accept(config(place), 9)


def test_a_round_that_was_killed_goes_on_with_the_data_it_began_with(place: Path) -> None:
    trainer, reader = Trainer(), Reader(place)
    trainer.fail = True
    with pytest.raises(DataError, match="machine went away"):
        go(place, trainer, reader)
    tasks_of(place / "sets" / "week-2", 3_000, 5_000)
    trainer.fail = False
    found = go(place, trainer, reader).round
    assert found is not None
    assert found.begun.number == 1
    assert [one for _, one in trainer.rounds] == [["week-1"], ["week-1"]]
    assert go(place, trainer, reader).round.begun.number == 2  # type: ignore[union-attr]
    assert trainer.rounds[2][1] == ["week-2"]


def test_data_rebuilt_under_a_begun_round_is_refused(place: Path) -> None:
    trainer, reader = Trainer(), Reader(place)
    trainer.fail = True
    with pytest.raises(DataError, match="machine went away"):
        go(place, trainer, reader)
    import shutil

    shutil.rmtree(place / "sets" / "week-1")
    tasks_of(place / "sets" / "week-1", 0, 2_800)
    with pytest.raises(DataError, match="must be as when it began, but this set was built anew"):
        go(place, trainer, reader)


def test_no_judgement_on_what_was_seen_or_earlier_and_nothing_is_trained_for_it(place: Path) -> None:
    """The attempt is planted: data that shows, or comes after, the time that is judged on."""
    trainer, reader = Trainer(), Reader(place)
    tasks_of(place / "sets" / "week-2", 12_000, 16_000)
    with pytest.raises(DataError, match="No reader may be judged on time it was trained on"):
        go(place, trainer, reader)
    tasks_of(place / "early", 3_000, 8_000)
    tasks_of(place / "late", 9_000, 12_000)
    with pytest.raises(DataError, match=r"must be later than all that was seen, but test begins"):
        go(place, trainer, reader, data=(str(place / "late"),), judge=str(place / "early"))
    assert trainer.rounds == []
    assert looks_at(place / "judge") == []
    assert not list((place / "retraining" / "rounds").glob("*"))
    # Earlier time that nobody saw is allowed where it is asked for.
    assert go(
        place, trainer, reader, data=(str(place / "late"),), judge=str(place / "early"), later=False
    ).done


def test_unfinished_and_missing_datasets(place: Path) -> None:
    trainer, reader = Trainer(), Reader(place)
    (place / "sets" / "week-9").mkdir()
    go(place, trainer, reader)
    assert trainer.rounds[0][1] == ["week-1"], "what is still being built is new later"
    with pytest.raises(DataError, match=r"not a finished dataset: dataset.json is missing"):
        go(place, trainer, reader, data=(str(place / "sets" / "week-9"),))


def test_settings_are_checked(place: Path) -> None:
    path = place / "retrain.yaml"
    path.write_text("out: a\nbase: b\ndata: [c]\njudge: d\nspeed: 3\n")
    with pytest.raises(ConfigError, match="speed"):
        load_retrain_config(path)
    with pytest.raises(ConfigError, match="`data` must be given"):
        config(place, data=())
    assert msgspec.json.decode(msgspec.json.encode(config(place)), type=RetrainConfig) == config(place)


@pytest.mark.measured
def test_the_command_trains_for_true_and_a_second_call_does_nothing(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Real training of a tiny model, real reading of the charts."""
    pytest.importorskip("torch")
    training = {
        "stages": [{"steps": 2, "learning_rate": 1e-3}],
        "batch_size": 2,
        "micro_batch": 2,
        "probe": {"rows": 2, "every_steps": 2},
        "optimizer": {"warmup_steps": 1},
        "image": {"scale_resolution": 56},
    }
    (place / "training.yaml").write_text(json.dumps(training))
    settings = msgspec.to_builtins(config(place, training=str(place / "training.yaml")))
    settings["rule"]["charts"] = 12
    settings["calibrate"] = False
    (place / "retrain.yaml").write_text(json.dumps(settings))
    assert run(["model", "retrain", str(place / "retrain.yaml"), "--json"]) == 0
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert document["done"]
    assert document["round"]["promote"] in ("no", "proposal"), "two steps teach nothing"
    assert "Round 1: 1 datasets" in said.err
    assert Path(document["round"]["checkpoint"], SEEN_FILE).is_file()
    assert run(["model", "retrain", str(place / "retrain.yaml")]) == 0
    assert "Nothing to do: all data was trained on before (1 datasets)." in capsys.readouterr().out
