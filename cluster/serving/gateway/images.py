"""Images of a request: PNG and JPEG as data URLs, judged by their headers and, of a PNG, by its pixel data.

Owns what an acceptable image is.  Fetches nothing: an address in a request is refused, so that nobody can
make this machine open connections.
"""

from __future__ import annotations

import base64
import binascii
import zlib

from cluster.serving.gateway.failures import HttpError, invalid
from cluster.serving.gateway.settings import GatewaySettings

_PNG = b"\x89PNG\r\n\x1a\n"
_PREFIXES = {
    "data:image/png;base64,": "png",
    "data:image/jpeg;base64,": "jpeg",
    "data:image/jpg;base64,": "jpeg",
}
_SOF = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PIECE_BYTES = 1 << 18
_REMEDY = "Send a PNG or JPEG file."


def decode_data_url(url: str, settings: GatewaySettings, *, where: str) -> bytes:
    """Return the file in a data URL, checked.

    Parameters
    ----------
    url : str
        ``data:image/png;base64,…`` or the same with ``jpeg``.
    settings : GatewaySettings
        Limits.
    where : str
        Place in the request, for messages.

    Raises
    ------
    HttpError
        400 or 413.
    """
    for prefix, kind in _PREFIXES.items():
        if url[: len(prefix)].lower() == prefix:
            return _decode(url[len(prefix) :], settings, where=where, kind=kind)
    raise invalid(
        f"{where}: an image must be a data URL (data:image/png;base64,… or data:image/jpeg;base64,…), "
        "because "
        f"nothing is fetched from addresses, but starts with {url[:32]!r}. Send the file itself.",
        param=where,
        code="invalid_image",
    )


def decode_base64(text: str, settings: GatewaySettings, *, where: str) -> bytes:
    """Return the image file in plain base64 or a data URL, checked as by `decode_data_url`."""
    if text[:5].lower() == "data:":
        return decode_data_url(text, settings, where=where)
    return _decode(text, settings, where=where, kind=None)


