"""Pictures in slices: vLLM arranges and answers them as transformers does, also of extreme shapes.

intel/llm-scaler#472: width and height mixed up killed an engine; OpenBMB/MiniCPM-V#721: odd shapes.  The
checkpoint is generated with slicing on, and its eyes are made strong, so that a picture arranged otherwise
is answered otherwise: some are asked with width and height exchanged, to show that it would be seen.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from aiopt.serving.checkpoint.geometry import read_geometry, write_geometry
from aiopt.serving.checkpoint.tiny_minicpm import build_checkpoint
from aiopt.torchvision_ops import sitecustomize
from aiopt.training.base import open_base
from aiopt.training.training_config import TrainingConfig
from tests.serving.conftest import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(find_spec("vllm") is None, reason="no vLLM here: requirements/install.sh cpu"),
]

SIZES = (
    *((1200, 800), (800, 1200), (1084, 820)),
    *((1600, 200), (200, 1600), (2400, 120), (1, 1), (1, 2000)),
)
EXCHANGED = ((200, 1600), (2400, 120), (1, 2000))
QUESTION = "Describe this chart."
TOKENS = 12
ROUNDING = 0.05
"""Of log-probabilities: engines compute in bfloat16, and where two tokens are this near, either is right."""

ENGINE = """
import base64, json, sys
from pathlib import Path
from aiopt.serving.engines.llvmlite_guard import guard_llvmlite
guard_llvmlite()
from vllm import LLM, SamplingParams
folder = Path(sys.argv[1])
llm = LLM(model=str(folder / "seeing"), dtype="bfloat16", max_model_len=4096, max_num_seqs=2, seed=0,
          enforce_eager=True, disable_log_stats=True, limit_mm_per_prompt={"image": 1, "video": 0})
found = []
for path in json.loads(sys.argv[2]):
    data = base64.b64encode(Path(path).read_bytes()).decode()
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + data}}
    messages = [{"role": "user", "content": [picture, {"type": "text", "text": sys.argv[3]}]}]
    (said,) = llm.chat(messages, SamplingParams(temperature=0, max_tokens=int(sys.argv[4])), use_tqdm=False)
    found.append([list(said.prompt_token_ids), list(said.outputs[0].token_ids)])
(folder / "said.json").write_text(json.dumps(found))
"""


def picture(width: int, height: int) -> Image.Image:
    """Coloured blocks, nine by nine, of which no two rows or columns are alike."""
    blocks = np.random.default_rng(7 * width + height).integers(0, 256, (9, 9, 3), np.uint8)
    return Image.fromarray(blocks).resize((width, height), Image.Resampling.NEAREST)


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that shows pictures in up to nine slices, with strong eyes."""
    folder = build_checkpoint(tmp_path_factory.mktemp("sliced") / "seeing", seed=5)
    geometry = read_geometry(folder)
    write_geometry(
        folder, msgspec.structs.replace(geometry, slice_mode=True, max_slice_nums=9, scale_resolution=448)
    )
    tensors = load_file(folder / "model.safetensors")
    for name, tensor in tensors.items():
        if name.startswith("model.merger.mlp") and name.endswith("linear_2.weight"):
            tensors[name] = tensor * 50
        if "position_embedding" in name:
            tensors[name] = tensor * 10
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def said(seeing: Path) -> list[tuple[list[int], list[int]]]:
    """Prompt and answer of real vLLM to each picture, as tokens."""
    paths = []
    for size in SIZES:
        path = seeing.parent / f"{size[0]}x{size[1]}.png"
        picture(*size).save(path)
        paths.append(str(path))
    environment = {
        **os.environ,
        "PYTHONPATH": sitecustomize.python_path({"PYTHONPATH": str(ROOT)}),
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", ENGINE, str(seeing.parent), json.dumps(paths), QUESTION, str(TOKENS)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [(prompt, answer) for prompt, answer in json.loads((seeing.parent / "said.json").read_text())]


def inputs_of(processor: Any, size: tuple[int, int]) -> dict[str, Any]:
    content = [{"type": "image"}, {"type": "text", "text": QUESTION}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    stream = io.BytesIO()
    picture(*size).save(stream, "PNG")
    found = processor(images=[Image.open(stream).convert("RGB")], text=[text], return_tensors="pt")
    return {name: found[name] for name in ("input_ids", "pixel_values", "target_sizes")}


def behind(model: Any, inputs: dict[str, Any], answer: list[int]) -> float:
    """Return how far the worst token of an answer is behind the likeliest one there, in float32."""
    ids = torch.cat([inputs["input_ids"], torch.tensor([answer])], 1)
    with torch.no_grad():
        given = {**inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
        logits = model(**given, use_cache=False).logits[0, -len(answer) - 1 : -1]
    shares = torch.log_softmax(logits.float(), -1)
    chosen = shares.gather(1, torch.tensor(answer)[:, None])[:, 0]
    return float((shares.max(-1).values - chosen).max())


def test_slices_are_arranged_and_answered_as_transformers_does(
    seeing: Path, said: list[tuple[list[int], list[int]]]
) -> None:
    base = open_base(str(seeing), TrainingConfig())
    model = base.load_model(torch.float32).eval()
    exchanged = {}
    for size, (prompt, answer) in zip(SIZES, said, strict=True):
        inputs = inputs_of(base.processor, size)
        assert prompt == inputs["input_ids"][0].tolist(), f"{size}: vLLM arranges the slices otherwise"
        assert len(answer) == TOKENS
        worst = behind(model, inputs, answer)
        assert worst < ROUNDING, f"{size}: vLLM's answer is {worst:.3f} behind transformers'"
        if size in EXCHANGED:
            mixed_up = {**inputs, "target_sizes": inputs["target_sizes"].flip(-1)}
            exchanged[size] = behind(model, mixed_up, answer)
    assert len({tuple(answer) for _, answer in said}) > len(SIZES) // 2, (
        "the answers do not depend on the picture"
    )
    seen = [worse for worse in exchanged.values() if worse > ROUNDING]
    assert len(seen) > 1, f"width and height exchanged would not be seen: {exchanged}"
