"""A program, started once per notification, with JSON on its standard input."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import IO

from damon_alert.notification import Notification
from damon_alert.notifiers.base import DeliveryError
from damon_core import InputError, format_duration, why_not_a_program

_POLL_S = 0.02
_TERMINATE_GRACE_S = 1.0
#: Of what the program writes to standard error so much is kept, and its end is reported.
_MOST_STDERR_BYTES = 1 << 20
_END_BYTES = 300


class ProgramNotifier:
    """Runs a program, without a shell, as the leader of a new session and process group.

    If the program takes too long, its whole group gets SIGTERM, and a second later SIGKILL.

    Args:
        command: The program and its arguments.
        time_limit_us: How long the program may take, microseconds.

    Raises:
        InputError: There is no such program, or it isn't executable.
    """

    repeat_s = None

    def __init__(self, command: Sequence[str], time_limit_us: int) -> None:
        if reason := why_not_a_program(command[0]):
            raise InputError(f"alert: program '{command[0]}': {reason}")
        # Resolved only once: PATH and working directory may change.
        self._program = os.path.abspath(shutil.which(command[0]) or command[0])
        self._command = tuple(command)
        self._time_limit_us = time_limit_us
        self.description = f"program {command[0]}"

    def send(self, notification: Notification, cancelled: threading.Event) -> None:
        """Run the program and wait for its end; an exit status of 0 means success.

        Raises:
            DeliveryError: The program couldn't be started, took too long, or ended with another
                status.
        """
        document = notification.as_json()
        # Files, not pipes: neither a program that doesn't read, nor one that writes a lot, nor
        # a grandchild that keeps a pipe open can block us.
        with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile(buffering=0) as stderr:
            # What is shortened below goes on from there: the program shares the file's flags.
            fcntl.fcntl(stderr, fcntl.F_SETFL, os.O_RDWR | os.O_APPEND)
            stdin.write(json.dumps(document).encode() + b"\n")
            stdin.seek(0)
            try:
                process = subprocess.Popen(
                    self._command,
                    executable=self._program,
                    stdin=stdin,
                    stdout=subprocess.DEVNULL,
                    stderr=stderr,
                    env={**os.environ, **environment(notification)},
                    start_new_session=True,
                )
            except (OSError, ValueError) as error:
                raise DeliveryError(f"can't be started: {error}", temporary=True) from error
            in_time = self._wait(process, cancelled, stderr)
            status = process.wait()
            reason = _last_line(stderr)
        if not in_time:
            raise DeliveryError(
                f"was ended: took longer than {format_duration(self._time_limit_us)}"
                if not cancelled.is_set()
                else "was ended: monitoring is over",
                temporary=True,
            )
        if status != 0:
            how = f"exit status {status}" if status > 0 else f"signal {-status}"
            raise DeliveryError(f"{how}{reason}", temporary=True)

    def _wait(
        self, process: "subprocess.Popen[bytes]", cancelled: threading.Event, stderr: IO[bytes]
    ) -> bool:
        """Wait for the program's end, and return whether it ended without a signal from here.

        The program isn't reaped here: until it is, its process id, which is also that of its
        group, can't be reused, so the signals can't reach another process.
        """
        deadline_s = time.monotonic() + self._time_limit_us / 1e6
        while not _ended(process.pid):
            _shorten(stderr)
            if time.monotonic() >= deadline_s or cancelled.wait(_POLL_S):
                break
        else:
            return True
        _signal_group(process.pid, signal.SIGTERM)
        kill_s = time.monotonic() + _TERMINATE_GRACE_S
        while not cancelled.is_set() and not _ended(process.pid) and time.monotonic() < kill_s:
            _shorten(stderr)
            time.sleep(_POLL_S)
        _signal_group(process.pid, signal.SIGKILL)
        return False


def environment(notification: Notification) -> dict[str, str]:
    """Return the environment variables of a notification, for programs that don't read JSON."""
    return {
        "DAMON_ALERT_STATUS": notification.status,
        "DAMON_ALERT_NAME": notification.rule.name,
        "DAMON_ALERT_SEVERITY": notification.rule.severity,
        "DAMON_ALERT_CONTEXT": notification.context,
        "DAMON_ALERT_TARGET": notification.target or "",
        "DAMON_ALERT_GROUP": notification.group or "",
        "DAMON_ALERT_VALUE": notification.value_text,
        "DAMON_ALERT_THRESHOLD": notification.threshold_text,
        "DAMON_ALERT_SUMMARY": notification.summary,
    }


def _ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _shorten(stderr: IO[bytes]) -> None:
    """Keep the end of what a program has written, if that is much."""
    if (size := os.fstat(stderr.fileno()).st_size) > _MOST_STDERR_BYTES:
        end = os.pread(stderr.fileno(), _END_BYTES, size - _END_BYTES)
        os.ftruncate(stderr.fileno(), 0)
        os.write(stderr.fileno(), end)


def _last_line(stderr: IO[bytes]) -> str:
    """Return ": " and the last line that a program wrote, or nothing."""
    size = stderr.seek(0, os.SEEK_END)
    stderr.seek(max(0, size - _END_BYTES))
    lines = stderr.read().decode(errors="replace").split("\n")
    last = next((line for line in reversed(lines) if line.strip()), "")
    return f": {''.join(char for char in last if char.isprintable())}" if last else ""
