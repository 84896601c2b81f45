"""The page needs no other file, is legible without seeing its charts, and is the same bytes for the same results."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser

import pytest

pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: report)")
pytest.importorskip("jinja2", reason="Jinja2 is not installed (extra: report)")

from snnrepro.report.figure import COLOURS, INK
from tests.helpers import report_document


class Elements(HTMLParser):
    """Every element of a page with its attributes."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def foreign_sources(page):
    """Return everything that a browser would load from elsewhere, and every script."""
    found = []
    for tag, attributes in Elements(page).found:
        for name in ("src", "href", "xlink:href", "srcset", "data", "poster"):
            value = attributes.get(name, "")
            if value and not value.startswith(("#", "data:image/png;base64,")):
                found.append(f"{tag} {name}={value}")
        if tag in ("script", "link", "iframe"):
            found.append(tag)
    found += [url for url in re.findall(r"url\(([^)]*)\)", page) if not url.startswith("#")]
    return found + re.findall("@import.*", page)


def repeated_ids(page):
    ids = Counter(attributes["id"] for _, attributes in Elements(page).found if "id" in attributes)
    return [name for name, count in ids.items() if count > 1]


def dangling_references(page):
    ids = {attributes.get("id") for _, attributes in Elements(page).found}
    used = set(re.findall(r'href="#([^"]*)"', page)) | set(re.findall(r"url\(#([^)]*)\)", page))
    return sorted(used - ids)


def charts_without_words(page):
    elements = Elements(page).found
    return [
        a for tag, a in elements if tag == "svg" and not (a.get("role") == "img" and len(a.get("aria-label", "")) > 40)
    ]


def test_a_page_loads_nothing_from_elsewhere(page):
    assert foreign_sources(page) == []


@pytest.mark.parametrize(
    "fault",
    [
        '<img src="https://example.org/a.png">',
        '<link rel="stylesheet" href="a.css">',
        "<script>1</script>",
        "<style>a{background:url(//example.org/a)}</style>",
    ],
)
def test_something_loaded_from_elsewhere_would_be_noticed(page, fault):
    assert foreign_sources(page.replace("</main>", fault + "</main>"))


def test_ids_are_unique_and_all_references_have_their_target(page):
    assert page.count(' id="') > 50
    assert repeated_ids(page) == []
    assert dangling_references(page) == []


def test_two_charts_with_the_same_ids_would_be_noticed(page):
    svg = re.search(r"<svg .*?</svg>", page, re.DOTALL).group(0)
    assert repeated_ids(page.replace(svg, svg + svg, 1))
    assert dangling_references(page.replace('id="accuracy-dense-', 'id="'))


def test_every_chart_has_its_words_and_a_caption(page):
    n_charts = page.count("<svg ")
    assert n_charts == page.count("<figure>") == 7
    assert charts_without_words(page) == []
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page)
    assert len(captions) == n_charts
    assert min(map(len, captions)) > 60


def test_a_chart_without_words_would_be_noticed(page):
    assert charts_without_words(page.replace('role="img"', "", 1))
    assert charts_without_words(re.sub(r'aria-label="[^"]{60,}"', 'aria-label=""', page, count=1))


def test_the_words_of_a_chart_hold_its_numbers(page):
    label = re.search(r'aria-label="(Dense network, accuracy[^"]*)"', page).group(1)
    assert "Keras 97.13 %" in label
    assert "NengoDL: n=1 9.80, n=15 81.26" in label


def test_the_page_is_small_enough_to_send(page):
    assert len(page.encode()) < 2_000_000


def test_the_same_results_give_the_same_bytes(tmp_path, files):
    assert len(files) == 2 + 2 * 7
    again = report_document.written(tmp_path, report_document.document())
    assert [name for name, content in files.items() if again[name] != content] == []


def test_other_results_give_other_bytes(files, tmp_path):
    results = report_document.document()
    other = report_document.with_line(results, 2, measured=results.comparisons[2].measured + 0.5)
    assert report_document.written(tmp_path, other)["report.html"] != files["report.html"]


def test_the_markdown_files_links_lead_to_charts(files):
    links = re.findall(r"!\[[^\]]{40,}\]\((.*?)\)", files["report.md"].decode("utf-8"))
    assert len(links) == 7
    assert set(links) <= set(files)


def _contrast(first, second):
    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_every_colour_of_a_system_stands_out_in_light_and_in_dark(root):
    """WCAG 2.1 asks for 3 : 1 between what a chart draws and its ground; ink changes with the ground."""
    css = (root / "snnrepro" / "report" / "page.css").read_text(encoding="utf-8")
    grounds = re.findall(r"--paper: (#[0-9a-f]{6})", css)
    assert len(grounds) == 2
    own = {name: colour for name, colour in COLOURS.items() if colour != INK}
    assert len(set(own.values())) == len(own) == 5
    for ground in grounds:
        assert {name for name, colour in own.items() if _contrast(colour, ground) < 3} == set()
    assert _contrast("#0000aa", grounds[1]) < 3, "the measure must be able to fail"


def test_ink_takes_the_colour_of_the_page(files, page):
    assert INK not in "".join(re.findall(r"<svg .*?</svg>", page, re.DOTALL))
    alone = files["plots/accuracy-dense.svg"].decode("utf-8")
    assert "prefers-color-scheme:dark" in alone
    assert "currentColor" in alone
