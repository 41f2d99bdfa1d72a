"""The QuartTrio app: routes, the SSE body, error shapes and limits. Talks to the router by messages."""
