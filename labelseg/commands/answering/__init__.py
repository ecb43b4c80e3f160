"""Commands about the answers of people."""
