"""Records in CSV: rows of this and older versions, changed as texts and field by field."""

import random
from pathlib import Path
from typing import ClassVar

from damon_csv.record import CsvReader, CsvWriter

from damon_core import RecordInfo
from tests.fuzz.judging import Kind
from tests.fuzz.kinds.records import judge_record, small_record
from tests.fuzz.mutating import Mutator

_WORDS = ('"', "''", '","', "\r\n", "\n", ",", ",,", ";", "\t", "#", " ", "\ufeff", "e9", "-", "0")


class CsvRecord(Kind):
    """A record in CSV."""

    name: ClassVar[str] = "csv"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._path = folder / "a.csv"
        self._texts = []
        for number, (rich, lacks) in enumerate(
            ((True, ()), (False, ()), (False, ("idle_us", "resident_bytes", "touched_bytes")))
        ):
            path = folder / f"{number}.csv"
            with CsvWriter(path, RecordInfo(filled_in=lacks)) as writer:
                for snapshot in small_record(rich=rich):
                    writer.write(snapshot)
            self._texts.append(path.read_bytes())

    def make(self, chance: random.Random) -> bytes:
        """Return a record with fields, rows or bytes changed."""
        mutator = Mutator(chance, _WORDS)
        text = chance.choice(self._texts)
        if chance.random() < 0.5:
            return mutator.raw(text, self._texts)
        rows = [line.split(b",") for line in text.split(b"\n")]
        for _ in range(chance.choice((1, 1, 2, 4))):
            row = chance.choice([each for each in rows if each])
            place = chance.randrange(len(row))
            what = chance.random()
            if what < 0.1:
                del row[place]
            elif what < 0.2:
                row.insert(place, row[place])
            elif what < 0.3:  # the same in all rows: such as a column that isn't there
                for each in rows[1:]:
                    if place < len(each):
                        each[place] = row[place]
            elif what < 0.7:
                row[place] = mutator.number().encode()
            else:
                row[place] = mutator.name().encode("utf-8", "surrogatepass")
        if chance.random() < 0.1:
            chance.shuffle(rows)
        return b"\n".join(map(b",".join, rows))

    def judge(self, data: bytes) -> bool:
        """Read all of it."""
        self._path.write_bytes(data)
        return judge_record(CsvReader, self._path) is not None
