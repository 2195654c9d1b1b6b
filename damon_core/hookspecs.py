"""The contract between damon-core and its plugins: every hook, in order of life.

    a package, found by entry point     register_primitives, _backends, _policies, _callbacks,
                                        _formats
    its factories make the parts of a context: one primitive, any number of callbacks
    start                               init -> before_start
    until a stop is requested or        target_valid
    the targets are invalid:            prepare_access_checks -> after_sampling
                                        (sleep) -> check_accesses
      each aggregation interval         describe_regions -> label_targets -> after_aggregation
                                        -> reset_aggregated
      each update interval              update
    the end, whatever happened          before_terminate -> cleanup
    the context is closed, or           release
    couldn't be built

Parts are objects whose methods are marked with `hookimpl`. Every hook is optional, and an
implementation may take fewer arguments than its specification. pluggy's ordering (``tryfirst``,
``trylast``) and wrappers (``wrapper=True``) work on every hook but `release`.

A context has one worker thread ("kdamond"), which calls all its hooks but `release`, one at a
time. So hooks may change `context.targets` freely, and what they do delays the next check. Other
threads read `context.snapshot` and `context.stats`.

A hook may take as long as it likes, but it delays the next check: one that takes longer than the
interval in which it is called, and a tenth of a second, is logged once a run, with its part and
what it cost. Once the context was asked to stop, nobody waits for a hook for longer than
`Context(stop_timeout_us=...)`: part and hook are named, and `context.error` says so. A part that
needs longer, to deliver what is queued or to end a program, has an attribute ``stop_timeout_us``:
how long each of its hooks may take then, in microseconds.

Nine attributes of a primitive count besides its hooks. ``sampling`` is its way of sampling: which
memory a check looks at, and who looks (`damon_core.contract.sampling`); without it the primitive
counts the accesses of whole regions itself. ``spent_elsewhere_us`` is the CPU time in microseconds
that others, such as the kernel, have spent on sampling for the context: it counts as the worker's
own, for `Stats` and the CPU budget. ``given_intervals`` are the `Intervals` of what samples, where
the primitive can't choose them: they count instead of those configured, the CPU budget stretches
them, and no goal tunes them. They may change at any time, and are None as long as they aren't
known. ``tuned_intervals`` are the `Intervals` to which what samples has tuned itself, for
`context.goal`: the context doesn't tune as long as there are some. ``unknown_columns`` are names of
`damon_core.COLUMNS` that the primitive doesn't know, such as ``("resident_bytes",)``: records say
so. ``left_out`` is how many of what it should monitor it leaves out now, such as processes that may
not be read, by reason: a mapping of words that never change to counts, such as
``{"unreadable": 3}``. It is replaced, never changed, so that any thread may read it; callbacks find
it in `context.left_out`. ``better_backends`` are the names of backends that work here and are
preferred to the one that was named (`damon_core.preferred_backends`): messages about long intervals
name them where that would help. ``ends_on_interrupt`` is true while something runs that the
primitive has started and that Ctrl-C in a terminal reaches too, such as a
command: it is left to end by itself, and a second Ctrl-C stops the context.
``startup_capabilities`` are the numbers of the Linux capabilities that it doesn't need any more
once `init` has returned: then the worker gives them up, for itself and programs that it starts, and
so does the command ``damon`` unless it may start contexts later.
Another part that needs one of these uses it in its factory.

Any part may have a method ``measures(context)``, which returns a `damon_core.Measure` for each
number that it knows of itself, such as what it has delivered. It is called from any thread, while
the context runs and afterwards, by callbacks that export metrics.

If the primitive raises, its context ends in order: `before_terminate`, `cleanup`; then
`context.error` holds the exception: a `DamonError` as it is, any other as the cause of a
`PartError` that names part and hook. It is the same where what a primitive or a policy gives can't
be, such as counts above the number of checks: no callback is given that.

If a callback raises, in a hook or a wrapper, that is logged with its name and counted, and all
others are called. It says that the work of this call is lost, such as rows, and makes the exit code
of `damon` 1, even if later calls succeed: a callback that makes up for something later doesn't
raise. After `Context(failure_limit=...)` failures in a row in one hook the callback is
switched off, except for its `before_terminate`; it is tried again after a second, and then at
growing intervals of up to five minutes. When it works again that is logged, and what it missed is
counted (`CallbackStats`).
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

    Called when the package is first used or listed. A package that raises here is skipped and
    listed with the reason by ``damon plugins``. A name that another package offers as well is
    nobody's: using it is an error that names both.
    """


