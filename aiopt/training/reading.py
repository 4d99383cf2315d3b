"""A checkpoint reads questions in this process: greedily and free, as transformers generates.

Owns that.  Nothing holds the answer to a grammar, so a model that does not know the form of answers is judged
wrong: what an engine would force it to say tells nothing of it.  Prompts of equal length are read together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from aiopt.analyst.answers import answer_text
from aiopt.dataset.judging.asking import Asked
from aiopt.dataset.judging.readings import Reading
from aiopt.dataset.tasks.task_config import PictureConfig
from aiopt.training.encoding import Encoded, collate
from aiopt.training.opened import OpenedCheckpoint

MORE_TOKENS = 8
"""Beyond the length of the true answer, so that a longer one is seen to be one."""


class FreeReader:
    """A checkpoint that answers by itself.

    Parameters
    ----------
    checkpoint : Path
        Its folder.
    device : str
        As torch names it.

    Raises
    ------
    CheckpointError
        If it is not whole.
    ConfigError
        If it is of an architecture that is not trained here, or transformers is not installed.
    """

    def __init__(self, checkpoint: Path, *, device: str = "cpu") -> None:
        self._opened = OpenedCheckpoint(checkpoint, device=device)
        self._device = torch.device(device)

    def answers(
        self,
        asked: Sequence[Asked],
        pictures: PictureConfig,
        *,
        numbers: bool = False,
        batch: int = 16,
        progress: Callable[[int], None] | None = None,
    ) -> list[Reading]:
        """Answer every question.

        Parameters
        ----------
        asked : sequence of Asked
            The questions.
        pictures : PictureConfig
            How charts are drawn.
        numbers : bool
            Whether questions come with the bars in numbers.
        batch : int
            Questions read at once.
        progress : callable, optional
            Called with the questions done.

        Returns
        -------
        list of Reading
            In the order of `asked`.

        Raises
        ------
        DataError
            If a chart is of a size that the checkpoint was not trained on.
        """
        found: dict[int, str] = {}
        waiting: dict[tuple[int, int], list[tuple[int, Encoded]]] = {}
        for number, one in enumerate(asked):
            prompt, longest = self._prompt(one, pictures, numbers=numbers)
            key = (prompt.tokens.numel(), longest)
            together = waiting.setdefault(key, [])
            together.append((number, prompt))
            if len(together) == batch:
                found |= self._said(waiting.pop(key), longest)
            if progress is not None:
                progress(len(found))
        for (_, longest), together in waiting.items():
            found |= self._said(together, longest)
            if progress is not None:
                progress(len(found))
        return [
            Reading(sample=one.sample, task=one.task, variant=one.variant, answer=found[number])
            for number, one in enumerate(asked)
        ]

    def _prompt(self, one: Asked, pictures: PictureConfig, *, numbers: bool) -> tuple[Encoded, int]:
        """Return the encoded question and the most tokens of its answer."""
        truth = answer_text(dict(one.truth), one.answer_schema)
        record = self._opened.record(one, truth, pictures, numbers=numbers)
        longest = self._opened.encoder.encode(record).answer_tokens + MORE_TOKENS
        return self._opened.encoder.prompt(record), longest

    def _said(self, together: Sequence[tuple[int, Encoded]], longest: int) -> dict[int, str]:
        inputs = collate([prompt for _, prompt in together], padding=0).inputs
        with torch.no_grad():
            tokens = self._opened.model.generate(
                **{name: part.to(self._device) for name, part in inputs.items()},
                do_sample=False,
                use_cache=True,
                max_new_tokens=longest,
                eos_token_id=sorted(self._opened.base.eos),
                pad_token_id=min(self._opened.base.eos),
            )
        texts = self._opened.base.tokenizer.batch_decode(
            tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
        )
        return {number: str(text) for (number, _), text in zip(together, texts, strict=True)}
