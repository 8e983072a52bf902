"""Benchmarks: each measures the shipped code beside a bound or a peer in one run, and prints JSON.

python -m benchmarks NAME [options] --json F
"""
