"""What people do on the page, by mouse, by keys and on a phone, and what of it arrives in the catalog."""

import base64
import re

import pytest

from annlab.visual.interactions import read_interactions
from annlab.visual.judging import read_judgements
from tests.visual.page.conftest import opened, serving, until
from tests.visual.service.served import Served, new_drawing, png

pytestmark = pytest.mark.slow
DROP = """([target, kind, content]) => {
    const bytes = Uint8Array.from(atob(content), (sign) => sign.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], "mine.png", { type: "image/png" }));
    const how = { clipboardData: data, dataTransfer: data, bubbles: true, cancelable: true };
    const event = kind === "paste" ? new ClipboardEvent("paste", how) : new DragEvent(kind, how);
    document.querySelector(target).dispatchEvent(event);
}"""


def drop(page, content, kind="drop"):
    page.evaluate(DROP, ["main", kind, base64.b64encode(content).decode()])


def count(page):
    """How many results the heading says there are."""
    found = re.match(r"(\d+)", page.locator("#count").inner_text())
    return int(found[1]) if found else 0


def results(page):
    until(page, "/result|similar/.test(document.querySelector('#count').textContent)")
    return [int(id) for id in page.locator("#grid > li").evaluate_all("all => all.map(e => e.dataset.id)")]


def slide_to(page, share):
    """Move the cut-off to its beginning (0) or its end (1)."""
    page.locator("#cutoff").evaluate(
        "(e, v) => { e.value = v; e.dispatchEvent(new Event('input')); e.dispatchEvent(new Event('change')); }",
        1000 * share,
    )
    until(page, f"/cutoff={share}(&|$)/.test(location.search)")


def test_drop_see_cut_mark_click_and_back(page, photos):
    page.goto("/")
    page.wait_for_selector("#grid a.look")
    assert page.locator("#query").is_hidden() and page.get_by_label("Tag").is_visible()
    drop(page, png(new_drawing(3, 200)), "dragenter")
    assert page.locator("#drop").is_visible()
    drop(page, png(new_drawing(3, 200)))
    page.wait_for_url(re.compile(r"\?id=\d+$"))
    assert page.locator("#drop").is_hidden()
    slide_to(page, 0)
    until(page, "document.querySelectorAll('#grid > li').length > 20")
    every, first = results(page), page.url
    assert page.locator("#query-name").inner_text() == "Your picture"
    tile = page.locator("#grid > li").first
    assert re.search(r"\d+ %", tile.inner_text()) and "2026" in tile.locator("time").get_attribute("title")
    slide_to(page, 1)
    until(page, f"document.querySelectorAll('#grid > li').length < {len(every)}")
    assert count(page) < len(every)
    slide_to(page, 0)
    until(page, f"document.querySelectorAll('#grid > li').length === {len(every)}")

    page.get_by_role("button", name="Mark a part").click()
    area = page.locator("#picture").bounding_box()
    page.mouse.move(area["x"] + 5, area["y"] + 5)
    page.mouse.down()
    page.mouse.move(area["x"] + area["width"] / 2, area["y"] + area["height"] / 2, steps=3)
    page.mouse.up()
    page.wait_for_url(re.compile("box="))
    until(page, "document.querySelector('#query-name').textContent.startsWith('A part of')")
    left, top, right, bottom = (
        float(edge) for edge in re.search(r"box=([^&]+)", page.url)[1].replace("%2C", ",").split(",")
    )
    assert left < 0.1 and top < 0.1 and abs(right - 0.5) < 0.05 and abs(bottom - 0.5) < 0.05
    slide_to(page, 0)
    shown = results(page)
    page.locator(f"#grid a.look[data-id='{shown[1]}']").click()
    page.wait_for_url(re.compile(rf"\?id={shown[1]}$"))
    until(page, f"document.querySelector('#picture').src.includes('/{shown[1]}/')")
    page.go_back()
    page.wait_for_url(re.compile("box="))
    until(page, "document.querySelector('#query-name').textContent.startsWith('A part')")
    page.go_back()
    until(page, "document.querySelector('#query-name').textContent === 'Your picture'")
    assert page.url.split("?")[1].split("&")[0] == first.split("?")[1].split("&")[0]

    photos.service.impressions.wait_for(photos.service.impressions._last)
    every = read_interactions(photos.catalog)
    assert every.displayed_ids[every.clicked].tolist()[-1:] == [shown[1]]
    assert every.positions[every.clicked].tolist()[-1:] == [2]


