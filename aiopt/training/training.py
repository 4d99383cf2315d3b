"""A training from start to end: checks, the loop, the finished checkpoint with its card and page.

Owns the order of these and the layout of a training's folder.  Whoever starts processes calls `run_training`
in each of them; alone it is called once.

::

    OUT/config.json      identity: configuration, data, base, code
    OUT/states/          the last states, and that of the best look at the probe
    OUT/metrics.jsonl    every step
    OUT/tensorboard/     the same for TensorBoard
    OUT/training.html    curves and sample answers
    OUT/checkpoint/      what may be served, with its model card
    OUT/result.json      what came out
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch

from aiopt.dataset.checking import check_answers
from aiopt.dataset.judging.seen import SEEN_FILE, Seen, read_seen, seen_by, seen_text
from aiopt.errors import DataError, StorageError
from aiopt.files import GIB, atomic_write_bytes, file_lock
from aiopt.serving.checkpoint.geometry import trained_geometry
from aiopt.serving.checkpoint.validation import CheckpointError, validate
from aiopt.training.adapters import add_adapters, merged
from aiopt.training.base import DTYPES, Base, export, open_base
from aiopt.training.encoding import IGNORED, Encoder, collate
from aiopt.training.equal_windows import join_equal_windows
from aiopt.training.identity import Identity, claim, identity_of
from aiopt.training.loop import Look, Loop, StepReport, probe_records, stage_records, weights_hash
from aiopt.training.memory_plan import MemoryPlan, Workload, check_memory, model_sizes
from aiopt.training.model_card import model_card
from aiopt.training.records import Record, Records, png_size, verify_data
from aiopt.training.states import States
from aiopt.training.training_config import TrainingConfig
from aiopt.training.training_page import SampleAnswer, training_page
from aiopt.training.watching import Watch, read_metrics
from aiopt.training.workers import Alone, Workers

STATES_FOLDER, CHECKPOINT_FOLDER = "states", "checkpoint"
RESULT_FILE, PAGE_FILE = "result.json", "training.html"
SAMPLES = 6
MEASURED_RECORDS = 32


@dataclass(frozen=True)
class TrainingJob:
    """What to train.

    Attributes
    ----------
    config : TrainingConfig
        Settings.
    data : tuple of Path
        Finished datasets.
    base : str
        Folder or hub id of the checkpoint to start from.
    out : Path
        The training's folder, seen by every worker.
    device : str
        As torch names it.
    device_bytes : int
        Its memory.
    """

    config: TrainingConfig
    data: tuple[Path, ...]
    base: str
    out: Path
    device: str
    device_bytes: int


class TrainingResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came out.

    Attributes
    ----------
    identity : str
        Hash of the training.
    checkpoint : str
        Folder of the finished checkpoint.
    revision : str
        Of that checkpoint.
    weights_hash : str
        SHA-256 over the trained values at the step kept, before they were merged or rounded.
    step, steps_done : int
        Step whose weights are kept; steps trained.
    tokens : int
        Read.
    look : Look or None
        At the probe, with the weights kept.
    plan : MemoryPlan
        What was expected of the memory.
    """

    identity: str
    checkpoint: str
    revision: str
    weights_hash: str
    step: int
    steps_done: int
    tokens: int
    look: Look | None
    plan: MemoryPlan


@dataclass(frozen=True)
class Prepared:
    """Everything that is known before weights are loaded."""

    base: Base
    records: Records
    probe: list[Record]
    encoder: Encoder
    identity: Identity
    plan: MemoryPlan
    picture_sizes: tuple[tuple[int, int], ...]
    seen: Seen


def prepare(job: TrainingJob) -> Prepared:
    """Check everything short of training: base, data, template, memory, disk.

    Raises
    ------
    AioptError
        Of the class and with the message of the first rule that is broken.  Nothing is written.
    """
    config = job.config
    base = open_base(job.base, config)
    data = verify_data(job.data)
    records = Records(job.data, "train")
    for folder in job.data:
        check_answers(folder)
    for stage in config.stages:
        stage_records(records, stage)
    probe: list[Record] = []
    if config.probe.rows:
        probe = probe_records(Records(job.data, config.probe.split), config.stages, config.probe.rows)
    encoder = Encoder(base, config)
    sizes = _picture_sizes(base, records)
    plan = check_memory(model_sizes(base.folder), config, _workload(encoder, records, base), job.device_bytes)
    _check_disk(job, plan)
    identity = identity_of(config, data, base.checkpoint.revision)
    seen = seen_by(job.data, read_seen(base.folder))
    return Prepared(base, records, probe, encoder, identity, plan, sizes, seen)


