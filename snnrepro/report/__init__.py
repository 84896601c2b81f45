"""How results are shown: on the terminal, and as ``results.json``."""
