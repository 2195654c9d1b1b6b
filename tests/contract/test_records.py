"""Records: which format a file has, and what is known of how it was made."""

from pathlib import Path
from typing import Any

import pytest

from damon_core import (
    Context,
    ContextInfo,
    DelegatedSampling,
    InputError,
    Intervals,
    PageSampling,
    RecordFormat,
    RecordInfo,
    RegionLimits,
    SelfClosing,
    format_of,
)


def _unused(*_args: object) -> Any:
    raise AssertionError


def of(name: str, *suffixes: str) -> RecordFormat:
    """Return a format that nobody opens."""
    return RecordFormat(name, suffixes, _unused, _unused)


def test_the_longest_ending_tells_the_format() -> None:
    """A format whose ending has two parts wins over that of the last part."""
    formats = [of("gz", ".gz"), of("json", ".json.gz", ".json")]
    names = [format_of(Path(file), formats).name for file in ("a.json.gz", "a.b.gz", "a.json")]
    assert names == ["json", "gz", "json"]


def test_a_file_without_a_known_ending_is_told_those_that_there_are() -> None:
    """The message says what is possible."""
    with pytest.raises(InputError, match=r"'a\.txt' has no ending .*; possible: \.csv, \.tsv$"):
        format_of(Path("a.txt"), [of("csv", ".csv", ".tsv")])


def test_without_formats_it_is_said_so() -> None:
    """An empty list of possible endings would be no help."""
    with pytest.raises(InputError, match="possible: no format is installed"):
        format_of(Path("a.csv"), [])


@pytest.mark.parametrize(("name", "suffixes"), [("a b", (".a",)), ("a", ()), ("a", ("a",))])
def test_names_and_suffixes_are_checked(name: str, suffixes: tuple[str, ...]) -> None:
    """What can't be typed in a file name or a listing is refused where it is registered."""
    with pytest.raises(ValueError, match="must be"):
        of(name, *suffixes)


def test_information_tells_how_contexts_are_monitored() -> None:
    """Parts by name, and the attributes in force."""

    class Memory:
        name = "memory"
        backend_name = "bits"
        sampling = PageSampling

    intervals, limits = Intervals(1_000, 10_000, 10_000), RegionLimits(5, 50)
    context = Context(
        Memory(),
        name="db",
        intervals=intervals,
        limits=limits,
        cpu_budget=0.5,
        max_slowdown=0.1,
        max_stall_us=7,
    )
    assert RecordInfo.here([context]).contexts == (
        ContextInfo("db", "memory", "bits", "evidence", intervals, limits, 0.5, 0.1, 7),
    )


def test_a_policy_that_takes_no_part_is_not_named() -> None:
    """What samples elsewhere adjusts the regions too."""

    class Elsewhere:
        sampling = DelegatedSampling

    assert ContextInfo.of(Context(Elsewhere())).policy == ""


def test_what_a_format_does_not_keep_is_added_to_what_is_filled_in() -> None:
    """Each column once, in the order of all columns."""
    info = RecordInfo(filled_in=("resident_bytes",)).without(["resident_bytes", "age"])
    assert info.filled_in == ("age", "resident_bytes")


def test_several_records_have_one_length_or_none_is_known() -> None:
    """Of their aggregations."""
    short, longer = RecordInfo(every_us=1), RecordInfo(every_us=2)
    assert RecordInfo.of_all([longer, longer]).every_us == 2
    assert RecordInfo.of_all([short, longer]).every_us is None


def test_what_is_open_is_closed_at_the_end_of_with() -> None:
    """Whatever ends it."""

    class File(SelfClosing):
        closed = 0

        def close(self) -> None:
            self.closed += 1

    file = File()
    with pytest.raises(KeyError), file:
        raise KeyError
    assert file.closed == 1
