"""One round: is there new data, train on it, judge what comes out on later data, propose.

Owns that order.  A round that is killed goes on where it stopped; without new data nothing is done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from aiopt.analyst.checkpoint_calibration import CheckpointCalibration, write_calibration
from aiopt.dataset.judging import asked_of
from aiopt.dataset.judging.calibrated import fit_checkpoint_calibration
from aiopt.dataset.judging.overlaps import refuse_overlap
from aiopt.dataset.judging.seen import Seen, seen_by
from aiopt.dataset.tasks import read_task_info
from aiopt.dataset.tasks.task_info import is_task_set
from aiopt.errors import ConfigError, DataError, InputError
from aiopt.files import atomic_write_bytes, file_lock
from aiopt.promotion import Candidate, compare, open_candidate
from aiopt.promotion.candidates import refuse_seen_charts
from aiopt.promotion.comparison import PAGE_FILE, PROPOSAL_FILE, Reads
from aiopt.retraining.retrain_config import RetrainConfig
from aiopt.retraining.rounds import ACCEPTED, Begun, Round, Rounds, dataset_key
from aiopt.utc import time_text


class Trains(Protocol):
    """Trains a checkpoint."""

    def __call__(self, base: str, data: Sequence[Path], out: Path) -> str:
        """Return the folder of the finished checkpoint; a training that was killed is gone on with."""
        ...


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a call did.

    Attributes
    ----------
    done : bool
        False where there was nothing to do.
    message : str
        In words.
    round : Round or None
        The round that was finished.
    calibration : CheckpointCalibration or None
        Of its checkpoint.
    """

    done: bool
    message: str
    round: Round | None = None
    calibration: CheckpointCalibration | None = None


def retrain(
    config: RetrainConfig,
    trains: Trains,
    reads: Reads,
    *,
    state: Path,
    say: Callable[[str], None] = lambda text: None,
) -> Outcome:
    """Do a round if there is new data, or finish the one that was killed.

    Parameters
    ----------
    config : RetrainConfig
        What to do.
    trains, reads : callable
        Who trains, who reads.
    state : Path
        State folder: generated checkpoints lie below it.
    say : callable
        Told of each step.

    Returns
    -------
    Outcome
        `done` is False where no dataset is new.

    Raises
    ------
    DataError
        If the judgement is not later than what was seen, a dataset is damaged, or another round is running.
    AioptError
        As training and comparison raise it; the next call goes on.
    """
    out = Path(config.out).absolute()
    out.mkdir(parents=True, exist_ok=True)
    busy = DataError("Another retraining works in this folder. Wait for it to end.", file=out)
    with file_lock(out / ".lock", busy=busy):
        rounds = Rounds(out)
        begun = rounds.begun or _next(config, rounds, state)
        if begun is None:
            count = len(rounds.tried())
            return Outcome(
                done=False, message=f"Nothing to do: all data was trained on before ({count} datasets)."
            )
        data = [Path(path) for path in begun.data]
        _check_data(begun)
        base = open_candidate(begun.base, state)
        _check_judgement(config, base, data)
        folder = rounds.begin(begun)
        say(f"Round {begun.number}: {len(data)} datasets, from {base.name}.")
        made = trains(begun.base, data, folder / "training")
        new = open_candidate(made, state)
        calibration = _calibrated(data, new, reads, say) if config.calibrate else None
        # Last, since it counts a look: a round that is killed before it looks once, not twice.
        result = compare(
            base, new, Path(config.judge), folder / "comparison", config.rule, reads, progress=say
        )
        proposal = folder / "comparison" / PROPOSAL_FILE
        finished = Round(
            begun=begun,
            checkpoint=made,
            revision=new.checkpoint.revision,
            promote=result.decision.promote,
            reasons=result.decision.reasons,
            report=str(folder / "comparison" / PAGE_FILE),
            proposal=str(proposal) if proposal.is_file() else "",
        )
        rounds.finish(finished)
        return Outcome(done=True, message=_message(finished), round=finished, calibration=calibration)


