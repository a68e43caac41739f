"""The built-in provider: an API server over embedded engines. Imports only media, item and errors."""
