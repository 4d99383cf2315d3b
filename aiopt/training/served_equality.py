"""Whether a served checkpoint says what transformers says: the same questions to both, token for token.

Owns what is asked, how tokens are compared and when another token is no fault: engines compute in bfloat16,
each in its own order, and where transformers in float32 finds two tokens within `ROUNDING` of each other,
either is right.  Nothing holds the answers to a grammar, and no answer is judged: the truth is not looked at.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import torch

from aiopt.analyst.chat import ChatReply, ChatRequest, Complete
from aiopt.errors import AioptError, DataError, EndpointError
from aiopt.training.base import Base, open_base
from aiopt.training.encoding import Encoder
from aiopt.training.records import Record, Records
from aiopt.training.training_config import TrainingConfig

ROUNDING = 0.05
"""Of log-probabilities in float32: two tokens that are this near are told apart by rounding."""

MORE_TOKENS = 8
"""Beyond the length of the true answer, so that a longer one is seen to be one."""

Dtype = Literal["bfloat16", "float32"]
DTYPES: tuple[Dtype, ...] = ("bfloat16", "float32")

_UNREADABLE = "\N{REPLACEMENT CHARACTER}"
"""Text of a token that holds a part of a letter: such tokens are told apart by the whole answer."""


class Question(msgspec.Struct, frozen=True):
    """A row of a dataset as a question: its kind and its record."""

    task: str
    record: Record


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Where an answer parts from transformers'.

    Attributes
    ----------
    task, sample : str
        The question.
    token : int
        The first token that differs, counted from 0.
    transformers, served : str
        What each says from there on; empty: it ends before.
    behind : float or None
        How far the served token is behind transformers' likeliest one there, in log-probability of float32;
        None where it is not among the likely ones.
    """

    task: str
    sample: str
    token: int
    transformers: str
    served: str
    behind: float | None

    def near(self, rounding: float) -> bool:
        """Tell whether rounding explains it."""
        return self.behind is not None and self.behind <= rounding


class TaskEquality(msgspec.Struct, frozen=True, kw_only=True):
    """How many answers to one kind of question are equal.

    Attributes
    ----------
    asked, equal : int
        Questions, and answers whose every token is transformers'.
    near : int
        Answers that part where two tokens are within the rounding.
    different, unanswered : int
        Answers that part anywhere else; questions without a reply.
    """

    asked: int = 0
    equal: int = 0
    near: int = 0
    different: int = 0
    unanswered: int = 0


class ServedEquality(msgspec.Struct, frozen=True, kw_only=True):
    """What came out.

    Attributes
    ----------
    tasks : dict of str to TaskEquality
        By kind of question.
    differences : tuple of Difference
        Every answer that parts.
    failures : tuple of str
        Why questions were not answered, each reason once.
    rounding : float
        Within which another token is no fault.
    """

    tasks: dict[str, TaskEquality]
    differences: tuple[Difference, ...]
    failures: tuple[str, ...]
    rounding: float

    @property
    def same(self) -> bool:
        """Whether every question was answered, and no answer differs by more than rounding."""
        return all(one.equal + one.near == one.asked for one in self.tasks.values())


