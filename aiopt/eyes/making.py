"""`make eyes`: all steps of the recipe in order, and what is left at the end.

Owns that order and the files of the result.  What a step does is `aiopt.eyes.recipe`'s and
`aiopt.eyes.judged`'s.
"""

from __future__ import annotations

from pathlib import Path

from aiopt.errors import DataError
from aiopt.eyes.answering import CheckpointReader
from aiopt.eyes.calibrated import calibrate_eyes, read_calibrated
from aiopt.eyes.eyes_config import EyesConfig
from aiopt.eyes.eyes_page import eyes_page
from aiopt.eyes.judged import Judged, Judging, read_judged
from aiopt.eyes.recipe import (
    EYES_SETS,
    Say,
    build_base,
    build_data,
    claim,
    give_sight,
    learnt_tasks,
    read_result,
    train_baseline,
    train_eyes,
)
from aiopt.files import atomic_write_text, file_lock
from aiopt.serving.checkpoint.validation import validate

PAGE_FILE = "eyes.md"
_MEASURED = "\n## Measured\n\n"


def make_eyes(
    config: EyesConfig, out: Path, *, bars: Path | None = None, processes: int = 2, say: Say | None = None
) -> list[Judged]:
    """Make the eyes, or go on making them.

    Parameters
    ----------
    config : EyesConfig
        The recipe.
    out : Path
        Folder for everything; see `aiopt.eyes.recipe`.
    bars : Path, optional
        Folder of bars for the real charts; without it there are none.
    processes : int
        Of the training by questions, one thread each.
    say : Say, optional
        Told how it stands.

    Returns
    -------
    list of Judged
        What came out, per split.

    Raises
    ------
    AioptError
        As the steps; what is done is kept.
    """
    say = Say() if say is None else say
    out.mkdir(parents=True, exist_ok=True)
    busy = DataError("Another process makes eyes in this folder. Wait for it to end.", file=out)
    with file_lock(out / ".lock", busy=busy):
        claim(config, out)
        folders = build_data(config, out, bars, say)
        sets = {folder.name: folder for folder in folders}
        learnt = [sets[name] for name in EYES_SETS]
        base = give_sight(config, learnt, build_base(config, out, say), out, say)
        train_eyes(config, learnt, base, out, processes, say)
        tasks = learnt_tasks(config)
        nets = [train_baseline(config, learnt, tasks, out / "sight" / "cnn.pt", say)]
        if config.real is not None and "real" in sets and "forward" in config.real.tasks:
            # Asked for the future it is trained on the past of the same market: the eyes never are.
            future = ("forward",)
            nets.append(train_baseline(config, [sets["real"]], future, out / "sight" / "forward.pt", say))
        checkpoint = _checkpoint(out)
        reader = CheckpointReader(checkpoint)
        validation = calibrate_eyes(reader, sets["charts"], out, say=say)
        judging = Judging(config.judging, reader, nets, validation, out, say)
        judged = judging.run(sets, learnt)
        _write_page(out, checkpoint)
    return judged


def page_of(out: Path) -> str:
    """Return the page of finished eyes.

    Raises
    ------
    ConfigError
        If they are not finished.
    """
    result = read_result(out)
    checkpoint = _checkpoint(out)
    known = read_calibrated(out, checkpoint)
    return eyes_page(result, validate(checkpoint).parameters, read_judged(out), known)


def _checkpoint(out: Path) -> Path:
    """Return where the eyes lie, also after the folder was moved."""
    return out / "training" / "checkpoint"


def _write_page(out: Path, checkpoint: Path) -> None:
    page = page_of(out)
    atomic_write_text(out / PAGE_FILE, page)
    card = checkpoint / "README.md"
    before = card.read_text(encoding="utf-8").split(_MEASURED)[0]
    atomic_write_text(card, before + _MEASURED + page)
