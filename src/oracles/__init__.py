"""Closed forms and exact optima, against which trained networks are measured and the code is tested."""