def run_training(
    job: TrainingJob,
    *,
    workers: Workers | None = None,
    report: Callable[[StepReport], None] = lambda row: None,
    note: Callable[[str], None] = lambda text: None,
    prepared: Prepared | None = None,
) -> TrainingResult:
    """Train, or go on where a killed training stopped, and write the checkpoint.

    Parameters
    ----------
    job : TrainingJob
        What to train.
    workers : Workers, optional
        The processes that train together; by default this one alone.
    report : callable, optional
        Called with every step, in every worker.
    note : callable, optional
        Told of what is out of the ordinary, e.g. a damaged state.
    prepared : Prepared, optional
        Of `prepare` for the same job, where the caller has it already.

    Raises
    ------
    AioptError
        As `prepare`; `RunExistsError` if the folder is another training's; `TrainingError` if the loss is no
        number; `StorageError` if the disk is full.
    """
    group = Alone() if workers is None else workers
    ready = prepare(job) if prepared is None else prepared
    if group.rank == 0:
        job.out.mkdir(parents=True, exist_ok=True)
        busy = DataError("Another process trains in this folder. Wait for it to end.", file=job.out)
        with file_lock(job.out / ".lock", busy=busy):
            claim(job.out, ready.identity)
            found = finished(job) if group.size == 1 else None
            if found is not None:
                return found
            return _train(job, ready, group, report, note)
    return _train(job, ready, group, report, note)


def _train(
    job: TrainingJob,
    ready: Prepared,
    workers: Workers,
    report: Callable[[StepReport], None],
    note: Callable[[str], None],
) -> TrainingResult:
    config = job.config
    torch.use_deterministic_algorithms(True, warn_only=job.device != "cpu")
    workers.wait()  # the folder is claimed
    model = _loaded(ready.base, config).to(job.device)
    states = States(job.out / STATES_FOLDER, ready.identity.hash, keep=config.keep, note=note)
    loop = Loop(config, model, ready.encoder, ready.records, ready.probe, states, workers, report)
    if workers.rank:
        loop.run()
        workers.wait()
        return _result_of(job)
    with Watch(job.out, loop.position.step) as watch:

        def both(row: StepReport) -> None:
            watch.report(row)
            report(row)

        loop.report = both
        loop.run()
    result = _finish(job, ready, loop)
    workers.wait()
    return result


def _loaded(base: Base, config: TrainingConfig) -> Any:
    """Load the model as it is trained: float32, or frozen in half precision under float32 adapters."""
    frozen = config.method == "lora" and config.precision == "bf16"
    model = base.load_model(torch.bfloat16 if frozen else torch.float32)
    join_equal_windows(model)
    torch.manual_seed(config.seed)  # adapters are drawn
    if config.method == "lora":
        model = add_adapters(model, config.lora)
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        if config.method == "lora":
            # Nothing before the first adapter is trained, and a checkpointed layer needs an input that is.
            model.enable_input_require_grads()
    return model


def _finish(job: TrainingJob, ready: Prepared, loop: Loop) -> TrainingResult:
    """Take the weights to keep, prove and write them."""
    config, position = job.config, loop.position
    step, look = position.step, None
    if position.best_step is not None:
        step = position.best_step
        loop.states.restore(loop.states.path_of(step), loop.parameters, None)
        look = next((row.look for row in read_metrics(job.out) if row.step == step), None)
    digest = weights_hash(loop.parameters)
    samples = _samples(loop, ready)
    model = loop.model
    if config.method == "lora":
        model = _merged(ready, config, loop)
    page = training_page(config, ready.identity, read_metrics(job.out), samples)
    atomic_write_bytes(job.out / PAGE_FILE, page.encode())
    card = model_card(config, ready.identity, ready.base, ready.records, look, step)
    out = job.out / CHECKPOINT_FOLDER
    checkpoint = export(
        ready.base,
        model,
        out,
        dtype=config.save_dtype,
        picture_sizes=ready.picture_sizes,
        files={"README.md": card, SEEN_FILE: seen_text(ready.seen)},
    )
    result = TrainingResult(
        identity=ready.identity.hash,
        checkpoint=str(out),
        revision=checkpoint.revision,
        weights_hash=digest,
        step=step,
        steps_done=position.step,
        tokens=position.tokens,
        look=look,
        plan=ready.plan,
    )
    text = msgspec.json.format(msgspec.json.encode(result))
    atomic_write_bytes(job.out / RESULT_FILE, text + b"\n")
    return result


