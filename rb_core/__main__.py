"""`python -m rb_core`."""

from rb_core.cli.main import main

if __name__ == "__main__":
    main()