def test_paste_pick_words_filters_and_dialogs(page, photos):
    page.goto("/")
    page.wait_for_selector("#grid a.look")
    drop(page, png(new_drawing(4, 200)), "paste")
    page.wait_for_url(re.compile(r"\?id=\d+$"))
    page.locator("#file").set_input_files({"name": "x.png", "mimeType": "image/png", "buffer": png(new_drawing(5))})
    until(page, "performance.getEntriesByType('resource').filter(e => e.name.includes('/api/search')).length >= 2")
    page.get_by_label("Search", exact=True).fill("odd")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("text=odd"))
    until(page, "document.querySelector('#notes').textContent.includes('tags')")  # the grid may still be the former one
    assert results(page)
    page.locator("#grid > li").first.hover()
    page.locator("#grid > li").first.get_by_role("button", name=re.compile("Why is")).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("Why is this here?").wait_for()
    assert dialog.locator(".way li").first.inner_text() != ""
    page.keyboard.press("Escape")
    page.goto(f"/?id={photos.ids[1]}&cutoff=0&tag=odd&order=time")
    assert results(page)
    tags = page.locator("#grid a.look").evaluate_all("all => all.map(e => e.getAttribute('aria-label'))")
    assert tags and all("odd" in tag for tag in tags)
    page.get_by_label("Order").select_option("relevance")
    page.wait_for_url(re.compile("order=relevance"))
    page.locator("#grid > li").nth(2).hover()
    page.locator("#grid > li").nth(2).get_by_role("button", name=re.compile("Less like")).click()
    page.wait_for_url(re.compile("unlike="))
    page.get_by_role("button", name=re.compile("not like image")).click()
    until(page, "!location.search.includes('unlike')")


def test_a_picture_is_added_and_deleted(page, photos):
    page.goto("/")
    page.wait_for_selector("#grid a.look")
    drop(page, png(new_drawing(61, 150)))
    page.get_by_role("button", name="Add to the collection").click()
    page.get_by_label("Tags, with commas").fill("added, lovely")
    page.get_by_role("button", name="Add", exact=True).click()
    until(page, "document.querySelector('#query-name').textContent.includes('lovely')")
    added = int(re.search(r"id=(\d+)", page.url)[1])
    assert photos.catalog.image(added).tags == ("added", "lovely")
    page.goto("/?text=lovely")
    assert results(page) == [added]
    page.locator("#grid > li").first.hover()
    page.locator("#grid > li").first.get_by_role("button", name=re.compile("Why is")).click()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete").click()
    until(page, "!document.querySelector('dialog').open")
    assert not photos.catalog.find(ids=[added])
    page.went_wrong.clear()  # the picture that is gone may be asked for once more


def test_all_of_it_by_keys(page, photos):
    page.goto("/")
    page.wait_for_selector("#grid a.look")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the results"
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("odd")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("text=odd"))
    results(page)
    page.locator("#grid a.look").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("?")
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Escape")
    chosen = page.evaluate("document.activeElement.dataset.id")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(rf"\?id={chosen}"))
    until(page, "document.activeElement.id === 'query-name'")
    for keys, button in (("+", None), (None, "also like"), ("?", "Search from here")):
        if keys:
            page.locator("#grid a.look").nth(1).focus()
            page.keyboard.press(keys)
        if button:
            page.get_by_role("button", name=re.compile(button)).focus()
            page.keyboard.press("Enter")
        until(page, "document.activeElement.id === 'query-name'")
    page.get_by_role("button", name="Mark a part").focus()
    page.keyboard.press("Enter")
    until(page, "document.activeElement.id === 'part'")
    for key in ("ArrowLeft", "Shift+ArrowRight", "Enter"):
        page.keyboard.press(key)
    page.wait_for_url(re.compile("box=0.230%2C0.250%2C0.750"))
    page.locator("#cutoff").focus()
    for key, cutoff in (("End", "1"), ("Home", "0"), ("End", "1")):
        page.keyboard.press(key)
        page.wait_for_url(re.compile(f"cutoff={cutoff}$"))
    until(page, "/Nothing is similar|^\\d+ result/.test(document.querySelector('#count').textContent)")