@hookspec
def register_backends(register: Callable[[Backend], None]) -> None:
    """Offer backends: ways in which a primitive, of any package, can see accesses.

    A backend is known by the primitive's name and its own, so backends of different primitives may
    have the same name. The primitive defines what the backend's factory returns.
    """


@hookspec
def register_policies(register: Callable[[Policy], None]) -> None:
    """Offer policies of region adjustment: ``register(Policy("kernel", factory, options=...))``.

    What the factory returns has no hooks: it is a `damon_core.RegionPolicy`, which the worker calls
    around the hooks, in the order that `damon_core.contract.policy` states.
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
    """Primitive operation: build `context.targets`. Called once, first in the worker.

    If it raises, `before_start` and the loop are skipped; `before_terminate` and `cleanup` run.
    """


@hookspec
def before_start(context: HookContext) -> object:
    """Callback: set up private data and open outputs; monitoring is about to begin.

    A true result asks to stop: the loop is skipped, `before_terminate` and `cleanup` still run.
    """


# -------------------------------------------------------------------------
# Every sampling interval
# -------------------------------------------------------------------------


@hookspec
def target_valid(context: HookContext) -> object:
    """Primitive operation, at the head of every iteration: is there still something to monitor?

    A false result ends the monitoring; None, or no implementation, means that there is. Called
    once for all targets of the context, and again now and then during a long sleep.
    """


@hookspec
def prepare_access_checks(context: HookContext) -> None:
    """Primitive operation, before the sleep: make the next check possible.

    For example, clear accessed bits. Accesses from here to `check_accesses` are observed.
    """


@hookspec
def after_sampling(context: HookContext) -> object:
    """Callback, after `prepare_access_checks` and before the sleep, in every iteration.

    A true result asks to stop, after the current iteration.
    """


@hookspec
def check_accesses(context: HookContext) -> None:
    """Primitive operation, after the sleep: add what was accessed to the regions' nr_accesses.

    A check adds at most 1 to each region: 1 if the page that was checked for it was accessed, or
    the share of its pages that were. What exactly is expected depends on the way of sampling.
    """


# -------------------------------------------------------------------------
# Every aggregation interval
# -------------------------------------------------------------------------


@hookspec
def describe_regions(context: HookContext) -> None:
    """Primitive operation: complete the regions of an aggregation before its snapshot is taken.

    Set what only the primitive knows: the `resident_bytes` of regions where that isn't their size,
    bytes idle for a span where it measures them, with the targets' `idle_ages`, and the `owners` of
    targets. A primitive that knows every page leaves that in the targets, too, as their `page_map`:
    the snapshot gets its spectrum, and callbacks may ask for it. (Set `areas` where the address
    space is read: in `init` and `update`.)
    """


@hookspec
def label_targets(context: HookContext) -> None:
    """Callback: say what else targets are known by, in their `labels`.

    Called before the first snapshot, that of a target which is new, and when the primitive has
    labelled one anew. To
    add to what the primitive knows, assign: ``target.labels = {**target.labels, "rack": "7"}``.
    Labels that the context was given (``Context(labels=...)``) come last, and win.
    """


@hookspec
def after_aggregation(context: HookContext) -> object:
    """Callback: use the results of an aggregation, in `context.snapshot`.

    Every page of its targets, where the backend knows them, is there for callbacks that ask now
    (`TargetSnapshot.page_map`), and is dropped afterwards.

    A true result asks to stop, after the current iteration.
    """


@hookspec
def reset_aggregated(context: HookContext) -> None:
    """Primitive operation, after `after_aggregation`: reset the primitive's counters.

    The core resets those of the regions right afterwards.
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
    """Callback: flush and close outputs, clear private data; monitoring has ended.

    Also called if the primitive failed, even before `before_start`, and for callbacks that were
    switched off. The result has no effect.
    """


@hookspec
def cleanup(context: HookContext) -> None:
    """Primitive operation: release everything. Called last in the worker, whatever happened.

    `Context.close` calls it too, of a context that isn't running. So it may be called without
    `init`, and more than once. If it raises, `context.error` holds the exception.
    """


@hookspec
def release() -> None:
    """Any part: give back what its factory took, such as a port, a file or a process.

    Called for every part that was made, in reverse order: if a later part or the context can't be
    made, and by `Context.close` after `cleanup`. It is never called in the worker. It may be called
    without any other hook before it, and more than once. A part that serves several contexts keeps
    what the others still need. If it raises, the others are released too; `Context.close` raises a
    `PartError` then, and where a context can't be made it is logged.

    A factory that raises has to give back what it took until then.
    """
