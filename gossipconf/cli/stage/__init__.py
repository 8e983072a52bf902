"""The commands `gossipconf stage`: values of a strict prefix that take effect at the same moment on all its members.

Imports nothing: the demo's and the agent's commands start without it.
"""
