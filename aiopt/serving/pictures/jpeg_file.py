"""JPEG files: every segment and every scan read, and a copy without what does not decide pixels.

Owns which JPEG files are read: Huffman-coded, 8 bits, baseline or progressive (SOF0, SOF1, SOF2), with all
their tables, scans and the end mark.  JPEG has no checksums: a changed bit that still adds up is not found by
anybody; one that does not is found here and filled by decoders.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aiopt.serving.pictures import scan_codes
from aiopt.serving.pictures.damage import DamagedPictureError
from aiopt.serving.pictures.jpeg_scan import read_scan
from aiopt.serving.pictures.orientation import orientation_of

START = b"\xff\xd8\xff"

_FRAMES = {0xC0: False, 0xC1: False, 0xC2: True}
_OTHER_FRAMES = {
    0xC3: "lossless",
    0xC5: "hierarchical",
    0xC6: "hierarchical",
    0xC7: "hierarchical lossless",
    0xC9: "arithmetic-coded",
    0xCA: "arithmetic-coded",
    0xCB: "arithmetic-coded lossless",
    0xCD: "arithmetic-coded hierarchical",
    0xCE: "arithmetic-coded hierarchical",
    0xCF: "arithmetic-coded hierarchical",
}
_DHT, _SOS, _DQT, _DNL, _DRI, _EOI, _APP1, _APP14 = 0xC4, 0xDA, 0xDB, 0xDC, 0xDD, 0xD9, 0xE1, 0xEE
_KEPT = frozenset({_DHT, _DQT, _DRI, 0xE0, _APP14, *_FRAMES})
_ALONE = frozenset({0x01, 0xD8, *range(0xD0, 0xD8)})
_KIND = "Save it as a baseline or progressive JPEG of 8 bits, or as PNG."

_REASONS = {
    scan_codes.CUT: "its pixels end too early",
    scan_codes.BAD_CODE: "its pixels hold a code that its tables do not have",
    scan_codes.OVERFULL: "a block of its pixels holds more than 64 values, or one too large",
    scan_codes.LEFT_OVER: "bytes are left over where its pixels should end",
    scan_codes.BAD_RESTART: "a restart mark is missing or out of order",
    scan_codes.OUT_OF_RANGE: "its brightness runs out of the range of 8 bits",
}


@dataclass
class _Component:
    """A colour of the frame, and how far its coefficients are known."""

    identifier: int
    across: int
    down: int
    quantiser: int
    lowest: list[int] = field(default_factory=lambda: [-1] * 64)
    """Lowest bit known of each coefficient; -1 where nothing is."""


def frame_size(data: bytes) -> tuple[int, int]:
    """Return width and height from the frame header, whatever else is wrong with the file.

    Raises
    ------
    DamagedPictureError
        If the file ends before it.
    """
    for marker, body, _ in _segments(data):
        if marker in _FRAMES or marker in _OTHER_FRAMES:
            if len(body) < 6:
                break
            return int.from_bytes(body[3:5], "big"), int.from_bytes(body[1:3], "big")
        if marker in (_SOS, _EOI):
            break
    raise DamagedPictureError("it ends before its frame header")


def whole_jpeg(data: bytes) -> tuple[bytes, int]:
    """Read a file to its end mark; return the segments that decide pixels, and its EXIF orientation (1 to 8).

    Raises
    ------
    DamagedPictureError
        If the file is damaged, cut off, or of a kind that is not read.
    """
    return _Reader(data).read()


def _segments(data: bytes, at: int = 2) -> list[tuple[int, bytes, int]]:
    """Return marker, content and end of each segment up to the first scan, the end mark or the file's end."""
    found: list[tuple[int, bytes, int]] = []
    while at + 2 <= len(data):
        if data[at] != 0xFF:
            raise DamagedPictureError("a segment does not start with 0xFF")
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in _ALONE:
            at += 2
            continue
        if marker == _EOI:
            found.append((marker, b"", at + 2))
            break
        if marker == 0:
            raise DamagedPictureError("a segment does not start with a mark")
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        end = at + 2 + length
        if length < 2:
            raise DamagedPictureError("a segment has no length")
        if end > len(data):
            break
        found.append((marker, data[at + 4 : end], end))
        if marker == _SOS:
            break
        at = end
    return found


