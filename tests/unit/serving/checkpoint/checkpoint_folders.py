"""Checkpoint folders of a few kilobytes, written by hand: no torch, no transformers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROWS, HIDDEN = 40, 8
VISION = "MiniCPMV4_6ForConditionalGeneration"
TEXT = "MiniCPM3ForCausalLM"


def header_and_data(shapes: Mapping[str, tuple[int, ...]]) -> tuple[dict[str, Any], bytes]:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    reached = 0
    for name, shape in shapes.items():
        size = math.prod(shape) * 2
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [reached, reached + size]}
        reached += size
    return header, bytes(number % 251 for number in range(reached))


def write_safetensors(path: Path, header: Mapping[str, Any], data: bytes) -> None:
    raw = json.dumps(header).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + data)


def text_shapes(prefix: str = "model.") -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {f"{prefix}embed_tokens.weight": (ROWS, HIDDEN)}
    for layer in (0, 1):
        shapes[f"{prefix}layers.{layer}.mlp.up_proj.weight"] = (HIDDEN, HIDDEN)
        shapes[f"{prefix}layers.{layer}.self_attn.o_proj.weight"] = (HIDDEN, HIDDEN)
    shapes[f"{prefix}norm.weight"] = (HIDDEN,)
    return shapes


def vision_shapes() -> dict[str, tuple[int, ...]]:
    shapes = text_shapes("model.language_model.")
    for layer in (0, 1):
        shapes[f"model.vision_tower.encoder.layers.{layer}.mlp.fc1.weight"] = (HIDDEN, HIDDEN)
        shapes[f"model.vision_tower.encoder.layers.{layer}.mlp.fc2.weight"] = (HIDDEN, HIDDEN)
    return shapes


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def edit_json(path: Path, **changes: object) -> None:
    """Set keys; None removes one."""
    value = json.loads(path.read_text(encoding="utf-8"))
    for key, new in changes.items():
        if new is None:
            value.pop(key, None)
        else:
            value[key] = new
    write_json(path, value)


def write_checkpoint(folder: Path, *, images: bool = True) -> Path:
    """Write a folder that passes every check."""
    folder.mkdir(parents=True)
    sizes = {
        "vocab_size": ROWS,
        "hidden_size": HIDDEN,
        "num_hidden_layers": 2,
        "max_position_embeddings": 512,
    }
    if images:
        config: dict[str, Any] = {
            "architectures": [VISION],
            "text_config": sizes,
            "image_token_id": ROWS - 3,
            "tie_word_embeddings": True,
            "dtype": "bfloat16",
        }
        write_json(folder / "preprocessor_config.json", {"image_processor_type": "MiniCPMV4_6ImageProcessor"})
    else:
        config = {"architectures": [TEXT], **sizes, "tie_word_embeddings": True, "eos_token_id": 1}
    write_json(folder / "config.json", config)
    names = {"image_token": "<img>", "image_start_token": "<image>", "image_end_token": "</image>"}
    special = dict(zip(names.values(), range(ROWS - 3, ROWS), strict=True))
    write_json(
        folder / "tokenizer.json",
        {
            "model": {"type": "BPE", "vocab": {f"t{number}": number for number in range(ROWS - 3)}},
            "added_tokens": [{"id": number, "content": token} for token, number in special.items()],
        },
    )
    write_json(folder / "tokenizer_config.json", {"eos_token": "t1", **(names if images else {})})
    (folder / "chat_template.jinja").write_text("{{ messages }}", encoding="utf-8")
    header, data = header_and_data(vision_shapes() if images else text_shapes())
    write_safetensors(folder / "model.safetensors", header, data)
    return folder


def split_in_shards(folder: Path) -> list[Path]:
    """Replace the one weight file by two with an index."""
    shapes = list(vision_shapes().items())
    (folder / "model.safetensors").unlink()
    shards, weight_map = [], {}
    for number, part in enumerate((shapes[:4], shapes[4:]), start=1):
        shard = folder / f"model-0000{number}-of-00002.safetensors"
        write_safetensors(shard, *header_and_data(dict(part)))
        weight_map.update({name: shard.name for name, _ in part})
        shards.append(shard)
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": weight_map})
    return shards
