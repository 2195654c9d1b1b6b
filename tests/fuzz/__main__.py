"""Fuzz kinds of input: ``python -m tests.fuzz [KIND...] --cases 100000 --seed 1``."""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from attrs import asdict

from tests.fuzz.kinds import KINDS
from tests.fuzz.running import Finding, Report, case, judge, run


def main() -> int:
    """Run the command; 1 if there is a finding."""
    # Its others reserve much more memory than they use, which is limited here.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    arguments = _arguments()
    reports = []
    with tempfile.TemporaryDirectory(prefix="damon-fuzz-", dir=_fast_folder()) as folder:
        for name in arguments.kind or KINDS:
            kind = KINDS[name](Path(folder))
            if arguments.input is not None:
                _, wrong = judge(kind, arguments.input.read_bytes())
                print(wrong or "nothing is wrong")
                return int(wrong is not None)
            if arguments.case is not None:
                data = case(kind, arguments.seed, arguments.case)
                sys.stdout.buffer.write(data)
                return int(judge(kind, data)[1] is not None)
            report = run(
                kind,
                arguments.seed,
                arguments.cases,
                jobs=arguments.jobs,
                progress=_Progress(arguments.cases),
            )
            reports.append(report)
            if not arguments.json:
                _show(report, arguments.save)
    if arguments.json:
        print(json.dumps([_as_json(report) for report in reports], indent=2))
    return int(any(report.findings for report in reports))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("kind", nargs="*", choices=[[], *KINDS], help="default: all of them")
    parser.add_argument("--cases", type=int, default=100_000, help="of each kind")
    parser.add_argument("--seed", type=int, help="the same seed makes the same cases")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--save", type=Path, metavar="DIR", help="where findings are saved")
    parser.add_argument("--case", type=int, metavar="N", help="write the input of one case")
    parser.add_argument("--input", type=Path, metavar="FILE", help="judge one input")
    arguments = parser.parse_args()
    if arguments.seed is None:
        arguments.seed = random.SystemRandom().randrange(1 << 32)
    if len(arguments.kind) != 1 and (arguments.case, arguments.input) != (None, None):
        parser.error("--case and --input need one KIND")
    return arguments


def _fast_folder() -> str | None:
    """Return where files are kept in memory, if there is such a place."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


class _Progress:
    """A line now and then on standard error, and one for each finding at once."""

    def __init__(self, cases: int) -> None:
        self._cases = cases
        self._due = time.monotonic() + 5.0
        self._shown = 0

    def __call__(self, report: Report) -> None:
        for finding in report.findings[self._shown :]:
            print(
                f"{report.kind}: case {finding.case}: {finding.what:.300} at {finding.where}: "
                f"{finding.data!r:.2000}",
                file=sys.stderr,
                flush=True,
            )
        self._shown = len(report.findings)
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + 5.0
        print(
            f"{report.kind}: {report.cases:,} of {self._cases:,} cases, "
            f"{len(report.findings)} findings",
            file=sys.stderr,
            flush=True,
        )


def _show(report: Report, save: Path | None) -> None:
    print(
        f"{report.kind}: seed {report.seed}, {report.cases:,} cases in {report.seconds:.0f} s, "
        f"{report.accepted:,} read, {len(report.findings)} findings"
        + (f" (and {report.again:,} cases more)" if report.again else ""),
        flush=True,
    )
    for finding in report.findings:
        print(f"  case {finding.case}: {finding.what}\n    at {finding.where}")
        print(f"    {finding.data!r:.1000}", flush=True)
        if save is not None:
            _save(finding, save)


def _save(finding: Finding, folder: Path) -> None:
    (folder / finding.kind).mkdir(parents=True, exist_ok=True)
    (folder / finding.kind / f"case-{finding.case}").write_bytes(finding.data)


def _as_json(report: Report) -> dict[str, object]:
    return {
        **asdict(report),
        "findings": [
            {**asdict(finding), "data": finding.data.hex()} for finding in report.findings
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
