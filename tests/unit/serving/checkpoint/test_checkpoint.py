"""Each way a checkpoint can be unusable is refused with the rule, the value and the remedy."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiopt.serving.checkpoint.architectures import ARCHITECTURES
from aiopt.serving.checkpoint.validation import Checkpoint, CheckpointError, locate, validate
from aiopt.serving.checkpoint.weights import read_header
from tests.unit.serving.checkpoint.checkpoint_folders import (
    HIDDEN,
    ROWS,
    VISION,
    edit_json,
    header_and_data,
    split_in_shards,
    text_shapes,
    vision_shapes,
    write_checkpoint,
    write_json,
    write_safetensors,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "tiny-v")


@pytest.fixture
def check(tmp_path: Path) -> Callable[..., Checkpoint]:
    def run(source: Path | str, **options: Any) -> Checkpoint:
        options.setdefault("hub_cache", tmp_path / "hub")
        return validate(source, hash_cache=tmp_path / "hashes.json", **options)

    return run


def weights(folder: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    write_safetensors(folder / "model.safetensors", *header_and_data(shapes))


def without(shapes: dict[str, tuple[int, ...]], ending: str) -> dict[str, tuple[int, ...]]:
    kept = {name: shape for name, shape in shapes.items() if not name.endswith(ending)}
    assert len(kept) < len(shapes)
    return kept


def test_a_vision_checkpoint_is_described(folder: Path, check: Callable[..., Checkpoint]) -> None:
    found = check(folder)
    values = sum(
        shape[0] * (shape[1] if len(shape) == 2 else 1) for shape in map(tuple, vision_shapes().values())
    )
    assert found.model_id == "tiny-v"
    assert found.path == str(folder.resolve())
    assert found.architecture == VISION
    assert found.images
    assert found.max_context_tokens == 512
    assert (found.parameters, found.parameter_bytes) == (values, 2 * values)
    assert (found.dtype, found.vocabulary, found.remote_code) == ("bfloat16", ROWS, False)
    assert re.fullmatch("[0-9a-f]{64}", found.revision)


def test_a_text_checkpoint_and_the_dtype_of_its_tensors(
    tmp_path: Path, check: Callable[..., Checkpoint]
) -> None:
    found = check(write_checkpoint(tmp_path / "t", images=False))
    assert (found.modality, found.images, found.dtype) == ("text", False, "bfloat16")


def test_shards_with_an_index_hold_the_same_parameters(
    folder: Path, check: Callable[..., Checkpoint]
) -> None:
    whole = check(folder)
    split_in_shards(folder)
    assert check(folder).parameters == whole.parameters


Break = Callable[[Path], object]
SHARD = "model-00002-of-00002.safetensors"


def edit_index(folder: Path, change: Callable[[dict[str, str]], object]) -> None:
    split_in_shards(folder)
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    change(index["weight_map"])
    write_json(path, index)


def move_tensor(folder: Path, offsets: tuple[int, int]) -> None:
    header, data = header_and_data({"a": (4,), "b": (4,), "c": (4,)})
    header["b"]["data_offsets"] = list(offsets)
    write_safetensors(folder / "model.safetensors", header, data)


def tokenizer(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "tokenizer.json"
    value = json.loads(path.read_text())
    change(value)
    write_json(path, value)


def truncate(path: Path, by: int) -> None:
    path.write_bytes(path.read_bytes()[:-by])


BROKEN: dict[str, tuple[Break, str]] = {
    "no config": (lambda f: (f / "config.json").unlink(), "must hold config.json"),
    "config not JSON": (lambda f: (f / "config.json").write_text("{"), "must be JSON"),
    "config a list": (lambda f: (f / "config.json").write_text("[1]"), "JSON object, but holds a list"),
    "config nested deep": (lambda f: (f / "config.json").write_text("[" * 100_000), "must be JSON"),
    "config in Latin-1": (lambda f: (f / "config.json").write_bytes(b'{"a": "\xe4"}'), "must be JSON"),
    "no architecture": (
        lambda f: edit_json(f / "config.json", architectures=None),
        "one architecture, but says architectures=None",
    ),
    "other architecture": (
        lambda f: edit_json(f / "config.json", architectures=["LlamaForCausalLM"]),
        r"served here, but is 'LlamaForCausalLM'\. Known: MiniCPMV4_6",
    ),
    "no text config": (lambda f: edit_json(f / "config.json", text_config=None), "must hold text_config"),
    "no context": (
        lambda f: edit_json(
            f / "config.json",
            text_config={"vocab_size": ROWS, "hidden_size": HIDDEN, "num_hidden_layers": 2},
        ),
        "max_position_embeddings in config.json must be a positive whole number, but is None",
    ),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), r"as \*\.safetensors, but none"),
    "pickled weights": (
        lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
        r"only pickled files are here \(pytorch_model\.bin\).*safe_serialization",
    ),
    "truncated weights": (
        lambda f: truncate(f / "model.safetensors", 7),
        r"must have the [\d,]+ bytes its header describes, but has [\d,]+: it is truncated",
    ),
    "weights cut inside the header": (
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:60]),
        "truncated",
    ),
    "empty weights": (
        lambda f: (f / "model.safetensors").write_bytes(b""),
        "starts with its header's length",
    ),
    "weights are a zip": (
        lambda f: (f / "model.safetensors").write_bytes(b"PK\x03\x04" + b"x" * 100),
        "starts with its header's length",
    ),
    "bytes after the last tensor": (
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes() + b"xx"),
        "2 bytes follow it",
    ),
    "overlapping tensors": (lambda f: move_tensor(f, (4, 12)), "'b' at byte 4 overlaps 'a', which ends at 8"),
    "gap between tensors": (lambda f: move_tensor(f, (10, 18)), "'b' at byte 10 leaves a gap after"),
    "offsets of the wrong length": (
        lambda f: move_tensor(f, (8, 14)),
        "needs 8 bytes, but its offsets are 8 to 14",
    ),
    "shard absent": (
        lambda f: split_in_shards(f)[1].unlink(),
        rf"names must exist, but {SHARD} does not",
    ),
    "index leads out of the folder": (
        lambda f: edit_index(f, lambda m: m.update({"x": "../secret.safetensors"})),
        r"only files beside it, but names '\.\./secret\.safetensors'",
    ),
    "index names a tensor its shard lacks": (
        lambda f: edit_index(f, lambda m: m.update({"x": SHARD})),
        f"places tensor 'x' in {SHARD}, but that file does not hold it",
    ),
    "index not JSON": (
        lambda f: (split_in_shards(f), (f / "model.safetensors.index.json").write_text("{}")),
        "must map each tensor to its shard",
    ),
    "tensor in two files": (
        lambda f: write_safetensors(
            f / "more.safetensors", *header_and_data({"model.language_model.norm.weight": (2,)})
        ),
        r"in one shard, but '[\w.]+\.norm\.weight' lies in model\.safetensors and more\.safetensors",
    ),
    "no vision tensors": (
        lambda f: weights(f, text_shapes("model.language_model.")),
        "must hold vision tensors",
    ),
    "no embedding": (
        lambda f: weights(f, without(vision_shapes(), "embed_tokens.weight")),
        "must hold embed_tokens",
    ),
    "no final norm": (lambda f: weights(f, without(vision_shapes(), ".norm.weight")), r"final norm\.weight"),
    "layer absent": (
        lambda f: weights(
            f, {n: s for n, s in vision_shapes().items() if "language_model.layers.1." not in n}
        ),
        "every layer from 0 to 1, as config.json says, but layer 1 has no tensors",
    ),
    "layer too many": (
        lambda f: weights(f, {**vision_shapes(), "model.language_model.layers.2.mlp.up_proj.weight": (1,)}),
        "but there is a layer 2",
    ),
    "tensor of a layer absent": (
        lambda f: weights(f, without(vision_shapes(), "language_model.layers.1.self_attn.o_proj.weight")),
        r"layer 1 lacks 'self_attn\.o_proj\.weight'",
    ),
    "tensor of a vision layer absent": (
        lambda f: weights(f, without(vision_shapes(), "vision_tower.encoder.layers.0.mlp.fc2.weight")),
        r"vision layer 0 lacks 'mlp\.fc2\.weight'",
    ),
    "head absent": (
        lambda f: edit_json(f / "config.json", tie_word_embeddings=False),
        "must hold lm_head.weight",
    ),
    "embedding of another vocabulary": (
        lambda f: weights(
            f, {**vision_shapes(), "model.language_model.embed_tokens.weight": (ROWS + 8, HIDDEN)}
        ),
        r"\[vocab_size, hidden_size\] = \[40, 8\] of config.json, but has \[48, 8\]",
    ),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "must hold its tokenizer"),
    "no tokenizer settings": (lambda f: (f / "tokenizer_config.json").unlink(), "must hold tokenizer_config"),
    "tokenizer of another model": (
        lambda f: tokenizer(f, lambda t: t["added_tokens"].append({"id": 500, "content": "<far>"})),
        "below the 40 rows of the embedding, but the tokenizer gives '<far>' the id 500",
    ),
    "tokenizer without a vocabulary": (
        lambda f: tokenizer(f, lambda t: t.pop("model")),
        "must hold model.vocab",
    ),
    "image token under another id": (
        lambda f: edit_json(f / "config.json", image_token_id=5),
        "'<img>' must have the id 5 of config.json",
    ),
    "image token not named": (
        lambda f: edit_json(f / "tokenizer_config.json", image_token=None),
        "must name image_token",
    ),
    "image start token unknown": (
        lambda f: tokenizer(f, lambda t: t["added_tokens"].pop(1)),
        "must know image_start_token '<image>'",
    ),
    "special id beyond the embedding": (
        lambda f: edit_json(f / "config.json", eos_token_id=[1, 99]),
        "eos_token_id in config.json must be below the 40 rows",
    ),
    "no chat template": (lambda f: (f / "chat_template.jinja").unlink(), "must hold a chat template"),
    "no image processor": (
        lambda f: (f / "preprocessor_config.json").unlink(),
        "must bring its image processor",
    ),
    "link out of the folder": (
        lambda f: (
            (f / "chat_template.jinja").unlink(),
            (f / "chat_template.jinja").symlink_to("/etc/hostname"),
        ),
        "must stay inside the checkpoint's folder",
    ),
    "dangling link": (
        lambda f: (f / "more.safetensors").symlink_to(f / "nowhere"),
        "must lead to a file",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_refused(name: str, folder: Path, check: Callable[..., Checkpoint]) -> None:
    breaks, message = BROKEN[name]
    check(folder)
    breaks(folder)
    with pytest.raises(CheckpointError, match=message) as caught:
        check(folder)
    assert str(folder) in str(caught.value)


def test_a_text_model_cannot_replace_one_that_reads_images(
    folder: Path, tmp_path: Path, check: Callable[..., Checkpoint]
) -> None:
    text = write_checkpoint(tmp_path / "t", images=False)
    with pytest.raises(CheckpointError, match="must read images, because tiny-v"):
        check(text, like=check(folder))
    assert check(folder, like=check(text)).images


def test_remote_code_needs_leave_and_lies_in_the_checkpoint(
    tmp_path: Path, check: Callable[..., Checkpoint]
) -> None:
    folder = write_checkpoint(tmp_path / "m", images=False)
    edit_json(folder / "config.json", architectures=["MiniCPMForCausalLM"])
    with pytest.raises(CheckpointError, match="set trust_remote_code: true"):
        check(folder)
    with pytest.raises(CheckpointError, match="must name its AutoConfig"):
        check(folder, allow_remote_code=True)
    edit_json(folder / "config.json", auto_map={"AutoConfig": "configuration_minicpm.MiniCPMConfig"})
    with pytest.raises(CheckpointError, match=r"configuration_minicpm\.py is not there"):
        check(folder, allow_remote_code=True)
    (folder / "configuration_minicpm.py").write_text("class MiniCPMConfig: ...\n")
    found = check(folder, allow_remote_code=True)
    assert found.remote_code
    (folder / "configuration_minicpm.py").write_text("class MiniCPMConfig: pass\n")
    assert check(folder, allow_remote_code=True).revision != found.revision
    edit_json(folder / "config.json", auto_map={"AutoConfig": "other/repo--configuration.Config"})
    with pytest.raises(CheckpointError, match="must lie in the checkpoint"):
        check(folder, allow_remote_code=True)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "folder or a hub id"),
        ("a\0b", "folder or a hub id"),
        ("/nowhere/model", "does not exist"),
        ("just-a-name", "does not exist"),
        ("x" * 5000, "must be readable"),
        ("../escape/..", "must hold config.json|does not exist"),
    ],
)
def test_a_source_that_is_nothing(source: str, message: str, check: Callable[..., Checkpoint]) -> None:
    with pytest.raises(CheckpointError, match=message):
        check(source)


def test_a_file_is_not_a_checkpoint(folder: Path, check: Callable[..., Checkpoint]) -> None:
    with pytest.raises(CheckpointError, match="is a file"):
        check(folder / "config.json")


def test_weights_of_a_hub_id_that_are_missing_say_how_to_fetch_them(
    check: Callable[..., Checkpoint], tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=r"Fetch them with: hf download openbmb/MiniCPM-V-4\.6$"):
        check("openbmb/MiniCPM-V-4.6")
    with pytest.raises(CheckpointError, match=r"hf download openbmb/x --revision v2$"):
        check("openbmb/x@v2")
    (tmp_path / "hub" / "models--openbmb--x" / "refs").mkdir(parents=True)
    (tmp_path / "secret").write_text("config")
    with pytest.raises(CheckpointError, match="hf download openbmb/x --revision"):
        check("openbmb/x@../../../secret")


def hub_snapshot(hub: Path, hub_id: str, commit: str) -> Path:
    """Lay a checkpoint out as the hub's client does: a snapshot of links into `blobs`."""
    repository = hub / f"models--{hub_id.replace('/', '--')}"
    plain = write_checkpoint(repository / "plain")
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    for number, file in enumerate(sorted(plain.iterdir())):
        blob = repository / "blobs" / f"{number:040x}"
        file.rename(blob)
        (snapshot / file.name).symlink_to(Path("../../blobs") / blob.name)
    plain.rmdir()
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    return snapshot


