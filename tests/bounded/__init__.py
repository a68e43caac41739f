"""Work with limits: what is filled here, what in a worker, and what the limits end."""
