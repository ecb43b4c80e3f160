"""Methods with trainings of their own."""
