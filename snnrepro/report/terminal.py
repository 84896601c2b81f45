"""The report's tables on a terminal."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.table import Table as RichTable
from rich.text import Text

from snnrepro.report.conditions import conditions_line, what_was_run
from snnrepro.report.names import OUTCOMES, model_name
from snnrepro.report.sections import sections
from snnrepro.report.table import Judged
from snnrepro.report.verdict import overall
from snnrepro.thesis.judge import FAIL, NOT_JUDGED, PASS

if TYPE_CHECKING:
    from rich.console import Console

    from snnrepro.report.table import Entry, Table
    from snnrepro.report.verdict import Overall
    from snnrepro.thesis.results import Results

STYLES = {PASS: "green", FAIL: "bold red", NOT_JUDGED: "dim"}


def print_results(results: Results, console: Console) -> None:
    """Print the verdict on a reproduction, then its tables.

    Parameters
    ----------
    results : Results
        What to print.
    console : rich.console.Console
        Where to.
    """
    console.print(Text(what_was_run(results)), soft_wrap=True)
    verdict = overall(results)
    _print_verdict(verdict, results, console)
    for section in sections(results, plots=()):
        if section.tables and section.id not in ("conditions", "not-judged"):
            console.print(Text(f"\n{section.title}", "bold"))
            if section.lead:
                console.print(Text(section.lead, "dim"))
            for table in section.tables:
                console.print(rich_table(table))
    for model, described in results.models.items():
        console.print(Text(f"{model_name(model)}: {conditions_line(described)}", "dim"), soft_wrap=True)
    console.print(_counts(verdict))


def _print_verdict(verdict: Overall, results: Results, console: Console) -> None:
    """Print how many figures passed, each that failed, why others were not judged, and what conversion loses."""
    console.print(_counts(verdict))
    for failure in verdict.failures:
        console.print(Text(f"failed: {failure}", STYLES[FAIL]), soft_wrap=True)
    reasons = Counter(one.why for one in results.verdicts if one.outcome == NOT_JUDGED)
    if reasons:
        told = "; ".join(f"{why} ({number})" for why, number in reasons.most_common())
        console.print(Text(f"not judged: {told}", STYLES[NOT_JUDGED]), soft_wrap=True)
    for loss in verdict.losses:
        console.print(_plain(loss), soft_wrap=True)


def _counts(verdict: Overall) -> Text:
    counts = ", ".join(f"{verdict.counts[outcome]} {word}" for outcome, word in OUTCOMES.items())
    return Text(counts, "bold red" if verdict.counts[FAIL] else "bold green")


def rich_table(table: Table) -> RichTable:
    """Return a table as the terminal shows it, with its notes below."""
    notes = [f"{letter}: {sentence}" if letter else sentence for letter, sentence in table.notes]
    shown = RichTable(title=table.title, caption="\n".join(notes), title_justify="left", caption_justify="left")
    for column in table.columns:
        is_number = column.is_number
        shown.add_column(column.heading, justify="right" if is_number else "left", no_wrap=is_number)
    for group in table.groups:
        if group.heading:
            shown.add_row(Text(group.heading, "bold"))
        for row in group.rows:
            shown.add_row(*map(_entry, row), end_section=row is group.rows[-1])
    return shown


def _entry(entry: Entry) -> Text:
    if isinstance(entry, Judged):
        parts = [entry.outcome, entry.bound, f"({entry.note})" if entry.note else ""]
        return Text(" ".join(filter(None, parts)), STYLES[entry.outcome])
    return _plain(entry)


def _plain(words: str) -> Text:
    return Text(words.replace("−", "-"))  # not every terminal can write a true minus sign
