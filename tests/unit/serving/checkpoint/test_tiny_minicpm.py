from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from aiopt.errors import InputError
from aiopt.serving.checkpoint.tiny_minicpm import TEXT_ARCHITECTURE, VISION_ARCHITECTURE, build_checkpoint
from aiopt.torchvision_ops import sitecustomize

KINDS = ("vision", "text")

LOAD_STRICTLY = """
import sys, json, torch, transformers
from transformers import AutoConfig, AutoTokenizer
folder, name = sys.argv[1:]
config = AutoConfig.from_pretrained(folder)
model, info = getattr(transformers, name).from_pretrained(folder, output_loading_info=True)
tokenizer = AutoTokenizer.from_pretrained(folder)
text = "the trend is up: ÄÖ 漢 1.08"
prompt = tokenizer.apply_chat_template([{"role": "user", "content": text}], tokenize=False)
print(json.dumps({
    "problems": sorted(sum((list(map(str, keys)) for keys in info.values()), [])),
    "round_trip": tokenizer.decode(tokenizer(text)["input_ids"]) == text,
    "prompt": prompt,
    "parameters": sum(p.numel() for p in model.parameters()),
    "finite": all(bool(torch.isfinite(p).all()) for p in model.parameters()),
}))
"""


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_weights(tmp_path: Path, kind: str) -> None:
    first = contents(build_checkpoint(tmp_path / "first", seed=3, kind=kind))
    again = contents(build_checkpoint(tmp_path / "again", seed=3, kind=kind))
    other = contents(build_checkpoint(tmp_path / "other", seed=4, kind=kind))
    assert first == again
    different = {name for name in first if first[name] != other[name]}
    assert different == {"model.safetensors"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_tensors_fill_the_file_without_gaps_and_are_finite(tmp_path: Path, kind: str) -> None:
    folder = build_checkpoint(tmp_path / "tiny", seed=0, kind=kind)
    data = (folder / "model.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__")
    end = 0
    for name, tensor in header.items():
        begin, stop = tensor["data_offsets"]
        assert begin == end, name
        assert stop - begin == 2 * int(np.prod(tensor["shape"])), name
        end = stop
    assert len(data) == 8 + length + end
    values = (np.frombuffer(data[8 + length :], dtype="<u2").astype(np.uint32) << 16).view(np.float32)
    assert np.isfinite(values).all()
    assert 0 < np.abs(values).max() < 10


def test_a_folder_in_the_way_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "note").write_text("mine")
    with pytest.raises(InputError, match=r"must not exist, but .* does"):
        build_checkpoint(tmp_path, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["note"]


@pytest.mark.skipif(find_spec("transformers") is None, reason="transformers is not installed")
@pytest.mark.parametrize(
    ("kind", "architecture"), [("vision", VISION_ARCHITECTURE), ("text", TEXT_ARCHITECTURE)]
)
@pytest.mark.slow
@pytest.mark.unmeasured
def test_transformers_finds_every_tensor_it_wants_and_no_other(
    tmp_path: Path, kind: str, architecture: str
) -> None:
    folder = build_checkpoint(tmp_path / "tiny", seed=0, kind=kind)
    done = subprocess.run(
        [sys.executable, "-c", LOAD_STRICTLY, str(folder), architecture],
        env={**os.environ, "PYTHONPATH": sitecustomize.python_path({}), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["problems"] == []
    assert found["round_trip"]
    assert found["prompt"].startswith("<|im_start|>user\nthe trend")
    assert found["finite"]
    assert 50_000 < found["parameters"] < 1_000_000
