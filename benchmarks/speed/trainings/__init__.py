"""What trainings cost."""
