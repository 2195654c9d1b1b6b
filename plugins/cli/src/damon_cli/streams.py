"""Standard output and standard error, whatever they are."""

import errno
import io
import os
import sys

_OF_OUTPUT = {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF}


class _Closed(io.TextIOBase):
    """Stands for a standard output that is closed: to write to it is an error."""

    encoding = "utf-8"

    def __init__(self) -> None:
        super().__init__()
        self.was_used = False

    def writable(self) -> bool:
        return True

    def write(self, _text: str) -> int:
        self.was_used = True
        raise OSError(errno.EBADF, "it is closed")


def prepare_output() -> None:
    """Let every character be written: what an encoding lacks becomes ``\\u2026``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if sys.stdout is None:
        sys.stdout = _Closed()


def is_of_output(error: OSError) -> bool:
    """Return whether an error is probably one of writing to standard output.

    Those of files name them, or are errors of damon-core.
    """
    return error.filename is None and error.errno in _OF_OUTPUT


def why_unwritten() -> str | None:
    """Return why what was printed can't be written; None if it could be."""
    if isinstance(sys.stdout, _Closed):
        return "it is closed" if sys.stdout.was_used else None
    try:
        sys.stdout.flush()
    except OSError as error:
        # Python would try again at the end, and say so in its own words.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
        return error.strerror or str(error)
    except ValueError:  # Somebody else has closed it.
        return None
    return None
