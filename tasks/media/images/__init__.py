"""Pictures: looked at, bounded, and made into what an endpoint takes."""
