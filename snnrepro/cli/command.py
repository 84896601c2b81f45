"""The command ``snnrepro``: its subcommands, and how an error ends them."""

from __future__ import annotations

import sys
import warnings
from typing import Any, Callable

import click

from snnrepro import __version__
from snnrepro.cli import network, reproduce, tune
from snnrepro.errors import DataWarning, SnnReproError


class _Commands(click.Group):
    """Turns the package's own errors into one line on stderr and exit status 2."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("always", DataWarning)
                warnings.showwarning = _showing_data_warnings(warnings.showwarning)
                result: object = super().invoke(ctx)
        except SnnReproError as error:
            click.echo(f"snnrepro: {error}", err=True)
            sys.exit(2)
        except KeyboardInterrupt:
            click.echo("snnrepro: interrupted; no file is left half written", err=True)
            sys.exit(130)
        return result


def _showing_data_warnings(show: Callable[..., None]) -> Callable[..., None]:
    """Return what shows what is to be known about the data in one line, and other warnings as `show` does."""

    def shown(message: Warning | str, category: type[Warning], *where: Any, **options: Any) -> None:
        if issubclass(category, DataWarning):
            click.echo(f"warning: {message}", err=True)
        else:
            show(message, category, *where, **options)

    return shown


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="snnrepro")
def main() -> None:
    """Turn trained networks into spiking ones without retraining, and measure what that costs."""


for _module in (network, tune, reproduce):
    for _command in _module.COMMANDS:
        main.add_command(_command)
