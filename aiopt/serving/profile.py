"""The typed content of a serving profile (`serve_configs/*.yaml`, ``args``).

Owns keys, defaults and rules.  Imports neither Ray nor vLLM.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import msgspec

from aiopt.config import decode
from aiopt.errors import ConfigError
from aiopt.serving.gateway.settings import GatewaySettings

Device = Literal["cpu", "gpu"]


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How vLLM runs a model.  Key ``engine`` of a model in a profile.

    Attributes
    ----------
    max_context_tokens : int
        Prompt and reply together; the checkpoint's own limit where that is lower.
    max_sequences : int
        Requests computed at once.
    dtype : str
        Type of weights and activations.
    gpu_memory_share : float
        GPU: share of the card's memory for weights, activations and KV cache of this engine.
    kv_cache_gib : int
        CPU: gibibytes of KV cache, at least 1.
    threads : int
        CPU: cores an engine computes on; 0 takes all.
    eager : bool
        Run without compilation and CUDA graphs.
    prefix_caching : bool
        Keep the KV cache of common prompt beginnings.
    sleep_mode : bool
        GPU: let an engine that does not serve free its memory.
    max_images : int
        Images per request.
    remote_code : bool
        Allow the checkpoint to bring Python code that the engine runs (MiniCPM4.1-8B does).
    replicas : int
        Copies of the engine that share the requests.
    extra : dict
        Further arguments of vLLM's engine, by vLLM's names.
    """

    max_context_tokens: int = 8192
    max_sequences: int = 16
    dtype: str = "bfloat16"
    gpu_memory_share: float = 0.3
    kv_cache_gib: int = 1
    threads: int = 0
    eager: bool = False
    prefix_caching: bool = True
    sleep_mode: bool = True
    max_images: int = 4
    remote_code: bool = False
    replicas: int = 1
    extra: dict[str, Any] = {}

    def __post_init__(self) -> None:
        least = {"max_context_tokens": 16, "threads": 0, "max_images": 0}
        for name in (
            "max_context_tokens",
            "max_sequences",
            "kv_cache_gib",
            "threads",
            "max_images",
            "replicas",
        ):
            value, bound = getattr(self, name), least.get(name, 1)
            if value < bound:
                raise ConfigError(f"`engine.{name} >= {bound}` must hold, but got {name}={value}.")
        if not 0.02 <= self.gpu_memory_share <= 0.95:
            raise ConfigError(
                "`0.02 <= engine.gpu_memory_share <= 0.95` must hold, but got "
                f"gpu_memory_share={self.gpu_memory_share}. Give a share of the card's memory."
            )


class SlotConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One served name and what is behind it at first.  Entry of ``models`` in a profile.

    Attributes
    ----------
    name : str
        Served name, whatever checkpoint is behind it.
    model : str
        Folder, or hub id ``owner/name`` or ``owner/name@revision`` in the local cache.
    aliases : tuple of str
        Further names requests may use.
    engine : EngineSettings
        How it is run.
    made_by : str
        Command that makes the model's folder, which then is one below the working directory; empty: it is
        fetched.
    """

    name: str
    model: str
    aliases: tuple[str, ...] = ()
    engine: EngineSettings = EngineSettings()
    made_by: str = ""

    def __post_init__(self) -> None:
        for name in (self.name, *self.aliases):
            if not name or not all(letter.isalnum() or letter in "-_./" for letter in name):
                raise ConfigError(
                    f"A served name must be letters, digits and any of - _ . /, but got {name!r}. Rename it."
                )


class ServingConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A serving profile: ``args`` of the application in `serve_configs/*.yaml`.

    Attributes
    ----------
    device : {"cpu", "gpu"}
        What the engines run on.
    models : tuple of SlotConfig
        Served names.
    state_dir : str
        Folder of tokens, state file and reference cache; empty: ``$AIOPT_STATE_DIR``, else ``~/.aiopt``.
    standby_engines : int
        Engines kept loaded per served name besides the serving one; swapping back to them takes no load.
    gateways : int
        HTTP replicas.
    load_timeout_s : float
        Longest time a checkpoint may take to load.
    drain_timeout_s : float
        Longest wait for requests on the old engine after a flip; then it stays loaded.
    ready_wait_s : float
        Longest time a request waits for an engine that starts or restarts; then 503.
    engine_sockets : bool
        Ask engines on sockets of their own instead of through Serve's actor calls; one replica each.
    gateway : GatewaySettings
        Limits of the HTTP endpoint.
    """

    device: Device
    models: tuple[SlotConfig, ...]
    state_dir: str = ""
    standby_engines: int = 1
    gateways: int = 1
    load_timeout_s: float = 1800.0
    drain_timeout_s: float = 300.0
    ready_wait_s: float = 20.0
    engine_sockets: bool = False
    gateway: GatewaySettings = GatewaySettings()

    def __post_init__(self) -> None:
        if not self.models:
            raise ConfigError("`models` must name at least one model, but is empty.")
        names = [name for slot in self.models for name in (slot.name, *slot.aliases)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(f"A served name or alias must occur once, but {twice[0]!r} occurs twice.")
        for name, least in (("standby_engines", 0), ("gateways", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"`{name} >= {least}` must hold, but got {name}={getattr(self, name)}.")
        for name in ("load_timeout_s", "drain_timeout_s", "ready_wait_s"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"`{name} > 0` must hold, but got {name}={getattr(self, name)}.")
        several = [slot.name for slot in self.models if slot.engine.replicas > 1]
        if self.engine_sockets and several:
            raise ConfigError(
                f"`engine_sockets` needs one replica per engine, but {several[0]} has more. "
                "Set replicas to 1, or engine_sockets to false."
            )
        shares = sum(slot.engine.gpu_memory_share for slot in self.models)
        if self.device == "gpu" and shares > 0.95:
            raise ConfigError(
                f"The `gpu_memory_share` of all models must sum to at most 0.95, but sum to {shares:.2f}. "
                "Lower one, or serve fewer models."
            )

    @property
    def folder(self) -> Path:
        """Resolved state folder: tokens here, everything else below ``serving``."""
        given = self.state_dir or os.environ.get("AIOPT_STATE_DIR") or "~/.aiopt"
        return Path(given).expanduser().resolve()


def load_args(args: dict[str, Any], *, where: str) -> ServingConfig:
    """Decode the ``args`` of a profile; unknown keys are refused with a hint.

    Raises
    ------
    ConfigError
        Naming the key, the rule and the value.
    """
    return decode(args, ServingConfig, where=where)
