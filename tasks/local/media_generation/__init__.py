"""Images and videos: rendered when they are fetched, and the jobs that stand for them."""
