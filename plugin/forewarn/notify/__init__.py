"""Who is told: the adapters of the port `Notifier`.

Each hands one notification to one target, or says that the target did not take it. What is worth telling, in which order and
how often it is tried is not decided here.
"""