def test_a_pair_is_judged_blind_and_by_keys(page, photos):
    page.goto(f"/?id={photos.ids[1]}&view=judge")
    page.get_by_role("heading", name="How similar are these two?").wait_for()
    assert not re.search(r"\d %|\d\.\d\d", page.locator("#judging").inner_text())
    before = read_judgements(photos.catalog).grades.size
    page.keyboard.press("2")
    page.get_by_text("2 of").wait_for()
    page.get_by_role("button", name="The same thing").click()
    page.get_by_text("3 of").wait_for()
    judged = read_judgements(photos.catalog)
    assert judged.grades.size == before + 2 and sorted(judged.grades.tolist())[-2:] == [2, 3]
    page.keyboard.press("ArrowLeft")
    assert page.get_by_role("button", name="The same thing").get_attribute("aria-pressed") == "true"
    page.get_by_role("button", name="Judge").click()
    page.wait_for_selector("#grid a.look")


def test_the_engine_room_moves_with_its_knob(page, photos):
    page.goto(f"/?id={photos.ids[1]}&view=engines&kind=IVFIndex")
    page.locator(".card", has_text="Exact").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("kind=ExactIndex"))
    until(page, "document.querySelector('.knobs') && document.activeElement.dataset.kind === 'ExactIndex'")
    until(page, "document.querySelectorAll('#chart circle').length === 1")
    page.locator(".card", has_text="Inverted").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Build it").focus()
    page.keyboard.press("Enter")
    page.locator("[data-knob]").first.wait_for(timeout=60_000)
    assert page.evaluate("document.activeElement.dataset.kind") == "IVFIndex"  # the keys are not lost
    until(page, "document.querySelectorAll('#chart circle').length === 2")  # the exact one's, too
    page.locator("[data-knob]").first.focus()
    page.keyboard.press("End")
    until(page, "document.querySelectorAll('#chart circle').length > 2")
    until(page, "document.querySelector('#figures dd').textContent === '100.0 %'")
    assert "n_probes" in page.url


def test_the_page_works_on_a_phone(phone, photos):
    phone.goto("/")
    phone.wait_for_selector("#grid a.look")
    phone.locator("#grid a.look").nth(1).tap()
    phone.wait_for_url(re.compile(r"\?id=\d+"))
    results(phone)
    for address in (phone.url, "/?view=judge", f"/?id={photos.ids[1]}&view=engines"):
        phone.goto(address)
        phone.wait_for_load_state("networkidle")
        wide = phone.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{address} is {wide} pixels too wide"
    small = phone.locator("button:visible, a.button:visible, select:visible").evaluate_all(
        "all => all.filter(e => Math.min(e.offsetWidth, e.offsetHeight) < 24).map(e => e.outerHTML)"
    )
    assert small == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(scheme, browser, photos):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    size = {"width": 1280, "height": 900} if scheme == "light" else {"width": 390, "height": 844}
    options = {"viewport": size, "color_scheme": scheme, "bypass_csp": True}
    for page in opened(browser, photos.address, **options):
        for address in ("/", f"/?id={photos.ids[1]}&cutoff=0&like={photos.ids[3]}", "/?text=odd", "/?view=judge",
                        f"/?id={photos.ids[1]}&view=engines", "dialog"):  # fmt: skip
            if address == "dialog":
                page.locator("#grid a.look").first.focus()
                page.keyboard.press("?")
                page.locator(".way li").first.wait_for()
            else:
                page.goto(address)
            page.wait_for_load_state("networkidle")
            found = [each for each in axe.run(page).response["violations"] if each["impact"] in ("serious", "critical")]
            assert not found, [(address, each["id"], [n["html"] for n in each["nodes"]][:3]) for each in found]


