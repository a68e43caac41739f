"""Foreign code on this machine: in its own process, without network, within limits, in a temporary folder."""
