"""The demo: five agents on this machine, a cut between them, and every claim about it checked.

``story`` is the acts and their checks, ``fleet`` the processes and what they are
seen to do, ``relay`` the network that can be cut, ``screen`` what a person is
shown, ``report`` what a program is told, ``command`` the command line.
"""