def test_a_key_is_asked_for_and_kept(browser, tmp_path):
    served = Served(tmp_path)
    with serving(served.app) as address:
        for page in opened(browser, address):
            page.goto("/")
            field = page.get_by_label("Whoever runs this service")
            field.fill("not a key that anybody has")
            page.keyboard.press("Enter")
            page.get_by_role("alert").get_by_text("not known").wait_for()
            field.fill(served.keys["cleo"])
            page.keyboard.press("Enter")
            page.wait_for_selector("#grid a.look")
            assert page.get_by_role("button", name="Judge").is_hidden()  # a reader
            assert "annlab_key" not in page.evaluate("document.cookie")
            secret = set(served.private_of("anna") + served.private_of("ben"))
            assert not secret & {
                int(id) for id in page.locator("#grid > li").evaluate_all("a => a.map(e => e.dataset.id)")
            }
            page.went_wrong = [each for each in page.went_wrong if "401" not in each]
    served.close()


def test_what_goes_wrong_is_said(page, photos):
    page.goto("/?id=999999")
    page.get_by_role("alert").get_by_text("there is no image 999999").wait_for()
    page.goto("/")
    page.wait_for_selector("#grid a.look")
    drop(page, b"this is no picture")
    page.get_by_role("alert").get_by_text("not a readable image").wait_for()
    assert page.locator("#count").inner_text() == "Choose a picture to begin with"  # and not that it still looks
    page.goto("/?text=%21%21%21")
    page.get_by_role("alert").get_by_text("at least one letter").wait_for()
    assert page.locator("#count").inner_text() == "Nothing to show"
    assert not page.locator("#query, #filters").locator("visible=true").count()  # no card of a query that is none
    page.goto(f"/?id={photos.ids[1]}&cutoff=0")
    shown = results(page)
    page.context.set_offline(True)
    page.get_by_label("Order").select_option("time")
    page.get_by_role("alert").get_by_text("does not answer").wait_for()
    assert page.get_by_label("Order").is_visible() and page.locator("#grid > li").count() == len(shown)
    page.context.set_offline(False)
    page.get_by_label("Order").select_option("relevance")
    until(page, "document.querySelector('#news').hidden")
    page.went_wrong = [each for each in page.went_wrong if not re.search("400|404|415|ERR_INTERNET", each)]


def test_back_and_forward_lead_to_the_same_place_of_a_long_list(page, photos):
    page.route("**/page/main.js", lambda route: route.fulfill(response=(was := route.fetch()), body=was.text().replace(
        "const PAGE = 48", "const PAGE = 12")))  # fmt: skip
    page.set_viewport_size({"width": 700, "height": 300})
    page.goto(f"/?id={photos.ids[1]}&cutoff=0")
    until(page, "document.querySelectorAll('#grid > li').length >= 12")
    page.locator("#grid > li").last.scroll_into_view_if_needed()
    until(page, "document.querySelector('#more').hidden")
    every = len(results(page))
    assert every > 24 and count(page) == every
    last = page.locator("#grid a.look").last
    last.scroll_into_view_if_needed()
    id, place = last.get_attribute("data-id"), page.evaluate("scrollY")
    last.click()
    page.wait_for_url(re.compile(rf"\?id={id}$"))
    until(page, "scrollY < 100")
    until(page, "document.querySelectorAll('#grid > li').length >= 12 && document.querySelector('#picture').complete")
    page.mouse.wheel(0, 400)
    until(page, "history.state?.y >= 390")
    further = page.evaluate("scrollY")
    page.go_back()
    until(page, f"document.querySelectorAll('#grid > li').length === {every}")
    until(page, f"Math.abs(scrollY - {place}) < 50")
    page.go_forward()
    page.wait_for_url(re.compile(rf"\?id={id}$"))
    until(page, f"Math.abs(scrollY - {further}) < 50")


