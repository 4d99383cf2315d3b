"""PNG files of right structure and wrong pixels: engines would answer about an empty picture."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from aiopt.charts.png import encode_png
from cluster.serving.gateway.failures import HttpError
from cluster.serving.gateway.images import check_image
from cluster.serving.gateway.settings import GatewaySettings

SETTINGS = GatewaySettings()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(
    stream: bytes, *, width: int = 4, height: int = 3, colour: int = 0, interlaced: int = 0, pieces: int = 1
) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, interlaced)
    step = -(-len(stream) // pieces)
    body = b"".join(chunk(b"IDAT", stream[at : at + step]) for at in range(0, len(stream), step))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


@pytest.mark.parametrize("pieces", [1, 2, 5])
def test_whole_pixels_pass_however_they_are_cut(pieces: int) -> None:
    assert check_image(png(zlib.compress(bytes(3 * 5)), pieces=pieces), SETTINGS, where="x") == "png"


@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3), (3, 1), (4, 2), (6, 4)])
def test_every_colour_type_has_its_length(colour: int, channels: int) -> None:
    whole = bytes(3 * (1 + 4 * channels))
    check_image(png(zlib.compress(whole), colour=colour), SETTINGS, where="x")
    with pytest.raises(
        HttpError, match=f"holds {len(whole) - 1} bytes of pixels where 4 x 3 take {len(whole)}"
    ):
        check_image(png(zlib.compress(whole[:-1]), colour=colour), SETTINGS, where="x")


def test_an_interlaced_pixel_passes() -> None:
    check_image(png(zlib.compress(bytes(2)), width=1, height=1, interlaced=1), SETTINGS, where="x")


def test_our_own_charts_pass() -> None:
    rng = np.random.default_rng(1)
    picture = encode_png(rng.integers(0, 4, (120, 90), np.uint8), rng.integers(0, 256, (4, 3), np.uint8))
    check_image(picture, SETTINGS, where="x")


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (bytes(20), "cannot be inflated"),
        (zlib.compress(bytes(15))[:-6], "bytes of pixels where 4 x 3 take 15"),
        (zlib.compress(bytes(16)), "bytes of pixels where 4 x 3 take 15"),
        (zlib.compress(bytes(50_000_000)), "bytes of pixels where 4 x 3 take 15"),
    ],
    ids=["no stream", "cut", "one byte too many", "a bomb"],
)
def test_pixels_that_are_none_are_refused(stream: bytes, message: str) -> None:
    with pytest.raises(HttpError, match=message):
        check_image(png(stream), SETTINGS, where="x")


def test_a_colour_type_that_is_none_is_refused() -> None:
    with pytest.raises(HttpError, match="its colour type is 5"):
        check_image(png(zlib.compress(bytes(15)), colour=5), SETTINGS, where="x")
