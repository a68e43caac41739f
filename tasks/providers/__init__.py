"""WHO does it: the providers, their configurations and the operations that they have."""
