"""What is done with an OUT that is there: its status, its files checked and mended, lost answers settled, export."""
