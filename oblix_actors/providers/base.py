"""What a worker asks of an adapter (defined in :mod:`oblix_actors.core.upstream`)."""

from oblix_actors.core.upstream import Emit, Upstream

__all__ = ["Emit", "Upstream"]
