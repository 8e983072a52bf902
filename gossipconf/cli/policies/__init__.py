"""Policies: who may do what, and what becomes of what somebody might not have done."""
