"""What the capabilities that ask in words share."""
