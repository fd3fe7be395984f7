"""The page in a real Chromium: accessibility by axe, keyboard, no JavaScript, nothing from elsewhere."""

import itertools

import answers
import pytest
from browser import chromium, serving, violations
from pictures import drawn
from services import encoded
from stand_in import stand_in_app
from starlette.applications import Starlette
from starlette.routing import Mount

from fastmark.service.languages import LANGUAGES, language
from fastmark.service.problems import Problem, busy

LOCALES = {"en": "en-GB", "de": "de-DE", "fr": "fr-FR", "es": "es-ES", "zh": "zh-CN"}
WAYS = list(itertools.product(LANGUAGES, ("light", "dark"), (360, 1280)))
VERDICTS = list(answers._SPECIAL)
PICTURE = {
    "name": "private name.png",
    "mimeType": "image/png",
    "buffer": encoded(drawn(answers.HEIGHT // 8, answers.WIDTH // 8, 3), "PNG"),
}
WATCH = """
window.refused = [];
document.addEventListener("securitypolicyviolation", (event) => window.refused.push(event.violatedDirective));
"""
DROP = """
([type, bytes]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(bytes)], "private name.png", { type: "image/png" }));
  const event = type === "paste"
    ? new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true })
    : new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true });
  return document.body.dispatchEvent(event);
}
"""


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def site():
    app = stand_in_app(
        urls=True, feedback="us@example.org", contact="https://example.org/", max_bytes=5_000_000
    )
    with serving(app) as url:
        yield app.state.service, url


@pytest.fixture
def service(site):
    site[0].reset()
    return site[0]


@pytest.fixture
def visit(browser, site):
    """Opens pages where nothing moves; checks at the end what was complained of, asked for and kept."""
    contexts, requests, said, pages = [], [], [], []

    def open_page(path="/", *, url=site[1], **options):
        usual = {"viewport": {"width": 1280, "height": 800}, "locale": "en-GB", "reduced_motion": "reduce"}
        options = usual | options
        context = browser.new_context(**options)
        context.add_init_script(WATCH)
        context.on("request", lambda one: requests.append(one.url))
        page = context.new_page()
        page.on("console", lambda one: said.append(one.text))
        page.on("pageerror", lambda one: said.append(str(one)))
        contexts.append(context)
        pages.append((page, options.get("java_script_enabled", True), url))
        page.goto(url + path)
        return page

    yield open_page
    for page, scripts, url in pages:
        assert not scripts or page.evaluate("window.refused") == []
        assert all(one.startswith((url, "data:", "blob:")) for one in requests)
    assert [one for one in said if not one.startswith("Failed to load resource")] == []
    for context in contexts:
        assert context.cookies() == []
        context.close()


def choose(page, picture=PICTURE):
    """Choose an image, and wait for its answer."""
    page.evaluate("document.getElementById('answer').dataset.before = 'yes'")
    page.set_input_files("#file", picture)
    page.wait_for_selector("#answer:not([data-before]) #verdict")


def text(name, key, **values):
    return language(name).text(key, **values)


def overflow(page):
    """By how many pixels the page is wider than the window."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


# ---- accessibility ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", range(len(WAYS)))
def test_axe_finds_nothing(visit, service, way):
    name, scheme, width = WAYS[way]
    options = {
        "locale": LOCALES[name],
        "color_scheme": scheme,
        "viewport": {"width": width, "height": 800},
    }
    page = visit("/", **options)
    assert page.title() == text(name, "page.title")
    assert violations(page) == []
    verdict = VERDICTS[way % len(VERDICTS)]  # each in at least two ways
    service.verdict = verdict
    service.map = answers.map_url() if verdict.startswith("genuine") else None
    choose(page)
    assert page.inner_text("#verdict") == text(name, f"label.{verdict}")
    page.click("summary")
    assert violations(page) == []
    assert overflow(page) == 0
    service.problem = busy("More than 60 per 1 minute.", 9)
    choose(page)
    assert text(name, "error.429", seconds=9) in page.inner_text("#answer")
    assert violations(page) == []
    for path in (f"/i/{answers.ID}", f"/i/{answers.OTHER_ID}"):
        page = visit(path, **options)
        assert page.inner_text("h1") == text(name, "entry.title" if path.endswith("f") else "entry.unknown")
        assert violations(page) == []
        assert overflow(page) == 0


@pytest.mark.parametrize("name", LANGUAGES)
def test_nothing_is_cut_off_at_320_pixels(visit, service, name):
    page = visit(locale=LOCALES[name], viewport={"width": 320, "height": 640})
    assert overflow(page) == 0
    for verdict in VERDICTS:
        service.verdict, service.map = verdict, answers.map_url()
        choose(page)
        page.click("summary")
        assert overflow(page) == 0, verdict
    # text that is set twice as large has room too
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    assert overflow(page) == 0


def test_targets_are_large_enough(visit, service):
    service.verdict, service.map = "genuine and unchanged", answers.map_url()
    for width in (320, 1280):
        page = visit(viewport={"width": width, "height": 800})
        choose(page)
        page.wait_for_selector(".toggle:not([hidden])")
        small = page.evaluate(
            """() => Array.from(document.querySelectorAll("a, button, summary, label.toggle, .drop label"))
                .filter((one) => one.getClientRects().length && !one.matches("dd a, p a, .skip"))
                .map((one) => [one.className, one.textContent, one.getBoundingClientRect().height])
                .filter(([, , height]) => height < 44)"""
        )
        assert small == []


def test_forced_colors_and_less_motion(visit, service):
    page = visit(forced_colors="active")
    service.verdict, service.map = "genuine", answers.map_url()
    service.hold()
    page.set_input_files("#file", PICTURE)
    page.wait_for_selector("form[aria-busy]")
    assert (
        page.evaluate("getComputedStyle(document.getElementById('status'), '::before').animationName")
        == "none"
    )
    service.release()
    page.wait_for_selector("#verdict")
    assert violations(page) == []
    swatch = page.evaluate("getComputedStyle(document.querySelector('.swatch.carries')).backgroundColor")
    assert swatch == "rgb(0, 114, 178)"  # its colour is what it says


def test_the_keyboard_suffices(visit, service):
    service.verdict, service.map = "genuine, changed since", answers.map_url()
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["y"] >= 0
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    ring = page.evaluate("getComputedStyle(document.querySelector('.drop label')).outlineStyle")
    assert ring == "solid"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space")
    chooser.value.set_files(PICTURE)
    page.wait_for_selector(".toggle:not([hidden])")
    # whoever listens is told the answer: the focus is on its heading
    assert page.evaluate("document.activeElement.id") == "verdict"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "show-map"
    assert page.locator(".map").is_visible()
    page.keyboard.press("Space")
    assert not page.locator(".map").is_visible()
    for selector in ("dd a", "dd a", "a.button", "summary"):
        page.keyboard.press("Tab")
        assert page.evaluate(f"document.activeElement.matches({selector!r})"), selector
        style = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
        assert float(style.removesuffix("px")) >= 2
    page.keyboard.press("Enter")
    assert page.locator("pre").is_visible()


def test_the_live_region_says_that_the_image_is_being_checked(visit, service):
    service.hold()
    page = visit()
    status = page.locator("#status")
    assert status.get_attribute("role") == "status"
    page.set_input_files("#file", PICTURE)
    page.wait_for_selector("form[aria-busy]")
    assert status.inner_text() == text("en", "form.busy")
    service.release()
    page.wait_for_selector("#verdict")
    assert status.inner_text() == ""
    assert page.locator("form[aria-busy]").count() == 0


# ---- ways to bring an image ------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_images_are_dropped_and_pasted(visit, service, way):
    service.verdict, service.map = "genuine", answers.map_url()
    page = visit()
    given = list(PICTURE["buffer"])
    if way == "drop":
        page.evaluate(DROP, ["dragenter", given])
        assert page.locator(".drop.over").count() == 1
    assert page.evaluate(DROP, [way, given]) is False  # or the browser would open the file
    page.wait_for_selector("img.preview")
    assert page.locator(".drop.over").count() == 0
    assert page.inner_text("#verdict") == text("en", "label.genuine")
    assert page.inner_text("#form-heading") == text("en", "form.another")
    assert page.title().startswith(text("en", "label.genuine"))
    (body,) = service.bodies
    assert body.images == [PICTURE["buffer"]]


def test_the_name_of_the_file_does_not_leave_the_browser(visit, service):
    page = visit()
    choose(page)
    (body,) = service.raw
    assert PICTURE["buffer"] in body
    assert b"private name" not in body


def test_the_map_lies_over_the_image_cell_by_cell(visit, service):
    service.verdict, service.map = "genuine", answers.map_url()
    page = visit()
    choose(page)
    page.wait_for_selector("img.preview")
    image, cells = (page.locator(one).bounding_box() for one in ("img.preview", "img.map"))
    assert (cells["x"], cells["y"]) == (image["x"], image["y"])
    assert cells["width"] / image["width"] == pytest.approx(20 * answers.CELL / answers.WIDTH, abs=0.005)
    assert cells["height"] / image["height"] == pytest.approx(13 * answers.CELL / answers.HEIGHT, abs=0.005)
    assert page.get_attribute("img.preview", "alt") == text("en", "map.image")


def test_the_last_image_counts(visit, service):
    first = service.hold()
    page = visit()
    page.set_input_files("#file", PICTURE)
    while not service.n_held:
        page.wait_for_timeout(10)
    service.verdict, service.gate = "too weak to say", None  # the first is held still
    page.set_input_files("#file", PICTURE)
    page.wait_for_selector("#verdict")
    service.verdict = "genuine"  # for the first, whose answer would replace that of the second
    first.set()
    page.wait_for_timeout(600)
    assert page.inner_text("#verdict") == text("en", "label.too weak to say")


def test_addresses_are_sent_too(visit, service):
    page = visit()
    service.problem = Problem(502, "The URL was not fetched: no answer.")
    page.fill("#url", "https://example.org/image.png")
    page.keyboard.press("Enter")
    page.wait_for_selector(".tone-error")
    assert service.bodies[0].url == "https://example.org/image.png"


def test_errors_of_the_way_are_told(visit, service, site):
    page = visit(locale="de-DE")
    choose(page, PICTURE | {"buffer": bytes(5_000_001)})
    assert text("de", "error.413", size="4\N{NO-BREAK SPACE}MB") in page.inner_text("#answer")
    assert page.evaluate("document.activeElement.id") == "verdict"
    assert service.bodies == []  # nothing was sent
    page.context.set_offline(True)
    choose(page)
    assert text("de", "error.unreachable") in page.inner_text("#answer")
    assert violations(page) == []
    page.context.set_offline(False)
    page.route("**/*", lambda route: route.fulfill(status=502, body="bad gateway"))
    choose(page)
    assert text("de", "error.500") in page.inner_text("#answer")


# ---- without JavaScript, elsewhere, and for real ---------------------------------------------------------


def test_the_form_works_without_javascript(visit, service):
    service.verdict, service.map = "genuine and unchanged", answers.map_url()
    page = visit("/?lang=fr", java_script_enabled=False)
    page.set_input_files("#file", PICTURE)
    page.click(f"text={text('fr', 'form.submit')}")
    page.wait_for_selector("#verdict")
    assert page.url.endswith("/?lang=fr")
    assert page.inner_text("#verdict") == text("fr", "label.genuine and unchanged")
    assert page.title().startswith(text("fr", "label.genuine and unchanged"))
    assert page.locator("img.map").bounding_box()["width"] > 300
    assert not page.locator(".toggle").is_visible()
    assert text("fr", "map.share", share=63) in page.inner_text("figcaption")
    with page.expect_download() as download:
        page.click("a[download]")
    assert download.value.suggested_filename == "fastmark-report.jws"
    assert download.value.path().read_text() == "aaaa.bbbb.cccc"
    page.click(f"a >> text={answers.ID}")
    assert page.inner_text("h1") == text("fr", "entry.title")


def test_the_page_works_below_a_path(visit, browser):
    inner = stand_in_app()
    inner.state.service.verdict = "genuine"
    with serving(Starlette(routes=[Mount("/checks/images", inner)])) as url:
        page = visit("/", url=f"{url}/checks/images")
        assert page.evaluate("getComputedStyle(document.querySelector('.drop')).borderTopStyle") == "dashed"
        choose(page)
        assert page.inner_text("#verdict") == text("en", "label.genuine")
        page.click("text=Deutsch")
        assert page.url == f"{url}/checks/images/?lang=de"
        page.goto(f"{url}/checks/images/i/{answers.ID}?lang=de")
        page.click(f"text={text('de', 'entry.check')}")
        assert page.url == f"{url}/checks/images/?lang=de"


def test_a_real_service_answers(visit, server, house):
    page = visit("/", url=server.url, locale="de-DE")
    choose(page, {"name": "x.jpg", "mimeType": "image/jpeg", "buffer": house.marked})
    page.wait_for_selector("img.preview")
    assert page.inner_text("#verdict") == text("de", "label.genuine and unchanged")
    assert "registriert von Example Studio" in page.inner_text(".sentence")
    assert violations(page) == []
    with page.expect_download() as download:
        page.click("a[download]")
    assert len(download.value.path().read_text().split(".")) == 3
    page.click("dd a code")
    assert page.inner_text("h1") == text("de", "entry.title")
