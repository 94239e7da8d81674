"""`python -m robmon` is `robmon`."""

from robmon.cli.main import main

if __name__ == "__main__":
    main(prog_name="robmon")
