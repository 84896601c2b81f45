"""The command line: ``snnrepro.cli:main`` is the command ``snnrepro``."""

from snnrepro.cli.command import main

__all__ = ["main"]
