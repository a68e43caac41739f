"""``python -m mediamill.tasks.local``: the server in a process of its own.

Worker processes import this module again, so nothing heavy is imported at its top.
"""

if __name__ == "__main__":
    from mediamill.tasks.local.server.options import command

    command(prog_name="mediamill serve")
