"""`tf.train.Example` without TensorFlow: its message types are declared here, protobuf parses them.

An Example maps a name to a list of bytes, of float32 or of int64
(https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/example/feature.proto).
Nearly all of one is pictures, which protobuf would copy twice: lists of bytes that lie as every writer lays them are
found here by their lengths and copied when asked for. Whatever lies otherwise is protobuf's to judge.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory
from numpy.typing import NDArray

from schema.errors import EpisodeError

Values = tuple[bytes, ...] | NDArray[np.float32] | NDArray[np.int64]

_PACKAGE = "robomix.example"
_Proto = descriptor_pb2.FieldDescriptorProto
_FIRST, _SECOND = 0x0A, 0x12
"""Tags of a message's fields 1 and 2, where a length and so many bytes follow
(https://protobuf.dev/programming-guides/encoding/)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _BytesList:
    """Where the items of a feature's list of bytes lie."""

    data: memoryview
    spans: tuple[tuple[int, int], ...]


def parse_example(payload: bytes | memoryview) -> Mapping[str, Any]:
    """The Example's features by name, not yet converted; EpisodeError "bad_example" where it cannot be parsed."""
    data = memoryview(payload)
    try:
        return _plain_features(data)
    except (ValueError, IndexError):
        return _parsed(Example, data).features.feature  # type: ignore[no-any-return]


def values_of(feature: Any) -> Values:
    """The list that a feature holds: bytes, float32 `[N]` or int64 `[N]`; an unset one is no bytes."""
    if isinstance(feature, _BytesList):
        return tuple([feature.data[start:stop].tobytes() for start, stop in feature.spans])
    kind = feature.WhichOneof("kind")
    if kind == "float_list":
        return np.fromiter(feature.float_list.value, np.float32, count=len(feature.float_list.value))
    if kind == "int64_list":
        return np.fromiter(feature.int64_list.value, np.int64, count=len(feature.int64_list.value))
    return tuple(feature.bytes_list.value)


def _parsed(kind: Any, data: memoryview) -> Any:
    try:
        return kind.FromString(data)
    except message.DecodeError as error:
        raise EpisodeError("bad_example", f"found {len(data)} bytes that are no tf.train.Example: {error}") from error


def _plain_features(data: memoryview) -> dict[str, Any]:
    """Features by name where names and values lie as usual; ValueError or IndexError where they do not."""
    features = {}
    for start, stop in _items(data, 0, len(data)):
        for entry, after in _items(data, start, stop):
            name, at = _item(data, entry, after, tag=_FIRST)
            value, end = _item(data, at, after, tag=_SECOND)
            if end != after:
                raise ValueError
            features[str(data[name:at], "utf-8")] = _plain_feature(data, value, end)
    return features


def _plain_feature(data: memoryview, start: int, stop: int) -> Any:
    try:
        first, end = _item(data, start, stop, tag=_FIRST)
        if end == stop:
            return _BytesList(data=data, spans=tuple(_items(data, first, end)))
    except (ValueError, IndexError):
        pass  # numbers, or bytes in an order of their own
    return _parsed(Feature, data[start:stop])


def _items(data: memoryview, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Where each item of a message lies that is nothing but a list, its field 1."""
    while start < stop:
        item = _item(data, start, stop, tag=_FIRST)
        yield item
        start = item[1]


def _item(data: memoryview, at: int, stop: int, *, tag: int) -> tuple[int, int]:
    """Where the bytes of a field lie whose tag stands at `at`; ValueError where it is another or they pass `stop`."""
    if data[at] != tag:
        raise ValueError
    size, shift = 0, 0
    while (byte := data[at := at + 1]) > 0x7F:
        size, shift = size | (byte & 0x7F) << shift, shift + 7
        if shift > 28:
            raise ValueError
    at += 1
    size |= byte << shift
    if size > stop - at:
        raise ValueError
    return at, at + size


def _field(name: str, number: int, kind: int, **options: Any) -> descriptor_pb2.FieldDescriptorProto:
    if "type_name" in options:
        options["type_name"] = f".{_PACKAGE}.{options['type_name']}"
    return _Proto(name=name, number=number, type=kind, **{"label": _Proto.LABEL_OPTIONAL, **options})  # type: ignore[arg-type]


def _example_file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="robomix_example.proto", package=_PACKAGE, syntax="proto3")
    for name, kind in (
        ("BytesList", _Proto.TYPE_BYTES),
        ("FloatList", _Proto.TYPE_FLOAT),
        ("Int64List", _Proto.TYPE_INT64),
    ):
        file.message_type.add(name=name).field.append(_field("value", 1, kind, label=_Proto.LABEL_REPEATED))
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (name, kind_name) in enumerate(
        [("bytes_list", "BytesList"), ("float_list", "FloatList"), ("int64_list", "Int64List")], start=1
    ):
        feature.field.append(_field(name, number, _Proto.TYPE_MESSAGE, type_name=kind_name, oneof_index=0))
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.append(_field("key", 1, _Proto.TYPE_STRING))
    entry.field.append(_field("value", 2, _Proto.TYPE_MESSAGE, type_name="Feature"))
    features.field.append(
        _field("feature", 1, _Proto.TYPE_MESSAGE, type_name="Features.FeatureEntry", label=_Proto.LABEL_REPEATED)
    )
    example = file.message_type.add(name="Example")
    example.field.append(_field("features", 1, _Proto.TYPE_MESSAGE, type_name="Features"))
    return file


_pool = descriptor_pool.DescriptorPool()  # of its own: TensorFlow's types may be in the default one
_pool.Add(_example_file())
Example: Any = message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{_PACKAGE}.Example"))
"""The message class, to parse with and to write tests' records with."""
Feature: Any = message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{_PACKAGE}.Feature"))
"""The class of one of its features."""
