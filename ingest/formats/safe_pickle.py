"""Pickles as data: numpy arrays and scalars and Python's own containers come back, anything else is refused by name.

A pickle is a program that may call whatever can be imported, and that says for itself how much memory to take. Here
every instruction is looked at first, without carrying it out, and the few functions that numpy's pickles call are
stood in for by ones that check sizes against the bytes at hand: what comes out is never larger than what went in, but
for containers that hold one thing many times, which whoever walks them must count.
"""

import pickle
import pickletools
import re
from collections import OrderedDict
from collections.abc import Callable
from io import BytesIO
from math import prod
from typing import Any, Literal

import numpy as np

from schema.errors import EpisodeError

MAX_PICKLE_BYTES = 256 << 20
_NUMBERS = re.compile(r"[?bBhHiIlLqQefdFD]|[biufcSU]\d{1,6}")
"""dtypes by the names that pickles use; O is for arrays of objects, which come as a list."""
_REFUSED = {
    *("PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER"),
    *("INST", "OBJ", "NEWOBJ", "NEWOBJ_EX"),
}
"""Instructions that reach outside of the pickle, or that numpy's pickles have no use for."""
_MEMO = {"PUT", "BINPUT", "LONG_BINPUT"}


def load_pickle(content: bytes, *, file: str) -> Any:
    """The pickled value; EpisodeError "refused_pickle" where it holds more than data, "unreadable_pickle" if broken."""
    if len(content) > MAX_PICKLE_BYTES:
        raise EpisodeError(
            "absurd_size", f"found a pickle of {len(content)} bytes, expected at most {MAX_PICKLE_BYTES}; file {file}"
        )
    try:
        _look_at_instructions(content)
        return _Unpickler(BytesIO(content)).load()
    except _RefusedError as error:
        raise EpisodeError(
            "refused_pickle",
            f"the pickle asks for {error}, expected numpy arrays, numbers, text and containers only: "
            f"do not trust it, or write it again as plain arrays; file {file}",
        ) from error
    except (Exception, MemoryError, RecursionError) as error:
        raise EpisodeError(
            "unreadable_pickle", f"not a whole pickle: {repr(error)[:200]}; fetch again {file}"
        ) from error


class _RefusedError(Exception):
    """What was asked for, by name."""


def _look_at_instructions(content: bytes) -> None:
    """Read every instruction: lengths beyond the bytes, absurd memo places and odd instructions are refused."""
    count = 0
    for count, (instruction, argument, _) in enumerate(pickletools.genops(content), start=1):
        if instruction.name in _REFUSED:
            raise _RefusedError(f"the instruction {instruction.name}")
        if instruction.name in _MEMO and int(argument or 0) > count + 1:  # a memo is filled from 0 up
            raise _RefusedError(f"memo place {argument}")
    if count == 0:
        raise pickle.UnpicklingError("no instruction")


class _Unpickler(pickle.Unpickler):
    """Looks up names in `_KNOWN` alone."""

    def __init__(self, stream: BytesIO) -> None:
        super().__init__(stream, encoding="latin1")  # what Python 2 called str is bytes, and text in our names

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name; refused where it is none of the known."""
        place = re.sub(r"^numpy\._?core\.", "numpy.core.", module)  # numpy 2 calls it _core
        try:
            return _KNOWN[place, name]
        except KeyError:
            raise _RefusedError(f"{module}.{name}") from None


class _DType:
    """A plain dtype in the making: numpy's own would believe whatever state a pickle gives it."""

    def __init__(self, name: str, *_: object) -> None:
        if not isinstance(name, str) or not (_NUMBERS.fullmatch(name) or re.fullmatch(r"O8?", name)):
            raise _RefusedError(f"the dtype {str(name)[:50]!r}")
        self.name = name
        self.order: Literal["<", ">", "|", "="] = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, order, *parts = state
        if order not in {"<", ">", "|", "="} or any(part is not None for part in parts[:3]):
            raise _RefusedError("a dtype with fields")
        self.order = order

    @property
    def is_object(self) -> bool:
        return self.name.startswith("O")

    def plain(self) -> np.dtype[Any]:
        return np.dtype(self.name).newbyteorder(self.order)


class _Array(np.ndarray):
    """An array in the making: it takes its state only where the bytes are as many as the shape says."""

    def __setstate__(self, state: Any) -> None:
        _version, shape, dtype, is_fortran, data = state
        data = _bytes(data)
        checked = _shape(shape, dtype=dtype, data=data)
        super().__setstate__((1, checked, np.dtype(object) if dtype.is_object else dtype.plain(), is_fortran, data))


def _reconstruct(*_: object) -> _Array:
    return np.empty(0, np.int8).view(_Array)


def _from_buffer(data: Any, dtype: _DType, *layout: Any) -> Any:
    shape, order = layout
    data = _bytes(data)
    if dtype.is_object or order not in {"C", "F"}:
        raise _RefusedError("a buffer of objects")
    return np.frombuffer(data, dtype.plain()).reshape(_shape(shape, dtype=dtype, data=data), order=order)


def _scalar(dtype: _DType, data: Any = None) -> Any:
    if dtype.is_object:
        return data
    data = _bytes(data)
    _shape((), dtype=dtype, data=data)
    return np.frombuffer(data, dtype.plain())[0]


def _encode(text: str, encoding: str = "latin1", *_: object) -> bytes:
    """Bytes as protocols before 3 write them."""
    if encoding not in {"latin1", "latin-1"}:
        raise _RefusedError(f"the encoding {str(encoding)[:20]!r}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    return b""


def _bytes(data: Any) -> Any:
    """What numpy's pickles call bytes: text in Python 2's, a bytearray in protocol 5."""
    return data.encode("latin1") if isinstance(data, str) else bytes(data) if isinstance(data, bytearray) else data


def _shape(shape: Any, *, dtype: Any, data: Any) -> tuple[int, ...]:
    """The shape, where it is one and `data` fills it exactly."""
    sizes = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
    if not isinstance(dtype, _DType) or not all(isinstance(size, int) and size >= 0 for size in sizes):
        raise _RefusedError(f"an array of shape {str(shape)[:50]}")
    expected = prod(sizes) * (1 if dtype.is_object else dtype.plain().itemsize)
    if not isinstance(data, list if dtype.is_object else bytes) or len(data) != expected:
        raise _RefusedError(f"an array of shape {str(shape)[:50]} from another number of bytes")
    return sizes


class _Stand:
    """A function that a pickle may call and cannot change."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: object) -> None:
        raise _RefusedError("a changed function")


_KNOWN: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): None,  # only ever an argument, which _reconstruct does not need
    ("numpy", "dtype"): _Stand(_DType),
    ("numpy.core.multiarray", "_reconstruct"): _Stand(_reconstruct),
    ("numpy.core.multiarray", "scalar"): _Stand(_scalar),
    ("numpy.core.numeric", "_frombuffer"): _Stand(_from_buffer),
    ("_codecs", "encode"): _Stand(_encode),
    ("collections", "OrderedDict"): _Stand(OrderedDict),
    **{
        (module, known.__name__): _Stand(known)
        for module in ("builtins", "__builtin__")
        for known in (set, frozenset, complex)
    },
    **{(module, "bytes"): _Stand(_no_bytes) for module in ("builtins", "__builtin__")},
}
"""All that a pickle may name."""
