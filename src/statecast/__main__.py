"""`python -m statecast`: the same as the command."""

from statecast.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
