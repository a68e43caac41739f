"""Folder, glob, file, manifest, URL and stdin become Items."""
