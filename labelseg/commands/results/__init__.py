"""Commands that show, score and hand out results."""
