"""The record of every request, reply, cost and item outcome: tables and blobs."""
