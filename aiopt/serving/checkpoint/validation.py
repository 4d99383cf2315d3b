"""Checkpoints: found by folder or hub id, judged without loading them, named by a hash of their content.

Owns what a servable checkpoint must hold.  Reads configuration, tokenizer and weight headers; loads no
tensor, imports neither vLLM nor torch, and never opens a network connection.  The layout rules of weight
files are in `weights` beside this, the hash in `revision`, the table of architectures in `architectures`, the
tokenizer's rules in `tokenizer_files`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from aiopt.serving.checkpoint.architectures import ARCHITECTURES, Architecture, Modality
from aiopt.serving.checkpoint.geometry import check_geometry
from aiopt.serving.checkpoint.revision import Progress, content_revision, default_cache
from aiopt.serving.checkpoint.tokenizer_files import check_tokenizer, read_json_object
from aiopt.serving.checkpoint.weights import INDEX_NAME, CheckpointError, Weights, read_weights

__all__ = ["CALIBRATION_FILE", "Checkpoint", "CheckpointError", "Located", "locate", "validate"]

_HUB_ID = re.compile(r"(?P<id>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[\w./-]+))?")

_READ_BY_THE_ENGINE = (".json", ".jinja", ".py", ".model", ".txt", ".tiktoken", ".vocab")
"""Suffixes of the files beside the weights that decide what the engine answers: all part of the revision."""

CALIBRATION_FILE = "aiopt_calibration.json"

_NOT_READ = (INDEX_NAME, CALIBRATION_FILE)
"""Files of such a suffix that decide nothing; the second says how sure this very revision may be."""

_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.(.+)$")
_FINAL_NORM = re.compile(r"(?:^|\.)norm\.weight$")


class Located(msgspec.Struct, frozen=True, kw_only=True):
    """Where a checkpoint lies.

    Attributes
    ----------
    folder : Path
        Resolved folder with ``config.json``.
    model_id : str
        Hub id, or the folder's name.
    blobs : Path or None
        Folder of the hub cache that the files may be links into.
    """

    folder: Path
    model_id: str
    blobs: Path | None = None


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint that passed every check short of loading it.

    Attributes
    ----------
    path : str
        Resolved folder, to give to the engine.
    model_id : str
        Hub id, or the folder's name.
    revision : str
        Content hash of what the engine reads, 64 hex digits.
    architecture : str
        As in ``config.json``.
    modality : {"images", "text"}
        ``"images"``: reads images and text.
    max_context_tokens : int
        Prompt and reply together.
    parameters : int
        Values in all tensors.
    parameter_bytes : int
        Bytes of all tensors.
    dtype : str
        What it is meant to run in, e.g. ``"bfloat16"``.
    vocabulary : int
        Rows of the embedding.
    remote_code : bool
        Whether the engine must run Python files of the checkpoint (``trust_remote_code``).
    """

    path: str
    model_id: str
    revision: str
    architecture: str
    modality: Modality
    max_context_tokens: int
    parameters: int
    parameter_bytes: int
    dtype: str
    vocabulary: int
    remote_code: bool

    @property
    def images(self) -> bool:
        """Whether it reads images."""
        return self.modality == "images"


def locate(source: str | Path, *, hub_cache: Path | None = None) -> Located:
    """Find the folder of a checkpoint, offline.

    Parameters
    ----------
    source : str or Path
        A folder, or a hub id ``owner/name`` or ``owner/name@revision`` in the local cache.  An existing
        folder wins over a hub id of the same spelling.
    hub_cache : Path, optional
        Cache folder; by default ``$HF_HUB_CACHE``, else ``$HF_HOME/hub``, else ``~/.cache/huggingface/hub``.

    Raises
    ------
    CheckpointError
        If there is no such folder, or the hub id is not in the cache; says the command that fetches it.
    """
    text = str(source)
    if not text.strip() or "\0" in text:
        raise CheckpointError(
            f"A checkpoint must be a folder or a hub id, but got {text!r}. Give a path, or a name such as "
            "openbmb/MiniCPM-V-4.6."
        )
    try:
        folder = Path(text).expanduser()
        exists, is_folder = folder.exists(), folder.is_dir()
    except (OSError, RuntimeError) as failure:
        raise CheckpointError(
            f"The checkpoint's path must be readable, but {text!r} is not: {failure}. Check the path."
        ) from failure
    if is_folder:
        return _local(folder.resolve())
    match = _HUB_ID.fullmatch(text)
    if exists or match is None:
        kind = "is a file" if exists else "does not exist"
        raise CheckpointError(
            f"A checkpoint must be a folder with config.json and safetensors, but {text} {kind}. "
            "Give the folder, or a hub id such as openbmb/MiniCPM-V-4.6."
        )
    return _cached(match["id"], match["revision"], hub_cache or _default_hub_cache())


