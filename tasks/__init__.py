"""How it is done: plain functions and the one engine that runs them."""
