"""Answers of a checkpoint in this process: what a greedy engine answers under the grammar, without an engine.

A task's answer is one of a few texts.  The model reads the question and, where the texts part, the likeliest
of the tokens that go on with one of them is taken: the way of a greedy engine held to the schema.  The share
of that token among these is how sure the reader is.  Owns that and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch

from aiopt.analyst.answers import answer_text
from aiopt.bars.schema import BarArrays
from aiopt.dataset.judging import Asked, Reading
from aiopt.dataset.tasks.task_config import PictureConfig
from aiopt.errors import ConfigError
from aiopt.training.base import Base
from aiopt.training.encoding import IGNORED, Encoded, collate
from aiopt.training.opened import OpenedCheckpoint
from aiopt.training.records import Record

MOST_ANSWERS = 64
"""A task with more possible answers (places of patterns, prices) is left to an engine."""


def possible_answers(schema: Mapping[str, Any]) -> list[str] | None:
    """Return every answer of a task, as the grammar writes them; None where they are not a few words.

    Parameters
    ----------
    schema : mapping
        JSON schema of the answer.
    """
    fields = schema["properties"]
    if any("enum" not in field for field in fields.values()):
        return None
    choices = [field["enum"] for field in fields.values()]
    texts = [
        answer_text(dict(zip(fields, values, strict=True)), dict(schema)) for values in product(*choices)
    ]
    return texts if len(texts) <= MOST_ANSWERS else None


def questions_of(bars: BarArrays, tasks: Iterable[str]) -> list[Asked]:
    """Return the questions of tasks about bars of which nothing is known.

    Parameters
    ----------
    bars : BarArrays
        What is shown.
    tasks : iterable of str
        Keys of `TASKS`.
    """
    sample = f"{bars.instrument}-{bars.timeframe.label}-{int(bars.ts_open_ns[-1])}"
    return [
        Asked(sample=sample, task=task, variant="upright", bars=bars, truth={}, source="", kind="")
        for task in tasks
    ]


class CheckpointReader:
    """A checkpoint that answers short questions about charts.

    Parameters
    ----------
    checkpoint : Path
        A checkpoint with eyes, e.g. ``OUT/checkpoint`` of a training.

    Raises
    ------
    CheckpointError
        If it is not whole.
    ConfigError
        If it reads no pictures, or transformers is not installed.
    """

    def __init__(self, checkpoint: Path) -> None:
        self.path = Path(checkpoint)
        self._opened = OpenedCheckpoint(checkpoint)
        self._base: Base = self._opened.base
        if self._base.geometry is None:
            msg = f"{checkpoint}: a reader of charts must read pictures, but this model reads text alone."
            raise ConfigError(f"{msg} Choose one with eyes.")
        self.name = self._base.checkpoint.model_id
        self.revision = self._base.checkpoint.revision

    def answers_to(
        self,
        asked: Iterable[Asked],
        pictures: PictureConfig,
        *,
        batch: int = 32,
        progress: Callable[[int], None] | None = None,
    ) -> list[Reading]:
        """Answer every question whose answers are a few words.

        Parameters
        ----------
        asked : iterable of Asked
            Questions; those of one chart should follow each other: it is drawn once.
        pictures : PictureConfig
            How charts are drawn.
        batch : int
            Questions read at once.
        progress : callable, optional
            Called with the questions done.
        """
        found: list[Reading] = []
        waiting: list[tuple[Asked, Record, list[str]]] = []
        done = 0
        for one in asked:
            done += 1
            texts = possible_answers(one.answer_schema)
            if texts is None:
                continue
            waiting.append((one, self._opened.record(one, texts[0], pictures), texts))
            if len(waiting) == batch:
                found += self._answered(waiting)
                waiting = []
                if progress is not None:
                    progress(done)
        found += self._answered(waiting) if waiting else []
        if progress is not None:
            progress(done)
        return found

    def _answered(self, questions: Sequence[tuple[Asked, Record, list[str]]]) -> list[Reading]:
        """Answer some questions; several steps where answers part more than once."""
        prompts = [self._opened.encoder.prompt(record) for _, record, _ in questions]
        left = [[self._tokens(text) for text in texts] for _, _, texts in questions]
        said = [0] * len(questions)
        sure = [1.0] * len(questions)
        open_ones = list(range(len(questions)))
        while open_ones:
            for row in open_ones:
                said[row] = _common(left[row])
            logits = self._next([_longer(prompts[row], left[row][0][: said[row]]) for row in open_ones])
            for scores, row in zip(logits, open_ones, strict=True):
                choices = sorted({tokens[said[row]] for tokens in left[row]})
                shares = torch.softmax(scores[choices], 0)
                best = int(shares.argmax())
                sure[row] *= float(shares[best])
                left[row] = [tokens for tokens in left[row] if tokens[said[row]] == choices[best]]
            open_ones = [row for row in open_ones if len(left[row]) > 1]
        return [
            Reading(
                sample=one.sample,
                task=one.task,
                variant=one.variant,
                answer=next(text for text in texts if self._tokens(text) == left[row][0]),
                confidence=sure[row],
            )
            for row, (one, _, texts) in enumerate(questions)
        ]

    def _tokens(self, text: str) -> tuple[int, ...]:
        ids = self._base.tokenizer(text, add_special_tokens=False)["input_ids"]
        return (*ids, min(self._base.eos))

    def _next(self, prompts: Sequence[Encoded]) -> torch.Tensor:
        """Return the logits of the token after each prompt."""
        batch = collate(prompts, padding=0)
        with torch.no_grad():
            hidden = self._opened.model.model(**batch.inputs, use_cache=False).last_hidden_state
            last = batch.inputs["attention_mask"].sum(1) - 1
            logits: torch.Tensor = self._opened.model.lm_head(
                hidden[torch.arange(len(prompts)), last]
            ).float()
        return logits


def _longer(prompt: Encoded, tokens: Sequence[int]) -> Encoded:
    """Return a prompt with the beginning of its answer."""
    longer = torch.cat([prompt.tokens, torch.tensor(tokens, dtype=torch.int64)])
    return Encoded(longer, torch.full_like(longer, IGNORED), prompt.pixels, prompt.sizes)


def _common(texts: Sequence[tuple[int, ...]]) -> int:
    """Return how many tokens all of several different texts begin with."""
    shortest = min(len(text) for text in texts)
    return next((place for place in range(shortest) if len({text[place] for text in texts}) > 1), shortest)