def _decode(text: str, settings: GatewaySettings, *, where: str, kind: str | None) -> bytes:
    if len(text) * 3 // 4 > settings.max_image_bytes + 3:
        raise _too_large(len(text) * 3 // 4, settings, where)
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as failure:
        raise invalid(
            f"{where}: an image must be base64 without line breaks, but: {failure}. Encode the file again.",
            param=where,
            code="invalid_image",
        ) from failure
    found = check_image(data, settings, where=where)
    if kind is not None and found != kind:
        raise invalid(
            f"{where}: the data URL must name the type of its file, but says {kind} and holds {found}. "
            f"Write data:image/{found};base64,…",
            param=where,
            code="invalid_image",
        )
    return data


def check_image(data: bytes, settings: GatewaySettings, *, where: str) -> str:
    """Check an image file; return "png" or "jpeg".

    The pixel data of a PNG is inflated piece by piece and thrown away: engines take what cannot be inflated
    for an empty picture and answer.  JPEG decoders fill what is damaged, by the standard, so of a JPEG only
    the structure is checked.

    Raises
    ------
    HttpError
        400: neither PNG nor JPEG, cut off, damaged, or too many pixels.  413: too many bytes.
    """
    if len(data) > settings.max_image_bytes:
        raise _too_large(len(data), settings, where)
    if data.startswith(_PNG):
        kind, size = "png", _png_size(data, where)
    elif data.startswith(b"\xff\xd8\xff"):
        kind, size = "jpeg", _jpeg_size(data, where)
    else:
        raise invalid(
            f"{where}: an image must be PNG or JPEG, but starts with {data[:8]!r}. {_REMEDY}",
            param=where,
            code="invalid_image",
        )
    width, height = size
    side, pixels = settings.max_image_side, settings.max_image_pixels
    if not (1 <= width <= side and 1 <= height <= side and width * height <= pixels):
        raise invalid(
            f"{where}: an image must have sides of 1 to {side} pixels and at most {pixels:,} pixels, but has "
            f"{width} x {height}. Scale it down.",
            param=where,
            code="image_too_large",
        )
    if kind == "png":
        _check_pixels(data, width, height, where)
    return kind


def _too_large(size: int, settings: GatewaySettings, where: str) -> HttpError:
    return HttpError(
        413,
        f"{where}: an image file may have {settings.max_image_bytes:,} bytes, but has {size:,}. Scale it "
        "down.",
        code="image_too_large",
        param=where,
    )


def _damaged(where: str, what: str) -> HttpError:
    return invalid(
        f"{where}: the image file is damaged: {what}. {_REMEDY}", param=where, code="invalid_image"
    )


def _png_size(data: bytes, where: str) -> tuple[int, int]:
    """Walk the chunks to IEND, checking each checksum: a cut or damaged file ends here, not in an engine."""
    position, size, pixels = len(_PNG), (0, 0), False
    while True:
        head = data[position : position + 8]
        if len(head) < 8:
            raise _damaged(where, "it ends before its last chunk")
        length, name = int.from_bytes(head[:4], "big"), head[4:]
        end = position + 12 + length
        if end > len(data):
            raise _damaged(where, f"chunk {name!r} is cut off")
        if position == len(_PNG):
            if name != b"IHDR" or length != 13:
                raise _damaged(where, "it does not start with IHDR")
            size = (
                int.from_bytes(data[position + 8 : position + 12], "big"),
                int.from_bytes(data[position + 12 : position + 16], "big"),
            )
        checksum = int.from_bytes(data[end - 4 : end], "big")
        if zlib.crc32(memoryview(data)[position + 4 : end - 4]) != checksum:
            raise _damaged(where, f"the checksum of chunk {name!r} is wrong")
        if name == b"IDAT":
            pixels = True
        if name == b"IEND":
            if not pixels:
                raise _damaged(where, "it holds no pixels")
            return size
        position = end


def _check_pixels(data: bytes, width: int, height: int, where: str) -> None:
    """Inflate the pixels of a whole PNG file, in pieces, and compare their length with the header's size."""
    depth, colour, interlaced = data[24], data[25], data[28]
    if colour not in _CHANNELS:
        raise _damaged(where, f"its colour type is {colour}")
    row_bytes = (width * _CHANNELS[colour] * depth + 7) // 8 + 1
    # Adam7 cuts an image into up to seven smaller ones, whose rows are padded to whole bytes.
    most = row_bytes * height if not interlaced else 2 * row_bytes * height + 64 * (width + height)
    stream, found, position = zlib.decompressobj(), 0, len(_PNG)
    try:
        while position < len(data) and not stream.eof:
            length, name = (
                int.from_bytes(data[position : position + 4], "big"),
                data[position + 4 : position + 8],
            )
            piece = data[position + 8 : position + 8 + length] if name == b"IDAT" else b""
            while piece and not stream.eof and found <= most:
                found += len(stream.decompress(piece, _PIECE_BYTES))
                piece = stream.unconsumed_tail
            position += 12 + length
    except zlib.error as failure:
        raise _damaged(where, f"its pixels cannot be inflated ({failure})") from failure
    if not stream.eof or found > most or (found < most and not interlaced):
        raise _damaged(where, f"it holds {found:,} bytes of pixels where {width} x {height} take {most:,}")


def _jpeg_size(data: bytes, where: str) -> tuple[int, int]:
    """Walk the segments to the frame header."""
    position = 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            raise _damaged(where, "a segment does not start with 0xFF")
        marker = data[position + 1]
        if marker == 0xFF or 0xD0 <= marker <= 0xD9 or marker == 0x01:
            position += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        if length < 2:
            raise _damaged(where, "a segment has no length")
        if marker in _SOF:
            frame = data[position + 5 : position + 9]
            if len(frame) < 4:
                break
            if b"\xff\xd9" not in data[-64:]:
                raise _damaged(where, "it ends before its end mark")
            return int.from_bytes(frame[2:], "big"), int.from_bytes(frame[:2], "big")
        position += 2 + length
    raise _damaged(where, "it ends before its frame header")
