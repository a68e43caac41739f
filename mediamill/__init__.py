"""Batch media processing with hosted AI models: the one import name of the project.

In a checkout ``flows``, ``tasks`` and ``configs`` are links to the folders beside this one; a wheel holds the
folders themselves. Everything is imported as ``mediamill.tasks...``, so that a caller's own ``tasks.py`` or
``flows/`` hides nothing.
"""
