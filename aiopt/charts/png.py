"""PNG files of palette images.  Owns the encoder; knows nothing of charts.

The compressed stream is made here, not by zlib: zlib, zlib-ng and zlib-rs, all of which ship as Python's
`zlib`, give different bytes for the same input, and a chart's bytes must depend on the chart alone.  Rows are
filtered against the row above, which leaves runs of zeros; runs become DEFLATE matches of distance 1 and all
symbols one dynamic Huffman code (RFC 1951), computed over whole arrays.
"""

from __future__ import annotations

import heapq
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_UP_FILTER = 2
_LONGEST_MATCH = 258
_SHORTEST_MATCH = 3
_MAX_CODE_BITS = 15
_MAX_HEADER_CODE_BITS = 7
_END_OF_BLOCK = 256
_N_SYMBOLS = 286
_HEADER_ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)

Bits = tuple[int, int]
"""Value and number of bits, lowest bit first in the stream."""


def encode_png(indices: NDArray[np.uint8], palette: NDArray[np.uint8]) -> bytes:
    r"""Return an 8-bit palette PNG.

    Parameters
    ----------
    indices : ndarray of shape (height, width), uint8
        Palette index of each pixel, row 0 on top.
    palette : ndarray of shape (n_colours, 3), uint8
        Red, green, blue; at most 256 colours, more than any index.

    Returns
    -------
    bytes
        Same bytes for the same arrays, whatever the machine or library versions.

    Examples
    --------
    >>> encode_png(np.zeros((2, 3), np.uint8), np.zeros((1, 3), np.uint8))[:4]
    b'\x89PNG'
    """
    height, width = indices.shape
    rows = np.empty((height, width + 1), np.uint8)
    rows[:, 0] = _UP_FILTER
    rows[0, 1:] = indices[0]
    np.subtract(indices[1:], indices[:-1], out=rows[1:, 1:])
    raw = rows.reshape(-1)
    stream = b"\x78\x01" + deflate_runs(raw) + struct.pack(">I", zlib.adler32(raw.tobytes()))
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"PLTE", palette.tobytes()), (b"IDAT", stream), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(name, data) for name, data in chunks)


def deflate_runs(data: NDArray[np.uint8]) -> bytes:
    """Return `data` as one raw DEFLATE block in which only runs of a byte are shortened.

    Parameters
    ----------
    data : ndarray of shape (n_bytes,), uint8
        Not empty.
    """
    tokens = _tokens(data)
    counts = _symbol_counts(tokens)
    lengths = _code_lengths(counts.tolist(), _MAX_CODE_BITS)
    values, widths = _token_bits(lengths)
    header = _block_header(lengths)
    return _pack(header, values[tokens], widths[tokens], _code_bits(lengths)[_END_OF_BLOCK])


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))


