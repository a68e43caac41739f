"""The built-in provider: an HTTP server that speaks the providers' wire formats on a loopback port.

It has three uses: the default provider on a machine without keys, rehearsals, and the test double whose bill the
ledger is compared with. For that last use it shares no code with the adapters and the call path.
"""
