"""The training loop: steps, looks at the probe, states, early stopping.

Owns what happens in which order.  A step adds up the summed loss of its records over micro batches and
workers and divides by all answer tokens, so it is the same step however its records are spread.  Everything
random is a function of seed, step and micro batch, so a training that goes on after a kill computes the same
bits.  Knows nothing of Ray, files of metrics or checkpoints to serve.
"""

from __future__ import annotations

import hashlib
import math
import re
import resource
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import torch

from aiopt.errors import ConfigError, DataError
from aiopt.training.encoding import Batch, Encoder, collate
from aiopt.training.failures import TrainingError
from aiopt.training.loss import answer_logits, check_answer_logits, loss_sum
from aiopt.training.order import DataOrder, answer_class
from aiopt.training.preference import Pairs, rejected_of
from aiopt.training.records import Record, Records
from aiopt.training.schedule import learning_rate
from aiopt.training.states import Position, States
from aiopt.training.training_config import StageConfig, TrainingConfig
from aiopt.training.workers import Workers


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """The probe at one step.

    Attributes
    ----------
    accuracy : float
        Share of answers whose every token is the likeliest: what a greedy engine would answer.
    token_accuracy : float
        Share of answer tokens that are.
    loss : float
        Mean over answer tokens.
    rows : int
        Records.
    """

    accuracy: float
    token_accuracy: float
    loss: float
    rows: int


class StepReport(msgspec.Struct, frozen=True, kw_only=True):
    """One step, as observers see it.

    Attributes
    ----------
    step, steps : int
        Done, and planned if no stage ends early.
    stage : str
        Name.
    loss, learning_rate, gradient_norm : float
        Loss per answer token, in a stage of preferences per pair; norm before clipping.
    tokens, answer_tokens : int
        Of this step, all workers.
    tokens_per_s, eta_s : float
        Since this process started; until the last step.
    memory_bytes : int
        Highest use so far: of the GPU, or of this process on a CPU.
    look : Look or None
        At the probe, where it was due.
    best : bool
        Whether that look is the best of the stage.
    """

    step: int
    steps: int
    stage: str
    loss: float
    learning_rate: float
    gradient_norm: float
    tokens: int
    answer_tokens: int
    tokens_per_s: float
    eta_s: float
    memory_bytes: int
    look: Look | None = None
    best: bool = False


