"""The child process that runs llama.cpp. Imported by nobody: the engine actor starts it with `python -m`."""
