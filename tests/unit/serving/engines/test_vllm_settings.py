from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aiopt.serving.engines.llvmlite_guard import guard_llvmlite
from aiopt.serving.engines.vllm_settings import engine_arguments, engine_environment
from aiopt.serving.gateway.chat_types import MAX_STOPS
from aiopt.serving.profile import EngineSettings, load_args
from aiopt.serving.profile_files import load_profile
from aiopt.serving.swap.proof import EngineSpec
from aiopt.torchvision_ops import sitecustomize
from tests.unit.serving.fake_host import checkpoint


def spec(device: str, *, images: bool = True, **settings: Any) -> EngineSpec:
    return EngineSpec(
        engine_id="e",
        slot="minicpm",
        checkpoint=checkpoint("a", images=images),
        device=device,  # type: ignore[arg-type]
        settings=EngineSettings(**settings),
    )


def profile_specs(name: str) -> list[EngineSpec]:
    config = load_args(load_profile(name)["applications"][0]["args"], where=name)
    return [
        msgspec.structs.replace(
            spec(config.device, images="text" not in slot.name), settings=slot.engine, slot=slot.name
        )
        for slot in config.models
    ]


def test_json_is_never_padded_and_the_context_is_no_longer_than_the_checkpoints() -> None:
    for device in ("cpu", "gpu"):
        arguments = engine_arguments(spec(device, max_context_tokens=100_000))
        assert arguments["structured_outputs_config"]["disable_any_whitespace"]
        assert arguments["max_model_len"] == checkpoint("a").max_context_tokens


def test_a_gpu_engine_can_sleep_and_keeps_to_its_share() -> None:
    for each in profile_specs("gpu"):
        arguments = engine_arguments(each)
        assert arguments["enable_sleep_mode"]
        assert arguments["enable_prefix_caching"]
        assert not arguments["enforce_eager"]
        assert arguments["gpu_memory_utilization"] == each.settings.gpu_memory_share
        assert ("limit_mm_per_prompt" in arguments) == each.checkpoint.images
        assert "OMP_NUM_THREADS" not in engine_environment(each, python_path="/a")


def test_a_cpu_engine_gets_its_cache_and_threads_from_the_environment() -> None:
    arguments = engine_arguments(spec("cpu"))
    assert "gpu_memory_utilization" not in arguments
    assert "enable_sleep_mode" not in arguments
    environment = engine_environment(spec("cpu", kv_cache_gib=3, threads=5), python_path="/a:/b")
    assert environment["VLLM_CPU_KVCACHE_SPACE"] == "3"
    assert environment["OMP_NUM_THREADS"] == "5"
    assert int(engine_environment(spec("cpu"), python_path="/a")["OMP_NUM_THREADS"]) >= 1
    assert environment["HF_HUB_OFFLINE"] == "1"
    # As many as the request's type allows: vLLM's own limit is four.
    assert environment["VLLM_MAX_STOP_STRINGS"] == str(MAX_STOPS)
    assert environment["PYTHONPATH"] == "/a:/b"


def test_extra_arguments_win() -> None:
    assert engine_arguments(spec("gpu", extra={"quantization": "fp8"}))["quantization"] == "fp8"
    assert engine_arguments(spec("cpu", extra={"seed": 7}))["seed"] == 7


@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed")
@pytest.mark.slow
@pytest.mark.unmeasured
def test_vllm_knows_every_argument_of_every_profile() -> None:
    wanted = sorted(
        {name for each in ("gpu", "cpu", "test") for s in profile_specs(each) for name in engine_arguments(s)}
    )
    code = (
        "import dataclasses, json, sys; from vllm.engine.arg_utils import AsyncEngineArgs; "
        "known = {field.name for field in dataclasses.fields(AsyncEngineArgs)}; "
        "print(json.dumps(sorted(set(json.loads(sys.argv[1])) - known)))"
    )
    environment = {**os.environ, "PYTHONPATH": sitecustomize.python_path({})}
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(wanted)],
        env=environment,
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == []
    assert len(wanted) > 10


def test_vllm_finds_nothing_in_llvmlite_that_is_not_there() -> None:
    """What vLLM does on a CPU to every global of every module, in a process that has compiled something."""
    code = (
        "import sys, numba\n"
        "from aiopt.serving.engines.llvmlite_guard import guard_llvmlite\n"
        "twice = numba.njit(lambda x: 2 * x)\n"
        "assert twice(2) == 4\n"
        "def scan():\n"
        "    for name, module in list(sys.modules.items()):\n"
        "        if name.startswith('llvmlite'):\n"
        "            for value in list(vars(module).values()):\n"
        "                if hasattr(value, '__dict__'):\n"
        "                    vars(value).get('kernel')\n"
        "try:\n"
        "    scan()\n"
        "    raise SystemExit('without the guard nothing is wrong: remove it')\n"
        "except AttributeError as failure:\n"
        "    assert '_lib_fn_wrapper' in str(failure)\n"
        "assert guard_llvmlite() and guard_llvmlite()\n"
        "scan()\n"
        "assert numba.njit(lambda x: 3 * x)(2) == 6\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


def test_without_llvmlite_there_is_nothing_to_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "llvmlite.binding.ffi", raising=False)
    assert not guard_llvmlite()
