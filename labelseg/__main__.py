"""The program ``labelseg``, also as ``python -m labelseg``."""

from __future__ import annotations

from labelseg.pipeline.engines.interruption import listen


def main() -> None:
    """Run the command line; it takes a moment to load, and may be interrupted in that moment too."""
    listen()
    from labelseg.cli import main as run

    run()


if __name__ == "__main__":
    main()
