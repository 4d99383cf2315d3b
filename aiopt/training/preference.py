"""A stage of preferences: the better of two answers becomes likelier, measured from a reference.

Owns the pairs of a stage, their loss (DPO) and the frozen reference.  With p the model and q the model as the
stage began, chosen answer c and rejected answer r to a question::

    loss = -log sigmoid(beta * ((log p(c) - log p(r)) - (log q(c) - log q(r))))

(Rafailov et al. 2023, "Direct Preference Optimization", eq. 7; log p of an answer sums over its tokens).  All
that is needed of q is one number per pair.  These are computed once, before the first step, and kept beside
the states: a training that goes on after a kill measures from the same reference, bit by bit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from aiopt.dataset.positions.preferences import rejected_answer
from aiopt.errors import DataError
from aiopt.files import atomic_write_bytes
from aiopt.training.encoding import IGNORED, Batch, Encoded, Encoder
from aiopt.training.records import Record, Records
from aiopt.training.workers import Workers


class PairCounts(msgspec.Struct, frozen=True):
    """What a loss of pairs was summed over."""

    pairs: int
    tokens: int
    answer_tokens: int


class _Reference(msgspec.Struct, frozen=True, kw_only=True):
    """Content of a reference's file: log q(c) - log q(r) of each pair, and what they belong to."""

    identity: str
    stage: int
    sha256: str
    margins: list[float]


class Pairs:
    """The pairs of one stage.

    Parameters
    ----------
    records : Records
        All of the training.
    numbers : ndarray of int64
        Those of the stage; each has a rejected answer.
    beta : float
        How far the model may go from the reference: small goes far.
    encoder : Encoder
        Of the training.
    collated : callable
        Puts encoded records into a batch on the device.
    logits : callable
        Returns logits and targets of a batch's answers, as `aiopt.training.loss.answer_logits`.
    device : torch.device
        Of the model.
    """

    def __init__(
        self,
        records: Records,
        numbers: NDArray[np.int64],
        beta: float,
        *,
        encoder: Encoder,
        collated: Callable[[Sequence[Encoded]], Batch],
        logits: Callable[[Batch], tuple[torch.Tensor, torch.Tensor]],
        device: torch.device,
    ) -> None:
        self._records, self._numbers, self._beta = records, numbers, beta
        self._encoder, self._collated, self._logits, self._device = encoder, collated, logits, device
        self._reference: dict[int, float] = {}

    def refer(
        self, path: Path, identity: str, stage: int, *, begun: bool, workers: Workers, size: int
    ) -> None:
        """Take the reference from its file, or compute it with the weights as they are, and write it.

        Parameters
        ----------
        path : Path
            The file.
        identity, stage : str, int
            Of the training and the stage, compared with the file's.
        begun : bool
            Whether steps of the stage were done: then its first weights are gone, and the file must be there.
        workers : Workers
            Each computes its share.
        size : int
            Pairs of a forward pass.

        Raises
        ------
        DataError
            If the file is damaged, of another training, or missing after the first step.
        """
        if path.is_file() or begun:
            margins = self._read(path, identity, stage)
        else:
            margins = self._computed(workers, size)
            if workers.rank == 0:
                digest = _digest(margins)
                found = _Reference(identity=identity, stage=stage, sha256=digest, margins=margins)
                atomic_write_bytes(path, msgspec.json.encode(found))
            workers.wait()
        self._reference = dict(zip(self._numbers.tolist(), margins, strict=True))

    def loss_sum(self, numbers: Sequence[int]) -> tuple[torch.Tensor, PairCounts]:
        """Return the summed loss of some pairs, and what was read for it; pictures are not augmented."""
        batch = self._batch(numbers)
        margins = self._margins(batch)
        reference = torch.tensor(
            [self._reference[number] for number in numbers], dtype=margins.dtype, device=margins.device
        )
        loss = -functional.logsigmoid(self._beta * (margins - reference)).sum()
        return loss, PairCounts(len(numbers), batch.tokens, batch.answer_tokens)

    def _batch(self, numbers: Sequence[int]) -> Batch:
        """Return both answers of each question, one after the other."""
        rows = []
        for number in numbers:
            record: Record = self._records[number]
            rejected = rejected_of(self._records, number)
            assert rejected is not None  # numbers are of `has_pair`
            rows += [self._encoder.encode(record), self._encoder.encode(_answered(record, rejected))]
        return self._collated(rows)

    def _margins(self, batch: Batch) -> torch.Tensor:
        """Return log p(c) - log p(r) of each pair, shape (n_pairs,)."""
        logits, targets = self._logits(batch)
        each = -functional.cross_entropy(logits, targets, reduction="none")
        counts = (batch.labels[:, 1:] != IGNORED).sum(1).tolist()
        sums = torch.stack([part.sum() for part in torch.split(each, counts)])
        return sums[0::2] - sums[1::2]

    def _computed(self, workers: Workers, size: int) -> list[float]:
        found = torch.zeros(len(self._numbers), dtype=torch.float64)
        with torch.no_grad():
            for part, start in enumerate(range(0, len(self._numbers), size)):
                if part % workers.size != workers.rank:
                    continue
                margins = self._margins(self._batch(self._numbers[start : start + size].tolist()))
                found[start : start + size] = margins.double().cpu()
        shared = found.to(self._device)
        workers.add_up([shared])
        return [float(value) for value in shared.cpu().tolist()]

    def _read(self, path: Path, identity: str, stage: int) -> list[float]:
        remedy = "Begin this training anew in another folder."
        try:
            found = msgspec.json.decode(path.read_bytes(), type=_Reference)
        except (OSError, msgspec.DecodeError) as failure:
            msg = f"The frozen reference of a stage that was begun cannot be read: {failure}. {remedy}"
            raise DataError(msg, file=path) from failure
        if (found.identity, found.stage) != (identity, stage) or len(found.margins) != len(self._numbers):
            msg = f"The frozen reference must be of this training and stage, but is of another. {remedy}"
            raise DataError(msg, file=path)
        if _digest(found.margins) != found.sha256:
            raise DataError(f"The frozen reference was changed after it was written. {remedy}", file=path)
        return found.margins


def rejected_of(records: Records, number: int) -> str | None:
    """Return the answer that a record's own is to be preferred to; None where it makes no pair."""
    return rejected_answer(records.tasks[number], records.answers[number], records.reading_biases[number])


def _answered(record: Record, answer: str) -> Record:
    said = {"role": "assistant", "content": [{"type": "text", "text": answer}]}
    return replace(record, messages=[*record.messages[:-1], said])


def _digest(margins: Sequence[float]) -> str:
    return hashlib.sha256(np.array(margins, "<f8").tobytes()).hexdigest()
