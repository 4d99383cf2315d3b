"""Training a network that answers all questions of a chart at once, by one head per task.

Owns the steps, early stopping on the validation split and going on after a kill: everything random is a
function of seed and step.  Knows nothing of what is inside a network.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import nn
from torch.nn import functional

from aiopt.errors import ConfigError
from aiopt.eyes.charts import UNKNOWN, Charts
from aiopt.files import atomic_path


class HeadsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a network with heads is trained.

    Attributes
    ----------
    steps : int
        At most.
    batch_size : int
        Charts per step.
    learning_rate : float
        Of AdamW: rises over `warmup_steps`, then falls to a tenth on a cosine.
    warmup_steps : int
        Steps.
    every_steps, patience : int
        Steps between two looks at the validation split; looks without a better one after which it stops.
    seed : int
        Of weights, order and dropout.
    """

    steps: int = 2000
    batch_size: int = 32
    learning_rate: float = 2e-3
    warmup_steps: int = 50
    every_steps: int = 100
    patience: int = 6
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "every_steps", "patience"):
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name} >= 1` must hold, but got {getattr(self, name)}. Raise it.")


class HeadsReport(msgspec.Struct, frozen=True, kw_only=True):
    """How a training by heads stands.

    Attributes
    ----------
    step : int
        Steps done.
    loss : float
        Of the last step, mean over known answers.
    held_loss, held_accuracy : float or None
        On the validation split, where it was looked at.
    """

    step: int
    loss: float
    held_loss: float | None = None
    held_accuracy: float | None = None


def train_heads(
    net: nn.Module,
    train: Charts,
    held: Charts,
    config: HeadsConfig,
    *,
    state: Path,
    report: Callable[[HeadsReport], None] = lambda row: None,
) -> int:
    """Train a network; it ends with the weights of the best look at the validation split.

    Parameters
    ----------
    net : Module
        Takes pictures, returns scores per task; while it trains perhaps several times over, each its own way.
    train, held : Charts
        What it learns from; what it is stopped by.
    config : HeadsConfig
        How.
    state : Path
        File with where it stands: a training that was killed goes on from it, a finished one ends at once.
    report : callable, optional
        Told of every step.

    Returns
    -------
    int
        Step whose weights are kept.

    Raises
    ------
    ConfigError
        If the file is another training's.
    """
    optimizer = torch.optim.AdamW(net.parameters(), lr=config.learning_rate, weight_decay=0.01)
    step, best, kept_at, stale = 0, math.inf, 0, 0
    kept = _copy(net)
    identity = _identity(net, train, config)
    if state.is_file():
        found = torch.load(state, weights_only=True)
        if found["identity"] != identity:
            msg = f"{state} is of another network, other charts or other settings. Delete it to begin anew."
            raise ConfigError(msg)
        net.load_state_dict(found["net"])
        optimizer.load_state_dict(found["optimizer"])
        kept = found["kept"]
        step, best, kept_at, stale = found["at"]
    while step < config.steps and stale < config.patience:
        loss = _step(net, train, config, optimizer, step)
        step += 1
        if step % config.every_steps and step != config.steps:
            report(HeadsReport(step=step, loss=loss))
            continue
        now, right = look(net, held)
        if now < best:
            kept, best, kept_at, stale = _copy(net), now, step, 0
        else:
            stale += 1
        content: dict[str, Any] = {"identity": identity, "net": net.state_dict(), "kept": kept}
        content |= {"optimizer": optimizer.state_dict(), "at": (step, best, kept_at, stale)}
        with atomic_path(state) as temporary:
            torch.save(content, temporary)
        report(HeadsReport(step=step, loss=loss, held_loss=now, held_accuracy=right))
    net.load_state_dict(kept)
    net.eval()
    return int(kept_at)


def look(net: nn.Module, charts: Charts) -> tuple[float, float]:
    """Return mean loss and share of right answers over all known ones."""
    net.eval()
    total, right, known = 0.0, 0, 0
    with torch.no_grad():
        for start in range(0, len(charts.pictures), 64):
            labels = charts.labels[start : start + 64]
            scores = net(charts.pictures[start : start + 64])
            total += float(_loss_sum(scores, labels))
            right += sum(
                int((found.argmax(1) == labels[:, place]).sum()) for place, found in enumerate(scores)
            )
            known += int((labels != UNKNOWN).sum())
    return total / max(known, 1), right / max(known, 1)


def _step(
    net: nn.Module, train: Charts, config: HeadsConfig, optimizer: torch.optim.Optimizer, step: int
) -> float:
    net.train()
    digest = hashlib.sha256(f"{config.seed} {step}".encode()).digest()
    torch.manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    rows = torch.randint(len(train.pictures), (config.batch_size,))
    labels = train.labels[rows]
    scores = net(train.pictures[rows])
    ways = len(scores) // labels.shape[1]
    loss = _loss_sum(scores, labels) / (labels != UNKNOWN).sum().clamp_min(1) / ways
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    for group in optimizer.param_groups:
        group["lr"] = _rate(config, step)
    optimizer.step()
    return float(loss.detach())


def _rate(config: HeadsConfig, step: int) -> float:
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return config.learning_rate * (0.1 + 0.9 * (1 + math.cos(math.pi * done)) / 2)


def _loss_sum(scores: Sequence[torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
    """Return the summed cross entropy of all answers that are known, over all ways of answering."""
    tasks = labels.shape[1]
    return torch.stack(
        [
            functional.cross_entropy(found, labels[:, place % tasks], ignore_index=UNKNOWN, reduction="sum")
            for place, found in enumerate(scores)
        ]
    ).sum()


def _copy(net: nn.Module) -> dict[str, Any]:
    return {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}


def _identity(net: nn.Module, train: Charts, config: HeadsConfig) -> str:
    digest = hashlib.sha256(msgspec.json.encode(config))
    digest.update(str([(name, tuple(part.shape)) for name, part in net.state_dict().items()]).encode())
    digest.update(train.labels.numpy().tobytes())
    digest.update(train.pictures[:: max(1, len(train.pictures) // 64)].numpy().tobytes())
    return digest.hexdigest()
