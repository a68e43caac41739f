"""The embedded engines that recognise speech."""
