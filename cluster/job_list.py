"""The jobs a cluster knows: list, look at, read and stop them by id.  Knows no script."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from typing import Any

import msgspec

from aiopt.errors import EXIT_FAILED, EXIT_OK, InputError, did_you_mean
from cluster.submit import TERMINAL, Job


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One submitted job.

    Attributes
    ----------
    job_id : str
        What `aiopt jobs` and `ray job` take.
    status : str
        ``PENDING``, ``RUNNING``, ``SUCCEEDED``, ``FAILED`` or ``STOPPED``.
    name : str
        What it was submitted as.
    command : str
        What runs on the head.
    started, ended : str or None
        ISO 8601 UTC.
    seconds : float or None
        From start to end, or until now.
    message : str
        What Ray says of it.
    exit_code : int or None
        Of its process, once that has ended.
    """

    job_id: str
    status: str
    name: str
    command: str
    started: str | None
    ended: str | None
    seconds: float | None
    message: str
    exit_code: int | None

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.status not in TERMINAL


def list_jobs(job: Job) -> list[JobRecord]:
    """Return every submitted job, the newest first."""
    found = [record_of(details) for details in job.client.list_jobs() if details.submission_id]
    return sorted(found, key=lambda record: (record.started or "", record.job_id), reverse=True)


def find_job(job: Job, job_id: str) -> JobRecord:
    """Return one job, which `job` then stands for.

    Raises
    ------
    InputError
        If the cluster knows none of this id.
    """
    known = {record.job_id: record for record in list_jobs(job)}
    if job_id not in known:
        hint = did_you_mean(job_id, list(known)) if known else " It has none."
        raise InputError(f"The cluster knows no job {job_id!r}.{hint} `aiopt jobs list` shows them.")
    job.job_id = job_id
    return known[job_id]


def record_of(details: Any) -> JobRecord:
    """Return what is shown of Ray's details of a job."""
    start, end = details.start_time, details.end_time
    now_ms = time.time() * 1000
    metadata = details.metadata or {}
    return JobRecord(
        job_id=details.submission_id,
        status=str(details.status.value),
        name=metadata.get("name", ""),
        command=details.entrypoint,
        started=_iso(start),
        ended=_iso(end),
        seconds=None if not start else round(((end or now_ms) - start) / 1000, 1),
        message=details.message or "",
        exit_code=details.driver_exit_code,
    )


def exit_code_of(record: JobRecord) -> int:
    """Return what a command that shows a job exits with: 1 if it failed or was stopped."""
    return EXIT_OK if record.running or record.status == "SUCCEEDED" else EXIT_FAILED


def log_of(job: Job) -> Iterator[str]:
    """Yield what a job has printed until now."""
    yield job.client.get_job_logs(job.job_id)


def _iso(stamp_ms: int | None) -> str | None:
    if not stamp_ms:
        return None
    return dt.datetime.fromtimestamp(stamp_ms / 1000, dt.UTC).isoformat(timespec="seconds")
