"""One request over HTTP: proxies of the environment, who asks, and what is never a whole answer."""

from __future__ import annotations

import base64
from threading import Event

import pytest

from aiopt.errors import ConfigError
from aiopt.ticks.download import FeedAccess, FeedError, HttpClient
from tests.unit.ticks.download.faulty_server import SPAN, Handler, Server, bi5_body, keys, redirect

PATH = "datafeed/EURUSD/2024/04/06/10h_ticks.bi5"
ELSEWHERE = f"http://feed.invalid/{PATH}"  # no such host: only a proxy can answer for it


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize("form", ["http://127.0.0.1:{port}", "127.0.0.1:{port}"])
def test_the_proxy_of_the_environment_is_asked(
    server: Server, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", form.format(port=server.server_address[1]))
    # Of another kind, and for other tools: not ours to fail on.
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    assert HttpClient().get(ELSEWHERE).data == bi5_body(SPAN[0])
    with pytest.raises(FeedError, match=r"feed\.invalid/.*: \w+:"):
        HttpClient(proxy="", timeout_s=2).get(ELSEWHERE)


def test_a_host_of_no_proxy_is_asked_directly(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with pytest.raises(FeedError, match="ConnectionRefusedError") as refused:
        HttpClient().get(f"{server.base}/{PATH}")
    assert (refused.value.retry, refused.value.absent) == (True, False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert HttpClient().get(f"{server.base}/{PATH}").data == bi5_body(SPAN[0])


def test_a_proxy_gets_its_password_and_the_server_learns_who_asks(server: Server) -> None:
    seen: list[dict[str, str]] = []

    def note(handler: Handler, body: bytes) -> None:
        seen.append(dict(handler.headers))
        handler.give(body)

    server.script[keys("bi5")[0]] = [note]
    HttpClient(proxy=server.base.replace("//", "//me:secret@")).get(ELSEWHERE)
    assert base64.b64decode(seen[0]["Proxy-Authorization"].removeprefix("Basic ")) == b"me:secret"
    assert seen[0]["Host"] == "feed.invalid"
    assert seen[0]["User-Agent"].startswith("aiopt/")
    assert seen[0]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "127.0.0.1:9", "http://"])
def test_a_bad_proxy_is_refused(proxy: str) -> None:
    with pytest.raises(ConfigError, match=r"proxy must be http://host:port, but got"):
        FeedAccess(proxy=proxy).open(Event())


def test_a_loop_of_redirects_ends_and_is_not_tried_again(server: Server) -> None:
    server.script[keys("bi5")[0]] = [redirect("{base}{path}")]
    with pytest.raises(FeedError, match="status 302, and still no answer after 10 redirects") as refused:
        HttpClient(proxy="").get(f"{server.base}/{PATH}")
    assert not refused.value.retry
    assert server.asked[keys("bi5")[0]] == 11


@pytest.mark.parametrize("url", ["http://[bad/x", "http://"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(FeedError, match="http://"):
        HttpClient(proxy="").get(url)
