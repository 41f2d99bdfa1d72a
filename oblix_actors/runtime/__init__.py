"""What the actors run on: mailboxes, a supervisor, published values, jobs. Knows trio, not HTTP or models."""
