"""The journal: what was asked, answered and paid, through crashes, races and full disks."""
