"""``damon demo``: a workload whose access pattern is known, watched and judged.

`damon_demo.workload` is the program, `damon_demo.process` starts it as a child,
`damon_demo.truth` holds its real accesses, `damon_demo.judgement` compares them with a monitor's
snapshots, `damon_demo.maps` draws the snapshots.
"""
