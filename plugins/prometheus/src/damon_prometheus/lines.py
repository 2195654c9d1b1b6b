"""The lines of series: as the client library renders them, in a fraction of the time.

Labels are sorted and escaped anew by the library for each of thousands of series, which takes ten
times as long as everything else. Most series have their labels in common with others, so here each
label is rendered once. What isn't plain is left to the library: timestamps, exemplars, names that
have to be escaped. Text formats render what is plain alike, unless they escape it, too.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

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
            number = _number(value)
            found.append(f"{name}{{{text}}} {number}\n" if text else f"{name} {number}\n")
        return "".join(found).encode()

    def series(self, name: str, labels: Mapping[str, str], value: float) -> str:
        """Return a series, a line; its names are plain."""
        text = ",".join([self.label(*each) for each in sorted(labels.items())])
        return f"{name}{{{text}}} {_number(value)}\n"

    def label(self, name: str, value: str) -> str:
        """Return a label; its name is plain."""
        known = self._labels.get((name, value))
        if known is None:
            known = self._labels[name, value] = f'{name}="{_escaped(value)}"'
        return known

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
            self.label(name, value)
        return True


class GroupLines:
    """Renders series of groups, of which all have the labels of their group.

    Args:
        lines: What renders labels.
        labels: The labels of each group; their names are plain.
    """

    def __init__(self, lines: Lines, labels: Sequence[Mapping[str, str]]) -> None:
        self._lines, self._labels = lines, labels
        self._cut: dict[str, list[tuple[str, str]]] = {}

    def of(self, name: str, values: Iterable[tuple[int, float]], further: Mapping[str, str]) -> str:
        """Return the series of a metric, a line each.

        Args:
            name: What it is called.
            values: The number of the group and the value, of each series.
            further: The labels that each has besides.
        """
        if len(further) > 1:
            labels, series = self._labels, self._lines.series
            return "".join(
                [series(name, {**labels[number], **further}, value) for number, value in values]
            )
        text, around = "", self._around("")
        for label, of_label in further.items():
            text, around = self._lines.label(label, of_label), self._around(label)
        found = []
        for number, value in values:
            before, after = around[number]
            found.append(f"{name}{{{before}{text}{after}}} {_number(value)}\n")
        return "".join(found)

    def _around(self, label: str) -> list[tuple[str, str]]:
        """Return what comes before and after a label, for each group."""
        known = self._cut.get(label)
        if known is None:
            known = self._cut[label] = [self._parts(each, label) for each in self._labels]
        return known

    def _parts(self, labels: Mapping[str, str], label: str) -> tuple[str, str]:
        before, after = "", ""
        for each in sorted(labels.items()):
            if each[0] < label:
                before += self._lines.label(*each) + ","
            elif each[0] > label:
                after += "," + self._lines.label(*each)
        return before, after if label else after.removeprefix(",")


def are_plain(names: Iterable[str]) -> bool:
    """Return whether names needn't be escaped."""
    return all(map(_PLAIN_NAME.fullmatch, names))


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    found: str = floatToGoString(value)  # type: ignore[no-untyped-call]
    return found
