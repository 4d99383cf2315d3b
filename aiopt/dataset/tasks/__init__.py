"""Sets of tasks: charts with questions about them, whose answers are known, for training and judging readers.

Owns which charts, which questions and what is held out.  Knows no model.
"""

from aiopt.dataset.tasks.task_build import build_tasks
from aiopt.dataset.tasks.task_config import (
    BarsSource,
    ForwardConfig,
    GeneratorSource,
    HeldOutConfig,
    PictureConfig,
    ShareConfig,
    TaskSetConfig,
)
from aiopt.dataset.tasks.task_info import TaskSetInfo, read_task_info
from aiopt.dataset.tasks.task_kinds import TASKS, Task

__all__ = [
    "TASKS",
    "Task",
    "TaskSetConfig",
    "GeneratorSource",
    "BarsSource",
    "HeldOutConfig",
    "ShareConfig",
    "ForwardConfig",
    "PictureConfig",
    "TaskSetInfo",
    "build_tasks",
    "read_task_info",
]
