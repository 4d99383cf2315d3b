"""One vLLM engine on Ray Serve that proves itself before it is healthy.

`EngineServer` is Ray's `LLMServer` with three additions: a replica starts only on the checkpoint revision it
was made for, is healthy only when its greedy answers to the probe set equal the reference, and says with each
answer which revision gave it.  Whatever starts a replica (a swap, Serve after a crash, a second copy), it is
proved.  Knows nothing of slots, routes or HTTP.
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import ray
from pydantic import ValidationError
from ray import serve
from ray.llm._internal.common.callbacks.base import CallbackBase
from ray.llm._internal.serve.core.configs.openai_api_models import ChatCompletionRequest, ErrorResponse
from ray.llm._internal.serve.core.server.builder import build_llm_deployment
from ray.llm._internal.serve.core.server.llm_server import LLMServer
from ray.llm._internal.serve.engines.vllm.vllm_engine import VLLMEngine
from ray.serve.llm import LLMConfig

from aiopt.serving.checkpoint.validation import validate
from aiopt.serving.engines.llvmlite_guard import guard_llvmlite
from aiopt.serving.engines.vllm_settings import engine_arguments, engine_environment
from aiopt.serving.engines.wire import WireAddress, WireServer
from aiopt.serving.replies import Answered, Begun, ChatBody, Failed, raised_failure
from aiopt.serving.swap.probes import probe_requests, warming_requests
from aiopt.serving.swap.proof import EngineSpec, EngineStartError, Reference, check_answers, check_well_formed
from aiopt.torchvision_ops import sitecustomize
from cluster.resources import stage_options
from cluster.serving.serve_links import ENGINE_DEPLOYMENT

_LOGGER = logging.getLogger("ray.serve")

_ERROR_EVENT = 'data: {"error"'

HEALTH_PERIOD_S = 1.0
STREAM_INTERVAL_MS = 5


class SingleProcessEngine(VLLMEngine):
    """vLLM's engine whose only worker lives in the engine process: one process less to start on a CPU."""

    def _start_async_llm_engine(self, vllm_engine_args: Any, vllm_engine_config: Any, pg: Any) -> Any:
        vllm_engine_config.parallel_config.distributed_executor_backend = "uni"
        return super()._start_async_llm_engine(vllm_engine_args, vllm_engine_config, pg)


class NoDownload(CallbackBase):
    """Skip Ray's download step: an engine is given a folder that was checked."""

    async def on_before_node_init(self) -> None:
        """Leave out node initialisation."""
        self.ctx.run_init_node = False


