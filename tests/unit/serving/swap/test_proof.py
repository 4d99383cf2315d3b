from __future__ import annotations

import base64
import io
from pathlib import Path

import msgspec
import pytest

from aiopt.serving.profile import EngineSettings
from aiopt.serving.swap.probes import MAX_TOKENS, probe_requests
from aiopt.serving.swap.proof import (
    EngineSpec,
    ProbeMismatchError,
    Reference,
    check_answers,
    read_reference,
    reference_key,
    reference_path,
    write_reference,
)
from tests.unit.serving.fake_host import checkpoint

SPEC = EngineSpec(
    engine_id="e", slot="minicpm", checkpoint=checkpoint("a"), device="cpu", settings=EngineSettings()
)
ANSWERS = tuple(tuple(range(probe, probe + 5)) for probe in range(5))
REFERENCE = Reference(key="k", revision=SPEC.checkpoint.revision, answers=ANSWERS)


def changed(**settings: object) -> EngineSpec:
    return msgspec.structs.replace(SPEC, settings=EngineSettings(**settings))  # type: ignore[arg-type]


def test_equal_answers_pass() -> None:
    check_answers(SPEC, REFERENCE, [list(answer) for answer in ANSWERS])


@pytest.mark.parametrize("probe", range(5))
@pytest.mark.parametrize("token", range(5))
def test_one_other_token_anywhere_is_found(probe: int, token: int) -> None:
    answers = [list(answer) for answer in ANSWERS]
    answers[probe][token] += 100
    with pytest.raises(ProbeMismatchError, match=f"probe {probe} differs from token {token} on"):
        check_answers(SPEC, REFERENCE, answers)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([], "must answer 5 probes, but answered 0"),
        ([[1]] * 4, "must answer 5 probes, but answered 4"),
        ([[]] * 5, "probe 0 with 1 to 24 tokens, but gave 0"),
        ([[1] * (MAX_TOKENS + 1)] * 5, "but gave 25"),
        ([list(answer[:4]) for answer in ANSWERS], "probe 0 differs from token 4 on"),
        ([[*answer, 9] for answer in ANSWERS], "probe 0 differs from token 5 on"),
    ],
)
def test_malformed_and_cut_answers_are_found(answers: list[list[int]], message: str) -> None:
    with pytest.raises(ProbeMismatchError, match=message):
        check_answers(SPEC, REFERENCE, answers)


def test_a_reference_of_another_revision_proves_nothing() -> None:
    other = msgspec.structs.replace(REFERENCE, revision=checkpoint("b").revision)
    with pytest.raises(ProbeMismatchError, match="The reference must be of"):
        check_answers(SPEC, other, [list(answer) for answer in ANSWERS])


def test_the_key_changes_with_all_that_decides_answers_and_nothing_else() -> None:
    key = reference_key(SPEC, "vllm 1")
    assert reference_key(SPEC, "vllm 2") != key
    assert reference_key(msgspec.structs.replace(SPEC, checkpoint=checkpoint("b")), "vllm 1") != key
    for settings in (
        {"dtype": "float32"},
        {"eager": True},
        {"threads": 3},
        {"extra": {"quantization": "fp8"}},
    ):
        assert reference_key(changed(**settings), "vllm 1") != key, settings
    for settings in ({"kv_cache_gib": 3}, {"gpu_memory_share": 0.5}, {"replicas": 2}, {"sleep_mode": False}):
        assert reference_key(changed(**settings), "vllm 1") == key, settings
    assert reference_key(msgspec.structs.replace(SPEC, engine_id="f"), "vllm 1") == key


def test_a_reference_is_cached_and_a_damaged_file_is_as_none(tmp_path: Path) -> None:
    assert read_reference(tmp_path, "k") is None
    write_reference(tmp_path, REFERENCE)
    assert read_reference(tmp_path, "k") == REFERENCE
    reference_path(tmp_path, "k").write_bytes(b'{"key": "k"')
    assert read_reference(tmp_path, "k") is None


def test_probes_are_always_the_same_and_pictures_are_asked_only_of_models_that_see() -> None:
    assert probe_requests(images=True) == probe_requests(images=True)
    assert len(probe_requests(images=True)) - len(probe_requests(images=False)) == 2
    assert probe_requests(images=True)[:3] == probe_requests(images=False)
    for body in probe_requests(images=True):
        assert body["temperature"] == 0
        assert 0 < body["max_tokens"] <= MAX_TOKENS


def test_probe_pictures_are_readable_and_differ() -> None:
    image = pytest.importorskip("PIL.Image")
    sizes = []
    for body in probe_requests(images=True)[3:]:
        url = body["messages"][0]["content"][0]["image_url"]["url"]
        picture = image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
        assert len(set(picture.convert("RGB").tobytes())) > 1
        sizes.append(picture.size)
    assert sizes == [(160, 112), (224, 168)]
