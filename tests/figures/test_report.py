"""The report: everything that was drawn is on one page, and nothing on it leads nowhere."""

import dataclasses
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from figures.catalogue import FIGURES
from figures.figure import VERDICTS, Finding, Setting
from figures.render import render_all
from figures.report import page as report_page
from figures.report.contents import gather
from figures.report.elements import BADGES, VOID, element
from figures.report.page import page, write_report
from tests.figures import browser
from theory.theorems.audit import audit, chosen
from theory.theorems.audit import write_report as write_audit
from theory.theorems.claim import Trial

FIG2, SHRINKAGE = "banerjee2024.fig2", "beyond.shrinkage"
FAILED = "beyond.harm_bound"
HOSTILE = "a < b & <script>alert('x')</script> \"c\""
CONTRAST = 4.5
"""Of text against its background [WCAG 2.2, 1.4.3]."""


def fail(setting):
    raise RuntimeError(HOSTILE)


def hostile(table):
    return [
        Finding(HOSTILE, "0.5 [0.4, 0.6]", "differs"),
        Finding("beta is 10", "yes", "reproduces"),
        Finding("beta is 2", "no", "cannot be checked here"),
    ]


@pytest.fixture(scope="module")
def figures():
    """One figure with claims, one that is left out, and one that fails."""
    return {
        FIG2: dataclasses.replace(FIGURES[FIG2], findings=hostile),
        SHRINKAGE: FIGURES[SHRINKAGE],
        FAILED: dataclasses.replace(FIGURES[FAILED], compute=fail),
    }


@pytest.fixture(scope="module")
def folder(figures, tmp_path_factory):
    """A page of these figures, a part of the audit, and a catalogue with more than was tried."""
    out = tmp_path_factory.mktemp("out")
    render_all([figures[FIG2], figures[FAILED]], Setting(), out, lambda line: None)
    trial = Trial(draws=1000)
    write_audit(audit(chosen(("thm22_printed", "zhang2024")), trial), trial, out)
    write_report({**FIGURES, **figures}, out)
    return out


