"""NautilusTrader's live node round the paper venue: the only part of `aiopt.live` that imports the engine.

- `aiopt.live.node.pump`: what is on its way, in one queue, done in order
- `aiopt.live.node.quote_client`, `aiopt.live.node.paper_client`: data and execution clients
- `aiopt.live.node.guarded`: strategies whose exceptions stop them and nothing else
- `aiopt.live.node.restoring`: orders and positions of a venue as the node's cache has them
- `aiopt.live.node.paper_node`: the node
"""
