"""``damon demo``: a workload whose access pattern is known, watched and judged.

`damon_demo.workload` is the program, `damon_demo.process` starts it as a child, `Truth` holds its
real accesses, `judge` compares them with a monitor's snapshots, `text_map` draws the snapshots.
"""

from damon_demo.judgement import Judgement, PhaseJudgement, Score, judge
from damon_demo.maps import text_map
from damon_demo.process import WorkloadProcess
from damon_demo.truth import AccessedRange, AreaPlace, PhaseRun, Truth
from damon_demo.workload import AreaSpec, Pattern, Phase, Touch

__all__ = [
    "AccessedRange",
    "AreaPlace",
    "AreaSpec",
    "Judgement",
    "Pattern",
    "Phase",
    "PhaseJudgement",
    "PhaseRun",
    "Score",
    "Touch",
    "Truth",
    "WorkloadProcess",
    "judge",
    "text_map",
]
