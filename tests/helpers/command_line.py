"""The command line in this process."""

from __future__ import annotations

import click
from click.testing import CliRunner

from snnrepro.cli import main


def run_command(*arguments):
    runner = CliRunner(**({"mix_stderr": False} if click.__version__ < "8.2" else {}))  # 8.2 keeps them apart itself
    return runner.invoke(main, [str(argument) for argument in arguments])
