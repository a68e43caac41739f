"""Code of others on this machine: a process of its own, without network, within limits, in a folder thrown away."""
