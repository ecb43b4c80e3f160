"""Trainings between two domains with few answered pixels, and the choice of the pixels that are asked."""
