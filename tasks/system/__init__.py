"""The machine below: the system's errors in words, open files, private files, what child processes get to see."""
