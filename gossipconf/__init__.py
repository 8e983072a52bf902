"""gossipconf: a config centre without a centre."""

__version__ = "0.1.0"
