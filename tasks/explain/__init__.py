"""Explain: the whole story of one item, read from the journal of an OUT and from its files."""
