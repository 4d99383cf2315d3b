"""MiniCPM on Ray Serve: engines in vLLM, their host and backend, the application and its deployment."""
