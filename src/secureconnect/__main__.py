"""`python -m secureconnect` is the same program as `secureconnect`."""

from secureconnect.cli import main

main()
