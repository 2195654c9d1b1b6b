"""Which backend a primitive gets: the one that a person named, or the preferred one that works."""

from collections.abc import Mapping, Sequence

import pytest
from attrs import frozen

from damon_core import (
    AUTO,
    Backend,
    BackendOption,
    ConfigError,
    DamonError,
    Finding,
    PluginError,
    make_backend,
    preferred_backends,
)


@frozen
class Options:
    """The options of the backends here."""

    depth: int = 1


def backend(name: str, *, works: bool = True) -> Backend:
    """Return a backend that makes its own name and depth."""
    return Backend(
        name,
        lambda options: (name, options.depth),
        Options,
        serves=("space",),
        probe=lambda: (Finding("the kernel option", works, "CONFIG_SOMETHING"),),
    )


BACKENDS: Mapping[str, Backend] = {"best": backend("best", works=False), "good": backend("good")}


@pytest.mark.parametrize(
    ("wanted", "made"),
    [
        (AUTO, ("good", 1)),
        ({"use": "auto"}, ("good", 1)),
        ("good", ("good", 1)),
        ({"use": "good", "depth": 3}, ("good", 3)),
    ],
)
def test_a_backend_is_made_as_wanted(wanted: BackendOption, made: object) -> None:
    """A name is enough, a table takes options, "auto" passes over what doesn't work here."""
    assert make_backend("space", wanted, BACKENDS) == made


@pytest.mark.parametrize(
    ("wanted", "reported"),
    [
        ("best", r"doesn't work here: .*CONFIG_SOMETHING.*; what works here: good"),
        ("goood", "there is no backend 'goood'; did you mean 'good'"),
        ({"depth": 3}, "needs its name: use = "),
        ({"use": "auto", "depth": 3}, "'auto' takes no options of a backend: name the backend"),
    ],
)
def test_a_wrong_choice_is_explained(wanted: BackendOption, reported: str) -> None:
    """The primitive is named, and what to write instead."""
    with pytest.raises(PluginError, match=f"'space': .*{reported}"):
        make_backend("space", wanted, BACKENDS)


def test_wrong_options_are_told_with_their_path() -> None:
    """A backend's options are checked as all others are."""
    with pytest.raises(ConfigError, match=r"backend\.depht: unknown key; did you mean 'depth'"):
        make_backend("space", {"use": "good", "depht": 3}, BACKENDS)


def test_all_reasons_are_told_where_no_backend_works() -> None:
    """Whoever lets the choice be made learns why none was."""
    with pytest.raises(PluginError, match=r"no backend works here: best: .*CONFIG_SOMETHING"):
        make_backend("space", AUTO, {"best": BACKENDS["best"]})


@pytest.mark.parametrize("error", [RuntimeError("oops"), SystemExit("oops")], ids=repr)
def test_a_probe_that_fails_does_not_stop_others(error: BaseException) -> None:
    """A broken backend of one package leaves the others usable."""

    def broken() -> Sequence[Finding]:
        raise error

    bad = Backend("bad", Options, serves=("space",), probe=broken)
    assert make_backend("space", AUTO, {"bad": bad, "good": BACKENDS["good"]}) == ("good", 1)
    with pytest.raises(PluginError, match="no backend works here: bad: its probe failed"):
        make_backend("space", AUTO, {"bad": bad})


@pytest.mark.parametrize("error", [RuntimeError("oops"), SystemExit("oops")], ids=repr)
def test_a_factory_that_fails_is_named(error: BaseException) -> None:
    """Of primitive and backend it is the backend's."""

    def make(_: object) -> object:
        raise error

    bad = Backend("bad", make, serves=("space",))
    reason = f"^backend 'bad' fails: {type(error).__name__}: oops$"
    with pytest.raises(DamonError, match=reason):
        make_backend("space", "bad", {"bad": bad})


def test_a_probe_may_ask_for_which_primitive_it_is() -> None:
    """A backend that works for one primitive and not for another is chosen for the one alone."""

    def probe(primitive: str = "") -> Sequence[Finding]:
        return (Finding("an operation", primitive == "space", primitive),)

    picky = Backend("picky", lambda _: "picky", Options, serves=("space", "other"), probe=probe)
    assert make_backend("space", AUTO, {"picky": picky}) == "picky"
    with pytest.raises(PluginError, match=r"picky: an operation \(other\)"):
        make_backend("other", AUTO, {"picky": picky})


@pytest.mark.parametrize(
    ("wanted", "before"),
    [("last", ("good",)), ({"use": "last"}, ("good",)), ("good", ()), (AUTO, ())],
)
def test_what_is_preferred_to_the_wanted_one(
    wanted: BackendOption, before: tuple[str, ...]
) -> None:
    """What comes before it and works here; "auto" is what comes first already."""
    backends = {**BACKENDS, "last": backend("last"), "later": backend("later")}
    assert preferred_backends("space", wanted, backends) == before