def test_a_hub_snapshot_is_found_by_id_and_revision(tmp_path: Path, check: Callable[..., Checkpoint]) -> None:
    snapshot = hub_snapshot(tmp_path / "hub", "openbmb/Mini-V", "abc123")
    found = check("openbmb/Mini-V")
    assert found.model_id == "openbmb/Mini-V"
    assert found.path == str(snapshot.resolve())
    assert check("openbmb/Mini-V@abc123") == found
    assert check(snapshot) == found
    assert check(write_checkpoint(tmp_path / "same")).revision == found.revision
    (snapshot / "tokenizer.json").resolve().unlink()
    with pytest.raises(
        CheckpointError, match=r"incomplete\. Fetch it again with: hf download openbmb/Mini-V"
    ):
        check("openbmb/Mini-V")


def test_an_existing_folder_wins_over_a_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkpoint(tmp_path / "openbmb" / "Mini-V")
    monkeypatch.chdir(tmp_path)
    assert locate("openbmb/Mini-V").folder == (tmp_path / "openbmb" / "Mini-V").resolve()


def test_the_default_hub_cache_follows_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    hub_snapshot(tmp_path / "hub", "a/b", "c1")
    assert locate("a/b").model_id == "a/b"
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "other"))
    with pytest.raises(CheckpointError, match=f"but {tmp_path}/other does not hold them"):
        locate("a/b")


