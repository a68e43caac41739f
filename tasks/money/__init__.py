"""Prices, quotes, budget and cost."""
