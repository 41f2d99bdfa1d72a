"""What is read from this machine, and how: files on Linux, psutil elsewhere, NVML for NVIDIA's GPUs.

Everything in here blocks and runs in a worker thread; :class:`~oblix_actors.actors.sensors.thread.Sensors` is the way
in. A sensor that fails is absent: it is logged at debug level and never raises.
"""
