"""A development broker that speaks Azure Service Bus: in memory, one process, not for production.

It exists so that the demo and the test suite need neither Azure nor Docker: the unmodified
`azure-servicebus` SDK talks to it over AMQP 1.0 and over the Atom management API. It knows nothing
of the rest of the product and imports only the standard library and aiohttp.
"""

from scaler.devbroker.entities import QueueSettings
from scaler.devbroker.server import DevBroker, PortTaken

__all__ = ["DevBroker", "PortTaken", "QueueSettings"]
