"""How much memory a training takes, before it starts: weights, gradients, optimizer, activations, logits.

Owns the arithmetic and the advice where it does not fit.  Reads the checkpoint's configuration and headers
alone. Weights, gradients and moments are exact; activations are counted per layer and token from the sizes of
the layers (`ACTIVATIONS`), which a test holds against what autograd really keeps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from aiopt.errors import ConfigError
from aiopt.files import GIB, MIB
from aiopt.serving.checkpoint.tokenizer_files import read_json_object
from aiopt.serving.checkpoint.weights import Tensor, read_weights
from aiopt.training.training_config import TrainingConfig

TEXT_BYTES = {"fp32": 9.7, "bf16": 8.0}
"""Kept per token and per input or output of a matrix of the language model."""

VISION_BYTES = {"fp32": 5.2, "bf16": 3.7}
"""Kept per patch likewise in the vision tower."""

CHECKPOINT_BYTES = 8
"""Kept per token, layer and hidden value where activations are computed twice."""

LOGIT_BYTES = 16
"""Per logit: the head's output, its float32 copy, log-softmax and gradient."""

SHARE_USABLE = 0.92
"""Of a device: the rest is the library's context, fragmentation and the batch itself."""

LIBRARY_BYTES = 650 * MIB
"""What torch and transformers take of a process by themselves."""


_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")
_VISION = re.compile(r"vision_tower\.|vpm\.|resampler\.|(?:^|\.)merger\.")


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """What one micro batch holds at most.

    Attributes
    ----------
    tokens : int
        Longest record.
    answer_tokens : int
        Longest answer.
    patches : int
        Patches of its picture; 0 without one.
    """

    tokens: int
    answer_tokens: int
    patches: int


class MemoryPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes by purpose.

    Attributes
    ----------
    weights, gradients, optimizer, activations, logits, library : int
        Bytes.
    trained : int
        Values that are trained.
    parameters : int
        Values in all.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    library: int
    trained: int
    parameters: int

    @property
    def total(self) -> int:
        """Bytes in all."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.logits + self.library

    def describe(self) -> str:
        """Return the plan in one line."""
        names = ("weights", "gradients", "optimizer", "activations", "logits", "library")
        parts = ", ".join(f"{name} {getattr(self, name) / GIB:.2f}" for name in names)
        return f"{self.total / GIB:.2f} GiB ({parts}); {self.trained:,} of {self.parameters:,} values trained"


class ModelSizes(msgspec.Struct, frozen=True, kw_only=True):
    """What the plan needs to know of a model.

    Attributes
    ----------
    parameters : int
        Values of all tensors.
    linear : dict of str to (int, int)
        Output and input size of each matrix, by the layer's name.
    vocabulary, hidden, layers : int
        Of the language model.
    vision_hidden, vision_layers : int
        Of the vision tower; 0 without one.
    insert_layer : int
        Vision layer after which four patches become one.
    """

    parameters: int
    linear: dict[str, tuple[int, int]]
    vocabulary: int
    hidden: int
    layers: int
    vision_hidden: int = 0
    vision_layers: int = 0
    insert_layer: int = 0


def model_sizes(folder: Path) -> ModelSizes:
    """Read the sizes of a checkpoint from its configuration and the headers of its weights."""
    files = {path.name: path for path in Path(folder).iterdir() if path.is_file()}
    tensors = read_weights(Path(folder), files).tensors
    return sizes_of(read_json_object(files["config.json"]), tensors)


def sizes_of(config: dict[str, Any], tensors: dict[str, Tensor]) -> ModelSizes:
    """Return the sizes that a configuration and its tensors have."""
    text = config.get("text_config") or config
    vision = config.get("vision_config") or {}
    linear = {
        name.removesuffix(".weight"): (int(tensor.shape[0]), int(tensor.shape[1]))
        for name, tensor in tensors.items()
        if len(tensor.shape) == 2 and name.endswith(".weight") and "embed" not in name
    }
    return ModelSizes(
        parameters=sum(tensor.elements for tensor in tensors.values()),
        linear=linear,
        vocabulary=int(text["vocab_size"]),
        hidden=int(text["hidden_size"]),
        layers=int(text["num_hidden_layers"]),
        vision_hidden=int(vision.get("hidden_size", 0)),
        vision_layers=int(vision.get("num_hidden_layers", 0)),
        insert_layer=int(config.get("insert_layer_id", 6)),
    )


def plan_memory(sizes: ModelSizes, config: TrainingConfig, load: Workload) -> MemoryPlan:
    """Return what a training takes at its highest.

    Parameters
    ----------
    sizes : ModelSizes
        Of the base.
    config : TrainingConfig
        Method, precision, micro batch, checkpointing.
    load : Workload
        The largest record.
    """
    half = config.precision == "bf16"
    value = 2 if half else 4
    if config.method == "full":
        trained, weights = sizes.parameters, 4 * sizes.parameters
        # Autocast keeps a bfloat16 copy of every matrix until the backward pass is through.
        weights += 2 * sizes.parameters if half else 0
    else:
        trained = sum(
            config.lora.rank * (out + into)
            for name, (out, into) in sizes.linear.items()
            if re.fullmatch(config.lora.targets, name)
        )
        weights = value * sizes.parameters + 4 * trained
    tokens, patches = load.tokens * config.micro_batch, load.patches * config.micro_batch
    text = tokens * _text_bytes(sizes, config)
    vision = patches * _vision_bytes(sizes, config)
    said = load.answer_tokens * config.micro_batch if config.answer_logits else tokens
    return MemoryPlan(
        weights=weights,
        gradients=4 * trained,
        optimizer=8 * trained,
        activations=int(text + vision),
        logits=LOGIT_BYTES * said * sizes.vocabulary,
        library=LIBRARY_BYTES,
        trained=trained,
        parameters=sizes.parameters,
    )


def check_memory(sizes: ModelSizes, config: TrainingConfig, load: Workload, device_bytes: int) -> MemoryPlan:
    """Return the plan where it fits the device.

    Raises
    ------
    ConfigError
        If it does not fit; names settings that would, or says that none does.
    """
    plan = plan_memory(sizes, config, load)
    usable = int(device_bytes * SHARE_USABLE)
    if plan.total <= usable:
        return plan
    words = "no setting makes it fit: use a smaller model, shorter records or a larger device"
    for changed, names in _smaller(config):
        smaller = plan_memory(sizes, changed, load)
        if smaller.total <= usable:
            words = f"these settings would: {names} ({smaller.total / GIB:.2f} GiB)"
            break
    raise ConfigError(
        f"The training must fit the memory of the device, of which {usable / GIB:.2f} GiB are usable, but "
        "takes "
        f"{plan.describe()}. It does not fit; {words}."
    )


def _text_bytes(sizes: ModelSizes, config: TrainingConfig) -> float:
    """Return the bytes kept per token of the language model."""
    layers: dict[str, int] = {}
    for name, (out, into) in sizes.linear.items():
        match = _LAYER.search(name)
        if match is not None and not _VISION.search(name):
            layers[match[1]] = layers.get(match[1], 0) + out + into
    each = TEXT_BYTES[config.precision]
    if not config.gradient_checkpointing:
        return each * sum(layers.values())
    return CHECKPOINT_BYTES * sizes.hidden * sizes.layers + each * max(layers.values(), default=0)


def _vision_bytes(sizes: ModelSizes, config: TrainingConfig) -> float:
    """Return the bytes kept per patch of the vision tower, which merges four patches into one, twice."""
    blocks, beside = 0.0, 0.0
    for name, (out, into) in sizes.linear.items():
        if not _VISION.search(name):
            continue
        layer = _LAYER.search(name)
        if layer is not None:
            share = 1.0 if int(layer[1]) <= sizes.insert_layer else 0.25
            blocks += share * (out + into)
        elif "vit_merger" in name:
            beside += (out + into) * (1.0 if "self_attn" in name else 0.25)
        else:
            beside += (out + into) / 16
    each = VISION_BYTES[config.precision]
    if not config.gradient_checkpointing:
        return each * (blocks + beside)
    layer_bytes = each * blocks / max(sizes.vision_layers, 1)
    return each * beside + layer_bytes + CHECKPOINT_BYTES * sizes.vision_hidden * sizes.vision_layers


def _smaller(config: TrainingConfig) -> Iterator[tuple[TrainingConfig, str]]:
    """Yield changes that take less memory, the mildest first."""
    changes: dict[str, Any] = {}
    steps: list[dict[str, Any]] = []
    if not config.answer_logits:
        steps.append({"answer_logits": True})
    if config.precision == "fp32":
        steps.append({"precision": "bf16"})
    if not config.gradient_checkpointing:
        steps.append({"gradient_checkpointing": True})
    size = config.micro_batch
    while size > 1:
        size //= 2
        steps.append({"micro_batch": size})
    if config.method == "full":
        steps.append({"method": "lora"})
    for step in steps:
        changes |= step
        names = ", ".join(f"{key}: {_yaml(value)}" for key, value in changes.items())
        yield msgspec.structs.replace(config, **changes), names


def _yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
