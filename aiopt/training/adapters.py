"""LoRA by peft: which layers get an adapter, and their merge into plain float32 weights, proved.

Owns both.  A pattern that matches nothing is refused: such a training would change nothing.  A merge in
bfloat16 changes answers, so merging is done in float32 on a base loaded anew, and its logits are compared
with those of the adapter.  What is served is always the merged model: an engine that reads adapters for the
language part alone silently ignores one of the vision tower.
"""

from __future__ import annotations

import re
from typing import Any

import torch

from aiopt.errors import ConfigError, did_you_mean
from aiopt.training.encoding import Batch
from aiopt.training.failures import TrainingError
from aiopt.training.libraries import load_peft
from aiopt.training.loss import answer_logits
from aiopt.training.training_config import LoraConfig

LARGEST_DIFFERENCE = 1e-4
"""Of logits, relative to the largest, before and after a merge in float32."""


def targets_of(model: Any, pattern: str) -> list[str]:
    """Return the names of the linear layers a pattern matches as a whole.

    Raises
    ------
    ConfigError
        If it matches none; names some of those there are.
    """
    linear = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    found = [name for name in linear if re.fullmatch(pattern, name)]
    if not found:
        raise ConfigError(
            f"`lora.targets` must match the full name of a linear layer, but {pattern!r} matches none of "
            f"{len(linear)}, so nothing would be trained.{did_you_mean(pattern, linear)}"
        )
    return found


def add_adapters(model: Any, settings: LoraConfig) -> Any:
    """Return the model with adapters in place; its own weights are frozen, adapters are float32.

    Raises
    ------
    ConfigError
        As `targets_of`.
    """
    peft = load_peft()
    config = peft.LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=targets_of(model, settings.targets),
        bias="none",
    )
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    model = peft.inject_adapter_in_model(config, model)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float()
            parameter.requires_grad_(True)
    return model


def merged(model: Any, batch: Batch) -> Any:
    """Merge float32 adapters into their float32 weights in place, and prove that answers stay the same.

    Parameters
    ----------
    model : Any
        Of `add_adapters`, float32 throughout, on the CPU.
    batch : Batch
        On which the logits are compared.

    Returns
    -------
    Any
        The model with plain layers under their own names.

    Raises
    ------
    TrainingError
        If the merge changes the logits, or the adapters change nothing.
    """
    peft = load_peft()
    model.eval()
    with torch.no_grad():
        before, _ = answer_logits(model, batch)
        layers = [
            (name, module)
            for name, module in model.named_modules()
            if isinstance(module, peft.tuners.lora.LoraLayer)
        ]
        for name, module in layers:
            module.merge(safe_merge=True)
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, module.get_base_layer())
        after, _ = answer_logits(model, batch)
    difference = float((before - after).abs().max() / before.abs().max().clamp_min(1e-6))
    if not difference <= LARGEST_DIFFERENCE:
        raise TrainingError(
            f"A merged adapter must answer as the adapter did, but logits differ by {difference:.2g} of the "
            "largest. "
            "The adapter's states are kept; report this with the architecture."
        )
    return model
