"""The journal: requests, replies and costs are kept through crashes, races and full disks."""
