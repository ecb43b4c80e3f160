"""What large photos cost."""
