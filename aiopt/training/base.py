"""The checkpoint a training starts from and the one it writes.

Owns opening a base (its model, tokenizer, chat template and picture geometry) and writing a checkpoint that
holds everything the base held, with new weights and the geometry they were trained with.  Knows nothing of
data or steps.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch

from aiopt.config import merge
from aiopt.errors import ConfigError
from aiopt.files import atomic_write_bytes
from aiopt.serving.checkpoint.geometry import GEOMETRY_FILE, ImageGeometry, read_geometry, trained_geometry
from aiopt.serving.checkpoint.geometry import write_geometry as write_geometry_files
from aiopt.serving.checkpoint.validation import Checkpoint, validate
from aiopt.serving.checkpoint.weights import INDEX_NAME
from aiopt.training.disk import disk_errors
from aiopt.training.failures import TrainingError
from aiopt.training.libraries import load_transformers
from aiopt.training.training_config import ImageConfig, TrainingConfig

TRAINABLE = (
    "MiniCPMV4_6ForConditionalGeneration",
    "MiniCPMV4_7ForConditionalGeneration",
    "MiniCPM3ForCausalLM",
    "MiniCPMForCausalLM",
)
"""Architectures whose forward pass is a decoder ``model`` and an ``lm_head``, as `aiopt.training.loss` "
"needs."""

_DESCRIBE_THE_BASE = ("config.json", INDEX_NAME, "README.md", GEOMETRY_FILE, "aiopt_calibration.json")

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
SHARD_SIZE = "5GB"


@dataclass(frozen=True)
class Base:
    """A checkpoint that is opened for training.

    Attributes
    ----------
    checkpoint : Checkpoint
        What validation says of it, its revision included.
    geometry : ImageGeometry or None
        How pictures are seen in this training; None for a model that reads text only.
    processor : Any
        transformers' processor, or the tokenizer of a text-only model.
    tokenizer : Any
        transformers' tokenizer.
    eos : frozenset of int
        Tokens that end an answer.
    """

    checkpoint: Checkpoint
    geometry: ImageGeometry | None
    processor: Any
    tokenizer: Any
    eos: frozenset[int]

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return Path(self.checkpoint.path)

    def load_model(self, dtype: torch.dtype) -> Any:
        """Load its weights."""
        transformers = load_transformers()
        kind = (
            transformers.AutoModelForImageTextToText if self.geometry else transformers.AutoModelForCausalLM
        )
        remote = self.checkpoint.remote_code
        model = kind.from_pretrained(
            self.folder, dtype=dtype, trust_remote_code=remote, low_cpu_mem_usage=True
        )
        model.config.use_cache = False
        return model


def open_base(source: str, config: TrainingConfig) -> Base:
    """Validate a checkpoint and open its tokenizer and processor.

    Raises
    ------
    CheckpointError
        If it is absent (with the command that fetches it) or not whole.
    ConfigError
        If it cannot be trained here, or the configuration asks for a geometry it was not trained with.
    """
    checkpoint = validate(source, allow_remote_code=config.trust_remote_code)
    if checkpoint.architecture not in TRAINABLE:
        raise ConfigError(
            f"{source}: training knows {', '.join(TRAINABLE)}, but this is a {checkpoint.architecture}, "
            "whose "
            "forward pass is code of its own. Choose a checkpoint such as openbmb/MiniCPM-V-4.6."
        )
    transformers = load_transformers()
    folder, remote = Path(checkpoint.path), checkpoint.remote_code
    if not checkpoint.images:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=remote)
        return Base(checkpoint, None, tokenizer, tokenizer, end_tokens(folder, tokenizer))
    geometry = trained_with(folder, config.image)
    processor = transformers.AutoProcessor.from_pretrained(folder, trust_remote_code=remote)
    for part in (processor.image_processor, getattr(processor, "video_processor", None)):
        if part is not None:
            part.scale_resolution = geometry.scale_resolution
            part.slice_mode = geometry.slice_mode
            part.max_slice_nums = geometry.max_slice_nums
    # The processor takes its own copies of some settings when it is built.
    processor.slice_mode = processor.video_slice_mode = geometry.slice_mode
    return Base(checkpoint, geometry, processor, processor.tokenizer, end_tokens(folder, processor.tokenizer))


def trained_with(folder: Path, wanted: ImageConfig) -> ImageGeometry:
    """Return the geometry of a training: the base's, changed by the configuration.

    Raises
    ------
    ConfigError
        If that changes what a base trained here was trained with, without `adapt`.
    """
    found = read_geometry(folder)
    values = {key: getattr(wanted, key) for key in ("scale_resolution", "slice_mode", "max_slice_nums")}
    changed = msgspec.structs.replace(
        found, **{key: value for key, value in values.items() if value is not None}
    )
    if changed != found and trained_geometry(folder) is not None and not wanted.adapt:
        raise ConfigError(
            f"{folder} was trained with {found.describe()}, but the configuration asks for "
            f"{changed.describe()}: "
            "it would start from chance. Leave `image` out, or set image.adapt: true to train it anew on "
            "that."
        )
    return changed


