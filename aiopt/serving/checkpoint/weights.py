"""Weight files of a checkpoint, judged by their headers alone: safetensors headers and the index of shards.

Owns the safetensors layout rules and `CheckpointError`.  Reads no tensor, imports neither vLLM nor torch, and
knows nothing of architectures.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import msgspec

from aiopt.errors import InputError

INDEX_NAME = "model.safetensors.index.json"
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")

_HEADER_MAX_BYTES = 100_000_000
"""The format's own limit: a longer header is not safetensors."""

_DTYPE_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64,
}  # fmt: skip


class CheckpointError(InputError):
    """A checkpoint cannot be served: names the rule, the value and the remedy."""


class Tensor(msgspec.Struct, frozen=True, kw_only=True):
    """One tensor as a header describes it.

    Attributes
    ----------
    dtype : str
        The format's name: ``"BF16"``, ``"F32"``, …
    shape : tuple of int
        Sizes; empty for a scalar.
    size_bytes : int
        Bytes it takes.
    shard : str
        File it lies in.
    """

    dtype: str
    shape: tuple[int, ...]
    size_bytes: int
    shard: str

    @property
    def elements(self) -> int:
        """Number of values."""
        return math.prod(self.shape)


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """All tensors of a checkpoint.

    Attributes
    ----------
    tensors : dict of str to Tensor
        By name.
    shards : tuple of str
        Files that are loaded, sorted.
    """

    tensors: dict[str, Tensor]
    shards: tuple[str, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.size_bytes for tensor in self.tensors.values())

    @property
    def dtype(self) -> str:
        """The dtype most bytes are stored in."""
        by_dtype: dict[str, int] = {}
        for tensor in self.tensors.values():
            by_dtype[tensor.dtype] = by_dtype.get(tensor.dtype, 0) + tensor.size_bytes
        return max(sorted(by_dtype), key=by_dtype.__getitem__)


def read_weights(folder: Path, files: dict[str, Path]) -> Weights:
    """Read every safetensors header of a checkpoint.

    Parameters
    ----------
    folder : Path
        For messages.
    files : dict of str to Path
        Files of the folder by name, resolved.

    Raises
    ------
    CheckpointError
        If there are no safetensors, the index names absent shards or tensors, a header is broken, or a tensor
        lies in two shards.
    """
    if INDEX_NAME in files:
        mapped = _read_index(folder, files)
        shards = sorted(set(mapped.values()))
        remedy = f"Fetch the missing files again, or correct {INDEX_NAME}."
        for name in shards:
            if Path(name).name != name or name in {"", ".", ".."}:
                raise CheckpointError(
                    f"{folder}: {INDEX_NAME} may name only files beside it, but names {name!r}. "
                    "Do not load this checkpoint unless you trust its source; correct the index."
                )
            if name not in files:
                raise CheckpointError(
                    f"{folder}: every shard that {INDEX_NAME} names must exist, but {name} does not. {remedy}"
                )
    else:
        mapped = {}
        shards = sorted(name for name in files if name.endswith(".safetensors"))
        if not shards:
            raise CheckpointError(_no_weights(folder, files))
    tensors: dict[str, Tensor] = {}
    for shard in shards:
        for name, tensor in read_header(files[shard]).items():
            # With an index a tensor counts only where the index says: loaders drop the other copies.
            if mapped and mapped.get(name) != shard:
                continue
            if name in tensors:
                raise CheckpointError(
                    f"{folder}: a tensor must lie in one shard, but {name!r} lies in {tensors[name].shard} "
                    f"and {shard}. Remove the file that does not belong here, or add {INDEX_NAME}."
                )
            tensors[name] = tensor
    for name, shard in mapped.items():
        if name not in tensors:
            raise CheckpointError(
                f"{folder}: {INDEX_NAME} places tensor {name!r} in {shard}, but that file does not hold it. "
                "Fetch the checkpoint again: index and shards are of different versions."
            )
    if not tensors:
        raise CheckpointError(f"{folder}: the weights must hold tensors, but hold none. Fetch them again.")
    return Weights(tensors=tensors, shards=tuple(shards))


