"""The only place that talks to upstreams: one adapter a file, over the codecs of :mod:`oblix_actors.wire`."""