class EngineServer(LLMServer):
    """A vLLM engine that serves one checkpoint revision and proved that it does.

    Parameters
    ----------
    llm_config : LLMConfig
        From `build_engine`.
    spec : bytes
        `EngineSpec` as JSON.
    reference : bytes
        `Reference` as JSON.

    Raises
    ------
    EngineStartError
        If the folder no longer holds the revision.
    ProbeMismatchError
        If the answers differ from the reference; the replica never becomes healthy.

    No exception of vLLM's leaves this process: whoever receives one imports vLLM to read it, which keeps a
    gateway from everything else for seconds.  Failures are told as plain data.
    """

    # Serve awaits an asynchronous constructor.
    async def __init__(  # type: ignore[misc]
        self, llm_config: LLMConfig, *, spec: bytes, reference: bytes
    ) -> None:
        self._spec = msgspec.json.decode(spec, type=EngineSpec)
        self._reference = msgspec.json.decode(reference, type=Reference)
        self._instance = uuid.uuid4().hex
        self._listening: asyncio.Task[WireAddress] | None = None
        await asyncio.to_thread(self._check_files)
        guard_llvmlite()
        try:
            engine_class = SingleProcessEngine if self._spec.device == "cpu" else VLLMEngine
            await super().__init__(llm_config, engine_cls=engine_class)
            await self.warm()
            await self.prove()
        except BaseException:
            self._stop_engine()
            raise

    async def _start_engine(self) -> None:
        """Start the engine without Ray's telemetry, which costs a process of 400 MB."""
        await self.engine.start()

    def _check_files(self) -> None:
        wanted = self._spec.checkpoint
        found = validate(wanted.path, allow_remote_code=self._spec.settings.remote_code)
        if found.revision != wanted.revision:
            msg = (
                f"The files in {wanted.path} changed: this engine serves revision {wanted.revision[:12]}, "
                f"but the folder now holds {found.revision[:12]}. Put the files back, or swap to the "
                f"folder as it is now."
            )
            raise EngineStartError(msg)

    async def warm(self) -> None:
        """Ask for what is compiled or loaded at its first use, so that no client waits for it.

        Raises
        ------
        EngineStartError
            If the engine cannot answer.
        """
        for together in warming_requests():
            for found in await asyncio.gather(*map(self.answer, together)):
                if isinstance(found, Failed):
                    raise EngineStartError(f"A request to warm the engine failed: {found.message}")

    async def prove(self) -> None:
        """Answer the probe set and hold it against the reference.

        Raises
        ------
        ProbeMismatchError
            If an answer differs.
        """
        # Cached prefixes would change how prompts are cut, and with it the last bits of sums.
        await self.reset_prefix_cache()
        answers: list[list[int]] = []
        for body in probe_requests(images=self._spec.checkpoint.images):
            found = await self.answer(body | {"return_token_ids": True})
            if isinstance(found, Failed):
                raise EngineStartError(f"A probe failed: {found.message}")
            answers.append(found.read().choices[0].token_ids or [])
        await self.reset_prefix_cache()
        check_answers(self._spec, self._reference, answers)

    async def answer(self, body: ChatBody) -> Answered | Failed:
        """Answer a chat completion as a whole."""
        request = self._request(body)
        if isinstance(request, Failed):
            return request
        try:
            async for item in await self.chat(request):
                if isinstance(item, ErrorResponse):
                    return self._failure(item)
                document = msgspec.Raw(msgspec.json.encode(item.model_dump(mode="json")))
                return Answered(revision=self._spec.checkpoint.revision, document=document)
        except Exception as error:  # noqa: BLE001 - see the class: none may leave this process
            return self._raised(error, body)
        return Failed(message="The engine gave no answer.", status=503, dead=True)

    async def stream(self, body: ChatBody) -> AsyncGenerator[Begun | Failed | bytes, None]:
        """Answer with server-sent events: first `Begun` or `Failed`, then bytes."""
        request = self._request(body)
        if isinstance(request, Failed):
            yield request
            return
        first = True
        try:
            async for batch in await self.chat(request):
                for item in batch if isinstance(batch, list) else [batch]:
                    if isinstance(item, ErrorResponse):
                        yield self._failure(item)
                        return
                    if first:
                        failure = _streamed_failure(item)
                        if failure is not None:
                            yield failure
                            return
                        yield Begun(revision=self._spec.checkpoint.revision)
                        first = False
                    yield item.encode()
        except Exception as error:  # noqa: BLE001 - see the class: none may leave this process
            yield self._raised(error, body)

    async def wire(self) -> WireAddress:
        """Return where this replica answers without Serve in between, see `aiopt.serving.engines.wire`.

        It listens from the first time it is asked: without `engine_sockets` there is no socket.
        """
        if self._listening is None:
            self._wire = WireServer(self._on_wire, host=ray.util.get_node_ip_address())
            self._listening = asyncio.create_task(self._wire.start())
        return await self._listening

    async def _on_wire(self, body: ChatBody) -> AsyncGenerator[bytes, None]:
        """Answer as `answer` and `stream` do, a frame for each of their items."""
        if body.get("stream"):
            async for item in self.stream(body):
                yield item if isinstance(item, bytes) else msgspec.json.encode(item)
        else:
            yield msgspec.json.encode(await self.answer(body))

    async def instance(self) -> str:
        """Return a name for this start of this engine."""
        return self._instance

    def _request(self, body: ChatBody) -> ChatCompletionRequest | Failed:
        try:
            return ChatCompletionRequest(**{**body, "model": self._llm_config.model_id})
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            message = f"The request is not valid: {where}: {first['msg']}".replace(": : ", ": ")
            return Failed(message=message, status=400)
        except ValueError as error:
            return Failed(message=str(error), status=400)

    def _raised(self, error: Exception, body: ChatBody) -> Failed:
        if not self._dead():
            _LOGGER.exception("the engine failed at a request", exc_info=error)
        return raised_failure(error, body, dead=self._dead())

    def _failure(self, response: ErrorResponse) -> Failed:
        status = int(response.error.code or 500)
        return Failed(message=response.error.message, status=status, dead=self._dead())

    def _dead(self) -> bool:
        return bool(getattr(self.engine._engine_client, "errored", False))

    def _stop_engine(self) -> None:
        client = getattr(getattr(self, "engine", None), "_engine_client", None)
        if client is not None:
            client.shutdown()

    async def __del__(self) -> None:
        """Stop vLLM's processes when Serve stops the replica."""
        self._stop_engine()
        await super().__del__()


