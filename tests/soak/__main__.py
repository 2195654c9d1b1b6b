"""Services that restart, reloads, renames, a full disk, a dead receiver, for half an hour.

`damon run` watches a redis and a PostgreSQL by their cgroups, and a program by a rule, for
Prometheus, Parquet, CSV and alerts, while every minute something else happens. In the end it is
compared what is left of each minute. It exits with 1 if something isn't as promised.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from damon_core.testing import free_port
from tests.soak import services
from tests.soak.account import MINUTE_S, Account, read_account
from tests.soak.deployment import NAMES, configuration

#: How long it may take until there is data again of a service that is back: two updates of a
#: second, an aggregation, and some time of a machine that is busy.
_BACK_S = 20.0
#: The size of the disk that gets full.
_DISK = "64m"


class Soak:
    """A run, and what has happened in it.

    Attributes:
        begin_s: When it began, in Unix time.
        events: What happened in which minute.
        absent: In which minutes a service was gone for longer than a moment, by name.
        backs: The services that came back, and when, in Unix time.
        complaints: What isn't as promised.
    """

    def __init__(self, folder: Path, groups: Path) -> None:
        self.begin_s = 0.0
        self.events: dict[int, str] = {}
        self.absent: dict[str, set[int]] = {name: set() for name in NAMES}
        self.backs: list[tuple[str, float]] = []
        self.complaints: list[str] = []
        self._folder, self._groups = folder, groups
        self._minute = 0
        self._interval = "1s"
        self._metrics_port = free_port()
        self._config = folder / "soak.toml"
        command = (str(Path(sys.executable).parent / "damon"), "run", str(self._config))
        self.receiver = services.Receiver()
        self.redis = services.redis(folder, groups / "redis")
        self.postgres = services.postgres(folder, groups / "postgres")
        self.others = (
            services.redis_load(folder, self.redis.port),
            services.postgres_load(folder, self.postgres.port),
            services.renamed(folder),
        )
        self.prometheus = services.prometheus(folder, self._metrics_port)
        self.damon = services.Program("damon", command, folder, port=self._metrics_port)

    def configure(self) -> None:
        """Write the configuration."""
        self._config.write_text(
            configuration(self._groups, self._metrics_port, self.receiver.port, self._interval)
        )

    def schedule(self) -> list[tuple[str, Callable[[], None]]]:
        """Return what happens, a minute each, again and again."""
        return [
            ("nothing", lambda: None),
            ("the receiver is dead", self.receiver.stop),
            ("redis restarts", lambda: self.restart(self.redis)),
            ("the receiver is back", self.receiver.start),
            ("PostgreSQL restarts", lambda: self.restart(self.postgres)),
            ("reload: another interval", self.reload_other),
            ("reload: a broken file", self.reload_broken),
            ("the disk of CSV is full", self.fill),
            ("the disk has room", self.free),
            ("redis is killed, back after 20 s", self.kill),
        ]

    def restart(self, service: services.Program) -> None:
        """Stop a service and start it again at once: its cgroup is gone for a moment."""
        service.stop()
        time.sleep(0.05)
        service.start()
        self.backs.append((service.name, time.time()))

    def kill(self) -> None:
        """Kill the redis, and start it again after a while."""
        self.absent["redis"] |= {self._minute}
        assert self.redis.process is not None
        self.redis.process.kill()
        self.redis.stop()
        time.sleep(20)
        self.redis.start()
        self.backs.append(("redis", time.time()))

    def reload_other(self) -> None:
        """Reload with another interval of one context."""
        self._interval = "2s" if self._interval == "1s" else "1s"
        self.configure()
        self._hang_up()

    def reload_broken(self) -> None:
        """Reload a file with a mistake; then the right one is back, and not read."""
        self._config.write_text(self._config.read_text().replace('use = "vaddr"', 'use = "vadr"'))
        self._hang_up()
        time.sleep(5)
        self.configure()

    def _hang_up(self) -> None:
        assert self.damon.process is not None
        self.damon.process.send_signal(signal.SIGHUP)

    def fill(self) -> None:
        """Fill the small disk."""
        with (self._folder / "small/filler").open("wb", buffering=0) as file:
            with contextlib.suppress(OSError):
                while file.write(bytes(1 << 16)):
                    pass
            with contextlib.suppress(OSError):
                while file.write(b"\0"):
                    pass

    def free(self) -> None:
        """Remove what fills the small disk."""
        (self._folder / "small/filler").unlink(missing_ok=True)

    def run(self, minutes: int, say: Callable[[str], None]) -> None:
        """Let it all happen."""
        schedule = self.schedule()
        self.begin_s = time.time()
        for self._minute in range(minutes):
            name, act = schedule[self._minute % len(schedule)]
            say(f"minute {self._minute}: {name}")
            self.events[self._minute] = name
            act()
            if self.damon.process is None or self.damon.process.poll() is not None:
                self.complaints.append(f"damon has ended in minute {self._minute}")
                return
            time.sleep(max(self.begin_s + (self._minute + 1) * MINUTE_S - time.time(), 0))

    def judge(self, account: Account) -> None:
        """Note what isn't as promised."""
        for name in NAMES:
            rows = zip(
                account.in_minute(account.aggregations[name]),
                account.in_minute(account.scrapes[name]),
                strict=True,
            )
            for minute, (aggregations, scrapes) in enumerate(rows):
                if minute not in self.absent[name]:
                    if not aggregations:
                        self.complaints.append(f"{name}: nothing recorded in minute {minute}")
                    if not scrapes:
                        self.complaints.append(f"{name}: not in Prometheus in minute {minute}")
        for name, back_s in self.backs:
            later_s = account.first_after(name, back_s)
            if later_s is None or later_s > _BACK_S:
                self.complaints.append(f"{name}: data again only after {later_s} s")

    def table(self, account: Account) -> Table:
        """Return the minutes, and what is left of each."""
        title = "Aggregations with memory in records and in scrapes, and notifications, by minute"
        table = Table("", "what happened", title=title, box=MARKDOWN)
        for name in NAMES:
            table.add_column(f"{name}", justify="right")
            table.add_column("scraped", justify="right")
        table.add_column("redis, CSV", justify="right")
        table.add_column("notified", justify="right")
        columns = [
            account.in_minute(times)
            for name in NAMES
            for times in (account.aggregations[name], account.scrapes[name])
        ]
        columns += [account.in_minute(account.in_csv), account.in_minute(account.alerts)]
        for minute, counts in enumerate(zip(*columns, strict=True)):
            table.add_row(str(minute), self.events.get(minute, ""), *map(str, counts))
        return table


