"""Several data sets as one: ids and splits with the name of their set before, classes matched by name."""
