"""Options as people write them become checked classes, or lines that say what is wrong."""

from datetime import date
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar, get_args

import attrs
import pytest
from attrs import field, frozen

from damon_core import Bytes, ConfigError, Microseconds, Problem, validators
from damon_core.errors import AttributeValueError
from damon_core.registry.options import nearest, structure

T = TypeVar("T")


@frozen
class Inner:
    number: int
    text: str = "text"


@frozen
class Options:
    """One field of each allowed type."""

    whole: int = 1
    real: float = 1.0
    flag: bool = False
    text: str = ""
    path: Path = Path("p")
    duration: Microseconds = field(default=Microseconds(1))
    size: Bytes = field(default=Bytes(1))
    choice: Literal["low", "high"] = "low"
    many: tuple[int, ...] = ()
    table: dict[str, Microseconds] = field(factory=dict)
    inner: Inner | None = None
    inners: tuple[Inner, ...] = ()
    either: int | str = 0
    auto: Microseconds | Literal["auto"] = "auto"


@frozen
class Nap:
    """Two durations, of which one depends on the other."""

    work: Microseconds = field(default=Microseconds(1), validator=validators.positive)
    rest: Microseconds = field(
        default=Microseconds(3_600_000_000),
        validator=validators.not_shorter_than("work", "the work"),
    )


@frozen
class Whole:
    """A class with keys of another beside its own ones."""

    nap: Nap = field(default=Nap(), metadata={"flat": True})
    times: int = field(default=1, metadata={"key": "how_often"})
    made_by: str = field(default="", metadata={"key": ""})


def mistakes(options: type, raw: object, path: str = "") -> list[str]:
    """Return the mistakes that are reported for options."""
    with pytest.raises(ConfigError) as caught:
        structure(options, raw, path)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [
        ("whole", 5, 5),
        ("real", 5, 5.0),
        ("real", 0.5, 0.5),
        ("flag", True, True),
        ("text", "x", "x"),
        ("path", "a/b", Path("a/b")),
        ("path", "~/b", Path.home() / "b"),
        ("path", Path("a"), Path("a")),
        ("duration", "5ms", 5_000),
        ("size", "64MiB", 64 << 20),
        ("size", 4096, 4096),
        ("choice", "high", "high"),
        ("many", [1, 2], (1, 2)),
        ("many", [], ()),
        ("table", {"a": "1s"}, {"a": 1_000_000}),
        ("inner", {"number": 1}, Inner(1, "text")),
        ("inner", None, None),
        ("inners", [{"number": 1}, {"number": 2, "text": ""}], (Inner(1), Inner(2, ""))),
        ("either", 1, 1),
        ("either", "one", "one"),
        ("auto", "auto", "auto"),
        ("auto", "2s", 2_000_000),
    ],
)
def test_values(name: str, raw: object, value: object) -> None:
    """Each allowed type takes what people write for it."""
    found = getattr(structure(Options, {name: raw}), name)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("whole", "5", "found '5', must be a whole number"),
        ("whole", 5.0, "found 5.0, must be a whole number"),
        ("whole", True, "found true, must be a whole number"),
        ("whole", date(2020, 1, 2), "found 2020-01-02, must be a whole number"),
        ("real", "0.5", "found '0.5', must be a finite number"),
        ("real", float("nan"), "found nan, must be a finite number"),
        ("real", float("inf"), "found inf, must be a finite number"),
        ("flag", 1, "found 1, must be true or false"),
        ("flag", "yes", "found 'yes', must be true or false"),
        ("text", 5, "found 5, must be a string"),
        ("path", 5, "found 5, must be a path"),
        ("path", "", "found '', must be a path"),
        ("path", "a\0b", "found 'a\\x00b', must be a path"),
        ("path", "~nobody-of-this-name/x", "found '~nobody-of-this-name/x', must be a path"),
        (
            "duration",
            5,
            "found 5, must be a duration: write a duration like '5ms', '1.5s' or '10m'",
        ),
        ("duration", "5x", "found '5x', write a duration like '5ms', '1.5s' or '10m'"),
        ("size", "5ms", "found '5ms', write a size like '4096', '64MiB' or '1.5GB'"),
        ("size", -1, "found -1, write a size like '4096', '64MiB' or '1.5GB'"),
        ("choice", "mid", "found 'mid', must be one of 'low', 'high'"),
        ("choice", ["low"], "found a list, must be one of 'low', 'high'"),
        ("many", 5, "found 5, must be a list"),
        ("many", {"a": 1}, "found a table, must be a list: in TOML, write [[…]] for each"),
        ("table", [1], "found a list, must be a table"),
        ("inner", "x", "found 'x', must be a table of number, text"),
        ("either", [1], "found a list, must be a whole number or a string"),
        (
            "auto",
            "5x",
            "found '5x', write a duration like '5ms', '1.5s' or '10m' or must be one of 'auto'",
        ),
    ],
)
def test_mistakes(name: str, raw: object, message: str) -> None:
    """Each mistake is reported with its path, what was found and what is allowed."""
    assert mistakes(Options, {name: raw}) == [f"{name}: {message}"]


