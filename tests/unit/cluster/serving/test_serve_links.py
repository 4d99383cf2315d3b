"""Which of Ray's errors mean that the other end is gone, over handles of plain objects; no Ray runs."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
from ray.exceptions import RayActorError, RayTaskError

with warnings.catch_warnings():
    # Ray Serve's configuration classes use what its pydantic deprecates.
    warnings.simplefilter("ignore")
    from ray.serve.exceptions import RayServeException

    from cluster.serving import serve_links

from aiopt.serving.backend import SwapRefusedError
from aiopt.serving.engines.links import LinkDownError
from aiopt.serving.engines.wire import WireAddress
from aiopt.serving.replies import Answered, Begun, Failed
from tests.unit.serving.virtual_time import run_at_once

HELLO = Answered(revision="a", document=msgspec.Raw(b"{}"))
ADDRESS = WireAddress(host="127.0.0.1", port=1, secret="s")
GONE = [RayActorError(), RayServeException("no replica")]


class Response:
    """What a handle's method returns: awaited or iterated, and cancellable."""

    def __init__(self, made: Any) -> None:
        self._made = made
        self.cancelled = False

    def __await__(self) -> Any:
        return self._made.__await__()

    def __aiter__(self) -> Response:
        return self

    def __anext__(self) -> Any:
        return self._made.__anext__()

    def cancel(self) -> None:
        self.cancelled = True


class Handle:
    """A deployment handle: every method plays the next step, or waits for ever after the last."""

    def __init__(self, *steps: Any) -> None:
        self.steps = list(steps)
        self.responses: list[Response] = []
        self.calls: list[tuple[Any, ...]] = []

    def options(self, *, stream: bool) -> Handle:
        assert stream
        return self

    def __getattr__(self, name: str) -> Any:
        return Method(self, name)

    async def play(self) -> Any:
        if not self.steps:
            await asyncio.get_running_loop().create_future()
        step = self.steps.pop(0)
        if isinstance(step, BaseException):
            raise step
        return step

    async def events(self) -> AsyncIterator[Any]:
        while (event := await self.play()) is not None:
            yield event


class Method:
    def __init__(self, handle: Handle, name: str) -> None:
        self._handle, self._name = handle, name

    def remote(self, *arguments: Any) -> Response:
        handle = self._handle
        handle.calls.append((self._name, *arguments))
        response = Response(handle.events() if self._name == "stream" else handle.play())
        handle.responses.append(response)
        return response


def task_error(cause: Exception) -> RayTaskError:
    return RayTaskError("method", "traceback", cause)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[serve_links.ServeEngineLink, Handle]]:
    def make(*steps: Any) -> tuple[serve_links.ServeEngineLink, Handle]:
        handle = Handle(*steps)
        monkeypatch.setattr(serve_links.serve, "get_deployment_handle", lambda deployment, name: handle)
        return serve_links.ServeEngineLink("aiopt-engine-1"), handle

    return make


def test_an_engine_is_asked_by_its_methods(engine: Any) -> None:
    async def main() -> None:
        link, handle = engine(HELLO, "life", ADDRESS, Begun(revision="a"), b"data: 1\n\n", None)
        assert await link.answer({"n": 1}) == HELLO
        assert await link.instance() == "life"
        assert await link.wire() == ADDRESS
        assert [event async for event in link.stream({"n": 2})] == [Begun(revision="a"), b"data: 1\n\n"]
        assert handle.calls == [("answer", {"n": 1}), ("instance",), ("wire",), ("stream", {"n": 2})]
        assert not any(response.cancelled for response in handle.responses)

    asyncio.run(main())


@pytest.mark.parametrize("error", GONE, ids=["replica", "serve"])
def test_a_replica_that_is_gone_is_a_link_that_is_down(engine: Any, error: Exception) -> None:
    async def main() -> None:
        link, _ = engine(error, Failed(message="x", status=400), None, Begun(revision="a"), error)
        with pytest.raises(LinkDownError, match=type(error).__name__):
            await link.answer({})
        assert [event async for event in link.stream({})] == [Failed(message="x", status=400)]
        with pytest.raises(LinkDownError, match=type(error).__name__):
            [event async for event in link.stream({})]

    asyncio.run(main())


def test_a_defect_of_an_engines_code_is_no_death_unless_the_answer_had_begun(engine: Any) -> None:
    async def main() -> None:
        defect = task_error(ZeroDivisionError("x"))
        link, _ = engine(defect, defect, Begun(revision="a"), defect)
        with pytest.raises(RayTaskError):
            await link.answer({})
        with pytest.raises(RayTaskError):
            await anext(link.stream({}))
        with pytest.raises(LinkDownError, match="RayTaskError"):
            [event async for event in link.stream({})]

    asyncio.run(main())


def test_what_is_given_up_is_cancelled_at_the_engine(engine: Any) -> None:
    async def main() -> None:
        link, handle = engine()
        task = asyncio.create_task(link.answer({}))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        handle.steps = [Begun(revision="a")]
        events = link.stream({})
        await anext(events)
        await events.aclose()
        assert [response.cancelled for response in handle.responses] == [True, True]

    asyncio.run(main())


def test_the_coordinators_own_errors_arrive_as_they_were_raised() -> None:
    async def main() -> None:
        refused = task_error(SwapRefusedError("only one at a time"))
        link = serve_links.ServeCoordinatorLink(Handle(refused, task_error(ZeroDivisionError("x"))))  # type: ignore[arg-type]
        with pytest.raises(SwapRefusedError, match="only one at a time"):
            await link.begin("swap", "minicpm", "b", True)
        with pytest.raises(RayTaskError):
            await link.operation("op-1")

    asyncio.run(main())


@pytest.mark.parametrize(
    "error", [*GONE, task_error(ZeroDivisionError("x"))], ids=["replica", "serve", "defect"]
)
def test_a_coordinator_that_is_away_is_asked_again_whatever_the_reason(error: Exception) -> None:
    async def main() -> None:
        link = serve_links.ServeCoordinatorLink(Handle(error))  # type: ignore[arg-type]
        with pytest.raises(LinkDownError, match=type(error).__name__):
            await link.sync("gateway", "1", {}, 5.0)

    asyncio.run(main())


def test_a_coordinator_that_says_nothing_is_given_up_after_the_poll_and_the_wait() -> None:
    async def main() -> None:
        link = serve_links.ServeCoordinatorLink(Handle())  # type: ignore[arg-type]
        with pytest.raises(LinkDownError, match="TimeoutError"):
            await link.status()
        assert asyncio.get_running_loop().time() == pytest.approx(serve_links.ANSWER_S)
        with pytest.raises(LinkDownError, match="TimeoutError"):
            await link.sync("gateway", "1", {}, 5.0)
        assert asyncio.get_running_loop().time() == pytest.approx(2 * serve_links.ANSWER_S + 5)

    run_at_once(main)
