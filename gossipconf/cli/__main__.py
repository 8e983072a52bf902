"""`python -m gossipconf.cli`."""

from .main import main

main()