def test_an_unreadable_folder(folder: Path, check: Callable[..., Checkpoint]) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads every folder")
    folder.chmod(0)
    with pytest.raises(CheckpointError, match="must be readable"):
        check(folder)


def test_files_the_engine_does_not_read_leave_the_revision(
    folder: Path, check: Callable[..., Checkpoint]
) -> None:
    before = check(folder)
    (folder / "README.md").write_text("read me")
    (folder / ".gitattributes").write_text("x")
    assert check(folder) == before


@pytest.mark.parametrize(
    "name",
    ["config.json", "tokenizer.json", "chat_template.jinja", "preprocessor_config.json", "model.safetensors"],
)
def test_each_file_the_engine_reads_is_in_the_revision(
    name: str, folder: Path, check: Callable[..., Checkpoint]
) -> None:
    before = check(folder)
    path = folder / name
    data = path.read_bytes()
    # White space and the last byte of the last tensor: as small a change as there is.
    path.write_bytes(data + b" " if name != "model.safetensors" else data[:-1] + bytes([data[-1] ^ 1]))
    assert check(folder).revision != before.revision


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(position=st.integers(0, 700), value=st.integers(0, 255), cut=st.integers(0, 40))
def test_no_damage_to_a_header_ends_in_another_error(
    tmp_path: Path, position: int, value: int, cut: int
) -> None:
    path = tmp_path / "x.safetensors"
    write_safetensors(path, *header_and_data({"a": (4, 2), "b": (3,), "c": ()}))
    data = bytearray(path.read_bytes())
    data[position % len(data)] = value
    path.write_bytes(bytes(data[: len(data) - cut]))
    try:
        found = read_header(path)
    except CheckpointError:
        return
    header = 8 + int.from_bytes(path.read_bytes()[:8], "little")
    assert header + sum(tensor.size_bytes for tensor in found.values()) == path.stat().st_size


def test_the_table_names_what_vllm_serves() -> None:
    spec = importlib.util.find_spec("vllm")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("vLLM is not installed")
    # Its source is read, not imported: that would take seconds.
    registry = Path(spec.submodule_search_locations[0]) / "model_executor" / "models" / "registry.py"
    text = registry.read_text(encoding="utf-8")
    assert [name for name in ARCHITECTURES if f'"{name}": (' not in text] == []


def test_the_tiny_checkpoints_pass(tmp_path: Path, check: Callable[..., Checkpoint]) -> None:
    tiny = pytest.importorskip("aiopt.serving.checkpoint.tiny_minicpm")
    pytest.importorskip("torch")
    revisions = set()
    for seed, kind in ((1, "vision"), (2, "vision"), (1, "text")):
        found = check(tiny.build_checkpoint(tmp_path / f"{kind}{seed}", seed=seed, kind=kind))
        assert found.images == (kind == "vision")
        revisions.add(found.revision)
    assert len(revisions) == 3
    shutil.copytree(tmp_path / "vision1", tmp_path / "copy")
    assert check(tmp_path / "copy").revision in revisions
