"""Judging the eyes: every split once, beside the rules, the small network and the majority.

Owns which splits are looked at and what is kept of a look.  A split that was judged is not looked at again.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from aiopt.analyst.answers import answer_text
from aiopt.analyst.calibrating import Calibrator
from aiopt.analyst.pairing import PairedShares
from aiopt.dataset.judging import (
    Asked,
    Judgement,
    Reading,
    asked_of,
    compare_readings,
    judge,
    record_look,
    refuse_overlap,
    rules_readings,
    write_readings,
)
from aiopt.dataset.judging.judging import fit_calibrators
from aiopt.dataset.judging.readings import RULES
from aiopt.dataset.tasks import TaskSetInfo, read_task_info
from aiopt.eyes.answering import CheckpointReader
from aiopt.eyes.calibrated import ValidationLook
from aiopt.eyes.eyes_config import JudgingConfig
from aiopt.eyes.recipe import Say
from aiopt.eyes.small_cnn import SmallCnn
from aiopt.files import atomic_write_bytes

JUDGED_FOLDER = "judged"
SPLITS = (
    ("charts", "test"),
    ("charts", "unseen_kinds"),
    ("charts", "unseen_generators"),
    ("real", "test"),
)
"""Sets and splits looked at, in the order of the table."""

FORECAST = {"long": "up", "short": "down", "neutral": "flat"}
"""What a side would say of what comes after, if it said anything."""


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """All readers on one split.

    Attributes
    ----------
    of, split : str
        Set and split.
    revision : str
        Of the eyes' checkpoint.
    eyes, rules, cnn : Judgement
        The readers.
    against_cnn : dict of str to PairedShares
        Eyes minus network, on the same charts, by task.
    """

    of: str
    split: str
    revision: str
    eyes: Judgement
    rules: Judgement
    cnn: Judgement
    against_cnn: dict[str, PairedShares]


@dataclasses.dataclass(frozen=True, eq=False)
class Judging:
    """Judges the eyes on every split that is there and has not been looked at.

    Parameters
    ----------
    config : JudgingConfig
        How much is asked.
    reader : CheckpointReader
        The eyes.
    nets : sequence of SmallCnn
        The baseline, and the one that is asked for the future.
    validation : ValidationLook
        What the eyes answered on the validation split of ``charts``: confidence is calibrated on that alone.
    out : Path
        Folder of the recipe.
    say : Say
        Told how it stands.
    """

    config: JudgingConfig
    reader: CheckpointReader
    nets: Sequence[SmallCnn]
    validation: ValidationLook
    out: Path
    say: Say

    def run(self, sets: Mapping[str, Path], trained_on: Sequence[Path]) -> list[Judged]:
        """Judge.

        Parameters
        ----------
        sets : mapping of str to Path
            Sets by name.
        trained_on : sequence of Path
            What the eyes learnt from; a split that shows any of it is refused.
        """
        calibrators = fit_calibrators(self.validation.asked, self.validation.readings)
        found = []
        for name, split in SPLITS:
            path = self.out / JUDGED_FOLDER / f"{name}-{split}.json"
            if path.is_file():
                found.append(msgspec.json.decode(path.read_bytes(), type=Judged))
                continue
            if name not in sets or split not in read_task_info(sets[name]).splits:
                continue
            self.say.note(f"Judging on {name}, {split}")
            refuse_overlap(tuple(trained_on), sets[name], split)
            one = self._look(name, split, sets[name], calibrators)
            atomic_write_bytes(path, msgspec.json.format(msgspec.json.encode(one)) + b"\n")
            found.append(one)
        return found

    def _look(self, name: str, split: str, folder: Path, calibrators: Mapping[str, Calibrator]) -> Judged:
        info, config = read_task_info(folder), self.config
        asked = list(asked_of(folder, info, split, most=config.charts, controls=config.controls))
        # The future is not asked of the eyes: their bias is taken for it.
        shown = [one for one in asked if one.task != "forward"]
        pictures = info.config.pictures
        by_eyes = self.reader.answers_to(
            shown, pictures, progress=self.say.counting("eyes, questions", len(shown))
        )
        by_eyes += forecasts(self.reader, [one for one in asked if one.task == "forward"], info)
        by_rules = rules_readings(asked, progress=self.say.counting("rules, questions", len(asked)))
        by_cnn = [reading for net in self.nets for reading in net.answers_to(asked, pictures)]
        for who, readings in (("eyes", by_eyes), ("rules", by_rules), ("cnn", by_cnn)):
            path = self.out / JUDGED_FOLDER / f"{name}-{split}-{who}.parquet"
            path.parent.mkdir(exist_ok=True)
            write_readings(path, readings)
        questions = sum(one.variant == "upright" for one in asked)
        judgements = {
            "eyes": judge("eyes", info, split, asked, by_eyes, rules=by_rules, calibrators=calibrators),
            "rules": judge(RULES, info, split, asked, by_rules),
            "cnn": judge("small cnn", info, split, asked, by_cnn, rules=by_rules),
        }
        against = compare_readings(asked, by_eyes, by_cnn)
        look = record_look(
            folder, info, split, reader="eyes, rules, cnn", questions=questions, at_ns=time.time_ns()
        )
        return Judged(
            of=name,
            split=split,
            revision=self.reader.revision,
            against_cnn=against,
            **{who: msgspec.structs.replace(one, look=look) for who, one in judgements.items()},
        )


def read_judged(out: Path) -> list[Judged]:
    """Return what was judged, in the order of the table."""
    paths = [out / JUDGED_FOLDER / f"{name}-{split}.json" for name, split in SPLITS]
    return [msgspec.json.decode(path.read_bytes(), type=Judged) for path in paths if path.is_file()]


def forecasts(reader: CheckpointReader, asked: Sequence[Asked], info: TaskSetInfo) -> list[Reading]:
    """Return the eyes' bias as if it said what comes after: long for up, short for down, neutral for flat."""
    sides = [dataclasses.replace(one, task="bias", truth={"bias": "neutral"}) for one in asked]
    found = []
    for one, side in zip(asked, reader.answers_to(sides, info.config.pictures), strict=True):
        bias = msgspec.json.decode(side.answer)["bias"]
        found.append(
            Reading(
                sample=one.sample,
                task="forward",
                variant=one.variant,
                answer=answer_text({"forward": FORECAST[bias]}, one.answer_schema),
            )
        )
    return found
