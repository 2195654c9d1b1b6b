"""What systemd wants to know of a service: the protocol of sd_notify(3)."""

import logging
import os
import socket
import time

from attrs import define, field

logger = logging.getLogger(__name__)


@define(eq=False)
class Notifier:
    """Sends the state of this program to systemd, if that has started it as a service.

    Attributes:
        watchdog_s: The time in seconds within which systemd wants a sign of life; 0 for none.
    """

    _address: str = ""
    watchdog_s: float = 0.0
    _status: str = field(default="", init=False)
    _alive_s: float = field(default=0.0, init=False)

    @classmethod
    def of_environment(cls) -> "Notifier":
        """Return one for what systemd has put into the environment; it isn't left to children."""
        address = os.environ.pop("NOTIFY_SOCKET", "")
        watchdog_us = os.environ.pop("WATCHDOG_USEC", "0")
        pid = os.environ.pop("WATCHDOG_PID", str(os.getpid()))
        is_meant = pid == str(os.getpid()) and watchdog_us.isdecimal()
        return cls(address, int(watchdog_us) / 1e6 if is_meant else 0.0)

    def ready(self) -> None:
        """Say that the service runs, after the start or a reload."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Say that the configuration is read again."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that the service ends."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """Say in a line what is going on, if that has changed."""
        if text != self._status:
            self._status = text
            self._send(f"STATUS={text}")

    def alive(self) -> None:
        """Give a sign of life, twice as often as is wanted."""
        now_s = time.monotonic()
        if self.watchdog_s and now_s - self._alive_s >= self.watchdog_s / 2:
            self._alive_s = now_s
            self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        # A name in the abstract namespace begins with a zero byte, written as @.
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sending:
                sending.connect(address)
                sending.send(text.encode())
        except OSError as error:
            logger.debug("systemd can't be reached: %s", error)
