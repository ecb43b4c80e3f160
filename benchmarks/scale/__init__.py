"""What many images cost."""
