"""Tiny checkpoints of MiniCPM's real architectures, written in milliseconds, for tests and trials.

Owns the smallest sizes that vLLM accepts for each architecture, the names and shapes of their tensors, and a
tokenizer that knows every byte.  The weights are random: such a model answers printable nonsense, always the
same for the same seed and prompt, and obeys a JSON schema.  Needs neither torch nor transformers nor vLLM.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from aiopt.errors import InputError

Kind = Literal["vision", "text"]
_Config = Callable[[dict[str, int], int], dict[str, Any]]
_Shapes = Callable[[int], dict[str, tuple[int, ...]]]

VISION_ARCHITECTURE = "MiniCPMV4_6ForConditionalGeneration"
TEXT_ARCHITECTURE = "MiniCPM3ForCausalLM"
MAX_POSITIONS = 8192

_HIDDEN = 64
_FEED_FORWARD = 128
_LAYERS = 2
_PATCH = 14
_IMAGE_SIZE = 448
_UNPRINTABLE_SCALE = 0.3
"""Logits of tokens that print badly are scaled by this, so that answers are mostly readable."""

_PAD, _START, _END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
_IMAGE_TOKENS = {
    "image_token": "<|image_pad|>",
    "video_token": "<|video_pad|>",
    "image_start_token": "<image>",
    "image_end_token": "</image>",
    "slice_start_token": "<slice>",
    "slice_end_token": "</slice>",
    "image_id_start_token": "<image_id>",
    "image_id_end_token": "</image_id>",
}
_WORDS = (" the", " trend", " price", " bias", " up", " down", " low", " high")
"""Each word is merged from its left end, which adds a token per letter after the first."""

_CHAT_TEMPLATE = """\
{%- for message in messages %}<|im_start|>{{ message.role }}
{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}\
{% if part.type == 'image' or part.type == 'image_url' %}<|image_pad|>{% elif part.type == 'text' %}\
{{ part.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def build_checkpoint(
    path: Path, *, seed: int, kind: Kind = "vision", max_positions: int = MAX_POSITIONS
) -> Path:
    """Write a tiny random checkpoint that vLLM serves like a real one.

    Parameters
    ----------
    path : Path
        Folder to create.  It appears complete or not at all.
    seed : int
        Decides the weights, >= 0: equal seeds give equal bytes, different ones different answers.
    kind : {"vision", "text"}
        ``"vision"``: MiniCPM-V 4.6, 0.5M parameters.  ``"text"``: MiniCPM3, 0.1M parameters.
    max_positions : int
        Longest context in tokens.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    InputError
        If `path` exists.
    """
    path = Path(path)
    if path.exists():
        raise InputError(f"The folder of a new checkpoint must not exist, but {path} does. Delete it first.")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        tokens, merges = _vocabulary(kind)
        config = (
            _vision_config(tokens, max_positions) if kind == "vision" else _text_config(tokens, max_positions)
        )
        shapes = _vision_shapes(len(tokens)) if kind == "vision" else _text_shapes(len(tokens))
        _write_tensors(draft / "model.safetensors", _weights(shapes, tokens, seed))
        _write_json(draft / "config.json", config)
        _write_json(
            draft / "generation_config.json", {"eos_token_id": tokens[_END], "pad_token_id": tokens[_PAD]}
        )
        _write_tokenizer(draft, tokens, merges, kind)
        if kind == "vision":
            _write_processor(draft)
        draft.chmod(0o755)
        draft.replace(path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return path


def _vocabulary(kind: Kind) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return token ids in order (special, bytes, word pieces) and the merges that make the word pieces."""
    tokens = [_PAD, _START, _END, *(_IMAGE_TOKENS.values() if kind == "vision" else ())]
    tokens += _byte_alphabet()
    merges: list[tuple[str, str]] = []
    for word in _WORDS:
        letters = word.replace(" ", "Ġ")
        for end in range(2, len(letters) + 1):
            if letters[:end] not in tokens:
                tokens.append(letters[:end])
                merges.append((letters[: end - 1], letters[end - 1]))
    return {token: index for index, token in enumerate(tokens)}, merges


def _byte_alphabet() -> list[str]:
    """Return the printable stand-ins of all bytes that byte-level BPE (GPT-2) uses, sorted."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [256 + index for index in range(256 - len(printable))]
    return [chr(code) for code in sorted(printable + rest)]


def _ends(tokens: dict[str, int]) -> dict[str, Any]:
    return {"eos_token_id": tokens[_END], "pad_token_id": tokens[_PAD]}


def _vision_config(tokens: dict[str, int], max_positions: int) -> dict[str, Any]:
    ends = _ends(tokens)
    return {
        "architectures": [VISION_ARCHITECTURE],
        "model_type": "minicpmv4_6",
        "dtype": "bfloat16",
        "downsample_mode": "16x",
        "image_size": _IMAGE_SIZE,
        "patch_size": _PATCH,
        "insert_layer_id": 0,
        "image_token_id": tokens[_IMAGE_TOKENS["image_token"]],
        "video_token_id": tokens[_IMAGE_TOKENS["video_token"]],
        "tie_word_embeddings": True,
        **ends,
        "text_config": {
            "model_type": "qwen3_5_text",
            "dtype": "bfloat16",
            "vocab_size": len(tokens),
            "hidden_size": _HIDDEN,
            "intermediate_size": _FEED_FORWARD,
            "num_hidden_layers": _LAYERS,
            # vLLM wants at least one of each, heads of 64 in full and of 128 in linear attention.
            "layer_types": ["linear_attention", "full_attention"],
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 64,
            "linear_key_head_dim": 128,
            "linear_value_head_dim": 128,
            "linear_num_key_heads": 1,
            "linear_num_value_heads": 1,
            "linear_conv_kernel_dim": 4,
            "max_position_embeddings": max_positions,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "partial_rotary_factor": 0.25,
                "mrope_interleaved": True,
                "mrope_section": [3, 3, 2],  # must sum to half the rotary dimension: 64 * 0.25 / 2
            },
            "tie_word_embeddings": True,
            **ends,
        },
        "vision_config": {
            "model_type": "minicpmv4_6_vision",
            "hidden_size": _HIDDEN,
            "intermediate_size": _FEED_FORWARD,
            "num_hidden_layers": _LAYERS,
            "num_attention_heads": 2,
            "image_size": _IMAGE_SIZE,
            "patch_size": _PATCH,
            "insert_layer_id": 0,
        },
    }


def _text_config(tokens: dict[str, int], max_positions: int) -> dict[str, Any]:
    return {
        "architectures": [TEXT_ARCHITECTURE],
        "model_type": "minicpm3",
        "dtype": "bfloat16",
        "vocab_size": len(tokens),
        "hidden_size": _HIDDEN,
        "intermediate_size": _FEED_FORWARD,
        "num_hidden_layers": _LAYERS,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "q_lora_rank": 32,
        "kv_lora_rank": 32,
        "qk_nope_head_dim": 32,
        "qk_rope_head_dim": 32,
        "v_head_dim": 32,
        "dim_model_base": _HIDDEN,
        "max_position_embeddings": max_positions,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        # Tied to the output layer, the embedding of the last token would answer itself for ever.
        "tie_word_embeddings": False,
        "bos_token_id": None,
        **_ends(tokens),
    }


def _vision_shapes(vocabulary: int) -> dict[str, tuple[int, ...]]:
    hidden, wide, four = _HIDDEN, _FEED_FORWARD, 4 * _HIDDEN
    shapes: dict[str, tuple[int, ...]] = {}
    text = "model.language_model"
    shapes[f"{text}.embed_tokens.weight"] = (vocabulary, hidden)
    shapes[f"{text}.norm.weight"] = (hidden,)
    for layer in range(_LAYERS):
        shapes |= _decoder_block(f"{text}.layers.{layer}")
    linear = f"{text}.layers.0.linear_attn"
    shapes |= {
        f"{linear}.A_log": (1,),
        f"{linear}.conv1d.weight": (384, 1, 4),
        f"{linear}.dt_bias": (1,),
        f"{linear}.in_proj_a.weight": (1, hidden),
        f"{linear}.in_proj_b.weight": (1, hidden),
        f"{linear}.in_proj_qkv.weight": (384, hidden),
        f"{linear}.in_proj_z.weight": (128, hidden),
        f"{linear}.norm.weight": (128,),
        f"{linear}.out_proj.weight": (hidden, 128),
    }
    full = f"{text}.layers.1.self_attn"
    shapes |= {
        f"{full}.q_proj.weight": (256, hidden),  # queries and their gates
        f"{full}.k_proj.weight": (64, hidden),
        f"{full}.v_proj.weight": (64, hidden),
        f"{full}.o_proj.weight": (hidden, 128),
        f"{full}.q_norm.weight": (64,),
        f"{full}.k_norm.weight": (64,),
    }
    tower = "model.vision_tower"
    shapes |= _affine(f"{tower}.embeddings.patch_embedding", (hidden, 3, _PATCH, _PATCH))
    shapes[f"{tower}.embeddings.position_embedding.weight"] = ((_IMAGE_SIZE // _PATCH) ** 2, hidden)
    for layer in range(_LAYERS):
        block = f"{tower}.encoder.layers.{layer}"
        shapes |= _affine(f"{block}.layer_norm1", (hidden,)) | _affine(f"{block}.layer_norm2", (hidden,))
        shapes |= _affine(f"{block}.mlp.fc1", (wide, hidden)) | _affine(f"{block}.mlp.fc2", (hidden, wide))
        shapes |= _vision_attention(f"{block}.self_attn")
    shapes |= _affine(f"{tower}.post_layernorm", (hidden,))
    merger = f"{tower}.vit_merger"
    shapes |= _affine(f"{merger}.layer_norm1", (hidden,)) | _affine(f"{merger}.pre_norm", (four,))
    shapes |= _affine(f"{merger}.linear_1", (4 * wide, four)) | _affine(
        f"{merger}.linear_2", (hidden, 4 * wide)
    )
    shapes |= _vision_attention(f"{merger}.self_attn")
    last = "model.merger.mlp.0"
    shapes |= _affine(f"{last}.pre_norm", (four,))
    shapes |= _affine(f"{last}.linear_1", (four, four)) | _affine(f"{last}.linear_2", (hidden, four))
    return shapes


def _text_shapes(vocabulary: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (vocabulary, _HIDDEN),
        "model.norm.weight": (_HIDDEN,),
        "lm_head.weight": (vocabulary, _HIDDEN),
    }
    for layer in range(_LAYERS):
        block = f"model.layers.{layer}"
        shapes |= _decoder_block(block)
        shapes |= {
            f"{block}.self_attn.q_a_proj.weight": (32, _HIDDEN),
            f"{block}.self_attn.q_a_layernorm.weight": (32,),
            f"{block}.self_attn.q_b_proj.weight": (128, 32),
            f"{block}.self_attn.kv_a_proj_with_mqa.weight": (64, _HIDDEN),
            f"{block}.self_attn.kv_a_layernorm.weight": (32,),
            f"{block}.self_attn.kv_b_proj.weight": (128, 32),
            f"{block}.self_attn.o_proj.weight": (_HIDDEN, 64),
        }
    return shapes


_MAKERS: dict[Kind, tuple[_Config, _Shapes]] = {
    "vision": (_vision_config, _vision_shapes),
    "text": (_text_config, _text_shapes),
}


def _decoder_block(block: str) -> dict[str, tuple[int, ...]]:
    return {
        f"{block}.input_layernorm.weight": (_HIDDEN,),
        f"{block}.post_attention_layernorm.weight": (_HIDDEN,),
        f"{block}.mlp.gate_proj.weight": (_FEED_FORWARD, _HIDDEN),
        f"{block}.mlp.up_proj.weight": (_FEED_FORWARD, _HIDDEN),
        f"{block}.mlp.down_proj.weight": (_HIDDEN, _FEED_FORWARD),
    }


def _vision_attention(name: str) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
        shapes |= _affine(f"{name}.{part}", (_HIDDEN, _HIDDEN))
    return shapes


def _affine(name: str, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def _weights(
    shapes: dict[str, tuple[int, ...]], tokens: dict[str, int], seed: int
) -> dict[str, NDArray[np.float32]]:
    """Draw weights wide enough that every layer has a say and answers depend on the prompt."""
    random = np.random.default_rng(seed)
    weights: dict[str, NDArray[np.float32]] = {}
    for name, shape in sorted(shapes.items()):
        if len(shape) > 1:
            scale = 1.5 / math.sqrt(math.prod(shape[1:]))
            weights[name] = (scale * random.standard_normal(shape)).astype(np.float32)
        else:
            weights[name] = np.full(shape, _constant(name), dtype=np.float32)
    logits = "lm_head.weight" if "lm_head.weight" in weights else "model.language_model.embed_tokens.weight"
    for token, index in tokens.items():
        if not all(letter == "Ġ" or "!" <= letter <= "~" for letter in token) or token.startswith("<"):
            weights[logits][index] *= _UNPRINTABLE_SCALE
    return weights


def _constant(name: str) -> float:
    """Return what a trained model starts its vectors from: one for scales, zero for offsets."""
    if name.endswith((".bias", ".A_log")):
        return 0.0
    # Qwen's decoder norms hold their distance from one; its gated norm and everything else the scale itself.
    offset_norm = name.startswith("model.language_model.") and "linear_attn" not in name
    return 0.0 if offset_norm else 1.0


def _write_tensors(path: Path, tensors: dict[str, NDArray[np.float32]]) -> None:
    """Write a safetensors file of bfloat16: header length, JSON header, then the tensors end to end."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    chunks: list[bytes] = []
    offset = 0
    for name, values in tensors.items():
        bits = values.view(np.uint32)
        # Round to nearest, ties to even: the upper half of a float32 is a bfloat16.
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        data = rounded.astype("<u2").tobytes()
        end = offset + len(data)
        header[name] = {"dtype": "BF16", "shape": list(values.shape), "data_offsets": [offset, end]}
        chunks.append(data)
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(chunks))


def _write_tokenizer(folder: Path, tokens: dict[str, int], merges: list[tuple[str, str]], kind: Kind) -> None:
    image_tokens = dict(_IMAGE_TOKENS) if kind == "vision" else {}
    special = [_PAD, _START, _END, *image_tokens.values()]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    _write_json(
        folder / "tokenizer.json",
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [{"id": tokens[token], "content": token, **flags} for token in special],
            "normalizer": None,
            "pre_tokenizer": byte_level,
            "post_processor": None,
            "decoder": byte_level,
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": None,
                "continuing_subword_prefix": None,
                "end_of_word_suffix": None,
                "fuse_unk": False,
                "byte_fallback": False,
                "ignore_merges": False,
                "vocab": tokens,
                "merges": [list(merge) for merge in merges],
            },
        },
    )
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": _END,
            "pad_token": _PAD,
            "model_max_length": MAX_POSITIONS,
            "extra_special_tokens": image_tokens,
            **image_tokens,
        },
    )
    (folder / "chat_template.jinja").write_text(_CHAT_TEMPLATE, encoding="utf-8")


def _write_processor(folder: Path) -> None:
    image = {
        "processor_class": "MiniCPMV4_6Processor",
        "scale_resolution": _IMAGE_SIZE,
        "patch_size": _PATCH,
        "downsample_mode": "16x",
        "use_image_id": True,
        "max_slice_nums": 1,
        "slice_mode": False,
    }
    still = image | {"image_processor_type": "MiniCPMV4_6ImageProcessorPil"}
    moving = image | {"video_processor_type": "MiniCPMV4_6VideoProcessor"}
    _write_json(folder / "preprocessor_config.json", still)
    _write_json(folder / "video_preprocessor_config.json", moving)
    _write_json(folder / "processor_config.json", {"processor_class": "MiniCPMV4_6Processor"})


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
