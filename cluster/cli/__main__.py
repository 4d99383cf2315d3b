"""``python -m cluster.cli`` is ``aiopt``."""

from cluster.cli.main import main

if __name__ == "__main__":
    main()
