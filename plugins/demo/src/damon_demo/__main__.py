"""``python -m damon_demo PATTERN.json``: the workload by hand, in a process as small as it is."""

import os
import sys

from damon_demo.process import COMMAND

os.execv(COMMAND[0], [*COMMAND, *sys.argv[1:]])
