"""Some cases of each kind of input, and every input that was once a finding."""

import faulthandler
import os
import random
from pathlib import Path

import pytest

from tests.fuzz.judging import Fault, Kind, attempt
from tests.fuzz.kinds import KINDS
from tests.fuzz.running import case, judge, run
from tests.fuzz.shrinking import shrink

FINDINGS = sorted(Path(__file__).with_name("findings").glob("*/*"))
#: As many cases as take a second or two.
CASES = {"config": 60, "parquet": 40, "names": 60, "alert": 100, "csv": 200}


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_every_input_is_read_or_clearly_refused(tmp_path: Path, name: str) -> None:
    """A few cases; ``python -m tests.fuzz`` runs as many as are wanted."""
    kind = KINDS[name](tmp_path)
    inputs = [case(kind, 1, number) for number in range(CASES.get(name, 400))]
    assert [wrong for _, wrong in (judge(kind, each) for each in inputs) if wrong] == []


@pytest.mark.parametrize("path", FINDINGS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_was_found_is_mended(tmp_path: Path, path: Path) -> None:
    """Each input stands for a fault that the product had."""
    assert judge(KINDS[path.parent.name](tmp_path), path.read_bytes())[1] is None


class Sick(Kind):
    """Fails in every way that there is."""

    name = "sick"
    limit_s = 0.2

    def make(self, chance: random.Random) -> bytes:
        return chance.choice((b"fine", b"wrong!", b"endless", b"deadly", b"memory", b"two lines"))

    def judge(self, data: bytes) -> bool:
        if b"!" in data:
            raise KeyError(data)
        if data == b"memory":
            bytearray(1 << 40)
        while data == b"endless":
            pass
        if data == b"deadly":
            faulthandler.disable()  # else the log has a page for each
            os.abort()
        return True


@pytest.mark.slow
def test_each_way_to_fail_is_found(tmp_path: Path) -> None:
    """Also those that end the process; and what follows is tried all the same."""
    report = run(Sick(tmp_path), 1, 60)
    assert report.cases == 60
    found = {finding.what.partition(":")[0] for finding in report.findings}
    assert found == {"KeyError", "takes longer than 0.2 s", "ends the process", "MemoryError"}
    (wrong,) = [each for each in report.findings if each.what.startswith("KeyError")]
    assert wrong.data == b"!"


def test_the_same_seed_makes_the_same_input(tmp_path: Path) -> None:
    """So that a finding can be had again by its number."""
    kind = Sick(tmp_path)
    assert [case(kind, 7, 3), case(kind, 7, 3)] == [case(kind, 7, 3)] * 2


def test_an_input_is_made_as_small_as_it_can_be() -> None:
    """What isn't needed is left out."""
    assert shrink(
        b"a long text with x and y in it", lambda data: b"x" in data and b"y" in data
    ) == (b"xy")


def test_a_refusal_that_does_not_name_its_file_is_a_fault() -> None:
    """People have to know which one is meant."""
    from damon_core import InputError

    def refuse() -> None:
        raise InputError("is wrong")

    with pytest.raises(Fault, match="doesn't name"):
        attempt(refuse, "a.toml")
