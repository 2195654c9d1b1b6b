"""A Parquet file that grows by row groups and can be read at any time.

After the first four bytes the file is a chain of blocks: a header, the pages of a row group, and
compressed what a footer would say of it (and of the file, where no block before has said that).
Readers of Parquet find the pages through the footer at the end of the file and never look at what
lies between them. The chain is for recovery: each block that is whole by its checksum can be
read, footer or not.

A footer describes all row groups, so it gets longer with each. It is therefore written behind a
gap as long as itself, which the next blocks fill without touching it; only when the gap is full
is it written anew, behind the next gap. So footers never cost more than the data does, however
long the file gets, and all that other programs don't see in the meantime is what is in the gap.
"""

import contextlib
import errno
import io
import logging
import os
import stat
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from attrs import evolve, frozen

from damon_core import (
    PRIVATE_MODE,
    DamonError,
    InputError,
    RecordInfo,
    let_read,
    move_aside,
)
from damon_parquet.rowgroup import (
    MAGIC,
    RowGroup,
    encode_footer,
    encode_table,
    footer_length,
    is_sane,
    moved,
    pages_begin,
    parse,
    row_groups_of,
    split,
    with_groups,
    without_groups,
)
from damon_parquet.schema import MEANINGS_KEY, metadata_of, schema_of
from damon_parquet.thrift import Struct, decode_struct, encode_struct

logger = logging.getLogger(__name__)

#: Of a block: what it begins with, the lengths of the pages and of the compressed footer, and
#: the checksum of both.
_HEADER = struct.Struct("<8sQII")
_BLOCK = b"DAMON\r\n\x01"
#: What stands in front of a footer: what it begins with, and the footer's checksum.
_SEAL = struct.Struct("<8sI")
_SEALED = b"DAMON\r\n\x02"
_CRC_CHUNK_BYTES = 1 << 22
#: The footer of a record without rows isn't longer.
_FOOTER_BYTES = 1 << 20


class RowGroupFile:
    """A new file for writing: it is there as soon as it has a footer, and not before.

    Its user has the right to write at this path (`WriterLock`).

    Args:
        path: Where it is to be, as `output_path` returns it.
        info: How the record is made.
        group: A group that may read it; None: it is for its owner alone.

    Raises:
        InputError: It can't be written, or there is something.
    """

    def __init__(self, path: Path, info: RecordInfo, group: str | None = None) -> None:
        self.path = path
        self.explain(info)
        self._groups: list[RowGroup] = []
        self._end = len(MAGIC)
        self._footer_at = self._end
        unfinished = path.with_name(f".{path.name}.unfinished")
        try:
            self._fd = _create(unfinished)
        except OSError as error:
            raise InputError(
                f"'{path}' can't be written: {error.strerror}: choose another path"
            ) from error
        try:
            let_read(self._fd, group)
            self._write(MAGIC + self._footer(), 0)
            _name(unfinished, path)
            _sync_directory(path.parent)
        except OSError as error:
            os.close(self._fd)
            unfinished.unlink(missing_ok=True)
            if isinstance(error, FileExistsError):
                raise InputError(
                    f"'{path}' is a file of somebody else now and is left alone: move it away"
                ) from error
            raise InputError(f"'{path}' can't be written: {error.strerror}") from error

    def explain(self, info: RecordInfo) -> None:
        """Change what footers say of how the record is made, from the next on."""
        _, footer = split(
            encode_table(schema_of(info).with_metadata(metadata_of(info)).empty_table())
        )
        self._file = without_groups(footer)
        self._is_file_described = False

    def status(self) -> os.stat_result:
        """Return what the file is, wherever it is now."""
        return os.fstat(self._fd)

    def is_whole(self) -> bool:
        """Return whether nobody has cut it since it was last written."""
        return self.status().st_size >= self._end

    def is_at_its_path(self) -> bool:
        """Return whether it is still where it was made: not removed, moved or replaced."""
        return is_at(self.path, self.status())

    def append(self, table: pa.Table) -> None:
        """Append rows as a row group, all or none, and see them safe on the disk.

        Raises:
            DamonError: They can't be written; the file is as it was before.
        """
        pages, footer = split(encode_table(table))
        groups = moved(footer, self._end + _HEADER.size)
        alone = zlib.compress(encode_struct(with_groups(self._undescribed(), groups)))
        checksum = zlib.crc32(alone, zlib.crc32(pages))
        block = b"".join((_HEADER.pack(_BLOCK, len(pages), len(alone), checksum), pages, alone))
        end = self._end + len(block)
        self._groups += groups
        self._is_file_described = True
        try:
            if end <= self._footer_at:
                self._write(block, self._end)
                footer_at = self._footer_at
            else:
                whole = self._footer()
                self._write(b"".join((block, bytes(len(whole)), whole)), self._end)
                footer_at = end + len(whole)
        except OSError as error:
            del self._groups[-len(groups) :]
            self._is_file_described = False
            self._restore()
            raise DamonError(f"'{self.path}' can't be written: {error.strerror}") from error
        self._end, self._footer_at = end, footer_at

    def close(self, aside_us: int | None = None) -> None:
        """Complete the file: the footer comes right behind the data.

        One that was cut by another is left as it is: what is before the cut can be read.

        Args:
            aside_us: Move it aside, too, with the stamp of this time.

        Raises:
            DamonError: That can't be written.
            OSError: It can't be moved.
        """
        try:
            if self.is_whole():
                self._complete()
            if aside_us is not None and self.is_at_its_path():
                move_aside(self.path, aside_us)
        except OSError as error:
            raise DamonError(f"'{self.path}' can't be completed: {error.strerror}") from error
        finally:
            os.close(self._fd)

    def _complete(self) -> None:
        footer = self._footer()
        self._write(footer, self._end)
        os.ftruncate(self._fd, self._end + len(footer))
        os.fsync(self._fd)

    def _undescribed(self) -> Struct:
        """Return what no block yet says of the file."""
        return {} if self._is_file_described else self._file

    def _footer(self) -> bytes:
        footer = encode_footer(with_groups(self._file, self._groups))
        return _SEAL.pack(_SEALED, zlib.crc32(footer)) + footer

    def _write(self, data: bytes, position: int) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(self._fd, view, position)
            view = view[written:]
            position += written
        os.fdatasync(self._fd)

    def _restore(self) -> None:
        """Bring a footer back where a failed write may have covered it."""
        try:
            self._complete()
        except OSError as error:
            logger.error("'%s' has no footer now: %s", self.path, error.strerror)
        self._footer_at = self._end


