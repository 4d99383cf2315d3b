"""Checks of the arrays statistics are computed on.  Owns the wording; knows no statistic."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from aiopt.errors import MetricInputError

FloatArray = npt.NDArray[np.float64]


def finite_vector(values: npt.ArrayLike, name: str) -> FloatArray:
    """Return `values` as a finite one-dimensional float64 array; it may be empty.

    Raises
    ------
    MetricInputError
        If it has another number of dimensions, or holds NaN or infinity.
    """
    array = _floats(values, name)
    if array.ndim != 1:
        msg = f"`{name}` must have one dimension, but has shape {array.shape}. Pass one series."
        raise MetricInputError(msg)
    return _finite(array, name)


def finite_matrix(values: npt.ArrayLike, name: str) -> FloatArray:
    """Return `values` as a finite two-dimensional float64 array.

    Raises
    ------
    MetricInputError
        If it has another number of dimensions, or holds NaN or infinity.
    """
    array = _floats(values, name)
    if array.ndim != 2:
        msg = f"`{name}` must have two dimensions (periods, trials), but has shape {array.shape}."
        raise MetricInputError(msg)
    return _finite(array, name)


def require(condition: bool, rule: str, values: str, remedy: str) -> None:
    """Raise `MetricInputError` unless `condition` holds."""
    if not condition:
        raise MetricInputError(f"`{rule}` must hold, but got {values}. {remedy}")


def _floats(values: npt.ArrayLike, name: str) -> FloatArray:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        msg = f"`{name}` must be an array of numbers, but: {error}. Pass a list or array of floats."
        raise MetricInputError(msg) from error


def _finite(array: FloatArray, name: str) -> FloatArray:
    bad = np.flatnonzero(~np.isfinite(array.ravel()))
    if bad.size:
        msg = (
            f"`{name}` must be finite, but element {int(bad[0])} is {float(array.ravel()[bad[0]])} "
            f"({bad.size} of {array.size} are not finite). Fill or drop them first."
        )
        raise MetricInputError(msg)
    return array