def test_a_number_too_great_is_no_crash() -> None:
    """TOML has whole numbers of any length; not all are floats."""
    (message,) = mistakes(Options, {"real": 10**400})
    assert message.endswith(", must be a finite number")


def test_all_at_once_with_paths() -> None:
    """Mistakes at any depth are all reported, each with its whole path."""
    raw = {
        "whole": "x",
        "many": [1, "2", 3, None],
        "table": {"a": "1s", "b": 5},
        "inners": [{"number": 1}, {"number": "x", "txt": ""}, {}],
    }
    assert [line.split(": ")[0] for line in mistakes(Options, raw, "context[0].primitive")] == [
        "context[0].primitive.whole",
        "context[0].primitive.many[1]",
        "context[0].primitive.many[3]",
        "context[0].primitive.table.b",
        "context[0].primitive.inners[1].txt",
        "context[0].primitive.inners[1].number",
        "context[0].primitive.inners[2].number",
    ]


def test_unknown_key_with_the_nearest() -> None:
    """An unknown key is reported with the nearest known one."""
    assert mistakes(Options, {"durations": "1s"}) == [
        "durations: unknown key; did you mean 'duration'?"
    ]


def test_unknown_key_with_all_known() -> None:
    """A key unlike all others is reported with the known ones."""
    assert mistakes(Inner, {"number": 1, "zzz": 1}) == ["zzz: unknown key; known: number, text"]


def test_not_a_table() -> None:
    """Options are a table."""
    assert mistakes(Inner, 5) == ["found 5, must be a table of number, text"]


def test_defaults() -> None:
    """What isn't written has its default."""
    assert structure(Options, {}) == Options()


def test_missing_is_told_with_its_help() -> None:
    """A field that must be there is reported with its one line of help."""

    @frozen
    class Needs:
        path: Path = field(metadata={"help": "the file to write"})

    assert mistakes(Needs, {}) == ["path: is missing (the file to write)"]


