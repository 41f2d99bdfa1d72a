"""Benchmarks: each module measures one thing and has a ``main()``; ``just bench`` runs them. See README.md."""