def validate(
    source: str | Path,
    *,
    like: Checkpoint | None = None,
    allow_remote_code: bool = False,
    hub_cache: Path | None = None,
    hash_cache: Path | None = None,
    progress: Progress | None = None,
) -> Checkpoint:
    """Check a checkpoint as far as its files tell, and hash it.

    Parameters
    ----------
    source : str or Path
        As for `locate`.
    like : Checkpoint, optional
        What is served now: the new one must read images if that one does, for its clients send them.
    allow_remote_code : bool
        Accept a checkpoint whose Python files the engine has to run.
    hub_cache : Path, optional
        As for `locate`.
    hash_cache : Path, optional
        Where hashes of unchanged files are remembered; by default in the user's cache folder.
    progress : callable, optional
        Told of bytes hashed and bytes in all.

    Raises
    ------
    CheckpointError
        Names the file, the rule, the value and the remedy.
    """
    located = locate(source, hub_cache=hub_cache)
    folder = located.folder
    files = _files(located)
    config = _config(folder, files)
    architecture = _architecture(folder, config)
    if like is not None and like.images and architecture.modality != "images":
        raise CheckpointError(
            f"{folder}: the model to swap in must read images, because {like.model_id} that it would replace "
            f"does, but {architecture.name} reads text only. Swap it in under a name that serves text."
        )
    if architecture.remote_code:
        _check_remote_code(folder, files, config, architecture, allowed=allow_remote_code)
    text_config = _text_config(folder, config, architecture)
    weights = read_weights(folder, files)
    rows = _check_tensors(folder, weights, config, text_config, architecture)
    check_tokenizer(folder, files, config, images=architecture.modality == "images", rows=rows)
    if architecture.modality == "images":
        _check_image_processor(folder, files)
        check_geometry(folder)
    hashed = {
        name: path
        for name, path in files.items()
        if name in weights.shards or (name.endswith(_READ_BY_THE_ENGINE) and name not in _NOT_READ)
    }
    return Checkpoint(
        path=str(folder),
        model_id=located.model_id,
        revision=content_revision(hashed, cache=hash_cache or default_cache(), progress=progress),
        architecture=architecture.name,
        modality=architecture.modality,
        max_context_tokens=_positive(folder, text_config, "max_position_embeddings"),
        parameters=sum(tensor.elements for tensor in weights.tensors.values()),
        parameter_bytes=weights.size_bytes,
        dtype=_dtype(config, text_config, weights),
        vocabulary=rows,
        remote_code=architecture.remote_code,
    )


def _default_hub_cache() -> Path:
    home = os.environ.get("HF_HOME") or str(Path.home() / ".cache" / "huggingface")
    cache = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or f"{home}/hub"
    return Path(cache).expanduser()


def _local(folder: Path) -> Located:
    """Name a folder; one inside a hub cache by its hub id."""
    repository = folder.parent.parent
    if folder.parent.name == "snapshots" and repository.name.startswith("models--"):
        model_id = repository.name.removeprefix("models--").replace("--", "/", 1)
        return Located(folder=folder, model_id=model_id, blobs=repository / "blobs")
    if folder.name == "checkpoint" and (folder.parent / "result.json").is_file():
        # Every training's is called so; the training's folder has the name.
        return Located(folder=folder, model_id=folder.parent.name)
    return Located(folder=folder, model_id=folder.name)


def _cached(hub_id: str, revision: str | None, cache: Path) -> Located:
    """Find a snapshot in a hub cache: ``models--OWNER--NAME/{refs,snapshots,blobs}``."""
    command = f"hf download {hub_id}" + (f" --revision {revision}" if revision else "")
    absent = CheckpointError(
        f"The weights of {hub_id}{f' at {revision}' if revision else ''} must be in the hub cache, but "
        f"{cache} "
        f"does not hold them, and nothing is fetched while serving. Fetch them with: {command}"
    )
    repository = cache / f"models--{hub_id.replace('/', '--')}"
    wanted = revision or "main"
    if ".." in wanted.split("/"):
        raise absent
    snapshot = repository / "snapshots" / wanted
    if not snapshot.is_dir():
        reference = repository / "refs" / wanted
        if not reference.is_file():
            raise absent
        snapshot = repository / "snapshots" / reference.read_text(encoding="utf-8").strip()
    if not snapshot.is_dir():
        raise absent
    return Located(folder=snapshot.resolve(), model_id=hub_id, blobs=(repository / "blobs").resolve())


