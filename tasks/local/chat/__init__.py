"""Chat completions: what is asked, what is seen, and answers in each provider's words."""
