"""Faults made on purpose: after every one of them, the same command gives the files of an undisturbed run."""