def read_header(path: Path) -> dict[str, Tensor]:
    """Return the tensors of one safetensors file, checked against its size.

    The file is: 8 bytes little-endian header length, the header as JSON, then the data, which the tensors
    must fill without gap or overlap (https://github.com/huggingface/safetensors, section "Format").

    Raises
    ------
    CheckpointError
        If the file is truncated or not laid out so.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        prefix = stream.read(8)
        length = int.from_bytes(prefix, "little")
        if len(prefix) < 8 or length > _HEADER_MAX_BYTES or not length:
            raise CheckpointError(
                f"{path}: a safetensors file starts with its header's length (1 to {_HEADER_MAX_BYTES:,}), "
                f"but this one of {size:,} bytes says {length:,}. It is not safetensors; fetch it again."
            )
        if 8 + length > size:
            raise _truncated(path, size, 8 + length)
        raw = stream.read(length)
    data_bytes = size - 8 - length
    tensors: dict[str, Tensor] = {}
    spans: list[tuple[int, int, str]] = []
    for name, entry in _parse_header(path, raw).items():
        tensor, begin, end = _tensor(path, name, entry)
        tensors[name] = tensor
        spans.append((begin, end, name))
    reached, before = 0, "the header"
    for begin, end, name in sorted(spans):
        if begin != reached:
            what = "overlaps" if begin < reached else "leaves a gap after"
            raise CheckpointError(
                f"{path}: tensors must fill the file one after another, but {name!r} at byte {begin:,} "
                f"{what} {before!r}, which ends at {reached:,}. The file is corrupt; fetch it again."
            )
        reached, before = end, name
    if reached > data_bytes:
        raise _truncated(path, size, 8 + length + reached)
    if reached < data_bytes:
        raise CheckpointError(
            f"{path}: the last tensor must end where the file ends, but {data_bytes - reached:,} bytes "
            "follow "
            "it. The file is corrupt; fetch it again."
        )
    return tensors


def _truncated(path: Path, size: int, needed: int) -> CheckpointError:
    return CheckpointError(
        f"{path}: the file must have the {needed:,} bytes its header describes, but has {size:,}: it is "
        "truncated. Fetch it again."
    )


def _parse_header(path: Path, raw: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            msg = "a name occurs twice"
            raise ValueError(msg)
        return found

    try:
        header = json.loads(raw, object_pairs_hook=unique)
    except (ValueError, RecursionError) as failure:
        raise CheckpointError(
            f"{path}: the header must be a JSON object with unique names, but: {failure}. The file is "
            "corrupt; "
            "fetch it again."
        ) from failure
    if not isinstance(header, dict):
        raise CheckpointError(
            f"{path}: the header must be a JSON object, but is a {type(header).__name__}. Fetch it again."
        )
    header.pop("__metadata__", None)
    return header


class _Entry(msgspec.Struct, frozen=True):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def _tensor(path: Path, name: str, entry: object) -> tuple[Tensor, int, int]:
    try:
        found = msgspec.convert(entry, _Entry)
    except msgspec.ValidationError as failure:
        raise CheckpointError(
            f"{path}: tensor {name!r} must have dtype, shape and data_offsets, but: {failure}. "
            "The file is corrupt; fetch it again."
        ) from failure
    bits = _DTYPE_BITS.get(found.dtype)
    if bits is None:
        raise CheckpointError(
            f"{path}: tensor {name!r} has dtype {found.dtype!r}, which safetensors does not define "
            f"(known: {', '.join(_DTYPE_BITS)}). Save the checkpoint again in bfloat16."
        )
    begin, end = found.data_offsets
    wanted, rest = divmod(math.prod(found.shape) * bits, 8)
    if min((0, *found.shape)) < 0 or begin < 0 or rest or end - begin != wanted:
        raise CheckpointError(
            f"{path}: tensor {name!r} of shape {list(found.shape)} and dtype {found.dtype} needs {wanted:,} "
            f"bytes, but its offsets are {begin:,} to {end:,}. The file is corrupt; fetch it again."
        )
    return Tensor(dtype=found.dtype, shape=found.shape, size_bytes=wanted, shard=path.name), begin, end


class _Index(msgspec.Struct, frozen=True):
    weight_map: dict[str, str]


def _read_index(folder: Path, files: dict[str, Path]) -> dict[str, str]:
    try:
        return msgspec.json.decode(files[INDEX_NAME].read_bytes(), type=_Index).weight_map
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as failure:
        raise CheckpointError(
            f"{folder}: {INDEX_NAME} must map each tensor to its shard, but: {failure}. Fetch it again."
        ) from failure


def _no_weights(folder: Path, files: dict[str, Path]) -> str:
    pickled = sorted(name for name in files if name.endswith(PICKLE_SUFFIXES))
    if pickled:
        return (
            f"{folder}: weights must be safetensors, but only pickled files are here "
            f"({', '.join(pickled[:3])}), "
            "and opening a pickle can run code. Load the model where you trust it and save it with "
            "save_pretrained(..., safe_serialization=True)."
        )
    return (
        f"{folder}: weights must be there as *.safetensors, but none are. Fetch the checkpoint again, or "
        "choose "
        "the folder that holds config.json and the weights."
    )
