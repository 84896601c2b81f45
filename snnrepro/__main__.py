"""``python -m snnrepro`` is the command ``snnrepro``."""

from snnrepro.cli import main

main(prog_name="snnrepro")
