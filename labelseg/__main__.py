"""``python -m labelseg``."""

from labelseg.cli import main

main()
