"""The partitions of a dataset, one after the other: the files of a host and a day."""

import logging
from collections.abc import Callable, Sequence
from itertools import groupby

from attrs import evolve, frozen

from damon_core import InputError
from damon_parquet.store import DatasetFile, Progress, Store

logger = logging.getLogger(__name__)


@frozen
class Compaction:
    """What a compaction did.

    Attributes:
        partitions: How many partitions it put together.
        files: How many files they had.
        before_bytes: How long these were together.
        after_bytes: How long those are that replace them.
        failed: How many partitions stay as they are, as a file of theirs can't be read.
    """

    partitions: int = 0
    files: int = 0
    before_bytes: int = 0
    after_bytes: int = 0
    failed: int = 0


def partitions_of(store: Store, hosts: Sequence[str], last: str | None) -> list[list[DatasetFile]]:
    """Return the files of each partition, with those that an interrupted compaction left over."""
    everything = sorted([*store.files(hosts, last=last), *store.left_over(hosts, last)])
    return [list(files) for _, files in groupby(everything, lambda file: (file.host, file.date))]


def refuse_itself(store: Store, into: Store) -> None:
    """Refuse to move what a dataset has to itself: the files would be removed after that.

    Raises:
        InputError: Both are the same.
    """
    if into.place == store.place:
        raise InputError(f"'{into.location}' is the dataset itself: name another, or none")


def one_by_one(
    partitions: Sequence[Sequence[DatasetFile]],
    compact: Callable[[Sequence[DatasetFile]], int],
    advance: Progress,
) -> Compaction:
    """Compact partitions; one whose files can't be used is logged, and stays.

    Args:
        partitions: The files of each.
        compact: Compacts one, and returns the length of the file that it is then.
        advance: Is called with how many partitions are done, and of how many.

    Raises:
        DamonError: A file can't be written; what was done before stays done.
    """
    done = Compaction()
    for number, files in enumerate(partitions):
        advance(number, len(partitions))
        try:
            after_bytes = compact(files)
        except InputError as error:
            # One file of ten thousand must not keep the others.
            logger.error("%s; '%s' stays as it is", error.message, files[0].folder)
            done = evolve(done, failed=done.failed + 1)
            continue
        done = evolve(
            done,
            partitions=done.partitions + 1,
            files=done.files + len(files),
            before_bytes=done.before_bytes + sum(file.size_bytes for file in files),
            after_bytes=done.after_bytes + after_bytes,
        )
    advance(len(partitions), len(partitions))
    return done
