"""Records to inputs, and the loss of the answer alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from aiopt.errors import ConfigError, DataError
from aiopt.serving.checkpoint.tiny_minicpm import build_checkpoint
from aiopt.training.augmentation import augmented
from aiopt.training.base import DTYPES, TRAINABLE, open_base
from aiopt.training.encoding import IGNORED, Encoder, collate
from aiopt.training.failures import TrainingError
from aiopt.training.loss import check_answer_logits, loss_sum
from aiopt.training.memory_plan import Workload, check_memory, model_sizes, plan_memory
from aiopt.training.records import Record, Records
from aiopt.training.training_config import AugmentConfig
from tests.unit.training.made_training import configured, dataset, messages, picture


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    build_checkpoint(folder / "tiny", seed=1)
    dataset(folder / "set", rows=8)
    return folder


@pytest.fixture(scope="module")
def records(made: Path) -> Records:
    return Records([made / "set"], "train")


def encoder(made: Path, **changes: Any) -> Encoder:
    config = configured(**changes)
    return Encoder(open_base(str(made / "tiny"), config), config)


def test_the_answer_and_its_end_are_trained_on_and_nothing_else(made: Path, records: Records) -> None:
    config = configured()
    base = open_base(str(made / "tiny"), config)
    encoded = Encoder(base, config).encode(records[0])
    said = encoded.labels[encoded.labels != IGNORED]
    assert base.tokenizer.decode(said) == '{"trend":"up"}<|im_end|>'
    assert encoded.answer_tokens == said.numel()
    assert torch.equal(encoded.tokens[-said.numel() :], said)
    # 56² pixels are 16 patches, merged twice by four.
    assert encoded.pixels.shape == (3, 14, 16 * 14)
    assert int((encoded.tokens == base.tokenizer.image_token_id).sum()) == 1
    prompt = Encoder(base, config).prompt_inputs(records[0])
    assert base.tokenizer.decode(prompt["input_ids"][0]).endswith("<|im_start|>assistant\n")


def test_the_geometry_is_that_of_the_configuration_everywhere(made: Path) -> None:
    large = Record("row 0", "row", messages("Trend?", "up"), picture(True, 0, (300, 200)))
    plain = encoder(made, image={"scale_resolution": 112}).encode(large)
    sliced = encoder(made, image={"scale_resolution": 112, "slice_mode": True, "max_slice_nums": 9}).encode(
        large
    )
    assert len(plain.sizes) == 1
    assert len(sliced.sizes) == 7
    for encoded in (plain, sliced):
        features = int((encoded.sizes.prod(-1) // 16).sum())
        pad = open_base(str(made / "tiny"), configured()).tokenizer.image_token_id
        assert int((encoded.tokens == pad).sum()) == features


def test_a_batch_gives_every_record_the_loss_it_has_alone(made: Path, records: Records) -> None:
    encode = encoder(made)
    model = open_base(str(made / "tiny"), configured()).load_model(DTYPES["float32"])
    parts = [encode.encode(records[number]) for number in range(3)]
    with torch.no_grad():
        alone = [float(loss_sum(model, collate([part], padding=0), everywhere=False)) for part in parts]
        together = float(loss_sum(model, collate(parts, padding=0), everywhere=False))
    assert together == pytest.approx(sum(alone), rel=1e-5)


@pytest.mark.parametrize("kind", ["vision", "text"])
def test_answer_only_logits_have_the_gradients_of_all_logits(
    made: Path, records: Records, tmp_path: Path, kind: str
) -> None:
    folder = made / "tiny" if kind == "vision" else build_checkpoint(tmp_path / "text", seed=1, kind="text")
    config = configured(image={} if kind == "text" else {"scale_resolution": 56})
    base = open_base(str(folder), config)
    encode = Encoder(base, config)
    batch = collate([encode.encode(records[0]), encode.encode(records[1])], padding=0)
    found = []
    for everywhere in (False, True):
        model = base.load_model(DTYPES["float32"])
        loss_sum(model, batch, everywhere=everywhere).backward()
        found.append([parameter.grad for parameter in model.parameters() if parameter.grad is not None])
    check_answer_logits(model, batch)
    assert len(found[0]) == len(found[1]) > 20
    largest = max(float(gradient.abs().max()) for gradient in found[1])
    for short, full in zip(*found, strict=True):
        assert float((short - full).abs().max()) < 1e-6 * max(largest, 1.0)


def test_an_architecture_with_another_head_is_found_out(made: Path, records: Records) -> None:
    model = open_base(str(made / "tiny"), configured()).load_model(DTYPES["float32"])
    model.config.logits_scaling = 2.0
    batch = collate([encoder(made).encode(records[0])], padding=0)
    with pytest.raises(TrainingError, match="Set answer_logits: false"):
        check_answer_logits(model, batch)


def test_templates_and_tokenizers_of_another_family_are_refused(
    made: Path, records: Records, tmp_path: Path
) -> None:
    def changed(name: str, old: str, new: str) -> Encoder:
        folder = build_checkpoint(tmp_path / name, seed=1)
        path = folder / "chat_template.jinja"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        return Encoder(open_base(str(folder), configured()), configured())

    thinking = changed(
        "thinking", "<|im_start|>assistant\n{% endif", "<|im_start|>assistant\n<think>\n{% endif"
    )
    with pytest.raises(
        ConfigError, match=r"must render a question as the beginning .* enable_thinking: false"
    ):
        thinking.encode(records[0])
    endless = changed("endless", "<|im_end|>", "</s>")
    with pytest.raises(
        ConfigError, match=r"must end with a token at which engines stop .* different families"
    ):
        endless.encode(records[0])


def test_records_that_are_too_long_or_show_no_picture_are_named(made: Path, records: Records) -> None:
    with pytest.raises(
        DataError, match=r"row 0: a record may have max_tokens=9 tokens, but this one has \d+"
    ):
        encoder(made, max_tokens=9).encode(records[0])
    broken = Record("row 7", "row", messages("Trend?", "up"), picture(True, 0)[:60])
    with pytest.raises(DataError, match="row 7: the picture cannot be read"):
        encoder(made).encode(broken)


def test_what_cannot_be_trained_is_refused(made: Path, tmp_path: Path) -> None:
    assert "MiniCPMV" not in TRAINABLE
    folder = build_checkpoint(tmp_path / "code", seed=1)
    path = folder / "config.json"
    text = path.read_text().replace(
        '"architectures": [', '"auto_map": {"AutoConfig": "c.C"}, "architectures": ['
    )
    path.write_text(text.replace("MiniCPMV4_6ForConditionalGeneration", "MiniCPMV"))
    (folder / "c.py").write_text("")
    with pytest.raises(Exception, match=r"vision tensors|code of its own"):
        open_base(str(folder), configured(trust_remote_code=True))


def test_augmentation_is_a_function_of_its_key_and_keeps_hues() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    image[:, :, 1] = 160
    same = augmented(image, AugmentConfig(noise=9.0, contrast=0.2), (1, 2, 3))
    assert (same == augmented(image, AugmentConfig(noise=9.0, contrast=0.2), (1, 2, 3))).all()
    assert (same != augmented(image, AugmentConfig(noise=9.0, contrast=0.2), (1, 2, 4))).any()
    inverted = augmented(image, AugmentConfig(invert=1.0), (0,))
    assert inverted[0, 0].tolist() == [95, 255, 95], "dark green becomes light green"
    assert (
        augmented(np.full((1, 1, 3), 250, np.uint8), AugmentConfig(invert=1.0), (0,))[0, 0].tolist()
        == [5] * 3
    )
    assert (augmented(image, AugmentConfig(), (0,)) == image).all()


def test_augmented_records_are_not_kept(made: Path, records: Records) -> None:
    encode = encoder(made, augment={"noise": 20})
    first, second = (encode.encode(records[0], key=(1, step)) for step in (0, 1))
    assert not torch.equal(first.pixels, second.pixels)
    assert torch.equal(encode.encode(records[0]).pixels, encode.encode(records[0]).pixels)


def test_the_memory_plan_is_near_what_autograd_keeps(made: Path, records: Records) -> None:
    config = configured(micro_batch=1)
    encode = encoder(made, image={"scale_resolution": 168}, max_tokens=4000)
    long = Record("row 0", "row", messages("Why? " * 200, "up"), records[0].png)
    encoded = encode.encode(long)
    model = open_base(str(made / "tiny"), config).load_model(DTYPES["float32"])
    kept: dict[int, int] = {}
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    def pack(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = loss_sum(model, collate([encoded], padding=0), everywhere=False)
    measured = sum(kept.values())
    load = Workload(
        tokens=encoded.tokens.numel(),
        answer_tokens=encoded.answer_tokens,
        patches=int(encoded.sizes.prod(-1).sum()),
    )
    plan = plan_memory(model_sizes(made / "tiny"), config, load)
    assert float(loss.detach()) > 0
    assert 0.5 < (plan.activations + plan.logits) / measured < 2.0


def test_what_does_not_fit_is_told_what_would(made: Path) -> None:
    sizes = model_sizes(made / "tiny")
    load = Workload(tokens=100_000, answer_tokens=100, patches=0)
    config = configured(micro_batch=4)
    needed = plan_memory(sizes, config, load).total
    assert check_memory(sizes, config, load, 2 * needed).trained == sizes.parameters
    with pytest.raises(ConfigError, match=r"does not fit; these settings would: precision: bf16 \("):
        check_memory(sizes, config, load, int(needed * 0.95))
    with pytest.raises(ConfigError, match=r"bf16, gradient_checkpointing: true, micro_batch: \d \("):
        check_memory(sizes, config, load, int(0.3 * needed))
