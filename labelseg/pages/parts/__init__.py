"""What all pages are made of: style, script, fragments of HTML, charts and pictures. Knows nothing of workspaces."""
