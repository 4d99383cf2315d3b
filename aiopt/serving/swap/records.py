"""What the coordinator remembers across restarts, and the routing table it publishes.

Owns the state file (`ServingState`) and its repair rules on reading.  Knows neither Ray nor vLLM.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from aiopt.errors import ClusterError
from aiopt.files import atomic_write_bytes
from aiopt.serving.backend import ModelCard, Operation
from aiopt.serving.checkpoint.validation import Checkpoint

HISTORY = 200
"""Operations kept."""


class EngineRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An engine that was proved and is loaded.

    Attributes
    ----------
    engine_id, slot : str
        As in `EngineSpec`.
    checkpoint : Checkpoint
        What it holds.
    context_tokens : int
        Longest prompt and reply together.
    asleep : bool
        Its memory is freed; where its device cannot put engines to sleep, the engine was stopped.
    used_s : float
        When it last became or stopped being the serving one, Unix seconds.
    """

    engine_id: str
    slot: str
    checkpoint: Checkpoint
    context_tokens: int
    asleep: bool = False
    used_s: float = 0.0


class SlotRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a served name points to.

    Attributes
    ----------
    configured : str
        Model of the profile when `active` was chosen first; another one in the profile starts afresh.
    settings : str
        Hash of the engine settings its engines run with; others start them anew.  Empty in old files.
    active : str
        Serving engine's id; empty while there is none.
    previous : Checkpoint or None
        What served before, for a rollback.
    since_s : int
        When `active` was set, Unix seconds.
    parked : dict of str to float
        Who holds the memory of its engines, and until when, Unix seconds.
    """

    configured: str
    settings: str = ""
    active: str = ""
    previous: Checkpoint | None = None
    since_s: int = 0
    parked: dict[str, float] = {}


class ServingState(msgspec.Struct, frozen=True, kw_only=True):
    """Content of ``serving/models.json`` in the state folder."""

    slots: dict[str, SlotRecord] = {}
    engines: dict[str, EngineRecord] = {}
    operations: list[Operation] = []


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """Where requests for a served name go.

    Attributes
    ----------
    name : str
        Served name.
    aliases : tuple of str
        Further names.
    engine_id : str
        Serve application; empty while nothing serves.
    card : ModelCard or None
        What answers name; None while nothing serves.
    reason : str
        Why nothing serves.
    """

    name: str
    aliases: tuple[str, ...]
    engine_id: str = ""
    card: ModelCard | None = None
    reason: str = ""


class RoutingTable(msgspec.Struct, frozen=True, kw_only=True):
    """All routes at one moment.

    Attributes
    ----------
    version : str
        Changes with every change; unique across restarts of the coordinator.
    routes : tuple of Route
        One per served name.
    """

    version: str
    routes: tuple[Route, ...]


def read_state(path: Path) -> ServingState:
    """Return the recorded state, empty where there is no file.

    Raises
    ------
    ClusterError
        If the file is damaged: guessing which model served would be worse than stopping.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=ServingState)
    except FileNotFoundError:
        return ServingState()
    except msgspec.DecodeError as error:
        msg = f"Cannot read the state of serving in {path} ({error}). Delete the file."
        raise ClusterError(msg) from error


def write_state(path: Path, state: ServingState) -> None:
    """Write the state; a reader sees the old or the new one."""
    atomic_write_bytes(path, msgspec.json.format(msgspec.json.encode(state)))
