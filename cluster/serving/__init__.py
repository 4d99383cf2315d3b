"""MiniCPM on Ray Serve: engines, proved hot swap, and the HTTP endpoint in front of them."""
