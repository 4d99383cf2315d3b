"""Training on a machine that serves: both at once where both fit, else serving is drained and comes back.

Owns that choice, and the hold on the engines' memory while a training runs.  The hold is renewed by a thread;
a training that is killed renews nothing, and the coordinator wakes the engines by itself
(`aiopt.serving.swap.parking`).  Knows of serving only its HTTP endpoint.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from aiopt.errors import AioptError, ClusterError, ConfigError
from aiopt.files import GIB
from aiopt.serving.backend import Operation, SwapRefusedError
from aiopt.serving.endpoint import AdminClient, read_endpoint, read_token
from aiopt.serving.swap.memory import available_bytes
from aiopt.serving.swap.parking import HOLD_S

if TYPE_CHECKING:
    from aiopt.training.training import TrainingJob

WhileServing = Literal["auto", "share", "drain", "refuse"]
Ask = Callable[[str], bool]
Note = Callable[[str], None]


def free_bytes(device: str) -> int:
    """Return the memory of a training's device that nobody uses now."""
    if device == "cpu":
        return available_bytes()
    import torch

    return int(torch.cuda.mem_get_info()[0])


def beside_serving(
    folder: Path,
    job: TrainingJob,
    needed_bytes: int,
    *,
    mode: WhileServing,
    ask: Ask,
    note: Note,
) -> AbstractContextManager[None]:
    """Return the context a training runs in: nothing, or one in which serving rests.

    Parameters
    ----------
    folder : Path
        State folder, whose endpoint is meant.
    job : TrainingJob
        What is trained, and on which device.
    needed_bytes : int
        By its memory plan.
    mode : {"auto", "share", "drain", "refuse"}
        auto: share where both fit, else ask.
    ask : callable
        Puts a question to the user; False where there is nobody to answer.
    note : callable
        Told what is done.

    Raises
    ------
    ConfigError
        If something serves and the mode is refuse, or nobody agreed to drain; says the remedy.
    """
    found = None if mode == "share" else _served(folder)
    if found is None:
        if mode == "drain":
            # A job that runs elsewhere would else share in silence what it was told to drain.
            note(
                f"Nothing serves from {folder}, so nothing is drained. AIOPT_STATE_DIR names another folder."
            )
        return nullcontext()
    url, names = found
    what = f"{url} serves {', '.join(names)}"
    if mode == "refuse":
        raise ConfigError(
            f"Nothing may serve beside this training, but {what}. Stop it (aiopt serve down), or choose "
            "--while-serving drain or share."
        )
    if mode == "auto":
        free = free_bytes(job.device)
        if needed_bytes <= free:
            note(f"{what}; the training fits beside: {needed_bytes / GIB:.1f} of {free / GIB:.1f} GiB free.")
            return nullcontext()
        short = (
            f"{what}, and the training needs {needed_bytes / GIB:.1f} GiB of {job.device}, of which "
            f"{free / GIB:.1f} GiB are free"
        )
        if not ask(f"{short}. Let serving rest until the training ends?"):
            raise ConfigError(
                f"{short}. Let it rest meanwhile: --while-serving drain. Or stop it: aiopt serve down."
            )
    return parked(folder, url, names, holder=f"training {job.out.name} {uuid.uuid4().hex[:6]}", note=note)


@contextmanager
def parked(
    folder: Path, url: str, names: list[str], *, holder: str, note: Note, renew_s: float = HOLD_S / 3
) -> Iterator[None]:
    """Drain served names, hold their memory, and wake them however the block ends.

    Parameters
    ----------
    folder : Path
        State folder with the admin token.
    url : str
        The endpoint.
    names : list of str
        Served names.
    holder : str
        Who holds.
    note : callable
        Told of each name.
    renew_s : float
        Between two renewals.

    Raises
    ------
    SwapRefusedError
        If a name could not be drained; those that were are woken.
    """
    client = AdminClient(url, read_token(folder, "admin"))
    ended = threading.Event()

    def renew() -> None:
        own = AdminClient(url, read_token(folder, "admin"))
        lost = False
        while not ended.wait(renew_s):
            for name in names:
                try:
                    own.begin("park", model=name, checkpoint=holder)
                    lost = False
                except AioptError as failure:
                    # An endpoint that is restarted answers again; holds outlast it.
                    if not lost:
                        note(f"The hold on {name} could not be renewed: {failure}")
                    lost = True
        own.close()

    thread = threading.Thread(target=renew, name="hold-on-serving", daemon=True)
    try:
        for name in names:
            note(f"Draining {name} …")
            done = _ended(client, client.begin("park", model=name, checkpoint=holder))
            if done.state == "refused":
                raise SwapRefusedError(f"{name} cannot rest: {done.message}")
            note(done.message)
            if not thread.is_alive():
                thread.start()
        yield
    finally:
        ended.set()
        if thread.is_alive():
            thread.join(timeout=60)
        _wake(client, names, holder, note)
        client.close()


def _wake(client: AdminClient, names: list[str], holder: str, note: Note) -> None:
    """Wake what was parked; what cannot be told so is woken by the coordinator when the hold ends."""
    for name in names:
        try:
            note(f"Waking {name} …")
            done = _ended(client, client.begin("wake", model=name, checkpoint=holder))
            note(done.message)
        except ClusterError as failure:
            note(f"{name} could not be woken: {failure} It wakes by itself within {HOLD_S:.0f} s.")


def _ended(client: AdminClient, operation: Operation) -> Operation:
    for current in client.follow(operation):
        operation = current
    return operation


def _served(folder: Path) -> tuple[str, list[str]] | None:
    """Return the endpoint of a state folder and its served names; None where nothing answers."""
    endpoint = read_endpoint(folder)
    if endpoint is None:
        return None
    client = AdminClient(endpoint.url, read_token(folder, "admin"), timeout_s=10)
    try:
        status = client.status()
    except ClusterError:
        return None
    finally:
        client.close()
    names = {card.name for card in status.cards} | {engine.slot for engine in status.engines}
    return (endpoint.url, sorted(names)) if names else None
