"""Brings a target up to date."""
