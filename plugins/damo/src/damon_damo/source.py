"""The text of a file, compressed or not, piece by piece, from any place that was marked."""

import codecs
import os
import stat
import zlib
from pathlib import Path

from damon_core import DamonError, InputError, SelfClosing

_PIECE_BYTES = 1 << 17


class Source(SelfClosing):
    """A file of text, plain or compressed by zlib, that is read forwards.

    Args:
        path: The file.

    Raises:
        InputError: It can't be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            # A pipe would keep it waiting.
            self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            if not stat.S_ISREG(os.fstat(self._fd).st_mode):
                self.close()
                raise InputError(f"'{path}' is not a regular file: copy it to one")
            self._begin = os.pread(self._fd, 2, 0)
        except OSError as error:
            raise InputError(f"'{path}' can't be read: {error.strerror}") from error

    def close(self) -> None:
        """Close the file; closing twice is closing once."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def text(self) -> "Text":
        """Return the text from its beginning."""
        # The header of zlib: deflate with a window of 32 KiB, a check sum.
        compressed = self._begin[:1] == b"\x78" and int.from_bytes(self._begin) % 31 == 0
        return Text(self, zlib.decompressobj() if compressed else None)

    def at(self, offset: int) -> bytes:
        """Return a piece of the file.

        Raises:
            DamonError: It can't be read.
        """
        try:
            return os.pread(self._fd, _PIECE_BYTES, offset)
        except OSError as error:
            raise self.damaged(str(error.strerror)) from error

    def damaged(self, what: str) -> DamonError:
        """Return an error that says what is wrong with the file."""
        return DamonError(f"'{self.path}' is damaged: {what}")


class Text:
    """The text of a source from one place on."""

    def __init__(self, source: Source, inflate: "zlib._Decompress | None") -> None:
        self.source = source
        self._inflate = inflate
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._offset = 0

    def fork(self) -> "Text":
        """Return the same text from the same place on, to be read apart from this one."""
        other = Text(self.source, self._inflate and self._inflate.copy())
        other._decoder.setstate(self._decoder.getstate())
        other._offset = self._offset
        return other

    def read(self) -> str:
        """Return the next piece; empty at the end.

        Raises:
            DamonError: The file is damaged.
        """
        try:
            while data := self._read_bytes():
                if text := self._decoder.decode(data):
                    return text
        except UnicodeDecodeError as error:
            raise self.source.damaged("it isn't text") from error
        return ""

    def _read_bytes(self) -> bytes:
        if self._inflate is None:
            data = self.source.at(self._offset)
            self._offset += len(data)
            return data
        while not self._inflate.eof:
            data = self._inflate.unconsumed_tail
            if not data:
                data = self.source.at(self._offset)
                self._offset += len(data)
            try:
                text = self._inflate.decompress(data, _PIECE_BYTES)
            except zlib.error as error:
                raise self.source.damaged(str(error)) from error
            if text:
                return text
            if not data:
                raise self.source.damaged("it ends in the middle")
        return b""
