"""Pure codecs, bytes to core types and back: no trio, no sockets, one dialect a file."""
