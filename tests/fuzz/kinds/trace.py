"""What the kernel's DAMON writes: pages of its trace, regions in directories, and our claims."""

import contextlib
import json
import random
import shutil
from pathlib import Path
from typing import ClassVar

from damon_sysfs.events import Collector, EventFormat, Events, parse_page
from damon_sysfs.ownership import Registry
from damon_sysfs.tree import Tree
from damon_sysfs.tried import TriedRegions

from tests.fuzz.judging import Fault, Kind, attempt
from tests.fuzz.mutating import Mutator

_DATA = Path(__file__).parents[3] / "plugins/sysfs/tests/data"
_CLAIM = {
    "slot": 0,
    "pid": 7,
    "started": 8,
    "namespace": 9,
    "instance": "damon-7-0",
    "kdamond": 10,
    "kdamond_started": 11,
    "plan": {"contexts/nr_contexts": "1"},
}
_MARK = b"\0\0\0\0"


class Trace(Kind):
    """A format and pages, or claims, or numbers of regions; the first byte says which."""

    name: ClassVar[str] = "trace"
    limit_s: ClassVar[float] = 2.0

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._page = (_DATA / "page.bin").read_bytes()
        self._form = (_DATA / "format").read_text()
        self._folder = folder / "run"

    def make(self, chance: random.Random) -> bytes:
        """Return a page, a format with a page, claims or regions, with something changed."""
        mutator = Mutator(chance, ("offset", "size", "field", "start", "end", "age", "8", "4"))
        what = chance.random()
        if what < 0.5:
            page = bytearray(self._page)
            for _ in range(chance.choice((1, 1, 2, 4))):
                place = chance.choice((0, 8, 16, 16 + 44 * chance.randrange(20)))
                word = chance.choice((0, 29, 30, 31, 1 << 30, 1 << 31, 0xFFFFF, (1 << 32) - 1))
                word = chance.choice((word, chance.getrandbits(32)))
                page[place : place + 4] = word.to_bytes(4, "little")
            data = bytes(page)
            return b"P" + (data if chance.random() < 0.7 else mutator.raw(data))
        if what < 0.65:
            form = mutator.raw(self._form.encode())
            return b"F" + form + _MARK + self._page
        if what < 0.85:
            claims = {"before": None, "claims": [_CLAIM, _CLAIM]}
            text = json.dumps(mutator.value(claims) if chance.random() < 0.7 else claims).encode()
            return b"C" + (mutator.raw(text) if chance.random() < 0.5 else text)
        return b"R" + ",".join(mutator.number() for _ in range(8)).encode()

    def judge(self, data: bytes) -> bool:
        """Read it."""
        what, rest = data[:1], data[1:]
        if what == b"P":
            return self._judge_page(EventFormat.parse(self._form), rest)
        if what == b"F":
            text, _, page = rest.partition(_MARK)
            with contextlib.suppress(ValueError):  # said so, and the event isn't used
                return self._judge_page(EventFormat.parse(text.decode(errors="replace")), page)
            return False
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()
        if what == b"C":
            (self._folder / "claims.json").write_bytes(rest)
            return attempt(Registry(Tree(self._folder), self._folder).read) is not None
        return self._judge_regions(rest.decode(errors="replace").split(","))

    @staticmethod
    def _judge_page(form: EventFormat, page: bytes) -> bool:
        found = parse_page(page, form)
        if found.lost < 0:
            raise Fault(f"{found.lost} events lost")
        events = Events.joined(found.events or [Events.none(form)])
        collector = Collector()
        for closed in (False, True):
            for aggregation in collector.take(events, 2, closed):
                for table in aggregation.tables.values():
                    if len({len(table.start), len(table.end), len(table.age)}) != 1:
                        raise Fault("columns of different lengths")
        return len(events) > 0

    def _judge_regions(self, numbers: list[str]) -> bool:
        below = self._folder / "contexts/0/schemes/0/tried_regions"
        (self._folder / "state").write_text("on\n")
        for index in range(2):
            (below / str(index)).mkdir(parents=True)
            for name, number in zip(("start", "end", "nr_accesses", "age"), numbers, strict=False):
                text = number.encode("utf-8", "replace") + b"\n"
                (below / str(index) / name).write_bytes(text)
        try:
            found = attempt(lambda: TriedRegions(Tree(self._folder), "").take(0))
        except (ValueError, OverflowError):
            # Not a number: no kernel says that.
            if all(number.isdecimal() and number.isascii() for number in numbers[:4]):
                raise
            return False
        except FileNotFoundError:
            return False
        return bool(found)
