"""Attacks played at a running relay while a NAS goes on sending: `make hostile`; and a random stress: `make stress`."""
