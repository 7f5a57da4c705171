"""Real services for tests: a Docker engine, RabbitMQ and Azurite, each started on this machine when asked for.

Nothing here knows the product: a module starts one service, waits until it truly serves, and ends it.
"""
