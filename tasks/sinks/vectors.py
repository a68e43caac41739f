"""Vectors: base64 of little-endian float32 in JSON, lists of float32 in Arrow."""

from __future__ import annotations

import base64

import numpy as np
import pyarrow as pa

from mediamill.tasks.sinks.schema import DESCRIPTION

_VECTOR_METADATA = {b"encoding": b"base64-float32"}


def vector_field(name: str, size: int | None, description: str) -> pa.Field:
    """A column of vectors; lists of a fixed size where ``size`` is known."""
    kind = pa.list_(pa.float32()) if size is None else pa.list_(pa.float32(), size)
    return pa.field(name, kind, metadata={**_VECTOR_METADATA, DESCRIPTION: description})


def is_vector(field: pa.Field) -> bool:
    """True for a column made by :func:`vector_field`."""
    return bool(field.metadata) and field.metadata.get(b"encoding") == _VECTOR_METADATA[b"encoding"]


def decode_vectors(texts: pa.ChunkedArray | pa.Array, kind: pa.DataType) -> pa.Array:
    """Vectors from base64; null where the text is null or has another size than the column.

    Args:
        texts: strings.
        kind: the column's type, a list of float32.
    """
    size = kind.list_size if pa.types.is_fixed_size_list(kind) else None
    rows = [None if text is None else base64.b64decode(text) for text in texts.to_pylist()]
    fits = [row if row is not None and (size is None or len(row) == 4 * size) else None for row in rows]
    mask = pa.array([row is None for row in fits], pa.bool_())
    if size is not None:
        empty = bytes(4 * size)
        numbers = np.frombuffer(b"".join(row or empty for row in fits), dtype="<f4")
        return pa.FixedSizeListArray.from_arrays(pa.array(numbers, pa.float32()), size, mask=mask)
    offsets = np.cumsum([0, *(len(row or b"") // 4 for row in fits)], dtype="int32")
    numbers = np.frombuffer(b"".join(row or b"" for row in fits), dtype="<f4")
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(numbers, pa.float32()), mask=mask)
