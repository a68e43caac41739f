"""What the capabilities that hear or speak share."""
