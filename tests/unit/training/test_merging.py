"""Adapters that peft wrote, merged into their base and proved."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("torch")
if find_spec("peft") is None:
    pytest.skip("peft is not installed", allow_module_level=True)

import torch

from aiopt.errors import ConfigError
from aiopt.serving.checkpoint.sources import resolve
from aiopt.serving.checkpoint.tiny_minicpm import build_checkpoint
from aiopt.serving.checkpoint.validation import CheckpointError, validate
from aiopt.training.base import DTYPES, open_base
from aiopt.training.failures import TrainingError
from aiopt.training.libraries import load_peft
from aiopt.training.merging import merge_adapter
from aiopt.training.training_config import LANGUAGE_TARGETS, TrainingConfig
from cluster.cli.main import run

VISION = r".*vision_tower.*(fc1|q_proj)"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_checkpoint(tmp_path_factory.mktemp("made") / "tiny", seed=1)


def saved_by_peft(base: Path, folder: Path, targets: str, *, still: bool = False) -> Path:
    """An adapter as peft itself saves it, with values that are not zero."""
    peft = load_peft()
    model = open_base(str(base), TrainingConfig()).load_model(DTYPES["float32"])
    model.name_or_path = str(base)
    torch.manual_seed(4)
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=targets))
    with torch.no_grad():
        for name, tensor in adapted.named_parameters():
            if "lora_B" in name and not still:
                tensor.normal_(std=0.3)
    adapted.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("targets", [LANGUAGE_TARGETS, VISION])
def test_an_adapter_becomes_a_checkpoint_that_is_taken_where_the_adapter_is_not(
    base: Path, tmp_path: Path, targets: str
) -> None:
    adapter = saved_by_peft(base, tmp_path / "adapter", targets)
    with pytest.raises(CheckpointError, match="this is a LoRA adapter") as caught:
        resolve(str(adapter), tmp_path)
    assert ("silently ignore" in str(caught.value)) == (targets == VISION)
    notes: list[str] = []
    found = merge_adapter(adapter, str(base), tmp_path / "merged", note=notes.append)
    assert resolve(str(tmp_path / "merged"), tmp_path) == found.path
    assert validate(found.path).revision == found.revision != validate(base).revision
    assert notes[-1].startswith("Reading it back")
    assert "in what sees" in (tmp_path / "merged" / "README.md").read_text() or targets == LANGUAGE_TARGETS


@pytest.mark.measured
def test_the_command_merges_and_says_each_step(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter = saved_by_peft(base, tmp_path / "adapter", LANGUAGE_TARGETS)
    out = tmp_path / "merged"
    assert run(["model", "merge", str(adapter), "--base", str(base), "--out", str(out), "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["revision"] == validate(out).revision
    assert "Reading it back" in printed.err


def test_an_adapter_that_changes_nothing_is_refused(base: Path, tmp_path: Path) -> None:
    adapter = saved_by_peft(base, tmp_path / "adapter", LANGUAGE_TARGETS, still=True)
    with pytest.raises(TrainingError, match=r"must change what the model answers, but .* not trained"):
        merge_adapter(adapter, str(base), tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_an_adapter_of_another_base_is_refused(base: Path, tmp_path: Path) -> None:
    adapter = saved_by_peft(base, tmp_path / "adapter", LANGUAGE_TARGETS)
    text = build_checkpoint(tmp_path / "text", seed=2, kind="text")
    with pytest.raises(ConfigError, match=r"must be a linear layer of the base, but .* is none"):
        merge_adapter(adapter, str(text), tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_more_than_linear_layers_is_refused(base: Path, tmp_path: Path) -> None:
    adapter = saved_by_peft(base, tmp_path / "adapter", LANGUAGE_TARGETS)
    config = json.loads((adapter / "adapter_config.json").read_text()) | {"modules_to_save": ["lm_head"]}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=r"also holds .*lm_head.* merge_and_unload"):
        merge_adapter(adapter, str(base), tmp_path / "merged")


def test_a_text_model_is_merged_in_rounded_weights(tmp_path: Path) -> None:
    text = build_checkpoint(tmp_path / "text", seed=2, kind="text")
    adapter = saved_by_peft(text, tmp_path / "adapter", r".*mlp\.(gate|up|down)_proj")
    assert json.loads((adapter / "adapter_config.json").read_text())["base_model_name_or_path"] == str(text)
    found = merge_adapter(adapter, str(text), tmp_path / "merged", dtype="bfloat16")
    assert (found.dtype, found.modality) == ("bfloat16", "text")
