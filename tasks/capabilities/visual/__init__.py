"""What the capabilities for images and videos share."""
