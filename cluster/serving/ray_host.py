"""Engines as Ray Serve applications: the `EngineHost` of real life.

Owns how an engine is deployed, asked and removed.  An engine is an application of its own with no HTTP route,
so that Serve starts, checks and restarts it, and removing it disturbs nothing else.  Knows nothing of slots'
state or of what a swap is.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import ray
from ray import serve
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.serve.exceptions import DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import ApplicationStatus, ApplicationStatusOverview

from aiopt.serving.engines.engine_version import engine_version
from aiopt.serving.engines.vllm_settings import engine_environment
from aiopt.serving.swap.engine_host import ENGINE_PREFIX, MemoryReport
from aiopt.serving.swap.memory import available_bytes, cpu_need_bytes
from aiopt.serving.swap.proof import (
    EngineSpec,
    EngineStartError,
    ProbeMismatchError,
    Reference,
    read_reference,
    reference_key,
    write_reference,
)
from aiopt.torchvision_ops import sitecustomize
from cluster.resources import stage_options
from cluster.serving.serve_links import ENGINE_DEPLOYMENT

POLL_S = 0.2
GONE_TIMEOUT_S = 60.0

_MISMATCH = re.compile(r"ProbeMismatchError[^:]*: (.+)")
_OURS = re.compile(r"(?:EngineStartError|CheckpointError)[^:]*: (.+)")
_ANY = re.compile(r"^\s*(?:\w+\.)*(\w+(?:Error|Exception)): (.+)$", re.MULTILINE)


class RayHost:
    """Starts and stops engines on the cluster this process belongs to.

    Parameters
    ----------
    folder : Path
        State folder; references are cached below it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._handles: dict[str, DeploymentHandle] = {}

    async def engines(self) -> set[str]:
        """As `EngineHost.engines`."""
        return {name for name in await _applications() if name.startswith(ENGINE_PREFIX)}

    async def memory(self, spec: EngineSpec) -> MemoryReport:
        """As `EngineHost.memory`."""
        if spec.device == "cpu":
            return MemoryReport(
                needed_bytes=cpu_need_bytes(spec),
                available_bytes=available_bytes(),
                device="this machine's memory",
                can_sleep=False,
            )
        measure = ray.remote(num_gpus=0.01, num_cpus=0, max_calls=1)(_gpu_memory)
        free, total = await measure.remote()
        return MemoryReport(
            needed_bytes=int(spec.settings.gpu_memory_share * total),
            available_bytes=free,
            device="the GPU",
            can_sleep=spec.settings.sleep_mode,
        )

    async def reference(self, spec: EngineSpec) -> Reference:
        """As `EngineHost.reference`: from the cache, else from a fresh engine in a process that ends."""
        key = reference_key(spec, engine_version())
        cached = read_reference(self._folder, key)
        if cached is not None:
            return cached
        engine = await asyncio.to_thread(_engine_module)
        options: dict[str, Any] = dict(stage_options(f"engine-{spec.device}"))
        environment = engine_environment(spec, python_path=sitecustomize.python_path())
        environment["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        task = ray.remote(max_calls=1, max_retries=0, runtime_env={"env_vars": environment}, **options)(
            engine.compute_reference
        )
        call = task.remote(msgspec.json.encode(spec), key)
        try:
            reference = msgspec.json.decode(await call, type=Reference)
        except asyncio.CancelledError:
            ray.cancel(call, force=True)
            raise
        except RayError as error:
            raise _start_failure(spec, str(error)) from error
        write_reference(self._folder, reference)
        return reference

    async def start(self, spec: EngineSpec, reference: Reference) -> None:
        """As `EngineHost.start`."""
        engine = await asyncio.to_thread(_engine_module)

        def deploy() -> None:
            application = engine.build_engine(spec, reference)
            target = serve.RunTarget(target=application, name=spec.engine_id, route_prefix=None)
            serve.run_many([target], wait_for_applications_running=False)

        await asyncio.to_thread(deploy)
        while True:
            found = (await _applications()).get(spec.engine_id)
            if found is None:
                raise EngineStartError(f"The engine {spec.engine_id} was removed while it started.")
            if found.status == ApplicationStatus.RUNNING:
                return
            if found.status in {ApplicationStatus.DEPLOY_FAILED, ApplicationStatus.UNHEALTHY}:
                messages = [found.message, *(each.message for each in found.deployments.values())]
                raise _start_failure(spec, "\n".join(messages))
            await asyncio.sleep(POLL_S)

    async def stop(self, engine_id: str) -> None:
        """As `EngineHost.stop`."""
        self._handles.pop(engine_id, None)
        if engine_id not in await _applications():
            return
        await asyncio.to_thread(serve.delete, engine_id, _blocking=False)
        deadline = asyncio.get_running_loop().time() + GONE_TIMEOUT_S
        while engine_id in await _applications() and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(POLL_S)

    async def sleep(self, engine_id: str) -> None:
        """As `EngineHost.sleep`."""
        await self._call(engine_id, "sleep", level=1)

    async def wake(self, engine_id: str) -> None:
        """As `EngineHost.wake`."""
        # A replica that Serve started again meanwhile is awake.
        if await self._call(engine_id, "is_sleeping"):
            await self._call(engine_id, "wakeup")

    async def probe(self, engine_id: str) -> None:
        """As `EngineHost.probe`."""
        await self._call(engine_id, "prove")

    async def instance(self, engine_id: str) -> str:
        """As `EngineHost.instance`."""
        return str(await self._call(engine_id, "instance"))

    async def _call(self, engine_id: str, method: str, **arguments: Any) -> Any:
        handle = self._handles.get(engine_id)
        if handle is None:
            handle = await asyncio.to_thread(serve.get_deployment_handle, ENGINE_DEPLOYMENT, engine_id)
            self._handles[engine_id] = handle
        try:
            return await getattr(handle, method).remote(**arguments)
        except RayTaskError as error:
            if isinstance(error.cause, ProbeMismatchError):
                raise error.cause from error
            raise EngineStartError(f"The engine {engine_id} failed: {error.cause}") from error
        except (RayActorError, DeploymentUnavailableError) as error:
            raise EngineStartError(f"The engine {engine_id} died: {error}") from error


async def _applications() -> dict[str, ApplicationStatusOverview]:
    status = await asyncio.to_thread(serve.status)
    return dict(status.applications)


def _engine_module() -> ModuleType:
    """Import what builds engines: vLLM and transformers, ten seconds the first time."""
    from cluster.serving import engine

    return engine


def _start_failure(spec: EngineSpec, text: str) -> EngineStartError | ProbeMismatchError:
    """Find in a traceback why an engine did not come up."""
    mismatch = _MISMATCH.findall(text)
    if mismatch:
        return ProbeMismatchError(mismatch[-1])
    ours = _OURS.findall(text)
    if ours:
        return EngineStartError(ours[-1])
    causes = [f"{name}: {message}" for name, message in _ANY.findall(text) if "RayTaskError" not in name]
    reason = causes[-1] if causes else text.strip()[-300:]
    name = f"{spec.checkpoint.model_id} ({spec.checkpoint.revision[:12]})"
    return EngineStartError(f"The engine could not load {name}: {reason}")


def _gpu_memory() -> tuple[int, int]:
    """Return free and total bytes of the GPU this task was given."""
    import torch

    free, total = torch.cuda.mem_get_info()
    return int(free), int(total)
