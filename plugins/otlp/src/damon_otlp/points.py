"""The points of metrics: values from what contexts have published, with their attributes."""

import os
import resource
import time
from collections.abc import Mapping
from typing import Final

from opentelemetry.sdk.resources import Resource

from damon_core import PAGE_SIZE_BYTES, HookContext
from damon_core.metrics import Exported, Measured, Pacer, SnapshotValues, context_values, text
from damon_otlp import metrics
from damon_otlp.metrics import NAMED, Collection
from damon_otlp.options import OtlpOptions
from damon_otlp.resources import attributes_of, resource_of_group

Labels = Mapping[str, str]

#: What labels of our own series are called here, where it isn't ``damon.`` and their name.
_ATTRIBUTES: Final = {
    "above": "damon.frequency.above",
    "at_least": "damon.idle.at_least",
    "within": "damon.touched.within",
    "kind": "damon.owner.kind",
    "owner": "damon.owner.name",
    "reason": "damon.left_out.reason",
}


def add_process(collection: Collection, host: Resource, begin_ns: int) -> None:
    """Add what the process is that monitors."""
    # By the link, as /proc may belong to another pid namespace.
    with open("/proc/self/statm", "rb") as file:
        resident_bytes = int(file.read().split()[1]) * PAGE_SIZE_BYTES
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    threads, begin_ticks = int(fields[17]), int(fields[19])
    uptime_s = time.clock_gettime(time.CLOCK_BOOTTIME) - begin_ticks / os.sysconf("SC_CLK_TCK")
    used = resource.getrusage(resource.RUSAGE_SELF)
    for mode, cpu_s in (("user", used.ru_utime), ("system", used.ru_stime)):
        collection.add(metrics.PROCESS_CPU, host, {"cpu.mode": mode}, cpu_s, begin_ns)
    collection.add(metrics.PROCESS_MEMORY, host, {}, resident_bytes, begin_ns)
    collection.add(metrics.PROCESS_THREADS, host, {}, threads, begin_ns)
    # The one that reads the folder isn't counted.
    files = len(os.listdir("/proc/self/fd")) - 1
    collection.add(metrics.PROCESS_FILES, host, {}, files, begin_ns)
    collection.add(metrics.PROCESS_UPTIME, host, {}, max(uptime_s, 0.0), begin_ns)


def add_context(
    collection: Collection, host: Resource, exported: Exported[OtlpOptions], context: HookContext
) -> None:
    """Add the values of a context; of one that has ended only its counts."""
    own = _named({"context": text(exported.label)})
    for each in context_values(context, running=not exported.ended):
        attributes = own | _named(each.labels)
        collection.add(NAMED[each.instrument], host, attributes, each.value, exported.began_ns)
    followed, pacer = exported.followed, Pacer()
    if followed is None:
        return
    values = SnapshotValues(followed, exported.options)
    for each in values.of_context():
        attributes = own | _named(each.labels)
        collection.add(NAMED[each.instrument], host, attributes, each.value, exported.began_ns)
    groups = values.groups
    of_groups = [own | attributes_of(labels) for labels in groups.labels]
    resources = [
        resource_of_group(host, exported.label, labels, known)
        for labels, known in zip(groups.labels, groups.known, strict=True)
    ]
    for these in values.of_groups():
        instrument, further = NAMED[these.instrument], _named(these.labels)
        for number, value in these.values:
            attributes = of_groups[number] | further
            collection.add(instrument, resources[number], attributes, value, exported.began_ns)
        pacer.rest()


def add_measure(collection: Collection, host: Resource, measured: Measured, begin_ns: int) -> None:
    """Add what a part knows of itself."""
    attributes = {f"damon.{name}": value for name, value in measured.labels.items()}
    instrument = metrics.instrument_of(measured.measure)
    collection.add(instrument, host, attributes, measured.value, begin_ns)


def _named(labels: Labels) -> dict[str, str]:
    """Return labels of our own series as attributes."""
    return {_ATTRIBUTES.get(name, f"damon.{name}"): value for name, value in labels.items()}