def _cost(pid: int) -> str:
    """Return what a process has taken so far, by the kernel's account."""
    status = Path(f"/proc/{pid}/status").read_text()
    peak_kib = int(next(line.split()[1] for line in status.splitlines() if "VmHWM" in line))
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    cpu_s = ticks / os.sysconf("SC_CLK_TCK")
    return f"{cpu_s:.1f} s of CPU time, at most {peak_kib / 1024:.0f} MiB"


@click.command(help=__doc__)
@click.option("--minutes", default=30, show_default=True, help="How long.")
@click.option("--into", type=click.Path(path_type=Path), help="Keep all files in this folder.")
def main(minutes: int, into: Path | None) -> None:
    """Run it, and compare."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    folder = into or Path(tempfile.mkdtemp(prefix="damon-soak-"))
    (folder / "small").mkdir(parents=True)
    folder.chmod(0o711)
    groups = services.unified_hierarchy() / f"damon-soak-{os.getpid()}"
    with contextlib.ExitStack() as ends:
        groups.mkdir()
        ends.callback(groups.rmdir)
        mount = ("mount", "-t", "tmpfs", "-o", f"size={_DISK}", "soak", str(folder / "small"))
        subprocess.run(mount, check=True)
        ends.callback(subprocess.run, ("umount", str(folder / "small")), check=True)
        soak = Soak(folder, groups)
        soak.configure()
        soak.receiver.start()
        ends.callback(soak.receiver.stop)
        programs = (soak.redis, soak.postgres, *soak.others, soak.damon, soak.prometheus)
        for program in programs:
            ends.callback(program.stop)
            program.start()
        soak.run(minutes, console.print)
        end_s = time.time()
        assert soak.damon.process is not None
        cost = _cost(soak.damon.process.pid)
        code = soak.damon.stop()
        account = read_account(
            folder, soak.prometheus.port, soak.begin_s, end_s, list(soak.receiver.times)
        )
        soak.judge(account)
        console.print(soak.table(account))
        back = [found for name, at_s in soak.backs if (found := account.first_after(name, at_s))]
        if back:
            console.print(f"Data again after a service was back: within {max(back):.1f} s")
        console.print(f"damon: exit code {code}, {cost}. Its log is {folder / 'damon.log'}")
        for complaint in soak.complaints:
            console.print(f"Not as promised: {complaint}")
        if soak.complaints:
            sys.exit(1)


if __name__ == "__main__":
    main()
