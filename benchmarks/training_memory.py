"""The memory plan of a training for each supported model on a card of 32 GB.

    python benchmarks/training_memory.py

Computes and allocates nothing: sizes of layers as we know them (no real checkpoint was read), the plan from
`aiopt.training.memory_plan`.  Prints the table of docs/how-to/training.md.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from aiopt.files import GIB
from aiopt.serving.checkpoint.weights import Tensor
from aiopt.training import TrainingConfig
from aiopt.training.libraries import load_transformers
from aiopt.training.memory_plan import SHARE_USABLE, MemoryPlan, ModelSizes, Workload, plan_memory, sizes_of

CARD_BYTES = 32 * GIB
PLAIN_TARGETS = r".*layers\.\d+\.(self_attn\.(q|k|v|o)_proj|mlp\.(gate|up|down)_proj)"

V46: dict[str, Any] = {
    "image_size": 1120,
    "insert_layer_id": 6,
    "tie_word_embeddings": True,
    "vision_config": {
        "hidden_size": 1152,
        "image_size": 980,
        "intermediate_size": 4304,
        "num_attention_heads": 16,
        "num_hidden_layers": 27,
        "patch_size": 14,
    },
    "text_config": {
        "model_type": "qwen3_5_text",
        "head_dim": 256,
        "hidden_size": 1024,
        "intermediate_size": 3584,
        "linear_num_key_heads": 16,
        "linear_num_value_heads": 16,
        "num_attention_heads": 8,
        "num_hidden_layers": 24,
        "num_key_value_heads": 2,
        "vocab_size": 248094,
        "tie_word_embeddings": True,
    },
}
"""MiniCPM-V 4.6 as we know it: SigLIP2-400M and Qwen3.5-0.8B."""

LOADS = {
    "short": Workload(tokens=140, answer_tokens=12, patches=1120),
    "analysis": Workload(tokens=3000, answer_tokens=250, patches=1120),
}
"""A question of a set of tasks and the analyst's whole prompt, each with a chart of 560×392 pixels."""


def vision_sizes() -> ModelSizes:
    import torch

    transformers = load_transformers()
    config = transformers.MiniCPMV4_6Config(**V46)
    with torch.device("meta"):
        model = transformers.AutoModelForImageTextToText.from_config(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.named_parameters()}
    return sizes_of(V46, tensors_of(shapes))


def text_sizes() -> ModelSizes:
    """MiniCPM4.1-8B as we know it: its forward pass is code of its own, its layers are plain."""
    hidden, wide, layers, vocabulary, narrow = 4096, 16384, 32, 73448, 256
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (vocabulary, hidden),
        "lm_head.weight": (vocabulary, hidden),
        "model.norm.weight": (hidden,),
    }
    for layer in range(layers):
        block = f"model.layers.{layer}"
        for name in ("q_proj", "o_proj"):
            shapes[f"{block}.self_attn.{name}.weight"] = (hidden, hidden)
        for name in ("k_proj", "v_proj"):
            shapes[f"{block}.self_attn.{name}.weight"] = (narrow, hidden)
        for name in ("gate_proj", "up_proj"):
            shapes[f"{block}.mlp.{name}.weight"] = (wide, hidden)
        shapes[f"{block}.mlp.down_proj.weight"] = (hidden, wide)
        for name in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"{block}.{name}.weight"] = (hidden,)
    config = {"vocab_size": vocabulary, "hidden_size": hidden, "num_hidden_layers": layers}
    return sizes_of(config, tensors_of(shapes))


def tensors_of(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    return {name: Tensor(dtype="BF16", shape=shape, size_bytes=0, shard="") for name, shape in shapes.items()}


def settings(method: str, checkpointing: bool, micro_batch: int, targets: str | None) -> TrainingConfig:
    lora = {} if targets is None else {"targets": targets}
    document = {
        "method": method,
        "precision": "bf16",
        "gradient_checkpointing": checkpointing,
        "micro_batch": micro_batch,
        "lora": lora,
    }
    return msgspec.convert(document, TrainingConfig)


def row(name: str, what: str, load: str, plan: MemoryPlan) -> str:
    parts = (plan.weights, plan.gradients + plan.optimizer, plan.activations, plan.logits)
    fits = "yes" if plan.total <= SHARE_USABLE * CARD_BYTES else "no"
    cells = " | ".join(f"{part / GIB:.1f}" for part in parts)
    return f"| {name} | {what} | {load} | {cells} | **{plan.total / GIB:.1f}** | {fits} |"


def main(arguments: list[str]) -> int:
    rows = []
    documents = []
    models = (("MiniCPM-V 4.6", vision_sizes(), None), ("MiniCPM4.1-8B", text_sizes(), PLAIN_TARGETS))
    for name, sizes, targets in models:
        for method in ("full", "lora"):
            for load_name, load in LOADS.items():
                if targets is not None:
                    load = msgspec.structs.replace(load, patches=0)
                checkpointing = load_name == "analysis"
                config = settings(method, checkpointing, 1 if checkpointing else 4, targets)
                plan = plan_memory(sizes, config, load)
                twice = ", activations twice" if checkpointing else ""
                what = f"{'full' if method == 'full' else 'LoRA'}, micro batch {config.micro_batch}{twice}"
                rows.append(row(name, what, f"{load_name}: {load.tokens:,} tokens", plan))
                documents.append({"model": name, "what": what, "load": load_name, "plan": plan})
    for line in rows:
        print(line)
    if arguments:
        Path(arguments[0]).write_text(json.dumps(msgspec.to_builtins(documents), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