def accept(config: RetrainConfig, number: int) -> Round:
    """Say that a round's proposal was taken: the next round starts from its checkpoint.

    Raises
    ------
    InputError
        If there is no such round, or its verdict was no.
    """
    rounds = Rounds(Path(config.out))
    found = next((one for one in rounds.finished if one.begun.number == number), None)
    if found is None:
        known = ", ".join(str(one.begun.number) for one in rounds.finished) or "none"
        msg = f"There is no finished round {number} in {config.out}, but {known}."
        raise InputError(f"{msg} Name one of them.")
    if found.promote == "no":
        msg = f"The rule refused round {number}: {found.reasons[0]}. It cannot be accepted."
        raise InputError(f"{msg} Change the rule and train again.")
    atomic_write_bytes(rounds.path_of(number) / ACCEPTED, b"")
    return found


def _next(config: RetrainConfig, rounds: Rounds, state: Path) -> Begun | None:
    """Return what the next round trains on: all that the last good checkpoint lacks, if any of it is new."""
    found: dict[str, str] = {}
    for pattern in config.data:
        several = any(character in Path(pattern).name for character in "*?[")
        paths = sorted(Path(pattern).parent.glob(Path(pattern).name)) if several else [Path(pattern)]
        for path in paths:
            # What is still being built is new later.
            if not several or (path / "dataset.json").is_file():
                found[str(path.absolute())] = dataset_key(path)
    wanted = {path: key for path, key in found.items() if key not in rounds.learnt()}
    if not set(wanted.values()) - rounds.tried():
        return None
    good = rounds.last_good
    base = config.base if good is None else good.checkpoint
    revision = open_candidate(base, state).checkpoint.revision
    if good is not None and revision != good.revision:
        msg = f"The last good checkpoint must be as it was judged, but {base} is now {revision[:12]} and not "
        raise DataError(f"{msg}{good.revision[:12]}. Bring it back.")
    return Begun(number=len(rounds.finished) + 1, base=base, base_revision=revision, data=wanted)


def _check_data(begun: Begun) -> None:
    for path, key in begun.data.items():
        if dataset_key(Path(path)) != key:
            msg = f"The data of round {begun.number} must be as when it began, but this set was built anew. "
            raise DataError(f"{msg}Bring it back, or delete the round's folder.", file=path)


def _check_judgement(config: RetrainConfig, base: Candidate, data: Sequence[Path]) -> None:
    """Refuse before training what the comparison would refuse after it."""
    judge, split = Path(config.judge), config.rule.split
    refuse_seen_charts((base,), judge, split)
    refuse_overlap(data, judge, split)
    if not config.later:
        return
    spans = read_task_info(judge).splits[split].spans
    if not spans:
        msg = (
            f"A judgement must be on time that can be later than what was seen, but {split} holds generated "
        )
        raise ConfigError(f"{msg}charts alone. Judge on bars, or set later: false.")
    seen = seen_by(data, base.seen or Seen()).spans
    last = max(seen.items(), key=lambda item: item[1].last_ns, default=None)
    name, first = min(spans.items(), key=lambda item: item[1].first_ns)
    if last is not None and first.first_ns < last[1].last_ns:
        begins, ends = time_text(first.first_ns, "m"), time_text(last[1].last_ns, "m")
        raise DataError(
            f"A judgement must be later than all that was seen, but {split} begins {begins} ({name}) and "
            f"{last[0]} ends {ends}. Build the judging set of later bars.",
            file=judge,
        )


def _calibrated(
    data: Sequence[Path], new: Candidate, reads: Reads, say: Callable[[str], None]
) -> CheckpointCalibration | None:
    """Measure how sure the new checkpoint may be, on validation of the newest set it was trained on."""
    folder = next((one for one in reversed(data) if is_task_set(one)), None)
    if folder is None:
        say("Not calibrated: no dataset of this round is a set of tasks.")
        return None
    info = read_task_info(folder)
    asked = list(asked_of(folder, info, "validation", controls=0))
    say(f"Calibrating on {len(asked):,} questions of validation …")
    try:
        found = fit_checkpoint_calibration(
            asked,
            reads(new, asked, info.config.pictures),
            revision=new.checkpoint.revision,
            data=info.key,
            pictures=info.config.pictures,
        )
    except DataError as failure:
        say(f"Not calibrated: {failure}")
        return None
    write_calibration(Path(new.checkpoint.path), found)
    return found


def _message(one: Round) -> str:
    verdict = {
        "yes": "better by the rule",
        "no": "refused by the rule",
        "proposal": "left to a person by the rule",
    }[one.promote]
    swap = f" Swap it in: aiopt model swap {one.proposal}" if one.proposal else ""
    return f"Round {one.begun.number} is {verdict}: {'; '.join(one.reasons)}.{swap}"
