"""Run the command line with `python -m kisbt`."""

from kisbt.cli import main

if __name__ == "__main__":
    main()
