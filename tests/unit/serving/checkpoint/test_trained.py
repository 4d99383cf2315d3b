"""Trainings, proposals and adapters where a model is named.  `tests/unit/training` has real trainings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import pytest

from aiopt.serving.checkpoint.adapter_folder import read_adapter
from aiopt.serving.checkpoint.geometry import read_geometry, write_geometry
from aiopt.serving.checkpoint.sources import resolve
from aiopt.serving.checkpoint.tiny_minicpm import build_checkpoint
from aiopt.serving.checkpoint.trained import Proposal, write_proposal
from aiopt.serving.checkpoint.validation import CheckpointError, validate


def made_training(folder: Path, *, seed: int = 1) -> Path:
    """A folder laid out as a finished training leaves it; `tests/unit/training` holds the real one to it."""
    checkpoint = build_checkpoint(folder / "checkpoint", seed=seed)
    write_geometry(checkpoint, read_geometry(checkpoint))
    (folder / "states").mkdir()
    (folder / "config.json").write_text('{"hash": "ab", "config": {}, "data": [], "base": "", "code": {}}')
    result = {"identity": "ab", "revision": validate(checkpoint).revision, "step": 4, "steps_done": 8}
    (folder / "result.json").write_text(json.dumps(result | {"plan": {}, "look": None}))
    return folder


@pytest.fixture
def training(tmp_path: Path) -> Path:
    return made_training(tmp_path / "first")


def test_a_training_stands_for_its_checkpoint_and_names_it(training: Path, tmp_path: Path) -> None:
    found = resolve(str(training), tmp_path)
    assert found == str(training / "checkpoint")
    assert validate(found).model_id == "first"
    moved = training.rename(tmp_path / "second")
    assert validate(resolve(str(moved), tmp_path)).model_id == "second"


def test_a_training_that_is_not_finished_is_refused(training: Path, tmp_path: Path) -> None:
    (training / "result.json").unlink()
    with pytest.raises(CheckpointError, match=r"must be finished to be used, .* Run the same `aiopt"):
        resolve(str(training), tmp_path)


def test_a_result_that_cannot_be_read_is_refused(training: Path, tmp_path: Path) -> None:
    (training / "result.json").write_text('{"identity": "ab"')
    with pytest.raises(CheckpointError, match=r"result of a training must be readable, .* Delete the file"):
        resolve(str(training), tmp_path)


def test_weights_that_changed_by_a_bit_are_refused(training: Path, tmp_path: Path) -> None:
    path = training / "checkpoint" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        CheckpointError, match=r"must be the one the training wrote, revision \w{12}, but its files"
    ):
        resolve(str(training), tmp_path)


def test_a_checkpoint_without_its_geometry_is_refused(training: Path, tmp_path: Path) -> None:
    (training / "checkpoint" / "aiopt_geometry.json").unlink()
    with pytest.raises(
        CheckpointError, match=r"must say how it sees them, but aiopt_geometry\.json is not there"
    ):
        resolve(str(training), tmp_path)


def test_a_training_without_its_checkpoint_is_refused(training: Path, tmp_path: Path) -> None:
    shutil.rmtree(training / "checkpoint")
    with pytest.raises(CheckpointError, match=r"must hold its checkpoint, but .* does not exist"):
        resolve(str(training), tmp_path)


def proposal_of(training: Path) -> Proposal:
    return Proposal(
        checkpoint=str(training),
        revision=validate(training / "checkpoint").revision,
        instead_of="0" * 64,
        promote="yes",
        reasons=("better",),
        report="comparison.html",
    )


def test_a_proposal_stands_for_what_it_proposes(training: Path, tmp_path: Path) -> None:
    path = tmp_path / "proposal.json"
    write_proposal(path, proposal_of(training))
    assert resolve(str(path), tmp_path) == str(training / "checkpoint")
    write_proposal(path, msgspec.structs.replace(proposal_of(training), revision="f" * 64))
    with pytest.raises(
        CheckpointError, match=r"must be what was compared, revision f{12}, but .* Compare again"
    ):
        resolve(str(path), tmp_path)
    path.write_text('{"kind": "another"}')
    with pytest.raises(CheckpointError, match="this file is none"):
        resolve(str(path), tmp_path)


def made_adapter(folder: Path, layer: str) -> Path:
    """An adapter as peft saves it, of one layer."""
    folder.mkdir()
    config = {"peft_type": "LORA", "base_model_name_or_path": "openbmb/MiniCPM-V-4.6", "r": 2}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    name = f"base_model.model.{layer}"
    tensor = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    header = {f"{name}.lora_A.weight": tensor, f"{name}.lora_B.weight": tensor | {"data_offsets": [4, 8]}}
    text = json.dumps(header).encode()
    data = len(text).to_bytes(8, "little") + text + bytes(8)
    (folder / "adapter_model.safetensors").write_bytes(data)
    return folder


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        ("model.language_model.layers.0.mlp.up_proj", "an adapter is not one"),
        ("model.vision_tower.encoder.layers.0.mlp.fc1", "1 layers that see, e.g. .* silently ignore"),
        ("model.merger.mlp.0.linear_1", "1 layers that see"),
    ],
)
def test_an_adapter_is_refused_with_the_command_that_merges_it(
    tmp_path: Path, layer: str, reason: str
) -> None:
    folder = made_adapter(tmp_path / "adapter", layer)
    with pytest.raises(CheckpointError, match=reason) as caught:
        resolve(str(folder), tmp_path)
    assert f"aiopt model merge {folder} --base openbmb/MiniCPM-V-4.6 --out" in str(caught.value)


def test_an_adapter_that_is_not_lora_or_not_whole_is_refused(tmp_path: Path) -> None:
    folder = made_adapter(tmp_path / "adapter", "model.language_model.layers.0.mlp.up_proj")
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"must hold adapter_model\.safetensors"):
        resolve(str(folder), tmp_path)
    (folder / "adapter_config.json").write_text('{"peft_type": "PREFIX_TUNING"}')
    with pytest.raises(CheckpointError, match=r"must be a folder with adapter_config\.json"):
        read_adapter(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"must be a LoRA one of peft, but .*'PREFIX_TUNING'"):
        resolve(str(folder), tmp_path)
