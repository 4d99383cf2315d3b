"""Whole trainings of a tiny model: what comes out, and that a kill changes no bit of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from aiopt.errors import ConfigError, DataError, RunExistsError, StorageError
from aiopt.files import MIB
from aiopt.serving.checkpoint.geometry import read_geometry
from aiopt.serving.checkpoint.sources import resolve
from aiopt.serving.checkpoint.tiny_minicpm import build_checkpoint
from aiopt.serving.checkpoint.validation import CheckpointError, validate
from aiopt.training.base import open_base
from aiopt.training.failures import TrainingError
from aiopt.training.loop import StepReport
from aiopt.training.training import TrainingResult, prepare, run_training
from aiopt.training.watching import read_metrics
from tests.unit.training.made_training import configured, dataset, job, messages, picture

ROOT = Path(__file__).resolve().parents[3]

KILLED = """
import os, signal, sys
from pathlib import Path
from aiopt.training.training import run_training
from tests.unit.training.made_training import configured, job
folder, last = Path(sys.argv[1]), int(sys.argv[2])
def die(row):
    if row.step == last:
        os.kill(os.getpid(), signal.SIGKILL)
run_training(job(configured(), folder / "set", folder / "tiny", folder / "killed"), report=die)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    build_checkpoint(folder / "tiny", seed=1)
    dataset(folder / "set")
    return folder


@pytest.fixture(scope="module")
def whole(made: Path) -> tuple[TrainingResult, list[StepReport]]:
    """A training that nothing interrupts."""
    rows: list[StepReport] = []
    result = run_training(job(configured(), made / "set", made / "tiny", made / "whole"), report=rows.append)
    return result, rows


def test_the_loss_falls_and_every_file_is_there(
    made: Path, whole: tuple[TrainingResult, list[StepReport]]
) -> None:
    result, rows = whole
    assert [row.step for row in rows] == list(range(1, 9))
    assert rows[-1].loss < 0.5 * rows[0].loss
    assert [row.step for row in rows if row.look is not None] == [4, 8]
    assert read_metrics(made / "whole") == rows
    assert result.steps_done == 8
    assert result.tokens == sum(row.tokens for row in rows)
    assert result.look is not None
    assert result.look.rows == 4
    names = {path.name for path in (made / "whole").iterdir()}
    assert {"config.json", "states", "metrics.jsonl", "tensorboard", "training.html", "checkpoint"} <= names
    page = (made / "whole" / "training.html").read_text()
    assert page.count("<svg") == 5
    assert page.count("data:image/png;base64,") == 4


def test_the_checkpoint_is_served_as_it_was_trained(
    made: Path, whole: tuple[TrainingResult, list[StepReport]]
) -> None:
    result, _ = whole
    found = validate(result.checkpoint, like=validate(made / "tiny"))
    assert found.revision == result.revision != validate(made / "tiny").revision
    assert resolve(str(made / "whole"), made) == result.checkpoint
    assert found.model_id == "whole"
    assert found.dtype == "float32"
    geometry = read_geometry(Path(result.checkpoint))
    assert (geometry.scale_resolution, geometry.picture_sizes) == (56, ((56, 56),))
    for name in ("tokenizer.json", "chat_template.jinja", "generation_config.json"):
        assert (Path(result.checkpoint) / name).read_bytes() == (made / "tiny" / name).read_bytes()
    card = (Path(result.checkpoint) / "README.md").read_text()
    assert result.identity in card
    assert "| set | EURUSD | 5m | generated | train | 24 | 2023-11-14 | 2024-03-09 |" in card
    assert "95 % Wilson interval" in card


