"""The Container Apps documents, sentence by sentence: what the service says, and what holds here."""
