"""The contract between damon-core and its plugins: every hook, in order of life.

There are two kinds of plugins, made of the same hooks:

- A *package* names a module or object under the entry-point group ``damon``. Its registration
  hooks say what it has to offer: primitives, backends, policies, callbacks, formats of records.
- The *parts* of a running context, one primitive and any number of callbacks, are objects whose
  methods are marked with `hookimpl`. The worker of the context calls their lifecycle hooks::

      init -> before_start
      until stop was requested or the target is invalid:
          prepare_access_checks -> after_sampling -> (sleep) -> check_accesses
          each aggregation interval: describe_regions -> after_aggregation -> reset_aggregated
          each update interval:      update
      before_terminate -> cleanup
      release, when the context is closed or couldn't be built

Which memory a check looks at, and who looks, is the primitive's way of sampling: an attribute
``sampling``, described in `damon_core.contract.sampling`. Without one the primitive counts the
accesses of whole regions itself. An attribute ``spent_elsewhere_us``, if it has one, is the CPU
time in microseconds that others, such as the kernel, have spent on sampling for the context: it
counts as the worker's own, for `Stats` and the CPU budget.

All lifecycle hooks but `release` are called from the context's one worker thread ("kdamond"),
never two at a time; so they may touch `context.targets` freely, and what they do delays the next
check. Threads of other kinds read `context.snapshot` and `context.stats`. Every hook is optional,
an implementation may take fewer arguments than its specification, and pluggy's ordering
(``tryfirst``, ``trylast``) and wrappers (``wrapper=True``) work on each of them but `release`.

What happens when an implementation raises depends on whose it is. The primitive's ends its
context in order: `before_terminate`, `cleanup`, then `context.error` holds the exception. A
callback's, in whichever hook or wrapper, is logged with the callback's name and counted; all
others get their turn, and after `Context(failure_limit=...)` failures in a row in one hook the
callback is switched off but for its `before_terminate`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from damon_core.contract.context import HookContext
    from damon_core.contract.records import RecordFormat
    from damon_core.contract.registration import Backend, Callback, Policy, Primitive

#: Marks specifications; only the core uses it.
hookspec = pluggy.HookspecMarker("damon")
#: Marks implementations: ``@hookimpl`` or ``@hookimpl(wrapper=True, tryfirst=True, ...)``.
hookimpl = pluggy.HookimplMarker("damon")


# -------------------------------------------------------------------------
# The life of a package: what it has to offer
# -------------------------------------------------------------------------


@hookspec
def register_primitives(register: Callable[[Primitive], None]) -> None:
    """Offer primitives: ``register(Primitive("vaddr", factory, options=...))``.

    Called when the package is first used or listed. A package that raises here, or registers a
    name that is taken, is skipped and listed with the reason by ``damon plugins``.
    """


@hookspec
def register_backends(register: Callable[[Backend], None]) -> None:
    """Offer ways in which a primitive of any package can see accesses.

    A backend is known by its name and the primitive's: those of different primitives may share
    a name. What a backend's factory returns is an agreement with the primitives that it serves.
    """


@hookspec
def register_policies(register: Callable[[Policy], None]) -> None:
    """Offer policies of region adjustment: ``register(Policy("kernel", factory, options=...))``.

    What the factory returns is no part with hooks, but a `damon_core.RegionPolicy`: the worker
    calls it around the hooks, in the order that `damon_core.contract.policy` states.
    """


@hookspec
def register_callbacks(register: Callable[[Callback], None]) -> None:
    """Offer callbacks: ``register(Callback("csv", factory, options=...))``."""


@hookspec
def register_formats(register: Callable[[RecordFormat], None]) -> None:
    """Offer file formats of records: ``register(RecordFormat("csv", (".csv",), read, write))``.

    To be found without importing other packages, a format needs an entry point
    ``format.NAME``.
    """


# -------------------------------------------------------------------------
# The life of a context: its beginning
# -------------------------------------------------------------------------


@hookspec
def init(context: HookContext) -> None:
    """Primitive operation: build `context.targets`, once, first thing in the worker.

    If it raises, neither `before_start` nor the loop runs; `before_terminate` and `cleanup` do.
    """


@hookspec
def before_start(context: HookContext) -> object:
    """Callback: monitoring is about to begin; install private data, open outputs.

    A true result asks to stop: the loop is skipped, `before_terminate` and `cleanup` still run.
    """


# -------------------------------------------------------------------------
# Every sampling interval
# -------------------------------------------------------------------------


@hookspec
def target_valid(context: HookContext) -> object:
    """Primitive operation, at the head of every iteration: is there still something to monitor?

    A false result (but None, which says nothing) ends the monitoring. Without an implementation
    the target is valid. Called once for all targets of the context.
    """


@hookspec
def prepare_access_checks(context: HookContext) -> None:
    """Primitive operation, before the sleep: make the next check possible.

    For example clear accessed bits. Accesses are observed from here to `check_accesses`.
    """


@hookspec
def after_sampling(context: HookContext) -> object:
    """Callback, after `prepare_access_checks` and before the sleep, in every iteration.

    A true result asks to stop; the iteration under way still completes.
    """


@hookspec
def check_accesses(context: HookContext) -> None:
    """Primitive operation, after the sleep: add what was accessed to the regions' nr_accesses.

    A check adds at most 1 to each region: 1 where the page that stands for it was accessed, or
    the share of its pages that was.
    """


# -------------------------------------------------------------------------
# Every aggregation interval
# -------------------------------------------------------------------------


@hookspec
def describe_regions(context: HookContext) -> None:
    """Primitive operation: an aggregation is complete and regions are adjusted to it.

    Tell what only the primitive knows of them before the snapshot is taken: the
    `resident_bytes` of regions where that isn't their size, the `owners` of targets. (Their
    `areas` are best told where the address space is looked at: in `init` and `update`.)
    """


@hookspec
def after_aggregation(context: HookContext) -> object:
    """Callback: an aggregation is complete and `context.snapshot` holds it.

    A true result asks to stop; the iteration under way still completes.
    """


@hookspec
def reset_aggregated(context: HookContext) -> None:
    """Primitive operation, after `after_aggregation`: clear counters of the primitive's own.

    The regions' counters are cleared by the core right afterwards.
    """


# -------------------------------------------------------------------------
# Every update interval
# -------------------------------------------------------------------------


@hookspec
def update(context: HookContext) -> None:
    """Primitive operation: follow changes of the target (new mappings, children, hot-plug)."""


# -------------------------------------------------------------------------
# The life of a context: its end
# -------------------------------------------------------------------------


@hookspec
def before_terminate(context: HookContext) -> object:
    """Callback: monitoring has ended; flush, close, clear private data.

    Called also when the primitive failed, even before `before_start`, and for callbacks that
    were switched off. The result means nothing any more.
    """


@hookspec
def cleanup(context: HookContext) -> None:
    """Primitive operation: release everything; the last thing the worker does.

    Called whatever happened before, and by `Context.close` of a context that isn't running; so
    it may be called without `init`, and more than once. If it raises, `context.error` tells.
    """


@hookspec
def release() -> None:
    """Any part: give back what its factory took, such as a port, a file or a process.

    Called for every part that was made, the last first, when another part or the context can't be
    made, and by `Context.close` after `cleanup`; then never from the worker, which is gone. So it
    may be called without any other hook before it, and more than once. A part that serves several
    contexts keeps what the others still need. If it raises, that is logged, and the other parts
    are released all the same.

    A factory that raises gives back by itself what it has taken until then.
    """