@dataclass
class Loop:
    """One training in progress.

    Parameters
    ----------
    config : TrainingConfig
        Settings.
    model : Any
        On its device, adapters in place.
    encoder : Encoder
        Of its base.
    records : Records
        What is trained on.
    probe : sequence of Record
        What is looked at; may be empty.
    states : States
        Where it is saved.
    workers : Workers
        The processes beside this one.
    report : callable
        Called with every step, in every worker.
    """

    config: TrainingConfig
    model: Any
    encoder: Encoder
    records: Records
    probe: Sequence[Record]
    states: States
    workers: Workers
    report: Callable[[StepReport], None]
    position: Position = field(default_factory=Position)
    _pairs: Pairs | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.parameters = {
            name: tensor for name, tensor in self.model.named_parameters() if tensor.requires_grad
        }
        self.device = next(iter(self.parameters.values())).device
        self.optimizer = _optimizer(self.config, self.parameters)
        self._padding = int(self.model.config.get_text_config().pad_token_id or 0)
        self._began = time.monotonic()
        self._tokens_here = self._steps_here = 0
        newest = self.states.newest()
        if newest is not None:
            path, self.position, manifest = newest
            if self.device.type == "cpu":
                torch.set_num_threads(manifest.threads)
            self.states.restore(path, self.parameters, self.optimizer)

    def run(self) -> Position:
        """Train to the end; return where it ended.

        Raises
        ------
        TrainingError
            If the loss is no number: the last state is good.
        StorageError
            If a state cannot be written.
        """
        if self.position.step == 0 and self.config.answer_logits:
            self.model.eval()
            first = [self.encoder.encode(self.records[0])]
            with self._autocast():
                check_answer_logits(self.model, self._collated(first))
        while self.position.stage < len(self.config.stages):
            self._run_stage(self.config.stages[self.position.stage])
            stage = self.position.stage + 1
            if stage == len(self.config.stages):
                # What the last stage's probe says decides which weights are kept.
                self.position = msgspec.structs.replace(self.position, stage=stage)
            else:
                self.position = Position(step=self.position.step, stage=stage, tokens=self.position.tokens)
            self._save()
        return self.position

    def look(self) -> Look:
        """Look at the probe: every worker at its share, the sums over all."""
        self.model.eval()
        sums = torch.zeros(4, dtype=torch.float64, device=self.device)
        mine = list(self.probe)[self.workers.rank :: self.workers.size]
        with torch.no_grad():
            for part in _cut(mine, self.config.micro_batch):
                batch = self._collated([self.encoder.encode(record) for record in part])
                logits, targets = self._logits(batch)
                losses = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
                right = (logits.argmax(-1) == targets).tolist()
                counts = (batch.labels[:, 1:] != -100).sum(1).tolist()
                starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
                exact = sum(all(right[start : start + n]) for start, n in zip(starts, counts, strict=True))
                sums += torch.tensor([float(losses), sum(right), exact, len(right)], device=self.device)
        self.workers.add_up([sums])
        loss, right_tokens, exact_rows, tokens = sums.tolist()
        rows = len(self.probe)
        return Look(
            accuracy=exact_rows / rows, token_accuracy=right_tokens / tokens, loss=loss / tokens, rows=rows
        )

    def _run_stage(self, stage: StageConfig) -> None:
        order = self._order(stage)
        self._freeze(stage)
        self._pairs = self._paired(stage)
        probe = self.config.probe
        while self.position.stage_step < stage.steps:
            report = self._step(stage, order)
            ended = self.position.stage_step == stage.steps
            looked = bool(self.probe) and (self.position.step % probe.every_steps == 0 or ended)
            if looked:
                report = self._judge(report)
            if report.best or ended or self.position.step % self.config.save_every == 0:
                self._save()
            self.report(report)
            if looked and probe.patience and self.position.stale_looks >= probe.patience:
                return

    def _step(self, stage: StageConfig, order: DataOrder) -> StepReport:
        """Compute one step of the optimizer."""
        self.model.train()
        for tensor in self.parameters.values():
            # The optimizer leaves alone what has no gradient: no decay, no moments.
            tensor.grad = torch.zeros_like(tensor) if tensor.requires_grad else None
        sums = torch.zeros(4, dtype=torch.float64, device=self.device)
        numbers = order.batch(self.position.stage_step)
        for number, part in enumerate(_cut(numbers.tolist(), self._micro_batch)):
            if number % self.workers.size != self.workers.rank:
                continue
            loss, counts = self._loss(part, number)
            loss.backward()  # type: ignore[no-untyped-call]
            sums += torch.tensor([float(loss.detach()), *counts], device=self.device)
        gradients = [tensor.grad for tensor in self.parameters.values() if tensor.grad is not None]
        self.workers.add_up([sums])
        self.workers.add_up(gradients)
        total, units, tokens, answer_tokens = sums.tolist()
        norm = _scale(gradients, units, self.config.optimizer.clip_norm)
        if not (math.isfinite(total) and math.isfinite(norm)):
            raise self._not_a_number(stage, total, norm)
        rate = learning_rate(stage, self.config.optimizer, self.position.stage_step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.position = msgspec.structs.replace(
            self.position,
            step=self.position.step + 1,
            stage_step=self.position.stage_step + 1,
            tokens=self.position.tokens + int(tokens),
        )
        return self._reported(stage, total / units, rate, norm, (int(tokens), int(answer_tokens)))

    def _loss(self, part: Sequence[int], number: int) -> tuple[torch.Tensor, tuple[int, int, int]]:
        """Return a micro batch's summed loss; answer tokens or pairs it is of, all tokens, answer tokens."""
        # Dropout of this micro batch: whoever computes it, and whenever.
        seed = _seed(self.config.seed, self.position.step, number)
        if self._pairs is not None:
            torch.manual_seed(seed)
            loss, found = self._pairs.loss_sum(part)
            return loss, (found.pairs, found.tokens, found.answer_tokens)
        batch = self._collated([self._encoded(record) for record in part])
        torch.manual_seed(seed)
        with self._autocast():
            loss = loss_sum(self.model, batch, everywhere=not self.config.answer_logits)
        return loss, (batch.answer_tokens, batch.tokens, batch.answer_tokens)

    @property
    def _micro_batch(self) -> int:
        """Records of a forward pass; a pair is two."""
        return self.config.micro_batch if self._pairs is None else max(1, self.config.micro_batch // 2)

    def _paired(self, stage: StageConfig) -> Pairs | None:
        """Return the pairs of a stage of preferences with their frozen reference; None for any other."""
        if stage.preference is None:
            return None
        pairs = Pairs(
            self.records,
            stage_records(self.records, stage),
            stage.preference.beta,
            encoder=self.encoder,
            collated=self._collated,
            logits=self._logits,
            device=self.device,
        )
        self.model.eval()
        pairs.refer(
            self.states.reference_path(self.position.stage),
            self.states.identity,
            self.position.stage,
            begun=self.position.stage_step > 0,
            workers=self.workers,
            size=max(1, self.config.micro_batch // 2),
        )
        return pairs

    def _freeze(self, stage: StageConfig) -> None:
        """Let the weights that a stage leaves alone need no gradient.

        Raises
        ------
        ConfigError
            If its pattern is of none of them, or of all.
        """
        pattern = re.compile(stage.frozen)
        frozen = {name for name in self.parameters if stage.frozen and pattern.fullmatch(name)}
        if stage.frozen and not 0 < len(frozen) < len(self.parameters):
            raise ConfigError(
                f"`stages.frozen` of {stage.name!r} must match some of {len(self.parameters)} weights, but "
                f"{stage.frozen!r} matches {len(frozen)}. They are named like {next(iter(self.parameters))}."
            )
        for name, tensor in self.parameters.items():
            tensor.requires_grad_(name not in frozen)

    def _reported(
        self, stage: StageConfig, loss: float, rate: float, norm: float, counts: tuple[int, int]
    ) -> StepReport:
        self._tokens_here += counts[0]
        self._steps_here += 1
        passed = max(time.monotonic() - self._began, 1e-9)
        left = (
            sum(later.steps for later in self.config.stages[self.position.stage :]) - self.position.stage_step
        )
        return StepReport(
            step=self.position.step,
            steps=self.position.step + left,
            stage=stage.name,
            loss=loss,
            learning_rate=rate,
            gradient_norm=norm,
            tokens=counts[0],
            answer_tokens=counts[1],
            tokens_per_s=self._tokens_here / passed,
            eta_s=left * passed / self._steps_here,
            memory_bytes=memory_used(self.device),
        )

    def _judge(self, report: StepReport) -> StepReport:
        """Look at the probe and remember whether this is the best look of the stage."""
        look = self.look()
        before = self.position
        best = (look.accuracy, -look.loss) > (before.best_accuracy, -before.best_loss)
        changes: dict[str, Any] = (
            {
                "best_step": before.step,
                "best_accuracy": look.accuracy,
                "best_loss": look.loss,
                "stale_looks": 0,
            }
            if best
            else {"stale_looks": before.stale_looks + 1}
        )
        self.position = msgspec.structs.replace(before, **changes)
        return msgspec.structs.replace(report, look=look, best=best)

    def _save(self) -> None:
        if self.workers.rank == 0:
            self.states.save(self.position, self.parameters, self.optimizer, workers=self.workers.size)
        self.workers.wait()

    def _order(self, stage: StageConfig) -> DataOrder:
        numbers = stage_records(self.records, stage)
        classes = None
        if self.config.balance is not None:
            classes = [
                (
                    self.records.tasks[number],
                    answer_class(self.records.answers[number], self.config.balance, where=f"record {number}"),
                )
                for number in numbers
            ]
        return DataOrder(
            numbers,
            classes=classes,
            weights=[self.records.weights[number] for number in numbers],
            seed=self.config.seed,
            stage=self.position.stage,
            batch_size=self.config.batch_size,
        )

    def _encoded(self, number: int) -> Any:
        return self.encoder.encode(self.records[number], key=(self.config.seed, self.position.step, number))

    def _collated(self, records: Sequence[Any]) -> Batch:
        return collate(records, padding=self._padding).to(self.device)

    def _logits(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        with self._autocast():
            return answer_logits(self.model, batch, everywhere=not self.config.answer_logits)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.config.precision == "bf16")

    def _not_a_number(self, stage: StageConfig, total: float, norm: float) -> TrainingError:
        newest = self.states.newest()
        kept = "No state was saved before" if newest is None else f"The last good state is {newest[0]}"
        return TrainingError(
            f"The loss must be a number, but step {self.position.step + 1} of stage {stage.name!r} gave loss "
            f"{total} and gradient norm {norm}. {kept}. Lower the learning rate ({stage.learning_rate:g}), "
            "lengthen the warm-up, or look at the records of that step."
        )


def stage_records(records: Records, stage: StageConfig) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the numbers of the records a stage trains on.

    Raises
    ------
    DataError
        If there are none.
    """
    wanted = [
        number
        for number, (task, dataset) in enumerate(zip(records.tasks, records.datasets, strict=True))
        if (not stage.tasks or task in stage.tasks) and (not stage.data or dataset in stage.data)
    ]
    if not wanted:
        raise DataError(
            f"Stage {stage.name!r} must have records, but no row of split {records.split} is of its tasks "
            f"{list(stage.tasks) or 'all'} and data {list(stage.data) or 'all'}. There are tasks "
            f"{sorted(set(records.tasks))} and data {sorted(set(records.datasets))}."
        )
    if stage.preference is not None:
        rows, wanted = len(wanted), [one for one in wanted if rejected_of(records, one) is not None]
        if not wanted:
            raise DataError(
                f"Stage {stage.name!r} must have readings that proved right or wrong, but none of its {rows} "
                f"rows of split {records.split} has one. Build them with `aiopt dataset from-trades`."
            )
    return np.array(wanted, np.int64)


def probe_records(records: Records, stages: Iterable[StageConfig], rows: int) -> list[Record]:
    """Return the rows of the probe: evenly spread over those of the last stage's tasks and data."""
    # Every row of these tasks, also of a stage of preferences: the answers are judged, not the pairs.
    last = msgspec.structs.replace(list(stages)[-1], preference=None)
    numbers = stage_records(records, last)
    chosen = np.unique(np.linspace(0, len(numbers) - 1, min(rows, len(numbers))).round().astype(np.int64))
    return [records[int(numbers[place])] for place in chosen]


def memory_used(device: torch.device) -> int:
    """Return the highest memory use so far in bytes: of the GPU, else of this process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def weights_hash(parameters: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 over names and bits of weights."""
    digest = hashlib.sha256()
    for name in sorted(parameters):
        digest.update(name.encode())
        digest.update(parameters[name].detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _optimizer(config: TrainingConfig, parameters: Mapping[str, torch.Tensor]) -> torch.optim.AdamW:
    settings = config.optimizer
    groups = [
        {
            "params": [tensor for tensor in parameters.values() if (tensor.ndim >= 2) == decays],
            "weight_decay": settings.weight_decay if decays else 0.0,
        }
        for decays in (True, False)
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=0.0,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
    )


def _scale(gradients: Sequence[torch.Tensor], answer_tokens: float, clip_norm: float) -> float:
    """Turn summed gradients into those of the mean loss, clipped; return their norm before clipping."""
    norms = torch.stack([torch.linalg.vector_norm(gradient) for gradient in gradients])
    norm = float(torch.linalg.vector_norm(norms)) / answer_tokens
    factor = (1.0 if norm <= clip_norm else clip_norm / norm) / answer_tokens
    for gradient in gradients:
        gradient.mul_(factor)
    return norm


def _seed(seed: int, step: int, number: int) -> int:
    digest = hashlib.sha256(f"{seed} {step} {number}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def _cut(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
