"""From seed to a judged checkpoint: data, base, first sight, training, baseline, judgement, card and page.

Owns the order of the steps and the folder they leave.  Every step that is done is left alone, so the same
command goes on where it was stopped.

::

    OUT/data/charts, shapes, real    sets of tasks
    OUT/base, OUT/seeing             the base at its seed, and with first sight
    OUT/sight                        states of tower and baseline
    OUT/training                     as `aiopt.training.training` leaves it; its checkpoint is the eyes
    OUT/judged/SET-SPLIT.json        what came out, and every reader's answers beside it; of the validation
                                     split the eyes' answers, and what whole readings are worth
    OUT/eyes.md                      the table
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from aiopt.config import canonical_json
from aiopt.dataset.tasks import build_tasks
from aiopt.dataset.tasks.task_config import TaskSetConfig
from aiopt.dataset.tasks.task_kinds import SYSTEM, TASKS
from aiopt.errors import ConfigError, RunExistsError
from aiopt.eyes.charts import Charts, load_charts
from aiopt.eyes.eyes_config import EyesConfig
from aiopt.eyes.first_sight import SeeingTower, write_seeing_base
from aiopt.eyes.heads import HeadsReport, train_heads
from aiopt.eyes.processes import train_in_processes
from aiopt.eyes.small_cnn import SmallCnn
from aiopt.files import atomic_write_bytes
from aiopt.training.loop import StepReport
from aiopt.training.small_base import build_small_base
from aiopt.training.training import TrainingJob, TrainingResult

CONFIG_FILE = "eyes.json"
EYES_SETS = ("charts", "shapes")
"""What the eyes are trained on; the real charts are judged on alone."""


@dataclass(frozen=True)
class Say:
    """Whom the recipe tells how it stands.

    Attributes
    ----------
    note : callable
        Told of each step in words.
    step : callable
        Told of every step of the training.
    heads : callable
        Told the name of a network and how its training stands.
    count : callable
        Told what is counted, how many are done and how many there are; 0: not known.
    """

    note: Callable[[str], None] = lambda text: None
    step: Callable[[StepReport], None] = lambda row: None
    heads: Callable[[str, HeadsReport], None] = lambda name, row: None
    count: Callable[[str, int, int], None] = lambda what, done, of: None

    def counting(self, what: str, of: int = 0) -> Callable[[int], None]:
        """Return a function that is told how many are done."""
        return lambda done: self.count(what, done, of)


def learnt_tasks(config: EyesConfig) -> tuple[str, ...]:
    """Return the tasks of the sets the eyes are trained on."""
    return tuple(dict.fromkeys((*config.charts.tasks, *config.shapes.tasks)))


def claim(config: EyesConfig, out: Path) -> None:
    """Write the recipe into its folder, or compare with the one there.

    Raises
    ------
    RunExistsError
        If the folder is of another recipe.
    """
    out.mkdir(parents=True, exist_ok=True)
    path, text = out / CONFIG_FILE, canonical_json(config)
    if path.is_file() and path.read_bytes() != text:
        msg = f"{out} holds the eyes of another recipe."
        raise RunExistsError(f"{msg} Name another folder, or delete this one.")
    atomic_write_bytes(path, text)


def build_data(config: EyesConfig, out: Path, bars: Path | None, say: Say) -> list[Path]:
    """Build the sets of tasks; return their folders, that of the real charts last."""
    sets: list[tuple[str, TaskSetConfig]] = [("charts", config.charts), ("shapes", config.shapes)]
    real = None if bars is None else config.real_set(bars)
    if real is not None:
        sets.append(("real", real))
    folders = []
    for name, one in sets:
        say.note(f"Charts: {name}")
        folder = out / "data" / name
        build_tasks(one, folder, progress=say.counting(f"{name}, charts"))
        folders.append(folder)
    return folders


def task_texts(tasks: tuple[str, ...], n_bars: int) -> Iterator[str]:
    """Yield every text a reader of tasks is told or says.

    Raises
    ------
    ConfigError
        If an answer of a task is more than a few words.
    """
    yield from (SYSTEM, "system\n", "user\n", "assistant\n")
    for name in tasks:
        task = TASKS[name]
        schema = task.schema(n_bars)
        yield f"A chart of {n_bars} bars. {task.question}"
        for field, rule in schema["properties"].items():
            if "enum" not in rule:
                msg = (
                    f"The eyes answer in a few words, but the task {name!r} asks for {field!r}. Leave it out."
                )
                raise ConfigError(msg)
            yield f'", "{field}": "'
            yield from (f'{{"{field}": "{choice}"}}' for choice in rule["enum"])


def build_base(config: EyesConfig, out: Path, say: Say) -> Path:
    """Write the base, if it is not there."""
    folder = out / "base"
    if not folder.is_dir():
        say.note("Base: random weights, words of the questions")
        # All questions of a few words, so that the words do not depend on what is asked in this recipe.
        few = tuple(name for name in TASKS if _few_words(name, config.charts.window))
        texts = task_texts(few, config.charts.window)
        build_small_base(folder, seed=config.seed, size=config.size, texts=texts)
    return folder


def _few_words(name: str, n_bars: int) -> bool:
    fields = TASKS[name].schema(n_bars)["properties"].values()
    return bool(TASKS[name].question) and all("enum" in field for field in fields)


def give_sight(config: EyesConfig, sets: list[Path], base: Path, out: Path, say: Say) -> Path:
    """Train the tower by heads; return the base that sees."""
    folder = out / "seeing"
    if folder.is_dir():
        return folder
    say.note("First sight: the tower answers all questions of a chart at once")
    tasks = learnt_tasks(config)
    tower = SeeingTower(base, tasks, config.sight.size, seed=config.sight.tower.seed)
    train, held = _splits(config, sets, tasks, say)
    state = out / "sight" / "tower.pt"
    state.parent.mkdir(exist_ok=True)
    train_heads(
        tower, train, held, config.sight.tower, state=state, report=lambda row: say.heads("tower", row)
    )
    return write_seeing_base(tower, base, folder)


def _splits(config: EyesConfig, sets: list[Path], tasks: tuple[str, ...], say: Say) -> tuple[Charts, Charts]:
    found = []
    for split, most in (("train", config.sight.charts), ("validation", config.sight.charts // 10)):
        found.append(
            load_charts(
                sets,
                split,
                tasks,
                config.sight.size,
                most=max(1, most),
                progress=say.counting(f"{split}, pictures read"),
            )
        )
    return found[0], found[1]


def train_eyes(
    config: EyesConfig, sets: list[Path], base: Path, out: Path, processes: int, say: Say
) -> TrainingResult:
    """Train by questions, or go on."""
    say.note(f"Training by questions, {processes} process{'es' if processes > 1 else ''}")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    job = TrainingJob(
        config=config.training,
        data=tuple(folder.resolve() for folder in sets),
        base=str(base.resolve()),
        out=(out / "training").resolve(),
        device="cpu",
        device_bytes=memory,
    )
    return train_in_processes(job, processes=processes, report=say.step, note=say.note)


def train_baseline(
    config: EyesConfig, sets: list[Path], tasks: tuple[str, ...], state: Path, say: Say
) -> SmallCnn:
    """Train the small network on the train splits of some sets; `state` is its file."""
    name, heads = state.stem, config.sight.cnn
    say.note(f"Baseline: a small convolutional network ({name})")
    net = SmallCnn(tasks, config.sight.size, seed=heads.seed)
    state.parent.mkdir(exist_ok=True)
    train, held = _splits(config, sets, tasks, say)
    train_heads(net, train, held, heads, state=state, report=lambda row: say.heads(name, row))
    return net


def read_result(out: Path) -> TrainingResult:
    """Return what the training of a folder came to.

    Raises
    ------
    ConfigError
        If it is not finished.
    """
    path = out / "training" / "result.json"
    if not path.is_file():
        raise ConfigError(f"{out} holds no finished eyes. Make them with `make eyes`.")
    return msgspec.json.decode(path.read_bytes(), type=TrainingResult)
