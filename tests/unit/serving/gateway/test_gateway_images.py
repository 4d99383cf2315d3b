"""Images of requests: what engines are given, where they are decoded, and what is refused before that."""

from __future__ import annotations

import asyncio
import base64
import threading
import zlib
from typing import Any

import httpx
import numpy as np
import pytest

from aiopt.serving.gateway import app, images
from aiopt.serving.gateway.failures import HttpError
from aiopt.serving.gateway.images import ImageDecoder, check_image, decode_base64, decode_data_url, png_url
from aiopt.serving.gateway.settings import GatewaySettings
from aiopt.serving.pictures import warm_decoders
from aiopt.serving.pictures.jpeg_scan import read_scan
from tests.unit.serving.conftest import TOKENS, Play
from tests.unit.serving.fake_backend import FakeBackend
from tests.unit.serving.gateway.chat_requests import URL, check_error, picture_chat
from tests.unit.serving.made_pictures import (
    DAMAGED_JPEGS,
    bad_filter,
    data_url,
    gradient,
    jpeg,
    png,
    png_of,
    saved,
    shown,
)

SETTINGS = GatewaySettings()


def given_pictures(body: dict[str, Any]) -> list[Any]:
    """Return the pixels of every picture an engine was given."""
    parts = [part for part in body["messages"][-1]["content"] if part["type"] == "image_url"]
    urls = [part["image_url"]["url"] for part in parts]
    assert all(url.startswith("data:image/png;base64,") for url in urls)
    return [shown(base64.b64decode(url.partition(",")[2])) for url in urls]


def test_engines_are_given_what_was_decoded(play: Play) -> None:
    pixels = gradient(30, 20)
    photo, ramp = saved(pixels, quality=95), np.arange(0, 65_536, 256, dtype=np.uint16).reshape(16, 16)
    urls = (
        data_url(saved(pixels, "PNG")),
        data_url(photo, "jpeg"),
        data_url(photo, "jpg"),
        data_url(photo, "jpeg").replace("data:image/jpeg;base64", "DATA:Image/JPEG;BASE64"),
        data_url(saved(ramp, "PNG")),
    )

    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        response = await client.post(URL, json=picture_chat(*urls))
        assert response.status_code == 200, response.text
        found = given_pictures(backend.bodies[0])
        assert np.array_equal(found[0], pixels)
        for photo_seen in found[1:4]:
            assert np.array_equal(photo_seen, shown(photo))
        assert np.array_equal(found[4], np.repeat((ramp >> 8).astype(np.uint8)[..., None], 3, axis=2))

    play(scenario)


FAULTS = {
    **{name: lambda make=make: data_url(make(), "jpeg") for name, make in DAMAGED_JPEGS.items()},  # type: ignore[misc]
    "PNG with an invalid filter": lambda: data_url(bad_filter()),
    "short interlaced PNG": lambda: data_url(png_of(zlib.compress(bytes(6)), interlaced=1)),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_damaged_picture_is_the_clients_error_and_reaches_no_engine(name: str, play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        for stream in (False, True):
            response = await client.post(URL, json=picture_chat(FAULTS[name](), stream=stream))
            error = check_error(response, 400, r"messages\[0\].content\[0\].image_url: .* must be whole")
            assert error["code"] == "invalid_image"
        assert backend.bodies == []

    play(scenario)


def test_pictures_are_decoded_beside_the_event_loop_and_few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight pictures wait for one another; the loop goes on answering meanwhile."""
    release, threads, most, lock = threading.Event(), set[int](), 0, threading.Lock()
    running = 0

    def slow(data: bytes) -> bytes:
        nonlocal most, running
        with lock:
            running += 1
            most = max(most, running)
        threads.add(threading.get_ident())
        assert release.wait(20)
        with lock:
            running -= 1
        return data

    monkeypatch.setattr(images, "decode_picture", slow)

    async def main() -> None:
        decoder = ImageDecoder(GatewaySettings(image_threads=2))
        asked = [asyncio.create_task(decoder.data_url(data_url(png()), where="x")) for _ in range(8)]
        async with asyncio.timeout(20):
            while running < 2:
                await asyncio.sleep(0.001)  # the loop is free
        assert not any(task.done() for task in asked)
        release.set()
        assert await asyncio.gather(*asked) == [data_url(png())] * 8
        assert threading.get_ident() not in threads

    asyncio.run(main())
    assert most == 2


def test_a_gateway_is_built_with_its_decoders_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading and compiling them takes seconds, in which a gateway that serves would answer nobody."""
    warmed: list[None] = []
    monkeypatch.setattr(app, "warm_decoders", lambda: warmed.append(None))
    app.build_gateway(FakeBackend(), SETTINGS, TOKENS)
    assert warmed == [None]
    warm_decoders()
    assert read_scan.signatures


def test_decoded_pictures_have_a_limit_together(play: Play) -> None:
    async def scenario(client: httpx.AsyncClient, backend: FakeBackend) -> None:
        noise = np.random.default_rng(1).integers(0, 256, (40, 40, 3)).astype(np.uint8)
        url = data_url(saved(noise, quality=30), "jpeg")
        assert (await client.post(URL, json=picture_chat(url))).status_code == 200
        response = await client.post(URL, json=picture_chat(url, url))
        check_error(response, 413, "may have 6,000 bytes once decoded, but have")
        assert len(backend.bodies) == 1

    play(scenario, max_decoded_bytes=6000)


@pytest.mark.parametrize("text", ["AAA", "AA=A", "A===", "AAAA\n", "AAA€", "AAAA====", "=AAA"])
def test_base64_is_read_strictly(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for piece in (4, 1 << 20):
        monkeypatch.setattr(images, "_PIECE", piece)
        with pytest.raises(HttpError, match="must be base64 without line breaks, but"):
            decode_base64(text * 3 if "=" not in text else text, SETTINGS, where="x")


def test_base64_in_pieces_is_base64_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(gradient(20, 20), "PNG")
    for length in range(3):
        text = base64.b64encode(data + bytes(length)).decode()
        whole = decode_base64(text, SETTINGS, where="x")
        monkeypatch.setattr(images, "_PIECE", 8)
        assert decode_base64(text, SETTINGS, where="x") == whole
        monkeypatch.undo()


def test_a_png_is_written_in_pieces_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_PIECE", 7)
    for length in range(60):
        assert png_url(bytes(range(length))) == data_url(bytes(range(length)))


def test_a_header_decides_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "decode_picture", lambda data: pytest.fail("it was decoded"))
    for url, message in (
        (data_url(png(20_000, 20_000)), "but has 20000 x 20000"),
        (data_url(jpeg(20_000, 3), "jpeg"), "but has 20000 x 3"),
        (data_url(png(0, 5)), "but has 0 x 5"),
        (data_url(jpeg(), "png"), "says png and holds jpeg"),
        (data_url(b"GIF89a"), "must be PNG or JPEG"),
    ):
        with pytest.raises(HttpError, match=message):
            decode_data_url(url, SETTINGS, where="x")
    assert check_image(png(), SETTINGS, where="x") == "png"
    assert check_image(jpeg(), SETTINGS, where="x") == "jpeg"