def _streamed_failure(event: str) -> Failed | None:
    """Return the error that vLLM puts into a stream instead of its first event, None for any other event."""
    if not event.startswith(_ERROR_EVENT):
        return None
    error = json.loads(event[len("data:") :])["error"]
    return Failed(message=str(error["message"]), status=int(error.get("code") or 500))


def build_engine(spec: EngineSpec, reference: Reference) -> serve.Application:
    """Build the Serve application of one engine."""
    stage = stage_options(f"engine-{spec.device}")
    bundle: dict[str, float] = {"CPU": stage["num_cpus"]}
    arguments = engine_arguments(spec)
    if spec.device == "gpu":
        bundle["GPU"] = stage["num_gpus"]
    config = LLMConfig(
        model_loading_config={"model_id": spec.slot, "model_source": spec.checkpoint.path},
        engine_kwargs=arguments,
        accelerator_config={"kind": spec.device},
        placement_group_config={"bundles": [bundle]},
        log_engine_metrics=False,
        callback_config={"callback_class": NoDownload},
        experimental_configs={"stream_batching_interval_ms": STREAM_INTERVAL_MS},
        runtime_env={"env_vars": engine_environment(spec, python_path=sitecustomize.python_path())},
        deployment_config={
            "num_replicas": spec.settings.replicas,
            "max_ongoing_requests": 1024,
            "health_check_period_s": HEALTH_PERIOD_S,
            "health_check_timeout_s": 30,
            "graceful_shutdown_wait_loop_s": 0.2,
            "graceful_shutdown_timeout_s": 20,
            "ray_actor_options": {"num_cpus": 0},
        },
    )
    return build_llm_deployment(
        config,
        deployment_cls=EngineServer,
        bind_kwargs={"spec": msgspec.json.encode(spec), "reference": msgspec.json.encode(reference)},
        override_serve_options={"name": ENGINE_DEPLOYMENT, "max_constructor_retry_count": 1},
    )


def compute_reference(spec_json: bytes, key: str) -> bytes:
    """Answer the probe set with a fresh engine in this process, which ends afterwards.

    Independent of the serving path: vLLM's offline `LLM`, no Serve, no HTTP layer.
    """
    spec = msgspec.json.decode(spec_json, type=EngineSpec)
    guard_llvmlite()
    from vllm import LLM, SamplingParams

    arguments = engine_arguments(spec) | {"enable_sleep_mode": False}
    llm = LLM(model=spec.checkpoint.path, **arguments)
    answers: list[tuple[int, ...]] = []
    requests = probe_requests(images=spec.checkpoint.images)
    for body in requests:
        sampling = SamplingParams(
            temperature=body["temperature"], max_tokens=body["max_tokens"], seed=body["seed"]
        )
        (output,) = llm.chat(body["messages"], sampling, use_tqdm=False)
        answers.append(tuple(output.outputs[0].token_ids))
    check_well_formed(spec.checkpoint.model_id, answers, len(requests))
    reference = Reference(key=key, revision=spec.checkpoint.revision, answers=tuple(answers))
    return msgspec.json.encode(reference)
