"""What the capabilities that look at or make images and videos share."""
