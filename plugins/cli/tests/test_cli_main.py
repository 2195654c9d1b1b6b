"""The command line: its commands, its help, its errors, without anything that runs."""

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from damon_cli.commands import InstalledCommand, installed_commands
from damon_cli.main import main
from damon_cli.params import DURATION, SHARE, SIZE, pass_plugins

from damon_core import (
    Backend,
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
Install = Callable[..., str]


class Package:
    """A plugin with a primitive and a callback."""

    @hookimpl
    def register_primitives(self, register: Callable[[Primitive], None]) -> None:
        register(Primitive("memory", lambda _options, _backends: object()))

    @hookimpl
    def register_callbacks(self, register: Callable[[Callback], None]) -> None:
        register(Callback("log", lambda _options: object()))


def damon(*args: str | Path, plugins: Plugins | None = None) -> Result:
    """Run the command line in this process, with one plugin."""
    if plugins is None:
        plugins = Plugins({"package": Package()})
    result = CliRunner().invoke(main, [str(arg) for arg in args], obj=plugins)
    assert "Traceback" not in result.output
    return result


def acting(action: Callable[[], object] = lambda: None) -> click.Command:
    """Return a command that does what a test wants, and prints what it was given."""

    @click.command(epilog="Example: damon act")
    @click.option("--for", "for_us", type=DURATION, default="2s")
    @click.option("--size", "size_bytes", type=SIZE, default="1MiB")
    @pass_plugins
    def act(plugins: Plugins, for_us: int, size_bytes: int) -> None:
        """Do what a test wants."""
        action()
        click.echo(f"{for_us} {size_bytes} {len(plugins.infos())}")

    return act


def raising(error: BaseException) -> click.Command:
    """Return a command that raises."""

    def action() -> None:
        raise error

    return acting(action)


class TestHelp:
    def test_lists_own_and_foreign_commands(self, install: Install) -> None:
        """Commands of packages stand beside its own, with the summary of their distribution."""
        install("t-act", "act", command=acting())
        output = damon("--help").stdout
        for line in ("check ", "doctor ", "plugins ", "run ", "act      Of t-act"):
            assert f"  {line}" in output

    @pytest.mark.parametrize(
        ("head", "line"),
        [
            ('@click.command(short_help="Act at once")\ndef command():\n    "Act."', "Act at once"),
            ('@click.command()\ndef command():\n    """Act now.\n\n    And then."""', "Act now."),
            ("def command():\n    pass", "Of t-act"),
            ("def command(:", "Of t-act"),
        ],
        ids=["short help", "docstring", "no help", "no Python"],
    )
    def test_lines_are_those_of_the_source(self, install: Install, head: str, line: str) -> None:
        """The help of a command is read, and its module isn't imported."""
        install("t-act", "act", source=f"1 / 0\n{head}\n")
        assert f"  act      {line}" in damon("--help").stdout.splitlines()

    def test_each_installed_command_has_a_line_of_its_own(self) -> None:
        """It is what the command itself would show."""
        lines = damon("--help").stdout.splitlines()
        for name in ("record", "convert", "compact", "report", "top", "demo"):
            command = installed_commands()[name].load()
            assert f"  {name:<8} {command.get_short_help_str(100)}" in lines

    def test_survives_a_broken_package(self, install: Install) -> None:
        """A package that can't be imported is listed, and doesn't keep others from being so."""
        install("t-broken", "broken", source="1 / 0")
        install("t-act", "act", command=acting())
        result = damon("--help")
        assert result.exit_code == 0
        assert {"  broken   Of t-broken", "  act      Of t-act"} <= set(result.stdout.splitlines())

    @pytest.mark.parametrize("command", ["check", "doctor", "plugin", "plugins", "run"])
    def test_has_an_example(self, command: str) -> None:
        """The help of each command ends with a line that can be typed."""
        result = damon(command, "--help")
        assert result.exit_code == 0
        assert result.stdout.splitlines()[-1].startswith(f"  Example: damon {command}")

    def test_installed_commands_have_examples(self) -> None:
        """So do the commands of all installed packages."""
        commands = installed_commands()
        assert {"record", "report", "top"} <= set(commands)
        for name, command in commands.items():
            assert f"damon {name}" in (command.load().epilog or ""), name

    def test_version(self) -> None:
        """The version is the distribution's."""
        assert damon("--version").stdout.startswith("damon, version 0.")


class TestExitCodes:
    def test_success(self, install: Install) -> None:
        """0, and only what the command says."""
        install("t-act", "act", command=acting())
        result = damon("act", "--for", "5ms", "--size", "2KiB")
        assert (result.exit_code, result.output) == (0, "5000 2048 1\n")

    def test_defaults_of_durations_and_sizes(self, install: Install) -> None:
        """Defaults are written like what people type."""
        install("t-act", "act", command=acting())
        assert damon("act").stdout == "2000000 1048576 1\n"

    @pytest.mark.parametrize(
        ("error", "code", "line"),
        [
            (TargetError("pid 5", "is gone"), 2, "damon: pid 5: is gone\n"),
            (DamonError("no space"), 1, "damon: no space\n"),
            (BusyError("x is running", ["x"]), 1, "damon: x is running\n"),
            (
                OSError(36, "File name too long", "x"),
                2,
                "damon: 'x' can't be used: File name too long\n",
            ),
            (
                ZeroDivisionError("division\nby zero"),
                1,
                "damon: internal error: ZeroDivisionError: division by zero "
                "(damon --verbose shows where)\n",
            ),
        ],
    )
    def test_errors(self, install: Install, error: Exception, code: int, line: str) -> None:
        """2 for the user's mistakes, 1 for other failures, one line each on standard error."""
        install("t-act", "act", command=raising(error))
        result = damon("act")
        assert (result.exit_code, result.stdout, result.stderr) == (code, "", line)

    def test_a_core_that_cannot_be_imported(self) -> None:
        """It is one line like any other failure."""
        code = (
            "import sys; from damon_cli.main import main\n"
            "sys.modules['numpy'] = None; main(['doctor'])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 1
        assert done.stderr == (
            "damon: damon-core can't be imported: import of numpy halted; None in sys.modules\n"
        )

    def test_keyboard(self, install: Install) -> None:
        """An interrupt is no traceback."""
        install("t-act", "act", command=raising(KeyboardInterrupt()))
        result = damon("act")
        assert (result.exit_code, result.stderr.strip()) == (1, "Aborted!")

    @pytest.mark.parametrize(
        ("option", "value", "hint"),
        [("--for", "5", "write a duration like '5ms'"), ("--size", "x", "write a size like")],
    )
    def test_wrong_values(self, install: Install, option: str, value: str, hint: str) -> None:
        """A duration or size that is not valid is reported with an example."""
        install("t-act", "act", command=acting())
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
        """A misspelt command is reported with the nearest name."""
        result = damon("rnu")
        assert (result.exit_code, result.stderr) == (
            2,
            "damon: there is no command 'rnu'; did you mean 'run'?\n",
        )

    def test_those_of_plugin_are_hinted_at(self) -> None:
        """A command within another has a dot in the name of its entry point."""
        result = damon("plugin", "chekc")
        assert (result.exit_code, result.stderr) == (
            2,
            "damon: there is no command 'plugin chekc'; did you mean 'check'?\n",
        )

    def test_what_another_package_has_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Operators don't need the package that begins others."""
        monkeypatch.setattr("damon_cli.groups.installed_commands", own_commands)
        result = damon("plugin", "new", "rain")
        assert (result.exit_code, result.stderr) == (
            2,
            "damon: 'damon plugin new' is in damon-author: pip install damon-author\n",
        )

    def test_completion_is_silent(self) -> None:
        """Completing the arguments of a command that there isn't gives nothing, and no error."""
        result = complete("damon nothing x")
        assert "Traceback" not in result.stderr
        assert "no command" not in result.stderr


def own_commands(within: str = "") -> dict[str, InstalledCommand]:
    """Return the commands of damon-cli alone."""
    found = installed_commands(within).items()
    return {name: each for name, each in found if each.offers[0].distribution == "damon-cli"}


def complete(words: str) -> subprocess.CompletedProcess[str]:
    """Return what the shell is answered for the end of a line."""
    environment = {
        "_DAMON_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }
    return subprocess.run(
        [DAMON], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


class TestCommandsOfPackages:
    @pytest.mark.parametrize(
        ("offered", "reason"),
        [
            ({"source": "1 / 0"}, "can't be imported: ZeroDivisionError: division by zero"),
            ({"source": "exit('no')"}, "can't be imported: SystemExit: no"),
            ({"source": ""}, "can't be imported: AttributeError: module 't_bad' has no attribute"),
            ({"command": 5}, "offers 5 (t_bad:command), which is not a click command"),
            (
                {"source": "1 / 0", "requires": "damon_core >=99,<100"},
                "needs damon-core <100,>=99, but this is damon-core 0.",
            ),
            (
                {"source": "1 / 0", "requires": "damon-cli<0.1"},
                "needs damon-cli <0.1, but this is damon-cli 0.",
            ),
            (
                {"source": "1 / 0", "requires": "no-such>=3"},
                "needs no-such, which isn't installed: pip install 'no-such>=3'",
            ),
        ],
    )
    def test_one_that_cannot_be_used(
        self, install: Install, offered: dict[str, object], reason: str
    ) -> None:
        """It is one line with the reason, and the user's mistake; nothing else is in the way."""
        install("t-bad", "bad", **offered)
        result = damon("bad")
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
        assert result.stderr.startswith(f"damon: command 'bad' can't be used: t-bad 1.0 {reason}")

    @pytest.mark.parametrize(
        "requires",
        ["damon-core>=0.0", "other; python_version < '3'", "damon-core>=99; extra == 'x'"],
    )
    def test_requirements_that_do_not_matter(self, install: Install, requires: str) -> None:
        """Those that are met, and those of extras and of other machines."""
        install("t-act", "act", command=acting(), requires=requires)
        assert damon("act").exit_code == 0

    def test_two_packages_with_one_command(self, install: Install) -> None:
        """Neither is chosen: the error names both."""
        install("t-one", "act", command=acting())
        install("t-other", "act", command=acting())
        result = damon("act")
        assert (result.exit_code, result.stderr) == (
            2,
            "damon: command 'act' can't be used: both t-one 1.0 and t-other 1.0 offer it\n",
        )

    def test_two_packages_with_one_command_in_the_help(self, install: Install) -> None:
        """It is listed with what is wrong."""
        install("t-one", "act", command=acting())
        install("t-other", "act", command=acting())
        shown = " ".join(damon("--help").stdout.split())
        assert "act (can't be used: both t-one 1.0 and t-other 1.0 offer it)" in shown

    def test_the_names_of_its_own_cannot_be_taken(self, install: Install) -> None:
        """`damon plugins` is damon-cli's, whatever other packages offer."""
        install("t-thief", "plugins", command=raising(ValueError("stolen")))
        assert damon("plugins").exit_code == 0

    def test_none_is_imported_for_help(self, install: Install) -> None:
        """Their names and summaries are metadata."""
        module = install("t-act", "act", source="")
        damon("--help")
        assert module not in sys.modules

    def test_only_the_one_that_is_called_is_imported(self, install: Install) -> None:
        """Others may be broken, or slow."""
        module = install("t-other", "other", source="")
        install("t-act", "act", command=acting())
        damon("act")
        assert module not in sys.modules


class TestCompletion:
    def test_of_the_name_of_a_command(self) -> None:
        """All names that begin so."""
        assert complete("damon c").stdout.split() == [
            "plain,check",
            "plain,compact",
            "plain,convert",
        ]

    def test_of_the_options_of_a_command(self) -> None:
        """Those of a command of a package."""
        assert "plain,--descendants\n" in complete("damon record --pid 1 --").stdout


#: What takes long to import, and whatever belongs to the work of commands.
HEAVY = {"damon_core", "numpy", "rich", "textual", "pyarrow", "matplotlib", "cattrs", "pluggy"}


def loaded(code: str, **environment: str) -> set[str]:
    """Return which packages a Python program has imported at its end."""
    program = "import atexit, sys\natexit.register(lambda: print('\\n' + ' '.join(sys.modules)))\n"
    done = subprocess.run(
        [sys.executable, "-c", program + code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    modules = {name.split(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert "damon_cli" in modules, done.stderr
    return modules


class TestWhatIsImported:
    def test_by_help(self) -> None:
        """`damon --help` imports no package, and nothing that takes long."""
        modules = loaded("from damon_cli.main import main\nmain(['--help'])")
        assert {name for name in modules if name.startswith("damon_")} == {"damon_cli"}
        assert modules.isdisjoint(HEAVY)

    def test_by_completion_of_a_command(self) -> None:
        """Nor does the completion of its name."""
        modules = loaded(
            "from damon_cli.main import main\nmain(prog_name='damon')",
            _DAMON_COMPLETE="bash_complete",
            COMP_WORDS="damon ",
            COMP_CWORD="1",
        )
        assert {name for name in modules if name.startswith("damon_")} == {"damon_cli"}
        assert modules.isdisjoint(HEAVY)

    @pytest.mark.parametrize("name", sorted(installed_commands()))
    def test_by_completion_of_options(self, name: str) -> None:
        """What does the work of a command isn't imported to complete its options."""
        modules = loaded(
            "from damon_cli.main import main\nmain(prog_name='damon')",
            _DAMON_COMPLETE="bash_complete",
            COMP_WORDS=f"damon {name} --",
            COMP_CWORD="2",
        )
        assert modules.isdisjoint(HEAVY)

    def test_by_completion_of_options_of_a_report(self) -> None:
        """Nor for those of a command below one."""
        modules = loaded(
            "from damon_cli.main import main\nmain(prog_name='damon')",
            _DAMON_COMPLETE="bash_complete",
            COMP_WORDS="damon report wss --from 5s --",
            COMP_CWORD="5",
        )
        assert modules.isdisjoint(HEAVY)

    @pytest.mark.parametrize("name", sorted(installed_commands()))
    def test_by_help_of_a_command(self, name: str) -> None:
        """Nor to show its help."""
        modules = loaded(f"from damon_cli.main import main\nmain(['{name}', '--help'])")
        assert modules.isdisjoint(HEAVY)


class TestCheck:
    def test_check_prints_the_schema_of_what_is_installed(self) -> None:
        """And of nothing else."""
        result = damon("check", "--schema")
        assert result.exit_code == 0
        schema = json.loads(result.output)
        assert set(schema["definitions"]) == {
            "primitive.memory",
            "callback.log",
        }

    def test_check_takes_a_file_or_prints_the_schema(self) -> None:
        """One of the two."""
        for arguments in ([], ["--schema", "damon.toml"]):
            result = damon("check", *arguments)
            assert result.exit_code == 2
            assert "give either FILE or --schema" in result.output

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
        first, *others = json.loads(damon("plugins", "--json").stdout)
        assert first == {
            "name": "package",
            "package": "(given)",
            "skipped": "",
            "primitives": ["memory"],
            "backends": [],
            "policies": [],
            "callbacks": ["log"],
            "formats": [],
            "commands": [],
            "contested": [],
        }
        (own,) = (each for each in others if each["package"].startswith("damon-cli "))
        assert own["commands"] == ["check", "doctor", "plugin", "plugins", "run", "plugin check"]

    def test_for_people(self) -> None:
        """A line each: what it offers."""
        lines = damon("plugins").stdout.splitlines()
        assert lines[0].split() == ["plugin", "package", "offers"]
        assert lines[1].split(maxsplit=2)[2].rstrip() == "primitive memory; callback log"
        (own,) = (line for line in lines if "  damon-cli " in line)
        assert own.rstrip().endswith("  command check, doctor, plugin, plugins, run, plugin check")

    def test_backends_have_the_names_of_their_primitives(self) -> None:
        """Backends of different primitives may be called alike."""

        class Backends:
            @hookimpl
            def register_backends(self, register: Callable[[Backend], None]) -> None:
                register(Backend("idle", dict, serves=("processes", "cgroups")))
                register(Backend("idle", dict, serves=("machine",)))

        shown = damon("plugins", plugins=Plugins({"backends": Backends()})).stdout
        lines = [line.rstrip() for line in shown.splitlines()]
        offers = "  backend processes.idle, cgroups.idle, machine.idle"
        assert any(line.endswith(offers) for line in lines)

    @pytest.mark.parametrize("command", ["plugins", "doctor"])
    def test_commands_that_cannot_be_used_are_listed(self, install: Install, command: str) -> None:
        """Each with the reason; of two packages with one command both."""
        install("t-bad", "bad", source="1 / 0")
        install("t-one", "act", command=acting())
        install("t-other", "act", command=acting())
        lines = [line for line in damon(command).stdout.splitlines() if "t-" in line]
        assert any(
            "t-bad 1.0 can't be imported: ZeroDivisionError: division by zero" in line
            for line in lines
        )
        assert any("both t-one 1.0 and t-other 1.0 offer it" in line for line in lines)

    def test_reasons_are_unbroken_and_as_they_are(self) -> None:
        """A reason is one line in a pipe, however long, and no markup."""

        class Broken:
            @hookimpl
            def register_callbacks(self, register: object) -> None:
                raise ValueError("x" * 200 + " [bold]")

        result = damon("plugins", plugins=Plugins({"broken": Broken()}))
        assert f"skipped: fails to register: ValueError: {'x' * 200} [bold]" in result.stdout

    def test_nothing_is_installed(self) -> None:
        """Without any plugin it says where to begin."""
        result = damon("plugins", plugins=Plugins())
        assert result.stdout.startswith(
            "nothing that can be monitored is installed; begin with: pip install damon-vaddr\n"
        )


class TestLogging:
    def test_nothing_stays_configured(self, install: Install) -> None:
        """A program that calls the command line keeps its own handlers and levels."""
        install("t-act", "act", command=acting())
        root, loop = logging.getLogger(), logging.getLogger("damon_core.loop.kdamond")
        before = (list(root.handlers), root.level, loop.level)
        assert damon("--verbose", "act").exit_code == 0
        assert damon("act").exit_code == 0
        assert (root.handlers, root.level, loop.level) == before

    @pytest.mark.parametrize(("args", "lines"), [((), 1), (("--verbose",), 2)])
    def test_tracebacks_are_for_those_who_ask(
        self, install: Install, args: tuple[str, ...], lines: int
    ) -> None:
        """A log message is one line but with --verbose."""

        def act() -> None:
            logging.getLogger("t").error("it failed", exc_info=ValueError("x"))

        install("t-act", "act", command=acting(act))
        result = CliRunner().invoke(main, [*args, "act"], obj=Plugins())
        assert result.stderr.splitlines()[0] == "damon: ERROR: it failed"
        assert len(result.stderr.splitlines()) == lines


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


def test_ctrl_c_while_the_program_is_loaded(tmp_path: Path) -> None:
    """It ends as any other program does, without showing what was being imported."""
    (tmp_path / "click.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n"
    )
    # Ignored where tests run in the background of a script.
    begin = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    done = subprocess.run(
        [sys.executable, "-c", f"{begin}from damon_cli.entry import main; main()"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")
