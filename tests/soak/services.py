"""The programs of a soak: services that are watched, with their load, and what receives results."""

import contextlib
import http.server
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import define, field
from damon_cgroup import hierarchies

from damon_core.testing import free_port

#: How long a program may take to begin, or to end.
PATIENCE_S = 60.0


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Wait until something is so.

    Raises:
        TimeoutError: It isn't after a minute.
    """
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if condition():
                return
        time.sleep(0.1)
    raise TimeoutError(f"{what} isn't there after {PATIENCE_S:.0f} s")


def unified_hierarchy() -> Path:
    """Return where cgroups of version 2 are."""
    return next(each.mount for each in hierarchies() if each.version == 2)


@define(eq=False)
class Program:
    """A program that may be started and stopped again and again, in a cgroup if it has one.

    Attributes:
        name: What it is called.
        command: The program and its arguments.
        folder: Where it runs, and where its output goes.
        user: Who runs it; None for this user.
        group: Its cgroup, which is made at each start and removed at each stop.
        port: What it listens on once it is ready; 0 for nothing.
        stopping: The signal that ends it.
    """

    name: str
    command: Sequence[str]
    folder: Path
    user: str | None = None
    group: Path | None = None
    port: int = 0
    stopping: int = signal.SIGTERM
    process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        command = list(self.command)
        if self.user is not None:
            ids = (f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups")
            command = ["setpriv", *ids, *command]
        if self.group is not None:
            self.group.mkdir()
            joins = 'echo $$ > "$0" && exec "$@"'
            command = ["sh", "-c", joins, str(self.group / "cgroup.procs"), *command]
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if self.port:
            wait_for(self._listens, self.name)

    def stop(self) -> int | None:
        """End it, with what it has started; return its exit code, None if it doesn't run."""
        process, self.process = self.process, None
        if process is None:
            return None
        if process.poll() is None:
            process.send_signal(self.stopping)
        code = process.wait(PATIENCE_S)
        with contextlib.suppress(ProcessLookupError):  # what it has started has ended, too
            os.killpg(process.pid, signal.SIGKILL)
        if self.group is not None:
            wait_for(self._is_gone, f"the end of {self.name}")
        return code

    def _listens(self) -> bool:
        """Return whether it takes connections."""
        with socket.create_connection(("127.0.0.1", self.port)):
            return True

    def _is_gone(self) -> bool:
        """Remove the cgroup, as a service manager does."""
        assert self.group is not None
        try:
            self.group.rmdir()
        except OSError:  # it has processes yet
            return False
        return True


@define(eq=False)
class Receiver:
    """Takes notifications of alerts by HTTP, while it is open.

    Attributes:
        port: Where it listens.
        times: When something came, in Unix time.
    """

    port: int = field(factory=free_port)
    times: list[float] = field(factory=list, init=False)
    _server: http.server.ThreadingHTTPServer | None = field(default=None, init=False)

    def start(self) -> None:
        """Listen."""
        times = self.times

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                times.append(time.time())
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Be gone."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


def redis(folder: Path, group: Path) -> Program:
    """Return a redis with a cgroup of its own."""
    port = free_port()
    command = ("redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "")
    return Program("redis", command, folder, group=group, port=port)


def redis_load(folder: Path, port: int) -> Program:
    """Return what reads and writes keys of a redis, and begins again when that is back."""
    script = (
        f"while true; do redis-benchmark -h 127.0.0.1 -p {port} -t set,get -r 20000 -n 2000 -q"
        " >/dev/null 2>&1; sleep 0.2; done"
    )
    return Program("redis-load", ("sh", "-c", script), folder)


def _binaries() -> Path:
    """Return where Debian has the programs of PostgreSQL."""
    return max(Path("/usr/lib/postgresql").glob("*/bin"))


def postgres(folder: Path, group: Path) -> Program:
    """Return a PostgreSQL with a cgroup of its own and some rows; it is set up, and not started."""
    binaries, data, port = _binaries(), folder / "postgres", free_port()
    data.mkdir()
    shutil.chown(data, "postgres", "postgres")
    subprocess.run(
        (binaries / "initdb", "-D", data, "-A", "trust"),
        check=True,
        user="postgres",
        cwd=data,
        stdout=subprocess.DEVNULL,
    )
    settings = (
        f"listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = ''\n"
        "shared_buffers = 128MB\nfsync = off\n"
    )
    with (data / "postgresql.conf").open("a") as file:
        file.write(settings)
    return Program(
        "postgres",
        (str(binaries / "postgres"), "-D", str(data)),
        data,
        user="postgres",
        group=group,
        port=port,
        stopping=signal.SIGINT,
    )


def postgres_load(folder: Path, port: int) -> Program:
    """Return pgbench, which begins again when the server is back."""
    script = (
        f"export PGHOST=127.0.0.1 PGPORT={port} PGUSER=postgres PATH={_binaries()}:$PATH; "
        "until pgbench -i -s 5 -q postgres; do sleep 1; done; "
        "while true; do pgbench -S -c 2 -R 200 -T 5 postgres; sleep 0.2; done"
    )
    return Program("postgres-load", ("sh", "-c", script), folder)


def renamed(folder: Path) -> Program:
    """Return a program that uses 16 MiB and has another name every minute."""
    script = (
        "import itertools, time\n"
        "area = bytearray(16 << 20)\n"
        "for number in itertools.count():\n"
        "    open('/proc/self/comm', 'w').write(f'soak-{number % 3}')\n"
        "    for _ in range(600):\n"
        "        area[::4096] = bytes(len(area) // 4096)\n"
        "        time.sleep(0.1)\n"
    )
    return Program("renamed", (sys.executable, "-c", script), folder)


def prometheus(folder: Path, metrics_port: int) -> Program:
    """Return a Prometheus that scrapes every five seconds."""
    port = free_port()
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 5s}\n"
        "scrape_configs:\n"
        f"- {{job_name: damon, static_configs: [{{targets: ['127.0.0.1:{metrics_port}']}}]}}\n"
    )
    command = (
        "prometheus",
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=tsdb",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    return Program("prometheus", command, folder, port=port)
