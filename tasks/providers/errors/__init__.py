"""What an error reply means: its body, its verdict, and refusals of content."""
