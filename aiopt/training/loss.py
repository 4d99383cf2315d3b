"""The loss of a batch: cross entropy of the answer's tokens, with logits computed for them alone.

Owns that arithmetic.  The whole matrix of logits would be tokens × vocabulary in float32; the answer is a few
per cent of the tokens, and everything else is masked out anyway.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from aiopt.training.encoding import IGNORED, Batch
from aiopt.training.failures import TrainingError

LARGEST_DIFFERENCE = 1e-3
"""Of logits on the two ways, which are the same sums: more means another formula."""


def answer_logits(model: Any, batch: Batch, *, everywhere: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits and targets of the answers' tokens.

    Parameters
    ----------
    model : Any
        A decoder ``model`` with an ``lm_head``.
    batch : Batch
        On the model's device.
    everywhere : bool
        Compute the logits of every token by the model's own forward and drop the rest.

    Returns
    -------
    logits : tensor of shape (n_answer_tokens, vocabulary), float32
    targets : tensor of shape (n_answer_tokens,), int64
    """
    targets = batch.labels[:, 1:]
    kept = targets != IGNORED
    if everywhere:
        logits = model(**batch.inputs, use_cache=False).logits[:, :-1][kept]
        return logits.float(), targets[kept]
    hidden = model.model(**batch.inputs, use_cache=False).last_hidden_state[:, :-1][kept]
    # MiniCPM3 scales what its head reads.
    scaling = getattr(model.config, "logits_scaling", None)
    if scaling:
        hidden = hidden / scaling
    return model.lm_head(hidden).float(), targets[kept]


def loss_sum(model: Any, batch: Batch, *, everywhere: bool) -> torch.Tensor:
    """Return the summed cross entropy of a batch's answer tokens: sums of parts add up, means do not."""
    logits, targets = answer_logits(model, batch, everywhere=everywhere)
    return functional.cross_entropy(logits, targets, reduction="sum")


def check_answer_logits(model: Any, batch: Batch) -> None:
    """Prove on a batch that logits for the answer alone are the model's own.

    Raises
    ------
    TrainingError
        If this architecture computes them otherwise.
    """
    with torch.no_grad():
        short, _ = answer_logits(model, batch)
        full, _ = answer_logits(model, batch, everywhere=True)
    largest = float((short - full).abs().max() / full.abs().max().clamp_min(1.0))
    if not largest <= LARGEST_DIFFERENCE:
        raise TrainingError(
            f"Logits of the answer alone must be those of the whole forward pass, but differ by "
            f"{largest:.2g}: this "
            "architecture computes them otherwise. Set answer_logits: false."
        )
