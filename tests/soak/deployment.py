"""What is watched and where results go: the configuration of a soak's `damon run`."""

from pathlib import Path

_CONTEXT = """
[[context]]
name = "{name}"
aggregation_interval = "{aggregation}"
[context.primitive]
{primitive}
[[context.callback]]
use = "prometheus"
port = {metrics_port}
[[context.callback]]
use = "parquet"
path = "{name}.parquet"
rotate_every = "5m"
"""
_MORE_OF_REDIS = """
[[context.callback]]
use = "csv"
path = "small/redis.csv"
[[context.callback]]
use = "alert"
[[context.callback.rule]]
name = "redis-in-use"
when = "working_set"
above = "64KiB"
[[context.callback.notify]]
to = "http"
url = "http://127.0.0.1:{receiver_port}"
"""

#: The contexts, by what they watch.
NAMES = ("redis", "postgres", "renamed")


def configuration(groups: Path, metrics_port: int, receiver_port: int, aggregation: str) -> str:
    """Return the configuration, with the aggregation interval of the context `renamed`.

    Args:
        groups: The cgroup that has those of the services.
        metrics_port: Where Prometheus scrapes.
        receiver_port: Where alerts go.
        aggregation: The interval, such as ``1s``.
    """
    ports = {"metrics_port": metrics_port, "receiver_port": receiver_port}
    text = "cpu_budget = 0.05\n"
    for name in NAMES[:2]:
        primitive = f'use = "cgroup"\npath = "{groups / name}"\ndescendants = true'
        text += _CONTEXT.format(name=name, primitive=primitive, aggregation="1s", **ports)
        if name == "redis":
            text += _MORE_OF_REDIS.format(**ports)
    primitive = 'use = "vaddr"\nmatch = { comm = "soak-*" }'
    return text + _CONTEXT.format(
        name="renamed", primitive=primitive, aggregation=aggregation, **ports
    )