def _merged(ready: Prepared, config: TrainingConfig, loop: Loop) -> Any:
    """Merge adapters into a float32 base that is loaded anew, proved on a record."""
    model = add_adapters(ready.base.load_model(DTYPES["float32"]), config.lora)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if name in loop.parameters:
                tensor.copy_(loop.parameters[name].detach().cpu())
    record = loop.encoder.encode(ready.records[0])
    return merged(model, collate([record], padding=0))


def _samples(loop: Loop, ready: Prepared) -> list[SampleAnswer]:
    """Let the model answer some records of the probe by itself, greedily."""
    shown = ready.probe[:: max(1, len(ready.probe) // SAMPLES)][:SAMPLES]
    found = []
    loop.model.eval()
    for record in shown:
        inputs = {name: part.to(loop.device) for name, part in loop.encoder.prompt_inputs(record).items()}
        length = inputs["input_ids"].shape[1]
        with torch.no_grad():
            said = loop.model.generate(
                **inputs,
                do_sample=False,
                use_cache=True,
                max_new_tokens=loop.encoder.encode(record).answer_tokens + 8,
                eos_token_id=sorted(ready.base.eos),
                pad_token_id=min(ready.base.eos),
            )
        text = ready.base.tokenizer.decode(said[0, length:], skip_special_tokens=True)
        found.append(SampleAnswer(record.sample, record.png, record.answer, text))
    return found


def finished(job: TrainingJob) -> TrainingResult | None:
    """Return the result of a training that is finished and whose checkpoint is still as it was written."""
    if not (job.out / RESULT_FILE).is_file():
        return None
    found = _result_of(job)
    try:
        revision = validate(found.checkpoint, allow_remote_code=job.config.trust_remote_code).revision
    except CheckpointError:
        return None
    return found if revision == found.revision else None


def _result_of(job: TrainingJob) -> TrainingResult:
    """Read what rank 0 wrote."""
    return msgspec.json.decode((job.out / RESULT_FILE).read_bytes(), type=TrainingResult)


def _workload(encoder: Encoder, records: Records, base: Base) -> Workload:
    """Return the largest of some records, evenly spread, and prove on them that they can be encoded."""
    step = max(1, len(records) // MEASURED_RECORDS)
    tokens = answer = patches = 0
    for number in range(0, len(records), step):
        encoded = encoder.encode(records[number])
        tokens = max(tokens, encoded.tokens.numel())
        answer = max(answer, int((encoded.labels != IGNORED).sum()))
        if encoded.sizes is not None:
            patches = max(patches, int(encoded.sizes.prod(-1).sum()))
    return Workload(tokens=tokens, answer_tokens=answer, patches=patches)


def _picture_sizes(base: Base, records: Records) -> tuple[tuple[int, int], ...]:
    """Return the sizes of all pictures of the training, and those its base was trained on."""
    if base.geometry is None:
        return ()
    found = {png_size(png, where=where) for where, png in records.pictures()}
    before = trained_geometry(base.folder)
    return tuple(sorted(found | set(before.picture_sizes if before is not None else ())))


def _check_disk(job: TrainingJob, plan: MemoryPlan) -> None:
    """Refuse to start where states and checkpoint do not fit the disk.

    Raises
    ------
    StorageError
        Names what is needed and what is free.
    """
    # States hold values and two moments; one more is written before the oldest goes, and the best one stays.
    state = 12 * plan.trained
    needed = (job.config.keep + 2) * state + 4 * plan.parameters
    folder = next(path for path in (job.out, *job.out.resolve().parents) if path.is_dir())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StorageError(
            f"The disk of {job.out} must have room for {job.config.keep + 2} states and the checkpoint, "
            f"{needed / GIB:.2f} GiB, but has {free / GIB:.2f} GiB. Free space, keep fewer states (`keep`), "
            "or choose another folder."
        )
