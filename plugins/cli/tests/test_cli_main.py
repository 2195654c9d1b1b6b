"""The command line: its commands, its help, its errors, without anything that runs."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from damon_cli import DURATION, SIZE
from damon_cli.main import main
from damon_cli.params import SHARE

from damon_core import (
    BusyError,
    Callback,
    DamonError,
    Microseconds,
    Plugins,
    Primitive,
    TargetError,
    hookimpl,
)

DAMON = Path(sys.executable).parent / "damon"


class Package:
    """A plugin with a primitive, a callback and a command that does what it is told."""

    def __init__(self, act: Callable[[], object] = lambda: None) -> None:
        self._act = act

    @hookimpl
    def register_primitives(self, register: Callable[[Primitive], None]) -> None:
        register(Primitive("memory", lambda _options, _backends: object()))

    @hookimpl
    def register_callbacks(self, register: Callable[[Callback], None]) -> None:
        register(Callback("log", lambda _options: object()))

    @hookimpl
    def register_commands(self, register: Callable[[click.Command], None]) -> None:
        @click.command(epilog="Example: damon act")
        @click.option("--for", "for_us", type=DURATION, default="2s")
        @click.option("--size", "size_bytes", type=SIZE, default="1MiB")
        @click.pass_obj
        def act(plugins: Plugins, for_us: int, size_bytes: int) -> None:
            """Do what a test wants."""
            self._act()
            click.echo(f"{for_us} {size_bytes} {len(plugins.infos())}")

        register(act)


def damon(*args: str | Path, plugins: Plugins | None = None) -> Result:
    """Run the command line in this process, with a plugin of its own."""
    if plugins is None:
        plugins = Plugins({"package": Package()})
    result = CliRunner().invoke(main, [str(arg) for arg in args], obj=plugins)
    assert "Traceback" not in result.output
    return result


def raising(error: BaseException) -> Plugins:
    """Return a manager with a command that raises."""

    def act() -> None:
        raise error

    return Plugins({"package": Package(act)})


class TestHelp:
    def test_lists_own_and_foreign_commands(self) -> None:
        """Commands of packages stand beside those of the core."""
        output = damon("--help").stdout
        for line in ("check ", "doctor ", "plugins ", "run ", "act      Do what a test wants."):
            assert f"  {line}" in output

    def test_survives_a_broken_package(self) -> None:
        """A package that can't be used doesn't keep the others from being listed."""
        broken = type("Broken", (), {"initt": hookimpl(lambda self: None)})()
        result = damon("--help", plugins=Plugins({"a": broken, "b": Package()}))
        assert (result.exit_code, "  act" in result.stdout) == (0, True)

    @pytest.mark.parametrize("command", ["check", "doctor", "plugins", "run"])
    def test_has_an_example(self, command: str) -> None:
        """The help of each command ends with a line that can be typed."""
        result = damon(command, "--help")
        assert result.exit_code == 0
        assert result.stdout.splitlines()[-1].startswith(f"  Example: damon {command}")

    def test_installed_commands_have_examples(self) -> None:
        """So do the commands of all installed packages."""
        plugins = Plugins.discover()
        for name in plugins.command_names():
            command = plugins.command(name)
            assert command is not None
            assert f"damon {name}" in (command.epilog or ""), name

    def test_version(self) -> None:
        """The version is the distribution's."""
        assert damon("--version").stdout.startswith("damon, version 0.")


