"""A LoRA adapter's folder, as far as its files tell: what it touches, and why it is not served as it is.

Owns reading ``adapter_config.json`` and the names in ``adapter_model.safetensors``.  Imports neither torch
nor peft.  Merging is `aiopt.training.merging`'s.
"""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import msgspec

from aiopt.serving.checkpoint.tokenizer_files import read_json_object
from aiopt.serving.checkpoint.weights import CheckpointError, read_weights

CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"

VISION_PARTS = ("vision_tower.", "vit_merger.", "merger.", "vpm.", "resampler.")


class AdapterFolder(msgspec.Struct, frozen=True, kw_only=True):
    """What an adapter says of itself.

    Attributes
    ----------
    base : str
        Checkpoint it was trained on, as it names it; empty where it does not.
    layers : tuple of str
        Full names of the layers it changes.
    """

    base: str
    layers: tuple[str, ...]

    @property
    def vision(self) -> tuple[str, ...]:
        """Those layers that see."""
        return tuple(name for name in self.layers if any(f".{part}" in f".{name}" for part in VISION_PARTS))


def read_adapter(folder: Path) -> AdapterFolder:
    """Read what an adapter touches.

    Raises
    ------
    CheckpointError
        If a file is absent or damaged, or it is no LoRA adapter.
    """
    if not (folder / CONFIG_FILE).is_file():
        raise CheckpointError(
            f"{folder}: an adapter must be a folder with {CONFIG_FILE}, as peft writes it, but has none. "
            "Name the adapter's folder."
        )
    config = read_json_object(folder / CONFIG_FILE)
    if str(config.get("peft_type", "")).upper() != "LORA":
        raise CheckpointError(
            f"{folder}: an adapter must be a LoRA one of peft, but {CONFIG_FILE} says "
            f"peft_type={config.get('peft_type')!r}. Merge it with the tool that made it, and name the "
            "result."
        )
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise CheckpointError(
            f"{folder}: an adapter must hold {WEIGHTS_FILE}, but does not. Save it as safetensors."
        )
    tensors = read_weights(folder, {WEIGHTS_FILE: path}).tensors
    layers = {
        name.removeprefix("base_model.model.").rpartition(".lora_")[0] for name in tensors if ".lora_" in name
    }
    if not layers:
        raise CheckpointError(
            f"{path}: an adapter must hold tensors named lora_A and lora_B, but holds none. Save it again."
        )
    return AdapterFolder(
        base=str(config.get("base_model_name_or_path") or ""),
        layers=tuple(sorted(layers)),
    )


def refuse_adapter(folder: Path) -> NoReturn:
    """Say why an adapter is not served as it is, and the command that makes a model of it.

    Raises
    ------
    CheckpointError
        Always.
    """
    found = read_adapter(folder)
    why = "an engine proves whole models, and an adapter is not one"
    if found.vision:
        why = (
            f"it changes {len(found.vision)} layers that see, e.g. {found.vision[0]}, which engines refuse "
            "or silently ignore"
        )
    base = found.base or "BASE"
    raise CheckpointError(
        f"{folder}: what is served must be a whole model, but this is a LoRA adapter: {why}. Merge it, "
        f"proved in float32: aiopt model merge {folder} --base {base} --out {folder}-merged"
    )
