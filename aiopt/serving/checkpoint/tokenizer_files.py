"""The tokenizer of a checkpoint, judged by its files: present, within the embedding, with a chat template.

Owns these rules and bounded reading of a checkpoint's JSON files.  Loads no tokenizer and imports no
transformers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from aiopt.serving.checkpoint.weights import CheckpointError

_JSON_MAX_BYTES = 256 << 20

_IMAGE_TOKEN_KEYS = ("image_token", "image_start_token", "image_end_token")


def read_json_object(path: Path) -> dict[str, Any]:
    """Read one JSON object from a checkpoint's file.

    Raises
    ------
    CheckpointError
        If it is too large, not JSON, nested too deep, or not an object.
    """
    size = path.stat().st_size
    if size > _JSON_MAX_BYTES:
        raise CheckpointError(
            f"{path}: a JSON file may have {_JSON_MAX_BYTES:,} bytes, but has {size:,}. Fetch it again."
        )
    try:
        found = msgspec.json.decode(path.read_bytes())
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as failure:
        raise CheckpointError(f"{path}: the file must be JSON, but: {failure}. Fetch it again.") from failure
    if not isinstance(found, dict):
        raise CheckpointError(
            f"{path}: the file must hold a JSON object, but holds a {type(found).__name__}. Fetch it again."
        )
    return found


def check_tokenizer(
    folder: Path, files: Mapping[str, Path], config: Mapping[str, Any], *, images: bool, rows: int
) -> None:
    """Check that the tokenizer is there and belongs to the weights.

    Parameters
    ----------
    folder : Path
        For messages.
    files : mapping of str to Path
        Files of the checkpoint.
    config : mapping
        ``config.json``.
    images : bool
        Whether the model reads images, so needs their special tokens.
    rows : int
        Rows of the embedding: token ids must be smaller.

    Raises
    ------
    CheckpointError
        If a file, the chat template or a special token is missing, or an id is out of range.
    """
    if "tokenizer.json" not in files and "tokenizer.model" not in files:
        raise CheckpointError(
            f"{folder}: a checkpoint must hold its tokenizer (tokenizer.json or tokenizer.model), but does "
            "not. "
            "Fetch these files again."
        )
    if "tokenizer_config.json" not in files:
        raise CheckpointError(
            f"{folder}: a checkpoint must hold tokenizer_config.json, but does not. Fetch it again."
        )
    settings = read_json_object(files["tokenizer_config.json"])
    if not settings.get("chat_template") and not {"chat_template.jinja", "chat_template.json"} & set(files):
        raise CheckpointError(
            f"{folder}: a checkpoint must hold a chat template (chat_template.jinja, or chat_template in "
            "tokenizer_config.json), but does not. It is a base model, or a file was left out; choose the "
            "chat "
            "version."
        )
    for key in ("eos_token_id", "bos_token_id", "pad_token_id", "image_token_id", "video_token_id"):
        for value in _numbers(config.get(key)):
            if not 0 <= value < rows:
                raise CheckpointError(
                    f"{folder}: {key} in config.json must be below the {rows} rows of the embedding, but is "
                    f"{value}. Fetch the checkpoint again: config.json does not belong to these weights."
                )
    if "tokenizer.json" not in files:
        return  # a SentencePiece model alone: its vocabulary is read by the engine
    ids = _vocabulary(files["tokenizer.json"])
    largest = max(ids, key=ids.__getitem__)
    if ids[largest] >= rows:
        raise CheckpointError(
            f"{folder}: every token id must be below the {rows} rows of the embedding, but the tokenizer "
            "gives "
            f"{largest!r} the id {ids[largest]}. The tokenizer belongs to another model; fetch the "
            "checkpoint "
            "again."
        )
    if images:
        _check_image_tokens(folder, settings, config, ids)


def _check_image_tokens(
    folder: Path, settings: Mapping[str, Any], config: Mapping[str, Any], ids: Mapping[str, int]
) -> None:
    """Require the tokens an image is written with, under the ids the model looks for."""
    named = dict(settings)
    for key in ("extra_special_tokens", "model_specific_special_tokens"):
        if isinstance(settings.get(key), dict):
            named.update(settings[key])
    remedy = "Fetch the tokenizer's files again: without them images cannot be placed in a prompt."
    tokens = {key: _content(named[key]) for key in _IMAGE_TOKEN_KEYS if key in named}
    expected = config.get("image_token_id")
    if isinstance(expected, int) and not isinstance(expected, bool):
        if "image_token" not in tokens:
            raise CheckpointError(
                f"{folder}: tokenizer_config.json must name image_token, because the model reads images, but "
                f"does not. {remedy}"
            )
        found = ids.get(tokens["image_token"])
        if found != expected:
            raise CheckpointError(
                f"{folder}: image_token {tokens['image_token']!r} must have the id {expected} of config.json "
                f"(image_token_id), but the tokenizer gives it {found}. {remedy}"
            )
    for key, token in tokens.items():
        if token not in ids:
            raise CheckpointError(
                f"{folder}: the tokenizer must know {key} {token!r}, because the model reads images, but "
                "does "
                f"not. {remedy}"
            )


def _content(token: object) -> str:
    return str(token.get("content", "")) if isinstance(token, dict) else str(token)


def _numbers(value: object) -> Iterable[int]:
    values = value if isinstance(value, list) else [value]
    return [item for item in values if isinstance(item, int) and not isinstance(item, bool)]


def _vocabulary(path: Path) -> dict[str, int]:
    """Return token to id of a ``tokenizer.json``: its model's vocabulary and the added tokens."""
    found = read_json_object(path)
    ids: dict[str, int] = {}
    try:
        vocabulary = found["model"]["vocab"]
        if isinstance(vocabulary, list):  # unigram: [token, score] in the order of the ids
            ids.update({entry[0]: number for number, entry in enumerate(vocabulary)})
        else:
            ids.update({str(token): int(number) for token, number in vocabulary.items()})
        ids.update({entry["content"]: int(entry["id"]) for entry in found.get("added_tokens") or []})
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as failure:
        raise CheckpointError(
            f"{path}: the file must hold model.vocab and added_tokens, but: {type(failure).__name__} "
            f"{failure}. "
            "Fetch it again."
        ) from failure
    if not ids:
        raise CheckpointError(f"{path}: the vocabulary must hold tokens, but is empty. Fetch it again.")
    return ids
