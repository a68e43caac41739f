"""The HTTP server itself: its process, options, routes, and what holds for every request."""