def _files(located: Located) -> dict[str, Path]:
    """Return the files of the folder by name; links may not lead out of it."""
    found: dict[str, Path] = {}
    roots = [located.folder] if located.blobs is None else [located.folder, located.blobs]
    try:
        entries = sorted(located.folder.iterdir())
        for path in entries:
            if path.name.startswith("."):
                continue
            if path.is_symlink():
                target = path.resolve()
                if not target.exists():
                    raise CheckpointError(
                        f"{path}: a link must lead to a file, but {target} does not exist: the download is "
                        f"incomplete. Fetch it again{_fetch(located)}."
                    )
                if not any(target.is_relative_to(root) for root in roots):
                    raise CheckpointError(
                        f"{path}: a link must stay inside the checkpoint's folder, but this one leads to "
                        f"{target}. Copy the file into the folder."
                    )
            if path.is_file():
                found[path.name] = path
    except PermissionError as failure:
        raise CheckpointError(
            f"{located.folder}: the checkpoint must be readable, but: {failure.strerror}. Change its "
            "permissions."
        ) from failure
    return found


def _fetch(located: Located) -> str:
    return "" if located.blobs is None else f" with: hf download {located.model_id}"


def _config(folder: Path, files: Mapping[str, Path]) -> dict[str, Any]:
    if "config.json" not in files:
        raise CheckpointError(
            f"{folder}: a checkpoint must hold config.json, but this folder does not"
            f" (it holds {', '.join(sorted(files)[:5]) or 'no files'}). Give the folder of the checkpoint "
            "itself."
        )
    return read_json_object(files["config.json"])


def _architecture(folder: Path, config: Mapping[str, Any]) -> Architecture:
    names = config.get("architectures")
    if not isinstance(names, list) or len(names) != 1 or not isinstance(names[0], str):
        raise CheckpointError(
            f"{folder}: config.json must name one architecture, but says architectures={names!r}. "
            f"Known: {', '.join(ARCHITECTURES)}."
        )
    found = ARCHITECTURES.get(names[0])
    if found is None:
        raise CheckpointError(
            f"{folder}: the architecture must be one that is served here, but is {names[0]!r}."
            f" Known: {', '.join(ARCHITECTURES)}. Choose a checkpoint such as "
            f"{next(iter(ARCHITECTURES.values())).checkpoint}."
        )
    return found


def _check_remote_code(
    folder: Path,
    files: Mapping[str, Path],
    config: Mapping[str, Any],
    architecture: Architecture,
    *,
    allowed: bool,
) -> None:
    if not allowed:
        raise CheckpointError(
            f"{folder}: {architecture.name} needs the checkpoint's own Python files to be run, which is not "
            "allowed here. If you trust its source, set trust_remote_code: true for this model in the "
            "profile."
        )
    auto_map = config.get("auto_map")
    if not isinstance(auto_map, dict) or "AutoConfig" not in auto_map:
        raise CheckpointError(
            f"{folder}: config.json of {architecture.name} must name its AutoConfig in auto_map, but does "
            "not. "
            "Fetch the checkpoint again."
        )
    for key, value in auto_map.items():
        for reference in value if isinstance(value, list) else [value]:
            if reference is None:
                continue
            module = str(reference).rsplit(".", 1)[0]
            if "--" in module or f"{module}.py" not in files:
                raise CheckpointError(
                    f"{folder}: code named in config.json must lie in the checkpoint, but auto_map.{key} is "
                    f"{reference!r} and {module}.py is not there. Fetch the checkpoint again with its code."
                )


def _text_config(folder: Path, config: dict[str, Any], architecture: Architecture) -> dict[str, Any]:
    if not architecture.text_config:
        return config
    found = config.get(architecture.text_config)
    if not isinstance(found, dict):
        raise CheckpointError(
            f"{folder}: config.json of {architecture.name} must hold {architecture.text_config}, but it is "
            f"{type(found).__name__}. Fetch the checkpoint again."
        )
    return found


def _positive(folder: Path, config: Mapping[str, Any], key: str) -> int:
    value = config.get(key)
    if type(value) is not int or value <= 0:
        raise CheckpointError(
            f"{folder}: {key} in config.json must be a positive whole number, but is {value!r}. "
            "Fetch the checkpoint again."
        )
    return value


