"""docs/how-to/tasks.md: every task, column, split and setting, and an example that is a configuration."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import yaml

from aiopt.config import decode
from aiopt.dataset.tasks import TASKS, TaskSetConfig
from aiopt.dataset.tasks.task_build import _ROWS
from aiopt.dataset.tasks.task_charts import SPLITS

PAGE = (Path(__file__).resolve().parents[4] / "docs/how-to/tasks.md").read_text(encoding="utf-8")


def test_everything_is_on_the_page() -> None:
    for name in (*TASKS, *SPLITS, *_ROWS.names, "image_file", "image", "image_sha256"):
        assert f"`{name}`" in PAGE, name
    origins = dict(re.findall(r"^\| `([a-z]+)` \| (`.*?) \| ", PAGE, re.MULTILINE))
    for task in TASKS.values():
        assert f"`{task.name}`" in origins[task.origin]
    body = PAGE.split("## Configuration\n", 1)[1]
    documented = re.findall(r"^\| `([a-z_]+)` \|", body, flags=re.MULTILINE)
    assert set(documented) == {field.name for field in msgspec.structs.fields(TaskSetConfig)}


def test_the_example_is_a_configuration() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    config = decode(yaml.safe_load(text), TaskSetConfig, where="example")
    assert config.held_out.generators == ("processes",)
