"""What is found before anything runs, seen from what is to be made."""
