"""The lines of series: as the client library renders them, in a fraction of the time.

Labels are sorted and escaped anew by the library for each of thousands of series, which takes ten
times as long as everything else. Most series have their labels in common with others, so here each
label is rendered once. What isn't plain is left to the library: timestamps, exemplars, names that
have to be escaped. Text formats render what is plain alike, unless they escape it, too.
"""

import re

from prometheus_client import Metric
from prometheus_client.utils import floatToGoString

_PLAIN_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
#: Samples of these names are moved to the end of a metric.
_MOVED = ("_created", "_gsum", "_gcount")


class Lines:
    """Renders series; it keeps the text of each label that it has seen."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._labels: dict[tuple[str, str], str] = {}

    def of(self, metric: Metric) -> bytes | None:
        """Return the series of a metric, a line each; None if some of them aren't plain."""
        known, found = self._labels, []
        for sample in metric.samples:
            name, labels, value = sample[:3]
            if name not in self._names and not self._learn_name(metric.name, name):
                return None
            if sample[3:].count(None) < len(sample) - 3:
                return None
            try:
                text = ",".join([known[each] for each in sorted(labels.items())])
            except KeyError:
                if not self._learn_labels(labels):
                    return None
                text = ",".join([known[each] for each in sorted(labels.items())])
            number: str = floatToGoString(value)  # type: ignore[no-untyped-call]
            found.append(f"{name}{{{text}}} {number}\n" if text else f"{name} {number}\n")
        return "".join(found).encode()

    def _learn_name(self, metric: str, name: str) -> bool:
        """Return whether the name of a series is plain."""
        if not _PLAIN_NAME.fullmatch(name) or (name != metric and name.endswith(_MOVED)):
            return False
        self._names.add(name)
        return True

    def _learn_labels(self, labels: dict[str, str]) -> bool:
        """Render labels that are new; return whether all of their names are plain."""
        for name, value in labels.items():
            if not _PLAIN_NAME.fullmatch(name):
                return False
            escaped = value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
            self._labels[name, value] = f'{name}="{escaped}"'
        return True
