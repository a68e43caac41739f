"""What the capabilities that send prompts share."""
