"""``python -m damon_demo PATTERN.json``: the workload alone, in a process of minimal size."""

import os
import sys

from damon_demo.process import COMMAND

os.execv(COMMAND[0], [*COMMAND, *sys.argv[1:]])