class TestExitCodes:
    def test_success(self) -> None:
        """0, and only what the command says."""
        result = damon("act", "--for", "5ms", "--size", "2KiB")
        assert (result.exit_code, result.output) == (0, "5000 2048 1\n")

    def test_defaults_of_durations_and_sizes(self) -> None:
        """Defaults are written like what people type."""
        assert damon("act").stdout == "2000000 1048576 1\n"

    @pytest.mark.parametrize(
        ("error", "code", "line"),
        [
            (TargetError("pid 5", "is gone"), 2, "damon: pid 5: is gone\n"),
            (DamonError("no space"), 1, "damon: no space\n"),
            (BusyError("x is running", ["x"]), 1, "damon: x is running\n"),
            (
                ZeroDivisionError("division\nby zero"),
                1,
                "damon: internal error: ZeroDivisionError: division by zero "
                "(damon --verbose tells where)\n",
            ),
        ],
    )
    def test_errors(self, error: Exception, code: int, line: str) -> None:
        """2 for the user's mistakes, 1 for other failures, one line each on standard error."""
        result = damon("act", plugins=raising(error))
        assert (result.exit_code, result.stdout, result.stderr) == (code, "", line)

    def test_keyboard(self) -> None:
        """An interrupt is no traceback."""
        result = damon("act", plugins=raising(KeyboardInterrupt()))
        assert (result.exit_code, result.stderr.strip()) == (1, "Aborted!")

    @pytest.mark.parametrize(
        ("option", "value", "hint"),
        [("--for", "5", "write a duration like '5ms'"), ("--size", "x", "write a size like")],
    )
    def test_wrong_values(self, option: str, value: str, hint: str) -> None:
        """A duration or size that is none is told with one that is."""
        result = damon("act", option, value)
        assert result.exit_code == 2
        assert f"Invalid value for '{option}'" in result.stderr
        assert hint in result.stderr

    @pytest.mark.parametrize("command", ["check", "run"])
    def test_files_that_are_missing(self, command: str, tmp_path: Path) -> None:
        """A file that can't be read is the user's mistake."""
        path = tmp_path / "none.toml"
        result = damon(command, path)
        assert (result.exit_code, result.stderr) == (
            2,
            f"damon: {path}: can't be read: No such file or directory\n",
        )


