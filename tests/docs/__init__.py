"""Tests of the pages: references are current, links resolve, and blocks run as they stand."""
