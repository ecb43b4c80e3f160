"""One module a format: masks come in one by one, each with the name of its image as the file says it."""
