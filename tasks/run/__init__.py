"""What a job goes through: looked up, quoted, opened, planned, done shard by shard, published."""
