"""Networks on whole images."""
