"""The fixed questions every engine must answer exactly as a fresh engine on the same checkpoint does.

Owns the probe set and its version.  Knows neither Ray nor vLLM: a probe is the body of a chat completion.
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aiopt.charts.png import encode_png

PROBE_VERSION = 1
"""Part of every reference's key: raise it whenever a probe changes."""

MAX_TOKENS = 24
MAX_LOGPROBS = 20
"""Most a request may ask for, see `aiopt.serving.gateway.chat_types`."""

_TEXTS = (
    "Describe the trend: 1.0812 1.0825 1.0841 1.0838 1.0855.",
    "Is a hammer after a decline bullish or bearish? Answer in one sentence.",
    "Rechne: 17 + 25 =",
)
_PALETTE = np.array([[0, 0, 0], [255, 255, 255], [38, 166, 91], [214, 69, 65]], dtype=np.uint8)
_IMAGE_TEXT = "Describe this chart."


def probe_requests(*, images: bool) -> list[dict[str, Any]]:
    """Return the probes in order, as OpenAI chat-completion bodies without a model name.

    Parameters
    ----------
    images : bool
        Whether to ask about pictures too.
    """
    contents: list[Any] = list(_TEXTS)
    if images:
        contents += [_with_image(_rising(160, 112)), _with_image(_candles(224, 168))]
    return [
        {
            "messages": [{"role": "user", "content": content}],
            "temperature": 0.0,
            "max_tokens": MAX_TOKENS,
            "seed": 0,
        }
        for content in contents
    ]


def warming_requests() -> list[list[dict[str, Any]]]:
    """Return what an engine is asked before it is proved: groups, each asked at once.

    The kernels behind log-probabilities are compiled for one, for two, and then for any number of requests
    at once (2 to 18 s on a CPU); the grammar's library is loaded with the first schema.
    """
    question = {"messages": [{"role": "user", "content": _TEXTS[0]}], "temperature": 0.0, "max_tokens": 6}
    likely = {**question, "ignore_eos": True, "logprobs": True, "top_logprobs": MAX_LOGPROBS}
    schema = {"type": "object", "properties": {"up": {"type": "boolean"}}, "required": ["up"]}
    formats: list[dict[str, Any]] = [
        {"type": "json_schema", "json_schema": {"name": "warm", "schema": schema}},
        {"type": "json_object"},
    ]
    sampled = {
        **question,
        "temperature": 1.0,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.05,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.1,
        "repetition_penalty": 1.1,
        "seed": 1,
        "n": 2,
        "stop": ["#"],
    }
    return [
        [likely],
        [likely] * 2,
        [likely] * 3,
        [{**question, "response_format": form} for form in formats],
        [sampled],
    ]


def _with_image(indices: NDArray[np.uint8]) -> list[dict[str, Any]]:
    data = base64.b64encode(encode_png(indices, _PALETTE)).decode()
    return [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
        {"type": "text", "text": _IMAGE_TEXT},
    ]


def _rising(width: int, height: int) -> NDArray[np.uint8]:
    """Draw a line from bottom left to top right on black."""
    indices = np.zeros((height, width), dtype=np.uint8)
    columns = np.arange(width)
    indices[height - 1 - columns * (height - 1) // (width - 1), columns] = 1
    return indices


def _candles(width: int, height: int) -> NDArray[np.uint8]:
    """Draw eight falling boxes in two colours on white."""
    indices = np.ones((height, width), dtype=np.uint8)
    step = width // 8
    for index in range(8):
        top = height * (index + 1) // 12
        box = indices[top : top + height // 4, index * step + 2 : (index + 1) * step - 2]
        box[...] = 2 if index % 3 else 3
    return indices
