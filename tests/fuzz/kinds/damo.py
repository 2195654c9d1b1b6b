"""Records of damo in JSON, plain and compressed."""

import json
import random
import zlib
from pathlib import Path
from typing import Any, ClassVar

from damon_damo import DamoReader
from damon_damo.writer import DamoWriter

from damon_core import RecordInfo
from tests.fuzz.judging import Kind
from tests.fuzz.kinds.records import MIB, judge_record, small_record
from tests.fuzz.mutating import Mutator

_WORDS = [
    "null",
    "true",
    "false",
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    '"',
    '"1',
    "s",
    "200",
    'ms"',
    '"4,096"',
    '"-1',
    'us"',
    "\\ud800",
    "\\u0000",
    '"x":1',
    "[[[[",
    '{"a":',
    "{}",
    "}",
]


def _of_damo(*, old: bool = False) -> list[dict[str, Any]]:
    """Return a record as damo itself writes it."""
    snapshots = [
        {
            "start_time": str(10**12 + number * 10**8) if old else f"{1000 + number / 10} s",
            "end_time": str(10**12 + (number + 1) * 10**8) if old else f"{1000.1 + number / 10} s",
            "total_bytes": None,
            "regions": [
                {
                    "start": str((place + 1) * MIB) if old else f"{(place + 1) * MIB:,}",
                    "end": str((place + 2) * MIB) if old else f"{(place + 2) * MIB:,}",
                    "nr_accesses": {"samples": number + place, "percent": None}
                    if old
                    else {"samples": None, "percent": 5.0 * place},
                    "age": {"usec": None, "aggr_intervals": 3} if old else {"usec": "300 ms"},
                    "sz_filter_passed": "0",
                }
                for place in range(3)
            ],
        }
        for number in range(3)
    ]
    intervals = {"sample_us": "5 ms", "aggr_us": "100 ms", "ops_update_us": "1 s"}
    return [
        {
            "kdamond_idx": 0,
            "context_idx": 0,
            "target_id": target,
            "intervals": None if old else intervals,
            "snapshots": snapshots,
        }
        for target in range(2)
    ]


class DamoRecord(Kind):
    """A record of damo."""

    name: ClassVar[str] = "damo"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._path = folder / "a.json"
        ours = folder / "ours.json"
        with DamoWriter(ours, RecordInfo("here")) as writer:
            for snapshot in small_record(3):
                writer.write(snapshot)
        raw = ours.read_bytes()
        text = zlib.decompress(raw) if raw[:1] == b"\x78" else raw
        self._values = [_of_damo(), _of_damo(old=True), json.loads(text)]
        self._texts = [json.dumps(value).encode() for value in self._values]

    def make(self, chance: random.Random) -> bytes:
        """Return a record with values or bytes changed, now and then compressed."""
        mutator = Mutator(chance, _WORDS)
        if chance.random() < 0.3:
            text = mutator.raw(chance.choice(self._texts), self._texts)
        else:
            value: Any = chance.choice(self._values)
            for _ in range(chance.choice((1, 1, 2, 3, 8))):
                value = mutator.value(value)
            text = json.dumps(value, ensure_ascii=chance.random() < 0.5).encode(
                "utf-8", "surrogatepass"
            )
        if chance.random() < 0.15:
            text = zlib.compress(text)
            if chance.random() < 0.5:
                text = mutator.raw(text)
        return text

    def judge(self, data: bytes) -> bool:
        """Read all of it."""
        self._path.write_bytes(data)
        # The kernel lists the regions of all targets of a context as those of one.
        return judge_record(DamoReader, self._path, in_order=False) is not None
