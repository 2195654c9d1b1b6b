"""Where the program ``damon`` begins: Ctrl-C before a command runs.

What Python does then is to show where in the imports it was. Nothing is imported here that takes
time.
"""

import signal


def main() -> None:
    """Run the program; until its commands are known, Ctrl-C ends it as it ends any other."""
    handler = signal.getsignal(signal.SIGINT)
    # Not where it is ignored, as in the background of a script.
    if handler is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from damon_cli.main import main as command  # noqa: PLC0415

    signal.signal(signal.SIGINT, handler)
    command()