def questions_of(folder: Path, split: str, *, most: int | None = None) -> list[Question]:
    """Return questions of a dataset.

    Parameters
    ----------
    folder : Path
        Any dataset with conversations.
    split : str
        One of its splits.
    most : int, optional
        Most of each kind, spread over the split.

    Raises
    ------
    DataError
        If there is no such split, or it has no conversations.
    """
    records = Records([folder], split)
    rows: dict[str, list[int]] = {}
    for row, task in enumerate(records.tasks):
        rows.setdefault(task or "question", []).append(row)
    found = []
    for task, all_rows in rows.items():
        count = len(all_rows) if most is None else min(most, len(all_rows))
        picked = [all_rows[i * len(all_rows) // count] for i in range(count)]
        found += [Question(task, records[row]) for row in picked]
    return found


def wire_messages(record: Record) -> list[dict[str, Any]]:
    """Return a record's question in the form of OpenAI's API."""
    found = []
    for message in record.messages[:-1]:
        content = message["content"]
        if not isinstance(content, str):
            content = [_wire_part(part, record) for part in content]
            if [part["type"] for part in content] == ["text"]:
                content = content[0]["text"]
        found.append({"role": message["role"], "content": content})
    return found


def _wire_part(part: dict[str, Any], record: Record) -> dict[str, Any]:
    if part["type"] != "image":
        return {"type": "text", "text": part["text"]}
    if record.png is None:
        raise DataError(f"{record.where}: a question about a picture must have one. Build the dataset again.")
    url = "data:image/png;base64," + base64.b64encode(record.png).decode()
    return {"type": "image_url", "image_url": {"url": url}}


class GreedyTokens:
    """A checkpoint in this process that says its likeliest tokens, one question at a time.

    Parameters
    ----------
    checkpoint : Path
        Its folder.
    dtype : {"bfloat16", "float32"}
        Of weights and activations: the engine's.

    Raises
    ------
    CheckpointError, ConfigError
        As `aiopt.training.base.open_base`.
    """

    def __init__(self, checkpoint: Path, dtype: Dtype = "bfloat16") -> None:
        config = TrainingConfig()
        self._base: Base = open_base(str(checkpoint), config)
        self._encoder = Encoder(self._base, config)
        self._model = self._base.load_model(getattr(torch, dtype)).eval()
        self._dtype = getattr(torch, dtype)
        self._exact: Any = self._model if dtype == "float32" else None

    def longest(self, record: Record) -> int:
        """Return the most tokens an answer may have."""
        return self._encoder.encode(record).answer_tokens + MORE_TOKENS

    def said(self, record: Record, *, most: int) -> list[int]:
        """Return the tokens of the answer, its end included, as many as `most`."""
        inputs = self._inputs(record, self._dtype)
        with torch.no_grad():
            tokens = self._model.generate(
                **inputs,
                do_sample=False,
                use_cache=True,
                max_new_tokens=most,
                eos_token_id=sorted(self._base.eos),
                pad_token_id=min(self._base.eos),
            )
        found: list[int] = tokens[0, inputs["input_ids"].shape[1] :].tolist()
        return found

    def texts(self, tokens: Sequence[int]) -> list[str]:
        """Return the text of each token."""
        return [str(self._base.tokenizer.decode([token])) for token in tokens]

    def text(self, tokens: Sequence[int]) -> str:
        """Return the answer that tokens are, without its end."""
        return str(self._base.tokenizer.decode(list(tokens), skip_special_tokens=True))

    def behind(self, record: Record, before: Sequence[int], text: str) -> float | None:
        """Return how far a token is behind the likeliest one after some tokens of the answer, in float32.

        Parameters
        ----------
        record : Record
            The question.
        before : sequence of int
            What was said.
        text : str
            Of the token.

        Returns
        -------
        float or None
            Difference of log-probabilities, 0 for the likeliest itself; None where no likely token has that
            text.
        """
        if self._exact is None:
            self._exact = self._base.load_model(torch.float32).eval()
        inputs = self._inputs(record, torch.float32)
        ids = torch.cat([inputs["input_ids"], torch.tensor([list(before)], dtype=torch.int64)], 1)
        inputs |= {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        with torch.no_grad():
            logits = self._exact(**inputs, use_cache=False).logits[0, -1].float()
        shares, tokens = torch.log_softmax(logits, 0).sort(descending=True)
        for share, token in zip(shares[:_LIKELY].tolist(), tokens[:_LIKELY].tolist(), strict=True):
            if self.texts([token]) == [text]:
                return float(shares[0]) - float(share)
        return None

    def _inputs(self, record: Record, dtype: torch.dtype) -> dict[str, torch.Tensor]:
        inputs = self._encoder.prompt_inputs(record)
        if "pixel_values" in inputs:
            inputs["pixel_values"] = inputs["pixel_values"].to(dtype)
        return inputs


_LIKELY = 20


async def served_replies(
    questions: Sequence[Question],
    complete: Complete,
    model: str,
    longest: Callable[[Record], int],
    *,
    at_once: int = 4,
    progress: Callable[[int], None] | None = None,
) -> list[ChatReply | AioptError]:
    """Ask a served model every question, greedily and free; return reply or failure of each.

    Parameters
    ----------
    questions : sequence of Question
        What is asked.
    complete : callable
        Asks the model.
    model : str
        Served name.
    longest : callable
        Returns the most tokens of an answer.
    at_once : int
        Requests in flight.
    progress : callable, optional
        Called with the questions answered.
    """
    gate = asyncio.Semaphore(at_once)
    done = 0

    async def ask(one: Question) -> ChatReply | AioptError:
        nonlocal done
        async with gate:
            request = ChatRequest(
                model=model,
                messages=wire_messages(one.record),
                schema=None,
                max_tokens=longest(one.record),
                likely=0,
            )
            try:
                reply: ChatReply | AioptError = await complete(request)
            except EndpointError as failure:
                reply = failure
        done += 1
        if progress is not None:
            progress(done)
        return reply

    return list(await asyncio.gather(*map(ask, questions)))


def compare_replies(
    questions: Sequence[Question],
    replies: Sequence[ChatReply | AioptError],
    reader: GreedyTokens,
    *,
    rounding: float = ROUNDING,
    progress: Callable[[int], None] | None = None,
) -> ServedEquality:
    """Compare what was served with what transformers says.

    Parameters
    ----------
    questions : sequence of Question
        What was asked.
    replies : sequence of ChatReply or AioptError
        From `served_replies`, in the same order.
    reader : GreedyTokens
        Of the same checkpoint.
    rounding : float
        Log-probability within which another token is no fault.
    progress : callable, optional
        Called with the questions compared.

    Raises
    ------
    EndpointError
        If the endpoint does not tell the tokens it says.
    """
    counts: dict[str, dict[str, int]] = {}
    differences: list[Difference] = []
    failures: dict[str, None] = {}
    for number, (one, reply) in enumerate(zip(questions, replies, strict=True), 1):
        count = counts.setdefault(one.task, dict.fromkeys(TaskEquality.__struct_fields__, 0))
        count["asked"] += 1
        if isinstance(reply, AioptError):
            failures[str(reply)] = None
            count["unanswered"] += 1
        else:
            found = _difference(one, reply, reader)
            if found is None:
                count["equal"] += 1
            else:
                count["near" if found.near(rounding) else "different"] += 1
                differences.append(found)
        if progress is not None:
            progress(number)
    return ServedEquality(
        tasks={task: TaskEquality(**count) for task, count in counts.items()},
        differences=tuple(differences),
        failures=tuple(failures),
        rounding=rounding,
    )


def _difference(one: Question, reply: ChatReply, reader: GreedyTokens) -> Difference | None:
    """Return where a reply parts from transformers' answer."""
    if not reply.tokens:
        msg = "The endpoint must tell the tokens of its answers (logprobs), but does not."
        raise EndpointError(f"{msg} Compare a checkpoint that `aiopt serve` serves.")
    ours = reader.said(one.record, most=reader.longest(one.record))
    expected, given = reader.texts(ours), [token.text for token in reply.tokens]
    place = _first_other(expected, given)
    if place is None and reader.text(ours) == reply.text:
        return None
    place = min(len(expected), len(given)) if place is None else place
    there = place < min(len(expected), len(given))
    return Difference(
        task=one.task,
        sample=one.record.sample,
        token=place,
        transformers="".join(expected[place:]),
        served="".join(given[place:]),
        behind=reader.behind(one.record, ours[:place], given[place]) if there else None,
    )


def _first_other(expected: Sequence[str], given: Sequence[str]) -> int | None:
    """Return the place of the first token that differs, None where all are equal."""
    for place, (ours, theirs) in enumerate(zip(expected, given, strict=False)):
        if ours != theirs and _UNREADABLE not in ours:
            return place
    return None if len(expected) == len(given) else min(len(expected), len(given))
