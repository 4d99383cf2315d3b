"""Picture files made by hand: PNG chunks, JPEG segments, and ways to damage both."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PNG_START = b"\x89PNG\r\n\x1a\n"


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int = 4, height: int = 3, *, pixels: bool = True) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * min(4_000_000, height * (width + 1)))
    body = chunk(b"IDAT", rows) if pixels else b""
    return PNG_START + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


def png_of(
    stream: bytes,
    *,
    width: int = 4,
    height: int = 3,
    depth: int = 8,
    colour: int = 0,
    interlaced: int = 0,
    before: bytes = b"",
    pieces: int = 1,
) -> bytes:
    """Return a PNG with this stream of pixels, right or not; `before` are chunks in front of it."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    if colour == 3 and b"PLTE" not in before:
        before += chunk(b"PLTE", bytes(range(0, 240, 5)) * 16)
    step = -(-len(stream) // pieces)
    body = b"".join(chunk(b"IDAT", stream[at : at + step]) for at in range(0, len(stream), step))
    return PNG_START + chunk(b"IHDR", header) + before + body + chunk(b"IEND", b"")


def gradient(width: int, height: int) -> NDArray[np.uint8]:
    """Return RGB pixels in which no two neighbours are alike."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 7 + y, x * y, 255 - x * 3 - y * 5], axis=2).astype(np.uint8)


def saved(pixels: NDArray[Any], style: str = "JPEG", **options: Any) -> bytes:
    """Return pixels as a file that Pillow writes."""
    target = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(target, style, **options)
    return target.getvalue()


def shown(data: bytes) -> NDArray[np.uint8]:
    """Return the pixels of a file as RGB."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def jpeg(width: int = 4, height: int = 3) -> bytes:
    """Return a JPEG whose header names this size; beyond 512 pixels its content is that of a small one."""
    data = saved(gradient(min(width, 512), min(height, 512)))
    at = data.index(b"\xff\xc0")
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def segment(data: bytes, marker: int) -> tuple[int, int]:
    """Return where a segment of a JPEG begins and ends."""
    at = data.index(bytes((0xFF, marker)))
    return at, at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")


def without_segment(data: bytes, marker: int) -> bytes:
    """Return a JPEG without its segments of a kind."""
    while bytes((0xFF, marker)) in data[: data.index(b"\xff\xda")]:
        start, end = segment(data, marker)
        data = data[:start] + data[end:]
    return data


def as_frame(data: bytes, marker: int) -> bytes:
    """Return a baseline JPEG that says it is of another kind."""
    return data.replace(b"\xff\xc0", bytes((0xFF, marker)), 1)


def broken_huffman(data: bytes) -> bytes:
    """Return a JPEG whose first Huffman table holds more codes than there are."""
    at = data.index(b"\xff\xc4") + 5
    return data[:at] + b"\x03" + data[at + 1 :]


def entropy(data: bytes) -> tuple[int, int]:
    """Return where the pixels of a JPEG of one scan begin and end."""
    return segment(data, 0xDA)[1], len(data) - 2


def cut_pixels(data: bytes) -> bytes:
    """Return a JPEG without the last third of its pixels, and with its end mark."""
    start, end = entropy(data)
    return data[: end - (end - start) // 3].rstrip(b"\xff") + b"\xff\xd9"


def emptied_pixels(data: bytes) -> bytes:
    """Return a JPEG whose pixels are zeros from the middle on."""
    start, end = entropy(data)
    middle = (start + end) // 2
    return data[:middle] + bytes(end - middle) + data[end:]


SAMPLE = saved(gradient(64, 48), quality=90)
DAMAGED_JPEGS: dict[str, Callable[[], bytes]] = {
    "broken Huffman table": lambda: broken_huffman(SAMPLE),
    "no Huffman tables": lambda: without_segment(SAMPLE, 0xC4),
    "no quantisation table": lambda: without_segment(SAMPLE, 0xDB),
    "lossless": lambda: as_frame(SAMPLE, 0xC3),
    "arithmetic": lambda: as_frame(SAMPLE, 0xC9),
    "12 bits": lambda: SAMPLE.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc1\0\x11\x0c"),
    "pixels cut": lambda: cut_pixels(SAMPLE),
    "pixels emptied": lambda: emptied_pixels(SAMPLE),
    "no end": lambda: SAMPLE[:-2],
    "only a header": lambda: SAMPLE[: entropy(SAMPLE)[0]] + b"\xff\xd9",
    "progressive without its last scan": lambda: _without_last_scan(
        saved(gradient(64, 48), quality=90, progressive=True)
    ),
    "a missing restart mark": lambda: _without_restart(saved(gradient(64, 48), restart_marker_blocks=2)),
}


def _without_last_scan(data: bytes) -> bytes:
    return data[: data.rindex(b"\xff\xda")] + b"\xff\xd9"


def _without_restart(data: bytes) -> bytes:
    at = data.index(b"\xff\xd1")
    return data[:at] + data[at + 2 :]


def bad_filter() -> bytes:
    """Return a PNG whose second row has filter 7."""
    return png_of(zlib.compress(bytes(5) + b"\x07" + bytes(4) + bytes(5)))


def data_url(data: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
