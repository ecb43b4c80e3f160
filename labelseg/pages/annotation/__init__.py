"""The page on which people answer: questions read off artifacts, pictures, and a local server."""
