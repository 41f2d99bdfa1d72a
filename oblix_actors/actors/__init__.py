"""The independent actors and the messages they exchange. No actor imports another: they know mailboxes."""
