"""The command line: parse, call `kisbt.app`, print, exit code."""

from kisbt.cli.main import main

__all__ = ["main"]
