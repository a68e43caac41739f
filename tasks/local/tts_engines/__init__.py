"""The embedded engines that speak."""
