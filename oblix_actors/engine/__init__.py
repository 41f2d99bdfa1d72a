"""The embedded model: where its file is, and the child process that runs llama.cpp on it.

``python -m oblix_actors.engine`` is that process; the engine actor starts it. Only it imports xllamacpp.
"""
