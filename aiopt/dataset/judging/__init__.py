"""Judging readers of charts on sets of tasks: what is asked, who reads, what comes out, how often one looked.

Owns the measure.  A reader is judged by what it answers, never by how.
"""

from aiopt.dataset.judging.asking import VARIANTS, Asked, asked_of
from aiopt.dataset.judging.judging import Judgement, TaskScore, compare_readings, judge
from aiopt.dataset.judging.looks import looks_at, record_look
from aiopt.dataset.judging.overlaps import refuse_overlap
from aiopt.dataset.judging.readings import Reading, read_readings, rules_readings, write_readings

__all__ = [
    "VARIANTS",
    "Asked",
    "asked_of",
    "Reading",
    "rules_readings",
    "read_readings",
    "write_readings",
    "Judgement",
    "TaskScore",
    "judge",
    "compare_readings",
    "record_look",
    "looks_at",
    "refuse_overlap",
]
