"""How a named transform computes: in float64, with the log's own float type given back."""

from collections.abc import Callable
from functools import wraps

import numpy as np
from numpy.typing import NDArray

from schema.episode import Numbers

Doubles = NDArray[np.float64]


def in_float64(function: Callable[[Doubles], Doubles]) -> Callable[[Numbers], Numbers]:
    """The function for arrays of any float type, which the result has as well."""

    @wraps(function)
    def call(values_TD: Numbers) -> Numbers:
        return function(values_TD.astype(np.float64)).astype(values_TD.dtype)

    return call
