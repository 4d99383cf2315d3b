"""A served checkpoint held to transformers' answers, token for token: equal, near, different, silent."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from aiopt.errors import DataError
from aiopt.serving.checkpoint.tiny_minicpm import build_checkpoint
from aiopt.serving.checkpoint.validation import validate
from aiopt.training.opened import OpenedCheckpoint
from aiopt.training.served_equality import ROUNDING, GreedyTokens, Question, questions_of, wire_messages
from cluster.cli.main import run
from tests.unit.analyst.endpoints import Answer, Endpoint, completion, serving
from tests.unit.training.made_training import dataset

Spoil = Callable[[int, list[tuple[str, float]]], list[tuple[str, float]]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    build_checkpoint(folder / "tiny", seed=1)
    kinds = ["trend", "easy", "trend"]
    dataset(folder / "set", rows=4, task=lambda number: kinds[number % 3])
    return folder


@pytest.fixture(scope="module")
def reader(place: Path) -> GreedyTokens:
    return GreedyTokens(place / "tiny")


@pytest.fixture(scope="module")
def questions(place: Path) -> list[Question]:
    return questions_of(place / "set", "validation")


@pytest.fixture(scope="module")
def said(reader: GreedyTokens, questions: list[Question]) -> dict[str, list[str]]:
    """Transformers' answer to each question, by what is sent: token by token."""
    return {
        json.dumps(wire_messages(one.record)): reader.texts(
            reader.said(one.record, most=reader.longest(one.record))
        )
        for one in questions
    }


def endpoint(
    place: Path,
    said: dict[str, list[str]],
    spoil: Spoil = lambda number, tokens: tokens,
    *,
    revision: str | None = None,
    silent: int | None = None,
    tells: bool = True,
) -> AbstractContextManager[Endpoint]:
    """An endpoint that answers as transformers does, spoilt as a test says."""
    mine = validate(str(place / "tiny")).revision if revision is None else revision

    order = list(said)

    def respond(arrived: int, payload: dict[str, Any]) -> Answer:
        question = json.dumps(payload["messages"])
        number = order.index(question)  # several are asked at once, and come as they come
        if number == silent:
            return Answer(status=500, body="out of order")
        tokens = spoil(number, [(text, -0.1) for text in said[question]])
        body = completion("".join(text for text, _ in tokens if not text.startswith("<|")))
        if tells:
            content = [{"token": text, "logprob": share, "top_logprobs": []} for text, share in tokens]
            body["choices"][0]["logprobs"] = {"content": content}
        return Answer(body=body, headers={"X-Model-Revision": mine})

    return serving(respond)


def verify(place: Path, url: str, *more: str) -> int:
    words = ["model", "verify-served", str(place / "tiny"), "--data", str(place / "set")]
    return run([*words, "--endpoint", f"{url}/v1", *more])


def test_equal_answers_are_counted_by_kind_of_question(
    place: Path, said: dict[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    with endpoint(place, said) as one:
        assert verify(place, one.url, "--json") == 0
        found = json.loads(capsys.readouterr().out)
        assert verify(place, one.url, "--charts", "2") == 0
    assert found["same"]
    assert found["compared"]["differences"] == []
    counts = {task: (row["asked"], row["equal"]) for task, row in found["compared"]["tasks"].items()}
    assert counts == {"trend": (8, 8), "easy": (4, 4)}
    assert len(one.asked) == 12 + 4
    assert {(row["temperature"], row["logprobs"], "response_format" in row) for row in one.asked} == {
        (0, True, False)
    }
    printed = capsys.readouterr().out
    assert "the served answers are transformers'" in printed
    assert "easy" in printed


def test_a_token_that_float32_finds_as_likely_is_rounding_and_any_other_is_not(
    place: Path,
    reader: GreedyTokens,
    questions: list[Question],
    said: dict[str, list[str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    record = questions[0].record
    ours = reader.said(record, most=2)
    first, second = reader.texts(ours)
    # The likeliest of bfloat16 is within rounding of float32's.
    assert reader.behind(record, ours[:1], second) == pytest.approx(0, abs=ROUNDING)
    assert reader.behind(record, [], "no token of this vocabulary") is None

    def other(number: int, tokens: list[tuple[str, float]]) -> list[tuple[str, float]]:
        return [("~no such token~", -1.0), *tokens[1:]] if number == 1 else tokens

    with endpoint(place, said, other) as one:
        assert verify(place, one.url, "--json") == 1
        found = json.loads(capsys.readouterr().out)
    (difference,) = found["compared"]["differences"]
    assert (difference["token"], difference["behind"]) == (0, None)
    assert difference["served"].startswith("~no such token~")
    assert sum(row["different"] for row in found["compared"]["tasks"].values()) == 1

    with torch.no_grad():
        model = OpenedCheckpoint(place / "tiny").model
        logits = model(**reader._inputs(record, torch.float32), use_cache=False).logits[0, -1]
    shares, tokens = torch.log_softmax(logits, 0).topk(3)
    near, behind = reader.texts(tokens[2:].tolist())[0], float(shares[0] - shares[2])
    assert reader.behind(record, [], near) == pytest.approx(behind, abs=1e-4)
    assert near != first

    def swapped(number: int, tokens: list[tuple[str, float]]) -> list[tuple[str, float]]:
        return [(near, -1.0), *tokens[1:]] if number == 0 else tokens

    for rounding, code in ((behind * 2, 0), (behind / 2, 1)):
        with endpoint(place, said, swapped) as one:
            assert verify(place, one.url, "--charts", "1", "--rounding", str(rounding), "--json") == code
        counts = json.loads(capsys.readouterr().out)["compared"]["tasks"]["trend"]
        assert (counts["near"], counts["different"]) == ((1, 0) if code == 0 else (0, 1))


def test_a_shorter_answer_and_no_answer_fail(
    place: Path, said: dict[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    with endpoint(
        place, said, lambda number, tokens: tokens[:-1] if number == 2 else tokens, silent=0
    ) as one:
        assert verify(place, one.url) == 1
    printed = capsys.readouterr().out
    assert "Unanswered: The model endpoint" in printed
    assert "not among the likely ones" in printed
    assert "are not transformers'" in printed


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"revision": "f" * 64}, 2, "must be the one that answers"),
        ({"revision": ""}, 2, "one without a revision answered"),
        ({"tells": False}, 1, "must tell the tokens of its answers"),
    ],
)
def test_another_checkpoint_or_an_endpoint_that_tells_no_tokens_is_named(
    place: Path,
    said: dict[str, list[str]],
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    code: int,
    words: str,
) -> None:
    with endpoint(place, said, **changes) as one:
        assert verify(place, one.url, "--charts", "1") == code
    assert words in " ".join(capsys.readouterr().err.split())


def test_a_split_that_is_not_there_is_named(place: Path) -> None:
    with pytest.raises(DataError, match="There is no split 'test', only train, validation"):
        questions_of(place / "set", "test")
