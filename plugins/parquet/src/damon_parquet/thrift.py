"""Thrift's compact protocol, as far as the metadata of Parquet needs it.

pyarrow writes whole files only. To append to one, the description of a row group is taken out of
the footer of a small file, moved to where the row group will lie, and put into another footer.

A struct is a dict of its fields: by number, the type and the value; where it is to be encoded, it
may be encoded already. A list is a `List`. Floats stay the bytes that they are.
"""

from typing import Any, NamedTuple

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)

Struct = dict[int, tuple[int, Any]]


class List(NamedTuple):
    """The elements of a list, all of one type."""

    kind: int
    items: list[Any]


def decode_struct(data: bytes, position: int = 0) -> Struct:
    """Return the struct that begins at a position.

    Raises:
        ValueError: It is none, or has a type that Parquet doesn't use.
    """
    try:
        return _Decoder(data, position).struct()
    except IndexError as error:
        raise ValueError("the metadata ends too early") from error
    except RecursionError as error:
        raise ValueError("the metadata has structs within structs without end") from error


def encode_struct(struct: Struct) -> bytes:
    """Return a struct as bytes."""
    out = bytearray()
    _put_struct(out, struct)
    return bytes(out)


class _Decoder:
    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self._position = position

    def struct(self) -> Struct:
        fields: Struct = {}
        number = 0
        while header := self._byte():
            delta, kind = header >> 4, header & 15
            number = number + delta if delta else self._signed()
            fields[number] = kind, self._value(kind)
        return fields

    def _value(self, kind: int) -> Any:  # noqa: PLR0911  # one for each type
        if kind in (TRUE, FALSE):
            return kind == TRUE
        if kind == BYTE:
            return self._byte()
        if kind in (I16, I32, I64):
            return self._signed()
        if kind == DOUBLE:
            return self._bytes(8)
        if kind == BINARY:
            return self._bytes(self._unsigned())
        if kind == STRUCT:
            return self.struct()
        if kind in (LIST, SET):
            return self._list()
        raise ValueError(f"the metadata has a field of type {kind}")

    def _list(self) -> List:
        header = self._byte()
        count, kind = header >> 4, header & 15
        if count == 15:
            count = self._unsigned()
        if kind in (TRUE, FALSE):  # in lists, each takes a byte
            return List(kind, [self._byte() for _ in range(count)])
        return List(kind, [self._value(kind) for _ in range(count)])

    def _byte(self) -> int:
        byte = self._data[self._position]
        self._position += 1
        return byte

    def _bytes(self, count: int) -> bytes:
        begin, self._position = self._position, self._position + count
        if self._position > len(self._data):
            raise IndexError
        return self._data[begin : self._position]

    def _unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def _signed(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)


def _put_struct(out: bytearray, struct: Struct) -> None:
    last = 0
    for number, (kind, value) in sorted(struct.items()):
        if kind in (TRUE, FALSE):
            kind = TRUE if value else FALSE  # noqa: PLW2901  # the type is the value
        if 0 < number - last <= 15:
            out.append((number - last) << 4 | kind)
        else:
            out.append(kind)
            _put_signed(out, number)
        last = number
        if kind not in (TRUE, FALSE):
            _put_value(out, kind, value)
    out.append(0)


def _put_value(out: bytearray, kind: int, value: Any) -> None:
    if kind in (TRUE, FALSE, BYTE):
        out.append(value)
    elif kind in (I16, I32, I64):
        _put_signed(out, value)
    elif kind == DOUBLE:
        out += value
    elif kind == BINARY:
        _put_unsigned(out, len(value))
        out += value
    elif kind == STRUCT and isinstance(value, bytes):
        out += value
    elif kind == STRUCT:
        _put_struct(out, value)
    else:
        count = len(value.items)
        if count < 15:
            out.append(count << 4 | value.kind)
        else:
            out.append(15 << 4 | value.kind)
            _put_unsigned(out, count)
        for item in value.items:
            _put_value(out, value.kind, item)


def _put_signed(out: bytearray, value: int) -> None:
    _put_unsigned(out, value << 1 if value >= 0 else ~(value << 1))


def _put_unsigned(out: bytearray, value: int) -> None:
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
