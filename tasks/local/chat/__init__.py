"""Chat completions: requests, their images and videos, and replies in each provider's form."""
