"""`python -m stopgap` is the `stopgap` command."""

from stopgap.cli.main import main

main()
