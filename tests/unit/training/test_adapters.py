"""LoRA: targets that match, a merge that changes no answer, and a checkpoint like any other."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
if find_spec("peft") is None:
    pytest.skip("peft is not installed", allow_module_level=True)

import torch

from aiopt.errors import ConfigError
from aiopt.serving.checkpoint.tiny_minicpm import build_checkpoint
from aiopt.serving.checkpoint.validation import validate
from aiopt.training.adapters import add_adapters, merged, targets_of
from aiopt.training.base import DTYPES, open_base
from aiopt.training.encoding import Encoder, collate
from aiopt.training.loss import answer_logits
from aiopt.training.records import Records
from aiopt.training.training import run_training
from aiopt.training.training_config import LANGUAGE_TARGETS, LoraConfig
from tests.unit.training.made_training import configured, dataset, job


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    build_checkpoint(folder / "tiny", seed=1)
    dataset(folder / "set", rows=8)
    return folder


def opened(made: Path) -> tuple[Any, Any]:
    base = open_base(str(made / "tiny"), configured())
    record = Records([made / "set"], "train")[0]
    batch = collate([Encoder(base, configured()).encode(record)], padding=0)
    return base.load_model(DTYPES["float32"]), batch


def test_the_default_targets_are_the_language_model_with_its_linear_attention(made: Path) -> None:
    model, _ = opened(made)
    names = targets_of(model, LANGUAGE_TARGETS)
    assert len(names) == 5 + 4 + 2 * 3
    assert all("language_model" in name for name in names)
    assert any(name.endswith("linear_attn.in_proj_qkv") for name in names)
    with pytest.raises(ConfigError, match=r"'q_proj' matches none of \d+, so nothing would be trained"):
        targets_of(model, "q_proj")


@pytest.mark.parametrize("targets", [LANGUAGE_TARGETS, r".*(vision_tower|merger).*(fc1|q_proj|linear_1)"])
def test_a_merge_changes_no_answer_and_a_trained_adapter_changes_them(made: Path, targets: str) -> None:
    model, batch = opened(made)
    model.eval()
    with torch.no_grad():
        plain, _ = answer_logits(model, batch)
    names = set(model.state_dict())
    model = add_adapters(model, LoraConfig(rank=4, targets=targets))
    trained = [name for name, tensor in model.named_parameters() if tensor.requires_grad]
    assert trained
    assert all("lora_" in name for name in trained)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "lora_B" in name:
                tensor.normal_(std=0.05)
        adapted, _ = answer_logits(model, batch)
    after = merged(model, batch)
    with torch.no_grad():
        last, _ = answer_logits(after, batch)
    assert set(after.state_dict()) == names, "plain layers under their own names"
    assert float((adapted - plain).abs().max()) > 1e-3
    assert float((adapted - last).abs().max()) < 1e-4
    assert torch.equal(adapted.argmax(-1), last.argmax(-1))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_training_by_lora_leaves_a_plain_checkpoint(
    made: Path, tmp_path: Path, checkpointing: bool
) -> None:
    config = configured(
        method="lora",
        precision="bf16",
        gradient_checkpointing=checkpointing,
        stages=[{"steps": 3, "learning_rate": 2e-2}],
        lora={"rank": 4, "dropout": 0.1},
        probe={"rows": 0},
        save_dtype="bfloat16",
    )
    rows: list[Any] = []
    result = run_training(job(config, made / "set", made / "tiny", tmp_path / "out"), report=rows.append)
    found = validate(result.checkpoint, like=validate(made / "tiny"))
    assert found.parameters == validate(made / "tiny").parameters
    assert found.dtype == "bfloat16"
    assert found.revision != validate(made / "tiny").revision
    assert result.plan.trained < 0.2 * result.plan.parameters
    assert rows[-1].loss < rows[0].loss
    state = tmp_path / "out" / "states" / "step-00000003" / "weights.safetensors"
    assert state.stat().st_size < 4 * 1.3 * result.plan.trained, "adapters alone are saved"
