"""A report shows every figure with its verdict, names what failed at its top, and says what was not measured."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: report)")
pytest.importorskip("jinja2", reason="Jinja2 is not installed (extra: report)")

from snnrepro.report.names import MODELS, QUANTITIES, quantity
from snnrepro.report.report import write_report
from snnrepro.report.table import table, text
from snnrepro.report.tables import operations_table, printed_tables
from snnrepro.thesis.judge import Verdict
from tests.helpers import report_document


class Rows(HTMLParser):
    """The tables of a page: caption, and the cells of each row as text."""

    def __init__(self, page):
        super().__init__()
        self.tables, self._inside, self._text = {}, None, ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        if tag in ("caption", "td", "th"):
            self._text = ""
        elif tag == "tr":
            self._row = []

    def handle_data(self, data):
        self._text += data

    def handle_endtag(self, tag):
        if tag == "caption":
            self._rows = self.tables.setdefault(self._text, [])
        elif tag in ("td", "th"):
            self._row.append(" ".join(self._text.split()))
        elif tag == "tr":
            self._rows.append(self._row)


class MarkdownRows:
    """The tables of a Markdown file, in the same form."""

    def __init__(self, text):
        self.tables = {}
        for title, body in re.findall(r"^\*\*(.*?)\*\*\n\n((?:\|.*\n)+)", text, re.MULTILINE):
            rows = [line.strip("| ").split(" | ") for line in body.replace("\\", "").splitlines()]
            self.tables[title.replace("\\", "")] = rows


def missing_figures(results, tables):
    """Return the printed figures that no table shows with what was measured and with the verdict's word."""
    missing = []
    for line in results.comparisons:
        row = line.printed
        title = f"{MODELS[row.model]}: {QUANTITIES[row.quantity]}"
        expected = {str(row.n_steps or "–"), quantity(row.value, row.unit)}
        expected.add(quantity(line.measured, row.unit))
        rows = [cells for name, rows in tables.items() if name.startswith(title) for cells in rows]
        word = line.verdict.outcome
        if not any(expected <= set(cells) and re.search(rf"\b{word}", cells[-1]) for cells in rows):
            missing.append((title, row.n_steps))
    return missing


def pages(folder, results, samples):
    """Return the page and the Markdown file of results."""
    paths = report_document.write(folder, results, samples)
    return [path.read_text(encoding="utf-8") for path in paths[:2]]


@pytest.fixture(scope="module")
def results():
    return report_document.document()


@pytest.fixture(scope="module")
def written(files):
    """The page and the Markdown file of those results."""
    return [files[name].decode("utf-8") for name in ("report.html", "report.md")]


def test_every_figure_stands_in_both_reports_with_its_verdict(results, written):
    assert len(results.comparisons) > 30
    page, text = written
    assert missing_figures(results, Rows(page).tables) == []
    assert missing_figures(results, MarkdownRows(text).tables) == []


def test_a_figure_that_is_shown_with_another_verdict_would_be_noticed(results, written):
    other = report_document.with_line(results, 2, verdict=Verdict("fail", ""))
    other = report_document.with_line(other, 3, measured=results.comparisons[3].measured + 1)
    for tables in (Rows(written[0]).tables, MarkdownRows(written[1]).tables):
        assert [n_steps for _, n_steps in missing_figures(other, tables)] == [15, 30]


def test_every_trend_stands_in_both_reports_with_its_verdict(results, written):
    title = "What must hold on any machine"
    for tables in (Rows(written[0]).tables, MarkdownRows(written[1]).tables):
        for one in results.trends:
            found = [row for row in tables[title] if row[0].startswith(one.trend.name)]
            assert any(f"{one.statistic:.3f}" in row and one.verdict.outcome in row[-1] for row in found)


def test_both_reports_have_the_same_tables(written):
    page, text = Rows(written[0]).tables, MarkdownRows(written[1]).tables
    assert list(page) == list(text)
    assert len(page) > 15


def top_of(page):
    """Return the words before the first section's tables."""
    return " ".join(re.sub(r"<[^>]*>", " ", page.split("<nav")[0].split("<main>")[1]).split())


def test_the_top_counts_the_verdicts_and_says_what_conversion_loses(written):
    top = top_of(written[0])
    assert "16 passed, 0 failed, 24 not judged" in top
    assert "All 16 figures and trends that could be judged here lie within their bounds. 24 more" in top
    assert "the thesis’s recipe loses 7.39 points of accuracy to Keras at n=60 (thesis: about 10)" in top
    assert "“balanced” loses 1.02 at n=4, 0.09 at 8, 0.02 at 15" in top


