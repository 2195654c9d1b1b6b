"""The limit of open files, of which processes leave a reserve to others."""

import errno
import os
import resource

#: What is left to files, connections and programs that others open: this part of the limit,
#: within these bounds.
_RESERVE_SHARE = 8
_LEAST_RESERVE, _MOST_RESERVE = 16, 128


def is_shortage(error: OSError) -> bool:
    """Return whether an error says that too many files are open."""
    return error.errno in (errno.EMFILE, errno.ENFILE)


def limit() -> int:
    """Return how many files this program may open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def check_reserve(descriptor: int) -> None:
    """Leave the reserve to others; raise the soft limit for that, as far as the hard one allows.

    Args:
        descriptor: A descriptor that was just opened. Its number is the lowest that was free, so
            at least as many files are open.

    Raises:
        OSError: Too many files are open (EMFILE). The descriptor stays open.
    """
    while True:
        soft = limit()
        reserve = min(max(soft // _RESERVE_SHARE, _LEAST_RESERVE), _MOST_RESERVE)
        if soft == resource.RLIM_INFINITY or descriptor < soft - reserve:
            return
        if not raise_limit():
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def raise_limit() -> bool:
    """Double the soft limit of open files; return whether that was allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * soft if hard == resource.RLIM_INFINITY else min(2 * soft, hard)
    if soft == resource.RLIM_INFINITY or wanted <= soft:
        return False
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):  # the kernel's own limit, fs.nr_open, is lower
        return False
    return True
