"""What people look at in a browser: the report, the view of all masks and the page that asks; the parts they share, and the server."""
