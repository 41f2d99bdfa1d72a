"""A real HTTP server that fails on demand, in a process of its own: the model's name says what goes wrong.

``python -m tests.faults --port 0`` prints its port as the first line of its output. :mod:`tests.faults.menu` is the
menu, :mod:`tests.faults.server` the HTTP, and each dialect has a file that serves the menu in its wire format.
"""
