"""`aiopt model compare` over two real checkpoints: one that learnt the question, and its base."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from aiopt.dataset.tasks import GeneratorSource, PictureConfig, ShareConfig, TaskSetConfig, build_tasks
from aiopt.serving.checkpoint.tiny_minicpm import build_checkpoint
from aiopt.serving.endpoint import Endpoint, write_endpoint
from aiopt.training.training import run_training
from cluster.cli.main import run
from tests.unit.serving.conftest import ADMIN
from tests.unit.serving.live import live_gateway
from tests.unit.training.made_training import configured, job

pytestmark = pytest.mark.measured

SMALL = PictureConfig(width=480, height=320)


def tasks(folder: Path, seed: int) -> Path:
    config = TaskSetConfig(
        sources=(GeneratorSource(name="processes", charts=30),),
        tasks=("trend",),
        seed=seed,
        pictures=SMALL,
        shares=ShareConfig(train=0.4, validation=0.1, test=0.5),
    )
    build_tasks(config, folder)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("compared")
    build_checkpoint(folder / "tiny", seed=1)
    for name, seed in (("old", 1), ("new", 2)):
        tasks(folder / name, seed)
    config = configured(
        stages=[{"steps": 40, "learning_rate": 3e-3}], probe={"rows": 0}, image={"scale_resolution": 112}
    )
    run_training(job(config, folder / "old", folder / "tiny", folder / "first"))
    yield folder
    torch.set_num_threads(threads)


def test_two_checkpoints_are_compared_and_the_better_one_is_swapped_in(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIOPT_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("AIOPT_SERVE_ADMIN_TOKEN", ADMIN)
    rule = tmp_path / "rule.yaml"
    rule.write_text("least_questions: 5\ncontrols: 1\nmost_looks: 5\n")
    words = ["model", "compare", str(made / "tiny"), str(made / "first"), "--data", str(made / "new")]
    words += ["--rule", str(rule)]
    with live_gateway() as live:
        write_endpoint(tmp_path, Endpoint(url=live.url, profile="test", started_cluster=False))
        assert run([*words, "--out", str(tmp_path / "out"), "--swap-if-better"]) == 0
        asked = [(one.kind, one.checkpoint) for one in live.backend.operations.values()]
    printed = capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert found["look"] == 1
    assert found["second"]["trained_on"] == ["old"]
    assert found["compared"]["all"]["questions"] == 15
    # The base says nothing of the answers' form; some steps teach that, and the most frequent answer.
    assert found["compared"]["all"]["second"] == 0
    assert found["compared"]["all"]["first"] > 0
    if found["decision"]["promote"] == "yes":
        assert asked == [("swap", str(tmp_path / "out" / "proposal.json"))]
        assert "swap done: Done." in printed
    else:
        assert asked == []
        assert f"aiopt model swap {tmp_path / 'out' / 'proposal.json'}" in printed
    assert f"promote: {found['decision']['promote']}" in printed


def test_charts_of_the_training_are_refused(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIOPT_STATE_DIR", str(tmp_path))
    # The training's own set under another name, its splits exchanged: only the charts' prices tell.
    leak = shutil.copytree(made / "old", tmp_path / "leak")
    document = json.loads((leak / "dataset.json").read_text())
    exchanged = {"train": "test", "test": "train"}
    for file in document["files"]:
        file["split"] = exchanged.get(file["split"], file["split"])
    (leak / "dataset.json").write_text(json.dumps(document))
    words = ["model", "compare", str(made / "tiny"), str(made / "first"), "--data", str(tmp_path / "leak")]
    assert run([*words, "--out", str(tmp_path / "out")]) == 2
    assert "No reader may be judged on charts it was trained on" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
