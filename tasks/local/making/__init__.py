"""Pictures and videos that are made from words: the endpoints, the jobs, the links, the files."""
