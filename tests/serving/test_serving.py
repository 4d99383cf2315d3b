"""The endpoint on real vLLM on the CPU: chats, swaps under load, and engines that die.

The tests of this file share one endpoint and build on one another's engines, to start few of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pytest

from aiopt.serving.backend import Operation
from aiopt.serving.checkpoint.tiny_minicpm import build_checkpoint
from aiopt.serving.checkpoint.validation import validate
from aiopt.serving.engines.engine_version import engine_version
from aiopt.serving.profile import load_args
from aiopt.serving.profile_files import load_profile
from aiopt.serving.swap.probes import probe_requests
from aiopt.serving.swap.proof import EngineSpec, Reference, reference_key, write_reference
from aiopt.testing.chat_load import Answer, ChatLoad, ask, image_prompt, mixed_prompts, text_prompt
from tests.serving.conftest import SECOND, Served

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("vllm") is None, reason="no vLLM here: requirements/install.sh cpu"),
]

CLIENTS = 8
"""Enough that every engine has requests in flight at every flip; more only make the two cores busier."""
SWAPS = 20
PROMPTS = mixed_prompts()


def answers_of(served: Served) -> dict[int, str]:
    """Ask every prompt one by one of the model that serves."""
    found = {}
    for index in range(len(PROMPTS)):
        answer = ask(served.client, "minicpm", PROMPTS, index)
        assert answer.status == 200, answer.content
        found[index] = answer.content
    return found


@pytest.fixture(scope="module")
def known(served: Served) -> dict[str, dict[int, str]]:
    """Each checkpoint's answers by revision; leaves the first one serving and the second standing by."""
    first = answers_of(served)
    revision = served.revision()
    loaded = served.wait(served.second)
    assert loaded.state == "done", loaded.message
    operation = served.swap(SECOND)
    assert operation.state == "done", operation.message
    second = answers_of(served)
    known = {revision: first, served.revision(): second}
    assert len(known) == 2
    assert all(first[index] != second[index] for index in first), "the checkpoints answer alike"
    back = served.swap("", "rollback")
    assert back.state == "done", back.message
    return known


def test_text_and_image_are_answered_and_answers_name_their_model(served: Served) -> None:
    for messages in (text_prompt("Where is the trend?"), image_prompt("What is this?", seed=1)):
        body = {"model": "minicpm-v", "messages": messages, "temperature": 0, "max_tokens": 8}
        reply = served.client.post("/v1/chat/completions", json=body)
        assert reply.status_code == 200, reply.text
        assert reply.json()["choices"][0]["message"]["content"]
        assert reply.headers["x-model-id"] == "vision-1"
        assert reply.headers["x-model-revision"] == served.revision()


def test_a_picture_changes_the_answer(served: Served) -> None:
    found = set()
    for seed in range(4):
        messages = image_prompt("What is this?", seed=seed)
        body = {"model": "minicpm", "messages": messages, "temperature": 0, "max_tokens": 24}
        reply = served.client.post("/v1/chat/completions", json=body)
        found.add(reply.json()["choices"][0]["message"]["content"])
    assert len(found) > 1, found


def test_a_json_schema_is_obeyed_without_padding(served: Served) -> None:
    schema = {
        "type": "object",
        "properties": {"bias": {"enum": ["long", "short"]}, "levels": {"type": "array", "maxItems": 2}},
        "required": ["bias"],
        "additionalProperties": False,
    }
    schema["properties"]["levels"]["items"] = {"type": "integer", "minimum": 0, "maximum": 9}
    for text in ("Answer.", "What is the bias?", "{"):
        body = {
            "model": "minicpm",
            "messages": text_prompt(text),
            "temperature": 0,
            "max_tokens": 60,
            "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}},
        }
        reply = served.client.post("/v1/chat/completions", json=body)
        assert reply.status_code == 200, reply.text
        content = reply.json()["choices"][0]["message"]["content"]
        assert json.loads(content)["bias"] in {"long", "short"}
        assert not any(letter.isspace() for letter in content)


