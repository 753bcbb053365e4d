"""A fake upstream with a bill of its own: the oracle that the gateway's ledger is compared with.

It plays model providers (OpenAI's chat, Responses and embeddings, Azure's chat, Anthropic's Messages, Google's
Gemini) and a payments API on loopback, and writes down what it charges, in whole nano-USD.
Rule: nothing here imports from ``aegis_gateway`` outside this package; that bill and ledger agree proves
something only while neither was computed by the other's code.

Tests and demos start it by ``process.UpstreamProcess``, people by ``python -m
aegis_gateway.demo.upstream.server``.
"""
