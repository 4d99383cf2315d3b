from __future__ import annotations

from pathlib import Path

import pytest

from aiopt.dataset.tasks import GeneratorSource, TaskSetConfig, build_tasks
from aiopt.errors import DataError
from aiopt.training.records import Records, png_size, read_facts, verify_data
from tests.unit.training.made_training import dataset, messages, picture


@pytest.mark.parametrize("column", ["image", "image_file"])
def test_rows_are_read_from_every_row_group_in_order(tmp_path: Path, column: str) -> None:
    found = Records([dataset(tmp_path / "set", column=column, rows=12)], "train")
    assert len(found) == 12
    for number, record in enumerate(found):
        assert record.sample == f"train-{number}"
        assert record.png == picture(number % 2 == 0, number)
        assert record.answer == found.answers[number]
        assert record.messages[1]["content"][0] == {"type": "image"}
    assert [png for _, png in found.pictures()] == [record.png for record in found]
    assert set(found.tasks) == {"trend"}


def test_several_datasets_are_one_after_the_other(tmp_path: Path) -> None:
    first, second = dataset(tmp_path / "a", rows=6), dataset(tmp_path / "b", rows=4)
    found = Records([first, second], "train")
    assert found.datasets == ["a"] * 6 + ["b"] * 4
    assert found[7].where == f"{second}/data/train-00000-of-00001.parquet, row 1"
    with pytest.raises(DataError, match="different names, but 'a' comes twice"):
        Records([first, first], "train")


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda number: None, "no answers to train on: there is no column `messages`"),
        (lambda number: messages("Trend?", "")[:2], "must hold a question and end with an answer"),
        (lambda number: messages("Trend?", "x")[2:], "must hold a question and end with an answer"),
    ],
)
def test_rows_that_cannot_be_trained_on_are_refused(tmp_path: Path, made: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Records([dataset(tmp_path / "set", messages=made)], "train")


def test_what_is_no_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not a finished dataset: dataset\.json is missing"):
        Records([tmp_path], "train")
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        read_facts(tmp_path)
    made = dataset(tmp_path / "set")
    with pytest.raises(DataError, match="no split 'holdout', only train, validation"):
        Records([made], "holdout")


def test_a_changed_or_missing_file_is_found(tmp_path: Path) -> None:
    made = dataset(tmp_path / "set")
    assert [entry["name"] for entry in verify_data([made])] == ["set"]
    path = made / "data" / "train-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match="this file has another content than recorded"):
        verify_data([made])
    with pytest.raises(DataError, match="cannot be read"):
        Records([made], "train")
    path.unlink()
    with pytest.raises(DataError, match="this file is missing"):
        verify_data([made])


def test_charts_that_are_gone_or_no_png_are_named(tmp_path: Path) -> None:
    made = dataset(tmp_path / "set", column="image_file")
    (made / "charts" / "train-0.png").unlink()
    with pytest.raises(DataError, match=r"charts/train-0\.png: The chart of row 0 cannot be read"):
        Records([made], "train")[0]
    with pytest.raises(DataError, match="row 5: the picture must be a PNG"):
        png_size(b"JFIF", where="row 5")


def test_sets_of_tasks_are_read_with_and_without_pictures(tmp_path: Path) -> None:
    config = TaskSetConfig(
        sources=(GeneratorSource(name="processes", charts=9),), tasks=("trend", "levels", "strategy")
    )
    info = build_tasks(config, tmp_path / "set")
    found = Records([tmp_path / "set"], "train")
    assert len(found) == info.splits["train"].rows
    for record, task in zip(found, found.tasks, strict=True):
        parts = [part["type"] for part in record.messages[1]["content"]]
        assert (record.png is None) is (task == "strategy") is (parts == ["text"])
    # A chart is one file, however many questions are asked of it.
    assert len(list(found.pictures())) == info.splits["train"].charts == found.tasks.count("trend")
    assert len(verify_data([tmp_path / "set"])[0]["files"]) == 6
