"""Stages that ask people about masks, and put their answers to use."""
