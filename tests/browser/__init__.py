"""Tests of the built book in a real browser; `conftest.py` says how to write one."""
