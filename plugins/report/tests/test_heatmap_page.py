"""The heat map's page in a real browser: zoom, pointer, selection, keys."""

import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damon_report.heatmap.caption import Caption
from damon_report.heatmap.grid import heat_of
from damon_report.heatmap.layout import lay_out
from damon_report.heatmap.page import COLUMNS, ROOM, page
from damon_report.heatmap.places import Survey
from matplotlib.image import imread
from playwright.sync_api import Browser, FloatRect, Locator, Page, sync_playwright

from damon_core import Area, Snapshot

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.slow]

MIB = 1 << 20
SECOND_US = 1_000_000
BEGIN_US = 1_700_000_000 * SECOND_US
#: Pixels of the map at the sides of its cells.
LEFT, RIGHT = 250, 112

AREAS = (
    Area(0x5000_0000_0000, 0x5000_0000_0000 + 64 * MIB, "[heap]"),
    Area(0x7F00_0000_0000, 0x7F00_0000_0000 + 64 * MIB, "/usr/lib/lib<script>.so"),
)
HEAP_START = AREAS[0].start // MIB
LIBRARY_START = AREAS[1].start // MIB


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return Debian's Chromium, without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        yield browser
        browser.close()


class Shown:
    """A page in the browser.

    Args:
        page: The page.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.map = page.locator("#map")

    def box(self) -> FloatRect:
        """Return the position and size of the map."""
        box = self.map.bounding_box()
        assert box is not None
        return box

    def place(self, time: float, height: float) -> tuple[int, int]:
        """Return the pixel at shares of the time (from the left) and the height (from the top)."""
        box = self.box()
        width = box["width"] - LEFT - RIGHT
        # Whole pixels: wheel events have no others.
        return round(box["x"] + LEFT + time * width), round(box["y"] + height * box["height"])

    def point(self, time: float, height: float) -> None:
        """Move the pointer."""
        self.page.mouse.move(*self.place(time, height))

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag from one place to another."""
        self.point(*start)
        self.page.mouse.down()
        self.page.mouse.move(*self.place(*end), steps=4)
        self.page.mouse.up()

    def details(self, name: str) -> dict[str, str]:
        """Return the names and texts of a list of the page."""
        rows: list[list[str]] = self.page.locator(f"#{name}").evaluate(
            "list => [...list.querySelectorAll('dt')].map("
            "dt => [dt.textContent, dt.nextElementSibling.textContent])"
        )
        return dict(rows)

    def view(self) -> str:
        """Return the page's description of its view, once the page is drawn."""
        self.page.evaluate(
            "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )
        return self.page.locator("#view").inner_text()

    def colour(self, time: float, height: float) -> str:
        """Return the colour of the map at a place."""
        x, y = self.place(time, height)
        clip: FloatRect = {"x": x, "y": y, "width": 1, "height": 1}
        pixel = imread(io.BytesIO(self.page.screenshot(clip=clip)))[0, 0, :3]
        return "#" + bytes((pixel * 255).round().astype(np.uint8)).hex()

    def button(self, name: str) -> Locator:
        """Return a button by its text."""
        return self.page.get_by_role("button", name=name, exact=True)


def html(snapshots: list[Snapshot], dark: bool = False) -> str:
    """Return the page of some aggregations."""
    begin_us = snapshots[0].time_us - snapshots[0].elapsed_us
    end_us = snapshots[-1].time_us
    survey = Survey(end_us - begin_us)
    for each in snapshots:
        survey.add(each)
    layout = lay_out(survey.places(), ROOM)
    heat = heat_of(snapshots, layout, begin_us, end_us, COLUMNS)
    caption = Caption("a<b>[7]", ("one </script> line", "another"))
    return page(heat, caption, [Path("my record.parquet")], begin_us - 5 * SECOND_US, dark=dark)


@pytest.fixture
def snapshots(snapshot: Callable[..., Snapshot]) -> list[Snapshot]:
    """Return ten seconds: half of the heap is hot for the first five, the library never."""
    return [
        snapshot(
            number,
            {
                "a[7]": [
                    (HEAP_START, HEAP_START + 32, 10 if number <= 5 else 0),
                    (HEAP_START + 32, HEAP_START + 64, 0),
                    (LIBRARY_START, LIBRARY_START + 64, 0),
                ]
            },
            areas={"a[7]": AREAS},
        )
        for number in range(1, 11)
    ]


Open = Callable[..., Shown]


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Return a function that opens a page, which must neither fail nor use the network."""
    contexts = []
    problems: list[str] = []

    def open_page(text: str, **options: Any) -> Shown:
        path = tmp_path / "heat.html"
        path.write_text(text, encoding="utf-8")
        context = browser.new_context(viewport={"width": 1280, "height": 860}, **options)
        contexts.append(context)
        shown = context.new_page()
        shown.on("pageerror", lambda error: problems.append(str(error)))
        shown.on("console", lambda message: problems.append(message.text))
        shown.on(
            "request",
            lambda request: (
                None
                if request.url == path.as_uri() or request.url.startswith("data:")
                else problems.append(request.url)
            ),
        )
        shown.goto(path.as_uri())
        if options.get("java_script_enabled", True):
            shown.locator("main").wait_for(state="visible")
        return Shown(shown)

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    """Return a cache of pages that several tests open."""
    return {}


@pytest.fixture
def shown(opened: Open, snapshots: list[Snapshot], made: dict[str, str]) -> Shown:
    """Return the page of the ten seconds."""
    if "ten seconds" not in made:
        made["ten seconds"] = html(snapshots)
    return opened(made["ten seconds"])


class TestWhatIsShown:
    def test_colours_are_those_of_the_cells(self, shown: Shown) -> None:
        """The hot half of the heap is bright for half of the time, at the bottom."""
        assert shown.colour(0.2, 0.9) == "#fcffa4"
        assert shown.colour(0.8, 0.9) == "#100e22"
        assert shown.colour(0.2, 0.6) == "#100e22"

    def test_texts_of_a_record_are_escaped(self, shown: Shown) -> None:
        """Titles, lines and names are shown literally."""
        assert shown.page.get_by_role("heading", level=1).inner_text() == "a<b>[7]"
        assert "one </script> line" in shown.page.locator("header").inner_text()
        shown.point(0.2, 0.2)
        assert shown.details("hover")["mapping"] == "/usr/lib/lib<script>.so"

    def test_cells_without_data_are_grey(
        self, opened: Open, snapshot: Callable[..., Snapshot]
    ) -> None:
        """Before a mapping exists, its cells are neither cold nor hot."""
        first = snapshot(1, {"a": [(0, 4, 0)]}, areas={"a": (Area(0, 4 * MIB, "x"),)})
        both = (Area(0, 4 * MIB, "x"), Area(8 * MIB, 12 * MIB, "y"))
        second = snapshot(2, {"a": [(0, 4, 0), (8, 12, 10)]}, areas={"a": both})
        shown = opened(html([first, second]))
        assert shown.colour(0.2, 0.2) == "#e3e5ea"
        assert shown.colour(0.7, 0.2) == "#fcffa4"
        shown.point(0.2, 0.2)
        assert shown.details("hover")["accessed"].startswith("no data")

    def test_many_targets(self, opened: Open, snapshot: Callable[..., Snapshot]) -> None:
        """The hottest of 300 targets have their own bands, the others share one."""
        targets = {f"worker[{i}]": [(0, 4, 10 if i == 42 else 0)] for i in range(300)}
        shown = opened(html([snapshot(1, targets)]))
        shown.point(0.5, 0.01)
        assert shown.details("hover")["target"] == "worker[42]"
        shown.point(0.5, 0.99)
        assert re.match(r"worker\[\d+\], worker\[\d+\]", shown.details("hover")["target"])


class TestPointer:
    def test_hover(self, shown: Shown) -> None:
        """Pointing at a cell shows its time, addresses, mapping, target, frequency and bytes."""
        shown.point(0.2505, 0.9)
        found = shown.details("hover")
        assert found["time"].startswith("2.5")
        assert "2023-11-14 22:13:22" in found["time"]
        start, end = (int(address, 16) for address in found["addresses"].split()[0].split("-"))
        assert AREAS[0].start <= start < end <= AREAS[0].start + 32 * MIB
        assert found["mapping"] == "[heap]"
        assert found["target"] == "a[7]"
        assert found["accessed"] == "in 100.0 % of the checks"
        size = found["addresses"].partition("(")[2].rstrip(")")
        assert found["bytes"] == f"{size} in memory, {size} of it accessed in an aggregation"

    def test_cold_cells(self, shown: Shown) -> None:
        """A cell that was never accessed shows 0 %."""
        shown.point(0.75, 0.9)
        assert shown.details("hover")["accessed"] == "in 0 % of the checks"

    def test_wheel(self, shown: Shown) -> None:
        """The wheel zooms in at the pointer, and out again."""
        assert shown.view() == "all: 10.0 s, 128 MiB"
        shown.point(0.2505, 0.9)
        before = shown.details("hover")
        shown.page.mouse.wheel(0, -200)
        shown.page.mouse.wheel(0, -200)
        # The hot end of the heap is near the pointer, and now further from it than before.
        assert re.match(r"1.3\d s to 5.8\d s, 45 %", shown.view())
        shown.point(0.2505, 0.9)
        assert shown.details("hover") == before
        assert shown.colour(0.95, 0.9) == "#100e22"
        assert shown.colour(0.7, 0.9) == "#fcffa4"
        for _ in range(10):
            shown.page.mouse.wheel(0, 200)
        assert shown.view().startswith("all: ")

    @pytest.mark.parametrize(
        ("key", "expected"), [("Control", r"s, 100 %"), ("Alt", r"^0 µs to 10\.0 s, 67 %")]
    )
    def test_wheel_with_keys(self, shown: Shown, key: str, expected: str) -> None:
        """With Ctrl only the time is zoomed, with Alt only addresses."""
        shown.point(0.5, 0.5)
        shown.page.keyboard.down(key)
        shown.page.mouse.wheel(0, -200)
        shown.page.keyboard.up(key)
        assert re.search(expected, shown.view())

    def test_drag_selects(self, shown: Shown) -> None:
        """A selection shows working set and idle memory of a time and of addresses."""
        shown.drag((0.2, 0.001), (0.6993, 0.999))
        found = shown.details("selection")
        assert found["time"] == "2.00 s to 7.00 s (5.00 s)"
        assert found["addresses"] == "500000000000-7f0004000000, 128 MiB of them mapped"
        assert found["mappings"] == "lib<script>.so, [heap]"
        # For three of five seconds 32 MiB are accessed.
        assert found["working set"] == "19.2 MiB on average, 32.0 MiB at most"
        assert found["idle all the time"] == "96.0 MiB of 128 MiB in memory"
        assert found["accessed"] == "in 15.0 % of the checks, on average"

    def test_a_part_is_selected(self, shown: Shown) -> None:
        """Only memory in the selection counts; the command shows the selection in full detail."""
        shown.drag((0.6006, 0.01), (0.8999, 0.4))
        found = shown.details("selection")
        assert found["mappings"] == "lib<script>.so"
        assert found["working set"] == "0 B on average, 0 B at most"
        command = shown.page.locator("#command").inner_text()
        # The record began five seconds before the shown time.
        assert command.startswith(
            "damon report heatmap 'my record.parquet' --from 11s --to 14s --target 'a[7]' "
            "--address 7f00"
        )
        shown.button("Clear").click()
        assert list(shown.details("selection")) == [""]
        assert not shown.page.locator("#command").is_visible()

    def test_drag_with_shift_zooms(self, shown: Shown) -> None:
        """The view becomes the dragged rectangle."""
        shown.page.keyboard.down("Shift")
        shown.drag((0.2, 0.6), (0.3999, 0.9))
        shown.page.keyboard.up("Shift")
        assert re.match(r"2.00 s to 4.00 s, (29|30|31) %", shown.view())
        assert list(shown.details("selection")) == [""]

    def test_drag_moves(self, shown: Shown) -> None:
        """With "Drag to move", dragging moves the view and selects nothing."""
        shown.point(0.5, 0.5)
        shown.button("Zoom in").click()
        assert shown.view().startswith("2.50 s to 7.50 s")
        shown.button("Drag to move").click()
        shown.drag((0.5, 0.5), (0.7, 0.5))
        assert shown.view().startswith("1.50 s to 6.50 s")
        assert list(shown.details("selection")) == [""]

    def test_double_click_zooms_to_the_selection(self, shown: Shown) -> None:
        """A double click does the same as the button."""
        shown.drag((0.2, 0.6), (0.3999, 0.9))
        shown.button("Zoom to it").click()
        assert shown.view().startswith("2.00 s to 4.00 s")
        shown.button("Show all").click()
        assert shown.view().startswith("all: ")


class TestKeys:
    def test_arrows_move_the_cursor(self, shown: Shown) -> None:
        """The cursor starts in the middle; its cell is described like the one under the pointer."""
        shown.map.focus()
        for _ in range(3):
            shown.page.keyboard.press("ArrowRight")
        first = shown.details("hover")
        assert first["mapping"] in ("[heap]", AREAS[1].name)
        for _ in range(20):
            shown.page.keyboard.press("ArrowDown")
        for _ in range(30):
            shown.page.keyboard.press("ArrowLeft")
        found = shown.details("hover")
        assert found["mapping"] == "[heap]"
        assert found["time"] < first["time"]

    def test_shift_and_arrows_select(self, shown: Shown) -> None:
        """Keys select without a pointer; Enter zooms, Escape clears, 0 shows all."""
        shown.map.focus()
        shown.page.keyboard.press("ArrowLeft")
        for _ in range(9):
            shown.page.keyboard.press("Shift+ArrowLeft")
            shown.page.keyboard.press("Shift+ArrowDown")
        found = shown.details("selection")
        assert re.fullmatch(r"4\.\d\d s to 5\.\d\d s \(.*\)", found["time"])
        shown.page.keyboard.press("Enter")
        assert re.match(r"4\.\d\d s to 5\.\d\d s, \d+ %", shown.view())
        shown.page.keyboard.press("Escape")
        assert list(shown.details("selection")) == [""]
        shown.page.keyboard.press("0")
        assert shown.view().startswith("all: ")

    def test_plus_and_minus_zoom(self, shown: Shown) -> None:
        """Without a cursor the keys zoom at the middle."""
        shown.map.focus()
        shown.page.keyboard.press("+")
        assert shown.view().startswith("2.50 s to 7.50 s, 50 %")
        shown.page.keyboard.press("-")
        assert shown.view().startswith("all: ")


class TestStyles:
    @pytest.mark.parametrize(
        ("scheme", "background"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(31, 33, 41)")]
    )
    def test_the_browser_chooses_light_or_dark(
        self, opened: Open, snapshots: list[Snapshot], scheme: str, background: str
    ) -> None:
        """The page follows the browser's preference, and the button changes it."""
        shown = opened(html(snapshots), color_scheme=scheme)
        style = "() => getComputedStyle(document.body).backgroundColor"
        assert shown.page.evaluate(style) == background
        shown.button("Light / dark").click()
        assert shown.page.evaluate(style) != background

    def test_dark_from_the_start(self, opened: Open, snapshots: list[Snapshot]) -> None:
        """The command can choose dark."""
        shown = opened(html(snapshots, dark=True), color_scheme="light")
        style = "() => getComputedStyle(document.body).backgroundColor"
        assert shown.page.evaluate(style) == "rgb(31, 33, 41)"

    def test_without_scripts_there_is_a_picture(
        self, opened: Open, snapshots: list[Snapshot]
    ) -> None:
        """The picture is static, and has a text for those who can't see it."""
        shown = opened(html(snapshots), java_script_enabled=False)
        picture = shown.page.get_by_role("img", name="Heat map: time across, addresses up.")
        box = picture.bounding_box()
        assert box is not None
        assert box["width"] > 1_000

    def test_the_map_has_an_accessible_name(self, shown: Shown) -> None:
        """The map has a name and a description."""
        application = shown.page.get_by_role("application")
        assert application.get_attribute("aria-label") == (
            "Heat map of a<b>[7]: time across, addresses up. one </script> line. another."
        )
        assert shown.page.locator("#help").is_visible()


def test_the_command_writes_the_page(
    reports: Any, snapshots: list[Snapshot], tmp_path: Path
) -> None:
    """The page is one complete file, and its data is valid JSON."""
    path = tmp_path / "heat.html"
    done = reports.run("heatmap", reports.add("ten", snapshots), "-o", str(path))
    assert done.exit_code == 0, done.output
    found = re.search(
        r'<script id="data" type="application/json">(.*?)</script>', path.read_text(), re.DOTALL
    )
    assert found is not None
    data = json.loads(found[1])
    assert data["columns"] == COLUMNS
    assert (
        np.sum([band["rows"] for group in data["groups"] for band in group["bands"]])
        == (data["rows"])
    )


def test_no_frame_has_the_pixels_of_another_size(opened: Open, snapshots: list[Snapshot]) -> None:
    """They would be distorted: what comes after a change of size and before it is painted."""
    shown = opened(html(snapshots))
    # Called after the page's own, before the same frame is painted.
    seen = shown.page.evaluate_handle(
        """() => {
            const seen = [], map = document.getElementById("map");
            new ResizeObserver(() => {
                const box = map.getBoundingClientRect();
                seen.push([map.width, Math.round(box.width * devicePixelRatio)]);
            }).observe(document.getElementById("plot"));
            return seen;
        }"""
    )
    for width in (600, 1000, 700):
        shown.page.set_viewport_size({"width": width, "height": 900})
        shown.view()
    sizes = seen.json_value()
    assert len({drawn for drawn, _ in sizes}) > 1
    assert all(drawn == box for drawn, box in sizes)


def test_a_narrow_page_shows_more_map_than_names(opened: Open, snapshots: list[Snapshot]) -> None:
    """As on a phone: its middle is a cell of the first half."""
    shown = opened(html(snapshots))
    shown.page.set_viewport_size({"width": 400, "height": 900})
    shown.view()
    box = shown.box()
    shown.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20)
    assert shown.details("hover")["mapping"] == "/usr/lib/lib<script>.so"
