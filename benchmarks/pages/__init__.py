"""What the pages cost: ``python -m benchmarks.pages.view``, ``python -m benchmarks.pages.report``."""
