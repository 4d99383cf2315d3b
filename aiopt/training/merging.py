"""An adapter made elsewhere and its base, merged into a model that may be served, and proved.

Owns the way from two folders to one.  Everything is float32: a merge in bfloat16 answers otherwise.  Proved
are, on a text and (where the base sees) a picture: the adapter changes the answers at all, merging changes
none of them, and neither does writing and reading.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec
import torch
from PIL import Image

from aiopt.dataset.judging.seen import SEEN_FILE, Seen, read_seen, seen_text
from aiopt.errors import ConfigError, did_you_mean
from aiopt.serving.checkpoint.adapter_folder import WEIGHTS_FILE, AdapterFolder, read_adapter
from aiopt.serving.checkpoint.geometry import trained_geometry
from aiopt.serving.checkpoint.validation import Checkpoint
from aiopt.training.adapters import LARGEST_DIFFERENCE, merged
from aiopt.training.base import DTYPES, Base, export, open_base
from aiopt.training.encoding import Batch
from aiopt.training.failures import TrainingError
from aiopt.training.libraries import load_peft
from aiopt.training.loss import answer_logits
from aiopt.training.training_config import TrainingConfig

QUESTION = "Describe the trend: 1.0812 1.0825 1.0841 1.0838 1.0855."
PICTURE_SIZE = (224, 168)
"""Of the picture a merge is proved on, where the base does not know sizes of its own."""


def merge_adapter(
    adapter: Path,
    base: str,
    out: Path,
    *,
    dtype: Literal["float32", "bfloat16"] = "float32",
    remote_code: bool = False,
    note: Callable[[str], None] = lambda text: None,
) -> Checkpoint:
    """Merge a LoRA adapter into its base and write the result as a checkpoint.

    Parameters
    ----------
    adapter : Path
        Folder as peft writes it.
    base : str
        Folder or hub id of the checkpoint it was trained on.
    out : Path
        Folder to write.
    dtype : {"float32", "bfloat16"}
        Of the weights written; the second rounds, and is then proved no more than rounded weights can be.
    remote_code : bool
        Whether the base may bring Python code.
    note : callable, optional
        Told of each step.

    Raises
    ------
    CheckpointError
        If adapter or base is not whole.
    ConfigError
        If the adapter belongs to another base, or changes more than linear layers.
    TrainingError
        If it changes no answer, or a step changes one.
    """
    found = read_adapter(adapter)
    config = TrainingConfig(trust_remote_code=remote_code)
    opened = open_base(base, config)
    note(f"Loading {opened.checkpoint.model_id} in float32 …")
    model = opened.load_model(DTYPES["float32"]).eval()
    batch = _question(opened)
    with torch.no_grad():
        plain, _ = answer_logits(model, batch)
    model = _injected(model, adapter, found).eval()
    with torch.no_grad():
        adapted, _ = answer_logits(model, batch)
    if not bool((plain - adapted).abs().max() > 0):
        raise TrainingError(
            f"{adapter}: an adapter must change what the model answers, but with it every logit is the same "
            "as without. It was not trained, or is of another base."
        )
    note(f"Merging {len(found.layers)} layers …")
    model = merged(model, batch)
    sizes = trained_geometry(opened.folder) if opened.geometry is not None else None
    checkpoint = export(
        opened,
        model,
        out,
        dtype=dtype,
        picture_sizes=() if sizes is None else sizes.picture_sizes,
        files={"README.md": _card(adapter, opened, found), SEEN_FILE: seen_text(_seen(opened))},
    )
    note("Reading it back …")
    _prove_written(checkpoint, config, batch, adapted, exact=dtype == "float32")
    return checkpoint


def _injected(model: Any, adapter: Path, found: AdapterFolder) -> Any:
    """Return the model with the adapter's values in place; every tensor of it finds its layer."""
    peft = load_peft()
    from safetensors.torch import load_file

    config = peft.LoraConfig.from_pretrained(str(adapter))
    if config.modules_to_save or config.bias != "none":
        raise ConfigError(
            f"{adapter}: only adapters of linear layers are merged here, but this one also holds "
            f"{config.modules_to_save or 'biases'}. Merge it by peft's merge_and_unload in float32."
        )
    linear = {name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    strange = next((name for name in found.layers if name not in linear), None)
    if strange is not None:
        raise ConfigError(
            f"{adapter}: every layer of an adapter must be a linear layer of the base, but {strange!r} is "
            f"none.{did_you_mean(strange, linear)} Name the base it was trained on."
        )
    # The names it holds, not the pattern it was made with: a pattern may match more in another version.
    config.target_modules = list(found.layers)
    config.inference_mode = True
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    model = peft.inject_adapter_in_model(config, model)
    tensors = load_file(adapter / WEIGHTS_FILE)
    own = dict(model.named_parameters())
    with torch.no_grad():
        for name, tensor in tensors.items():
            where = name.removeprefix("base_model.model.")
            for part in ("lora_A", "lora_B"):
                where = where.replace(f".{part}.weight", f".{part}.default.weight")
            if where not in own or own[where].shape != tensor.shape:
                shape = list(own[where].shape) if where in own else "none"
                raise ConfigError(
                    f"{adapter}: the tensors of an adapter must fit its base, but {name} has the shape "
                    f"{list(tensor.shape)} and the layer {shape}. Name the base it was trained on."
                )
            own[where].copy_(tensor.float())
    return model


def _question(base: Base) -> Batch:
    """Return a text, with a picture where the base sees one, on which every token is compared."""
    text = {"type": "text", "text": QUESTION}
    if base.geometry is None:
        messages = [{"role": "user", "content": QUESTION}]
        prompt = base.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        tokens = torch.tensor([base.tokenizer(prompt, add_special_tokens=False)["input_ids"]])
        inputs = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
        return Batch(inputs, tokens.clone())
    width, height = next(iter(base.geometry.picture_sizes), PICTURE_SIZE)
    picture = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    template = base.processor if getattr(base.processor, "chat_template", None) else base.tokenizer
    prompt = template.apply_chat_template(
        [{"role": "user", "content": [{"type": "image"}, text]}], tokenize=False, add_generation_prompt=True
    )
    found = base.processor(images=[picture], text=[prompt], return_tensors="pt")
    names = ("input_ids", "attention_mask", "pixel_values", "target_sizes")
    return Batch({name: found[name] for name in names}, found["input_ids"].clone())


def _prove_written(
    checkpoint: Checkpoint, config: TrainingConfig, batch: Batch, adapted: torch.Tensor, *, exact: bool
) -> None:
    """Compare the logits of what was written with the adapter's; rounded weights are read, not compared."""
    model = open_base(checkpoint.path, config).load_model(DTYPES["float32"]).eval()
    with torch.no_grad():
        read, _ = answer_logits(model, batch)
    difference = float((read - adapted).abs().max() / adapted.abs().max().clamp_min(1e-6))
    if exact and not difference <= LARGEST_DIFFERENCE:
        shutil.rmtree(checkpoint.path)
        raise TrainingError(
            f"A merged checkpoint must answer as the adapter did, but its logits differ by {difference:.2g} "
            "of the largest. It was removed; report this with the architecture."
        )


def _seen(base: Base) -> Seen:
    """Return what the base has seen; what the adapter has, nobody tells."""
    return msgspec.structs.replace(read_seen(base.folder) or Seen(), complete=False)


def _card(adapter: Path, base: Base, found: AdapterFolder) -> str:
    seeing = f", {len(found.vision)} of them in what sees" if found.vision else ""
    return "\n".join(
        [
            "---",
            "library_name: transformers",
            f"base_model: {base.checkpoint.model_id}",
            "---",
            "",
            f"# {adapter.name}, merged",
            "",
            f"A LoRA adapter of {len(found.layers)} layers{seeing}, merged by aiopt in float32 into "
            f"`{base.checkpoint.model_id}` (revision `{base.checkpoint.revision}`). Logits before and after "
            "were compared. Its licence is that of base and adapter.",
            "",
        ]
    )
