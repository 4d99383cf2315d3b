"""PNG files: every chunk and every row read, and a copy without what does not decide pixels.

Owns which PNG files are read: all colour types and depths, interlaced or not, still.  Pixels are inflated
piece by piece and thrown away, so a file that inflates to more than its header says costs no memory.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from aiopt.serving.pictures.damage import DamagedPictureError
from aiopt.serving.pictures.orientation import orientation_of

START = b"\x89PNG\r\n\x1a\n"

_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_FILTERS = bytes(range(5))
_PIECE_BYTES = 1 << 18
# Adam7: first column and row of each pass, and the steps to the next.
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


@dataclass(frozen=True)
class PngHeader:
    """What IHDR, PLTE and tRNS say.

    Attributes
    ----------
    width, height : int
        Pixels.
    depth : int
        Bits per value: 1, 2, 4, 8 or 16.
    colour : int
        0 grey, 2 RGB, 3 palette, 4 grey with alpha, 6 RGB with alpha.
    interlaced : bool
        Adam7.
    palette : bytes
        Red, green and blue of each entry; empty without a palette.
    transparency : bytes or None
        Content of tRNS.
    orientation : int
        Of eXIf; 1 where there is none.
    """

    width: int
    height: int
    depth: int
    colour: int
    interlaced: bool
    palette: bytes = b""
    transparency: bytes | None = None
    orientation: int = 1


def header_size(data: bytes) -> tuple[int, int]:
    """Return width and height from the header, whatever else is wrong with the file.

    Raises
    ------
    DamagedPictureError
        If it does not start with its header.
    """
    if len(data) < 33 or data[8:16] != b"\0\0\0\x0dIHDR":
        raise DamagedPictureError("it does not start with IHDR")
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def whole_png(data: bytes) -> tuple[bytes, PngHeader]:
    """Read a file to IEND; return the chunks that decide pixels, and what they say.

    Raises
    ------
    DamagedPictureError
        If the file is damaged, cut off, or animated.
    """
    header_size(data)
    kept = [START]
    seen: dict[bytes, bytes] = {}
    pixels: list[memoryview] = []
    before = b""
    for name, body, whole in _chunks(data):
        if name == b"IDAT":
            if pixels and before != b"IDAT":
                raise DamagedPictureError("its pixels are not in one piece")
            pixels.append(body)
        elif name in (b"PLTE", b"tRNS", b"IHDR"):
            if name in seen or pixels:
                raise DamagedPictureError(f"chunk {name!r} is not where it belongs")
            seen[name] = bytes(body)
        elif name == b"acTL":
            raise DamagedPictureError("it is animated, and one picture is read", "Send one of its frames.")
        elif name == b"eXIf":
            seen.setdefault(name, bytes(body))
        elif name != b"IEND" and not name[0] & 0x20:
            raise DamagedPictureError(f"it needs chunk {name!r}, which is not read")
        if name in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            kept.append(bytes(whole))
        before = name
    if not pixels:
        raise DamagedPictureError("it holds no pixels")
    header = _header(seen)
    _check_rows(pixels, header)
    return b"".join(kept), header


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview, memoryview]]:
    """Yield name, content and bytes of each chunk to IEND, checksums checked."""
    view = memoryview(data)
    at = len(START)
    name = b""
    while name != b"IEND":
        if at + 8 > len(data):
            raise DamagedPictureError("it ends before its last chunk")
        length, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        end = at + 12 + length
        if end > len(data):
            raise DamagedPictureError(f"chunk {name!r} is cut off")
        if not name.isalpha():
            raise DamagedPictureError(f"chunk {name!r} has no name of letters")
        if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise DamagedPictureError(f"the checksum of chunk {name!r} is wrong")
        yield name, view[at + 8 : end - 4], view[at:end]
        at = end


def _header(seen: dict[bytes, bytes]) -> PngHeader:
    body = seen[b"IHDR"]
    depth, colour, compression, filtering, interlace = body[8:13]
    if colour not in _DEPTHS:
        raise DamagedPictureError(f"its colour type is {colour}")
    if depth not in _DEPTHS[colour]:
        raise DamagedPictureError(f"its colour type {colour} has {depth} bits per value")
    if compression or filtering or interlace > 1:
        raise DamagedPictureError("its header names a method that PNG does not have")
    palette, transparency = seen.get(b"PLTE", b""), seen.get(b"tRNS")
    if len(palette) % 3 or len(palette) > 768 or (colour == 3 and not palette):
        raise DamagedPictureError("its palette is missing or damaged")
    wanted = {0: 2, 2: 6}.get(colour)
    if transparency is not None and (
        colour in (4, 6)
        or (wanted is not None and len(transparency) != wanted)
        or (colour == 3 and not 1 <= len(transparency) <= len(palette) // 3)
    ):
        raise DamagedPictureError("its transparent colour is damaged")
    return PngHeader(
        width=int.from_bytes(body[:4], "big"),
        height=int.from_bytes(body[4:8], "big"),
        depth=depth,
        colour=colour,
        interlaced=bool(interlace),
        palette=palette,
        transparency=transparency,
        orientation=orientation_of(seen.get(b"eXIf", b"")),
    )


def _rows(header: PngHeader) -> list[tuple[int, int]]:
    """Return bytes of a row, filter byte included, and number of rows, for each pass."""
    bits = _CHANNELS[header.colour] * header.depth
    if not header.interlaced:
        return [((header.width * bits + 7) // 8 + 1, header.height)]
    found = []
    for left, top, step_x, step_y in _PASSES:
        columns = -(-(header.width - left) // step_x)
        rows = -(-(header.height - top) // step_y)
        if columns > 0 and rows > 0:
            found.append(((columns * bits + 7) // 8 + 1, rows))
    return found


def _check_rows(pixels: list[memoryview], header: PngHeader) -> None:
    """Inflate the pixels in pieces: as many bytes as the header says, each row with a known filter."""
    passes = _rows(header)
    most = sum(row * rows for row, rows in passes)
    stream, found = zlib.decompressobj(), 0
    # Where each pass ends, and where in it the next row begins.
    ends, total = [], 0
    for row, rows in passes:
        ends.append((total, total + row * rows, row))
        total += row * rows
    try:
        for chunk in pixels:
            piece: memoryview | bytes = chunk
            while piece and not stream.eof and found <= most:
                part = stream.decompress(piece, _PIECE_BYTES)
                piece = stream.unconsumed_tail
                for start, end, row in ends:
                    if start < found + len(part) and found < end:
                        first = max(found, start)
                        first += -(first - start) % row
                        if part[first - found : max(0, end - found) : row].strip(_FILTERS):
                            raise DamagedPictureError(
                                "a row of its pixels has a filter that PNG does not have"
                            )
                found += len(part)
    except zlib.error as failure:
        raise DamagedPictureError(f"its pixels cannot be inflated ({failure})") from failure
    if not stream.eof or found != most:
        size = f"{header.width} x {header.height}"
        raise DamagedPictureError(f"it holds {found:,} bytes of pixels where {size} take {most:,}")
