"""Shakes the library: wrong calls, command lines, damaged and hostile files, threads, kills.

`python -m fuzz --help` lists the runs; docs/reliability.md says what they promise and found.
"""