class TestValidators:
    def test_several_fields_at_once(self) -> None:
        """Validators of all fields are asked, not only the first's."""

        @frozen
        class Two:
            a: int = field(validator=validators.positive)
            b: int = field(validator=validators.at_least(2))

        assert mistakes(Two, {"a": 0, "b": 0}) == [
            "a: found 0, must be above 0",
            "b: found 0, must be at least 2",
        ]

    def test_an_entry_of_a_list(self) -> None:
        """What is wrong with one entry is reported at its place."""

        @frozen
        class Many:
            pids: tuple[int, ...] = field(validator=validators.each(validators.positive))

        assert mistakes(Many, {"pids": [5, 0]}) == ["pids[1]: found 0, must be above 0"]

    @pytest.mark.parametrize(
        ("validator", "raw", "message"),
        [
            (attrs.validators.ge(3), 2, "found 2, 'x' must be >= 3: 2"),
            (attrs.validators.in_([1, 2]), 3, "found 3, 'x' must be in [1, 2] (got 3)"),
        ],
    )
    def test_of_attrs(self, validator: Any, raw: object, message: str) -> None:
        """What attrs's validators say follows what was found, in attrs's words."""
        cls = attrs.make_class("Made", {"x": field(type=int, validator=validator)}, frozen=True)
        assert mistakes(cls, {"x": raw}) == [f"x: {message}"]

    def test_own_words(self) -> None:
        """A validator's own words follow what was found."""

        def check(_instance: object, _attribute: object, value: int) -> None:
            if value % 2:
                raise ValueError("must be even: 2, 4, …")

        cls = attrs.make_class("Made", {"x": field(type=int, validator=check)}, frozen=True)
        assert mistakes(cls, {"x": 3}) == ["x: found 3, must be even: 2, 4, …"]

    def test_that_looks_at_other_fields(self) -> None:
        """A validator may use its instance, as attrs documents it."""

        @frozen
        class Span:
            low: int = 0
            high: int = field(default=1)

            @high.validator
            def _above_low(self, _attribute: object, value: int) -> None:
                if value < self.low:
                    raise ValueError(f"must not be below low ({self.low})")

        assert structure(Span, {"low": 1, "high": 2}) == Span(1, 2)
        assert mistakes(Span, {"low": 3, "high": 2}) == ["high: found 2, must not be below low (3)"]

    def test_that_looks_at_a_field_with_a_default(self) -> None:
        """A default that doesn't go with what was written is reported as such, with its key."""
        assert mistakes(Nap, {"work": "2h"}) == [
            "rest: is 1h by default, must not be shorter than the work (2h)"
        ]

    def test_that_looks_at_a_field_that_is_wrong_itself(self) -> None:
        """Nothing is compared with what is wrong: one mistake is reported once."""
        assert mistakes(Nap, {"work": "0s", "rest": "1s"}) == ["work: found '0s', must be above 0"]
        assert mistakes(Nap, {"work": 5, "rest": "1s"}) == [
            "work: found 5, must be a duration: write a duration like '5ms', '1.5s' or '10m'"
        ]

    def test_that_looks_at_a_later_field(self) -> None:
        """The order of the fields doesn't matter."""

        @frozen
        class Least:
            high: int = field(validator=validators.not_below("low"))
            low: int

        (line,) = mistakes(Least, {"high": 1, "low": 2})
        assert line == "high: found 1, must not be below low (2)"

    def test_that_fails_is_told_with_its_exception(self) -> None:
        """A validator that fails is reported with its place and what it raised."""

        def check(_instance: object, _attribute: object, value: int) -> None:
            raise KeyError(value)

        cls = attrs.make_class("Made", {"x": field(type=int, validator=check)}, frozen=True)
        assert mistakes(cls, {"x": 3}) == ["x: found 3, KeyError: 3"]

    def test_across_fields(self) -> None:
        """A check of the whole class is reported with the table's path."""

        @frozen
        class OneOf:
            a: int | None = None
            b: int | None = None

            def __attrs_post_init__(self) -> None:
                if (self.a is None) == (self.b is None):
                    raise ValueError("must have exactly one of a and b")

        assert mistakes(OneOf, {}, "here") == ["here: must have exactly one of a and b"]

    def test_attribute_value_errors_name_their_attribute(self) -> None:
        """An error that names an attribute is reported at that attribute's path."""

        @frozen
        class Range:
            low: int = 0
            high: int = 0

            def __attrs_post_init__(self) -> None:
                if self.high < self.low:
                    raise AttributeValueError("high", self.high, "must not be below low")

        assert mistakes(Range, {"low": 2, "high": 1}) == ["high: found 1, must not be below low"]


