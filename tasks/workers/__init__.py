"""A run on several processes of one machine: the run's own plans and publishes, its workers do the shards."""
