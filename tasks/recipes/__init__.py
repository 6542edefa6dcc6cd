"""Programs that run several steps after one another, each by `execute`; nothing of the tasks imports them."""
