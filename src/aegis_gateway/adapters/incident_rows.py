"""Incidents as rows: read and closed in a transaction."""

from __future__ import annotations

import msgspec

from aegis_gateway.adapters.statements import Statements
from aegis_gateway.domain.incident import Incident

_FIELDS = Incident.__struct_fields__
_INCIDENT = f"select {', '.join(_FIELDS)} from incident where tenant = ? and id = ?"  # noqa: S608 - our own names
_CLOSE = "update incident set closed_ns = ? where tenant = ? and id = ? and closed_ns is null"


class IncidentRows(Statements):
    """Incidents in a transaction."""

    def incident(self, tenant: str, incident: str) -> Incident | None:
        """One of a tenant's incidents."""
        for row in self._rows(_INCIDENT, (tenant, incident)):
            fields = dict(zip(_FIELDS, row, strict=True))
            return Incident(**{**fields, "facts": msgspec.json.decode(fields["facts"])})
        return None

    def close_incident(self, tenant: str, incident: str, at_ns: int) -> None:
        """Write that one is closed, since an instant; one that is closed stays as it is."""
        self._do(_CLOSE, (at_ns, tenant, incident))
