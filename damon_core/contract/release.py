"""Giving back what parts took when they were made: the hook `release`, part by part."""

import logging
from collections.abc import Sequence

from damon_core.contract.implementations import marked
from damon_core.contract.registration import part_name
from damon_core.errors import one_line

logger = logging.getLogger(__name__)


def release_part(part: object) -> None:
    """Call `release` of a part if it implements it.

    Raises:
        BaseException: What it raises.
    """
    for attribute, hook, _ in marked(part):
        if hook == "release":
            getattr(part, attribute)()


def release_parts(parts: Sequence[object]) -> None:
    """Call `release` of the parts that implement it, the last first.

    One that raises is logged, and the others are released all the same.
    """
    for part in reversed(parts):
        try:
            release_part(part)
        except (Exception, SystemExit) as error:
            logger.error(
                "'%s' failed in release: %s", part_name(part), one_line(error), exc_info=error
            )