def _check_tensors(
    folder: Path,
    weights: Weights,
    config: Mapping[str, Any],
    text_config: Mapping[str, Any],
    architecture: Architecture,
) -> int:
    """Check that the tensors are those of the configuration; return the rows of the embedding."""
    vision = [name for name in weights.tensors if name.startswith(architecture.vision_prefixes)]
    text = sorted(set(weights.tensors) - set(vision))
    remedy = "Fetch the checkpoint again: weights and config.json do not belong together."
    if architecture.modality == "images" and not vision:
        raise CheckpointError(
            f"{folder}: {architecture.name} reads images, so its weights must hold vision tensors "
            f"({', '.join(architecture.vision_prefixes)}…), but hold none. {remedy}"
        )
    embedding = next((name for name in text if name.endswith("embed_tokens.weight")), None)
    if embedding is None:
        raise CheckpointError(f"{folder}: the weights must hold embed_tokens.weight, but do not. {remedy}")
    wanted = [_positive(folder, text_config, "vocab_size"), _positive(folder, text_config, "hidden_size")]
    shape = list(weights.tensors[embedding].shape)
    if shape != wanted:
        raise CheckpointError(
            f"{folder}: {embedding} must have the shape [vocab_size, hidden_size] = {wanted} of config.json, "
            f"but has {shape}. {remedy}"
        )
    if not any(_FINAL_NORM.search(name) and not _LAYER.search(name) for name in text):
        raise CheckpointError(f"{folder}: the weights must hold the final norm.weight, but do not. {remedy}")
    tied = config.get("tie_word_embeddings") or text_config.get("tie_word_embeddings")
    if not tied and not any(name.endswith("lm_head.weight") for name in text):
        raise CheckpointError(
            f"{folder}: the weights must hold lm_head.weight, because config.json does not tie it to the "
            f"embedding, but do not. {remedy}"
        )
    count = _positive(folder, text_config, "num_hidden_layers")
    kinds = text_config.get("layer_types")
    if kinds is not None and (not isinstance(kinds, list) or len(kinds) != count):
        raise CheckpointError(
            f"{folder}: layer_types in config.json must have num_hidden_layers={count} entries, but is "
            f"{str(kinds)[:80]}. {remedy}"
        )
    quantized = "quantization_config" in config or "quantization_config" in text_config
    # Multi-token-prediction heads ("mtp.layers.0") are numbered by themselves and not served.
    text = [name for name in text if "mtp." not in name]
    _check_layers(folder, "layer", text, count, kinds, quantized=quantized)
    if vision:
        _check_layers(folder, "vision layer", vision, None, None, quantized=quantized)
    return shape[0]


def _check_layers(
    folder: Path, what: str, names: list[str], count: int | None, kinds: list[Any] | None, *, quantized: bool
) -> None:
    """Check that layers 0 to count - 1 are there, and that layers of a kind hold the same tensors.

    Without a count the highest number decides: then only a gap shows.
    """
    held: dict[int, set[str]] = {}
    for name in names:
        match = _LAYER.search(name)
        if match is not None:
            held.setdefault(int(match[1]), set()).add(match[2])
    remedy = "Fetch the checkpoint again: weights and config.json do not belong together."
    if count is None:
        count = max(held, default=-1) + 1
    absent = sorted(set(range(count)) - set(held))
    extra = sorted(set(held) - set(range(count)))
    if absent or extra:
        found = f"{what} {absent[0]} has no tensors" if absent else f"there is a {what} {extra[0]}"
        raise CheckpointError(
            f"{folder}: the weights must hold every {what} from 0 to {count - 1}, as config.json says, but "
            f"{found}. {remedy}"
        )
    if quantized:
        return  # single layers may be left unquantized, under other tensor names
    by_kind: dict[str, list[int]] = {}
    for layer in range(count):
        by_kind.setdefault("" if kinds is None else str(kinds[layer]), []).append(layer)
    for layers in by_kind.values():
        union = set().union(*(held[layer] for layer in layers))
        for layer in layers:
            lacking = sorted(union - held[layer])
            if lacking:
                raise CheckpointError(
                    f"{folder}: layers of a kind must hold the same tensors, but {what} {layer} lacks "
                    f"{lacking[0]!r}, which others have. Fetch the checkpoint again."
                )


def _check_image_processor(folder: Path, files: Mapping[str, Path]) -> None:
    """Require the image processor's settings: of their own, or inside the processor's."""
    for name, key in (("preprocessor_config.json", "image_processor_type"), ("processor_config.json", "")):
        if name not in files:
            continue
        found = read_json_object(files[name])
        if isinstance(found.get("image_processor"), dict) or (key and key in found):
            return
    raise CheckpointError(
        f"{folder}: a model that reads images must bring its image processor (preprocessor_config.json, or "
        "processor_config.json with image_processor), but does not. Fetch these files again."
    )


def _dtype(config: Mapping[str, Any], text_config: Mapping[str, Any], weights: Weights) -> str:
    for holder in (config, text_config):
        for key in ("dtype", "torch_dtype"):
            if isinstance(holder.get(key), str):
                return str(holder[key]).removeprefix("torch.")
    names = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}
    return names.get(weights.dtype, weights.dtype.lower())
