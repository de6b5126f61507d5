"""The messages of ONNX files that graphs are written in: the few of them that are needed, and how they are made.

Names and numbers of fields are those of ONNX's intermediate representation, version 10, of which a file has the numbers
alone; the package that knows all of it takes 33 MB. The messages lie in a pool of their own: that package may be there
too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.message import Message
    from numpy.typing import NDArray

OPSET, IR_VERSION = 20, 10
MICROSOFT = "com.microsoft"
PACKAGE = "rtstream.onnx"
SCALARS = {
    "bytes": FieldDescriptorProto.TYPE_BYTES,
    "float": FieldDescriptorProto.TYPE_FLOAT,
    "int32": FieldDescriptorProto.TYPE_INT32,
    "int64": FieldDescriptorProto.TYPE_INT64,
    "string": FieldDescriptorProto.TYPE_STRING,
}
FIELDS = {
    "Model": "1 int64 ir_version, 7 Graph graph, 8 OperatorSet* opset_import",
    "OperatorSet": "1 string domain, 2 int64 version",
    "Graph": "1 Node* node, 2 string name, 5 Tensor* initializer, 11 Value* input, 12 Value* output",
    "Node": "1 string* input, 2 string* output, 4 string op_type, 5 Attribute* attribute, 7 string domain",
    "Attribute": "1 string name, 2 float f, 3 int64 i, 4 bytes s, 6 Graph g, 8 int64* ints, 20 int32 type",
    "Value": "1 string name, 2 Type type",
    "Type": "1 TensorType tensor_type",
    "TensorType": "1 int32 elem_type, 2 Shape shape",
    "Shape": "1 Dimension* dim",
    "Dimension": "1 int64 dim_value",
    "Tensor": "1 int64* dims, 2 int32 data_type, 8 string name, 9 bytes raw_data, 13 Entry* external_data, "
    "14 int32 data_location",
    "Entry": "1 string key, 2 string value",
}
"""Each message's fields: number, type, with an asterisk where there are several, and name."""
EXTERNAL = 1
"""Where a tensor's data lie: in a file of their own."""
TYPES = {np.dtype(np.float32): 1, np.dtype(np.uint8): 2, np.dtype(np.int8): 3, np.dtype(np.int64): 7, np.dtype(bool): 9}
ATTRIBUTES = {"f": 1, "i": 2, "s": 3, "g": 5, "ints": 7}


def _classes() -> Mapping[str, type[Message]]:
    file = FileDescriptorProto(name=f"{PACKAGE}.proto", package=PACKAGE, syntax="proto2")
    for message, fields in FIELDS.items():
        into = file.message_type.add(name=message).field
        for field in fields.split(", "):
            number, kind, name = field.split(" ")
            several, kind = kind.endswith("*"), kind.rstrip("*")
            label = FieldDescriptorProto.LABEL_REPEATED if several else FieldDescriptorProto.LABEL_OPTIONAL
            added = into.add(name=name, number=int(number), label=label)
            if kind in SCALARS:
                added.type = SCALARS[kind]
            else:
                added.type, added.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
    pool = DescriptorPool()
    pool.Add(file)
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in FIELDS}


CLASSES = _classes()


def make(kind: str, **fields: Any) -> Any:  # noqa: ANN401 - classes that are made at run time
    """A message of a kind of ``FIELDS``."""
    return CLASSES[kind](**fields)


def value(name: str, dtype: type, shape: Sequence[int | None] | None) -> Any:  # noqa: ANN401 - as above
    """What a graph is given or gives, of a shape, None for a length that may be any, or of one that is not known."""
    known = {} if shape is None else {"shape": make("Shape", dim=[_dimension(size) for size in shape])}
    tensor = make("TensorType", elem_type=TYPES[np.dtype(dtype)], **known)
    return make("Value", name=name, type=make("Type", tensor_type=tensor))


def _dimension(size: int | None) -> Any:  # noqa: ANN401 - as above
    return make("Dimension") if size is None else make("Dimension", dim_value=size)


def node(kind: str, inputs: Sequence[str], outputs: Sequence[str], domain: str = "", **attributes: Any) -> Any:  # noqa: ANN401 - as above
    """An operation; attributes are numbers, whole numbers in a row, texts, or graphs."""
    listed = [_attribute(name, given) for name, given in sorted(attributes.items())]
    return make("Node", op_type=kind, input=inputs, output=outputs, domain=domain, attribute=listed)


def _attribute(name: str, given: Any) -> Any:  # noqa: ANN401 - as above
    match given:
        case int():
            field = "i"
        case float():
            field = "f"
        case str():
            field, given = "s", given.encode()
        case list():
            field = "ints"
        case _:
            field = "g"
    return make("Attribute", name=name, type=ATTRIBUTES[field], **{field: given})


def tensor(name: str, array: NDArray[Any]) -> Any:  # noqa: ANN401 - as above
    """An array as a constant of that name."""
    return make("Tensor", name=name, dims=array.shape, data_type=TYPES[array.dtype], raw_data=array.tobytes())


def mapped(name: str, array: NDArray[Any], file: str) -> Any:  # noqa: ANN401 - as above
    """An array that lies in a file beside the graph's."""
    where = [make("Entry", key="location", value=file)]
    kind = TYPES[array.dtype]
    return make("Tensor", name=name, dims=array.shape, data_type=kind, data_location=EXTERNAL, external_data=where)


def model(graph: Any) -> Any:  # noqa: ANN401 - as above
    """A graph as what a file holds."""
    opsets = [make("OperatorSet", domain="", version=OPSET), make("OperatorSet", domain=MICROSOFT, version=1)]
    return make("Model", ir_version=IR_VERSION, graph=graph, opset_import=opsets)
