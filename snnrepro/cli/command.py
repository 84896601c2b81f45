"""The command ``snnrepro``: its subcommands, and how an error ends them."""

from __future__ import annotations

import sys

import click

from snnrepro import __version__
from snnrepro.cli import network, reproduce
from snnrepro.errors import SnnReproError


class _Commands(click.Group):
    """Turns the package's own errors into one line on stderr and exit status 2."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            result: object = super().invoke(ctx)
        except SnnReproError as error:
            click.echo(f"snnrepro: {error}", err=True)
            sys.exit(2)
        except KeyboardInterrupt:
            click.echo("snnrepro: interrupted; nothing was written", err=True)
            sys.exit(130)
        return result


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="snnrepro")
def main() -> None:
    """Turn trained networks into spiking ones without retraining, and measure what that costs."""


for _module in (network, reproduce):
    for _command in _module.COMMANDS:
        main.add_command(_command)
