"""What a checkpoint must answer, and the judgement whether an engine does.

Owns the reference of a checkpoint (token ids of the probe set from a fresh engine), its key and its cache on
disk.  Knows neither Ray nor vLLM.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from aiopt.config import canonical_json, content_hash
from aiopt.errors import ClusterError
from aiopt.files import atomic_write_bytes
from aiopt.serving.checkpoint.validation import Checkpoint
from aiopt.serving.profile import Device, EngineSettings
from aiopt.serving.swap.probes import MAX_TOKENS, PROBE_VERSION, probe_requests

NOT_IN_ANSWERS = {"kv_cache_gib", "gpu_memory_share", "sleep_mode", "replicas", "max_sequences"}
"""Engine settings that decide room and speed, not what is computed."""


class EngineStartError(ClusterError):
    """An engine did not come up: died while loading, took too long, has no room."""


class ProbeMismatchError(ClusterError):
    """An engine does not answer the probe set as a fresh engine on the same checkpoint does."""


class EngineSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that defines an engine.

    Attributes
    ----------
    engine_id : str
        Name of its Serve application.
    slot : str
        Served name, which its answers carry as ``model``.
    checkpoint : Checkpoint
        What it loads.
    device : {"cpu", "gpu"}
        Where it runs.
    settings : EngineSettings
        How vLLM runs it.
    """

    engine_id: str
    slot: str
    checkpoint: Checkpoint
    device: Device
    settings: EngineSettings

    @property
    def context_tokens(self) -> int:
        """Longest prompt and reply together."""
        return min(self.settings.max_context_tokens, self.checkpoint.max_context_tokens)


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """Greedy token ids of a fresh engine: content of ``references/KEY.json``.

    Attributes
    ----------
    key : str
        From `reference_key`.
    revision : str
        Content hash of the checkpoint.
    answers : tuple of tuple of int
        Token ids per probe, in the order of `probe_requests`.
    """

    key: str
    revision: str
    answers: tuple[tuple[int, ...], ...]


def reference_key(spec: EngineSpec, engine_version: str) -> str:
    """Return the hash of all that decides an engine's answers.

    Parameters
    ----------
    spec : EngineSpec
        The engine.
    engine_version : str
        Name and version of vLLM.
    """
    settings = msgspec.to_builtins(spec.settings)
    return content_hash(
        {
            "revision": spec.checkpoint.revision,
            "engine": engine_version,
            "device": spec.device,
            "probes": PROBE_VERSION,
            "context": spec.context_tokens,
            "settings": {name: value for name, value in settings.items() if name not in NOT_IN_ANSWERS},
        }
    )


def read_reference(folder: Path, key: str) -> Reference | None:
    """Return the cached reference, or None where there is none or the file is damaged (it is made again)."""
    path = reference_path(folder, key)
    try:
        reference = msgspec.json.decode(path.read_bytes(), type=Reference)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return reference if reference.key == key else None


def write_reference(folder: Path, reference: Reference) -> None:
    """Cache a reference."""
    atomic_write_bytes(reference_path(folder, reference.key), canonical_json(reference))


def reference_path(folder: Path, key: str) -> Path:
    """Return where a reference is cached."""
    return folder / "references" / f"{key[:32]}.json"


def check_answers(spec: EngineSpec, reference: Reference, answers: Sequence[Sequence[int]]) -> None:
    """Hold an engine's answers to the probe set against the reference, token for token.

    Raises
    ------
    ProbeMismatchError
        Naming the first probe and token that differ.
    """
    wanted = len(probe_requests(images=spec.checkpoint.images))
    name = f"{spec.checkpoint.model_id} ({spec.checkpoint.revision[:12]})"
    if reference.revision != spec.checkpoint.revision or len(reference.answers) != wanted:
        msg = (
            f"The reference must be of {spec.checkpoint.revision[:12]} with {wanted} answers, but is of "
            f"{reference.revision[:12]} with {len(reference.answers)}. Delete the folder of references."
        )
        raise ProbeMismatchError(msg)
    check_well_formed(name, answers, wanted)
    for probe, (expected, given) in enumerate(zip(reference.answers, answers, strict=True)):
        if tuple(given) == expected:
            continue
        pairs = zip(expected, given, strict=False)
        at = next(
            (index for index, (left, right) in enumerate(pairs) if left != right),
            min(len(expected), len(given)),
        )
        msg = (
            f"An engine of {name} must answer the probe set as a fresh engine does, but probe {probe} "
            f"differs from token {at} on: expected {list(expected[at : at + 4])}, got "
            f"{list(given[at : at + 4])}. It is not used."
        )
        raise ProbeMismatchError(msg)


def check_well_formed(name: str, answers: Sequence[Sequence[int]], wanted: int) -> None:
    """Check that there is an answer to each probe, with at least one token and no more than were asked for.

    Raises
    ------
    ProbeMismatchError
        Naming the probe.
    """
    if len(answers) != wanted:
        raise ProbeMismatchError(f"{name} must answer {wanted} probes, but answered {len(answers)}.")
    for probe, tokens in enumerate(answers):
        if not 1 <= len(tokens) <= MAX_TOKENS or min(tokens) < 0:
            raise ProbeMismatchError(
                f"{name} must answer probe {probe} with 1 to {MAX_TOKENS} tokens, but gave {len(tokens)}."
            )
