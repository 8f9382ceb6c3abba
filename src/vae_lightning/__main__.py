"""All commands in one: `vae-lightning <command> ...`, or `python -m vae_lightning <command> ...`.

Without a command, it lists them.
"""

import runpy
import sys

from vae_lightning import __version__
from vae_lightning.cli.help import COMMANDS, commands
from vae_lightning.config import nearest


def main() -> None:
    name, *rest = sys.argv[1:] or ["--help"]
    if name in COMMANDS:
        # As by `python -m`: Lightning and `cli.resume` read from the main module and from sys.argv
        # how to start further processes, and how to resume.
        sys.argv[1:] = rest
        runpy.run_module(f"vae_lightning.{name}", run_name="__main__", alter_sys=True)
    elif name == "--version":
        print(f"vae_lightning {__version__}")
    elif name in ("--help", "-h", "help"):
        print(commands())
    else:
        print(f"error: {name} is not a command: {nearest(name, COMMANDS)}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
