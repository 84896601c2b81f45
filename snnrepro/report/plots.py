"""Every chart of a reproduction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping

from snnrepro.report.curves import accuracy_plot, time_plot
from snnrepro.report.sample_plots import sample_plots
from snnrepro.report.wording import models_of

if TYPE_CHECKING:
    from snnrepro.arrays import AnyArray
    from snnrepro.report.figure import Plot


def plots(document: Mapping[str, Any], samples: Mapping[str, AnyArray]) -> list[Plot]:
    """Draw what was measured; what was not is left out.

    Parameters
    ----------
    document : dict
        ``results.json``, version 2.
    samples : dict of numpy.ndarray
        ``samples.npz``; may be empty.

    Raises
    ------
    DependencyError
        matplotlib is missing.
    """
    models = models_of(document)
    curves = [make(document, model) for make in (accuracy_plot, time_plot) for model in models]
    return [*(plot for plot in curves if plot is not None), *sample_plots(samples, models)]
