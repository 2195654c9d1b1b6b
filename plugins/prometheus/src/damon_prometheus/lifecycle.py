"""Reading the configuration again when a client asks for it."""

from http import HTTPStatus

from attrs import define

from damon_core import Reloader

#: How long a client may have to wait. It is cut off after 10 s.
_PATIENCE_S = 8.0


@define(eq=False)
class Lifecycle:
    """Answers requests to read the configuration again.

    Attributes:
        enabled: Whether clients may ask for it.
        reloader: Who does it; None where nobody can.
    """

    enabled: bool
    reloader: Reloader | None = None

    def reload(self) -> tuple[HTTPStatus, str]:
        """Have the configuration read again; return what to answer."""
        if not self.enabled:
            return HTTPStatus.FORBIDDEN, "reloading isn't enabled: reload = true enables it"
        if self.reloader is None:
            return HTTPStatus.NOT_IMPLEMENTED, "this program doesn't read its configuration again"
        try:
            problem = self.reloader.reload(_PATIENCE_S)
        except TimeoutError:
            return HTTPStatus.GATEWAY_TIMEOUT, "the configuration is still being read"
        if problem:
            return HTTPStatus.INTERNAL_SERVER_ERROR, problem
        return HTTPStatus.OK, "the configuration was read again, and is in force"