@pytest.mark.parametrize("place", ["comparisons", "trends"])
def test_what_failed_is_named_at_the_top_with_its_numbers(results, place, tmp_path):
    flipped = list(getattr(results, place))
    index = 1 if place == "trends" else 2
    flipped[index] = replace(flipped[index], verdict=Verdict("fail", flipped[index].verdict.why))
    page, text = pages(tmp_path, replace(results, **{place: tuple(flipped)}), {})
    text = text.replace("\\", "")
    named = {
        "comparisons": "Dense network, accuracy, NengoDL, n=15: thesis 81.14 %, measured 81.26 %, allowed ±3 %",
        "trends": "Dense network, training time does not depend on n_steps: spread 0.062, needed at most 0.25",
    }[place]
    assert f"fail {named}" in top_of(page)
    assert "15 passed, 1 failed" in top_of(page)
    assert f"**fail** {named}" in text
    assert "<title>snnrepro: fail" in page


def test_nothing_is_called_failed_where_nothing_failed(written):
    assert "fail " not in top_of(written[0])
    assert "**fail**" not in written[1]


def test_what_was_not_judged_is_listed_with_its_reason(results, written):
    rows = Rows(written[0]).tables["Not judged, and why"]
    assert rows[1][:2] == [report_document.SECONDS, "24"]
    assert "CNN, training time: Keras, NengoDL, n=1, 15, 30, 45, 60" in rows[1][2]


def test_what_was_not_measured_is_left_out_and_said(results, tmp_path):
    little = replace(results, measured=(), comparisons=(), trends=(), converted=(), models={})
    written = pages(tmp_path, little, {})
    for page in written:
        for what in ("Spikes of single images", "Reconstructed images", "Trends", "Dense network", "Accuracy"):
            assert f"{what}: not measured in this run." in page
    assert "Nothing could be judged here" in written[0]
    assert not (tmp_path / "plots").exists()


def test_one_seed_has_no_range_and_fewer_images_are_said(results):
    every = printed_tables(results, "dense")[0]
    assert [column.heading for column in every.columns][-2:] == ["range over seeds", "verdict"]
    assert [letter for letter, _ in every.notes] == ["a"]
    lines = [
        replace(line, values=line.values[:1], n_images=1_000 if line.printed.n_steps == 0 else 400)
        for line in results.comparisons
    ]
    few = printed_tables(replace(results, comparisons=tuple(lines)), "dense")[0]
    assert [column.heading for column in few.columns] == ["system", "n", "thesis", "measured", "verdict"]
    assert few.notes[-1] == ("", "Images: Keras 1,000, NengoDL 400.")


def test_a_row_that_does_not_fit_its_columns_is_refused():
    with pytest.raises(ValueError, match="2 cells under 1 columns"):
        table("a", (text("b"),), {"": [("c", "d")]})


def test_operations_stand_beside_those_of_the_trained_network(results):
    (dense, *_) = operations_table(results).groups
    assert dense.rows[0] == ("Keras: multiply-accumulates", "–", "–", "36,608", "1.00")
    assert dense.rows[1] == ("thesis, 1 ms synapse", "60", "2,102", "33,679", "0.92")


def test_words_from_the_results_are_not_taken_for_markup(results, tmp_path):
    source = "<script>alert(1)</script> | *a*"
    page, markdown = pages(tmp_path, replace(results, data={**results.data, "source": source}), {})
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert r"\<script>alert(1)\</script> \| \*a\*" in markdown


def test_a_verdict_in_the_file_is_not_believed(root, tmp_path):
    """The page judges the figures anew, as ``reproduce --check`` does."""
    document = json.loads((root / "benchmarks" / "reference" / "results.json").read_text(encoding="utf-8"))
    assert document["lines"][0]["verdict"]["outcome"] == "pass"
    document["lines"][0]["verdict"]["outcome"] = "fail"
    (tmp_path / "results.json").write_text(json.dumps(document))
    page = write_report(tmp_path)[0].read_text(encoding="utf-8")
    assert "29 passed, 0 failed, 27 not judged" in top_of(page)
    assert "<title>snnrepro: pass" in page
