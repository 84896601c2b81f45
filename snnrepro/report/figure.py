"""One chart, drawn once and kept as SVG for the page, SVG on its own, and PNG; the same colours everywhere."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Callable

from snnrepro.errors import DataError, DependencyError
from snnrepro.files import written_whole

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

INK = "#1b1f24"
"""Axes and words; in an SVG it becomes the colour of the text around it, so that it is legible in light and dark."""

# Okabe and Ito's colours for the colour-blind, of middle lightness: each has a contrast of 3 with white and with the
# page's dark background. Shapes and dashes tell the systems apart too.
COLOURS = {
    "thesis print": INK,
    "keras": "#b0609b",
    "nengo-dl": "#1a7fc0",
    "thesis": "#d55e00",
    "balanced": "#009270",
    "balanced-lif": "#8f7a00",
}
MARKERS = {
    "thesis print": "o",
    "keras": "None",
    "nengo-dl": "s",
    "thesis": "^",
    "balanced": "D",
    "balanced-lif": "v",
}

WIDTH = 4.3
"""Inches of every chart: on a phone the page shows it a little larger, and 9 points of text stay readable."""

_STYLE = {
    "font.size": 9,
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same measures on every machine
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.unicode_minus": True,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.fonttype": "none",  # words stay words
}


@dataclass(frozen=True)
class Plot:
    """A chart.

    Attributes
    ----------
    section : str
        What it is of: "accuracy", "time", "spikes", "rates" or "images".
    model : str
        Which network it shows.
    alt : str
        What it shows, for readers who cannot see it.
    caption : str
        What to see in it.
    svg : str
        To stand inside a page; ids begin with the chart's name, words and axes take the page's colour.
    png : bytes
        On white.
    """

    section: str
    model: str
    alt: str
    caption: str
    svg: str
    png: bytes

    @property
    def name(self) -> str:
        """The name of its files, without the ending."""
        return f"{self.section}-{self.model}"

    @property
    def svg_file(self) -> str:
        """The SVG on its own: as wide as drawn, and with its own colour of words in light and in dark."""
        style = (
            f"<style>svg{{color:{INK};font-family:system-ui,sans-serif}}"
            "@media(prefers-color-scheme:dark){svg{color:#d7dce2}}</style>"
        )
        head, _, body = self.svg.partition(">")
        return f'<?xml version="1.0" encoding="utf-8"?>\n{head}><title>{escape(self.alt)}</title>{style}{body}\n'


CHARTS = (".svg", ".png")
"""What the name of a chart's file may end in."""


def require_chart(path: Path) -> None:
    """Refuse a file whose name asks for no form that a chart has.

    Raises
    ------
    DataError
        It ends in none of `CHARTS`.
    """
    if path.suffix not in CHARTS:
        raise DataError(f"{path}: its name must end in {' or '.join(CHARTS)}")


def write(plot: Plot, path: Path) -> None:
    """Write a chart alone, in the form that the file's name asks for; see `require_chart`."""
    require_chart(path)
    with written_whole(path) as file:
        file.write(plot.png if path.suffix == ".png" else plot.svg_file.encode())


def draw(section: str, model: str, height: float, paint: Callable[[Figure], None], alt: str, caption: str) -> Plot:
    """Draw a chart and return it as SVG and PNG.

    Parameters
    ----------
    section, model, alt, caption : str
        As in `Plot`.
    height : float
        Inches; the width is the same for all.
    paint : callable
        Draws into an empty figure.

    Raises
    ------
    DependencyError
        matplotlib is missing.
    """
    style, figure_class, canvas_class = _matplotlib()
    name = f"{section}-{model}"
    with style.context(["default", {**_STYLE, "svg.hashsalt": name}]):
        figure = figure_class(figsize=(WIDTH, height))
        canvas_class(figure)  # which tight_layout measures words by
        paint(figure)
        svg, png = io.StringIO(), io.BytesIO()
        figure.savefig(svg, format="svg", transparent=True, dpi=200, metadata={"Date": None})
        figure.savefig(png, format="png", facecolor="white", dpi=200, metadata={"Software": None})
    return Plot(section, model, alt, caption, _for_a_page(svg.getvalue(), name, alt), png.getvalue())


def _matplotlib() -> tuple[Any, Any, Any]:
    try:
        import matplotlib.style
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise DependencyError('matplotlib is not installed; run: pip install "matplotlib>=3.3"') from error
    return matplotlib.style, Figure, FigureCanvasAgg


def _for_a_page(svg: str, name: str, alt: str) -> str:
    """Return matplotlib's SVG without prolog and metadata, its ids its own, its ink the page's."""
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # matplotlib numbers axes_1, text_1, … anew in every file; in one page they would meet.
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg)
    svg = svg.replace("url(#", f"url(#{name}-").replace(INK, "currentColor")
    # The page's own fonts; sizes stay. matplotlib writes the shorthand, or (before 3.5) the family apart.
    svg = re.sub(r"(font: [^;\"]*?[\d.]+px)[^;\"]*", r"\1 sans-serif", svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(alt)}" ', 1)
