"""Two checkpoints on the same charts: readings of both, what they are worth, and what the rule says.

Owns the order: refuse what was seen, ask, count the look, judge, decide, write.  Who reads is given.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from aiopt.analyst.pairing import PairedShares
from aiopt.dataset.judging import (
    Asked,
    Judgement,
    Reading,
    asked_of,
    compare_readings,
    judge,
    record_look,
    rules_readings,
)
from aiopt.dataset.tasks.task_config import PictureConfig
from aiopt.dataset.tasks.task_info import read_task_info
from aiopt.errors import DataError
from aiopt.files import atomic_write_bytes
from aiopt.promotion.candidates import Candidate, refuse_seen_charts
from aiopt.promotion.comparison_page import comparison_page
from aiopt.promotion.rule import Decision, PromotionConfig, decide
from aiopt.serving.checkpoint.trained import Proposal, write_proposal

DOCUMENT_FILE, PAGE_FILE, PROPOSAL_FILE = "comparison.json", "comparison.html", "proposal.json"


class Reads(Protocol):
    """Asks a checkpoint."""

    def __call__(
        self, candidate: Candidate, asked: Sequence[Asked], pictures: PictureConfig
    ) -> list[Reading]:
        """Return its answers; a question it cannot answer has none."""
        ...


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two.

    Attributes
    ----------
    source, model_id, revision : str
        As it was named, and what that was.
    trained_on : tuple of str
        Names of the datasets it has seen.
    known : bool
        Whether these are all.
    judgement : Judgement
        How well it reads.
    """

    source: str
    model_id: str
    revision: str
    trained_on: tuple[str, ...]
    known: bool
    judgement: Judgement


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Content of ``comparison.json``.

    Attributes
    ----------
    data, set_key, split : str
        What both were judged on.
    rule : PromotionConfig
        The rule.
    first, second : Side
        What is there, and what may take its place.
    compared : dict of str to PairedShares
        Second minus first, by task and over ``"all"``.
    look : int
        How often the split was looked at, this time included.
    decision : Decision
        What the rule says.
    """

    data: str
    set_key: str
    split: str
    rule: PromotionConfig
    first: Side
    second: Side
    compared: dict[str, PairedShares]
    look: int
    decision: Decision


def compare(
    first: Candidate,
    second: Candidate,
    data: Path,
    out: Path,
    config: PromotionConfig,
    reads: Reads,
    *,
    progress: Callable[[str], None] = lambda text: None,
) -> Comparison:
    """Judge two checkpoints on the same charts and write what came out.

    Parameters
    ----------
    first, second : Candidate
        What is there, and what may take its place.
    data : Path
        A set of tasks.
    out : Path
        Folder for document, page, and (unless the verdict is no) proposal.
    config : PromotionConfig
        The rule, and which charts.
    reads : callable
        Asks a checkpoint.
    progress : callable, optional
        Told of each step.

    Raises
    ------
    DataError
        If one has seen the charts or their time, they are the same checkpoint, or share no task; nothing is
        written, and no look is counted.
    """
    if first.checkpoint.revision == second.checkpoint.revision:
        raise DataError(
            f"Two different checkpoints must be compared, but {first.source} and {second.source} are both "
            f"revision {first.checkpoint.revision[:12]}. Name another."
        )
    info = read_task_info(data)
    refuse_seen_charts((first, second), data, config.split)
    most = config.charts or None
    asked = list(
        asked_of(data, info, config.split, tasks=config.tasks or None, most=most, controls=config.controls)
    )
    answers = []
    for one in (first, second):
        progress(f"Reading {len(asked):,} questions by {one.name} …")
        answers.append(reads(one, asked, info.config.pictures))
    progress("Reading by the rules …")
    rules = rules_readings(asked)
    compared = compare_readings(asked, answers[1], answers[0])
    judgements = [
        judge(one.name, info, config.split, asked, found, rules=rules)
        for one, found in zip((first, second), answers, strict=True)
    ]
    out.mkdir(parents=True, exist_ok=True)
    look = record_look(
        data,
        info,
        config.split,
        reader=f"{second.name} against {first.name}",
        questions=sum(one.variant == "upright" for one in asked),
        at_ns=time.time_ns(),
    )
    sides = [_side(one, judged, look) for one, judged in zip((first, second), judgements, strict=True)]
    result = Comparison(
        data=str(data),
        set_key=info.key,
        split=config.split,
        rule=config,
        first=sides[0],
        second=sides[1],
        compared=compared,
        look=look,
        decision=decide(config, judgements[1], compared, look=look, known=second.known),
    )
    _write(out, result)
    return result


def _side(one: Candidate, judged: Judgement, look: int) -> Side:
    return Side(
        source=one.source,
        model_id=one.checkpoint.model_id,
        revision=one.checkpoint.revision,
        trained_on=() if one.seen is None else one.seen.datasets,
        known=one.known,
        judgement=msgspec.structs.replace(judged, look=look),
    )


def _write(out: Path, result: Comparison) -> None:
    text = msgspec.json.format(msgspec.json.encode(result))
    atomic_write_bytes(out / DOCUMENT_FILE, text + b"\n")
    atomic_write_bytes(out / PAGE_FILE, comparison_page(result).encode())
    (out / PROPOSAL_FILE).unlink(missing_ok=True)
    promote = result.decision.promote
    if promote != "no":
        proposal = Proposal(
            checkpoint=str(Path(result.second.source).resolve())
            if Path(result.second.source).exists()
            else result.second.source,
            revision=result.second.revision,
            instead_of=result.first.revision,
            promote=promote,
            reasons=result.decision.reasons,
            report=str((out / PAGE_FILE).resolve()),
        )
        write_proposal(out / PROPOSAL_FILE, proposal)