def is_at(path: Path, status: os.stat_result) -> bool:
    """Return whether a file is at a path; a link to it isn't it."""
    try:
        return os.path.samestat(status, os.lstat(path))
    except OSError:
        return False


def make_room(path: Path) -> None:
    """Move what is at a path aside, named by when it was last written.

    Raises:
        InputError: It isn't a regular file, or it can't be renamed.
    """
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(f"'{path}' can't be written: {error.strerror}") from error
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"'{path}' is not a regular file: choose another path")
    try:
        aside = move_aside(path, found.st_mtime_ns // 1000)
    except OSError as error:
        raise InputError(f"'{path}' can't be renamed: {error.strerror}") from error
    logger.warning("'%s' was there already: it is '%s' now", path, aside.name)


def is_record(path: Path) -> bool:
    """Return whether a file was made by a `RowGroupFile`."""
    try:
        with path.open("rb") as file:
            begin = file.read(len(MAGIC + _BLOCK))
            file.seek(-min(_FOOTER_BYTES, os.fstat(file.fileno()).st_size), io.SEEK_END)
            return begin == MAGIC + _BLOCK or (
                begin.startswith(MAGIC) and MEANINGS_KEY in file.read()
            )
    except OSError:
        return False


def _create(path: Path) -> int:
    """Create a file for its owner alone; one that a killed writer left is replaced."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_MODE)


def _name(unfinished: Path, path: Path) -> None:
    """Give a file its name, never over another.

    Raises:
        FileExistsError: There is another.
    """
    try:
        os.link(unfinished, path)
    except FileExistsError:
        raise
    except OSError:
        # A file system without links.
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
        unfinished.rename(path)
    else:
        unfinished.unlink()


def _sync_directory(path: Path) -> None:
    """See the name of a new file safe on the disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


# -- reading -----------------------------------------------------------------------------


@frozen
class Contents:
    """What there is in a file.

    Attributes:
        metadata: What pyarrow makes of a footer that describes all of it.
        finished: Whether it was completed.
        blocks: Where the block of each row group begins; None if another program wrote the file.
    """

    metadata: Any
    finished: bool
    blocks: tuple[int, ...] | None


@frozen
class _Block:
    position: int
    pages_bytes: int
    footer_bytes: int
    checksum: int

    @property
    def begin(self) -> int:
        return self.position + _HEADER.size

    @property
    def end(self) -> int:
        return self.begin + self.pages_bytes + self.footer_bytes


def read_contents(fd: int, path: Path) -> Contents:
    """Return what there is in a file, whatever became of those who wrote it.

    Of a file of ours only what is right by its checksum goes to pyarrow, which doesn't survive
    everything else.

    Raises:
        InputError: It isn't a Parquet file.
        OSError: It can't be read.
    """
    size = os.fstat(fd).st_size
    if os.pread(fd, len(MAGIC), 0) != MAGIC:
        raise InputError(f"'{path}' is no record of Parquet: it doesn't begin with 'PAR1'")
    at_end = _at_end(fd, size)
    if at_end is not None and _is_sealed(fd, size, at_end):
        return _sealed_contents(fd, size, at_end)
    parts = list(_whole_blocks(fd, size, len(MAGIC)))
    if parts:
        contents = _put_together({}, [], [], parts)
        last = _block_at(fd, size, parts[-1][0])
        # Older versions put no checksum in front of it.
        finished = (
            at_end is not None
            and _decoded(at_end) is not None
            and last is not None
            and last.end + len(at_end) == size
        )
        return evolve(contents, finished=finished)
    if at_end is None:
        raise InputError(f"'{path}' is no record of Parquet: it ends before the first row group")
    # It was written by another program, or is empty and of an older version.
    footer = _decoded(at_end)
    if footer is None or not is_sane(footer, size):
        raise InputError(f"'{path}' can't be read: its footer is damaged")
    return Contents(parse(at_end), finished=True, blocks=None)


def is_block_whole(fd: int, position: int) -> bool:
    """Return whether the block that begins at a position is right by its checksum.

    Raises:
        OSError: It can't be read.
    """
    block = _block_at(fd, os.fstat(fd).st_size, position)
    return block is not None and _is_whole(fd, block)


def _sealed_contents(fd: int, size: int, at_end: bytes) -> Contents:
    """Return the contents of a file whose footer is right, and what came after it."""
    footer = decode_struct(at_end[:-8])
    groups = row_groups_of(footer)
    # Pages are encoded as a file, which begins with its mark.
    before = _HEADER.size + len(MAGIC)
    positions = [begin - before for begin in pages_begin(footer)]
    last = _block_at(fd, size, positions[-1]) if positions else None
    end = last.end if last is not None else len(MAGIC)
    if end + _SEAL.size + len(at_end) == size:
        return Contents(parse(at_end), finished=True, blocks=tuple(positions))
    if positions and last is None:
        # Its header is damaged, and so the way to what may follow.
        return Contents(parse(at_end), finished=False, blocks=tuple(positions))
    if last is not None and not _is_whole(fd, last):
        # It was written together with the footer, and didn't arrive.
        del groups[-1], positions[-1]
        return _put_together(footer, groups, positions, [])
    parts = list(_whole_blocks(fd, size, end))
    return _put_together(footer, groups, positions, parts)


def _put_together(
    file: Struct, groups: list[RowGroup], positions: list[int], parts: list[tuple[int, Struct]]
) -> Contents:
    """Return the contents of what a footer describes, and of blocks that describe themselves."""
    for position, part in parts:
        file = file | without_groups(part)
        groups = groups + row_groups_of(part)
        positions = [*positions, position]
    metadata = parse(encode_footer(with_groups(file, groups)))
    return Contents(metadata, finished=False, blocks=tuple(positions))


def _whole_blocks(fd: int, size: int, position: int) -> Iterator[tuple[int, Struct]]:
    """Yield the blocks of a chain up to the first that isn't whole: their places and footers."""
    while (block := _block_at(fd, size, position)) is not None and _is_whole(fd, block):
        compressed = os.pread(fd, block.footer_bytes, block.begin + block.pages_bytes)
        try:
            described = decode_struct(zlib.decompress(compressed))
        except (zlib.error, ValueError):
            return  # its header, which has no checksum, is damaged
        yield position, described
        position = block.end


def _block_at(fd: int, size: int, position: int) -> _Block | None:
    """Return the block that begins at a position; it may be whole by its length alone."""
    header = os.pread(fd, _HEADER.size, position)
    if len(header) < _HEADER.size:
        return None
    magic, pages_bytes, footer_bytes, checksum = _HEADER.unpack(header)
    block = _Block(position, pages_bytes, footer_bytes, checksum)
    return block if magic == _BLOCK and block.end <= size else None


def _is_whole(fd: int, block: _Block) -> bool:
    checksum = 0
    for position in range(block.begin, block.end, _CRC_CHUNK_BYTES):
        count = min(_CRC_CHUNK_BYTES, block.end - position)
        checksum = zlib.crc32(os.pread(fd, count, position), checksum)
    return checksum == block.checksum


def _at_end(fd: int, size: int) -> bytes | None:
    """Return the footer at the end of a file, its length and the mark included; None: no footer."""
    try:
        length = footer_length(os.pread(fd, 8, max(size - 8, 0))) + 8
    except ValueError:
        return None
    return os.pread(fd, length, size - length) if length <= size else None


def _is_sealed(fd: int, size: int, at_end: bytes) -> bool:
    """Return whether a footer is right by the checksum in front of it."""
    position = size - len(at_end) - _SEAL.size
    return position > 0 and os.pread(fd, _SEAL.size, position) == _SEAL.pack(
        _SEALED, zlib.crc32(at_end)
    )


def _decoded(at_end: bytes) -> Struct | None:
    """Return a footer, None if it is damaged."""
    try:
        return decode_struct(at_end[:-8])
    except ValueError:
        return None
