"""TOML files: shipped examples and more with values changed, and with bytes changed."""

import json
import random
import re
import tomllib
from pathlib import Path
from typing import Any, ClassVar

from damon_core import Plugins
from damon_core.deployment.reading import load_config
from tests.fuzz.judging import Kind, attempt
from tests.fuzz.mutating import Mutator

_EXAMPLES = Path(__file__).parents[3] / "examples"

#: What the examples leave out: options of every part.
_MORE = """
cpu_budget = 0.5
[[context]]
name = "a"
sampling_interval = "5ms"
aggregation_interval = "100ms"
update_interval = "1s"
min_regions = 10
max_regions = 1000
cpu_budget = 0.02
max_slowdown = 0.01
max_stall = "50ms"
stop_timeout = "10s"
failure_limit = 10
policy = { use = "kernel", seed = 1 }
[context.intervals_goal]
access_share = 0.04
aggregations = 3
min_sampling = "5ms"
max_sampling = "10s"
[context.primitive]
use = "sim"
size = "1GiB"
seed = 3
ends_after = "1m"
stairs = { area = "1MiB", places = 8, period = "1s", rate = 0.5 }
[[context.callback]]
use = "parquet"
path = "a.parquet"
rotate_size = "1GiB"
rotate_every = "1h"
keep = 3
[[context.callback]]
use = "csv"
path = "a.csv"
[[context.callback]]
use = "prometheus"
address = "::1"
port = 0
max_targets = 3
idle_thresholds = ["1s", "10s"]
basic_auth = { user = "u", password_file = "/p" }
tls = { certificate_file = "/c", key_file = "/k" }
[[context.callback]]
use = "alert"
flush_timeout = "5s"
[[context.callback.rule]]
name = "r"
when = "idle"
above = "64MiB"
idle_for = "1m"
per = "target"
labels = { team = "x" }
[[context.callback.notify]]
to = "http"
url = "http://127.0.0.1:1/x"
headers = { A = "b" }
time_limit = "1s"
retry_for = "1m"
[[context]]
name = "b"
primitive = { use = "paddr", ranges = ["100000000-13fffffff"], backend = "auto" }
[[context]]
name = "c"
primitive = { use = "vaddr", pid = 1, descendants = true, backend = { use = "idle" } }
[[context]]
name = "d"
primitive = { use = "sim", size = "1MiB", zones = [{ size = "1MiB", rate = 1 }] }
[[context]]
name = "e"
primitive = { use = "cgroup", path = "/", when_gone = "end" }
"""

_WORDS = (
    "use name primitive policy callback context sim vaddr paddr cgroup kernel evidence csv parquet "
    "prometheus alert backend idle referenced sysfs auto 5ms 64MiB 1h 1e9 true false inf nan [[ ]] "
    '{ } = " """ '
    "" + "'''" + r" 1979-05-27T07:32:00Z 07:32:00 \u0000 \U0010ffff \n \x 0o7 0b1"
).split(" ")


class ConfigFile(Kind):
    """A configuration file, read and checked as by ``damon check``."""

    name: ClassVar[str] = "config"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._path = folder / "a.toml"
        self._plugins = Plugins.discover()
        texts = [path.read_text() for path in sorted(_EXAMPLES.glob("*.toml"))] + [_MORE]
        self._values = [tomllib.loads(text) for text in texts]
        self._texts = [re.sub(r"(?m)^#.*\n", "", text).encode() for text in texts]

    def make(self, chance: random.Random) -> bytes:
        """Return an example or the file with every option, with something changed."""
        mutator = Mutator(chance, _WORDS)
        if chance.random() < 0.4:
            return mutator.raw(chance.choice(self._texts), self._texts)
        value = chance.choice((*self._values, self._values[-1], self._values[-1]))
        for _ in range(chance.choice((1, 1, 2, 3, 8))):
            value = mutator.value(value)
        return written(value).encode("utf-8", "surrogatepass")

    def judge(self, data: bytes) -> bool:
        """Check it as a file."""
        self._path.write_bytes(data)
        config = attempt(lambda: load_config(self._path, self._plugins), str(self._path))
        return config is not None


def written(value: Any) -> str:
    """Return values as TOML, tables inline; what TOML lacks is written as if it had it."""
    if not isinstance(value, dict):
        return _value(value)
    return "".join(f"{_key(key)} = {_value(item)}\n" for key, item in value.items())


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, str):
        # JSON's escapes are TOML's, too, but for halves of characters.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return str(value)


def _key(key: str) -> str:
    return json.dumps(key, ensure_ascii=False)
