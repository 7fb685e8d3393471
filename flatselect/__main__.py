"""`python -m flatselect`: the command line."""

from flatselect.cli.main import main

main()
