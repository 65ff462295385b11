"""Closed forms and exact optima, the reference for trained networks and for tests."""
