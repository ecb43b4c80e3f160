"""One module a format: masks go out one by one, so that memory does not grow with their number."""
