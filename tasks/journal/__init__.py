"""What was asked, answered and paid: tables and blobs."""