def broken_checkpoints(served: Served, folder: Path) -> dict[str, tuple[str, str]]:
    """Make five checkpoints that must be refused; by folder the phase and a word of the reason."""

    def copy(name: str, seed: int = 3) -> Path:
        return build_checkpoint(folder / name, seed=seed)

    missing = copy("missing")
    (missing / "config.json").unlink()
    truncated = copy("truncated")
    data = (truncated / "model.safetensors").read_bytes()
    (truncated / "model.safetensors").write_bytes(data[: len(data) // 2])
    architecture = copy("architecture")
    text = (architecture / "config.json").read_text()
    (architecture / "config.json").write_text(text.replace("MiniCPMV4_6For", "LlamaFor"))
    tokenizer = copy("tokenizer")
    shutil.copy(
        build_checkpoint(folder / "text", seed=3, kind="text") / "tokenizer.json",
        tokenizer / "tokenizer.json",
    )
    # One whose engine answers other than a fresh engine did: its cached reference is made wrong.
    mismatch = copy("mismatch", seed=4)
    config = load_args(load_profile("test")["applications"][0]["args"], where="test")
    spec = EngineSpec(
        engine_id="any",
        slot="minicpm",
        checkpoint=validate(mismatch),
        device="cpu",
        settings=config.models[0].engine,
    )
    wrong = tuple((11, 12, 13) for _ in probe_requests(images=True))
    key = reference_key(spec, engine_version())
    write_reference(
        served.folder / "serving", Reference(key=key, revision=spec.checkpoint.revision, answers=wrong)
    )
    return {
        str(missing): ("validate", "config.json"),
        str(truncated): ("validate", "truncated"),
        str(architecture): ("validate", "architecture"),
        str(tokenizer): ("validate", "token"),
        str(mismatch): ("probe", "must answer the probe set as a fresh engine does"),
    }


def check(answers: list[Answer], known: dict[str, dict[int, str]]) -> None:
    """Every answer is one that the model it names gives to that prompt."""
    failed = [answer for answer in answers if answer.status != 200]
    assert failed == [], f"{len(failed)} of {len(answers)} failed, first: {failed[0]}"
    foreign = [answer for answer in answers if answer.content != known[answer.revision][answer.prompt]]
    assert foreign == [], f"{len(foreign)} of {len(answers)} are not the named model's, first: {foreign[0]}"


def test_swaps_under_load_lose_no_request_and_mix_no_models(
    served: Served, known: dict[str, dict[int, str]], tmp_path: Path
) -> None:
    broken = broken_checkpoints(served, tmp_path)
    names = {"tiny:vision:1", "tiny:vision:2"}
    resident: list[int] = []
    refused: list[Operation] = []
    with ChatLoad(served.url, served.token, "minicpm", PROMPTS, clients=CLIENTS) as load:
        wrong = list(broken)
        for number in range(SWAPS):
            target = sorted(names)[1 - number % 2]
            before = served.revision()
            done = served.swap(target)
            assert done.state == "done", done.message
            assert done.to_revision != before
            resident.append(served.resident_bytes())
            if number % 4 == 3:
                source = wrong.pop(0)
                refused.append(served.swap(source))
                assert served.revision() == done.to_revision
    answers = load.answers
    assert len(answers) > 100
    check(answers, known)
    assert {answer.revision for answer in answers} == set(known)
    assert {answer.prompt for answer in answers} == set(range(len(PROMPTS)))
    assert len(refused) == len(broken) == 5
    for operation in refused:
        phase, word = broken[operation.checkpoint]
        assert (operation.state, operation.phase) == ("refused", phase), operation.message
        assert word in operation.message
    # Flat from the fifth swap on: later swaps load nothing.  What is left is the KV cache, 1 GiB of each
    # engine, whose pages count from their first use on.
    later = resident[4:]
    assert max(later) - later[0] < 0.05 * later[0], [value >> 20 for value in resident]


def test_two_swaps_at_once_happen_one_after_the_other(
    served: Served, known: dict[str, dict[int, str]]
) -> None:
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(served.swap, ("tiny:vision:1", "tiny:vision:2"))
    assert (one.state, two.state) == ("done", "done")
    first, second = sorted((one, two), key=lambda operation: operation.started_s)
    assert second.from_revision == first.to_revision
    assert served.revision() == second.to_revision


@pytest.mark.parametrize("victim", ["VLLM::EngineCore", "EngineServer"])
def test_a_killed_engine_comes_back_by_itself_with_the_right_model(
    served: Served, known: dict[str, dict[int, str]], victim: str
) -> None:
    revision = served.revision()
    (serving,) = [engine for engine in served.admin.status().engines if engine.role == "serving"]
    replicas = [p for p in served.processes("EngineServer") if serving.engine_id in cmdline(p.pid)]
    pid = replicas[0].pid
    if victim.startswith("VLLM"):
        (pid,) = [p.pid for p in served.processes(victim) if parent(p.pid) == pid]
    with ChatLoad(served.url, served.token, "minicpm", PROMPTS, clients=4) as load:
        deadline = time.monotonic() + 60
        while not any(answer.status == 200 for answer in load.answers):
            assert time.monotonic() < deadline, "nothing was answered before the engine was killed"
            time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()
        while not any(a.status == 200 and a.begun_s > killed + 5 for a in load.answers):
            assert time.monotonic() - killed < 150, "service did not come back"
            time.sleep(0.5)
    answers = load.answers
    assert any(answer.status == 200 and answer.begun_s < killed for answer in answers)
    others = [answer for answer in answers if answer.status != 200]
    assert {answer.status for answer in others} <= {503}, others[:3]
    assert all(float(answer.retry_after) > 0 for answer in others)
    check([answer for answer in answers if answer.status == 200], known)
    assert {answer.revision for answer in answers if answer.status == 200} == {revision}
    assert served.revision() == revision
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        (engine,) = [e for e in served.admin.status().engines if e.engine_id == serving.engine_id]
        if engine.restarts > serving.restarts:
            return
        time.sleep(0.5)
    pytest.fail("the restart was not counted")


def test_the_endpoint_survives_its_coordinator(served: Served, known: dict[str, dict[int, str]]) -> None:
    before = served.admin.status()
    (process,) = served.processes("aiopt:Coordinator")
    os.kill(process.pid, signal.SIGKILL)
    check([ask(served.client, "minicpm", PROMPTS, index) for index in range(3)], known)
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        with contextlib.suppress(Exception):
            after = served.admin.status()
            break
        time.sleep(0.5)
    assert after.cards == before.cards
    assert {e.engine_id for e in after.engines} == {e.engine_id for e in before.engines}
    done = served.swap("", "rollback")
    assert done.state == "done", done.message
    check([ask(served.client, "minicpm", PROMPTS, index) for index in range(3)], known)


def cmdline(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