def _tokens(data: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Return literals (0 to 255) and matches of distance 1 (256 + length) that spell `data`."""
    starts = np.concatenate(([0], np.flatnonzero(data[1:] != data[:-1]) + 1))
    repeats = np.diff(starts, append=data.size) - 1
    full, rest = np.divmod(repeats, _LONGEST_MATCH)
    is_match = rest >= _SHORTEST_MATCH
    n_tail = np.where(is_match, 1, rest)
    counts = 1 + full + n_tail
    literals = data[starts].astype(np.intp)
    tokens = np.repeat(literals, counts)
    first = np.cumsum(counts) - counts
    tail = first + 1 + full
    tokens[tail[is_match]] = 256 + rest[is_match]
    long_runs = np.flatnonzero(full)
    for start, number in zip(first[long_runs].tolist(), full[long_runs].tolist(), strict=True):
        tokens[start + 1 : start + 1 + number] = 256 + _LONGEST_MATCH
    return tokens


def _length_symbols() -> tuple[NDArray[np.intp], list[Bits]]:
    """Return the symbol of every match length and its extra bits (RFC 1951, 3.2.5)."""
    symbols = np.zeros(_LONGEST_MATCH + 1, np.intp)
    extra: list[Bits] = [(0, 0)] * (_LONGEST_MATCH + 1)
    length = _SHORTEST_MATCH
    for symbol in range(257, 285):
        n_extra = max(0, (symbol - 261) // 4)
        for value in range(1 << n_extra):
            symbols[length], extra[length] = symbol, (value, n_extra)
            length += 1
    symbols[_LONGEST_MATCH], extra[_LONGEST_MATCH] = 285, (0, 0)
    return symbols, extra


_LENGTH_SYMBOL, _LENGTH_EXTRA = _length_symbols()
_TOKEN_SYMBOL = np.concatenate((np.arange(256), _LENGTH_SYMBOL))
_TOKEN_EXTRA: list[Bits] = [(0, 0)] * 256 + _LENGTH_EXTRA


def _symbol_counts(tokens: NDArray[np.intp]) -> NDArray[np.int64]:
    by_token = np.bincount(tokens, minlength=_TOKEN_SYMBOL.size)
    counts = np.zeros(_N_SYMBOLS, np.int64)
    np.add.at(counts, _TOKEN_SYMBOL, by_token)
    counts[_END_OF_BLOCK] = 1
    return counts


def _code_lengths(counts: list[int], limit: int) -> list[int]:
    """Return the Huffman code length of each symbol, 0 where it does not occur.

    Counts are halved until the longest code fits `limit`; ties are broken by symbol, so the result depends
    on the counts alone.
    """
    used = [symbol for symbol, count in enumerate(counts) if count]
    lengths = [0] * len(counts)
    if len(used) == 1:
        lengths[used[0]] = 1
        return lengths
    while True:
        heap: list[tuple[int, int, Any]] = [(counts[symbol], symbol, symbol) for symbol in used]
        heapq.heapify(heap)
        serial = len(counts)
        while len(heap) > 1:
            left, right = heapq.heappop(heap), heapq.heappop(heap)
            heapq.heappush(heap, (left[0] + right[0], serial, (left[2], right[2])))
            serial += 1
        _assign_depths(heap[0][2], lengths)
        if max(lengths) <= limit:
            return lengths
        counts = [(count + 1) // 2 for count in counts]


def _assign_depths(tree: Any, lengths: list[int]) -> None:
    stack = [(tree, 0)]
    while stack:
        node, depth = stack.pop()
        if isinstance(node, tuple):
            stack += [(node[0], depth + 1), (node[1], depth + 1)]
        else:
            lengths[node] = depth


def _code_bits(lengths: list[int]) -> list[Bits]:
    """Return the canonical code of each symbol, reversed, since codes go into the stream top bit first."""
    code, result = 0, [(0, 0)] * len(lengths)
    for width in range(1, max(lengths) + 1):
        for symbol, length in enumerate(lengths):
            if length == width:
                result[symbol] = (int(f"{code:0{width}b}"[::-1], 2), width)
                code += 1
        code <<= 1
    return result


def _token_bits(lengths: list[int]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return value and width of every token: code, extra bits and, for a match, the distance code ``0``."""
    codes = _code_bits(lengths)
    values, widths = [], []
    for token, symbol in enumerate(_TOKEN_SYMBOL.tolist()):
        (code, width), (extra, n_extra) = codes[symbol], _TOKEN_EXTRA[token]
        values.append(code | extra << width)
        widths.append(width + n_extra + (token >= 256))
    return np.array(values, np.uint64), np.array(widths, np.int64)


def _block_header(lengths: list[int]) -> list[Bits]:
    """Return the header of a final dynamic block with one distance code of one bit (RFC 1951, 3.2.7)."""
    items = _shorten([*lengths, 1])
    counts = [0] * 19
    for symbol, _ in items:
        counts[symbol] += 1
    header_lengths = _code_lengths(counts, _MAX_HEADER_CODE_BITS)
    codes = _code_bits(header_lengths)
    ordered = [header_lengths[symbol] for symbol in _HEADER_ORDER]
    while len(ordered) > 4 and ordered[-1] == 0:
        ordered.pop()
    bits: list[Bits] = [(1, 1), (2, 2), (_N_SYMBOLS - 257, 5), (0, 5), (len(ordered) - 4, 4)]
    bits += [(length, 3) for length in ordered]
    for symbol, extra in items:
        bits += [codes[symbol], extra]
    return bits


def _shorten(lengths: list[int]) -> list[tuple[int, Bits]]:
    """Return code lengths as header symbols with extra bits; runs of zeros are shortened."""
    items: list[tuple[int, Bits]] = []
    at = 0
    while at < len(lengths):
        zeros = 0
        while at + zeros < len(lengths) and lengths[at + zeros] == 0 and zeros < 138:
            zeros += 1
        if zeros >= 11:
            items.append((18, (zeros - 11, 7)))
        elif zeros >= 3:
            items.append((17, (zeros - 3, 3)))
        else:
            items.append((lengths[at], (0, 0)))
            zeros = 1
        at += zeros
    return items


def _pack(header: list[Bits], values: NDArray[np.uint64], widths: NDArray[np.int64], end: Bits) -> bytes:
    """Return header, tokens and end of block as bytes, lowest bit first."""
    bits, at = 0, 0
    for value, width in header:
        bits |= value << at
        at += width
    ends = np.cumsum(widths) + at
    offsets = ends - widths
    total = int(ends[-1]) + end[1]
    # Each token touches at most two neighbouring 32-bit words: 21 bits after at most 31.
    shifted = values << (offsets & 31).astype(np.uint64)
    word = offsets >> 5
    first = np.concatenate(([0], np.flatnonzero(word[1:] != word[:-1]) + 1))
    joined = np.bitwise_or.reduceat(shifted, first)
    words = np.zeros((total >> 5) + 2, np.uint64)
    words[word[first]] = joined & np.uint64(0xFFFFFFFF)
    words[word[first] + 1] |= joined >> np.uint64(32)
    packed = bytearray(words.astype("<u4").tobytes())
    _or_into(packed, bits, 0)
    _or_into(packed, end[0] << (int(ends[-1]) & 7), int(ends[-1]) >> 3)
    return bytes(packed[: (total + 7) >> 3])


def _or_into(packed: bytearray, bits: int, at: int) -> None:
    for offset, byte in enumerate(bits.to_bytes((bits.bit_length() + 7) // 8, "little")):
        packed[at + offset] |= byte
