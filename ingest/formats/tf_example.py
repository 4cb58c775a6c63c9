"""`tf.train.Example` without TensorFlow: its message types are declared here, protobuf parses them.

An Example maps a name to a list of bytes, of float32 or of int64
(https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/example/feature.proto).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory
from numpy.typing import NDArray

from schema.errors import EpisodeError

Values = tuple[bytes, ...] | NDArray[np.float32] | NDArray[np.int64]

_PACKAGE = "robomix.example"
_Proto = descriptor_pb2.FieldDescriptorProto


def parse_example(payload: bytes | memoryview) -> Mapping[str, Any]:
    """The Example's features by name, not yet converted; EpisodeError "bad_example" where it cannot be parsed."""
    example = Example()
    try:
        example.ParseFromString(payload)
    except message.DecodeError as error:
        raise EpisodeError(
            "bad_example", f"found {len(payload)} bytes that are no tf.train.Example: {error}"
        ) from error
    features: Mapping[str, Any] = example.features.feature
    return features


def values_of(feature: Any) -> Values:
    """The list that a feature holds: bytes, float32 `[N]` or int64 `[N]`; an unset one is no bytes."""
    kind = feature.WhichOneof("kind")
    if kind == "float_list":
        return np.fromiter(feature.float_list.value, np.float32, count=len(feature.float_list.value))
    if kind == "int64_list":
        return np.fromiter(feature.int64_list.value, np.int64, count=len(feature.int64_list.value))
    return tuple(feature.bytes_list.value)


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


def _example_class() -> Any:
    pool = descriptor_pool.DescriptorPool()  # of its own: TensorFlow's types may be in the default one
    pool.Add(_example_file())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Example"))


Example: Any = _example_class()
"""The message class, to parse with and to write tests' records with."""