class TestKeys:
    def test_a_field_may_have_another_key(self) -> None:
        """`metadata={"key": …}` is what people write instead of the field's name."""
        assert structure(Whole, {"how_often": 3}).times == 3
        assert mistakes(Whole, {"times": 3}) == ["times: unknown key; known: how_often, rest, work"]

    def test_an_empty_key_is_not_written(self) -> None:
        """A field that only programs set is no key."""
        assert mistakes(Whole, {"": 3}) == ["unknown key; known: how_often, rest, work"]
        assert mistakes(Whole, {"made_by": ""})[0].startswith("made_by: unknown key")

    def test_keys_of_a_flat_field(self) -> None:
        """They stand beside the others, and what isn't written has its default."""
        found = structure(Whole, {"rest": "2h", "how_often": 2})
        assert found == Whole(Nap(Microseconds(1), Microseconds(7_200_000_000)), 2)

    def test_mistakes_of_a_flat_field(self) -> None:
        """They are reported with the others, at keys without another level."""
        raw = {"work": "2h", "how_often": "x"}
        assert mistakes(Whole, raw, "here") == [
            "here.rest: is 1h by default, must not be shorter than the work (2h)",
            "here.how_often: found 'x', must be a whole number",
        ]

    def test_a_plain_number_may_be_written_as_a_duration(self) -> None:
        """`Annotated[int, Microseconds]` is an int in code and a duration for people."""

        @frozen
        class Plain:
            wait_us: Annotated[int, Microseconds] = 5

        assert structure(Plain, {"wait_us": "5ms"}) == Plain(5_000)
        assert mistakes(Plain, {"wait_us": 5})[0].startswith("wait_us: found 5, must be a duration")

    def test_hooks_make_values_of_their_class(self) -> None:
        """A hook is given the whole type, and its mistakes have the path of its value."""

        @frozen
        class Holder:
            box: Box[int]

        def make(raw: object, cls: Any) -> Box[int]:
            if raw == 0:
                raise ConfigError("", [Problem("inside", "is empty")])
            return Box((raw, get_args(cls)))

        assert structure(Holder, {"box": 1}, hooks={Box: make}).box == Box((1, (int,)))
        with pytest.raises(ConfigError, match=r"^options: box\.inside: is empty$"):
            structure(Holder, {"box": 0}, hooks={Box: make})


@frozen
class Box(Generic[T]):
    """What `structure` alone knows nothing of."""

    content: object


class TestFieldsOfAttrs:
    def test_private_fields_go_by_their_alias(self) -> None:
        """A private field has the name that the class's constructor gives it."""

        @frozen
        class Private:
            _x: int = 0

        assert structure(Private, {"x": 2}) == Private(x=2)

    def test_fields_without_init_are_unknown(self) -> None:
        """What can't be given to the class can't be written either."""

        @frozen
        class Derived:
            a: int = 0
            b: int = field(default=1, init=False)

        assert mistakes(Derived, {"b": 2}) == ["b: unknown key; known: a"]


def test_the_error_tells_source_and_problems() -> None:
    """For programs: where it was read from, and each mistake on its own."""
    with pytest.raises(ConfigError) as caught:
        structure(Inner, {}, "inner", source="file.toml")
    assert caught.value.source == "file.toml"
    assert caught.value.problems == (Problem("inner.number", "is missing"),)
    assert caught.value.message == "file.toml: inner.number: is missing"


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("vadr", ["vaddr", "sim"], "did you mean 'vaddr'?"),
        ("x", ["vaddr", "sim"], "known: sim, vaddr"),
        ("x", [], "none is known"),
    ],
)
def test_nearest(name: str, known: list[str], hint: str) -> None:
    """The nearest name if one is near, else all there are."""
    assert nearest(name, known) == hint