def test_a_kill_changes_no_bit(made: Path, whole: tuple[TrainingResult, list[StepReport]]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(made), "5"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]
    assert [row.step for row in read_metrics(made / "killed")] == [1, 2, 3, 4, 5]
    states = sorted((made / "killed" / "states").iterdir())
    assert [path.name for path in states] == ["step-00000002", "step-00000004"]
    # The newest is damaged by one bit: the one before it is taken, and steps 3 to 5 are trained again.
    path = states[-1] / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    notes: list[str] = []
    rows: list[StepReport] = []
    result = run_training(
        job(configured(), made / "set", made / "tiny", made / "killed"), report=rows.append, note=notes.append
    )
    assert "step-00000004 is damaged (weights.safetensors has another SHA-256" in notes[0]
    assert [row.step for row in rows] == [3, 4, 5, 6, 7, 8]
    assert result.weights_hash == whole[0].weights_hash
    assert result.identity == whole[0].identity
    assert [(row.step, row.loss) for row in read_metrics(made / "killed")] == [
        (row.step, row.loss) for row in whole[1]
    ]


def test_a_finished_training_is_not_trained_again(
    made: Path, whole: tuple[TrainingResult, list[StepReport]]
) -> None:
    rows: list[StepReport] = []
    again = run_training(job(configured(), made / "set", made / "tiny", made / "whole"), report=rows.append)
    assert rows == []
    assert again.weights_hash == whole[0].weights_hash
    with pytest.raises(RunExistsError, match=r"holds a training of another configuration\. Name another"):
        run_training(job(configured(seed=4), made / "set", made / "tiny", made / "whole"))


