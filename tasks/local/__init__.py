"""The built-in provider: an HTTP server that speaks the providers' wire formats on a loopback port.

It has three lives: the default on a machine without keys, a rehearsal, and the double that tests judge the
ledger by. For the last one it shares no code with the adapters and the call path.
"""
