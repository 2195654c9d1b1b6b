"""Records in Parquet: with flipped bits and cut, and as other programs write them anew."""

import io
import json
import random
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from damon_parquet.reader import ParquetReader
from damon_parquet.schema import NEW, SCHEMA
from damon_parquet.writer import ParquetWriter

from damon_core import RecordInfo
from tests.fuzz.judging import Kind
from tests.fuzz.kinds.records import judge_record, small_record
from tests.fuzz.mutating import Mutator

_TYPES = (
    "int64",
    "int32",
    "uint64",
    "int8",
    "float64",
    "float32",
    "string",
    "large_string",
    "bool",
)
_OTHER_TYPES = ("binary", "timestamp", "timestamp ns", "date", "null", "decimal", "dictionary")
_ROWS = (4, 7, 1 << 16)
_COMPRESSIONS = ("none", "snappy", "gzip", "lz4", "brotli")


class ParquetRecord(Kind):
    """A record in Parquet."""

    name: ClassVar[str] = "parquet"
    limit_s: ClassVar[float] = 10.0

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._path = folder / "a.parquet"
        path = folder / "whole.parquet"
        with ParquetWriter(path, RecordInfo("here")) as writer:
            for snapshot in small_record(2):
                writer.write(snapshot)
        self._whole = path.read_bytes()
        self._table = pq.read_table(path)
        # Descriptions of columns take long to read.
        self._brief = self._table.drop_columns([*NEW, "owners", "areas"])
        # A writer that was killed leaves no footer.
        footer = int.from_bytes(self._whole[-8:-4], "little")
        self._unfinished = self._whole[: -footer - 8]

    def make(self, chance: random.Random) -> bytes:
        """Return a record with bytes changed, or one that another program might write."""
        mutator = Mutator(chance)
        what = chance.random()
        if what < 0.35:
            data = self._whole if chance.random() < 0.8 else self._unfinished
            return self._damaged(chance, mutator, data)
        data = self._rewritten(chance, mutator)
        return data if what < 0.75 else self._damaged(chance, mutator, data)

    @staticmethod
    def _damaged(chance: random.Random, mutator: Mutator, data: bytes) -> bytes:
        if chance.random() < 0.3:
            return mutator.raw(data)
        changed = bytearray(data)
        footer = int.from_bytes(data[-8:-4], "little")
        for _ in range(chance.choice((1, 1, 1, 2, 8))):
            # Half of the flips where the descriptions are.
            begin = max(len(data) - footer - 8, 0) if chance.random() < 0.5 else 0
            changed[chance.randrange(begin, len(data))] ^= 1 << chance.randrange(8)
        return bytes(changed)

    def _rewritten(self, chance: random.Random, mutator: Mutator) -> bytes:
        table = self._table if chance.random() < 0.08 else self._brief
        if chance.random() < 0.3:
            table = table.replace_schema_metadata(None)
        elif chance.random() < 0.1:
            table = table.replace_schema_metadata(
                {b"damon": json.dumps(mutator.value({"version": 1, "hostname": "a"})).encode()}
            )
        for _ in range(chance.choice((0, 1, 1, 1, 2, 3))):
            table = self._changed(chance, mutator, table)
        out = io.BytesIO()
        try:
            pq.write_table(
                table,
                out,
                # What takes several times as long is in few of many cases.
                row_group_size=chance.choice((1, 3) if chance.random() < 0.05 else _ROWS),
                compression="zstd" if chance.random() < 0.05 else chance.choice(_COMPRESSIONS),
                use_dictionary=chance.random() < 0.5,
                data_page_version=chance.choice(("1.0", "2.0")),
                write_statistics=chance.random() < 0.5,
                store_schema=chance.random() < 0.5,
                write_page_checksum=chance.random() < 0.3,
                data_page_size=chance.choice((16, 1 << 20)),
                use_compliant_nested_type=chance.random() < 0.8,
            )
        except (pa.ArrowException, OSError, TypeError, ValueError):
            return b"PAR1"  # such a table can't be written
        return out.getvalue()

    @staticmethod
    def _changed(chance: random.Random, mutator: Mutator, table: pa.Table) -> pa.Table:
        """Return a table of the same record that is laid out otherwise, or of a strange one."""
        what = chance.randrange(11)
        if not len(table):
            return table
        if what == 0:
            return table.take(pa.array(np.array(chance.sample(range(len(table)), len(table)))))
        if what == 1:
            return table.slice(chance.randrange(len(table)), chance.randrange(1, len(table) + 1))
        if what == 2:
            return pa.concat_tables([table, table.slice(0, chance.randrange(len(table)))])
        names = table.column_names
        name = chance.choice(names)
        if what == 3:
            return table.drop_columns([name])
        if what == 4:
            return table.select(chance.sample(names, len(names)))
        if what == 5:
            return table.append_column(_name(mutator), pa.nulls(len(table), pa.int64()))
        place = names.index(name)
        values = table[name].to_pylist()
        if what == 6:
            return table.set_column(place, name, pa.nulls(len(table), table[name].type))
        if what == 7:
            new = _name(mutator)
            return table.rename_columns([new if each == name else each for each in names])
        if what == 8:
            try:
                kind = _type(chance.choice((*_TYPES, *_OTHER_TYPES)))
                return table.set_column(place, name, table[name].cast(kind, safe=False))
            except pa.ArrowException:
                return table
        row = chance.randrange(len(values))
        values[row] = _other(chance, mutator, values[row])
        try:
            return table.set_column(place, name, pa.array(values, SCHEMA.field(name).type))
        except (pa.ArrowException, KeyError, OverflowError, TypeError, ValueError):
            return table

    def judge(self, data: bytes) -> bool:
        """Read all of it."""
        self._path.write_bytes(data)
        return judge_record(ParquetReader, self._path) is not None


def _other(chance: random.Random, mutator: Mutator, value: Any) -> Any:
    if isinstance(value, str):
        return _name(mutator)
    if isinstance(value, int | float) and chance.random() < 0.8:
        try:
            return type(value)(float(mutator.number()))
        except (ValueError, OverflowError):
            return value
    return mutator.value(value) if isinstance(value, list) else None


def _name(mutator: Mutator) -> str:
    """Return a name that can be a column's."""
    return mutator.name().encode(errors="replace").decode()


def _type(name: str) -> pa.DataType:
    special = {
        "timestamp": pa.timestamp("us"),
        "timestamp ns": pa.timestamp("ns", "UTC"),
        "date": pa.date64(),
        "decimal": pa.decimal128(38, 2),
        "dictionary": pa.dictionary(pa.int8(), pa.string()),
        "bool": pa.bool_(),
        "null": pa.null(),
    }
    return special.get(name) or pa.type_for_alias(name)
