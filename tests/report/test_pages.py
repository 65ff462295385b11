"""The pages in headless Chromium: no errors, self-contained, usable on a phone and with a keyboard."""

import shutil

import pytest

from src.claims import verdicts
from src.claims.results import Verdict
from src.report import compare, index_page, paper_page
from src.report.figures import style
from src.results import store
from tests import chromium, fabricated

pytestmark = pytest.mark.skipif(chromium.BINARY is None, reason="no Chromium here")
CLAIMS = sum(not claim.check for claim in verdicts.load(1))
SHOWN = "[...document.querySelector('table.claims').tBodies].filter(b => b.offsetHeight).map(b => b.id)"


@pytest.fixture(scope="module")
def one_picture():
    """The first figure is the picture of all others, too: rendering takes most of the time."""
    save, saved = style.save, []

    def copied(figure, stem):
        if not saved:
            saved.extend(save(figure, stem))
            return tuple(saved)
        return tuple(shutil.copyfile(file, stem.with_suffix(file.suffix)) for file in saved)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(style, "save", copied)
        yield


@pytest.fixture(scope="module")
def pages(tmp_path_factory, one_picture):
    """Return an index, a report and a comparison, by name."""
    outputs = tmp_path_factory.mktemp("outputs")
    cells = fabricated.paper1(outputs)
    frames = fabricated.frames(cells)
    judged = verdicts.judge(verdicts.load(1), frames)
    judged[3] = judged[3].model_copy(update={"verdict": Verdict.CONTRADICTED, "reason": "for the sake of the test"})
    commands = {name: f"python -m src.run +experiment={name} 'seeds=[0,1,2]' data.k={'8,' * 40}16" for name in cells}
    folder = outputs / "reports" / "paper1"
    report = paper_page.build(1, folder, frames, cells, commands, judged)
    shutil.copytree(folder, outputs / "reports" / "paper1-other")
    front = index_page.write(outputs)
    other = outputs / "reports" / "paper1-other"
    again = judged[3].model_copy(update={"verdict": Verdict.REPRODUCED})
    store.write_json(other / "claims.json", paper_page.plain([again, *judged[:3], *judged[4:]]))
    compare.write(f"{folder},{other}", outputs / "reports" / "compared.html")
    return {"index": front, "report": report.page, "compared": outputs / "reports" / "compared.html"}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with chromium.browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(autouse=True)
def quiet(page):
    page.troubles.clear()
    yield
    assert page.troubles == []


