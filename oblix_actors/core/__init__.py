"""Pure decisions and the types they speak in: no trio, no I/O, no clock (time is an argument)."""