class _Reader:
    """Reads one file from segment to segment."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._bytes = np.frombuffer(data, np.uint8)
        self._parts: list[bytes] = [b"\xff\xd8"]
        self._orientation = 1
        self._tables = np.zeros((8, 1 << 16), np.uint16)
        self._has_table = [False] * 8
        self._quantisers: dict[int, int] = {}
        self._components: list[_Component] = []
        self._progressive = False
        self._width = self._height = 0
        self._interval = 0
        self._known: NDArray[np.uint64] = np.zeros(0, np.uint64)
        self._first_block: list[int] = []

    def read(self) -> tuple[bytes, int]:
        """Read to the end mark."""
        at = 2
        while True:
            segments = _segments(self._data, at)
            if not segments:
                raise DamagedPictureError("it ends before its end mark")
            for marker, body, end in segments:
                at = end
                if marker == _EOI:
                    self._check_complete()
                    return b"".join((*self._parts, b"\xff\xd9")), self._orientation
                if marker in _KEPT or marker == _SOS:
                    length = (len(body) + 2).to_bytes(2, "big")
                    self._parts.append(bytes((0xFF, marker)) + length + body)
                if marker == _SOS:
                    stop = self._scan(body, end)
                    self._parts.append(self._data[end:stop])
                    at = stop
                else:
                    self._segment(marker, body)
            if segments[-1][0] != _SOS:
                raise DamagedPictureError("it ends before its end mark")

    def _segment(self, marker: int, body: bytes) -> None:
        if marker in _FRAMES:
            self._frame(body, progressive=_FRAMES[marker])
        elif marker in _OTHER_FRAMES:
            raise DamagedPictureError(f"it is a {_OTHER_FRAMES[marker]} JPEG, which is not read", _KIND)
        elif marker == _DQT:
            self._quantisation(body)
        elif marker == _DHT:
            self._huffman(body)
        elif marker == _DRI:
            if len(body) != 2:
                raise DamagedPictureError("its restart interval is damaged")
            self._interval = int.from_bytes(body, "big")
        elif marker == _DNL or marker in (0xDE, 0xDF):
            raise DamagedPictureError("its height is not in its header", _KIND)
        elif marker == _APP1 and body.startswith(b"Exif\0\0"):
            self._orientation = orientation_of(body[6:])

    def _quantisation(self, body: bytes) -> None:
        at = 0
        while at < len(body):
            wide, number = body[at] >> 4, body[at] & 15
            size = 128 if wide else 64
            values = body[at + 1 : at + 1 + size]
            if wide > 1 or number > 3 or len(values) < size:
                raise DamagedPictureError("a quantisation table is damaged")
            first = int.from_bytes(values[: 1 + wide], "big")
            steps = np.frombuffer(values, ">u2" if wide else "u1")
            if not steps.all():
                raise DamagedPictureError("a quantisation table holds a zero")
            self._quantisers[number] = first
            at += 1 + size

    def _huffman(self, body: bytes) -> None:
        at = 0
        while at < len(body):
            kind, number = body[at] >> 4, body[at] & 15
            counts = body[at + 1 : at + 17]
            total = sum(counts)
            symbols = body[at + 17 : at + 17 + total]
            if kind > 1 or number > 3 or len(counts) < 16 or total > 256 or len(symbols) < total:
                raise DamagedPictureError("a Huffman table is damaged")
            table = self._tables[kind * 4 + number]
            table[:] = 0
            code = taken = 0
            for length, count in enumerate(counts, 1):
                for symbol in symbols[taken : taken + count]:
                    if code >= 1 << length:
                        raise DamagedPictureError("a Huffman table holds more codes than there are")
                    step = 1 << (16 - length)
                    table[code * step : (code + 1) * step] = length << 8 | symbol
                    code += 1
                taken += count
                code <<= 1
            self._has_table[kind * 4 + number] = True
            at += 17 + total

    def _frame(self, body: bytes, *, progressive: bool) -> None:
        if self._components:
            raise DamagedPictureError("it holds two frames")
        if len(body) < 6 or len(body) != 6 + 3 * body[5]:
            raise DamagedPictureError("its frame header is damaged")
        if body[0] != 8:
            raise DamagedPictureError(f"it has {body[0]} bits per value, which are not read", _KIND)
        self._height, self._width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
        if not self._height:
            raise DamagedPictureError("its height is not in its header", _KIND)
        if body[5] not in (1, 3, 4):
            raise DamagedPictureError(f"it has {body[5]} colours, where 1, 3 or 4 are read", _KIND)
        for at in range(6, len(body), 3):
            across, down = body[at + 1] >> 4, body[at + 1] & 15
            if not (1 <= across <= 4 and 1 <= down <= 4) or body[at + 2] > 3:
                raise DamagedPictureError("its frame header is damaged")
            self._components.append(_Component(body[at], across, down, body[at + 2]))
        if len({component.identifier for component in self._components}) != len(self._components):
            raise DamagedPictureError("two of its colours have one name")
        self._progressive = progressive
        blocks = 0
        for component in self._components:
            self._first_block.append(blocks)
            wide, high = self._units()
            blocks += wide * component.across * high * component.down
        self._known = np.zeros(blocks if progressive else 0, np.uint64)

    def _sampling(self) -> tuple[int, int]:
        """Return the finest sampling across and down."""
        return max(c.across for c in self._components), max(c.down for c in self._components)

    def _units(self) -> tuple[int, int]:
        """Return how many units of all colours lie across and down."""
        across, down = self._sampling()
        return math.ceil(self._width / (8 * across)), math.ceil(self._height / (8 * down))

    def _blocks(self, component: _Component) -> tuple[int, int]:
        """Return how many blocks of one colour lie across and down, without padding to whole units."""
        across, down = self._sampling()
        columns = math.ceil(self._width * component.across / across)
        rows = math.ceil(self._height * component.down / down)
        return math.ceil(columns / 8), math.ceil(rows / 8)

    def _scan(self, header: bytes, start: int) -> int:
        """Read a scan; return where it ends."""
        if not self._components:
            raise DamagedPictureError("its pixels come before its frame header")
        count = header[0] if header else 0
        if not 1 <= count <= min(4, len(self._components)) or len(header) != 4 + 2 * count:
            raise DamagedPictureError("a scan's header is damaged")
        first, last, bits = header[-3], header[-2], header[-1]
        kind, low = self._kind(count, first, last, bits >> 4, bits & 15)
        chosen = [self._chosen(header[1 + 2 * n]) for n in range(count)]
        if len(set(chosen)) != count:
            raise DamagedPictureError("a scan holds a colour twice")
        wide, high = self._units()
        rows = []
        for place, number in enumerate(chosen):
            component = self._components[number]
            dc, ac = header[2 + 2 * place] >> 4, header[2 + 2 * place] & 15
            self._note(component, kind, first, last, bits >> 4, low)
            self._check_tables(component, kind, dc, ac)
            base = self._first_block[number] if self._progressive else 0
            across, down = (component.across, component.down) if count > 1 else (1, 1)
            stride = wide * component.across
            quantum = self._quantisers[component.quantiser]
            rows.append((dc, 4 + ac, across, down, stride, base, quantum))
        if count == 1:
            wide, high = self._blocks(self._components[chosen[0]])
        elif sum(across * down for _, _, across, down, *_ in rows) > 10:
            raise DamagedPictureError("a scan holds more than ten blocks per unit")
        status, stop = read_scan(
            self._bytes, start, kind, np.array(rows, np.int64), wide * high, wide, self._tables, self._known,
            first, last, low, self._interval,
        )  # fmt: skip
        if status != scan_codes.OK:
            raise DamagedPictureError(_REASONS[status])
        return int(stop)

    def _kind(self, count: int, first: int, last: int, high: int, low: int) -> tuple[int, int]:
        """Return a scan's kind and lowest bit."""
        if not self._progressive:
            # Encoders write 0, 63, 0; decoders take a baseline scan for whole whatever they write.
            return scan_codes.BASELINE, 0
        whole = first == last == 0 if first == 0 else first <= last <= 63 and count == 1
        if not whole or low > 13 or (high and high != low + 1):
            raise DamagedPictureError("a scan's header is damaged")
        if first == 0:
            return (scan_codes.DC_REFINE if high else scan_codes.DC_FIRST), low
        return (scan_codes.AC_REFINE if high else scan_codes.AC_FIRST), low

    def _chosen(self, identifier: int) -> int:
        for number, component in enumerate(self._components):
            if component.identifier == identifier:
                return number
        raise DamagedPictureError("a scan names a colour that its frame does not have")

    def _note(self, component: _Component, kind: int, first: int, last: int, high: int, low: int) -> None:
        """Note which bits a scan gives; each must come once, and in order."""
        if kind == scan_codes.BASELINE:
            first, last, high = 0, 63, 0
        elif first and component.lowest[0] < 0:
            raise DamagedPictureError("a scan comes before the one it refines")
        for place in range(first, last + 1):
            known = component.lowest[place]
            if (high and known != high) or (not high and known >= 0):
                raise DamagedPictureError("its scans do not follow one another")
            component.lowest[place] = low

    def _check_tables(self, component: _Component, kind: int, dc: int, ac: int) -> None:
        if component.quantiser not in self._quantisers:
            raise DamagedPictureError(f"it has no quantisation table {component.quantiser}")
        needed = {
            scan_codes.BASELINE: (dc, 4 + ac),
            scan_codes.DC_FIRST: (dc,),
            scan_codes.DC_REFINE: (),
            scan_codes.AC_FIRST: (4 + ac,),
            scan_codes.AC_REFINE: (4 + ac,),
        }[kind]
        if dc > 3 or ac > 3 or not all(self._has_table[number] for number in needed):
            raise DamagedPictureError("it does not hold the Huffman tables it names")

    def _check_complete(self) -> None:
        if not self._components:
            raise DamagedPictureError("it ends before its frame header")
        for component in self._components:
            if any(low != 0 for low in component.lowest):
                raise DamagedPictureError("it ends before all its scans")
