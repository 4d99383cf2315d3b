"""A training by several processes of this machine, one thread each, without a cluster.

A step of a model this small is too little work for two threads of one process to share: each would wait for
the other thousands of times a second.  Two processes meet once per step.  Owns starting them and how they
find each other; what they do is `aiopt.training.training.run_training`, the same as alone.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable
from datetime import timedelta

import torch

from aiopt.errors import AioptError
from aiopt.training.failures import TrainingError
from aiopt.training.loop import StepReport
from aiopt.training.training import TrainingJob, TrainingResult, finished, run_training
from aiopt.training.workers import Group

PATIENCE = timedelta(minutes=30)
"""How long one process waits for another: the machine may be busy."""


def train_in_processes(
    job: TrainingJob,
    *,
    processes: int,
    report: Callable[[StepReport], None] = lambda row: None,
    note: Callable[[str], None] = lambda text: None,
) -> TrainingResult:
    """Train by several processes, or go on where a killed training stopped.

    Parameters
    ----------
    job : TrainingJob
        What to train.
    processes : int
        How many; 1: this one.
    report : callable, optional
        Called with every step.
    note : callable, optional
        Told of what is out of the ordinary.

    Raises
    ------
    AioptError
        As `run_training`.
    TrainingError
        If another process died; the states are kept.
    """
    if processes == 1:
        return run_training(job, report=report, note=note)
    done = finished(job)
    if done is not None:
        return done
    start = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="aiopt-") as room:
        meeting = f"file://{room}/meeting"
        others = [
            start.Process(target=_work, args=(job, rank, processes, meeting), daemon=True)
            for rank in range(1, processes)
        ]
        for other in others:
            other.start()
        try:
            return _work(job, 0, processes, meeting, report, note)
        except AioptError:
            raise
        except (RuntimeError, torch.distributed.DistError) as failure:
            codes = [other.exitcode for other in others]
            msg = f"All processes of a training must live, but one ended (exit codes {codes}): {failure}."
            raise TrainingError(f"{msg} Run the same command again: it goes on.") from failure
        finally:
            for other in others:
                other.join(timeout=10)
                if other.is_alive():
                    other.terminate()


def _work(
    job: TrainingJob,
    rank: int,
    processes: int,
    meeting: str,
    report: Callable[[StepReport], None] = lambda row: None,
    note: Callable[[str], None] = lambda text: None,
) -> TrainingResult:
    """Be one of the processes."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=meeting, rank=rank, world_size=processes, timeout=PATIENCE
    )
    try:
        return run_training(job, workers=Group(), report=report, note=note)
    finally:
        torch.distributed.destroy_process_group()
