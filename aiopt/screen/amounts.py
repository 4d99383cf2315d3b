"""Exact amounts of money in compiled code, equal to the whole numbers of `aiopt.backtest.money`.

An amount is two 64-bit numbers, ``whole + part / 10**16`` of a currency with ``0 <= part < 10**16``.  The
engine's are integers of 10**-16, which are too large for one machine word.  Every operation is exact, or
rounded as `aiopt.backtest.money.divided` rounds.  Owns that arithmetic; knows no position.

Limits: prices below 2**31 steps, sizes up to 10**9 units, factors and divisors below 2**31 and amounts
below 2**53 of a currency.  `aiopt.screen.market` refuses what lies outside.
"""

from __future__ import annotations

from aiopt.compiled import compiled

PART = 10_000_000_000_000_000
"""Parts of one unit of currency: `aiopt.backtest.money.AMOUNT_DECIMALS` decimals."""

_HALF = 100_000_000
_SPLITTER = 134_217_729.0
"""2**27 + 1: cuts a float into two halves whose products are exact (Dekker 1971)."""

Pair = tuple[int, int]


@compiled
def added(whole: int, part: int, other_whole: int, other_part: int) -> Pair:
    """Return the sum of two amounts."""
    part += other_part
    if part >= PART:
        return whole + other_whole + 1, part - PART
    return whole + other_whole, part


@compiled
def negated(whole: int, part: int) -> Pair:
    """Return an amount with the other sign."""
    if part == 0:
        return -whole, 0
    return -whole - 1, PART - part


@compiled
def product(left: int, right: int) -> Pair:
    """Return ``left * right`` parts of 10**-16, as an amount; each factor below 10**17 in size."""
    negative = (left < 0) != (right < 0)
    left, right = abs(left), abs(right)
    left_high, left_low = left // _HALF, left % _HALF
    right_high, right_low = right // _HALF, right % _HALF
    middle = left_high * right_low + left_low * right_high
    whole = left_high * right_high + middle // _HALF
    part = (middle % _HALF) * _HALF + left_low * right_low
    if part >= PART:
        whole += part // PART
        part %= PART
    if negative:
        return negated(whole, part)
    return whole, part


@compiled
def scaled(whole: int, part: int, factor: int, divisor: int) -> Pair:
    """Return ``amount * factor / divisor``, rounded to a part of 10**-16, halves to even.

    Parameters
    ----------
    whole, part : int
        The amount.
    factor, divisor : int
        Positive and below 2**31.
    """
    negative = whole < 0
    if negative:
        whole, part = negated(whole, part)
    top = whole * factor
    high = (part // _HALF) * factor
    low = (part % _HALF) * factor
    # Long division by halves of a part: each remainder is below the divisor.
    result_whole = top // divisor
    rest = (top % divisor) * _HALF + high
    result_high = rest // divisor
    rest = (rest % divisor) * _HALF + low
    result_low = rest // divisor
    rest %= divisor
    if 2 * rest > divisor or (2 * rest == divisor and result_low % 2):
        result_low += 1
    # `low` may carry into `high`, `high` into `whole`.
    result_high += result_low // _HALF
    result_low %= _HALF
    result_whole += result_high // _HALF
    result_high %= _HALF
    result_part = result_high * _HALF + result_low
    if negative:
        return negated(result_whole, result_part)
    return result_whole, result_part


@compiled
def to_float(whole: int, part: int) -> float:
    """Return the float nearest to an amount, as `aiopt.backtest.money.to_float` does.

    The quotient is kept as a sum of two floats, some 106 bits, before it is rounded once: no amount of fewer
    than 10**11 lies half-way between two floats, and closer than that no two differ.
    """
    negative = whole < 0
    if negative:
        whole, part = negated(whole, part)
    top, bottom = float((part // _HALF) * _HALF), float(part % _HALF)
    scale = 1e16
    summed = top + bottom
    tail = bottom - (summed - top)  # exact: `top` is 0 or the larger
    quotient = summed / scale
    # What is left of the division, exactly: quotient * scale as the sum of two floats.
    high = quotient * _SPLITTER
    high = high - (high - quotient)
    low = quotient - high
    scale_high = scale * _SPLITTER
    scale_high = scale_high - (scale_high - scale)
    scale_low = scale - scale_high
    multiplied = quotient * scale
    error = ((high * scale_high - multiplied) + high * scale_low + low * scale_high) + low * scale_low
    rest = (((summed - multiplied) - error) + tail) / scale
    units = float(whole)
    total = units + quotient
    back = total - units
    lost = (units - (total - back)) + (quotient - back)
    value = total + (lost + rest)
    return -value if negative else value
