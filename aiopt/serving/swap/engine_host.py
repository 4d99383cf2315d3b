"""What a coordinator may ask of the place where engines live.  Knows neither Ray nor vLLM."""

from __future__ import annotations

from typing import Protocol

import msgspec

from aiopt.serving.swap.proof import EngineSpec, Reference

ENGINE_PREFIX = "aiopt-engine-"
"""Names of engine applications start with this; nothing else's may."""


class MemoryReport(msgspec.Struct, frozen=True, kw_only=True):
    """Whether another engine fits.

    Attributes
    ----------
    needed_bytes, available_bytes : int
        Of the device's memory, at the moment.
    device : str
        For the message, e.g. ``"this machine"``.
    can_sleep : bool
        Whether an engine can free its memory without losing its place.
    """

    needed_bytes: int
    available_bytes: int
    device: str
    can_sleep: bool

    @property
    def fits(self) -> bool:
        """Whether there is room."""
        return self.needed_bytes <= self.available_bytes


class EngineHost(Protocol):
    """Where engines live."""

    async def engines(self) -> set[str]:
        """Return the ids of all engines that exist, also starting ones."""
        ...

    async def memory(self, spec: EngineSpec) -> MemoryReport:
        """Tell whether an engine fits beside those that run."""
        ...

    async def reference(self, spec: EngineSpec) -> Reference:
        """Return the answers of a fresh engine, computed once per checkpoint and engine version."""
        ...

    async def start(self, spec: EngineSpec, reference: Reference) -> None:
        """Start an engine and return when it is ready; it proves itself before that.

        Raises
        ------
        EngineStartError, ProbeMismatchError
            If it does not come up.
        """
        ...

    async def stop(self, engine_id: str) -> None:
        """Remove an engine; nothing happens if there is none."""
        ...

    async def sleep(self, engine_id: str) -> None:
        """Free an engine's memory."""
        ...

    async def wake(self, engine_id: str) -> None:
        """Undo `sleep`."""
        ...

    async def probe(self, engine_id: str) -> None:
        """Let a loaded engine answer the probe set again.

        Raises
        ------
        ProbeMismatchError
            If it differs from its reference.
        """
        ...

    async def instance(self, engine_id: str) -> str:
        """Return a name for this life of an engine: another one after a restart."""
        ...
