"""Images of a request: from a data URL to a PNG of what was decoded, beside the event loop.

Owns which images a request may hold and the threads that decode them.  Fetches nothing: an address in a
request is refused, so that nobody can make this machine open connections.  What a whole file is, is
`aiopt.serving.pictures`'.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from aiopt.serving.gateway.failures import HttpError, invalid
from aiopt.serving.gateway.settings import GatewaySettings
from aiopt.serving.pictures import DamagedPictureError, decode_picture, picture_kind, picture_size

T = TypeVar("T")

PNG_URL = "data:image/png;base64,"

_PREFIXES = {PNG_URL: "png", "data:image/jpeg;base64,": "jpeg", "data:image/jpg;base64,": "jpeg"}
_PIECE = 1 << 20
"""Characters of base64 read at once, and a third of the bytes written: others get their turn in between."""


class ImageDecoder:
    """Decodes the images of one gateway in a few threads of their own.

    Parameters
    ----------
    settings : GatewaySettings
        Limits, and how many threads there are.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._threads = ThreadPoolExecutor(settings.image_threads, thread_name_prefix="aiopt-images")

    async def data_url(self, url: str, *, where: str) -> str:
        """Return what an image in a data URL (``data:image/png;base64,…`` or ``jpeg``) shows, as PNG in one.

        Parameters
        ----------
        url : str
            The data URL.
        where : str
            Place in the request, for messages.

        Raises
        ------
        HttpError
            400: not an image, damaged, too many pixels.  413: too many bytes.
        """
        return await self._run(lambda: png_url(decode_data_url(url, self._settings, where=where)))

    async def text(self, text: str, *, where: str, only: str | None = None) -> bytes:
        """Return what an image in plain base64 or a data URL shows, as PNG; errors as `data_url`.

        With `only` ("png"), files of another kind are refused.
        """
        return await self._run(lambda: decode_base64(text, self._settings, where=where, only=only))

    async def file(self, data: bytes, *, where: str, only: str | None = None) -> bytes:
        """Return what an image file shows, as PNG; as `text`."""
        return await self._run(lambda: decode_image(data, self._settings, where=where, only=only))

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def decode_data_url(url: str, settings: GatewaySettings, *, where: str, only: str | None = None) -> bytes:
    """Return what an image in a data URL shows, as PNG; errors as `ImageDecoder.data_url`."""
    for prefix, kind in _PREFIXES.items():
        if url[: len(prefix)].lower() == prefix:
            return _from_base64(url[len(prefix) :], settings, where=where, kind=kind, only=only)
    raise invalid(
        f"{where}: an image must be a data URL (data:image/png;base64,… or data:image/jpeg;base64,…), "
        "because "
        f"nothing is fetched from addresses, but starts with {url[:32]!r}. Send the file itself.",
        param=where,
        code="invalid_image",
    )


def decode_base64(text: str, settings: GatewaySettings, *, where: str, only: str | None = None) -> bytes:
    """As `ImageDecoder.text`, in this thread."""
    if text[:5].lower() == "data:":
        return decode_data_url(text, settings, where=where, only=only)
    return _from_base64(text, settings, where=where, kind=None, only=only)


def decode_image(data: bytes, settings: GatewaySettings, *, where: str, only: str | None = None) -> bytes:
    """As `ImageDecoder.file`, in this thread."""
    kind = check_image(data, settings, where=where)
    if only is not None and kind != only:
        raise invalid(
            f"{where}: a chart must be a PNG file, but is {kind}. Save it as PNG.",
            param=where,
            code="invalid_image",
        )
    try:
        return decode_picture(data)
    except DamagedPictureError as failure:
        raise _damaged(where, failure) from failure


def check_image(data: bytes, settings: GatewaySettings, *, where: str) -> str:
    """Check an image by its size, kind and header, before anything is decoded; return "png" or "jpeg".

    Raises
    ------
    HttpError
        400: neither PNG nor JPEG, no header, or too many pixels.  413: too many bytes.
    """
    if len(data) > settings.max_image_bytes:
        raise _too_large(len(data), settings, where)
    kind = picture_kind(data)
    if kind is None:
        raise invalid(
            f"{where}: an image must be PNG or JPEG, but starts with {data[:8]!r}. Send a PNG or JPEG file.",
            param=where,
            code="invalid_image",
        )
    try:
        width, height = picture_size(data)
    except DamagedPictureError as failure:
        raise _damaged(where, failure) from failure
    side, pixels = settings.max_image_side, settings.max_image_pixels
    if not (1 <= width <= side and 1 <= height <= side and width * height <= pixels):
        raise invalid(
            f"{where}: an image must have sides of 1 to {side} pixels and at most {pixels:,} pixels, but has "
            f"{width} x {height}. Scale it down.",
            param=where,
            code="image_too_large",
        )
    return kind


def png_url(data: bytes) -> str:
    """Return a PNG file as a data URL."""
    pieces = (data[at : at + 3 * _PIECE] for at in range(0, len(data), 3 * _PIECE))
    return PNG_URL + "".join(base64.b64encode(piece).decode() for piece in pieces)


def _from_base64(
    text: str, settings: GatewaySettings, *, where: str, kind: str | None, only: str | None
) -> bytes:
    if len(text) * 3 // 4 > settings.max_image_bytes + 3:
        raise _too_large(len(text) * 3 // 4, settings, where)
    try:
        data = _binary(text)
    except ValueError as failure:
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
    return decode_image(data, settings, where=where, only=only)


def _binary(text: str) -> bytes:
    """Decode base64 piece by piece, as strictly as in one."""
    if "=" in text[:-2]:
        raise binascii.Error("padding before the end")
    pieces = (text[at : at + _PIECE] for at in range(0, len(text), _PIECE))
    return b"".join(binascii.a2b_base64(piece.encode("ascii"), strict_mode=True) for piece in pieces)


def _too_large(size: int, settings: GatewaySettings, where: str) -> HttpError:
    return HttpError(
        413,
        f"{where}: an image file may have {settings.max_image_bytes:,} bytes, but has {size:,}. Scale it "
        "down.",
        code="image_too_large",
        param=where,
    )


def _damaged(where: str, failure: DamagedPictureError) -> HttpError:
    return invalid(
        f"{where}: the image file must be whole, but is damaged or of a kind that is not read: "
        f"{failure.what}. {failure.remedy}",
        param=where,
        code="invalid_image",
    )