def test_the_next_page_belongs_to_the_question_that_is_shown(page, photos):
    """Also for whoever chooses a picture and scrolls on before its answer is there: nothing is refused or mixed."""
    page.route("**/page/main.js", lambda route: route.fulfill(response=(was := route.fetch()), body=was.text().replace(
        "const PAGE = 48", "const PAGE = 6")))  # fmt: skip
    page.set_viewport_size({"width": 700, "height": 300})
    page.goto(f"/?id={photos.ids[1]}&cutoff=0")
    until(page, "document.querySelectorAll('#grid > li').length >= 12")
    tile = page.locator("#grid a.look").nth(2)
    other, waiting, pages = tile.get_attribute("data-id"), [], []
    page.route(re.compile(rf"/api/search\?(?!.*cursor).*\bid={other}\b"), lambda route: waiting.append(route))
    page.on("request", lambda request: pages.append(request.url) if "cursor=" in request.url else None)
    tile.click()
    page.wait_for_url(re.compile(rf"id={other}"))
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    until(page, "document.querySelectorAll('#grid > li').length > 18 || document.querySelector('#more').hidden")
    assert pages and all(f"id={photos.ids[1]}&" in url and f"id={other}&" not in url for url in pages)
    waiting[0].continue_()
    until(page, f"document.querySelector('#picture').src.includes('/{other}/')")
    until(page, "document.querySelector('#more').hidden || document.querySelectorAll('#grid > li').length > 6")
    shown = results(page)
    assert len(shown) == len(set(shown)) and int(other) not in shown


def test_long_names_and_pictures_of_any_shape_fit_on_a_phone(phone, photos):
    id, others = photos.ids[1], photos.ids[3]
    before = photos.catalog.image(id).tags
    photos.catalog.change_image(
        id, tags=("x" * 60, "Donaudampfschifffahrtselektrizitätenhauptbetriebswerk", "words " * 9)
    )
    try:
        phone.goto(f"/?id={id}&cutoff=0")
        assert results(phone)
        phone.goto(f"/?id={others}&cutoff=0")
        phone.locator(f"#grid > li[data-id='{id}'] .deeds button").last.click()
        for element in ("html", "dialog"):
            width, inside = phone.locator(element).evaluate("e => [e.clientWidth, e.scrollWidth]")
            assert inside <= width + 1, element
        shapes = phone.locator("#grid .look").evaluate_all("all => all.map(e => e.offsetWidth - e.offsetHeight)")
        assert max(map(abs, shapes)) <= 1  # squares, whatever the pictures are
    finally:
        photos.catalog.change_image(id, tags=before)


def test_what_is_not_there_leaves_nothing_of_the_question_before(page, photos):
    page.goto(f"/?id={photos.ids[1]}&cutoff=0")
    assert results(page)
    page.evaluate("history.pushState({}, '', '/?id=987654'); dispatchEvent(new PopStateEvent('popstate'))")
    until(page, "!document.querySelector('#news').hidden")
    assert "987654" in page.locator("#news").inner_text()
    assert (
        not page.locator("#query, #filters").locator("visible=true").count() and not page.locator("#grid > li").count()
    )
    page.went_wrong.clear()  # the browser tells of the 404
    page.goto("/?text=nowheretobefound")
    until(page, "document.querySelector('#count').textContent === 'Nothing was found'")
    page.goto("/?text=odd&after=2031-01-01")
    until(page, "document.querySelector('#count').textContent === 'Nothing passes these filters'")


def test_an_empty_catalog_says_what_to_do(browser, tmp_path):
    served = Served(tmp_path, keys=False)
    served.catalog.mark_deleted(served.ids)
    with serving(served.app) as address:
        for page in opened(browser, address):
            page.goto("/")
            until(page, "document.querySelector('#count').textContent === 'There are no pictures yet'")
            assert "annlab index FOLDER" in page.locator("#notes").inner_text()
            assert not page.locator("#filters").is_visible()
            until(page, "document.querySelector('#text').placeholder === 'Drop, paste or pick a picture'")  # no tags
            page.goto("/?view=judge")
            until(page, "!document.querySelector('#news').hidden")
            assert page.locator("#judging").inner_text() == ""
            page.went_wrong.clear()
    served.close()
