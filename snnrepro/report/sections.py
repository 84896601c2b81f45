"""The sections of a report in their order: what every rendering of it contains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Sequence

from snnrepro.report.conditions import conditions_tables
from snnrepro.report.names import MODELS, model_name
from snnrepro.report.tables import (
    converted_table,
    not_judged_table,
    operations_table,
    printed_tables,
    ssim_table,
    trends_table,
)

if TYPE_CHECKING:
    from snnrepro.report.figure import Plot
    from snnrepro.report.table import Table
    from snnrepro.thesis.results import Results


@dataclass(frozen=True)
class Section:
    """A section of a report.

    Attributes
    ----------
    id, title, lead : str
        Its anchor, its heading, and a sentence or two below it.
    tables : sequence of Table
        Its tables.
    plots : sequence of Plot
        Its charts.
    missing : sequence of str
        One line for each thing that was not measured.
    kind : str
        How wide its tables are: "wide" takes the page's width, "values" are names and values.
    """

    id: str
    title: str
    lead: str = ""
    tables: Sequence[Table] = ()
    plots: Sequence[Plot] = ()
    missing: Sequence[str] = ()
    kind: str = ""

    @property
    def has_content(self) -> bool:
        """Whether anything was measured for it."""
        return bool(self.tables or self.plots)


def sections(results: Results, plots: Sequence[Plot]) -> list[Section]:
    """Return the sections of a report in their order."""
    models = list(results.models)
    figures = [table for model in models for table in printed_tables(results, model)]
    printed = {comparison.printed.model for comparison in results.comparisons}
    absent = [f"{model_name(model)}: {_NOT_MEASURED}" for model in MODELS if model not in models]
    absent += [f"{model_name(model)}: {_NOT_LEGIBLE}" for model in models if model not in printed]
    converted = _present(*(converted_table(results, model) for model in models))
    trends, ssim, operations = (_present(make(results)) for make in (trends_table, ssim_table, operations_table))
    images = [plot for plot in plots if plot.section == "images"]
    by_events = _BY_EVENTS if any(one.cell.quantity == "accuracy" for one in results.measured) else ""
    left_out = _present(not_judged_table(results))
    all_judged = [] if left_out else ["Every figure and trend was judged."]
    return [
        Section("figures", "Thesis beside measured", _FIGURES + by_events, figures, missing=absent),
        Section(
            "converted",
            "Converted without retraining",
            _CONVERTED,
            converted,
            missing=_missing("Conversion without retraining", converted),
        ),
        _charts("curves", "Accuracy and time against n_steps", plots, accuracy="Accuracy", time="Inference time"),
        Section("trends", "Trends", "", trends, missing=_missing("Trends", trends), kind="wide"),
        _charts(
            "neurons",
            "Spikes, and rate against activation",
            plots,
            spikes="Spikes of single images",
            rates="Rates against activations",
        ),
        Section("images", "Reconstructions", _SSIM, ssim, images, _missing("Reconstructed images", [*ssim, *images])),
        Section(
            "operations", "Operations", _OPERATIONS, operations, missing=_missing("Synaptic operations", operations)
        ),
        Section("not-judged", "What was not judged", "", left_out, missing=all_judged, kind="wide"),
        Section("conditions", "Conditions", "", conditions_tables(results), kind="values"),
    ]


_NOT_MEASURED = "not measured in this run."
_NOT_LEGIBLE = "the thesis’s printed figures are not legible; see the sections below."
_FIGURES = (
    "n is n_steps, the time steps of a presentation. Measured figures are medians over the seeds, "
    "seconds of inference for 10,000 images, scaled where fewer were timed. A verdict is followed by the "
    "tolerance it was held against."
)
_BY_EVENTS = (
    " Accuracies of LIF neurons are those of the event simulator; the trends say how many answers it has in common "
    "with NengoDL."
)
_CONVERTED = (
    "Keras’s weights in spiking neurons as they are: means over the seeds; “points lost” is Keras’s accuracy less the "
    "converted network’s, “s for 10,000” the median seconds for 10,000 images."
)
_SSIM = (
    "The structural similarity of two images, averaged over windows of 7 × 7 pixels, with C₁ = (0.01 L)² and "
    "C₂ = (0.03 L)², L = 1 for pixels in [0, 1]; computed through scikit-image."
)
_OPERATIONS = (
    "A synaptic operation is one addition caused by one spike at one synapse; the trained network makes a "
    "multiplication and an addition each time it uses a weight. Means over images and seeds."
)


def _present(*tables: Table | None) -> list[Table]:
    return [table for table in tables if table is not None]


def _missing(name: str, content: Sequence[object]) -> list[str]:
    return [] if content else [f"{name}: {_NOT_MEASURED}"]


def _charts(id_: str, title: str, plots: Sequence[Plot], **names: str) -> Section:
    """Return a section of charts; `names` says what each kind of chart shows."""
    shown = {kind: [plot for plot in plots if plot.section == kind] for kind in names}
    missing = [line for kind, name in names.items() for line in _missing(name, shown[kind])]
    return Section(id_, title, plots=[plot for kind in names for plot in shown[kind]], missing=missing)
