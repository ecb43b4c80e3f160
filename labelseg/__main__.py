"""The program ``labelseg``, also as ``python -m labelseg``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; it takes a moment to load, and may be interrupted in that moment too."""
    try:
        from labelseg.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted. What is finished stays; the same command goes on from there.\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
