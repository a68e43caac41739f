"""``python -m mediamill.flows.cli``: the command line without an installed script."""

from mediamill.flows.cli.main import main

if __name__ == "__main__":
    main()
