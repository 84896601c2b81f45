"""The sections of a report in their order: what the page and the Markdown file both contain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Mapping, Sequence

from snnrepro.report.conditions import conditions_tables
from snnrepro.report.spiking_tables import converted_table, operations_table, ssim_table
from snnrepro.report.thesis_tables import not_judged_table, printed_tables, trends_table
from snnrepro.report.wording import MODELS, model_name, models_of, moment, plural

if TYPE_CHECKING:
    from snnrepro.report.figure import Plot
    from snnrepro.report.table import Table


@dataclass(frozen=True)
class Section:
    """A section of a report.

    Attributes
    ----------
    id, title, lead : str
        Its anchor, its heading, and a sentence or two below it.
    tables : tuple of Table
        Its tables.
    plots : tuple of Plot
        Its charts.
    missing : tuple of str
        One line for each thing that was not measured.
    kind : str
        How wide its tables are: "wide" takes the page's width, "values" are names and values.
    """

    id: str
    title: str
    lead: str = ""
    tables: tuple[Table, ...] = ()
    plots: tuple[Plot, ...] = ()
    missing: tuple[str, ...] = ()
    kind: str = ""

    @property
    def has_content(self) -> bool:
        """Whether anything was measured for it."""
        return bool(self.tables or self.plots)


SSIM = (
    "The structural similarity of two images, averaged over windows of 7 × 7 pixels, with C₁ = (0.01 L)² and "
    "C₂ = (0.03 L)², L = 1 for pixels in [0, 1]; computed through scikit-image."
)


def what_was_run(document: Mapping[str, Any]) -> str:
    """Return in one line which data, profile and machine a report is about."""
    data, machine = document["data"], document["environment"]
    gpus = ", ".join(map(str, machine.get("gpus") or [])) or "no GPU"
    cores = plural(machine.get("cpu_cores") or 0, "core")
    return (
        f"Profile {document['profile']}, {data['source']}, {data['n_train']:,} training and {data['n_test']:,} test "
        f"images, {machine.get('cpu')}, {cores}, {gpus}, {moment(document['started'])}"
    )


def sections(document: Mapping[str, Any], plots: Sequence[Plot]) -> list[Section]:
    """Return the sections of a report in their order."""
    models = models_of(document)
    by_section: dict[str, tuple[Plot, ...]] = {}
    for plot in plots:
        by_section[plot.section] = (*by_section.get(plot.section, ()), plot)
    figures = [one for model in models for one in printed_tables(document, model)]
    converted = _made(converted_table(document, model) for model in models)
    unmeasured = [model for model in MODELS if model not in models]
    absent = [f"{model_name(model)}: not measured in this run." for model in unmeasured]
    return [
        Section(
            "figures", "Thesis beside measured", _FIGURES, tuple(figures), missing=(*absent, *_unprinted(document))
        ),
        Section("converted", "Converted without retraining", _CONVERTED, *_filled("conversion", converted)),
        Section("curves", "Accuracy and time against n_steps", "", *_drawn(("accuracy", "time"), by_section)),
        Section("trends", "Trends", "", *_filled("trends", _made([trends_table(document)])), kind="wide"),
        Section("neurons", "Spikes, and rate against activation", "", *_drawn(("spikes", "rates"), by_section)),
        Section("images", "Reconstructions", SSIM, *_images(document, by_section)),
        Section("operations", "Operations", _OPERATIONS, *_filled("operations", _made([operations_table(document)]))),
        Section("not-judged", "What was not judged", "", *_not_judged(document), kind="wide"),
        Section("conditions", "Conditions", "", tuple(conditions_tables(document)), kind="values"),
    ]


_FIGURES = (
    "n is n_steps, the time steps of a presentation. Measured accuracies are means over the seeds, seconds medians, "
    "of inference for 10,000 images, scaled where fewer were timed. A verdict is followed by the "
    "tolerance it was held against."
)
_CONVERTED = (
    "Keras’s weights in spiking neurons as they are: means over the seeds; “points lost” is Keras’s accuracy less the "
    "converted network’s, “s for 10,000” the median seconds for 10,000 images."
)
_OPERATIONS = (
    "A synaptic operation is one addition caused by one spike at one synapse; the trained network makes a "
    "multiplication and an addition each time it uses a weight. Means over images and seeds."
)
_NAMES = {
    "accuracy": "Accuracy",
    "time": "Inference time",
    "spikes": "Spikes of single images",
    "rates": "Rates against activations",
    "images": "Reconstructed images",
    "conversion": "Conversion without retraining",
    "trends": "Trends",
    "operations": "Synaptic operations",
}


def _not_measured(name: str) -> str:
    return f"{_NAMES[name]}: not measured in this run."


def _made(tables: Any) -> tuple[Table, ...]:
    return tuple(table for table in tables if table is not None)


def _filled(name: str, tables: tuple[Table, ...]) -> tuple[tuple[Table, ...], tuple[Plot, ...], tuple[str, ...]]:
    return tables, (), () if tables else (_not_measured(name),)


def _drawn(
    names: Sequence[str], by_section: Mapping[str, tuple[Plot, ...]]
) -> tuple[tuple[Table, ...], tuple[Plot, ...], tuple[str, ...]]:
    drawn = tuple(plot for name in names for plot in by_section.get(name, ()))
    return (), drawn, tuple(_not_measured(name) for name in names if name not in by_section)


def _images(
    document: Mapping[str, Any], by_section: Mapping[str, tuple[Plot, ...]]
) -> tuple[tuple[Table, ...], tuple[Plot, ...], tuple[str, ...]]:
    tables, drawn = _made([ssim_table(document)]), by_section.get("images", ())
    return tables, drawn, () if tables or drawn else (_not_measured("images"),)


def _not_judged(document: Mapping[str, Any]) -> tuple[tuple[Table, ...], tuple[Plot, ...], tuple[str, ...]]:
    tables = _made([not_judged_table(document)])
    return tables, (), () if tables else ("Every figure and trend was judged.",)


def _unprinted(document: Mapping[str, Any]) -> list[str]:
    printed = {line["row"]["model"] for line in document["lines"]}
    return [
        f"{model_name(model)}: the thesis’s printed figures are not legible; see the sections below."
        for model in models_of(document)
        if model not in printed
    ]