class TestUnknownCommands:
    def test_the_nearest_is_hinted_at(self) -> None:
        """A misspelt command is told with the one that is meant."""
        result = damon("rnu")
        assert (result.exit_code, result.stderr) == (
            2,
            "damon: there is no command 'rnu'; did you mean 'run'?\n",
        )

    def test_of_a_package_that_is_skipped(self) -> None:
        """A command whose package can't be used is told with the reason."""
        broken = type("Broken", (), {"initt": hookimpl(lambda self: None)})()
        result = damon("record", plugins=Plugins({"record": broken}))
        assert (result.exit_code, result.stderr) == (
            2,
            "damon: there is no command 'record'; implements 'initt', which is not a hook; "
            "did you mean 'init'?\n",
        )

    def test_completion_is_silent(self) -> None:
        """Completing the arguments of a command that there isn't gives nothing, and no error."""
        environment = {
            "_DAMON_COMPLETE": "bash_complete",
            "COMP_WORDS": "damon nothing x",
            "COMP_CWORD": "2",
        }
        result = subprocess.run(
            [DAMON], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert "Traceback" not in result.stderr
        assert "no command" not in result.stderr


class TestCheck:
    def test_a_file_that_is_right(self, tmp_path: Path) -> None:
        """A line for each context: what goes where."""
        path = tmp_path / "right.toml"
        path.write_text(
            "[[context]]\nname = 'a'\n[context.primitive]\nuse = 'memory'\n"
            "[[context.callback]]\nuse = 'log'\n"
            "[[context]]\nname = 'b'\n[context.primitive]\nuse = 'memory'\n"
        )
        result = damon("check", path)
        assert (result.exit_code, result.stdout) == (
            0,
            f"{path}: a: memory to log\n{path}: b: memory to nothing\n",
        )

    def test_a_file_that_is_wrong(self, tmp_path: Path) -> None:
        """All mistakes, a line each, and 2."""
        path = tmp_path / "wrong.toml"
        path.write_text("[[context]]\nmin_regions = 0\n[context.primitive]\nuse = 'memry'\n")
        result = damon("check", path)
        assert result.exit_code == 2
        assert result.stdout == ""
        assert [line.split(": ")[:3] for line in result.stderr.splitlines()] == [
            ["damon", str(path), "context[0].primitive.use"],
            ["damon", str(path), "context[0].min_regions"],
        ]


class TestPlugins:
    def test_json(self) -> None:
        """Programs get everything that is known."""
        assert json.loads(damon("plugins", "--json").stdout) == [
            {
                "name": "package",
                "package": "(given)",
                "skipped": "",
                "primitives": ["memory"],
                "backends": [],
                "policies": [],
                "callbacks": ["log"],
                "formats": [],
                "commands": ["act"],
            }
        ]

    def test_for_people(self) -> None:
        """A line each: what it offers."""
        lines = damon("plugins").stdout.splitlines()
        assert lines[0].split() == ["plugin", "package", "offers"]
        assert lines[1].split(maxsplit=2)[2].rstrip() == (
            "primitive memory; callback log; command act"
        )

    def test_reasons_are_unbroken_and_as_they_are(self) -> None:
        """A reason is one line in a pipe, however long, and no markup."""

        class Broken:
            @hookimpl
            def register_callbacks(self, register: object) -> None:
                raise ValueError("x" * 200 + " [bold]")

        result = damon("plugins", plugins=Plugins({"broken": Broken()}))
        assert f"skipped: fails to register: ValueError: {'x' * 200} [bold]" in result.stdout

    def test_nothing_is_installed(self) -> None:
        """Who has no plugin is told where to begin."""
        result = damon("plugins", plugins=Plugins())
        assert result.stdout == (
            "nothing that can be monitored is installed; begin with: pip install damon-vaddr\n"
        )


class TestLogging:
    def test_nothing_stays_configured(self) -> None:
        """A program that calls the command line keeps its own handlers, and only these."""
        before = list(logging.getLogger().handlers)
        damon("act")
        assert logging.getLogger().handlers == before

    @pytest.mark.parametrize(("args", "lines"), [((), 1), (("--verbose",), 2)])
    def test_tracebacks_are_for_those_who_ask(self, args: tuple[str, ...], lines: int) -> None:
        """A log message is one line but with --verbose."""

        def act() -> None:
            logging.getLogger("t").error("it failed", exc_info=ValueError("x"))

        result = CliRunner().invoke(main, [*args, "act"], obj=Plugins({"package": Package(act)}))
        assert result.stderr.splitlines()[0] == "damon: ERROR: it failed"
        assert len(result.stderr.splitlines()) == lines
        logging.getLogger().setLevel(logging.WARNING)


def test_installed_commands_are_imported_when_called() -> None:
    """`damon check` imports no package but those that the file uses."""
    code = (
        "import sys\n"
        "from damon_cli.main import main\n"
        "main(['check', '/none.toml'], standalone_mode=False)\n"
    )
    result = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    packages = {info.package.split()[0] for info in Plugins.discover().infos()} - {"damon-core"}
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "damon_core" in imported
    assert imported.isdisjoint(package.replace("-", "_") for package in packages)


def test_parameters_take_what_is_converted_already() -> None:
    """A default may be given in microseconds as well."""
    assert DURATION.convert(Microseconds(5), None, None) == 5


@pytest.mark.parametrize(
    ("text", "share"), [("2%", 0.02), ("0.5%", 0.005), ("0.02", 0.02), ("100%", 1), ("1", 1)]
)
def test_shares(text: str, share: float) -> None:
    """In percent, or as a number."""
    assert SHARE.convert(text, None, None) == pytest.approx(share)


@pytest.mark.parametrize("text", ["", "%", "0%", "101%", "-1%", "2", "nan", "inf%", "2%%", "2% 3"])
def test_what_is_no_share(text: str) -> None:
    """It is refused with an example of one."""
    with pytest.raises(click.BadParameter, match="such as 5%"):
        SHARE.convert(text, None, None)
