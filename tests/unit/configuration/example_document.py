"""A small document that every test of mistakes begins with, and how to load it."""

from __future__ import annotations

import pytest

from aegis_gateway.configuration.load import Configuration, load
from aegis_gateway.configuration.prices import NoPrices
from aegis_gateway.domain.errors import ConfigurationError

DOCUMENT = """\
version: 1
tenants:
  northbank:
    name: North Bank
    timezone: Europe/London
    quantities:
      paid_out: {unit: usd}
      rows: {decimals: 0}
    teams:
      lending:
        name: Lending
        cost_centre: CC-1001
        owner: ana@northbank.example
        default_budget: lending-day
      risk:
        cost_centre: CC-2002
        owner: tom@northbank.example
    projects:
      mortgages:
        team: lending
      models:
        team: risk
    agents:
      loan-bot:
        owner: ana@northbank.example
        team: lending
        project: mortgages
        cost_centre: CC-1009
        purpose: answers mortgage questions
        environment: production
        budget: loan-day
        external_id: svc-1
        tags: {channel: web}
    connectors:
      openai:
        kind: openai
        base_url: https://api.openai.com/v1
        credential: env:OPENAI_API_KEY
        provider: openai
        region: us
        timeout_seconds: 600
      payments:
        kind: http
        base_url: https://pay.example.com
        credential: file:/run/secrets/payments
        credential_header: X-Api-Key
        operations:
          create-payment:
            method: POST
            path: /v1/payments
            arguments:
              amount: {type: number, from: body.amount, shown: true}
              currency: {type: string, from: body.currency}
            price: {per_call: 0.25}
            counts:
              paid_out: body.amount
          search:
            method: GET
            path: /v1/{kind}/search
            arguments:
              kind: {type: string, from: path.kind}
            price: {per_unit: 0.0001, unit: row, units: response.usage.rows, max_units: 1000}
            counts:
              rows: {from: response.usage.rows, max: 1000}
    models:
      gpt-4o-mini:
        connector: openai
        upstream: gpt-4o-mini-2024-07-18
        max_output_tokens: 4096
        price: {input_per_million: 0.15, output_per_million: 0.60, cache_read_per_million: 0.075}
    budgets:
      lending-day:
        owner: ana@northbank.example
        deputy: ben@northbank.example
        counts: usd
        limit: 20.00
        period: daily
        kind: hard
        match: {team: lending}
        per: [agent]
      loan-day:
        owner: ana@northbank.example
        deputy: ben@northbank.example
        counts: rows
        limit: 500
        period: monthly
        timezone: UTC
        kind: soft
      pilot:
        owner: ana@northbank.example
        deputy: ben@northbank.example
        limit: 100.00
        period: once
        from: 2026-10-01
        to: 2026-12-31
        match: {tool: chat}
    rates:
      fx-api:
        limit: 5
        every: 1s
        match: {connector: payments}
        per: [agent]
"""


def written(*changes: tuple[str, str]) -> str:
    """The document with some of its text replaced, each by its first occurrence."""
    text = DOCUMENT
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


def loaded(text: str = DOCUMENT, **policies: str) -> Configuration:
    """The configuration of a text, without a price catalogue."""
    return load({"aegis.yaml": text, **policies}, NoPrices())


def told(files: dict[str, str]) -> list[str]:
    """What is wrong with files."""
    with pytest.raises(ConfigurationError) as caught:
        load(files, NoPrices())
    return str(caught.value).splitlines()
