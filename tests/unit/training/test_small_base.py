"""A small base, pictures in memory and joined windows: the same results, sooner."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from aiopt.errors import ConfigError, InputError
from aiopt.serving.checkpoint.tiny_minicpm import build_checkpoint
from aiopt.training.base import open_base
from aiopt.training.encoding import Encoder, collate
from aiopt.training.equal_windows import join_equal_windows
from aiopt.training.loss import loss_sum
from aiopt.training.picture_memory import PictureMemory
from aiopt.training.records import Records
from aiopt.training.small_base import SmallSize, build_small_base
from tests.unit.training.made_training import configured, dataset

TEXTS = ("Which side does this chart favour: long, short or neutral?", '{"bias": "long"}')


def test_equal_seeds_sizes_and_words_give_equal_bytes_and_a_larger_size_more_values(tmp_path: Path) -> None:
    size = SmallSize(vision_hidden=96, vision_layers=3, text_hidden=128, text_layers=4)
    folders = [
        build_small_base(tmp_path / name, seed=seed, size=wide, texts=TEXTS)
        for name, seed, wide in (("a", 1, size), ("b", 1, size), ("c", 2, size), ("d", 1, SmallSize()))
    ]
    weights = [(folder / "model.safetensors").read_bytes() for folder in folders]
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]
    assert (folders[0] / "tokenizer.json").read_bytes() == (folders[1] / "tokenizer.json").read_bytes()
    counts = [open_base(str(folder), configured()).checkpoint.parameters for folder in folders]
    assert counts[0] > 2 * counts[3]
    with pytest.raises(InputError, match="must not exist"):
        build_small_base(folders[0], seed=1, size=size, texts=TEXTS)


def test_sizes_that_no_engine_was_tried_with_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"`vision_hidden` must be a multiple of 32 .*but got 100"):
        SmallSize(vision_hidden=100)
    with pytest.raises(ConfigError, match=r"`2 <= text_layers <= 64` must hold, but got 1"):
        SmallSize(text_layers=1)


def test_windows_joined_give_the_loss_and_gradients_of_windows_one_by_one(tmp_path: Path) -> None:
    build_checkpoint(tmp_path / "tiny", seed=1)
    dataset(tmp_path / "set", rows=4)
    config = configured(image={"scale_resolution": 112, "adapt": True})
    base = open_base(str(tmp_path / "tiny"), config)
    records, encoder = Records([tmp_path / "set"], "train"), Encoder(base, config)
    batch = collate([encoder.encode(records[number]) for number in range(3)], padding=0)
    losses, gradients = [], []
    for joined in (False, True):
        model = base.load_model(torch.float32)
        if joined:
            assert join_equal_windows(model) == 3
        loss = loss_sum(model, batch, everywhere=False)
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(float(loss.detach()))
        gradients.append(model.model.vision_tower.vit_merger.self_attn.q_proj.weight.grad)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert torch.allclose(gradients[0], gradients[1], rtol=1e-3, atol=1e-5 * float(gradients[0].abs().max()))


def test_windows_of_different_lengths_are_left_to_transformers(tmp_path: Path) -> None:
    build_checkpoint(tmp_path / "tiny", seed=1)
    model = open_base(str(tmp_path / "tiny"), configured()).load_model(torch.float32)
    layer = model.model.vision_tower.encoder.layers[0].self_attn
    hidden = torch.randn(1, 10, 64, generator=torch.Generator().manual_seed(1))
    borders = torch.tensor([0, 4, 10], dtype=torch.int32)
    with torch.no_grad():
        before = layer(hidden, borders, 6)[0]
        join_equal_windows(model)
        assert torch.equal(layer(hidden, borders, 6)[0], before)


def test_pictures_come_back_bit_for_bit_and_the_least_used_goes_first() -> None:
    asked = []

    def see(level: int) -> tuple[torch.Tensor, torch.Tensor]:
        asked.append(level)
        steps = (torch.arange(256).repeat(4)[:1000] + level) % 256
        return (steps.float() / 255 - 0.5) / 0.5, torch.tensor([[1, 2]])

    memory = PictureMemory(2_500)
    for level in (1, 2, 1, 3, 1, 2):
        pixels, sizes = memory.of(bytes([level]), lambda level=level: see(level))
        assert torch.equal(pixels, see(level)[0])
        asked.pop()
        assert sizes.tolist() == [[1, 2]]
    # A byte per value: two fit.  The third sent away the second, which was used before the first.
    assert asked == [1, 2, 3, 2]
    assert memory.nbytes == 2_000


def test_pictures_of_more_than_256_values_are_kept_as_they_are() -> None:
    memory = PictureMemory(10**6)
    pixels = torch.linspace(-1, 1, 1000)
    for _ in range(2):
        found, _ = memory.of(b"x", lambda: (pixels, torch.tensor([[1, 1]])))
        assert torch.equal(found, pixels)
    assert memory.nbytes == 4_000