def test_a_loss_that_is_no_number_stops_and_names_the_last_good_state(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = iter([1e-4, 1e30, 1e-4])
    monkeypatch.setattr("aiopt.training.loop.learning_rate", lambda *settings: next(rates))
    config = configured(probe={"rows": 0}, save_every=1)
    with pytest.raises(TrainingError, match=r"step 3 of stage 'train' gave loss .* state is .*step-00000002"):
        run_training(job(config, made / "set", made / "tiny", made / "wild"))
    assert not (made / "wild" / "checkpoint").exists()


def test_stages_of_a_curriculum_take_their_own_records_and_end_early(made: Path, tmp_path: Path) -> None:
    data = dataset(tmp_path / "two", task=lambda number: "easy" if number < 8 else "hard")
    stages = [
        {"name": "first", "steps": 2, "learning_rate": 1e-3, "tasks": ["easy"]},
        {"name": "second", "steps": 6, "learning_rate": 1e-12 * 1e3, "tasks": ["hard"]},
    ]
    config = configured(stages=stages, probe={"rows": 4, "every_steps": 1, "patience": 2}, balance="trend")
    rows: list[StepReport] = []
    result = run_training(job(config, data, made / "tiny", tmp_path / "out"), report=rows.append)
    assert [row.stage for row in rows][:3] == ["first", "first", "second"]
    assert result.steps_done == len(rows) < 8, "nothing is learnt at that rate, so the stage ends early"


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"base": "nobody/nothing"}, CheckpointError, r"Fetch them with: hf download nobody/nothing"),
        ({"device_bytes": 500 * MIB}, ConfigError, r"It does not fit; no setting makes it fit"),
        ({"data": ()}, DataError, "at least one dataset"),
    ],
)
def test_what_cannot_start_says_why(
    made: Path, tmp_path: Path, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run_training(replace(job(configured(), made / "set", made / "tiny", tmp_path / "out"), **changes))
    assert not (tmp_path / "out").exists(), "nothing is written"


def test_a_full_disk_is_told_before_the_start(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = SimpleNamespace(free=10 * MIB)
    monkeypatch.setattr("aiopt.training.training.shutil.disk_usage", lambda path: usage)
    with pytest.raises(StorageError, match=r"room for 4 states and the checkpoint, 0\.03 GiB, but has 0\.01"):
        prepare(job(configured(), made / "set", made / "tiny", tmp_path / "out"))


def test_a_base_trained_here_keeps_its_geometry_and_picture_sizes(
    made: Path, whole: tuple[TrainingResult, list[StepReport]], tmp_path: Path
) -> None:
    trained = Path(whole[0].checkpoint)
    with pytest.raises(
        ConfigError, match=r"trained with scale_resolution 56, .* asks for scale_resolution 168"
    ):
        prepare(job(configured(image={"scale_resolution": 168}), made / "set", trained, tmp_path / "out"))
    wide = dataset(
        tmp_path / "wide", image=lambda n: {"bytes": picture(n % 2 == 0, n, (84, 56)), "path": "x.png"}
    )
    with pytest.raises(DataError, match=r"row 0: .* trained on, 56×56, but this one is 84×56"):
        prepare(job(configured(image={}), wide, trained, tmp_path / "out"))
    ready = prepare(job(configured(image={"adapt": True}), wide, trained, tmp_path / "out"))
    assert ready.picture_sizes == ((56, 56), (84, 56))


def test_a_text_model_is_trained_on_the_questions_alone(tmp_path: Path) -> None:
    base = build_checkpoint(tmp_path / "text", seed=2, kind="text")
    data = dataset(tmp_path / "set", column="image_file", rows=8)
    config = configured(
        image={}, stages=[{"steps": 3, "learning_rate": 2e-3}], probe={"rows": 2, "every_steps": 3}
    )
    rows: list[StepReport] = []
    result = run_training(job(config, data, base, tmp_path / "out"), report=rows.append)
    assert rows[-1].loss < rows[0].loss
    assert validate(result.checkpoint).modality == "text"
    assert not (Path(result.checkpoint) / "aiopt_geometry.json").exists()


def test_rows_without_answers_are_refused(made: Path, tmp_path: Path) -> None:
    silent = dataset(tmp_path / "silent", messages=lambda number: messages("Trend?", " "))
    with pytest.raises(DataError, match=r"row 0: A row must hold a question and end with an answer"):
        prepare(job(configured(), silent, made / "tiny", tmp_path / "out"))


def test_answers_the_grammar_of_service_rejects_are_refused(made: Path, tmp_path: Path) -> None:
    data = dataset(tmp_path / "set", messages=lambda number: messages("Trend?", '{"trend": "up"}'))
    with pytest.raises(DataError, match=r"row 0: The serving grammar rejects the answer"):
        prepare(job(configured(), data, made / "tiny", tmp_path / "out"))


def test_two_processes_do_not_train_in_one_folder(made: Path, tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); "
            "print('held', flush=True); time.sleep(60)",
            str(tmp_path / ".lock"),
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(DataError, match="Another process trains in this folder"):
            run_training(job(configured(), made / "set", made / "tiny", tmp_path))
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


def test_the_identity_names_what_decides(made: Path, whole: tuple[TrainingResult, list[StepReport]]) -> None:
    document = json.loads((made / "whole" / "config.json").read_text())
    assert document["hash"] == whole[0].identity
    assert set(document) == {"hash", "config", "data", "base", "code"}
    assert document["base"] == validate(made / "tiny").revision


def test_frozen_weights_stay_for_their_stage_and_learn_in_the_next(made: Path) -> None:
    tower = r"model\.vision_tower\..*"
    first = {"name": "words", "steps": 2, "learning_rate": 2e-3, "frozen": tower}
    weights = []
    for name, stages in (
        ("cold", [first]),
        ("warm", [first, {"name": "all", "steps": 2, "learning_rate": 2e-3}]),
    ):
        config = configured(stages=stages, probe={"rows": 0})
        result = run_training(job(config, made / "set", made / "tiny", made / name))
        weights.append(dict(_parameters(result.checkpoint)))
    before = dict(_parameters(str(made / "tiny")))
    changed = {name for name, tensor in weights[0].items() if not torch.equal(tensor, before[name])}
    assert changed
    assert not [name for name in changed if name.startswith("model.vision_tower.")]
    later = {name for name, tensor in weights[1].items() if not torch.equal(tensor, before[name])}
    assert [name for name in later if name.startswith("model.vision_tower.")]
    for pattern, found in (("tower", "matches 0"), (".*", r"matches \d+")):
        wrong = configured(stages=[{**first, "frozen": pattern}])
        with pytest.raises(ConfigError, match=found):
            run_training(job(wrong, made / "set", made / "tiny", made / f"wrong {len(pattern)}"))
    with pytest.raises(ConfigError, match=r"must be a regular expression, but got '\('"):
        configured(stages=[{**first, "frozen": "("}])


def _parameters(checkpoint: str) -> Any:
    return open_base(checkpoint, configured()).load_model(torch.float32).named_parameters()