def end_tokens(folder: Path, tokenizer: Any) -> frozenset[int]:
    """Return the tokens at which an engine stops, by generation settings, configuration and tokenizer."""
    found: set[int] = set()
    for name in ("generation_config.json", "config.json"):
        path = folder / name
        if path.is_file():
            value = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id")
            found |= {
                item for item in (value if isinstance(value, list) else [value]) if isinstance(item, int)
            }
    if tokenizer.eos_token_id is not None:
        found.add(int(tokenizer.eos_token_id))
    return frozenset(found)


def export(
    base: Base,
    model: Any,
    out: Path,
    *,
    dtype: str,
    picture_sizes: tuple[tuple[int, int], ...],
    files: Mapping[str, str],
) -> Checkpoint:
    """Write a model as a checkpoint: the base's files, these weights, the geometry, and further files.

    Parameters
    ----------
    base : Base
        What it was trained from.
    model : Any
        With plain weights: adapters merged.
    out : Path
        Folder to write; one that exists is replaced when the new one is whole.
    dtype : {"float32", "bfloat16"}
        Of the weights.
    picture_sizes : tuple of (int, int)
        Of the pictures it was trained on.
    files : mapping of str to str
        Further text files by name, e.g. the model card.

    Returns
    -------
    Checkpoint
        As validation, which served checkpoints have to pass, sees it.

    Raises
    ------
    TrainingError
        If the tensors are not those of the base.
    StorageError
        If the disk is full.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with disk_errors(out), _draft(out) as draft:
        model.save_pretrained(
            draft / "weights", state_dict=_converted(model, DTYPES[dtype]), max_shard_size=SHARD_SIZE
        )
        weights = [path for path in (draft / "weights").iterdir() if path.suffix == ".safetensors"]
        weights += [path for path in (draft / "weights").iterdir() if path.name == INDEX_NAME]
        for path in weights:
            path.replace(draft / path.name)
        shutil.rmtree(draft / "weights")
        _copy_beside(base.folder, draft)
        document = json.loads((base.folder / "config.json").read_text(encoding="utf-8"))
        config = merge(document, {"dtype": dtype, **_dtypes(document, dtype)})
        atomic_write_bytes(draft / "config.json", json.dumps(config, indent=2).encode() + b"\n")
        if base.geometry is not None:
            write_geometry_files(draft, msgspec.structs.replace(base.geometry, picture_sizes=picture_sizes))
        for name, text in files.items():
            (draft / name).write_text(text, encoding="utf-8")
        draft.chmod(0o755)
        found = validate(draft, allow_remote_code=base.checkpoint.remote_code)
        if found.parameters != base.checkpoint.parameters:
            raise TrainingError(
                f"A trained checkpoint must hold the {base.checkpoint.parameters:,} values of its base, but "
                f"holds {found.parameters:,}. transformers saves this architecture under other names; "
                "nothing was written."
            )
        if out.exists():
            shutil.rmtree(out)
        draft.replace(out)
    return validate(out, allow_remote_code=base.checkpoint.remote_code)


@contextmanager
def _draft(out: Path) -> Iterator[Path]:
    """Yield a folder beside `out` to write in; what is left of it at the end goes."""
    draft = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _converted(model: Any, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Return tensors in a type, those shared still shared: the copy of a tied head is not saved."""
    shared: dict[tuple[int, torch.Size], torch.Tensor] = {}
    found = {}
    for name, tensor in model.state_dict().items():
        key = (tensor.data_ptr(), tensor.shape)
        if key not in shared:
            shared[key] = tensor.detach().to(dtype)
        found[name] = shared[key]
    return found


def _copy_beside(folder: Path, draft: Path) -> None:
    """Copy every file of a base but weights, configuration and what describes the base itself."""
    for path in sorted(folder.iterdir()):
        described = path.name in _DESCRIBE_THE_BASE
        if path.is_file() and path.suffix != ".safetensors" and not described and path.name[0] != ".":
            shutil.copyfile(path, draft / path.name)


def _dtypes(document: Mapping[str, Any], dtype: str) -> dict[str, Any]:
    """Return the changes of a configuration's types, those of its parts included."""
    found: dict[str, Any] = {key: dtype for key in ("dtype", "torch_dtype") if key in document}
    for key, part in document.items():
        if isinstance(part, dict) and (inner := _dtypes(part, dtype)):
            found[key] = inner
    return found