@pytest.mark.parametrize("name", ["index", "report", "compared"])
@pytest.mark.parametrize(("width", "dark"), [(390, True), (1200, False)])
def test_a_page_fits_its_window_and_asks_for_nothing_outside(pages, page, name, width, dark):
    page.open(pages[name], width, 844, dark)
    page.run("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert page.run("document.documentElement.scrollWidth") <= width
    assert {address.split(":")[0] for address in page.requests} <= {"file", "data"}
    assert [address for address in page.requests if address.startswith("file")] == [pages[name].resolve().as_uri()]
    assert page.run("[...document.images].every(image => image.complete && image.naturalWidth > 0 && image.alt)")


@pytest.mark.parametrize("name", ["index", "report"])
def test_text_stands_out_from_its_ground_in_both_schemes(pages, page, name):
    """Every text has a contrast of at least 4.5 to 1 (WCAG AA)."""
    script = """(() => {
        const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
            .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126*r + .7152*g + .0722*b; };
        const ground = light(getComputedStyle(document.body).backgroundColor);
        return Math.min(...[...document.querySelectorAll('body *')].filter(e => e.innerText?.trim()).map(e => {
            const ink = light(getComputedStyle(e).color);
            return (Math.max(ink, ground) + .05) / (Math.min(ink, ground) + .05); }));
    })()"""
    for dark in (False, True):
        page.open(pages[name], dark=dark)
        assert page.run(script) >= 4.5


def test_claims_are_filtered_by_verdict_and_text_and_shown_again(pages, page):
    page.open(pages["report"])
    texts = page.run(SHOWN)
    assert len(texts) == CLAIMS
    page.run("document.querySelector('[name=verdict][value=reproduced]').click()")
    assert page.run(SHOWN) == ["P1-C4"]
    assert page.run("document.getElementById('shown').textContent") == f"1 of {len(texts)} claims shown"
    page.run("document.querySelector('[type=reset]').click(); new Promise(done => setTimeout(done, 50))")
    assert page.run(SHOWN) == texts
    page.run("document.querySelector('[name=words]').focus()")
    page.call("Input.insertText", {"text": "ROOT of the DIMENSION"})
    assert page.run(SHOWN) == ["P1-C3"]


def test_claims_are_sorted_worst_first_and_back(pages, page):
    page.open(pages["index"])
    order = page.run(SHOWN)
    choose = "(o => {{ o.value = '{}'; o.dispatchEvent(new Event('input', {{bubbles: true}})); }})"
    choose += "(document.querySelector('[name=order]'))"
    page.run(choose.format("verdict"))
    assert page.run(SHOWN) == ["P1-C4", *(claim for claim in order if claim != "P1-C4")]
    page.run(choose.format("paper"))
    assert page.run(SHOWN) == order


def test_what_moved_comes_first(pages, page):
    page.open(pages["compared"])
    page.run("""(o => { o.value = 'moved'; o.dispatchEvent(new Event('input', {bubbles: true})); })
        (document.querySelector('[name=order]'))""")
    moved = page.run("[...document.querySelectorAll('table.claims > tbody')].map(b => +b.dataset.moved)")
    assert moved == sorted(moved, reverse=True) and moved[0] == 2 and moved[-1] == 0


def test_a_link_unfolds_the_claim_with_its_figures_and_command(pages, page):
    page.open(pages["report"], fragment="#P1-C2")
    page.run("new Promise(done => setTimeout(done, 300))")
    claim = "document.getElementById('P1-C2')"
    assert page.run(f"{claim}.querySelector('details').open")
    assert page.run(f"[...{claim}.querySelectorAll('.shown-by a')].map(a => a.hash)") == ["#F1", "#F3"]
    assert "cluster_k_scaling" in page.run(f"{claim}.querySelector('.command code').innerText")
    page.run(f"{claim}.querySelector('.command button').click(); new Promise(done => setTimeout(done, 100))")
    assert page.run(f"{claim}.querySelector('.command button').innerText") == "copied"


def test_the_keyboard_reaches_and_unfolds_a_claim(pages, page):
    page.open(pages["report"])
    page.press("Tab", 9)
    assert page.run("document.activeElement.textContent") == "To the verdicts"
    page.run("document.querySelector('#P1-C1 summary').focus()")
    page.press("Enter", 13)
    assert page.run("document.querySelector('#P1-C1 details').open")


def test_what_can_be_operated_has_a_name(pages, page):
    unnamed = "[...document.querySelectorAll('input, select, button, a')].filter(e => !(e.innerText || e.ariaLabel ||"
    unnamed += " e.labels?.[0]?.innerText || e.textContent).trim()).length"
    for path in pages.values():
        page.open(path)
        assert page.run(unnamed) == 0


def test_without_scripts_everything_is_there(pages, page):
    page.call("Emulation.setScriptExecutionDisabled", {"value": True})
    page.open(pages["report"])
    page.call("Emulation.setScriptExecutionDisabled", {"value": False})
    assert len(page.run(SHOWN)) == CLAIMS
    assert page.run("document.querySelector('.tools').hidden")


def test_on_paper_everything_is_unfolded_and_tools_are_gone(pages, page):
    page.open(pages["report"])
    page.run("dispatchEvent(new Event('beforeprint'))")
    page.call("Emulation.setEmulatedMedia", {"media": "print"})
    assert page.run("[...document.querySelectorAll('details')].every(d => d.open)")
    assert page.run("getComputedStyle(document.querySelector('.tools')).display") == "none"
    page.call("Emulation.setEmulatedMedia", {"media": ""})
    page.run("dispatchEvent(new Event('afterprint'))")
    assert not page.run("[...document.querySelectorAll('details')].some(d => d.open)")
