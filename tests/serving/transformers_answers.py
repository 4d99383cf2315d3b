"""What transformers answers greedily to the same messages: the other side of what an engine is held to."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from aiopt.training.base import open_base
from aiopt.training.encoding import Encoder
from aiopt.training.records import Record
from aiopt.training.training_config import TrainingConfig


def wire_messages(record: Record) -> list[dict[str, Any]]:
    """Return a record's question in the form of OpenAI's API."""
    assert record.png is not None
    url = "data:image/png;base64," + base64.b64encode(record.png).decode()
    found = []
    for message in record.messages[:-1]:
        parts = [
            {"type": "image_url", "image_url": {"url": url}}
            if part["type"] == "image"
            else {"type": "text", "text": part["text"]}
            for part in message["content"]
        ]
        found.append({"role": message["role"], "content": parts})
    return found


def answers(checkpoint: Path, records: Sequence[Record], *, max_tokens: int) -> list[str]:
    """Return the greedy answers, in the engine's number format."""
    base = open_base(str(checkpoint), TrainingConfig())
    encoder = Encoder(base, TrainingConfig())
    model = base.load_model(torch.bfloat16).eval()
    found = []
    for record in records:
        inputs = encoder.prompt_inputs(record)
        inputs["pixel_values"] = inputs["pixel_values"].to(torch.bfloat16)
        with torch.no_grad():
            said = model.generate(
                **inputs,
                do_sample=False,
                use_cache=True,
                max_new_tokens=max_tokens,
                eos_token_id=sorted(base.eos),
                pad_token_id=min(base.eos),
            )
        text = base.tokenizer.decode(said[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        found.append(str(text))
    return found
