"""``damon run`` for long: contexts that come and go, another configuration, and systemd."""

import logging
import math
import time
from collections.abc import Callable

from attrs import define, field

from damon_cli.events import SignalEvent
from damon_cli.notify import Notifier
from damon_cli.session import closing_contexts, running_contexts
from damon_core import Config, Context, DamonError, Deployment, InputError

logger = logging.getLogger(__name__)

_TICK_S = 0.1
#: How often targets that aren't there are looked for, and the state of systemd is renewed.
_TEND_S = 1.0


class _Interrupted(BaseException):
    """A signal has come while a part was being made, which may take for ever; it says which."""


@define(eq=False)
class Daemon:
    """Runs a deployment until its end, a signal, or the end of a time.

    SIGHUP reads the configuration again: as a whole, and what is wrong with it changes nothing.

    Args:
        deployment: The deployment.
        load: Reads and checks the configuration.
        notifier: Whom to say what is going on.
    """

    deployment: Deployment
    load: Callable[[], Config]
    notifier: Notifier = field(factory=Notifier)
    _stop: SignalEvent = field(factory=SignalEvent, init=False)

    def run(self, config: Config, for_us: int | None = None) -> None:
        """Run, beginning with a configuration that was read.

        Args:
            config: The configuration.
            for_us: Microseconds after which to stop.

        Raises:
            InputError: Nothing of it can run.
            DamonError: A context failed, or couldn't begin; raised after all have ended.
        """
        deployment = self.deployment
        try:
            with (
                closing_contexts(deployment.contexts),
                running_contexts(
                    deployment.contexts,
                    self._signalled,
                    begin=lambda: self._begin(config),
                    on_reload=self.deployment.reloading.request,
                ) as reported,
            ):
                self.notifier.ready()
                self._loop(reported, None if for_us is None else time.monotonic() + for_us / 1e6)
                self.notifier.stopping()
                logger.info("stopping %s", _count(deployment.contexts))
        except _Interrupted as error:
            raise DamonError(f"{error} was being made when a signal came") from error
        logger.info("all contexts have ended")
        if left_out := deployment.left_out:
            raise DamonError(*(f"context '{each}' was left out" for each in left_out))

    def _signalled(self) -> None:
        """End the loop; and what a factory may hang in, as a handler of signals can."""
        self._stop.set()
        if self.deployment.making:
            raise _Interrupted(self.deployment.making)

    def _begin(self, config: Config) -> None:
        self.deployment.apply(config)
        if not self.deployment.goes_on and not self.deployment.contexts:
            raise InputError("\n".join(self.deployment.left_out.values()))
        contexts = _count(config.contexts)
        logger.info("started, with %s in %s%s", contexts, config.source, self._others())

    def _loop(self, reported: set[Context], deadline_s: float | None) -> None:
        tended_s = 0.0
        while not self._stop.is_set():
            now_s = time.monotonic()
            if deadline_s is not None and now_s >= deadline_s:
                return
            if self.deployment.reloading.begin():
                self._apply_anew()
            self.deployment.begin_due()
            if now_s - tended_s >= _TEND_S or not self.deployment.goes_on:
                tended_s = now_s
                reported.update(self.deployment.tend())
                if not self.deployment.goes_on:
                    return
                self._show()
            left_s = _TICK_S if deadline_s is None else min(deadline_s - now_s, _TICK_S)
            self._stop.wait(max(left_s, 0.0))

    def _apply_anew(self) -> None:
        self.notifier.reloading()
        problem = ""
        try:
            self.deployment.apply(self.load())
            logger.info("the configuration was read again, and is in force")
        except DamonError as error:
            problem = error.message
            for line in error.message.splitlines():
                logger.error("the configuration was read again, and can't be used: %s", line)
        self.deployment.reloading.end(problem)
        self.notifier.ready()

    def _others(self) -> str:
        """Return how many contexts don't run, and why, to follow how many there are."""
        waiting, left_out = len(self.deployment.waiting), len(self.deployment.left_out)
        text = ""
        if due := self.deployment.due:
            text = f"; {due} begin as the CPU budget allows"
        if waiting:
            text += "; 1 waits for its target" if waiting == 1 else f"; {waiting} wait for targets"
        if left_out:
            text += "; 1 is left out" if left_out == 1 else f"; {left_out} are left out"
        return text

    def _show(self) -> None:
        running = [each for each in self.deployment.contexts if each.running]
        text = f"monitoring {_count(running)}{self._others()}"
        # A part that hangs is a reason to begin anew: without a sign of life systemd does so.
        patience_us = self.notifier.watchdog_s * 1e6 or math.inf
        hanging = [each.place for each in running if each.hook_us > patience_us]
        self.notifier.status(hanging[0] if hanging else text)
        if not hanging:
            self.notifier.alive()


def _count(contexts: "list[Context] | tuple[object, ...]") -> str:
    return "1 context" if len(contexts) == 1 else f"{len(contexts)} contexts"
