"""Answers of people: what they cost and bring, simulated."""
