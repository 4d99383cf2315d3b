"""A small checkpoint of MiniCPM-V 4.6's architecture to train from nothing: its size, its words, its weights.

The generated ``tiny:vision`` checkpoint spells every word letter by letter, which suits tests of serving; a
question about a chart is then three hundred tokens, and training mostly reads text.  Here every word of the
texts it will be asked is one token, and the layers may be wider and more.  Owns the sizes, the added words
and the first weights, which follow from a seed.  What the checkpoint learns is the training's.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import torch

from aiopt.errors import ConfigError, InputError
from aiopt.files import atomic_write_bytes
from aiopt.serving.checkpoint.tiny_minicpm import build_checkpoint
from aiopt.training.libraries import load_transformers

GAIN = 1.0
"""Standard deviation of a weight times the root of what feeds into one output."""

HEAD = 32
"""Width of a head of the vision tower: 64-wide towers of two heads are what vLLM was tested with."""


class SmallSize(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How large a small checkpoint is.

    Attributes
    ----------
    vision_hidden, text_hidden : int
        Width of the vision tower and of the language model; multiples of 32.
    vision_layers : int
        Layers of the tower; the first sees every patch, the others one token per 2×2 patches.
    text_layers : int
        Layers of the language model: linear and full attention take turns.
    """

    vision_hidden: int = 64
    vision_layers: int = 2
    text_hidden: int = 64
    text_layers: int = 2

    def __post_init__(self) -> None:
        for name in ("vision_hidden", "text_hidden"):
            value = getattr(self, name)
            if value % HEAD or not HEAD <= value <= 1024:
                msg = f"`{name}` must be a multiple of {HEAD} from {HEAD} to 1024, but got {value}. Try 128."
                raise ConfigError(msg)
        for name in ("vision_layers", "text_layers"):
            value = getattr(self, name)
            if not 2 <= value <= 64:
                raise ConfigError(f"`2 <= {name} <= 64` must hold, but got {value}. Try 2.")


def build_small_base(out: Path, *, seed: int, size: SmallSize, texts: Iterable[str]) -> Path:
    """Write a checkpoint with random weights whose tokenizer knows the words of some texts.

    Parameters
    ----------
    out : Path
        Folder to create.  It appears complete or not at all.
    seed : int
        Of the weights: equal seeds, sizes and words give equal bytes.
    size : SmallSize
        How large.
    texts : iterable of str
        Whose words become one token each.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    InputError
        If `out` exists.
    ConfigError
        If transformers is not installed.
    """
    if out.exists():
        raise InputError(f"The folder of a new checkpoint must not exist, but {out} does. Delete it first.")
    transformers = load_transformers()
    out.parent.mkdir(parents=True, exist_ok=True)
    room = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        draft = build_checkpoint(room / "base", seed=seed)
        tokens = _add_words(draft / "tokenizer.json", texts)
        _write_config(draft / "config.json", size, tokens)
        config = transformers.AutoConfig.from_pretrained(draft)
        model = transformers.AutoModelForImageTextToText.from_config(config, dtype=torch.float32)
        _draw(model, seed)
        model.save_pretrained(room / "weights")
        shutil.copyfile(room / "weights" / "model.safetensors", draft / "model.safetensors")
        draft.replace(out)
    finally:
        shutil.rmtree(room, ignore_errors=True)
    return out


def _add_words(path: Path, texts: Iterable[str]) -> int:
    """Add every word of the texts to a tokenizer file; return how many tokens it has then."""
    from tokenizers.pre_tokenizers import ByteLevel

    document = json.loads(path.read_text(encoding="utf-8"))
    split = ByteLevel(add_prefix_space=False, use_regex=True)
    words = {word for text in texts for word, _ in split.pre_tokenize_str(text)}
    vocabulary: dict[str, int] = document["model"]["vocab"]
    for word in sorted(words - vocabulary.keys()):
        vocabulary[word] = len(vocabulary)
    # A word that is a token is one token, whatever merges there are: none leads to the added ones.
    document["model"]["ignore_merges"] = True
    atomic_write_bytes(path, json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n")
    return len(vocabulary)


def _write_config(path: Path, size: SmallSize, tokens: int) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    text, vision = document["text_config"], document["vision_config"]
    turns = text["layer_types"]
    text |= {
        "vocab_size": tokens,
        "hidden_size": size.text_hidden,
        "intermediate_size": 2 * size.text_hidden,
        "num_hidden_layers": size.text_layers,
        "layer_types": [turns[layer % len(turns)] for layer in range(size.text_layers)],
    }
    vision |= {
        "hidden_size": size.vision_hidden,
        "intermediate_size": 2 * size.vision_hidden,
        "num_hidden_layers": size.vision_layers,
        "num_attention_heads": size.vision_hidden // HEAD,
    }
    for part in (document, text, vision):
        if "dtype" in part:
            part["dtype"] = "float32"
    atomic_write_bytes(path, json.dumps(document, indent=2).encode() + b"\n")


def _draw(model: Any, seed: int) -> None:
    """Draw the matrices; vectors begin as transformers begins them: scales at one, offsets at zero."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in sorted(model.named_parameters()):
            if tensor.ndim > 1:
                scale = GAIN / math.sqrt(math.prod(tensor.shape[1:]))
                tensor.copy_(scale * torch.randn(tensor.shape, generator=random))
            elif name.endswith((".A_log", ".dt_bias")):
                # transformers draws these from torch's own state, which is not ours.
                tensor.fill_(0.0 if name.endswith("A_log") else 1.0)