class Parsed(HTMLParser):
    """Elements with their attributes, and all text but scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text, self.open = [], "", []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.text += data

    def having(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def ids(self):
        return [attributes["id"] for _, attributes in self.elements if "id" in attributes]


@pytest.fixture(scope="module")
def parsed(folder):
    return Parsed((folder / "index.html").read_text(encoding="utf-8"))


def test_ids_are_unique_and_links_resolve(parsed):
    assert len(set(parsed.ids)) == len(parsed.ids)
    for attributes in parsed.having("a"):
        target = attributes["href"]
        assert target.startswith("data:") or target[1:] in parsed.ids, target[:80]
        assert target.startswith("data:") == ("download" in attributes)
    for _, attributes in parsed.elements:
        assert attributes.get("aria-labelledby", parsed.ids[0]) in parsed.ids


def test_nothing_comes_from_outside(parsed, folder):
    for tag in ("link", "iframe", "object", "base"):
        assert not parsed.having(tag)
    assert all("src" not in attributes for attributes in parsed.having("script"))
    assert not re.search(r"https?:|url\(|@import", (folder / "index.html").read_text())


def test_images_are_inside_and_described(parsed, folder):
    entry = gather(FIGURES, folder).studies[0].entry
    (image,) = parsed.having("img")
    assert image["src"].startswith("data:image/png;base64,")
    assert entry["caption"].startswith(image["alt"].removesuffix(" …"))
    assert float(image["width"]) / float(image["height"]) == pytest.approx(
        FIGURES[FIG2].size[0] / FIGURES[FIG2].size[1], rel=0.01
    )


def test_a_figure_has_its_claims_scale_verdicts_and_data(parsed, figures):
    assert {FIG2, f"{FIG2}-heading"} < set(parsed.ids)
    for finding in hostile(None):
        assert finding.claim in parsed.text
        assert finding.measured in parsed.text
        assert finding.verdict in parsed.text
    assert "scale toy, seed 0" in parsed.text
    assert {a["download"] for a in parsed.having("a") if "download" in a} == {
        f"{FIG2}.csv",
        f"{FIG2}.pdf",
    }


def test_text_is_escaped(parsed, folder):
    assert "<script>alert" not in (folder / "index.html").read_text()
    assert len(parsed.having("script")) == 1
    assert parsed.text.count(HOSTILE) > 2
    assert element("a", "<b>", title='"&') == '<a title="&quot;&amp;">&lt;b&gt;</a>'


def test_what_failed_and_what_was_not_drawn_is_said(parsed):
    assert "Traceback (most recent call last)" in parsed.text
    assert FAILED in parsed.ids
    untried = set(FIGURES) - {FIG2, FAILED}
    for key in untried:
        scale = next(iter(FIGURES[key].seconds))
        assert f"python -m figures --only {key} --scale {scale}" in parsed.text
    assert not untried & set(parsed.ids)


def test_the_audit_has_a_row_a_claim(parsed):
    keys = {claim.key for claim in chosen(("thm22_printed", "zhang2024"))}
    assert {f"audit-{key}" for key in keys} <= set(parsed.ids)
    assert chosen(("thm22_printed",))[0].statement in parsed.text


def test_an_empty_folder_says_what_to_do(tmp_path):
    text = page(gather(FIGURES, tmp_path))
    assert "python -m theory audit" in Parsed(text).text
    assert "Nothing drawn." in text


def test_a_figure_whose_files_are_gone_counts_as_not_drawn(figures, folder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / f"{FIG2}.csv").unlink()
    found = [study.status for study in gather(figures, tmp_path).studies]
    assert found == ["not drawn", "not drawn", "failed"]


def test_tables_have_heads_and_controls_have_labels(parsed):
    heads = parsed.having("th")
    assert {attributes["scope"] for attributes in heads} == {"col", "row"}
    scrolls = [a for _, a in parsed.elements if "scroll" in a.get("class", "")]
    for attributes in scrolls:
        assert attributes["tabindex"] == "0"
        assert "aria-label" in attributes or "aria-labelledby" in attributes
    labels = len(parsed.having("label"))
    assert labels == len(parsed.having("select")) + len(parsed.having("input"))
    assert parsed.having("html") == [{"lang": "en"}]
    assert [len(parsed.having(tag)) for tag in ("h1", "main", "nav", "header")] == [1] * 4


def colours(style, theme):
    """Named colours of a theme: 0 light, 1 dark."""
    found = re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\);", style)
    return {name: pair[theme] for name, *pair in found}


def luminance(colour):
    parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts)
    return sum(w * x for w, x in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("theme", [0, 1])
def test_text_stands_out_from_its_background(theme):
    named = colours(Path(report_page.__file__).with_name("page.css").read_text(), theme)
    pairs = [(text, back) for text in ("text", "soft", "link") for back in ("page", "panel")]
    pairs += [(kind, f"{kind}-back") for kind, _ in BADGES.values()]
    for text, back in pairs:
        low, high = sorted(luminance(named[name]) for name in (text, back))
        assert (high + 0.05) / (low + 0.05) >= CONTRAST, (text, back)


def test_every_verdict_has_a_sign_of_its_own():
    assert {BADGES[verdict][1] for verdict in VERDICTS} == {"✓", "◐", "✗", "?"}


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    if browser.program() is None:
        pytest.skip("no Chromium on PATH")
    with browser.browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_a_browser_shows_it_without_complaint(tab, folder, width, scheme):
    tab.open(folder / "index.html", width, scheme=scheme)
    assert tab.complaints() == []
    assert all(url == (folder / "index.html").as_uri() for url in tab.requests())
    images = "[...document.images].map(async i => (await i.decode(), i.naturalWidth))"
    assert min(tab.run(f"Promise.all({images})")) > 1000
    broken = "[...document.links].filter(a => a.hash && !document.getElementById(a.hash.slice(1)))"
    assert tab.run(f"{broken}.length") == 0
    assert tab.run("document.documentElement.scrollWidth") <= width
    back = "getComputedStyle(document.body).backgroundColor"
    named = "rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 23, 28)"
    assert tab.run(back) == named
    tab.run("document.getElementById('theme').click()")
    assert tab.run(back) != named
    tab.run("localStorage.clear()")


def test_tables_sort_and_filter_by_keyboard(tab, folder):
    tab.open(folder / "index.html")
    tab.run("document.querySelectorAll('#claims-table thead button')[1].focus()")
    cells = "document.querySelectorAll('#claims-table tbody td:nth-child(2)')"
    column = f"[...{cells}].map(cell => cell.textContent)"
    orders = []
    for direction in ("ascending", "descending"):
        tab.key("Enter")
        said = "document.querySelectorAll('#claims-table th')[1].getAttribute('aria-sort')"
        assert tab.run(said) == direction
        orders.append(tab.run(column))
    assert orders[0] == [HOSTILE, "beta is 2", "beta is 10"] == orders[1][::-1]
    tab.run(
        "const f = document.querySelector('form[data-filters=claims-table]');"
        "f.querySelectorAll('select')[1].value = 'reproduces';"
        "f.dispatchEvent(new Event('input'))"
    )
    shown = "[...document.querySelectorAll('#claims-table tbody tr')].filter(r => !r.hidden).length"
    assert tab.run(shown) == 1
    assert tab.run("f.querySelector('[role=status]').textContent") == "1 of 3 claims"


def test_the_first_stop_of_the_keyboard_skips_to_the_content(tab, folder):
    tab.open(folder / "index.html")
    tab.key("Tab")
    assert tab.run("document.activeElement.textContent") == "Skip to the content"
    tab.key("Enter")
    assert tab.run("document.activeElement.id") == "content"
